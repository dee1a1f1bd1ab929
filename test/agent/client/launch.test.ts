import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {pathToFileURL} from 'node:url'
import {writeFatal} from '../../../src/agent/client/fatal.js'
import {agentEnvironment, ensureAgent} from '../../../src/agent/client/launch.js'
import {locate} from '../../../src/agent/client/locate.js'
import type {Location} from '../../../src/agent/client/locate.js'
import {DbaasError} from '../../../src/core/errors.js'
import {temporaryFolder} from '../../support/temporary.js'

/** Behaves towards its launcher as the agent does: one holder of the lock, losers exit 0, it listens in the home. */
const standIn = (before = '') => `
import {linkSync, unlinkSync, writeFileSync, appendFileSync} from 'node:fs'
import {createServer} from 'node:net'
import {join} from 'node:path'
const home = process.env.DBAAS_HOME
appendFileSync(join(home, 'pids'), process.pid + '\\n')
process.stderr.write('starting\\n')
${before}
const own = join(home, 'lock.' + process.pid)
writeFileSync(own, '')
try { linkSync(own, join(home, 'lock')) } catch { process.exit(0) } finally { unlinkSync(own) }
writeFileSync(join(home, 'environment.json'), JSON.stringify({...process.env, cwd: process.cwd()}))
setTimeout(() => createServer((socket) => socket.end()).listen(join(home, 'agent.sock')), 150)
setTimeout(() => process.exit(9), 20000)
`

describe('launching the agent', () => {
  const folder = temporaryFolder('launch')
  let n = 0
  let home = ''
  beforeEach(() => (home = join(folder.path, `home ${n++} ü`)))
  const entry = (name: string, source: string): string => {
    const path = join(folder.path, `${name}.mjs`)
    writeFileSync(path, source)
    return path
  }
  const at = (): Location => locate({}, {DBAAS_HOME: home})
  const pids = (): number[] =>
    existsSync(join(home, 'pids')) ? readFileSync(join(home, 'pids'), 'utf8').trim().split('\n').map(Number) : []
  const alive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  afterEach(async () => {
    for (const pid of pids()) if (alive(pid)) process.kill(pid, 'SIGKILL')
    while (pids().some(alive)) await sleep(10)
  })
  after(() => folder.dispose())
  const failure = (options: Parameters<typeof ensureAgent>[1]): Promise<DbaasError> =>
    ensureAgent(at(), options).then(
      () => assert.fail('it started'),
      (error: unknown) => error as DbaasError,
    )

  it('makes the home for its owner alone, starts one that outlives the command, and then starts none', async () => {
    const options = {entry: entry('good', standIn())}
    await ensureAgent(at(), options)
    assert.equal(statSync(home).mode & 0o777, 0o700)
    assert.equal(statSync(join(home, 'logs', 'agent.log')).mode & 0o777, 0o600)
    await ensureAgent(at(), options)
    const [pid] = pids() as [number]
    assert.equal(pids().length, 1)
    assert.ok(alive(pid))
    // A session of its own: Ctrl-C in the terminal is not for it.
    assert.notEqual(
      spawnSync('ps', ['-o', 'sid=', '-p', String(pid)])
        .stdout.toString()
        .trim(),
      spawnSync('ps', ['-o', 'sid=', '-p', String(process.pid)])
        .stdout.toString()
        .trim(),
    )
    assert.equal(readFileSync(join(home, 'logs', 'agent.log'), 'utf8'), 'starting\n')
  })

  it('connects all who come at once to the one that wins', async () => {
    const options = {entry: entry('good', standIn())}
    await Promise.all([ensureAgent(at(), options), ensureAgent(at(), options), ensureAgent(at(), options)])
    // the losers end by themselves, each when its process gets its turn
    for (const until = Date.now() + 10_000; pids().filter(alive).length > 1 && Date.now() < until; ) await sleep(10)
    assert.equal(pids().filter(alive).length, 1)
  })

  it('starts again when the one that had the lock was about to end', async () => {
    mkdirSync(home, {recursive: true, mode: 0o700})
    writeFileSync(join(home, 'lock'), '')
    setTimeout(() => rmSync(join(home, 'lock')), 300)
    await ensureAgent(at(), {entry: entry('good', standIn())})
    assert.ok(pids().length >= 2)
  })

  it('replaces a socket that nobody listens on any more', async () => {
    mkdirSync(home, {recursive: true, mode: 0o700})
    spawnSync(process.execPath, [
      '-e',
      'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))',
      join(home, 'agent.sock'),
    ])
    assert.ok(existsSync(join(home, 'agent.sock')))
    await ensureAgent(at(), {
      entry: entry('replacing', standIn("try { unlinkSync(join(home, 'agent.sock')) } catch {}")),
    })
  })

  it("hands on the agent's own reason, with exit code 6", async () => {
    const fatal = pathToFileURL(join(folder.path, 'fatal.json'))
    for (const code of ['STORE_NEWER', 'STORE_CORRUPT', 'HOME_UNUSABLE', 'DISK_FULL'] as const) {
      writeFatal(
        folder.path,
        new DbaasError(code, `because of ${code}`, {details: {file: 'x'}, suggestions: ['do this']}),
      )
      writeFileSync(fatal, readFileSync(join(folder.path, 'agent.error.json')))
      const error = await failure({
        entry: entry(
          'fatal',
          standIn(
            `const fs = await import('node:fs')
            fs.copyFileSync(new URL(${JSON.stringify(fatal.href)}), join(home, 'agent.error.json'))
            process.exit(1)`,
          ),
        ),
      })
      assert.deepEqual(
        [error.code, error.message, error.details, error.suggestions, error.row.exit],
        [code, `because of ${code}`, {file: 'x'}, ['do this'], 6],
      )
    }
  })

  it('does not believe what an earlier agent left behind, and shows the last words of this one', async () => {
    mkdirSync(home, {recursive: true, mode: 0o700})
    writeFatal(home, new DbaasError('STORE_CORRUPT', 'long ago'))
    const error = await failure({entry: entry('crash', standIn("throw new Error('no such module')"))})
    assert.equal(error.code, 'AGENT_START_FAILED')
    assert.equal(error.row.exit, 6)
    assert.match(error.message, /exit code 1/)
    assert.match(String(error.details.last_words), /Node\.js v/)
    assert.equal(error.details.log, join(home, 'logs', 'agent.log'))
    const killed = await failure({
      entry: entry('killed', standIn("process.kill(process.pid, 'SIGKILL'); await new Promise(() => {})")),
    })
    assert.match(killed.message, /SIGKILL/)
  })

  it('gives up on one that never listens', async () => {
    const error = await failure({
      entry: entry('mute', standIn('await new Promise((resolve) => setTimeout(resolve, 5000))')),
      giveUpMs: 700,
    })
    assert.equal(error.code, 'AGENT_START_FAILED')
    assert.match(error.message, /0\.7 s/)
  })

  it('does not start the agent of a URL or of another home', async () => {
    const options = {entry: entry('good', standIn())}
    await ensureAgent(locate({}, {DBAAS_HOME: home, DBAAS_URL: 'https://elsewhere'}), options)
    assert.equal(existsSync(home), false)
  })

  it('gives it what a daemon needs of the environment, and no token', async () => {
    const environment = agentEnvironment(
      {
        PATH: '/bin',
        HOME: '/u',
        LC_ALL: 'C',
        DBAAS_TOKEN: 'secret',
        DBAAS_URL: 'u',
        DBAAS_CONTEXT: 'c',
        DBAAS_TENANT: 't',
        DBAAS_SITE: 's',
        NODE_OPTIONS: '--x',
        npm_config_registry: 'r',
        https_proxy: 'p',
        NO_PROXY: 'n',
        AWS_SECRET_ACCESS_KEY: 'secret',
        SSH_AUTH_SOCK: 's',
        UNSET: undefined,
      },
      '/home',
    )
    assert.deepEqual(environment, {
      PATH: '/bin',
      HOME: '/u',
      LC_ALL: 'C',
      DBAAS_SITE: 's',
      npm_config_registry: 'r',
      https_proxy: 'p',
      NO_PROXY: 'n',
      DBAAS_HOME: '/home',
    })
    await ensureAgent(at(), {entry: entry('good', standIn()), environment: {...process.env, DBAAS_TOKEN: 'secret'}})
    while (!existsSync(join(home, 'environment.json'))) await sleep(10)
    const given = JSON.parse(readFileSync(join(home, 'environment.json'), 'utf8')) as Record<string, string>
    assert.deepEqual([given.DBAAS_HOME, given.DBAAS_TOKEN, given.cwd], [home, undefined, '/'])
  })

  describe('in a home that cannot be one', () => {
    const refused = async (code: string, words: RegExp): Promise<void> => {
      const error = await failure({entry: entry('good', standIn())})
      assert.equal(error.code, code, String(error))
      assert.equal(error.row.exit, 6)
      assert.match(error.message, words)
      assert.ok(error.suggestions.length > 0)
    }

    it('says that it is a file, or below one', async () => {
      writeFileSync(home, '')
      const file = home
      await refused('HOME_UNUSABLE', /a file/)
      home = join(file, 'below')
      await refused('HOME_UNUSABLE', /a file/)
      home = file
      rmSync(file)
    })

    it('says that others may write to it', async () => {
      mkdirSync(home, {recursive: true})
      chmodSync(home, 0o777)
      await refused('HOME_UNUSABLE', /other users/)
    })

    it('says that it may not be written, or belongs to another', async () => {
      mkdirSync(join(home, 'logs'), {recursive: true, mode: 0o700})
      if (process.getuid?.() === 0) {
        const {chownSync} = await import('node:fs')
        chownSync(home, 65_534, 65_534)
        await refused('HOME_UNUSABLE', /another user/)
        chownSync(home, 0, 0)
      } else {
        chmodSync(home, 0o500)
        chmodSync(join(home, 'logs'), 0o500)
        await refused('HOME_UNUSABLE', /permission/)
        chmodSync(join(home, 'logs'), 0o700)
        chmodSync(home, 0o700)
      }
    })

    it('says that the disk is full, even when the agent could not write that down', async function () {
      mkdirSync(home, {recursive: true, mode: 0o700})
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', home]).status !== 0)
        return this.skip()
      try {
        await ensureAgent(at(), {
          entry: entry(
            'filling',
            standIn(`
          try { writeFileSync(join(home, 'big'), Buffer.alloc(1 << 20)) } catch {}
          try { writeFileSync(join(home, 'agent.error.json'), '{"fatal":1}') } catch {}
          process.exit(1)`),
          ),
        }).then(
          () => assert.fail(),
          (error: DbaasError) => {
            assert.equal(error.code, 'DISK_FULL', String(error))
            assert.equal(error.row.exit, 6)
          },
        )
        assert.ok(!readdirSync(home).some((name) => name.startsWith('.probe')))
      } finally {
        spawnSync('umount', ['-l', home])
      }
    })
  })
})

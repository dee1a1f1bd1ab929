/**
 * `dbaas run` on real servers: the command's streams, exit codes and signals are its own, and the database is gone
 * afterwards, whatever ended the command, the CLI or the agent.
 */
import assert from 'node:assert/strict'
import {spawn, type ChildProcess} from 'node:child_process'
import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import {findProgram} from '../../src/commands/_support/programs.js'
import type {ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {leftoversOf} from '../support/leftovers.js'
import {refuse} from '../support/refusal.js'
import {projectRoot, temporarySite, type Ran, type Site} from '../support/site.js'

const cliFile = join(projectRoot, 'bin/run.js')
const argvOf = (...argv: string[]): string[] => [cliFile, 'run', '--size', 'micro', ...argv]

interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ran & {signal: NodeJS.Signals | null}>
  /** Resolves when stdout has the text. */
  said(text: string): Promise<void>
}

describe('dbaas run', function () {
  this.timeout(120_000)
  let site: Site
  before(async () => {
    site = temporarySite('run', {env: {DBAAS_POOL_SIZE: '1'}})
    await site.run('agent', 'start')
  })
  after(() => { try { writeFileSync('/tmp/cli-lab/agent.log', readFileSync(join(site.home, 'logs/agent.log'))) } catch {} return site.dispose() })

  const list = async (): Promise<ApiInstance[]> => ((await site.json('list')) as {instances: ApiInstance[]}).instances
  async function nothingLeft(withinMs = 20_000): Promise<void> {
    let left = leftoversOf(site.home)
    for (const until = Date.now() + withinMs; left.length > 0 && Date.now() < until;) {
      await pause(100)
      left = leftoversOf(site.home)
    }
    assert.deepEqual(left, [])
  }
  const dbaasRun = (...argv: string[]): Promise<Ran> => start(argvOf(...argv)).ended

  function start(argv: readonly string[], options: {program?: string; input?: string; detached?: boolean} = {}): Running {
    const child = spawn(options.program ?? process.execPath, argv, {env: site.env, cwd: dirname(site.home), stdio: 'pipe', detached: options.detached ?? false})
    let stdout = ''
    let stderr = ''
    const waiting = new Set<() => void>()
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
      for (const look of waiting) look()
    })
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.stdin.on('error', () => undefined)
    if (options.input !== undefined) child.stdin.end(options.input)
    const ended = new Promise<Ran & {signal: NodeJS.Signals | null}>((resolve) => child.once('exit', (code, signal) =>
      // what a killed CLI started may hold the pipes open for long
      setTimeout(() => resolve({code: code ?? 128, stdout, stderr, signal}), 50)))
    return {
      child, ended,
      said: (text) => new Promise((resolve, reject) => {
        const look = (): void => {
          if (!stdout.includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        void ended.then(({stderr: words}) => reject(new Error(`ended without saying ${text}: ${words}`)))
        look()
      }),
    }
  }
  /** Says its process id, then waits to be ended. */
  const waits = ['node', '-e', 'console.log("pid " + process.pid + "."); setInterval(() => {}, 1000)']
  const pidSaid = async (running: Running): Promise<number> => {
    let text = ''
    running.child.stdout?.on('data', (data: Buffer) => (text += data.toString()))
    await running.said('.')
    return Number(/pid (\d+)\./.exec(text)?.[1] ?? 0)
  }
  const endOrphan = (pid: number): void => {
    if (pid > 0) process.kill(pid, 'SIGKILL')
  }

  describe('is transparent', () => {
    it('gives the command its own stdin and stdout, and passes its exit code on', async () => {
      const answer = await start(argvOf('--quiet', '--', 'sh', '-c', 'cat; echo err >&2; exit 7'), {input: 'a\nb\n'}).ended
      assert.deepEqual([answer.code, answer.stdout, answer.stderr], [7, 'a\nb\n', 'err\n'])
    })

    it('says on stderr alone, in one line, which database there is', async () => {
      const {code, stdout, stderr} = await dbaasRun('--', 'echo', 'out')
      assert.deepEqual([code, stdout], [0, 'out\n'])
      assert.match(stderr, /^✓ run-[0-9a-z]{8} is running: postgresql \d+\.\d+ at 127\.0\.0\.1:\d+ {2}[\d.]+ m?s\n$/)
    })

    it('sets DATABASE_URL, with which a driver connects, and what the engine\'s clients read', async () => {
      const script = join(dirname(site.home), 'connect.mjs')
      writeFileSync(script, `
import pg from ${JSON.stringify(join(projectRoot, 'node_modules/pg/esm/index.mjs'))}
import {readFileSync} from 'node:fs'
const url = new URL(process.env.DATABASE_URL)
const ssl = {ca: readFileSync(url.searchParams.get('sslrootcert'), 'utf8')}
url.search = ''
for (const config of [{connectionString: url.href, ssl}, {ssl}]) {
  const client = new pg.Client(config)
  await client.connect()
  console.log((await client.query('select current_user as u, current_database() as d, version from pg_stat_ssl where pid = pg_backend_pid()')).rows[0])
  await client.end()
}
console.log(process.env.DBAAS_INSTANCE)`)
      const {code, stdout, stderr} = await dbaasRun('--name', 'mine', '--', 'node', script)
      assert.equal(code, 0, stderr)
      assert.equal(stdout, "{ u: 'app', d: 'app', version: 'TLSv1.3' }\n".repeat(2) + 'mine\n')
    })

    it('leads a dbaas that the command runs to the same agent and database', async () => {
      const inner = `"${process.execPath}" "${cliFile}" sql "$DBAAS_INSTANCE" "show work_mem" --json`
      const {code, stdout, stderr} = await dbaasRun('--set', 'work_mem=3MB', '--', 'sh', '-c', inner)
      assert.equal(code, 0, stderr)
      assert.deepEqual((JSON.parse(stdout) as {rows: unknown}).rows, [['3MB']])
    })

    it('says 128 and the signal\'s number of a command that a signal ended', async () => {
      for (const [signal, code] of [['KILL', 137], ['TERM', 143], ['SEGV', 139]] as const) {
        assert.equal((await dbaasRun('-q', '--', 'sh', '-c', `kill -${signal} $$`)).code, code)
      }
    })

    it('takes what the environment had of another server away', async () => {
      site.env.PGHOSTADDR = '192.0.2.1'
      site.env.PGSERVICE = 'nowhere'
      try {
        assert.equal((await dbaasRun('-q', '--', 'sh', '-c', 'echo "$PGHOSTADDR$PGSERVICE$PGHOST"')).stdout, '127.0.0.1\n')
      } finally {
        delete site.env.PGHOSTADDR
        delete site.env.PGSERVICE
      }
    })

    it('leaves nothing', () => nothingLeft())
  })

  describe('makes no database', () => {
    const operations = async (): Promise<number> => ((await site.json('operations', 'list')) as {operations: ApiOperation[]}).operations.length
    it('for a command that is not there (127) or cannot be run (126)', async () => {
      const before = await operations()
      const file = join(dirname(site.home), 'no-program')
      writeFileSync(file, 'echo hi\n', {mode: 0o644})
      for (const [command, code, words] of [
        ['no-such-program', 127, /no program "no-such-program" on PATH/], ['./no/such', 127, /no program "\.\/no\/such"/], ['npm test', 127, /→ dbaas run -- npm test/],
        [file, 126, /may not be executed/], [dirname(site.home), 126, /is a folder/],
      ] as const) {
        const ran = await dbaasRun('--', command)
        assert.equal(ran.code, code, command)
        assert.match(ran.stderr, words)
      }
      assert.equal(await operations(), before)
    })

    it('for a command line that is not valid, or asks for what is not there yet', async () => {
      const before = await operations()
      for (const [argv, code, words] of [
        [['run'], 2, /missing CMD[\s\S]*dbaas run -- npm test/], [['run', '--'], 2, /missing CMD/],
        [['run', 'npm', 'test', '--watch'], 2, /"npm"[\s\S]*→ dbaas run -- npm test --watch/], [['run', 'x', '--', 'y'], 2, /"x"[\s\S]*→ dbaas run -- x y/],
        [['run', '--from', 'demo', '--', 'true'], 2, /--from is not there yet/],
        [['run', '--keep', '--', 'true'], 2, /no flag --keep/], [['run', '--json', '--', 'true'], 2, /no flag --json/],
        [['run', '--engine', 'postgrsql', '--', 'true'], 2, /--engine postgresql/], [['run', '--name', 'postgres', '--', 'true'], 2, /reserved/],
        [['run', '--version', '99', '--', 'true'], 2, /PostgreSQL 99/], [['run', '--set', 'work_me=1MB', '--', 'true'], 2, /did you mean work_mem/],
      ] as const) {
        const ran = await site.run(...argv)
        assert.deepEqual([ran.code, ran.stdout], [code, ''], argv.join(' '))
        assert.match(ran.stderr, words)
      }
      assert.equal(await operations(), before)
    })
  })

  describe('leaves signals to the command', () => {
    /** Counts what it gets, and goes on until SIGTERM, at which it says how often. */
    const counts = `let n = 0; process.on('SIGINT', () => console.log('int ' + ++n + '.')); process.on('SIGTERM', () => process.exit(40 + n)); setInterval(() => {}, 1000); console.log('ready.')`

    it('hands on what was sent to dbaas alone, and waits for the command to end', async () => {
      const running = start(argvOf('-q', '--', 'node', '-e', counts))
      await running.said('ready.')
      for (const n of [1, 2]) {
        running.child.kill('SIGINT')
        await running.said(`int ${n}.`)
      }
      running.child.kill('SIGTERM')
      assert.equal((await running.ended).code, 42)
    })

    it('ends with 129 and 143 when the command is ended by SIGHUP and SIGTERM', async () => {
      for (const [signal, code] of [['SIGHUP', 129], ['SIGTERM', 143]] as const) {
        const running = start(argvOf('-q', '--', ...waits))
        await running.said('pid')
        running.child.kill(signal)
        assert.equal((await running.ended).code, code)
      }
    })

    it('lets Ctrl-C on a terminal reach the command once', async function () {
      if ((await findProgram('script')) === undefined || process.platform !== 'linux') this.skip()
      const file = join(dirname(site.home), 'counts.cjs')
      writeFileSync(file, counts)
      const running = start(['-qec', `exec '${process.execPath}' ${argvOf('-q', '--', 'node', file).map((word) => `'${word}'`).join(' ')}`, '/dev/null'], {program: 'script'})
      await running.said('ready.')
      running.child.stdin?.write('\u0003')
      await running.said('int 1.')
      await pause(300)
      const [instance] = await list()
      assert.equal(instance?.leased, true)
      endOrphan(pidOf(file))
      const {code, stdout} = await running.ended
      assert.doesNotMatch(stdout, /int 2/)
      assert.equal(code, 137)
    })

    it('is gone when its terminal goes away', async function () {
      if ((await findProgram('script')) === undefined || process.platform !== 'linux') this.skip()
      const running = start(['-qec', `exec '${process.execPath}' ${argvOf('-q', '--', ...waits).map((word) => `'${word}'`).join(' ')}`, '/dev/null'], {program: 'script'})
      await running.said('pid')
      running.child.kill('SIGKILL')
      await running.ended
      await nothingLeft()
    })

    for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
      it(`takes a database that is being made away again at ${signal}`, async () => {
        // no prepared directory of that version's settings can be there so soon: the making takes long enough
        const running = start(argvOf('--', 'echo', 'never'))
        for (let i = 0; i < 400 && (await list()).length === 0; i++) await pause(5)
        running.child.kill(signal)
        const {code: exit, stdout, stderr} = await running.ended
        if (stdout === '') {
          assert.equal(exit, code)
          assert.match(stderr, /interrupted: run-\w+ is taken away again/)
        }
        await nothingLeft()
      })
    }

    it('leaves nothing', () => nothingLeft())
  })

  describe('when something dies', () => {
    it('the CLI is killed: the database is gone a few seconds later', async () => {
      const running = start(argvOf('-q', '--', ...waits))
      const pid = await pidSaid(running)
      running.child.kill('SIGKILL')
      await running.ended
      try {
        assert.equal((await list()).length, 1)
        await nothingLeft()
      } finally {
        endOrphan(pid)
      }
    })

    it('the CLI is killed while the database is made: the making is undone', async () => {
      const running = start(argvOf('--', 'true'))
      for (let i = 0; i < 400 && (await list()).length === 0; i++) await pause(5)
      running.child.kill('SIGKILL')
      await running.ended
      await nothingLeft()
    })

    it('the agent is killed: the command notices nothing, and the database outlives the grace', async () => {
      const running = start(argvOf('-q', '--', 'sh', '-c', `echo up.; read line; "${process.execPath}" "${cliFile}" sql "$DBAAS_INSTANCE" "select 6*7 as answer"; exit 3`))
      await running.said('up.')
      const {agent} = (await site.json('agent', 'status')) as {agent: {pid: number}}
      process.kill(agent.pid, 'SIGKILL')
      // the endpoint process brings it back; then longer than the grace
      for (let i = 0; i < 200 && (await site.run('agent', 'status')).code !== 0; i++) await pause(50)
      await pause(7000)
      running.child.stdin?.end('go\n')
      const {code, stdout, stderr} = await running.ended
      assert.equal(code, 3, stderr)
      assert.match(stdout, /42/)
      await nothingLeft()
    })

    it('the agent is stopped and stays away: the command goes on, and the database is given back all the same', async () => {
      const running = start(argvOf('-q', '--', 'sh', '-c', 'echo up.; read line; psql -Atc "select 1" 2>/dev/null || echo 1; exit 4'))
      await running.said('up.')
      assert.equal((await site.run('agent', 'stop')).code, 0)
      await pause(500)
      running.child.stdin?.end('go\n')
      const {code, stdout, stderr} = await running.ended
      assert.deepEqual([code, stdout, stderr], [4, 'up.\n1\n', ''])
      await nothingLeft()
    })

    it('the CLI and the agent are killed: the next agent takes the database away', async () => {
      const running = start(argvOf('-q', '--', ...waits))
      const pid = await pidSaid(running)
      assert.equal((await site.run('agent', 'stop')).code, 0)
      running.child.kill('SIGKILL')
      await running.ended
      endOrphan(pid)
      assert.equal((await list()).length, 1)
      await nothingLeft()
    })

    it('somebody deletes the database: that is said, and the command goes on', async () => {
      const running = start(argvOf('--name', 'victim', '--', 'sh', '-c', 'echo up.; read line; exit 5'))
      await running.said('up.')
      assert.equal((await site.run('delete', 'victim', '--yes')).code, 0)
      await pause(6000)
      running.child.stdin?.end('go\n')
      const {code, stderr} = await running.ended
      assert.equal(code, 5)
      assert.match(stderr, /! victim was deleted by somebody else\n$/)
    })
  })

  it('works ten times at once, each with a database of its own', async () => {
    const ran = await Promise.all(Array.from({length: 10}, (_, i) =>
      dbaasRun('-q', '--', 'sh', '-c', `"${process.execPath}" "${cliFile}" sql "$DBAAS_INSTANCE" "create table t (id int); select ${i} as i" --json; echo "$PGPORT" >&2; exit ${i}`)))
    assert.deepEqual(ran.map(({code}) => code), Array.from({length: 10}, (_, i) => i), ran.map(({stderr}) => stderr).join(''))
    assert.deepEqual(ran.map(({stdout}) => (JSON.parse(stdout) as {rows: number[][]}).rows[0]?.[0]), Array.from({length: 10}, (_, i) => i))
    assert.equal(new Set(ran.map(({stderr}) => stderr)).size, 10)
    await nothingLeft()
  })

  describe('a leased instance', () => {
    it('shows that it goes with its command, and can be neither protected nor given a time', async () => {
      const running = start(argvOf('-q', '--name', 'leased', '--', ...waits))
      await running.said('pid')
      assert.match((await site.run('status', 'leased')).stdout, /deletion +when the command that made it has ended/)
      await refuse(site.run, ['protect', 'leased'], {code: 'INVALID_STATE', names: /leased lives as long as its lease/, suggests: /dbaas create/})
      running.child.kill('SIGTERM')
      await running.ended
      await nothingLeft()
    })

    it('cannot be asked for with protection or a time to live; and one without a lease has none to hold', async () => {
      for (const more of ['"protected":true', '"ttl_seconds":60']) {
        const ran = await site.run('api', 'POST', '/v1/instances', '--body', `{"name":"x","lease":true,${more}}`)
        assert.equal(ran.code, 2)
        assert.match(ran.stdout, /lives as long as its lease/)
      }
      const created = await site.run('create', 'stays', '--size', 'micro')
      assert.equal(created.code, 0, created.stderr)
      const ran = await site.run('api', 'GET', '/v1/instances/stays/lease')
      assert.equal(ran.code, 5)
      assert.match(ran.stdout, /stays has no lease/)
      assert.equal((await site.run('delete', 'stays', '--yes')).code, 0)
    })
  })
})

/** The process that runs the script, and not the `script` or dbaas around it. */
function pidOf(script: string): number {
  const found = readdirSync('/proc').map(Number).filter((pid) => Number.isInteger(pid)).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `node\0${script}\0`
    } catch {
      return false
    }
  })
  return found[0] ?? 0
}

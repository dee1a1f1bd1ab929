/**
 * Homes and agents that are not as they should be: damaged, newer, full, foreign, missing, or at a path that is hard
 * to bear. Each a clear error and nothing made, or, where it must work, a database that serves.
 */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {chmodSync, closeSync, copyFileSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync} from 'node:fs'
import {createServer, type AddressInfo} from 'node:net'
import {dirname, join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import Database from 'better-sqlite3'
import {agentSocketPath} from '../../src/agent/client/socket-path.js'
import {signal} from '../support/ha.js'
import {leftoversOf} from '../support/leftovers.js'
import {refuse} from '../support/refusal.js'
import {processesOf, projectRoot, run, temporarySite, type Ran, type Site} from '../support/site.js'
import {temporaryFolder} from '../support/temporary.js'

const isRoot = process.getuid?.() === 0
/** nobody, on every system that has one; only root can become somebody else. */
const nobody = 65_534

const cliAt = (home: string, env: NodeJS.ProcessEnv = {}, user: {uid?: number; gid?: number} = {}) => (...argv: string[]): Promise<Ran> =>
  run([process.execPath, join(projectRoot, 'bin', 'run.js'), ...argv], {
    env: {PATH: process.env.PATH, HOME: dirname(home), DBAAS_HOME: home, NO_COLOR: '1', ...env}, ...user,
  })

describe('a missing agent', function () {
  this.timeout(30_000)
  let site: Site
  before(() => void (site = temporarySite('no-agent')))
  after(() => site.dispose())

  for (const verb of ['status', 'stop']) {
    it(`is not started by agent ${verb}, which says how to`, async () => {
      await refuse(site.run, ['agent', verb], {code: 'AGENT_UNREACHABLE', names: /no agent runs/, suggests: /^dbaas agent start$/m})
      assert.deepEqual(readdirSync(site.home), [])
      assert.deepEqual(processesOf([site.home]), [])
    })
  }

  it('at a URL is said to be unreachable, and none is started here instead', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const {port} = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const there = cliAt(site.home, {DBAAS_URL: `http://127.0.0.1:${port}`})
    for (const argv of [['list'], ['create', 'demo'], ['agent', 'status']]) {
      await refuse(there, argv, {code: 'AGENT_UNREACHABLE', names: new RegExp(`127\\.0\\.0\\.1:${port}.*nobody listens`), suggests: /dbaas context list/})
    }
    await refuse(cliAt(site.home, {DBAAS_URL: 'ftp://x'}), ['list'], {code: 'USAGE', names: /"ftp:\/\/x"/, suggests: /https:\/\/host:port/})
    assert.deepEqual(processesOf([site.home]), [])
  })
})

describe('a damaged home', function () {
  this.timeout(60_000)
  let site: Site
  let store: string
  let key: string
  let kept: string
  after(() => site.dispose())

  before(async () => {
    site = temporarySite('damaged', {env: {DBAAS_POOL_SIZE: '0'}})
    store = join(site.home, 'metadata.db')
    key = join(site.home, 'keys', 'master.key')
    kept = join(dirname(site.home), 'kept')
    assert.equal((await site.run('config', 'templates', 'save', 'mine', '--set', 'work_mem=8MB')).code, 0)
    assert.equal((await site.run('agent', 'stop')).code, 0)
  })

  /** Every command says so, none changes the file, and with the file put back all is as before. */
  async function broken(file: string, damage: () => void, refusal: {code: 'STORE_CORRUPT' | 'STORE_NEWER' | 'HOME_UNUSABLE'; names: RegExp; suggests: RegExp}): Promise<void> {
    copyFileSync(file, kept)
    damage()
    const damaged = existsSync(file) ? readFileSync(file) : undefined
    for (const argv of [['list'], ['create', 'demo'], ['agent', 'start']]) await refuse(site.run, argv, {...refusal, exit: 6})
    await refuse(site.run, ['agent', 'status'], {code: 'AGENT_UNREACHABLE', names: /no agent runs/, suggests: /dbaas agent/})
    assert.deepEqual(existsSync(file) ? readFileSync(file) : undefined, damaged)
    assert.match((await site.run('agent', 'logs')).stdout, new RegExp(refusal.code))
    copyFileSync(kept, file)
    const {templates} = (await site.json('config', 'templates', 'list')) as {templates: {name: string}[]}
    assert.ok(templates.some(({name}) => name === 'mine'))
    assert.equal((await site.run('agent', 'stop')).code, 0)
  }

  it('with a state file that is none is refused, and the file left as it is', () =>
    broken(store, () => writeFileSync(store, Buffer.alloc(20_000, 'no database ')), {
      code: 'STORE_CORRUPT', names: /metadata\.db is damaged/, suggests: /put back a copy/,
    }))

  it('with a state file that is damaged inside is refused', () =>
    broken(store, () => {
      const file = openSync(store, 'r+')
      // the pages of tables, not the header: only a check of the whole file finds it
      writeSync(file, Buffer.alloc(3 * 4096, 0xa5), 0, 3 * 4096, 2 * 4096)
      closeSync(file)
    }, {code: 'STORE_CORRUPT', names: /metadata\.db is damaged/, suggests: /put back a copy/}))

  it('with a state file of another program is refused', () =>
    broken(store, () => {
      rmSync(store)
      const other = new Database(store)
      other.exec('CREATE TABLE cookies (a)')
      other.close()
    }, {code: 'STORE_CORRUPT', names: /not made by dbaas/, suggests: /put back a copy/}))

  it('of a newer version is refused', () =>
    broken(store, () => {
      const db = new Database(store)
      db.pragma('user_version = 999')
      db.close()
    }, {code: 'STORE_NEWER', names: /newer dbaas \(schema 999/, suggests: /install the newer dbaas/}))

  it('without its key is refused, and no new key is made', () =>
    broken(key, () => rmSync(key), {code: 'HOME_UNUSABLE', names: /master\.key is missing/, suggests: /put back the key file/}))

  it('with a key cut short is refused', () =>
    broken(key, () => writeFileSync(key, 'short'), {code: 'HOME_UNUSABLE', names: /master\.key is damaged/, suggests: /put back the key file/}))

  it('with the key of another home does not hand out rubbish', async () => {
    copyFileSync(key, kept)
    writeFileSync(key, Buffer.alloc(32, 7))
    await refuse(site.run, ['list'], {code: 'SECRET_UNREADABLE', names: /cannot be opened with the key/, suggests: /keys\/master\.key/, exit: 6})
    copyFileSync(kept, key)
    assert.equal((await site.run('list')).code, 0)
  })
})

describe('a home that cannot be one', function () {
  this.timeout(30_000)
  let folder: ReturnType<typeof temporaryFolder>
  before(() => void (folder = temporaryFolder('homes')))
  after(() => folder.dispose())

  it('because it is a file is refused', async () => {
    const home = join(folder.path, 'file')
    writeFileSync(home, 'mine')
    for (const argv of [['list'], ['create', 'demo'], ['agent', 'start']]) {
      await refuse(cliAt(home), argv, {code: 'HOME_UNUSABLE', names: new RegExp(`${home}.*file`), suggests: /DBAAS_HOME/})
    }
    await refuse(cliAt(home), ['agent', 'status'], {code: 'AGENT_UNREACHABLE', names: /is a file/, suggests: /dbaas agent/})
    assert.equal(readFileSync(home, 'utf8'), 'mine')
  })

  it('because it may not be written is refused', async () => {
    const home = join(folder.path, 'locked')
    mkdirSync(home)
    chmodSync(home, 0o555)
    const cli = isRoot ? cliAt(home, {}, {uid: nobody, gid: nobody}) : cliAt(home)
    for (const argv of [['list'], ['create', 'demo']]) {
      await refuse(cli, argv, {code: 'HOME_UNUSABLE', names: new RegExp(`${home}.*(permission denied|belongs to another user)`), suggests: /DBAAS_HOME/})
    }
    assert.deepEqual(readdirSync(home), [])
    chmodSync(home, 0o755)
  })

  it('because it is somebody else\'s is refused, and nothing is left in it that its owner could not enter', async function () {
    if (!isRoot) return skipLoudly(this, 'only root can make a home of somebody else')
    const home = join(folder.path, 'theirs')
    mkdirSync(home, {mode: 0o700})
    execFileSync('chown', [`${nobody}:${nobody}`, home])
    await refuse(cliAt(home), ['list'], {code: 'HOME_UNUSABLE', names: /belongs to another user/, suggests: /owner of the folder/})
    assert.deepEqual(readdirSync(home), [])
  })

  it('because a shell would obey its path is refused', async () => {
    for (const name of ['a "home"', '$(id)', 'a`id`', 'back\\slash', 'two\nlines']) {
      const home = join(folder.path, name)
      mkdirSync(home, {mode: 0o711})
      await refuse(cliAt(home), ['create', 'demo'], {code: 'HOME_UNUSABLE', names: /its path has the character/, suggests: /DBAAS_HOME/, exit: 6})
      assert.deepEqual(processesOf([home]), [])
    }
  })

  it('because everybody may write to it is refused', async () => {
    const home = join(folder.path, 'open')
    mkdirSync(home)
    chmodSync(home, 0o777)
    await refuse(cliAt(home), ['list'], {code: 'HOME_UNUSABLE', names: /other users may write/, suggests: /chmod 700/})
    assert.deepEqual(readdirSync(home), [])
  })
})

describe('a home that is hard to bear, and works', function () {
  this.timeout(90_000)

  async function serves(site: Site): Promise<void> {
    assert.equal((await site.json('create', 'demo', '--size', 'micro')).instance.status, 'running')
    assert.deepEqual((await site.json('sql', 'demo', 'select 1 + 1')).rows, [[2]])
    const {stdout} = await site.run('url', 'demo', '--format', 'env')
    const certificate = execFileSync('sh', ['-c', 'eval "$1"; printf %s "$PGSSLROOTCERT"', 'sh', stdout]).toString()
    assert.ok(existsSync(certificate), certificate)
    assert.equal((await site.run('config', 'set', 'demo', 'max_connections=50')).code, 0)
    assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
    assert.deepEqual(leftoversOf(site.home), [])
    assert.equal((await site.run('agent', 'stop')).code, 0)
  }

  it('with spaces, marks and unicode in its path', async () => {
    const site = temporarySite('words', {home: "my höme, it's 🐘 (100%41) & co;", env: {DBAAS_POOL_SIZE: '0'}})
    try {
      await serves(site)
    } finally {
      await site.dispose()
    }
  })

  it('at a path longer than that of a socket may be', async () => {
    const site = temporarySite('long', {home: Array.from({length: 6}, (_, i) => `a-rather-long-name-of-folder-${i}`).join('/'), env: {DBAAS_POOL_SIZE: '0'}})
    try {
      const socket = agentSocketPath(site.home, {make: false})
      assert.ok(!socket.startsWith(site.home) && Buffer.byteLength(socket) < 100, socket)
      assert.equal((await site.run('agent', 'status')).code, 6)
      assert.ok(!existsSync(dirname(socket)), 'who only looks leaves a trace')
      await serves(site)
      assert.ok(!existsSync(dirname(socket)), 'the folder of the socket is left')
    } finally {
      await site.dispose()
    }
  })
})

describe('a small disk', function () {
  this.timeout(120_000)
  let folder: ReturnType<typeof temporaryFolder>
  before(() => void (folder = temporaryFolder('disk')))
  const mounts: string[] = []
  after(() => {
    for (const path of mounts) execFileSync('umount', [path])
    folder.dispose()
  })

  /** A disk of its own, or undefined where mounting is not permitted. */
  function disk(name: string, mib: number): string | undefined {
    const path = join(folder.path, name)
    mkdirSync(path)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mib}m,mode=0755`, 'tmpfs', path], {stdio: 'pipe'})
    } catch {
      return undefined
    }
    mounts.push(path)
    return path
  }

  it('is refused before anything is made', async function () {
    const path = disk('tiny', 40)
    if (!path) return skipLoudly(this, 'no tmpfs can be mounted here, so no disk is too small')
    const site = temporarySite('tiny', {folder: join(path, 'home'), env: {DBAAS_POOL_SIZE: '0'}})
    try {
      await refuse(site.run, ['create', 'demo'], {code: 'INSUFFICIENT_DISK', names: /256 MiB of disk, and \S+ MiB are free/, suggests: /DBAAS_HOME.*larger disk/})
      assert.deepEqual(leftoversOf(site.home), [])
      assert.deepEqual((await site.json('operations', 'list')).operations, [])
    } finally {
      await site.dispose()
    }
  })

  it('that fills up stops changes with DISK_FULL; the agent lives, and goes on when there is room again', async function () {
    const path = disk('filling', 640)
    if (!path) return skipLoudly(this, 'no tmpfs can be mounted here, so no disk can be filled')
    const site = temporarySite('filling', {folder: join(path, 'home'), env: {DBAAS_POOL_SIZE: '0'}})
    const big = join(path, 'big')
    try {
      assert.equal((await site.run('create', 'demo', '--size', 'micro')).code, 0)
      const {pid} = (await site.json('agent', 'status')).agent as {pid: number}
      const server = (await site.json('status', 'demo')).instance.nodes[0].pid as number
      fill(big)
      // What the last change left in the log of the store is room for a few more.
      for (let i = 0; i < 40 && (await site.run(i % 2 ? 'protect' : 'unprotect', 'demo')).code === 0; i++) fill(big)
      await refuse(site.run, ['protect', 'demo'], {code: 'DISK_FULL', names: new RegExp(`the disk of .*${path}.* is full`), suggests: /free some space/})
      await refuse(site.run, ['create', 'other'], {code: 'DISK_FULL', names: /(metadata|audit)\.db is full/, suggests: /free some space/})
      assert.equal((await site.json('agent', 'status')).agent.pid, pid)
      assert.equal((await site.run('list')).code, 0)
      const checks = (await site.json('doctor')).checks as {name: string; ok: boolean}[]
      assert.equal(checks.find(({name}) => name === 'disk')?.ok, false)
      // that it ended cannot be written down now, and is not forgotten; it may have ended of itself, as its log has no room
      signal([server], 'SIGKILL')
      await pause(2000)
      rmSync(big)
      // the agent looks once a second whether its audit log can be written again
      for (let i = 0; i < 20 && (await site.run('protect', 'demo')).code !== 0; i++) await pause(200)
      assert.equal((await site.run('unprotect', 'demo')).code, 0)
      assert.deepEqual((await untilServes(site)).rows, [[1]])
      assert.equal((await site.json('agent', 'status')).agent.pid, pid)
      assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
      assert.deepEqual(leftoversOf(site.home), [])
      assert.deepEqual(((await site.json('operations', 'list')).operations as {ended_at: string | null}[]).filter((o) => o.ended_at === null), [])
    } finally {
      rmSync(big, {force: true})
      await site.dispose()
    }
  })
})

/** Every byte that is left, to the last. */
function fill(path: string): void {
  const file = openSync(path, 'a')
  try {
    for (const size of [1024 ** 2, 4096]) {
      for (;;) {
        try {
          if (writeSync(file, Buffer.alloc(size, 1)) < size) break
        } catch {
          break
        }
      }
    }
  } finally {
    closeSync(file)
  }
}

/** A server that could not write its log is brought back by the agent: that may take a moment. */
async function untilServes(site: Site): Promise<{rows: unknown}> {
  for (let i = 0; i < 60; i++) {
    const ran = await site.run('sql', 'demo', 'select 1', '--json')
    if (ran.code === 0) return JSON.parse(ran.stdout) as {rows: unknown}
    await pause(500)
  }
  throw new Error('the server did not come back')
}

function skipLoudly(context: Mocha.Context, why: string): void {
  process.stdout.write(`      !! skipped: ${why}\n`)
  context.skip()
}

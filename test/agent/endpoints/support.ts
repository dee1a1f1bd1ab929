import {execFileSync, spawnSync} from 'node:child_process'
import {chmod, mkdtemp, readFile, readdir, readlink, rm, writeFile} from 'node:fs/promises'
import {type AddressInfo, type Server, type Socket, connect, createServer} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {buildEndpoint} from '../../../scripts/build-endpoint.js'
import {type EndpointsOptions, createEndpoints} from '../../../src/agent/endpoints/control.js'
import type {Endpoints, Route} from '../../../src/agent/endpoints/endpoint.js'

const silent = {info: () => {}, warn: () => {}}

/** A folder for one suite, with the built endpoint process in it; whatever was started is ended by `clean`. */
export class Bed {
  readonly #endpoints: Endpoints[] = []
  readonly #servers: Server[] = []
  #states = 0

  private constructor(readonly root: string, readonly bundlePath: string) {}

  static async make(): Promise<Bed> {
    const root = await mkdtemp(join(tmpdir(), 'dbaas-endpoint-'))
    await chmod(root, 0o755)
    const bundlePath = join(root, 'built.js')
    await buildEndpoint(bundlePath)
    return new Bed(root, bundlePath)
  }

  newStateDir(): string {
    return join(this.root, `state-${++this.#states}`)
  }

  /** By default the agent that would be brought back is `true`, which does nothing and ends. */
  endpoints(options: Partial<EndpointsOptions> = {}): Endpoints {
    const made = createEndpoints({
      stateDir: options.stateDir ?? this.newStateDir(),
      bundlePath: this.bundlePath,
      siteId: 'site_test',
      agentCommand: ['true'],
      env: process.env,
      log: silent,
      ...options,
    })
    this.#endpoints.push(made)
    return made
  }

  /** A bundle with another hash, as an upgrade of the package brings. */
  async otherBuild(name: string, extra = ''): Promise<string> {
    const path = join(this.root, `${name}.js`)
    await writeFile(path, `${extra}\n${await readFile(this.bundlePath, 'utf8')}\n// ${name}\n`)
    return path
  }

  /** A server of our own on a free loopback port. */
  async server(onConnection: (socket: Socket) => void, port = 0): Promise<{port: number; server: Server}> {
    const server = createServer({allowHalfOpen: true}, (socket) => {
      socket.on('error', () => {})
      onConnection(socket)
    })
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', () => resolve()))
    return {port: (server.address() as AddressInfo).port, server}
  }

  async clean(): Promise<void> {
    for (const endpoints of this.#endpoints) await endpoints.stop()
    for (const server of this.#servers) server.close()
    for (const pid of await this.processes()) process.kill(pid, 'SIGKILL')
    await rm(this.root, {recursive: true, force: true})
  }

  /** Endpoint processes whose log is in our folder: found by what they are, not by what they say. */
  async processes(): Promise<number[]> {
    const pids = execFileSync('ps', ['-eo', 'pid=,stat=,args='], {encoding: 'utf8'}).split('\n')
      .filter((line) => /dbaas endpoint|endpoint\.js/.test(line) && !/^\s*\d+\s+Z/.test(line)).map((line) => Number.parseInt(line, 10))
    const ours = await Promise.all(pids.map(async (pid) => (await openFiles(pid)).some((file) => file.startsWith(this.root))))
    return pids.filter((_, index) => ours[index])
  }
}

export async function openFiles(pid: number): Promise<string[]> {
  if (process.platform !== 'linux') {
    return execFileSync('lsof', ['-Fn', '-p', String(pid)], {encoding: 'utf8'}).split('\n').map((line) => line.slice(1))
  }
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => [])
  return Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
}

/** A zombie is not: where the first process of a container reaps late, an orphan stays one for a while. */
export const isAlive = (pid: number): boolean => {
  const state = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], {encoding: 'utf8'}).stdout.trim()
  return state !== '' && !state.startsWith('Z')
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const {port} = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

export const routeTo = (port: number, targetPort: number | null, change: Partial<Route> = {}): Route => ({
  id: 'ins_a',
  listen: {host: '127.0.0.1', port},
  target: targetPort === null ? null : {host: '127.0.0.1', port: targetPort},
  mode: 'open',
  allow: [],
  ...change,
})

/** A client that keeps what it received. */
export class Client {
  received = ''
  ended = false
  closed = false
  error: string | null = null
  readonly socket: Socket

  constructor(port: number, host = '127.0.0.1') {
    this.socket = connect({port, host, allowHalfOpen: true})
    this.socket.on('data', (bytes: Buffer) => {
      this.received += bytes.toString('latin1')
    })
    this.socket.on('end', () => {
      this.ended = true
    })
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? error.message
    })
    this.socket.on('close', () => {
      this.closed = true
    })
  }
}

/** Waits for a condition of the outside world. Throws after `ms`, naming it. */
export async function until(what: string, holds: () => unknown, ms = 8000): Promise<void> {
  for (const end = Date.now() + ms; !(await holds()); await sleep(5)) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`)
  }
}

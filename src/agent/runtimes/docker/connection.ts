/**
 * Where the Docker engine is, as the docker command would find it: DOCKER_HOST, else the current context, else a
 * socket at one of the usual places. Only the given environment is asked, never that of the process.
 */
import {createHash} from 'node:crypto'
import {constants} from 'node:fs'
import {access, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'

export type Environment = Readonly<Record<string, string | undefined>>

export type Transport =
  | {readonly kind: 'socket'; readonly path: string}
  | {readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls: Tls | null}
  | {readonly kind: 'ssh'; readonly user: string | null; readonly host: string; readonly port: number | null}

interface Tls {
  readonly ca: Buffer | undefined
  readonly cert: Buffer | undefined
  readonly key: Buffer | undefined
}

export interface Connection {
  /** For a person: `unix:///var/run/docker.sock`. */
  readonly address: string
  /** What named it: `DOCKER_HOST`, `the Docker context "lab"`, `the default socket`. */
  readonly because: string
  /** The ports it publishes on loopback are on this machine's loopback. */
  readonly local: boolean
  readonly transport: Transport
}

const pipe = '//./pipe/docker_engine'

/** Throws RUNTIME_UNAVAILABLE for an address that cannot be understood and for certificates that cannot be read. */
export async function findConnection(env: Environment, platform: NodeJS.Platform = process.platform): Promise<Connection> {
  if (env['DOCKER_HOST']) {
    const wantsTls = (env['DOCKER_TLS_VERIFY'] ?? '') !== '' || /^https:/.test(env['DOCKER_HOST'])
    const folder = env['DOCKER_CERT_PATH'] || configFolder(env)
    return connectionTo(env['DOCKER_HOST'], 'DOCKER_HOST', () => (wantsTls ? readTls(folder) : null))
  }
  const context = env['DOCKER_CONTEXT'] || (await currentContext(env))
  if (context && context !== 'default') return connectionOfContext(context, env)
  if (platform === 'win32') return connectionTo(`npipe:${pipe}`, 'the default pipe', () => null)
  const path = await firstUsable(defaultSockets(env))
  return connectionTo(`unix://${path}`, 'the default socket', () => null)
}

/** The folder of the docker command's own configuration; undefined where there is no home. */
export function configFolder(env: Environment): string | undefined {
  const home = env['HOME'] || env['USERPROFILE']
  return env['DOCKER_CONFIG'] || (home ? join(home, '.docker') : undefined)
}

function defaultSockets(env: Environment): string[] {
  return [
    '/var/run/docker.sock',
    // an engine without root
    ...(env['XDG_RUNTIME_DIR'] ? [join(env['XDG_RUNTIME_DIR'], 'docker.sock')] : []),
    // Docker Desktop
    ...(env['HOME'] ? [join(env['HOME'], '.docker/run/docker.sock')] : []),
  ]
}

/** One that may be used, else one that exists (the error is then about permissions), else the first. */
async function firstUsable(paths: readonly string[]): Promise<string> {
  for (const mode of [constants.R_OK | constants.W_OK, constants.F_OK]) {
    for (const path of paths) {
      if (await access(path, mode).then(() => true, () => false)) return path
    }
  }
  return paths[0] as string
}

async function currentContext(env: Environment): Promise<string | undefined> {
  const folder = configFolder(env)
  const config = folder === undefined ? undefined : await readJson<{currentContext?: unknown}>(join(folder, 'config.json'))
  return typeof config?.currentContext === 'string' ? config.currentContext : undefined
}

interface ContextFile {
  Endpoints?: {docker?: {Host?: unknown; SkipTLSVerify?: unknown}}
}

async function connectionOfContext(name: string, env: Environment): Promise<Connection> {
  const folder = configFolder(env)
  const id = createHash('sha256').update(name).digest('hex')
  const meta = folder === undefined ? undefined : await readJson<ContextFile>(join(folder, 'contexts/meta', id, 'meta.json'))
  const host = meta?.Endpoints?.docker?.Host
  if (typeof host !== 'string' || host === '') {
    throw new DbaasError('RUNTIME_UNAVAILABLE', `the Docker context "${name}" names no engine`, {
      details: {context: name}, suggestions: ['docker context ls', 'docker context use default', 'set DOCKER_HOST'],
    })
  }
  const tlsFolder = join(folder as string, 'contexts/tls', id, 'docker')
  return connectionTo(host, `the Docker context "${name}"`, async () => {
    const tls = await readTls(tlsFolder).catch(() => null)
    return tls?.ca || tls?.cert ? tls : null
  })
}

async function connectionTo(asked: string, because: string, tls: () => Promise<Tls | null> | null): Promise<Connection> {
  const address = asked.includes('//') ? asked : `tcp://${asked}`
  const made = (transport: Transport, local: boolean): Connection => ({address, because, local, transport})
  if (address.startsWith('unix://')) return made({kind: 'socket', path: address.slice('unix://'.length)}, true)
  if (address.startsWith('npipe:')) return made({kind: 'socket', path: address.slice('npipe:'.length).replace(/^\/\/\/\//, '//')}, true)
  let url: URL
  try {
    // the parser knows the hosts of http alone; ports of other schemes have no default
    url = new URL(address.replace(/^\w+:/, 'http:'))
  } catch {
    throw notUnderstood(asked, because)
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const scheme = /^(\w+):/.exec(address)?.[1]
  if (host === '') throw notUnderstood(asked, because)
  if (scheme === 'ssh') {
    const user = url.username === '' ? null : decodeURIComponent(url.username)
    return made({kind: 'ssh', user, host, port: url.port === '' ? null : Number(url.port)}, isLoopback(host))
  }
  if (scheme !== 'tcp' && scheme !== 'http' && scheme !== 'https') throw notUnderstood(asked, because)
  const keys = await tls()
  const port = url.port === '' ? (keys || scheme === 'https' ? 2376 : 2375) : Number(url.port)
  return made({kind: 'tcp', host, port, tls: keys}, isLoopback(host))
}

const notUnderstood = (asked: string, because: string): DbaasError =>
  new DbaasError('RUNTIME_UNAVAILABLE', `the address of the Docker engine cannot be understood: "${asked}" (${because})`, {
    details: {address: asked}, suggestions: ['write unix:///path, tcp://host:port or ssh://user@host', 'docker context ls'],
  })

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)

async function readTls(folder: string | undefined): Promise<Tls> {
  const read = (name: string): Promise<Buffer | undefined> =>
    folder === undefined ? Promise.resolve(undefined) : readFile(join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw new DbaasError('RUNTIME_UNAVAILABLE', `the certificates for the Docker engine cannot be read: ${error.message}`, {
        cause: error, suggestions: ['check DOCKER_CERT_PATH'],
      })
    })
  const [ca, cert, key] = await Promise.all([read('ca.pem'), read('cert.pem'), read('key.pem')])
  return {ca, cert, key}
}

async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T
  } catch {
    return undefined
  }
}

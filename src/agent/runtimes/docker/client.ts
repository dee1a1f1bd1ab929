/**
 * The one way to the engine. Loaded and connected at the first call; every call is bounded: an engine that has not
 * answered after a moment is asked whether it lives, so that one that hangs is known within two seconds and one that is
 * only busy is waited for.
 */
import {Agent as HttpAgent} from 'node:http'
import {Agent as HttpsAgent} from 'node:https'
import {setTimeout as sleep} from 'node:timers/promises'
import {inspect} from 'node:util'
import type Docker from 'dockerode'
import {DbaasError} from '../../../core/errors.js'
import {findConnection, type Connection, type Environment} from './connection.js'
import {isAbsent, translate, unreachable} from './errors.js'
import {SshAgent} from './ssh.js'

export interface CallOptions {
  /** The longest that it may take, however alive the engine is. Default 60 s. */
  readonly ms?: number
  /** The caller's; its reason is thrown. */
  readonly signal?: AbortSignal
}

export interface Client {
  /** Where the engine is. Reads files, connects to nothing. */
  connection(): Promise<Connection>
  /** `doing` completes "cannot …". The work gets a signal for everything it sends. Errors leave as DbaasError. */
  call<T>(doing: string, work: (docker: Docker, signal: AbortSignal) => Promise<T>, options?: CallOptions): Promise<T>
  /** The same, undefined where the engine says that there is no such thing. */
  find<T>(doing: string, work: (docker: Docker, signal: AbortSignal) => Promise<T>, options?: CallOptions): Promise<T | undefined>
  /** Calls back once, when the engine has answered for the first time; at once if it has. */
  whenUsed(callback: () => void): void
  close(): void
}

const firstDoubtMs = 1200
const laterDoubtsMs = 5000
/** Together with the first doubt below the two seconds in which the API answers. */
const pingMs = 600
/** A connection by ssh takes its time to be made. */
const pingBySshMs = 8000
const defaultMs = 60_000

interface Opened {
  readonly docker: Docker
  readonly connection: Connection
  readonly agent: HttpAgent
}

export function createClient(env: Environment): Client {
  let opening: Promise<Opened> | undefined
  let used = false
  let waiting: (() => void)[] = []

  const open = (): Promise<Opened> =>
    (opening ??= openEngine(env).catch((error: unknown) => {
      opening = undefined
      throw error
    }))

  async function call<T>(doing: string, work: (docker: Docker, signal: AbortSignal) => Promise<T>, options: CallOptions = {}): Promise<T> {
    options.signal?.throwIfAborted()
    const opened = await open()
    const stop = new AbortController()
    const over = new AbortController()
    const onAbort = (): void => stop.abort(options.signal?.reason)
    options.signal?.addEventListener('abort', onAbort, {once: true})
    try {
      const result = await Promise.race([work(opened.docker, stop.signal), doubt(opened, doing, options.ms ?? defaultMs, over.signal), aborted(stop.signal)])
      answered()
      return result
    } catch (error) {
      // not after a success: what was returned may be a stream
      stop.abort()
      options.signal?.throwIfAborted()
      const translated = translate(error, doing, opened.connection)
      // it may be somewhere else the next time: Docker Desktop was started, the context was changed
      if (translated instanceof DbaasError && translated.code === 'RUNTIME_UNAVAILABLE' && translated.details['address'] !== undefined) forget(opened)
      else answered()
      throw translated
    } finally {
      options.signal?.removeEventListener('abort', onAbort)
      over.abort()
    }
  }

  function forget(opened: Opened): void {
    opening = undefined
    opened.agent.destroy()
  }

  function answered(): void {
    if (used) return
    used = true
    for (const callback of waiting.splice(0)) callback()
  }

  return {
    connection: async () => (await open()).connection,
    call,
    find: (doing, work, options) => call(doing, (docker, signal) => work(docker, signal).catch(undefinedWhenAbsent), options),
    whenUsed(callback) {
      if (used) callback()
      else waiting.push(callback)
    },
    close() {
      waiting = []
      opening?.then((opened) => opened.agent.destroy(), () => undefined)
    },
  }
}

const undefinedWhenAbsent = (error: unknown): undefined => {
  if (!isAbsent(error)) throw error
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), {once: true}))

/** Throws when the engine does not answer a ping while it is waited for, or when the time is up; ends with `over`. */
async function doubt({docker, connection}: Opened, doing: string, ms: number, over: AbortSignal): Promise<never> {
  const until = Date.now() + ms
  let pause = firstDoubtMs
  while (!over.aborted) {
    await sleep(Math.min(pause, Math.max(0, until - Date.now())), undefined, {signal: over}).catch(() => undefined)
    if (over.aborted) break
    if (Date.now() >= until) {
      throw new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: Docker has not done it within ${Math.round(ms / 1000)} s`, {
        suggestions: ['docker info', 'dbaas doctor'],
      })
    }
    const bound = AbortSignal.timeout(connection.transport.kind === 'ssh' ? pingBySshMs : pingMs)
    const alive = await Promise.race([docker.ping().then(() => true, () => false), aborted(bound).catch(() => false)])
    if (!alive && !over.aborted) throw unreachable(connection, 'HUNG')
    pause = laterDoubtsMs
  }
  // whoever raced it has won
  return new Promise<never>(() => undefined)
}

async function openEngine(env: Environment): Promise<Opened> {
  const [connection, {default: Engine}] = await Promise.all([findConnection(env), import('dockerode')])
  const {transport} = connection
  const tls = transport.kind === 'tcp' ? transport.tls : null
  const agent = transport.kind === 'ssh' ? new SshAgent(transport, env) : tls ? new HttpsAgent() : new HttpAgent()
  // docker-modem prints every request for its debug log, whether anybody reads that or not, to any depth: with all the
  // sockets of the agent, and what they lead to, each call would cost tens to hundreds of milliseconds of this thread
  Object.defineProperty(agent, inspect.custom, {value: () => '(agent)'})
  const options = {
    // the library fills in what is not named from the environment of the process
    socketPath: transport.kind === 'socket' ? transport.path : undefined,
    host: transport.kind === 'socket' ? undefined : transport.kind === 'ssh' ? 'docker' : transport.host,
    port: transport.kind === 'tcp' ? transport.port : transport.kind === 'ssh' ? 80 : undefined,
    protocol: tls ? 'https' : 'http',
    ca: tls?.ca, cert: tls?.cert, key: tls?.key, username: undefined, timeout: undefined, pathPrefix: '/', agent,
  }
  return {docker: new Engine(options as Docker.DockerOptions), connection, agent}
}

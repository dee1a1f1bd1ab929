import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../core/errors.js'
import {backoffMs} from '../../core/workflow/backoff.js'
import {Connection, isConnectionLost} from './connection.js'
import type {CancelRequests, Endpoints, Readers, Route} from './endpoint.js'
import {installBuild, launch, removeOtherBuilds} from './launch.js'
import {type AgentLaunch, type Gives, type Operation, type Takes, type Welcome, protocolVersion} from './protocol.js'
import {shortSocketPath} from './socket-path.js'

/** What pino's loggers are. */
export interface EndpointLog {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface EndpointsOptions {
  /** Folder of its own, made when absent, 0700. Its identity is the identity of the endpoint process: one for each. */
  readonly stateDir: string
  /** The built endpoint process; copied into the state folder and run from there. */
  readonly bundlePath: string
  readonly siteId: string
  /** argv and environment by which the endpoint process brings a lost agent back. */
  readonly agentCommand: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: EndpointLog
  /**
   * The endpoint process died and a new one is there, with the routes it found on disk: the agent calls `replace`. Not
   * called by `ensure`, whose caller does that anyway.
   */
  readonly onRestart?: () => void
}

const attachMs = 20_000
const goneMs = 10_000

export function createEndpoints(options: EndpointsOptions): Endpoints {
  return new EndpointControl(options)
}

interface Attached {
  readonly connection: Connection
  readonly welcome: Welcome
}

class EndpointControl implements Endpoints {
  readonly #options: EndpointsOptions
  readonly #agent: AgentLaunch
  /** From `ensure` to `detach` or `stop`: a lost endpoint process is brought back. */
  #wanted = false
  #attached: Attached | null = null
  #attaching: Promise<Attached> | null = null

  constructor(options: EndpointsOptions) {
    this.#options = options
    const env = Object.entries(options.env).filter((entry): entry is [string, string] => entry[1] !== undefined)
    this.#agent = {command: options.agentCommand, env: Object.fromEntries(env)}
  }

  async ensure(): Promise<void> {
    this.#wanted = true
    await this.#attach()
  }

  async put(route: Takes<'put'>['route']): Promise<void> {
    await this.#request('put', {route})
  }

  async remove(routeId: string): Promise<void> {
    await this.#request('remove', {routeId})
  }

  replace(routes: Takes<'replace'>['routes']): Promise<Gives<'replace'>> {
    return this.#request('replace', {routes})
  }

  closeSessions(routeId: string): Promise<number> {
    return this.#request('closeSessions', {routeId})
  }

  async setReaders(instanceId: string, readers: Readers | null): Promise<void> {
    const id = readersOf(instanceId)
    if (readers === null) return this.remove(id)
    await this.put({...readers, id, of: instanceId, target: null, mode: 'open'})
  }

  async setCancels(routeId: string, cancel: CancelRequests): Promise<void> {
    await this.#request('setCancels', {routeId, cancel})
  }

  closeReaders(instanceId: string, target: Route['listen']): Promise<number> {
    return this.#request('closeSessions', {routeId: readersOf(instanceId), target})
  }

  async closeGate(route: Route): Promise<number> {
    await this.put({...route, mode: 'hold'})
    return this.closeSessions(route.id)
  }

  status(): Promise<Gives<'status'>> {
    return this.#request('status', {})
  }

  async detach(): Promise<void> {
    this.#wanted = false
    const attached = await this.#settled()
    if (!attached) return
    // Lost on the way means that the process is gone: nothing that could bring us back.
    await attached.connection.request('detach', {intent: 'stop'}).catch(ignoreLost)
    this.#attached = null
    attached.connection.close()
    await attached.connection.closed
  }

  async stop(): Promise<void> {
    this.#wanted = false
    const attached = (await this.#settled()) ?? (await this.#greet())
    if (!attached) return
    this.#attached = null
    const {connection, welcome} = attached
    await connection.request('stop', {}).catch(ignoreLost)
    await connection.closed
    for (const until = Date.now() + goneMs; await isRunning(welcome.pid); await sleep(10)) {
      if (Date.now() < until) continue
      throw new DbaasError('ENDPOINT_UNAVAILABLE', `the endpoint process ${welcome.pid} was told to end but runs`, {
        details: {pid: String(welcome.pid)},
        suggestions: [`kill -9 ${welcome.pid}`],
      })
    }
  }

  /** Every operation may be asked twice: its outcome is a state, not a step. So one lost connection is made good. */
  async #request<O extends Operation>(op: O, takes: Takes<O>): Promise<Gives<O>> {
    for (let attempt = 1; ; attempt++) {
      const {connection} = await this.#attach()
      try {
        return await connection.request(op, takes)
      } catch (error) {
        if (!isConnectionLost(error) || attempt === 3) throw error
        await connection.closed
      }
    }
  }

  #attach(): Promise<Attached> {
    if (!this.#wanted) {
      const message = 'the agent is not connected to the endpoint process'
      return Promise.reject(new DbaasError('ENDPOINT_UNAVAILABLE', message, {suggestions: ['dbaas agent start']}))
    }
    if (this.#attached?.connection.isOpen) return Promise.resolve(this.#attached)
    this.#attaching ??= this.#find().finally(() => {
      this.#attaching = null
    })
    return this.#attaching
  }

  /** The connection there is, once no attempt is under way. */
  async #settled(): Promise<Attached | null> {
    await this.#attaching?.catch(() => {})
    return this.#attached?.connection.isOpen ? this.#attached : null
  }

  /** Undefined when no endpoint process answers. */
  async #greet(): Promise<Attached | undefined> {
    const preferred = join(this.#options.stateDir, 'control.sock')
    const connection = await Connection.open(shortSocketPath(preferred, {make: false}))
    if (!connection) return undefined
    try {
      return {connection, welcome: await connection.request('hello', {protocol: protocolVersion, agent: this.#agent})}
    } catch (error) {
      connection.close()
      if (isConnectionLost(error)) return undefined
      throw error
    }
  }

  /** The running process of our build: found, replaced by it, or started. */
  async #find(): Promise<Attached> {
    const {stateDir, bundlePath, siteId, log} = this.#options
    const build = await installBuild(stateDir, bundlePath)
    const until = Date.now() + attachMs
    let mayUpgrade = true
    for (let attempt = 1; this.#wanted; attempt++) {
      const found = await this.#greet()
      if (!found) {
        const boot = {type: 'boot', siteId, stateDir, build: build.hash, agent: this.#agent, succeeds: false} as const
        // Not served means that another one holds the lock: one that a dead agent has just started, or that is ending.
        if (await launch(build, boot)) continue
      } else if (found.welcome.build === build.hash || !mayUpgrade) {
        if (found.welcome.build === build.hash) await removeOtherBuilds(stateDir, build.hash)
        return this.#adopt(found)
      } else {
        mayUpgrade = false
        await this.#upgrade(found, build)
        continue
      }
      if (Date.now() >= until) break
      await sleep(backoffMs(attempt, Math.random(), 20, 500))
    }
    log.warn({stateDir}, 'no endpoint process could be reached')
    throw new DbaasError('ENDPOINT_UNAVAILABLE', 'an endpoint process holds the lock of its folder but is silent', {
      details: {folder: stateDir},
      suggestions: [`tail ${join(stateDir, 'endpoint.log')}`, 'dbaas agent stop && dbaas agent start'],
    })
  }

  /** A build that cannot take over must not cost the endpoint: while we speak its protocol, the old one stays. */
  async #upgrade({connection, welcome}: Attached, build: {hash: string; bundle: string}): Promise<void> {
    const {log} = this.#options
    const fields = {from: welcome.build, to: build.hash}
    try {
      await connection.request('upgrade', {bundle: build.bundle, build: build.hash})
      log.info(fields, 'the endpoint process was replaced')
    } catch (error) {
      log.warn({...fields, error: (error as Error).message}, 'the endpoint process was not replaced')
      if (welcome.protocol !== protocolVersion && !isConnectionLost(error)) throw error
    } finally {
      connection.close()
    }
  }

  #adopt(found: Attached): Attached {
    const before = this.#attached
    this.#attached = found
    void found.connection.closed.then(() => this.#onClosed(found))
    const isNew = before !== null && before.welcome.pid !== found.welcome.pid
    // Not now: who waits for this very attachment comes first.
    if (isNew) setImmediate(() => this.#options.onRestart?.())
    return found
  }

  async #onClosed(lost: Attached): Promise<void> {
    if (this.#attached !== lost) return
    this.#options.log.warn({pid: lost.welcome.pid}, 'the endpoint process is gone; bringing it back')
    for (let attempt = 1; this.#wanted && this.#attached === lost; attempt++) {
      try {
        await this.#attach()
      } catch (error) {
        this.#options.log.warn({error: (error as Error).message}, 'the endpoint process could not be brought back yet')
        await sleep(backoffMs(attempt, Math.random(), 200, 30_000), undefined, {ref: false})
      }
    }
  }
}

const readersOf = (instanceId: string): string => `${instanceId}/readers`

function ignoreLost(error: unknown): null {
  if (isConnectionLost(error)) return null
  throw error
}

/** A zombie that nobody reaps (a container whose first process does not) answers signals and runs no more. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
}

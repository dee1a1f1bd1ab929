import {closeSync, statSync} from 'node:fs'
import type {ChildProcess} from 'node:child_process'
import type {Socket} from 'node:net'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import type {RouteState} from '../endpoint.js'
import type {Boot, Gives, Operation, Request, Welcome} from '../protocol.js'
import {lockDescriptor, protocolVersion} from '../protocol.js'
import {AgentKeeper} from './agent-keeper.js'
import {Ancestor, type Counts, type Order, type OrderMessage, type OrderResult} from './ancestor.js'
import {ControlServer} from './control-server.js'
import {acquireLock} from './lock.js'
import {RouteTable} from './route-table.js'
import {readRoutes} from './routes-file.js'
import type {Address} from './session.js'
import {answer, handOver, inherit} from './succession.js'

const watchMs = 2000
const drainStepMs = 200
const gracefulMs = 5000

/** The life of the process: boot, serve, and either end or hand over to a successor and drain. */
export class EndpointProcess {
  readonly #boot: Boot
  readonly #lock: number
  readonly #table: RouteTable
  readonly #keeper: AgentKeeper
  readonly #control: ControlServer
  readonly #ancestor: Ancestor | null
  readonly #startedAt = Date.now()
  readonly #home: {ino: number; dev: number}
  #agent: Socket | null = null
  #agentIsWanted = true
  #reigns = true
  #ending = false

  /** Undefined when another process holds the lock of the folder. */
  static async start(boot: Boot): Promise<EndpointProcess | undefined> {
    const lock = boot.succeeds ? lockDescriptor : acquireLock(join(boot.stateDir, 'endpoint.lock'))
    if (lock === null) return undefined
    const endpoint = new EndpointProcess(boot, lock)
    await endpoint.#serve()
    return endpoint
  }

  private constructor(boot: Boot, lock: number) {
    this.#boot = boot
    this.#lock = lock
    this.#home = statSync(boot.stateDir)
    this.#table = new RouteTable(boot.stateDir)
    this.#keeper = new AgentKeeper(boot.agent)
    this.#ancestor = boot.succeeds ? new Ancestor() : null
    this.#control = new ControlServer(join(boot.stateDir, 'control.sock'), this.#handle, this.#onLost)
  }

  async #serve(): Promise<void> {
    // A whole set of routes came from a predecessor that committed; else the last ones on disk are ours to restore.
    const restored = !this.#boot.succeeds || (await inherit(this.#table)) === 'orphaned'
    if (restored) {
      // Routes that cannot be restored must not keep the process from being there: the agent brings its own.
      await this.#table.replace(await readRoutes(this.#boot.stateDir)).catch((error: Error) => {
        console.error(`the routes of routes.json cannot be restored: ${error.message}`)
      })
    }
    await this.#control.open()
    setInterval(() => this.#watch(), watchMs)
    answer({type: 'serving', pid: process.pid})
  }

  /** Ends: no new sessions from now on, and established ones have so long to end by themselves. */
  async end(graceMs = gracefulMs): Promise<void> {
    const hurry = this.#ending
    this.#ending = true
    this.#agentIsWanted = false
    this.#keeper.rest()
    // A handover under way is finished first: it ends either with a successor, or with us still in charge.
    await this.#table.exclusively(async () => {})
    this.#table.drain()
    if (this.#reigns) {
      this.#control.leave()
      // From here on another process may begin: the ports and the control socket are free.
      closeSync(this.#lock)
      this.#reigns = false
    }
    const ancestor = this.#ancestor?.order({kind: 'end'})
    const until = Date.now() + (hurry ? 0 : graceMs)
    while (this.#table.sessionCount > 0 && Date.now() < until) await pause(drainStepMs)
    this.#table.close()
    await ancestor
    process.exit(0)
  }

  readonly #handle = async (request: Request, from: Socket): Promise<Gives<Operation>> => {
    switch (request.op) {
      case 'hello':
        return this.#welcome(from, request.agent)
      case 'put':
        await this.#table.put(request.route)
        await this.#ancestor?.order({kind: 'put', route: request.route})
        return null
      case 'remove':
        await this.#table.remove(request.routeId)
        await this.#ancestor?.order({kind: 'remove', routeId: request.routeId})
        return null
      case 'replace':
        await this.#table.replace(request.routes)
        await this.#ancestor?.order({kind: 'replace', routes: request.routes})
        return this.#states()
      case 'setCancels':
        await this.#table.setCancels(request.routeId, request.cancel)
        return null
      case 'closeSessions':
        return this.#closeSessions(request.routeId, request.target)
      case 'status':
        return {
          pid: process.pid,
          protocol: protocolVersion,
          build: this.#boot.build,
          startedAt: this.#startedAt,
          routes: await this.#states(),
          memoryBytes: process.memoryUsage.rss(),
        }
      case 'detach':
        this.#agentIsWanted = false
        this.#keeper.stopAsked()
        return null
      case 'stop':
        this.#keeper.stopAsked()
        setImmediate(() => void this.end(0))
        return null
      case 'upgrade':
        await this.#upgrade(request.bundle, request.build)
        return null
      default:
        throw new DbaasError('NOT_SUPPORTED', `the endpoint process does not know "${(request as {op: string}).op}"`, {
          suggestions: ['dbaas agent restart'],
        })
    }
  }

  /** The newest agent is the agent: it holds the agent's lock, so the one before it is dead or about to be. */
  #welcome(from: Socket, launch: Boot['agent']): Welcome {
    const before = this.#agent
    this.#agent = from
    if (before !== from) before?.destroySoon()
    this.#agentIsWanted = true
    this.#keeper.connected(launch)
    return {protocol: protocolVersion, pid: process.pid, build: this.#boot.build, startedAt: this.#startedAt}
  }

  readonly #onLost = (connection: Socket): void => {
    if (connection !== this.#agent) return
    this.#agent = null
    if (this.#agentIsWanted && this.#reigns) this.#keeper.lost()
  }

  async #upgrade(bundle: string, build: string): Promise<void> {
    if (!this.#reigns) throw new DbaasError('INVALID_STATE', 'the endpoint process is being replaced already')
    const boot: Boot = {...this.#boot, build, agent: this.#keeper.launch, succeeds: true}
    let closed = false
    const beforeCommit = () => {
      closed = true
      this.#control.closeToNew()
    }
    try {
      const successor = await handOver({bundle, boot, lock: this.#lock, table: this.#table, beforeCommit})
      this.#drainUnder(successor)
    } catch (error) {
      if (closed) await this.#control.open()
      const message = `the endpoint process cannot be replaced: ${(error as Error).message}`
      throw new DbaasError('ENDPOINT_UNAVAILABLE', message, {cause: error})
    }
  }

  /** No longer in charge. What is left are sessions, which obey the successor's orders and end with it. */
  #drainUnder(successor: ChildProcess): void {
    this.#reigns = false
    this.#keeper.rest()
    closeSync(this.#lock)
    process.title = `${process.title} (draining)`
    successor.on('message', (message: OrderMessage | {type: string}) => {
      if (message.type !== 'order') return
      const {number, order} = message as OrderMessage
      void this.#obey(order).then((result) => {
        if (successor.connected) successor.send({type: 'done', number, result}, () => {})
        if (order.kind === 'end') this.#exitDrained()
      })
    })
    // Sessions that nobody can close any more would survive a failover.
    successor.on('disconnect', () => this.#exitDrained())
    setInterval(() => {
      if (this.#table.sessionCount === 0 && !this.#ancestor?.isThere) this.#exitDrained()
    }, drainStepMs)
    // The reply to the upgrade is on its way; then the agent finds the successor at the same path.
    setImmediate(() => this.#control.close())
  }

  #exitDrained(): void {
    this.#table.close()
    setImmediate(() => process.exit(0))
  }

  async #obey(order: Order): Promise<OrderResult> {
    switch (order.kind) {
      case 'put':
        await this.#table.put(order.route)
        break
      case 'remove':
        await this.#table.remove(order.routeId)
        break
      case 'replace':
        await this.#table.replace(order.routes)
        break
      case 'closeSessions':
        return this.#closeSessions(order.routeId, order.target)
      case 'count':
        return Object.fromEntries((await this.#states()).map(({id, sessions, held}) => [id, {sessions, held}]))
      case 'end':
        break
    }
    await this.#ancestor?.order(order)
    return null
  }

  async #closeSessions(routeId: string, target: Address | undefined): Promise<number> {
    const own = this.#table.closeSessions(routeId, target)
    const older = await this.#ancestor?.order({kind: 'closeSessions', routeId, target})
    return own + (typeof older === 'number' ? older : 0)
  }

  /** The routes with the sessions of this process and of those that drain under it. */
  async #states(): Promise<readonly RouteState[]> {
    const older = (await this.#ancestor?.order({kind: 'count'})) as Counts | null | undefined
    return this.#table.states.map((state) => {
      const more = older?.[state.id]
      return more ? {...state, sessions: state.sessions + more.sessions, held: state.held + more.held} : state
    })
  }

  /** A home that was deleted, or deleted and made again, is not ours any more: leave without a trace. */
  #watch(): void {
    const found = statSync(this.#boot.stateDir, {throwIfNoEntry: false})
    if (found?.ino !== this.#home.ino || found.dev !== this.#home.dev) {
      console.error('the state folder is gone')
      this.#table.close()
      if (this.#reigns) this.#control.leave()
      process.exit(0)
    }
    if (!this.#reigns) return
    this.#control.reopenIfGone().catch((error: Error) => console.error(`control socket: ${error.message}`))
  }
}

import type {Server, Socket} from 'node:net'
import type {DbaasError} from '../../../core/errors.js'
import type {Route, RouteState} from '../endpoint.js'
import {type AllowList, allowList} from './allow-list.js'
import {adoptListener, listen} from './listen.js'
import {deliver} from './one-way.js'
import {type Address, type Inspect, Session} from './session.js'

const defaultHoldSeconds = 30
const defaultHoldLimit = 1000
/** So many at once are told why they are not let in; more are cut off. */
const refusedLimit = 200

/** Without readers there is nothing to wait for, and who waits is told; without its one target a route is as good as told to hold. */
const isOpen = ({mode, target, targets}: Route): boolean => mode === 'open' && (target !== null || targets !== undefined)

export const sameAddress = (a: Route['target'], b: Route['target']): boolean =>
  a?.host === b?.host && a?.port === b?.port

/** One route in force: its listener, who waits before it and who is through. */
export class Gate {
  #route: Route
  #allow: AllowList
  #server: Server | null = null
  #problem: string | null = null
  readonly #sessions = new Set<Session>()
  /** In order of arrival: a Set keeps it. */
  readonly #held = new Set<Session>()
  #turn = 0

  /** Nothing listens yet. Throws INVALID_REQUEST for an allow list that cannot be read. */
  constructor(route: Route) {
    this.#route = route
    this.#allow = allowList(route.allow)
  }

  get route(): Route {
    return this.#route
  }

  get server(): Server | null {
    return this.#server
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  get wantsListener(): boolean {
    return this.#route.mode !== 'closed' && this.#server === null
  }

  state(): RouteState {
    return {
      ...this.#route,
      listening: this.#server !== null,
      problem: this.wantsListener ? this.#problem : null,
      sessions: this.#sessions.size - this.#held.size,
      held: this.#held.size,
    }
  }

  /** Listens for the route, unless closed or listening already. Throws as `listen`; the reason is kept as problem. */
  async open(): Promise<void> {
    if (!this.wantsListener) return
    try {
      this.#server = await listen(this.#route.listen, this.#accept)
      this.#problem = null
    } catch (error) {
      this.#problem = (error as DbaasError).message
      throw error
    }
  }

  adopt(received: Server): void {
    this.#server = adoptListener(received, this.#accept)
  }

  /**
   * Puts a changed route in force. Established sessions go on whatever changes, until `closeSessions`: a new target or
   * allow list is for those who are not through yet. A new address is listened on before the old one is given up.
   */
  async change(route: Route): Promise<void> {
    const allow = allowList(route.allow)
    const moves = !sameAddress(route.listen, this.#route.listen)
    if (route.mode !== 'closed' && (moves || this.#server === null)) {
      const server = await listen(route.listen, this.#accept)
      this.#server?.close()
      this.#server = server
    }
    this.apply(route, allow)
  }

  /** As `change`, but never makes a listener: for a process that drains. */
  apply(route: Route, allow = allowList(route.allow)): void {
    const retargeted = !sameAddress(route.target, this.#route.target)
    const lost = (session: Session): boolean => route.targets !== undefined && !route.targets.some((each) => sameAddress(each, session.target))
    this.#route = route
    this.#allow = allow
    if (route.mode === 'closed') this.unlisten()
    for (const session of [...this.#sessions]) {
      if (session.state === 'established' || session.state === 'refused') continue
      if (route.mode === 'closed') session.close()
      else if (!isOpen(route)) {
        if (session.state === 'connecting') this.#hold(session)
      } else if (session.state === 'held' || retargeted || lost(session)) this.#forward(session)
    }
  }

  /** Gives up the listener; sessions go on. */
  unlisten(): void {
    this.#server?.close()
    this.#server = null
  }

  /** How many sessions there were. Those that are held or on their way stay: they follow the route. */
  closeSessions(target?: Address): number {
    const established = [...this.#sessions].filter((session) => session.state === 'established' && (target === undefined || sameAddress(target, session.target)))
    for (const session of established) session.close()
    return established.length
  }

  /** Ends everything of the route. */
  close(): void {
    this.unlisten()
    for (const session of this.#sessions) session.close()
  }

  readonly #accept = (socket: Socket): void => {
    const open = isOpen(this.#route)
    const full = !open && this.#held.size >= (this.#route.holdLimit ?? defaultHoldLimit)
    const unwelcome = full || (open && this.#route.targets?.length === 0)
    if ((unwelcome && this.#refused >= refusedLimit) || !this.#allow(socket.remoteAddress ?? '')) {
      // Who resets a connection at once must not end the process by an error that nobody hears.
      socket.on('error', () => {}).destroy()
      return
    }
    const session = new Session(socket, {onState: this.#onState, refusal: () => this.#route.refusal, inspect: this.#inspecting()})
    this.#sessions.add(session)
    if (unwelcome) session.refuse()
    else if (open) this.#forward(session)
    else this.#hold(session)
  }

  #hold(session: Session): void {
    session.hold((this.#route.holdSeconds ?? defaultHoldSeconds) * 1000)
  }

  #forward(session: Session): void {
    const {target, targets} = this.#route
    session.forward(targets === undefined ? [target as Address] : this.#byLoad(targets))
  }

  /** The one with the fewest sessions first; among equals, each in its turn. */
  #byLoad(targets: readonly Address[]): readonly Address[] {
    const first = this.#turn++ % Math.max(1, targets.length)
    const turned = [...targets.slice(first), ...targets.slice(0, first)]
    const load = turned.map((each) => {
      let sessions = 0
      for (const session of this.#sessions) if (sameAddress(each, session.target)) sessions++
      return {each, sessions}
    })
    return load.sort((a, b) => a.sessions - b.sessions).map(({each}) => each)
  }

  /** Undefined where nothing has to be looked at, which is cheaper. */
  #inspecting(): Inspect | undefined {
    const {cancel} = this.#route
    if (cancel === undefined) return undefined
    const mark = Buffer.from(cancel.hex, 'hex')
    return {
      bytes: cancel.offset + mark.length,
      passes: (first, session) => {
        if (!first.subarray(cancel.offset, cancel.offset + mark.length).equals(mark)) return true
        // the route may have been changed since the connection came
        if (this.#route.cancel?.mode === 'drop') return false
        for (const other of this.#route.targets ?? []) if (!sameAddress(other, session.target)) deliver(first, other)
        return true
      },
    }
  }

  get #refused(): number {
    let count = 0
    for (const session of this.#sessions) if (session.state === 'refused') count++
    return count
  }

  readonly #onState = (session: Session): void => {
    if (session.state === 'held') this.#held.add(session)
    else this.#held.delete(session)
    if (session.state === 'closed') this.#sessions.delete(session)
  }
}

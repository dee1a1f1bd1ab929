import type {Server, Socket} from 'node:net'
import type {DbaasError} from '../../../core/errors.js'
import type {Route, RouteState} from '../endpoint.js'
import {type AllowList, allowList} from './allow-list.js'
import {adoptListener, listen} from './listen.js'
import {Session} from './session.js'

const defaultHoldSeconds = 30
const defaultHoldLimit = 1000

/** Nothing to forward to is as good as being told to hold. */
const isOpen = (route: Route): boolean => route.mode === 'open' && route.target !== null

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
    this.#route = route
    this.#allow = allow
    if (route.mode === 'closed') this.unlisten()
    for (const session of [...this.#sessions]) {
      if (session.state === 'established') continue
      if (route.mode === 'closed') session.close()
      else if (!isOpen(route)) {
        if (session.state === 'connecting') this.#hold(session)
      } else if (session.state === 'held' || retargeted) this.#forward(session)
    }
  }

  /** Gives up the listener; sessions go on. */
  unlisten(): void {
    this.#server?.close()
    this.#server = null
  }

  /** How many sessions there were. Those that are held or on their way stay: they follow the route. */
  closeSessions(): number {
    const established = [...this.#sessions].filter((session) => session.state === 'established')
    for (const session of established) session.close()
    return established.length
  }

  /** Ends everything of the route. */
  close(): void {
    this.unlisten()
    for (const session of this.#sessions) session.close()
  }

  readonly #accept = (socket: Socket): void => {
    const full = !isOpen(this.#route) && this.#held.size >= (this.#route.holdLimit ?? defaultHoldLimit)
    if (full || !this.#allow(socket.remoteAddress ?? '')) {
      // Who resets a connection at once must not end the process by an error that nobody hears.
      socket.on('error', () => {}).destroy()
      return
    }
    const session = new Session(socket, this.#onState)
    this.#sessions.add(session)
    if (isOpen(this.#route)) this.#forward(session)
    else this.#hold(session)
  }

  #hold(session: Session): void {
    session.hold((this.#route.holdSeconds ?? defaultHoldSeconds) * 1000)
  }

  #forward(session: Session): void {
    if (this.#route.target) session.forward(this.#route.target)
  }

  readonly #onState = (session: Session): void => {
    if (session.state === 'held') this.#held.add(session)
    else this.#held.delete(session)
    if (session.state === 'closed') this.#sessions.delete(session)
  }
}

import type {Server} from 'node:net'
import type {CancelRequests, Route, RouteState} from '../endpoint.js'
import {allowList} from './allow-list.js'
import {Gate, sameAddress} from './gate.js'
import {writeRoutes} from './routes-file.js'
import type {Address} from './session.js'

const retryMs = 1000

/**
 * All routes of the process. Changes are made one after the other, in the order they were asked for; each is in force
 * and on disk when its promise resolves.
 */
export class RouteTable {
  readonly #gates = new Map<string, Gate>()
  readonly #stateDir: string
  #turn: Promise<unknown> = Promise.resolve()
  #unsaved = false
  #drains = false
  readonly #retry: NodeJS.Timeout

  constructor(stateDir: string) {
    this.#stateDir = stateDir
    this.#retry = setInterval(() => void this.#inTurn(() => this.#repair()), retryMs)
  }

  get routes(): readonly Route[] {
    return [...this.#gates.values()].map((gate) => gate.route)
  }

  get states(): readonly RouteState[] {
    return [...this.#gates.values()].map((gate) => gate.state())
  }

  get sessionCount(): number {
    let count = 0
    for (const gate of this.#gates.values()) count += gate.sessionCount
    return count
  }

  /** Throws PORT_IN_USE or INVALID_REQUEST; the route is then as it was before. */
  put(route: Route): Promise<void> {
    return this.#inTurn(async () => {
      const gate = this.#gates.get(route.id)
      if (this.#drains) gate?.apply(keeping(route, gate))
      else if (gate) await gate.change(keeping(route, gate))
      else {
        const made = new Gate(route)
        await made.open()
        this.#gates.set(route.id, made)
      }
      await this.#save()
    })
  }

  setCancels(id: string, cancel: CancelRequests): Promise<void> {
    return this.#inTurn(async () => {
      const gate = this.#gates.get(id)
      if (!gate) return
      gate.apply({...gate.route, cancel})
      await this.#save()
    })
  }

  remove(id: string): Promise<void> {
    return this.#inTurn(async () => {
      for (const {route} of [...this.#gates.values()]) if (route.of === id) this.#drop(route.id)
      this.#drop(id)
      await this.#save()
    })
  }

  /** A route that cannot listen now stays, with its problem, and is tried again each second. */
  replace(routes: readonly Route[]): Promise<readonly RouteState[]> {
    return this.#inTurn(async () => {
      // All or nothing: what cannot be read is found before anything is changed.
      for (const route of routes) allowList(route.allow)
      const wanted = new Map(routes.map((route) => [route.id, route]))
      for (const [id, gate] of this.#gates) {
        const route = wanted.get(id)
        if (!route && gate.route.of !== undefined && wanted.has(gate.route.of)) continue
        if (!route) this.#drop(id)
        // All that move let go of their port before any of them listens: two routes may have swapped.
        else if (!sameAddress(route.listen, gate.route.listen)) gate.unlisten()
      }
      for (const route of wanted.values()) {
        const gate = this.#gates.get(route.id)
        if (gate) gate.apply(keeping(route, gate))
        else if (!this.#drains) this.#gates.set(route.id, new Gate(route))
      }
      await this.#openAll()
      await this.#save()
      return this.states
    })
  }

  closeSessions(id: string, target?: Address): number {
    return this.#gates.get(id)?.closeSessions(target) ?? 0
  }

  /** Takes a route over from the predecessor, with its listener. In force at once. */
  adopt(route: Route, server: Server | null): void {
    const gate = new Gate(route)
    if (server) gate.adopt(server)
    this.#gates.set(route.id, gate)
  }

  /** Runs when no change is under way, and lets none begin before it ends. */
  exclusively<T>(act: (gates: readonly Gate[]) => Promise<T>): Promise<T> {
    return this.#inTurn(() => act([...this.#gates.values()]))
  }

  /** From now on sessions end and none begin; held ones still follow their route. */
  drain(): void {
    this.#drains = true
    clearInterval(this.#retry)
    for (const gate of this.#gates.values()) gate.unlisten()
  }

  close(): void {
    this.drain()
    for (const gate of this.#gates.values()) gate.close()
  }

  #drop(id: string): void {
    this.#gates.get(id)?.close()
    this.#gates.delete(id)
  }

  async #repair(): Promise<void> {
    if (this.#drains) return
    await this.#openAll()
    if (this.#unsaved) await this.#save()
  }

  async #openAll(): Promise<void> {
    if (this.#drains) return
    // A gate that cannot open keeps the reason as its problem.
    for (const gate of this.#gates.values()) await gate.open().catch(() => {})
  }

  /** A full disk must not cost a running database its endpoint: the routes stay in force, and saving is tried again. */
  async #save(): Promise<void> {
    if (this.#drains) return
    try {
      await writeRoutes(this.#stateDir, this.routes)
      this.#unsaved = false
    } catch (error) {
      if (!this.#unsaved) console.error(`routes.json cannot be written: ${(error as Error).message}`)
      this.#unsaved = true
    }
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(act)
    this.#turn = result.catch(() => {})
    return result
  }
}

/** Whoever moves a route knows nothing of what its commits wait for. */
const keeping = (route: Route, {route: {cancel}}: Gate): Route => (route.cancel !== undefined || cancel === undefined ? route : {...route, cancel})

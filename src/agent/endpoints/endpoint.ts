/**
 * The promise of the endpoint process: one small L4 proxy of its own for the site, which outlives the agent. It owns
 * the stable address of every instance, forwards bytes to the current primary, and during a restart or a change of
 * primary holds new connections (bounded) instead of refusing them. TLS passes through it untouched, and so do
 * cancel requests, which are connections like any other.
 */
export interface Route {
  /** Instance id. */
  readonly id: string
  readonly listen: {readonly host: string; readonly port: number}
  readonly target: {readonly host: string; readonly port: number} | null
  /**
   * - `open`: new connections go to the target.
   * - `hold`: new connections wait, at most `holdSeconds` each and `holdLimit` at once, for `open`; established ones go on.
   * - `closed`: nothing listens.
   */
  readonly mode: 'open' | 'hold' | 'closed'
  readonly holdSeconds?: number
  readonly holdLimit?: number
  /** Remote addresses allowed, CIDR; empty is everybody who can reach the address. */
  readonly allow: readonly string[]
}

export interface RouteState extends Route {
  readonly listening: boolean
  /** Why it does not listen: the port is taken, say. */
  readonly problem: string | null
  readonly sessions: number
  readonly held: number
}

export interface EndpointStatus {
  readonly pid: number
  readonly protocol: number
  /** Hash of the bundle it runs. */
  readonly build: string
  readonly startedAt: number
  readonly routes: readonly RouteState[]
  readonly memoryBytes: number
}

/** The agent's side of the control protocol. */
export interface Endpoints {
  /** Connects to the running endpoint process, or starts one. Called at agent start and whenever it is gone. */
  ensure(): Promise<void>
  /** Makes or changes one route; when it returns, the route is in force (listening, or PORT_IN_USE is thrown). */
  put(route: Route): Promise<void>
  remove(id: string): Promise<void>
  /** Replaces all routes: reconciliation at agent start. Routes that did not change keep their sessions. */
  replace(routes: readonly Route[]): Promise<readonly RouteState[]>
  /** Closes the established sessions of a route; returns how many there were. */
  closeSessions(id: string): Promise<number>
  status(): Promise<EndpointStatus>
  /** Tells the endpoint process to end, and waits for it (agent stop with nothing running, tests). */
  stop(): Promise<void>
  /** Forgets the connection; the endpoint process goes on. */
  detach(): Promise<void>
}

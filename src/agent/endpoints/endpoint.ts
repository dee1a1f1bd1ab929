/**
 * The promise of the endpoint process: one small L4 proxy of its own for the site, which outlives the agent. It owns
 * the stable address of every instance, forwards bytes to the current primary, and during a restart or a change of
 * primary holds new connections (bounded) instead of refusing them. TLS passes through it untouched, and so do
 * cancel requests, which are connections like any other.
 */
export interface Route {
  /** Instance id; of a route to readers, one of its own. */
  readonly id: string
  readonly listen: {readonly host: string; readonly port: number}
  readonly target: {readonly host: string; readonly port: number} | null
  /** Any of these instead of `target`: new connections go to the one with the fewest, and to another when that one cannot be reached. */
  readonly targets?: readonly {readonly host: string; readonly port: number}[]
  /** The route that it belongs to: it goes with that one, and `replace` does not touch it. */
  readonly of?: string
  /** What clients hear who are not let through: no target can be reached, or they were held too long. Without it they are cut off. */
  readonly refusal?: Refusal
  /** `put` and `replace` keep what it was where they say nothing. */
  readonly cancel?: CancelRequests
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

/** The engine's own words, so that a client shows them. */
export interface Refusal {
  /** Where servers speak first, at once; else as the answer to the client's first packet. */
  readonly when: 'at-once' | 'when-spoken-to'
  readonly base64: string
}

/**
 * Requests to cancel what another session does come on connections of their own. `hex` at `offset` of the first packet tells one that is
 * not encrypted; an encrypted one is a connection like any other. Only the server with the session knows what is meant, so with several
 * targets all are told. `drop`: they go nowhere. A commit that waits for its replicas is acknowledged by PostgreSQL when it is cancelled,
 * though nobody has it: while writes are held up, no request may reach them.
 */
export interface CancelRequests {
  readonly offset: number
  readonly hex: string
  readonly mode: 'pass' | 'drop'
}

/** Where connections that only read go. */
export interface Readers {
  readonly listen: Route['listen']
  /** Healthy replicas; with none, clients are refused. */
  readonly targets: readonly Route['listen'][]
  readonly allow: readonly string[]
  readonly refusal?: Refusal
  readonly cancel?: CancelRequests
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
  /** With the readers of it. */
  remove(id: string): Promise<void>
  /**
   * Makes or changes the second address of an instance, which leads to its replicas; null takes it away, with its sessions. In force, and
   * throws, as `put`. Sessions stay where they are when a target is taken out (`closeReaders`). It survives `replace` and the agent.
   */
  setReaders(instanceId: string, readers: Readers | null): Promise<void>
  /** Of the route of an instance, and nothing else of it, so that it gets in the way of no other change. Nothing where there is no route. */
  setCancels(instanceId: string, cancel: CancelRequests): Promise<void>
  /** Closes the sessions that read from that replica; returns how many there were. */
  closeReaders(instanceId: string, target: Route['listen']): Promise<number>
  /**
   * New connections of the route are held, and those that are through are closed: when it returns, nobody speaks to its target through
   * the endpoint. Returns how many were closed. Again is harmless. `put` with mode `open` lets the held ones go on, to wherever it leads.
   */
  closeGate(route: Route): Promise<number>
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

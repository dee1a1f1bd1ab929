/**
 * The control protocol between agent and endpoint process: newline-delimited JSON over a Unix socket, one reply for
 * each request, matched by `id`. `hello`, `upgrade`, `stop` and `detach` keep their shape in every version, so that any
 * agent can replace any endpoint process; the rest may change with `protocolVersion`.
 */
import type {ErrorDetail} from '../../core/errors.js'
import type {CancelRequests, EndpointStatus, Route, RouteState} from './endpoint.js'

export const protocolVersion = 2

/** How the endpoint process brings the agent back. Stays in memory only: an environment may hold secrets. */
export interface AgentLaunch {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export interface Welcome {
  readonly protocol: number
  readonly pid: number
  readonly build: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** Each operation with what it takes and gives. */
export interface Operations {
  hello: {takes: {readonly protocol: number; readonly agent: AgentLaunch}; gives: Welcome}
  put: {takes: {readonly route: Route}; gives: null}
  remove: {takes: {readonly routeId: string}; gives: null}
  replace: {takes: {readonly routes: readonly Route[]}; gives: readonly RouteState[]}
  setCancels: {takes: {readonly routeId: string; readonly cancel: CancelRequests}; gives: null}
  /** All, or those to one target. */
  closeSessions: {takes: {readonly routeId: string; readonly target?: Route['listen']}; gives: number}
  status: {takes: {}; gives: EndpointStatus}
  /** Ends the endpoint process. The reply comes before the end; the end of the connection is its proof. */
  stop: {takes: {}; gives: null}
  /** The agent leaves on purpose: it is not to be brought back. */
  detach: {takes: {readonly intent: 'stop'}; gives: null}
  /** Starts `bundle` as successor and hands over; the reply means that the successor has taken over. */
  upgrade: {takes: {readonly bundle: string; readonly build: string}; gives: null}
}
export type Operation = keyof Operations
export type Takes<O extends Operation> = Operations[O]['takes']
export type Gives<O extends Operation> = Operations[O]['gives']

export type Request = {[O in Operation]: {readonly id: number; readonly op: O} & Takes<O>}[Operation]
export type Reply =
  | {readonly id: number; readonly result: unknown}
  | {readonly id: number; readonly error: ErrorDetail}

/** What a fresh endpoint process is told by who started it, over the IPC channel (argv and disk are for everybody). */
export interface Boot {
  readonly type: 'boot'
  readonly siteId: string
  readonly stateDir: string
  readonly build: string
  readonly agent: AgentLaunch
  /** True for the successor of a running process: it inherits the lock (`lockDescriptor`) and the listeners. */
  readonly succeeds: boolean
}

/** What it answers: it serves; or another one holds the lock, and this one ends; or it cannot. */
export type BootOutcome =
  | {readonly type: 'serving'; readonly pid: number}
  | {readonly type: 'lost'}
  | {readonly type: 'failed'; readonly message: string}

/** stdio index of the inherited lock in a successor (0 to 2 are standard, 3 is the IPC channel). */
export const lockDescriptor = 4

/** V8 defaults are made for servers with gigabytes; this process lives on a few small objects per session. */
export const nodeFlags = ['--max-semi-space-size=1', '--max-old-space-size=256'] as const

const longestLine = 8 * 1024 * 1024

export const encode = (message: Request | Reply): string => `${JSON.stringify(message)}\n`

/** Cuts a byte stream into parsed lines, wherever its chunks end. Throws on what is not JSON, and on endless lines. */
export class LineDecoder<Message> {
  private parts: Buffer[] = []
  private size = 0

  push(chunk: Buffer): Message[] {
    const messages: Message[] = []
    let from = 0
    for (let to = chunk.indexOf(10, from); to !== -1; to = chunk.indexOf(10, from)) {
      this.parts.push(chunk.subarray(from, to))
      messages.push(JSON.parse(Buffer.concat(this.parts).toString('utf8')) as Message)
      this.parts = []
      this.size = 0
      from = to + 1
    }
    if (from < chunk.length) {
      this.parts.push(chunk.subarray(from))
      this.size += chunk.length - from
      if (this.size > longestLine) throw new Error('a control message is longer than 8 MiB')
    }
    return messages
  }
}

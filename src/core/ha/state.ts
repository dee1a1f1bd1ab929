/**
 * What is known of an HA cluster whatever dies: one durable record, written before every change that it speaks of.
 * The invariants I1 to I8 that its parts obey are told where each is kept: quorum.ts (sets), elect.ts (who), operation.ts (order).
 */
import type {Json} from '../json.js'
import type {Line, Position} from './line.js'

export type NodeId = string

/** `ANY k (names)`: a commit is acknowledged when k of these have flushed it. Names are sorted. */
export interface SyncSet {
  readonly k: number
  readonly names: readonly NodeId[]
}

/**
 * What an operation is busy with; stored before it is done, and safe to do again. `stop` is a switchover's alone: the endpoint
 * is gated and the old primary ends in order. From `promote` on there is no way back, only on.
 */
export const phases = ['stop', 'fence', 'arm', 'promote', 'prove', 'open', 'abort'] as const
export type Phase = (typeof phases)[number]

/** Where each phase may lead; `null` is the operation's end. A primary that is lost after `promote` begins a new operation at `fence`. */
export const legalPhases: Readonly<Record<Phase, readonly (Phase | null)[]>> = {
  stop: ['fence', 'abort'],
  fence: ['arm', 'abort'],
  arm: ['promote', 'fence', 'abort'],
  promote: ['prove', 'fence'],
  prove: ['open', 'fence'],
  open: [null, 'fence'],
  abort: [null, 'fence'],
}

/** Before it an operation may be given up: nothing has been changed that cannot be changed back. */
export const isPastReturn = (phase: Phase): boolean => phase === 'promote' || phase === 'prove' || phase === 'open'

export interface HaOperation {
  readonly kind: 'failover' | 'switchover'
  readonly phase: Phase
  /** Milliseconds since the epoch: when it began, and its phase. */
  readonly startedAt: number
  readonly phaseAt: number
  readonly old: NodeId
  /** Who a person wants; wins among equals. */
  readonly preferred: NodeId | null
  /** From `arm` on. May be `old` itself: then it is started again in place. */
  readonly chosen: NodeId | null
  /** The timeline that `chosen` is promoted to; from `promote` on. */
  readonly timeline: number | null
  /** A person wants it though the primary is healthy: it is not given up for that. */
  readonly forced: boolean
  /** A person allows to lose acknowledged writes: the best of those that answer is taken, quorum or not. */
  readonly allowDataLoss: boolean
  /** `old` was chosen by an operation that did not get as far as to prove its set: it may not simply go on. */
  readonly unproven: boolean
  /** What was true when it began. */
  readonly snapshot: {readonly voters: readonly NodeId[], readonly k: number, readonly timeline: number}
  readonly because: string
}

/**
 * A node whose log is not the primary's is made anew from it. While it lasts the node says nothing in an election, though it
 * may be a voter: what it had confirmed may be gone. Over when the node carries the stamp and streams beyond `atLeast`.
 */
export interface Rejoin {
  /** `rebuild` where going back is not possible: the timelines have the same number and are not the same. */
  readonly how: 'rewind' | 'rebuild'
  /** The primary's position when it began: it holds all that had been acknowledged. */
  readonly atLeast: Position
  /** Written into the node's data when its files are whole. */
  readonly stamp: number
}

export interface HaNode {
  /** False: never a voter, never chosen (a read replica elsewhere, or one that is being removed). */
  readonly mayVote: boolean
  /** Higher is preferred among equals. */
  readonly priority: number
  readonly rejoin: Rejoin | null
  /** It was the primary, and nobody has seen it end: it is killed as soon as it can be reached, whether it answers or not. */
  readonly unfenced: boolean
}

export const newNode = (priority: number, mayVote = true): HaNode => ({mayVote, priority, rejoin: null, unfenced: false})

export interface HaState {
  /** One more with every change. */
  readonly epoch: number
  readonly systemId: string
  readonly primary: NodeId
  /** Of the primary, as last recorded; until `prove` that with which it was chosen. */
  readonly line: Line
  /** The highest timeline ever given out: a number is never used twice, even by a promotion that failed. */
  readonly highestTimeline: number
  /** At least so many voters hold each acknowledged write. 0 with no voters: none is promised, and none may be elected. */
  readonly k: number
  readonly voters: readonly NodeId[]
  readonly wanted: {readonly k: number, readonly voters: number}
  readonly nodes: Readonly<Record<NodeId, HaNode>>
  readonly operation: HaOperation | null
}

/** The default is a primary and two voters, one of which confirms: one loss of any node neither loses a write nor blocks one. */
export const wantedOf = (replicas: number): HaState['wanted'] => ({k: Math.min(1, replicas), voters: Math.min(2, replicas)})

/** A cluster of which only the primary is trusted yet: sets grow from here (quorum.ts). */
export function beginHa(first: {readonly systemId: string, readonly primary: NodeId, readonly line: Line, readonly nodes: readonly NodeId[],
  readonly wanted: HaState['wanted']}): HaState {
  const nodes = Object.fromEntries(first.nodes.map((id, i): [NodeId, HaNode] => [id, newNode(-i)]))
  const highestTimeline = first.line.at(-1)?.timeline ?? 1
  return {epoch: 1, systemId: first.systemId, primary: first.primary, line: first.line, highestTimeline, k: 0, voters: [], wanted: first.wanted, nodes, operation: null}
}

export const changed = (state: HaState, changes: Partial<Omit<HaState, 'epoch'>>): HaState => ({...state, ...changes, epoch: state.epoch + 1})

export const withNode = (state: HaState, id: NodeId, changes: Partial<HaNode>): HaState['nodes'] =>
  ({...state.nodes, [id]: {...(state.nodes[id] ?? newNode(0)), ...changes}})

export const sortedNames = (names: Iterable<NodeId>): NodeId[] => [...new Set(names)].sort()
export const sameNames = (a: readonly NodeId[], b: readonly NodeId[]): boolean => sortedNames(a).join() === sortedNames(b).join()
export const sameSet = (a: SyncSet | null, b: SyncSet | null): boolean => (a === null || b === null ? a === b : a.k === b.k && sameNames(a.names, b.names))
export const describeSet = (set: SyncSet | null): string => (set === null ? 'nobody' : set.k === set.names.length ? set.names.join(' and ') : `any ${set.k} of ${set.names.join(', ')}`)

/** Positions as decimal strings: JSON has no number as large. */
export const encodeState = (state: HaState): Json => JSON.parse(JSON.stringify(state, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))) as Json

export function decodeState(json: Json): HaState {
  const state = json as unknown as HaState
  return {
    ...state,
    line: state.line.map(({timeline, until}) => ({timeline, until: until === null ? null : BigInt(until)})),
    nodes: Object.fromEntries(Object.entries(state.nodes).map(([id, node]) =>
      [id, {...node, rejoin: node.rejoin && {...node.rejoin, atLeast: BigInt(node.rejoin.atLeast)}}])),
  }
}

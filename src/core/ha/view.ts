/** What was seen of a cluster in one round, and what can be done to it. Filled in by who observes, read by the policy. */
import type {Diagnosis} from './diagnose.js'
import type {Line, Position} from './line.js'
import type {HaState, NodeId, SyncSet} from './state.js'

export interface ServerView {
  readonly systemId: string
  readonly inRecovery: boolean
  readonly line: Line
  /** All that it has flushed: received or replayed, whichever is more. */
  readonly position: Position
  readonly replayed: Position
  /** Who it is told to stream from; null: from nobody. */
  readonly follows: NodeId | null
  readonly streaming: boolean
  /** It follows nobody, no receiver runs, and it has read its log to the end: its position is final, and it confirms nothing to anybody. */
  readonly revoked: boolean
  /** Synchronous set *in force* (every sender knows it), not the one in a file. Of a node in recovery: with which it would come up. */
  readonly set: SyncSet | null
  /** The file says the same. Else somebody died between writing and reloading it, and whoever reloads next brings another set in force. */
  readonly settled: boolean
}

export interface NodeView {
  /** From the runtime. `unreachable`: it cannot be asked, or was killed and the end could not be confirmed. */
  readonly process: 'running' | 'exited' | 'unreachable'
  /** Null: it did not answer in this round. */
  readonly server: ServerView | null
  /** Of the last rejoin that was finished; from its files. */
  readonly stamp: number | null
  /** It is being started or rejoined. */
  readonly busy: boolean
  /** It said itself that its log is not part of the primary's. */
  readonly cannotFollow: boolean
}

/** A replica as the primary sees it. */
export interface Stream {
  readonly flushed: Position
  /** Milliseconds since it streamed last; null: it streams. */
  readonly lostMs: number | null
}

/** A position of a primary's log that was read after `key` was true of it. Kept in memory: one that is lost is only made again. */
export interface Mark {
  readonly key: string
  readonly position: Position
}

export interface ClusterView {
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly nodes: Readonly<Record<NodeId, NodeView>>
  /** Where the endpoint leads to; null: it is gated, holds new clients and has cut off the old. */
  readonly gate: NodeId | null
  /** By the primary of the state; empty when it does not answer. */
  readonly streams: Readonly<Record<NodeId, Stream>>
  readonly mark: Mark | null
  /** Of the primary of the state. */
  readonly diagnosis: Diagnosis
}

/** All can be done again, and half done be done again. Those of one decision depend on nothing of each other. */
export type Action =
  /** Alone in its decision. Synced to disk before anything else; the same view may then be used once more. */
  | {readonly kind: 'persist', readonly state: HaState}
  /** Hold new clients, cut off those that are there. */
  | {readonly kind: 'close-gate'}
  /** Undo what is left of a standby, lead the endpoint to the node, let the held clients go on. */
  | {readonly kind: 'open', readonly node: NodeId}
  /** An orderly end, in which replicas receive the last of the log. */
  | {readonly kind: 'stop', readonly node: NodeId}
  /** Kill all of its processes, and find that they are gone. */
  | {readonly kind: 'fence', readonly node: NodeId}
  /** Follow nobody, durably; wait until no receiver runs and the log is read to its end. */
  | {readonly kind: 'revoke', readonly node: NodeId}
  /** As a standby, always. `follows` null: of nobody. */
  | {readonly kind: 'start', readonly node: NodeId, readonly follows: NodeId | null}
  /** Follow the node, by its own address and never the endpoint's. */
  | {readonly kind: 'repoint', readonly node: NodeId, readonly to: NodeId}
  /** Set the synchronous set, and wait until it is in force. Null: nobody confirms. */
  | {readonly kind: 'set', readonly node: NodeId, readonly set: SyncSet | null}
  /** Leave recovery on exactly this timeline. Nothing when it has left it. */
  | {readonly kind: 'promote', readonly node: NodeId, readonly timeline: number}
  /** Read the node's flushed position, now, and keep it under the key. */
  | {readonly kind: 'mark', readonly node: NodeId, readonly key: string}
  /** End it, make its files those of `from` (a checkpoint there first, else a rewind finds nothing to do), write the stamp, start it as a
   *  standby of `from`. A rewind that fails is followed by a rebuild; files that are half done are never started. */
  | {readonly kind: 'rejoin', readonly node: NodeId, readonly from: NodeId, readonly how: 'rewind' | 'rebuild', readonly stamp: number}

export interface Decision {
  readonly actions: readonly Action[]
  readonly because: string
}

/** What the lives of instances need of their clusters; the high-availability service gives it. An instance of one server has none. */
import type {ApiReplication} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import type {HaState, NodeId} from '../../core/ha/state.js'
import type {Engine} from '../../engines/engine.js'
import type {Tx} from '../store/store.js'
import type {NodeChange} from './node-changes.js'
import type {Subject} from './subject.js'

/** What a cluster knows of one of its nodes now. */
export interface NodeFacts {
  readonly sync_state: 'sync' | 'async' | 'none'
  readonly timeline: number | null
  readonly lsn: string | null
  readonly lag_bytes: number | null
  readonly lag_seconds: number | null
  /** Milliseconds since the epoch. */
  readonly lastSync: number | null
}

export interface ClusterFacts {
  readonly replication: ApiReplication
  readonly highAvailability: boolean
  /** Leads to its replicas; null until it has a port. */
  readonly readOnlyEndpoint: {readonly host: string; readonly port: number} | null
}

/** A change of all servers of a cluster, one after the other. Of which operation: whatever was done for it is found again by that. */
export interface Roll {
  readonly instanceId: string
  readonly operationId: string
  /** What each server is started with; null: with what it has, it is only started anew. */
  readonly change: NodeChange | null
}

export interface RollStep {
  readonly signal: AbortSignal
  progress(because: string): void
}

export interface RollPlan {
  /** Names of nodes, in the order in which they are started; the primary of before where it is. */
  readonly replicasFirst: readonly string[]
  /** `switchover`: to whom; `restart`: it is started where it is. Of several the first. */
  readonly primary: {readonly how: 'switchover' | 'restart'; readonly from: string; readonly to: string}
  readonly others: readonly string[]
  /** What it took the last times; null: nobody has measured it yet. */
  readonly gapMs: number | null
}

/** What was measured of a roll: an operation's result has it (core/ha/receipt.ts, Scaled). */
export interface Rolled {
  readonly applied: 'switchover' | 'restart'
  /** The longest time in which writes were held up. */
  readonly write_gap_ms: number | null
  readonly phases: readonly {readonly name: string; readonly ms: number}[]
}

/** See ha/rolling.ts for what it does and promises, roll-steps.ts for how a workflow uses it. */
export interface Rolling {
  plan(instanceId: string, change: NodeChange | null): Promise<RollPlan>
  /** Why it cannot begin, as a sentence: a server is away, say. Waits a while for it to pass. Null: it can. */
  whyNot(instanceId: string, step: RollStep): Promise<string | null>
  /** All that comes before the primary. */
  replicas(roll: Roll, step: RollStep): Promise<void>
  /** Until the primary is one that was started anew. */
  primary(roll: Roll, step: RollStep): Promise<void>
  /** Until every server was started anew, runs with the change, and the cluster is whole. */
  others(roll: Roll, step: RollStep): Promise<void>
  /** Everything as it was before, wherever it stands: each server that was changed is started with what the instance says. */
  back(roll: Roll, step: RollStep): Promise<void>
  /** Null: no server was started anew for it. */
  result(roll: Roll): Promise<Rolled | null>
  /** With what makes the change the instance's own, in one transaction. */
  settle(tx: Tx, roll: Roll): Promise<void>
}

export interface Clusters {
  readonly rolling: Rolling
  owns(instanceId: string): boolean
  /** Whom the endpoint leads to; null: it holds new clients. */
  gateOf(instanceId: string): NodeId | null
  /** Before the very first start of the first node of an instance that shall have replicas; it is the only one that starts as a primary. */
  prepareFirst(subject: Subject): Promise<void>
  /** Makes and starts the others, at the same time. Idempotent. Returns their refs. */
  makeReplicas(primary: Subject, replicas: readonly Subject[], signal: AbortSignal, progress: (because: string) => void): Promise<ReadonlyMap<NodeId, string>>
  /** From now on the cluster is looked after: its first node serves, and the others stream from it. Idempotent. */
  begin(primary: Subject, nodes: readonly NodeId[], wanted: HaState['wanted']): Promise<void>
  /** Its servers are left alone from now on. */
  suspend(instanceId: string): Promise<void>
  /** `serves`: the endpoint leads to the primary; else it is opened when there is one. */
  resume(instanceId: string, serves: boolean): Promise<void>
  /**
   * Another node becomes its primary, with data of another moment: `freeze` keeps the record as it was, and agents that come up leave its servers
   * alone; `beginAnew` begins the record anew, with a primary that serves, and all other nodes are made its replicas again; or `revert` takes that back.
   * `thaw` ends it. Each may be done again; nothing for an instance of one server.
   */
  freeze(tx: Tx, instanceId: string): Promise<void>
  beginAnew(primary: Subject): Promise<void>
  revert(instanceId: string): Promise<void>
  thaw(tx: Tx, instanceId: string): Promise<void>
  /** It is forgotten: its nodes are about to be removed. */
  forget(instanceId: string): Promise<void>
  /** Waits until the instance is served, with as many voters as are wanted, and all replicas stream. Throws the signal's reason. */
  untilWhole(instanceId: string, signal: AbortSignal, progress: (because: string) => void): Promise<void>
  /** Waits until the endpoint leads to a primary, and no change is under way. */
  untilServed(instanceId: string, signal: AbortSignal, progress: (because: string) => void): Promise<void>
  factsOf(instanceId: string, nodeId: NodeId): NodeFacts | undefined
  /** Null: the instance has one server. */
  viewOf(instanceId: string): Promise<ClusterFacts | null>
}

/** Throws NOT_SUPPORTED where the engine cannot have replicas. */
export function mustSupportReplicas(engine: Engine, suggestion: string): void {
  if (engine.replication) return
  throw new DbaasError('NOT_SUPPORTED', `${engine.title} cannot have replicas yet`, {details: {feature: 'high-availability', engine: engine.name}, suggestions: [suggestion]})
}

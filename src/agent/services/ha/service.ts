/** The clusters of a site: who has one, and what the lives of instances need of it. */
import {setTimeout as pause} from 'node:timers/promises'
import {whyNot} from '../../../core/ha/decide.js'
import {budgets} from '../../../core/ha/diagnose.js'
import {votesNeeded} from '../../../core/ha/elect.js'
import {beginOperation} from '../../../core/ha/operation.js'
import {beginHa, changed, decodeState, encodeState, newNode, type HaState, type NodeId} from '../../../core/ha/state.js'
import {timelineOf} from '../../../core/ha/line.js'
import type {FailoverReceipt} from '../../../core/ha/receipt.js'
import type {ClusterView} from '../../../core/ha/view.js'
import type {ApiReplication} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {isoTime} from '../../../core/time.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {Clusters, NodeFacts} from '../clusters.js'
import type {ProbePoint} from '../../workflow/engine.js'
import type {ServiceContext} from '../context.js'
import type {Runtime} from '../../runtimes/runtime.js'
import type {ClusterRecord, FailoverDrillRecord, Tx} from '../../store/store.js'
import type {Subject, SubjectServers} from '../subject.js'
import {createLateness} from './lateness.js'
import {replicationOf, type Making} from './members.js'
import {createReaders} from './readers.js'
import {createRolling} from './rolling.js'
import {named as namedBy, type Asking, type Cluster} from './record.js'
import {createWatch, type Watch} from './watch.loop.js'

export interface ChangeRequest {
  readonly kind: 'failover' | 'switchover'
  readonly preferred: NodeId | null
  readonly force: boolean
  readonly allowDataLoss: boolean
  readonly because: string
}

export interface HighAvailability extends Clusters {
  /** Reads what is known. Before the routes of the endpoint process are restored. */
  load(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
  watch(instanceId: string): Watch | undefined
  /** What it lacks of being whole (see untilWhole), in words; null: nothing. */
  missing(instanceId: string): string | null
  /** Others are wanted, and these are of the cluster, too. */
  reshape(instanceId: string, added: readonly NodeId[], wanted: HaState['wanted'], signal: AbortSignal): Promise<void>
  /** These vote no more. Resolves when nothing depends on them. Throws INVALID_STATE for the primary. */
  retire(instanceId: string, nodes: readonly NodeId[], wanted: HaState['wanted'], signal: AbortSignal, progress: (because: string) => void): Promise<void>
  /** Takes `retire` back: they may vote again. */
  reinstate(instanceId: string, nodes: readonly NodeId[], wanted: HaState['wanted'], signal: AbortSignal): Promise<void>
  /** They are of it no more; a cluster of one is none. */
  expel(instanceId: string, nodes: readonly NodeId[], signal: AbortSignal): Promise<void>
  /** Begins a change of primary. Throws INVALID_STATE, NO_QUORUM. */
  change(instanceId: string, request: ChangeRequest, asking: Asking): Promise<OperationRecord>
}

export function createHighAvailability(options: {
  context: ServiceContext; servers: SubjectServers; making: Making; changed: (operation: OperationRecord) => void; freePort: (runtime: Runtime) => Promise<number>
  probe?: ((point: ProbePoint) => Promise<void>) | undefined
}): HighAvailability {
  const {context, servers, making} = options
  const {store} = context
  const watches = new Map<string, Watch>()
  const lateness = createLateness()
  const readers = createReaders({context, freePort: options.freePort})
  /** Those whose primary is being exchanged. */
  const frozen = new Set<string>()
  let stopped = false

  function add(cluster: Cluster): Watch {
    const watch = createWatch({context, servers, making, cluster, changed: options.changed, looked: readers.looked, late: lateness.since, probe: options.probe})
    watches.set(cluster.instance.id, watch)
    return watch
  }

  function watchOf(instanceId: string): Watch {
    const watch = watches.get(instanceId)
    if (watch) return watch
    throw new DbaasError('INVALID_STATE', 'the instance has one server only', {suggestions: ['dbaas scale NAME --ha']})
  }

  const isWanted = ({wanted, status}: InstanceRecord): boolean => wanted === 'running' && status !== 'deleting'

  /** Where the endpoint leads when an agent comes up: it holds until an open change of primary has come to its end. */
  const firstGate = ({state, instance}: Cluster): NodeId | null => (state.operation || frozen.has(instance.id) ? null : state.primary)

  async function resume(watch: Watch, gate: NodeId | null): Promise<void> {
    if (stopped) return
    // whoever closed the endpoint may not have come to its sessions
    if (watch.cluster.state.operation) await context.endpoints.closeSessions(watch.instanceId).catch(() => 0)
    await watch.start(gate)
  }

  async function forget(instanceId: string): Promise<void> {
    await watches.get(instanceId)?.suspend()
    watches.delete(instanceId)
    await readers.forget(instanceId)
    await endChanges(instanceId, 'the instance is being deleted', (tx) => tx.clusters.remove(instanceId))
  }

  /** What goes on with its primary ends, in the transaction of what makes it pointless. */
  async function endChanges(instanceId: string, because: string, also: (tx: Tx) => Promise<void>): Promise<void> {
    const ended = await store.transact('platform', async (tx) => {
      const open = (await tx.operations.openOfInstance(instanceId, 'ha')).map((operation): OperationRecord => ({
        ...operation, status: 'failed', endedAt: context.clock.now(), error: new DbaasError('OPERATION_CANCELLED', because).toDetail(),
      }))
      for (const {id, status, endedAt, error} of open) await tx.operations.update(id, {status, endedAt, error})
      await also(tx)
      return open
    })
    for (const operation of ended) options.changed(operation)
  }

  /** The record of a cluster whose first node serves. */
  async function firstRecord(primary: Subject, nodes: readonly NodeId[], wanted: HaState['wanted'], lastChange: Cluster['lastChange']): Promise<Cluster> {
    const {instance, engine, node, host} = primary
    const replication = replicationOf(engine)
    const {system} = await replication.observe(host, await servers.admin())
    const {timeline, parents} = await replication.history(await making.sourceOf(primary))
    const line = [...parents.map((parent) => ({timeline: parent.timeline, until: parent.end})), {timeline, until: null}]
    const state = beginHa({systemId: system, primary: node.id, line, nodes: [node.id, ...nodes.filter((id) => id !== node.id)], wanted})
    return {instance, state, operationId: null, lastChange}
  }

  const put = (tx: Tx, {instance, state, lastChange}: Cluster): Promise<void> => tx.clusters.put({
    instanceId: instance.id, tenantId: instance.tenantId, state: encodeState(state), operationId: null, lastChange, updatedAt: context.clock.now(),
  })

  /** What people change waits until the primary is not being changed. */
  async function between(instanceId: string, signal: AbortSignal, change: (state: HaState) => Partial<Omit<HaState, 'epoch'>>): Promise<void> {
    const watch = watchOf(instanceId)
    await watch.reload()
    for (let isDone = false; !isDone; ) {
      signal.throwIfAborted()
      if (watch.cluster.state.operation === null && watch.isRunning) {
        await watch.change((state) => {
          isDone = state.operation === null
          return {state: isDone ? changed(state, change(state)) : state}
        })
      } else await pause(50)
    }
  }

  /**
   * Who shall take over: nobody whose disk is full, for it would end as it is promoted, when there is no way back any more. A server that
   * does not answer is judged by the policy. Throws INVALID_STATE.
   */
  async function roomy(watch: Watch, preferred: NodeId | null): Promise<NodeId | null> {
    const {state} = watch.cluster
    if (preferred === state.primary) return preferred
    const asked = preferred === null ? state.voters : [preferred]
    const isFull = await Promise.all(asked.map(async (id) => {
      const subject = watch.subjectOf(id)
      if (!subject) return false
      return !(await replicationOf(subject.engine).hasRoom(subject.host, await servers.admin(), {timeoutMs: budgets.writeTimeoutMs}).catch(() => true))
    }))
    if (!isFull.includes(true)) return preferred
    const other = asked.find((_, i) => !isFull[i])
    if (other !== undefined) return other
    const names = asked.map((id) => watch.nameOf(id)).join(' and ')
    throw new DbaasError('INVALID_STATE', `the disk of ${names} is full, so it cannot become primary`, {details: {node: names}, suggestions: ['make room on it', `dbaas status ${watch.cluster.instance.name}`]})
  }

  const clusters: Omit<HighAvailability, 'rolling'> = {
    async load(): Promise<void> {
      await readers.load()
      const all = await store.read('platform', async (tx) => {
        const clusters = []
        for (const record of await tx.clusters.list()) {
          clusters.push({record, instance: await tx.instances.find(record.instanceId)})
          if ((await tx.settings.get(frozenKey(record.instanceId))) !== undefined) frozen.add(record.instanceId)
        }
        return clusters
      })
      for (const {record, instance} of all) {
        if (instance) add({instance, state: decodeState(record.state), operationId: record.operationId, lastChange: record.lastChange})
      }
    },
    async start(): Promise<void> {
      for (const watch of watches.values()) {
        const instance = await store.read('platform', (tx) => tx.instances.find(watch.instanceId))
        if (instance && isWanted(instance) && !frozen.has(instance.id)) await resume(watch, firstGate(watch.cluster))
      }
    },
    async stop(): Promise<void> {
      stopped = true
      await Promise.allSettled([...watches.values()].map((watch) => watch.suspend()))
      lateness.stop()
    },
    reshape: (instanceId, added, wanted, signal) => between(instanceId, signal, (state) => ({
      wanted, nodes: {...Object.fromEntries(added.map((id, i) => [id, newNode(-Object.keys(state.nodes).length - i)])), ...state.nodes},
    })),
    async retire(instanceId, nodes, wanted, signal, progress) {
      await between(instanceId, signal, (state) => {
        mustBeReplicas(state, nodes)
        return {wanted, nodes: Object.fromEntries(Object.entries(state.nodes).map(([id, node]) => [id, nodes.includes(id) ? {...node, mayVote: false} : node]))}
      })
      const watch = watchOf(instanceId)
      for (let said = ''; ; await pause(20)) {
        signal.throwIfAborted()
        const {state} = watch.cluster
        mustBeReplicas(state, nodes)
        const set = watch.seen?.view.nodes[state.primary]?.server?.set
        const isFree = state.operation === null && set !== undefined && (wanted.k > 0 || set === null) && !nodes.some((id) => state.voters.includes(id) || set?.names.includes(id))
        if (isFree) return
        const because = named(watch, watch.seen?.because ?? 'looking at its nodes')
        if (because !== said) progress((said = because))
      }
    },
    reinstate: (instanceId, nodes, wanted, signal) => between(instanceId, signal, (state) => ({
      wanted, nodes: Object.fromEntries(Object.entries(state.nodes).map(([id, node]) => [id, nodes.includes(id) ? {...node, mayVote: true} : node])),
    })),
    async expel(instanceId, nodes, signal) {
      if (!watches.has(instanceId)) return
      await between(instanceId, signal, (state) => {
        mustBeReplicas(state, nodes)
        return {nodes: Object.fromEntries(Object.entries(state.nodes).filter(([id]) => !nodes.includes(id)))}
      })
      if (Object.keys(watchOf(instanceId).cluster.state.nodes).length === 1) await forget(instanceId)
    },
    owns: (instanceId: string): boolean => watches.has(instanceId),
    watch: (instanceId: string): Watch | undefined => watches.get(instanceId),
    missing: (instanceId: string): string | null => whatIsMissing(watchOf(instanceId)),
    /** What the endpoint does now; before the loop runs, what it shall begin with. */
    gateOf(instanceId: string): NodeId | null {
      const watch = watchOf(instanceId)
      return watch.isRunning ? watch.gate : firstGate(watch.cluster)
    },
    prepareFirst: making.prepareFirst,
    makeReplicas: making.makeReplicas,
    /** Of an instance whose first node serves, and whose other nodes stream from it. */
    async begin(primary: Subject, nodes: readonly NodeId[], wanted: HaState['wanted']): Promise<void> {
      if (watches.has(primary.instance.id)) return
      const cluster = await firstRecord(primary, nodes, wanted, null)
      await store.transact('platform', (tx) => put(tx, cluster))
      await resume(add(cluster), primary.node.id)
    },
    async freeze(tx, instanceId) {
      const record = await tx.clusters.get(instanceId)
      if (!record || (await tx.settings.get(frozenKey(instanceId))) !== undefined) return
      await tx.settings.put(frozenKey(instanceId), JSON.stringify(record))
      frozen.add(instanceId)
    },
    async beginAnew(primary) {
      const {instance, node} = primary
      let watch = watches.get(instance.id)
      if (!watch) return
      await watch.suspend()
      const {state: before, lastChange} = watch.cluster
      if (before.primary !== node.id) {
        const begun = await firstRecord(primary, (await servers.all(instance.id)).map((each) => each.node.id), before.wanted, lastChange)
        // what its nodes have of the time before (stamps, timelines) is never taken for something of now
        const cluster = {...begun, state: {...begun.state, epoch: before.epoch + 1, highestTimeline: Math.max(before.highestTimeline, begun.state.highestTimeline)}}
        await endChanges(instance.id, 'the instance was restored', (tx) => put(tx, cluster))
        watch = add(cluster)
      }
      await resume(watch, node.id)
    },
    async revert(instanceId) {
      const {kept, instance} = await store.read('platform', async (tx) => ({kept: await tx.settings.get(frozenKey(instanceId)), instance: await tx.instances.find(instanceId)}))
      if (kept === undefined || !instance) return
      await watches.get(instanceId)?.suspend()
      const record = JSON.parse(kept) as ClusterRecord
      await store.transact('platform', (tx) => tx.clusters.put(record))
      add({instance, state: decodeState(record.state), operationId: record.operationId, lastChange: record.lastChange})
    },
    async thaw(tx, instanceId) {
      await tx.settings.remove(frozenKey(instanceId))
      frozen.delete(instanceId)
    },
    /** Its servers are left alone from now on. */
    async suspend(instanceId: string): Promise<void> {
      await watches.get(instanceId)?.suspend()
      await readers.close(instanceId)
    },
    /** `serves`: the endpoint leads to the primary; else it is opened when there is one. */
    async resume(instanceId: string, serves: boolean): Promise<void> {
      const watch = watchOf(instanceId)
      await resume(watch, serves ? watch.cluster.state.primary : null)
    },
    /** The loop ends, and the cluster is forgotten: its nodes are about to be removed. */
    forget,
    /** Waits until the instance is served, with as many voters as are wanted, and all replicas stream. Throws the signal's reason. */
    async untilWhole(instanceId: string, signal: AbortSignal, progress: (because: string) => void): Promise<void> {
      const watch = watchOf(instanceId)
      for (let said = ''; ; await pause(20)) {
        signal.throwIfAborted()
        const because = whatIsMissing(watch)
        if (because === null) return
        if (because !== said) progress((said = because))
      }
    },
    /** Waits until the endpoint leads to a primary, and no change is under way. */
    async untilServed(instanceId: string, signal: AbortSignal, progress: (because: string) => void): Promise<void> {
      const watch = watchOf(instanceId)
      for (let said = ''; ; await pause(20)) {
        signal.throwIfAborted()
        const {state} = watch.cluster
        if (state.operation === null && watch.gate === state.primary) return
        const because = state.operation?.because ?? watch.seen?.because ?? 'looking at its nodes'
        if (because !== said) progress((said = because))
      }
    },
    /** Begins a change of primary. Throws INVALID_STATE, NO_QUORUM. */
    async change(instanceId: string, {kind, preferred, force, allowDataLoss, because}: ChangeRequest, asking: Asking): Promise<OperationRecord> {
      const watch = watchOf(instanceId)
      if (!watch.isRunning) throw new DbaasError('INVALID_STATE', `${watch.cluster.instance.name} is not running`, {suggestions: [`dbaas start ${watch.cluster.instance.name}`]})
      const to = kind === 'switchover' ? await roomy(watch, preferred) : preferred
      const operation = await watch.change((state, view) => {
        const request = {kind, preferred: to, forced: true, allowDataLoss}
        const refusal = whyNot(state, view, request, force)
        if (refusal !== null) throw refusedChange(watch, named(watch, refusal), kind === 'failover' && !hasQuorum(state, view))
        return {state: beginOperation(state, {...request, because}, view.now), asking}
      })
      if (!operation) throw new DbaasError('INTERNAL', 'a change of primary began without an operation')
      return operation
    },
    factsOf(instanceId: string, nodeId: NodeId): NodeFacts | undefined {
      const watch = watches.get(instanceId)
      if (!watch) return undefined
      return nodeFacts(watch, nodeId)
    },
    async viewOf(instanceId) {
      const watch = watches.get(instanceId)
      if (!watch) return null
      const drill = await store.read('platform', (tx) => tx.failoverDrills.last(instanceId))
      const port = readers.portOf(instanceId)
      const {endpointHost: host} = watch.cluster.instance
      return {replication: {...replicationView(watch), last_drill: drill ? drillView(drill) : null}, highAvailability: watch.cluster.state.wanted.k > 0, readOnlyEndpoint: port === null ? null : {host, port}}
    },
  }
  return {...clusters, rolling: createRolling({context, servers, clusters})}
}

/** Setting: the record of a cluster, as it was before its primary began to be exchanged. */
const frozenKey = (instanceId: string): string => `cluster.frozen:${instanceId}`

function mustBeReplicas({primary}: HaState, nodes: readonly NodeId[]): void {
  if (!nodes.includes(primary)) return
  throw new DbaasError('INVALID_STATE', 'a node that shall go is the primary', {suggestions: ['dbaas switchover NAME']})
}

const named = (watch: Watch, text: string): string => namedBy(text, watch.nameOf)

/** Whether enough voters answer to tell which one holds every acknowledged write. */
const hasQuorum = (state: HaState, {nodes}: ClusterView): boolean =>
  state.voters.length > 0 && state.voters.filter((id) => nodes[id]?.server).length >= votesNeeded(state)

function refusedChange({cluster: {instance: {name}}}: Watch, because: string, isQuorumMissing: boolean): DbaasError {
  return new DbaasError(isQuorumMissing ? 'NO_QUORUM' : 'INVALID_STATE', because, {
    details: {instance: name}, suggestions: [`dbaas status ${name}`, ...(isQuorumMissing ? [`dbaas failover ${name} --allow-data-loss, where it must go on without what may be lost`] : [])],
  })
}

function whatIsMissing(watch: Watch): string | null {
  const {state} = watch.cluster
  const {seen} = watch
  if (state.operation) return named(watch, state.operation.because)
  if (!seen) return 'looking at its nodes'
  if (watch.gate !== state.primary) return 'the endpoint is not open'
  const replicas = Object.keys(state.nodes).filter((id) => id !== state.primary)
  const streaming = replicas.filter((id) => seen.view.streams[id]?.lostMs === null)
  if (streaming.length < replicas.length) return `${streaming.length} of ${replicas.length} replicas stream`
  const voting = replicas.filter((id) => state.nodes[id]?.mayVote).length
  const isWhole = state.k === state.wanted.k && state.voters.length === Math.min(state.wanted.voters, voting)
  return isWhole ? null : named(watch, seen.because)
}

function nodeFacts(watch: Watch, nodeId: NodeId): NodeFacts {
  const none: NodeFacts = {sync_state: 'none', timeline: null, lsn: null, lag_bytes: null, lag_seconds: null, lastSync: null}
  const {state} = watch.cluster
  const {seen} = watch
  const subject = watch.subjectOf(nodeId)
  const isPrimary = nodeId === state.primary
  const sync = isPrimary ? 'none' as const : state.voters.includes(nodeId) ? 'sync' as const : 'async' as const
  const server = seen?.view.nodes[nodeId]?.server
  if (!seen || !subject || !server || !watch.isRunning) return {...none, sync_state: sync}
  const primary = seen.view.nodes[state.primary]?.server
  const stream = seen.view.streams[nodeId]
  const lag = isPrimary || !primary || !stream || stream.lostMs !== null ? null : primary.position > stream.flushed ? Number(primary.position - stream.flushed) : 0
  const stale = seen.looks.get(nodeId)?.seen?.standby?.staleMs ?? null
  return {
    sync_state: sync, timeline: timelineOf(server.line), lsn: replicationOf(subject.engine).formatPosition(server.position),
    lag_bytes: lag, lag_seconds: isPrimary || stale === null ? null : Math.max(0, Math.round(stale)) / 1000, lastSync: isPrimary || lag === null ? null : seen.at,
  }
}

const shown: Readonly<Record<string, ApiReplication['status']>> = {blocked: 'blocked', 'no-quorum': 'no-quorum'}

function drillView({at, ok, result}: FailoverDrillRecord): ApiReplication['last_drill'] {
  const {fault, clone, time_to_first_write_ms, acknowledged_writes, lost_writes} = result as unknown as FailoverReceipt
  return {at: isoTime(at), ok, fault, clone, time_to_first_write_ms, acknowledged_writes, lost_writes}
}

function replicationView(watch: Watch): Omit<ApiReplication, 'last_drill'> {
  const {cluster: {state, lastChange}, seen} = watch
  const {operation} = state
  const because = seen ? named(watch, seen.because) : null
  const isStuck = operation !== null && because?.startsWith('NO QUORUM') === true
  const kind = seen?.view.diagnosis.kind ?? ''
  // what was found missing has come since: the set was changed by it
  const isHealthy = kind === 'healthy' || (kind === 'degraded' && whatIsMissing(watch) === null)
  const status = isStuck ? 'no-quorum' : operation ? 'changing' : because?.startsWith('BLOCKED') ? 'blocked' : state.wanted.k === 0 ? 'async' : isHealthy ? 'healthy' : shown[kind] ?? 'degraded'
  const change = lastChange as {at: number; kind: 'failover' | 'switchover'; from: string; to: string; because: string; write_gap_ms: number | null; discarded_bytes?: number | null} | null
  return {
    replicas_wanted: Object.keys(state.nodes).length - 1, confirmations: state.k, voters: state.voters.map(watch.nameOf), status,
    status_reason: status === 'healthy' || status === 'async' ? null : because, epoch: state.epoch, timeline: timelineOf(state.line),
    operation: operation && {
      kind: operation.kind, phase: operation.phase, started_at: isoTime(operation.startedAt), from: watch.nameOf(operation.old),
      to: operation.chosen && watch.nameOf(operation.chosen), because: named(watch, operation.because),
    },
    last_decision: seen && because !== null ? {at: isoTime(seen.at), because} : null,
    last_change: change && {...change, at: isoTime(change.at), discarded_bytes: change.discarded_bytes ?? null},
  }
}

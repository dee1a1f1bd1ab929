/** The durable record of a cluster, and of each change of its primary as an operation that people can follow. One transaction a change. */
import {encodeState, type HaOperation, type HaState, type NodeId} from '../../../core/ha/state.js'
import {timelineOf} from '../../../core/ha/line.js'
import type {PrimaryChange} from '../../../core/ha/receipt.js'
import type {Json} from '../../../core/json.js'
import type {Principal} from '../../../core/access/principal.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {ClusterRecord, Tx} from '../../store/store.js'
import {closeStep, openStep} from '../../workflow/steps.js'
import type {ServiceContext} from '../context.js'
import {submit} from '../submit.js'

export const failoverKind = 'instance.failover'
export const switchoverKind = 'instance.switchover'
/** Driven by the cluster's own loop, not by the workflow engine. */
export const changeKinds: ReadonlySet<string> = new Set([failoverKind, switchoverKind])

export const kindOf = ({kind}: HaOperation): string => (kind === 'failover' ? failoverKind : switchoverKind)

export interface Cluster {
  readonly instance: InstanceRecord
  readonly state: HaState
  readonly operationId: string | null
  readonly lastChange: ClusterRecord['lastChange']
}

/** What is measured, and in no state. Milliseconds since the epoch. */
export interface Measured {
  /** The last moment at which writes are known to have been possible. */
  readonly downSince: number | null
  readonly openedAt: number | null
}

export interface Change {
  readonly cluster: Cluster
  readonly operation: OperationRecord | undefined
}

/** Who asked; undefined: the agent itself. */
export interface Asking {
  readonly principal: Principal
  /** In the same transaction: the idempotency key, say. */
  readonly also?: (tx: Tx, operation: OperationRecord) => Promise<void>
}

/** Ids of nodes as the names that people know. */
export const named = (text: string, nameOf: (id: NodeId) => string): string => text.replace(/nod_[0-9a-z]{26}/g, nameOf)

export function createRecords(context: ServiceContext, nameOf: (id: NodeId) => string) {
  const {store, clock} = context
  const said = (because: string): string => named(because, nameOf)

  async function persist(before: Cluster, state: HaState, measured: Measured, asking?: Asking): Promise<Change> {
    return store.transact('platform', async (tx) => {
      const now = clock.now()
      const {instance} = before
      let {operationId, lastChange} = before
      let operation: OperationRecord | undefined
      const [was, is] = [before.state.operation, state.operation]
      if (is && operationId === null) {
        operation = await begin(tx, instance, is, asking)
        operationId = operation.id
      } else if (operationId !== null) {
        const known = await tx.operations.get(operationId)
        if (known && is && (was?.phase !== is.phase || was.startedAt !== is.startedAt)) operation = await goOn(tx, known, is, now)
        else if (known && is === null) {
          const ended = await end(tx, known, instance, before.state, state, measured, now)
          operation = ended.operation
          lastChange = ended.lastChange ?? lastChange
        }
        if (is === null) operationId = null
      }
      await tx.clusters.put({instanceId: instance.id, tenantId: instance.tenantId, state: encodeState(state), operationId, lastChange, updatedAt: now})
      if (state.primary !== before.state.primary) await exchange(tx, instance.id, state.primary, now)
      return {cluster: {instance, state, operationId, lastChange}, operation}
    })
  }

  async function exchange(tx: Tx, instanceId: string, primary: NodeId, now: number): Promise<void> {
    for (const {id, role} of await tx.nodes.ofInstance(instanceId)) {
      const wanted = id === primary ? 'primary' : 'replica'
      if (role !== wanted) await tx.nodes.update(id, {role: wanted, updatedAt: now})
    }
  }

  async function begin(tx: Tx, instance: InstanceRecord, change: HaOperation, asking: Asking | undefined): Promise<OperationRecord> {
    const kind = kindOf(change)
    const principal = asking?.principal ?? {...context.principalOfAgent(), tenantId: instance.tenantId}
    const pending = await submit(context, tx, principal, {
      kind, instanceId: instance.id, lane: 'ha', resource: `instance/${instance.name}`, start: change.phase, deadlineSeconds: 365 * 86_400,
      input: {instanceId: instance.id, from: nameOf(change.old), preferred: change.preferred && nameOf(change.preferred), because: said(change.because)},
    }, undefined)
    const operation: OperationRecord = {...pending, status: 'running', steps: openStep([], change.phase, pending.createdAt), stepStartedAt: pending.createdAt}
    await tx.operations.update(operation.id, {status: operation.status, steps: operation.steps, stepStartedAt: operation.stepStartedAt})
    await tx.event({
      id: context.newId('event'), tenantId: instance.tenantId, type: `${kind}_begun`, subject: instance.id, payload: {from: nameOf(change.old), because: said(change.because)}, at: pending.createdAt,
    })
    await asking?.also?.(tx, operation)
    return operation
  }

  async function goOn(tx: Tx, known: OperationRecord, change: HaOperation, now: number): Promise<OperationRecord> {
    const patch = {step: change.phase, stepStartedAt: now, steps: openStep(closeStep(known.steps, 'succeeded', now, said(change.because)), change.phase, now)}
    await tx.operations.update(known.id, patch)
    return {...known, ...patch}
  }

  async function end(tx: Tx, known: OperationRecord, instance: InstanceRecord, before: HaState, state: HaState, measured: Measured, now: number) {
    const change = before.operation as HaOperation
    const isDone = change.phase !== 'abort'
    const steps = closeStep(known.steps, 'succeeded', now, isDone ? `${nameOf(state.primary)} serves` : `${nameOf(state.primary)} stays the primary`)
    const [from, to] = [nameOf(change.snapshot.timeline === timelineOf(state.line) ? state.primary : change.old), nameOf(state.primary)]
    const because = String((known.input as {because?: string}).because ?? said(change.because))
    const gap = measured.openedAt === null ? null : Math.max(0, Math.round(measured.openedAt - (measured.downSince ?? known.createdAt)))
    const phases = steps.map(({name, startedAt, endedAt}) => ({name, ms: Math.round((endedAt ?? now) - startedAt)}))
    const result = {from, to, timeline: timelineOf(state.line), because, write_gap_ms: gap, discarded_bytes: from === to ? 0 : null, phases}
    const gaveUp = new DbaasError('OPERATION_FAILED', `${nameOf(state.primary)} stays the primary: ${said(change.because)}`)
    const patch: Partial<OperationRecord> = isDone ? {status: 'succeeded', steps, result, endedAt: now} : {status: 'failed', steps, error: gaveUp.toDetail(), endedAt: now}
    await tx.operations.update(known.id, patch)
    const kind = known.kind === switchoverKind ? 'switchover' : 'failover'
    await tx.event({id: context.newId('event'), tenantId: instance.tenantId, type: `${known.kind}_${isDone ? 'done' : 'given_up'}`, subject: instance.id, payload: {from, to, because, write_gap_ms: gap}, at: now})
    await tx.audit({
      id: context.newId('audit'), at: now, tenantId: instance.tenantId, actor: known.principalId, source: 'agent', action: known.kind, resource: `instance/${instance.name}`,
      result: isDone ? 'succeeded' : 'failed', requestId: known.requestId, details: {operation_id: known.id, from, to},
    })
    return {operation: {...known, ...patch}, lastChange: isDone ? {at: now, kind, from, to, because, write_gap_ms: gap, discarded_bytes: from === to ? 0 : null} : undefined}
  }

  /**
   * What an old primary gave up when it came back belongs to the newest change that took its place, and is told once. Undefined: there is none that
   * waits for it.
   */
  async function discard(before: Cluster, id: NodeId, bytes: number): Promise<Change | undefined> {
    const {instance} = before
    const name = nameOf(id)
    return store.transact('platform', async (tx) => {
      const done = (await tx.operations.list({instanceId: instance.id, limit: 1000})).filter(({kind, status}) => changeKinds.has(kind) && status === 'succeeded')
      const known = done.sort((a, b) => b.createdAt - a.createdAt).find(({result}) => (result as {from?: string} | null)?.from === name)
      const result = known?.result as Partial<PrimaryChange> | undefined
      if (!known || !result || result.to === name || result.discarded_bytes !== null) return undefined
      const operation: OperationRecord = {...known, result: {...result, discarded_bytes: bytes} as Json}
      await tx.operations.update(known.id, {result: operation.result})
      const last = before.lastChange as {from?: string; discarded_bytes?: number | null} | null
      const lastChange = last?.from === name && done[0]?.id === known.id ? {...last, discarded_bytes: bytes} as ClusterRecord['lastChange'] : before.lastChange
      await tx.clusters.put({instanceId: instance.id, tenantId: instance.tenantId, state: encodeState(before.state), operationId: before.operationId, lastChange, updatedAt: clock.now()})
      await tx.event({id: context.newId('event'), tenantId: instance.tenantId, type: 'instance.rejoined', subject: instance.id, payload: {node: name, discarded_bytes: bytes}, at: clock.now()})
      return {cluster: {...before, lastChange}, operation}
    })
  }

  return {persist, discard}
}

/**
 * The servers of a cluster started anew one after the other, with something else than before or just so: another size, other parameters, another
 * version (`NodeChange`: what is named in it takes the place of what the instance says). The interface is `Rolling` in clusters.ts; a workflow
 * takes its three steps and their undo from `rollSteps` (roll-steps.ts), and makes the change the instance's own in its last step (`settle`).
 *
 * The order is the policy's (core/ha/roll.ts): replicas, a switchover, the old primary; or the primary first, in place, where a setting is
 * lowered that standbys need as large. Nothing is moved unless every server streams, as many vote as are wanted, and no change of primary is under way.
 *
 * Nothing is remembered but what each node shall have, and since when (node-changes.ts): written before the node is ended, so that whoever starts it
 * (this, the watch loop after a crash, another agent) starts it with that. A node is through when its server was started after that and says
 * the new values itself. So each step looks, makes one move, and looks again; a failover in between, or an agent that dies, only
 * changes what it sees. It fails when a server does not come up, or nothing gets on for `patienceMs`; `back` then goes the same way with the old values.
 */
import {setTimeout as pause} from 'node:timers/promises'
import {beginOperation} from '../../../core/ha/operation.js'
import {nextMove, plannedMoves, type RollMove, type RollNode} from '../../../core/ha/roll.js'
import type {HaState, NodeId} from '../../../core/ha/state.js'
import type {ClusterView} from '../../../core/ha/view.js'
import type {PrimaryChange} from '../../../core/ha/receipt.js'
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type ParameterValues} from '../../../core/instance/instance.js'
import {hasEnded} from '../../../core/workflow/operation.js'
import type {Tx} from '../../store/store.js'
import type {Roll, RollPlan, RollStep, Rolled, Rolling} from '../clusters.js'
import type {ServiceContext} from '../context.js'
import {changeOf, putChange, removeChange, type ChangedNode, type NodeChange} from '../node-changes.js'
import type {Subject, SubjectServers} from '../subject.js'
import {replicationOf} from './members.js'
import {changeKinds} from './record.js'
import type {HighAvailability} from './service.js'
import type {Glance, Watch} from './watch.loop.js'

/** Without any move that got on. A copy of a node that has to be made anew may take longer, and is seen to get on. */
const patienceMs = 120_000
/** To be whole before it begins. */
const beginMs = 15_000
const glanceMs = 2000
const pollMs = 50
/** Words of a server that does not come up, which waiting does not change. */
const lasting = new Set<string>(['SERVER_START_FAILED', 'INVALID_PARAMETER_VALUE', 'INSUFFICIENT_MEMORY', 'NOT_SUPPORTED'])
/** A node that was started so often is not what it should be. */
const mostTries = 3

/** Name of the measurement: milliseconds. */
const gapName = (engine: string, how: Rolled['applied']): string => `roll-gap:${engine}:${how}`
/** Writes waited that long for the only one that confirms, while that was started anew. */
const stallKey = (roll: Roll): string => `roll-stall:${roll.operationId}`

interface Facts {
  readonly watch: Watch
  readonly state: HaState
  readonly view: ClusterView
  readonly subjects: ReadonlyMap<NodeId, Subject>
  readonly nodes: readonly RollNode[]
  readonly changed: ReadonlyMap<NodeId, ChangedNode>
  readonly order: {readonly raises: boolean; readonly lowers: boolean}
  readonly unrest: string | null
}

export function createRolling(options: {context: ServiceContext; servers: SubjectServers; clusters: Omit<HighAvailability, 'rolling'>}): Rolling {
  const {context, servers, clusters} = options
  const {store, clock} = context
  /** Servers that said that they have what they should, by node and start. */
  const verified = new Map<string, true | Error>()

  function watchOf(instanceId: string): Watch {
    const watch = clusters.watch(instanceId)
    if (watch) return watch
    throw new DbaasError('INVALID_STATE', 'the instance has one server only', {suggestions: ['dbaas scale NAME --ha']})
  }

  /** Undefined while nobody looks. */
  async function glance(watch: Watch, signal: AbortSignal): Promise<Glance | undefined> {
    const late = new AbortController()
    const found = await Promise.race([watch.glance(), pause(glanceMs, undefined, {signal: AbortSignal.any([signal, late.signal])}).catch(() => undefined)])
    late.abort()
    signal.throwIfAborted()
    return found
  }

  const targetOf = (subject: Subject, change: NodeChange | null): ParameterValues => effectiveParameters(change?.layers ?? subject.instance.layers)

  /** True, or what it has instead; undefined when it does not answer. */
  async function verify({id, subject, startedAt, roll}: {id: NodeId; subject: Subject; startedAt: number; roll: string}): Promise<true | Error | undefined> {
    const key = `${roll} ${id} ${startedAt}`
    const known = verified.get(key)
    if (known) return known
    try {
      await subject.engine.config.verify(subject.host, await servers.admin(), effectiveParameters(subject.instance.layers))
      verified.set(key, true)
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'INVALID_PARAMETER_VALUE') return undefined
      verified.set(key, error)
    }
    return verified.get(key)
  }

  interface Way {
    /** Of the records that count. */
    readonly id: string
    readonly change: NodeChange | null
    /** Only nodes that have a record are to be started: the others never had anything else. */
    readonly isBack: boolean
  }

  async function look(roll: Roll, way: Way, signal: AbortSignal): Promise<Facts> {
    const watch = watchOf(roll.instanceId)
    const seen = watch.isRunning ? await glance(watch, signal) : undefined
    const {state, view} = seen ?? {state: watch.cluster.state, view: watch.seen?.view ?? null}
    const all = await servers.all(roll.instanceId)
    const subjects = new Map(all.map((subject) => [subject.node.id, subject] as const))
    const changed = await store.read('platform', async (tx) => {
      const found = new Map<NodeId, ChangedNode>()
      for (const id of subjects.keys()) {
        const record = await changeOf(tx, id)
        if (record?.roll === way.id) found.set(id, record)
      }
      return found
    })
    const primary = subjects.get(state.primary)
    if (!seen || !view || !primary) {
      return {watch, state, view: view as ClusterView, subjects, nodes: [], changed, order: {raises: false, lowers: false}, unrest: 'the cluster is not looked after now'}
    }
    let unrest = clusters.missing(roll.instanceId)
    const nodes: RollNode[] = []
    for (const id of Object.keys(state.nodes)) {
      const record = changed.get(id)
      const startedAt = watch.seen?.looks.get(id)?.seen?.startedAt
      let how: RollNode['state'] = !record && way.isBack ? 'done' : 'pending'
      // its primary may have heard from it before we did
      if (startedAt === undefined) unrest ??= `${watch.nameOf(id)} does not answer`
      else if (record && startedAt >= record.since) {
        const answer = await verify({id, subject: subjects.get(id) as Subject, startedAt, roll: way.id})
        if (answer === undefined) unrest ??= `${watch.nameOf(id)} does not answer`
        how = answer === true ? 'done' : 'raised'
      }
      nodes.push({id, isPrimary: id === state.primary, isVoter: state.voters.includes(id), state: how})
    }
    const isMoved = unrest !== null || nodes.find(({isPrimary}) => isPrimary)?.state === 'done'
    const order = isMoved ? {raises: false, lowers: false} : await replicationOf(primary.engine).limitsChange(primary.host, targetOf(primary, way.change))
    return {watch, state, view, subjects, nodes, changed, order, unrest}
  }

  /** Said before it is ended: whoever starts it starts it with that. */
  const mark = (way: Way, id: NodeId): Promise<void> =>
    store.transact('platform', (tx) => putChange(tx, id, {roll: way.id, since: clock.now(), change: way.change ?? {}}))

  const checkpoint = async ({engine, host}: Subject): Promise<void> => engine.lifecycle.checkpoint(host, await servers.admin())

  /**
   * What a standby has noted as replayed it need not replay when it starts. With a primary that is through already, that is what it had
   * before: from its checkpoint on the log speaks of what it has now.
   */
  async function settleReplica({watch, state, subjects, nodes}: Facts, id: NodeId, signal: AbortSignal): Promise<void> {
    if (nodes.find(({isPrimary}) => isPrimary)?.state !== 'done') return checkpoint(subjects.get(id) as Subject)
    await checkpoint(subjects.get(state.primary) as Subject)
    const first = await glance(watch, signal)
    const upTo = first?.view.nodes[state.primary]?.server?.position ?? 0n
    for (let waited = 0; waited < glanceMs * 5; waited += pollMs) {
      const now = await glance(watch, signal)
      if ((now?.view.nodes[id]?.server?.replayed ?? 0n) >= upTo) break
      await pause(pollMs)
    }
    await checkpoint(subjects.get(id) as Subject)
  }

  async function renew(roll: Roll, way: Way, facts: Facts, id: NodeId, {signal, progress}: RollStep): Promise<void> {
    const {watch, state} = facts
    const name = watch.nameOf(id)
    const confirm = state.voters.filter((voter) => voter !== id && facts.view.streams[voter]?.lostMs === null).length
    progress(`${name} is started anew`)
    await settleReplica(facts, id, signal)
    await mark(way, id)
    const began = clock.now()
    await watch.renew(id)
    if (confirm >= state.k) return
    for (let streams = false; !streams; ) {
      streams = (await glance(watch, signal))?.view.streams[id]?.lostMs === null
      if (!streams && clock.now() - began > patienceMs) break
    }
    const stall = clock.now() - began
    await store.transact('platform', async (tx) => tx.settings.put(stallKey(roll), String(Math.max(stall, Number((await tx.settings.get(stallKey(roll))) ?? 0)))))
  }

  async function untilEnded(operationId: string, {signal}: RollStep): Promise<void> {
    for (;;) {
      signal.throwIfAborted()
      const operation = await store.read('platform', (tx) => tx.operations.get(operationId))
      if (!operation || hasEnded(operation.status)) return
      await pause(pollMs)
    }
  }

  /** The primary's place goes to another, or it is started where it is: one operation of the cluster's, which is measured. */
  async function movePrimary(way: Way, {watch, state, subjects}: Facts, to: NodeId, step: RollStep): Promise<void> {
    const primary = subjects.get(state.primary) as Subject
    const isInPlace = to === state.primary
    step.progress(isInPlace ? `${watch.nameOf(to)} is started anew where it is` : `${watch.nameOf(to)} takes over from ${watch.nameOf(state.primary)}`)
    await checkpoint(primary)
    await mark(way, state.primary)
    const because = isInPlace ? 'all servers are started anew, and it cannot be handed over' : 'all servers are started anew, one after the other'
    const asking = {principal: {...context.principalOfAgent(), tenantId: primary.instance.tenantId}}
    const operation = isInPlace
      ? await watch.change((now, view) => {
        if (now.operation !== null || now.primary !== to) throw new DbaasError('INVALID_STATE', 'the primary is being changed')
        return {state: beginOperation(now, {kind: 'switchover', preferred: to, forced: true, because}, view.now), asking}
      })
      : await clusters.change(watch.instanceId, {kind: 'switchover', preferred: to, force: false, allowDataLoss: false, because}, asking)
    if (operation) await untilEnded(operation.id, step)
  }

  /** One move after the other, until `isDone`. */
  async function advance(roll: Roll, way: Way, step: RollStep, isDone: (move: RollMove, facts: Facts) => boolean): Promise<void> {
    const tries = new Map<NodeId, number>()
    let [said, since] = ['', performance.now()]
    const wait = async (because: string): Promise<void> => {
      if (because !== said) {
        step.progress((said = because))
        since = performance.now()
      }
      if (performance.now() - since > patienceMs) throw new DbaasError('OPERATION_FAILED', `nothing got on for ${patienceMs / 1000} s: ${because}`, {suggestions: ['dbaas status NAME', 'dbaas doctor']})
      await pause(pollMs)
    }
    for (;;) {
      step.signal.throwIfAborted()
      const facts = await look(roll, way, step.signal)
      mustComeUp(facts)
      const move = nextMove(facts)
      if (move.kind !== 'wait' && isDone(move, facts)) return
      if (move.kind === 'wait') await wait(move.because)
      else if (move.kind !== 'done') {
        const id = move.kind === 'renew' ? move.node : facts.state.primary
        if ((tries.get(id) ?? 0) >= mostTries) throw whyAgain(way, facts, id)
        try {
          await (move.kind === 'renew' ? renew(roll, way, facts, id, step) : movePrimary(way, facts, move.kind === 'hand-over' ? move.to : id, step))
          tries.set(id, (tries.get(id) ?? 0) + 1)
          since = performance.now()
        } catch (error) {
          step.signal.throwIfAborted()
          // something else was quicker, or is in the way for now
          if (!(error instanceof DbaasError) || !['INVALID_STATE', 'NO_QUORUM', 'DATABASE_UNAVAILABLE', 'OPERATION_CANCELLED'].includes(error.code)) throw error
          await wait(error.message)
        }
      }
    }
  }

  /** One that was started with the change, and did not come up, is why it fails: waiting does not heal it. */
  function mustComeUp({watch, changed}: Facts): void {
    for (const id of changed.keys()) {
      const failure = watch.failureOf(id)
      const isOfThis = failure !== null && failure.begunAt >= (changed.get(id)?.since ?? 0)
      if (isOfThis && failure.error instanceof DbaasError && lasting.has(failure.error.code)) throw failure.error
    }
  }

  function whyAgain(way: Way, {watch, state}: Facts, id: NodeId): DbaasError {
    const answer = [...verified].reverse().find(([key, value]) => key.startsWith(`${way.id} ${id} `) && value !== true)?.[1]
    const because = answer instanceof Error ? answer.message : `${watch.nameOf(state.primary)} stays as it is`
    return new DbaasError('OPERATION_FAILED', `${watch.nameOf(id)} was started ${mostTries} times, and is not what it should be: ${because}`)
  }

  const forth = (roll: Roll): Way => ({id: roll.operationId, change: roll.change, isBack: false})

  async function forget(tx: Tx, roll: Roll): Promise<void> {
    for (const {id} of await tx.nodes.ofInstance(roll.instanceId)) await removeChange(tx, id)
    await tx.settings.remove(stallKey(roll))
    for (const key of [...verified.keys()]) if (key.startsWith(roll.operationId)) verified.delete(key)
  }

  return {
    async plan(instanceId, change): Promise<RollPlan> {
      const watch = watchOf(instanceId)
      const {state} = watch.cluster
      const primary = (await servers.all(instanceId)).find(({node}) => node.id === state.primary)
      if (!primary) throw new DbaasError('INVALID_STATE', 'the instance has no primary')
      const order = await replicationOf(primary.engine).limitsChange(primary.host, targetOf(primary, change))
      const moves = plannedMoves({order, nodes: Object.keys(state.nodes).map((id) => ({id, isPrimary: id === state.primary, isVoter: state.voters.includes(id), state: 'pending'}))})
      const at = moves.findIndex(({kind}) => kind !== 'renew')
      const move = moves[at]
      const namesOf = (some: readonly RollMove[]): string[] => some.flatMap((each) => (each.kind === 'renew' ? [watch.nameOf(each.node)] : []))
      const [how, to] = move?.kind === 'hand-over' ? ['switchover' as const, move.to] : ['restart' as const, state.primary]
      const typical = await store.read('platform', (tx) => tx.measurements.typical(gapName(primary.instance.engine, how)))
      return {
        replicasFirst: namesOf(moves.slice(0, at)), primary: {how, from: watch.nameOf(state.primary), to: watch.nameOf(to)},
        others: [...(how === 'switchover' ? [watch.nameOf(state.primary)] : []), ...namesOf(moves.slice(at + 1))], gapMs: typical === undefined ? null : Math.round(typical),
      }
    },
    async whyNot(instanceId, {signal, progress}) {
      let because: string | null = null
      for (const until = performance.now() + beginMs; performance.now() < until; await pause(pollMs)) {
        signal.throwIfAborted()
        because = clusters.missing(instanceId)
        if (because === null) return null
        progress(because)
      }
      return because
    },
    replicas: (roll, step) => advance(roll, forth(roll), step, (move) => move.kind !== 'renew'),
    primary: (roll, step) => advance(roll, forth(roll), step, (_, {nodes}) => nodes.find(({isPrimary}) => isPrimary)?.state === 'done'),
    others: (roll, step) => advance(roll, forth(roll), step, (move) => move.kind === 'done'),
    async back(roll, step) {
      const id = `${roll.operationId}:back`
      const watch = watchOf(roll.instanceId)
      await store.transact('platform', async (tx) => {
        for (const node of await tx.nodes.ofInstance(roll.instanceId)) {
          const record = await changeOf(tx, node.id)
          if (record === undefined || record.roll === id) continue
          const startedAt = watch.seen?.looks.get(node.id)?.seen?.startedAt
          // one that runs, and was not started since, is as it was; and one that was only started anew is, too
          const isAsItWas = roll.change === null || (startedAt !== undefined && startedAt < record.since)
          await (isAsItWas ? removeChange(tx, node.id) : putChange(tx, node.id, {roll: id, since: clock.now(), change: {}}))
        }
      })
      await watch.reload()
      await advance(roll, {id, change: null, isBack: true}, step, (move) => move.kind === 'done')
      await store.transact('platform', (tx) => forget(tx, roll))
    },
    async result(roll): Promise<Rolled | null> {
      const {operations, stall, isRolled} = await store.read('platform', async (tx) => {
        const own = await tx.operations.get(roll.operationId)
        const nodes = await tx.nodes.ofInstance(roll.instanceId)
        const records = await Promise.all(nodes.map(({id}) => changeOf(tx, id)))
        const all = await tx.operations.list({instanceId: roll.instanceId, limit: 100})
        return {
          operations: all.filter(({kind, createdAt, status}) => changeKinds.has(kind) && own && createdAt >= own.createdAt && status === 'succeeded'),
          stall: Number((await tx.settings.get(stallKey(roll))) ?? 0), isRolled: records.some((record) => record?.roll === roll.operationId),
        }
      })
      if (!isRolled) return null
      const changes = operations.map(({result}) => result as unknown as PrimaryChange).sort((a, b) => (b.write_gap_ms ?? 0) - (a.write_gap_ms ?? 0))
      const [longest] = changes
      const gap = longest ? Math.max(longest.write_gap_ms ?? 0, stall) : stall
      return {applied: changes.some(({from, to}) => from !== to) ? 'switchover' : 'restart', write_gap_ms: longest?.write_gap_ms === null ? null : gap, phases: longest?.phases ?? []}
    },
    async settle(tx, roll) {
      const instance = await tx.instances.find(roll.instanceId)
      const changes = (await tx.operations.list({instanceId: roll.instanceId, limit: 100}))
      const own = await tx.operations.get(roll.operationId)
      for (const {kind, createdAt, status, result} of changes) {
        if (!instance || !own || !changeKinds.has(kind) || createdAt < own.createdAt || status !== 'succeeded') continue
        const {from, to, write_gap_ms: gap} = result as unknown as PrimaryChange
        if (gap !== null) await tx.measurements.record(gapName(instance.engine, from === to ? 'restart' : 'switchover'), gap, clock.now())
      }
      await forget(tx, roll)
    },
  }
}

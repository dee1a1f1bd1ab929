/**
 * The loop of one cluster: look, decide, do, look again. It alone writes the cluster's record; what people want is put in between two
 * decisions. With nothing to do it looks once a second, and at once when a server or a connection to one ends.
 */
import {decide} from '../../../core/ha/decide.js'
import {budgets, diagnose, type Diagnosis} from '../../../core/ha/diagnose.js'
import {setFor} from '../../../core/ha/operation.js'
import type {Silence} from '../../../core/ha/readers.js'
import {sameSet, type HaState, type NodeId} from '../../../core/ha/state.js'
import type {Action, ClusterView} from '../../../core/ha/view.js'
import {DbaasError} from '../../../core/errors.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {ProbePoint} from '../../workflow/engine.js'
import type {ServiceContext} from '../context.js'
import {holdOf, releaseFormerHolds, type SubjectServers} from '../subject.js'
import {createExecutor} from './execute.js'
import {newMember, replicationOf, type Making, type Member} from './members.js'
import {createObserver, type Look} from './observe.js'
import {createRecords, kindOf, named, type Asking, type Cluster} from './record.js'

/** So soon again after something was done, or did not work; for so long. */
const soonMs = 25
const activeMs = 4000
const longestPauseMs = 1000
/** What standbys need ahead of need: log kept for their peers, the set with which they would come up. */
const upkeepMs = 4000

export interface WatchOptions {
  readonly context: ServiceContext
  readonly servers: SubjectServers
  readonly making: Making
  readonly cluster: Cluster
  readonly changed: (operation: OperationRecord) => void
  /** After each look, with what was decided on it. */
  readonly looked: (state: HaState, view: ClusterView, subjectOf: (id: NodeId) => Member['subject'] | undefined, silenceOf: (id: NodeId) => Silence | undefined) => void
  /** How much too late the agent's own timers came since then (of the clock that never jumps), in milliseconds. */
  readonly late: (since: number) => number
  /** For tests: stops the world after a phase's work, after it is stored, and inside of a rejoin. */
  readonly probe?: ((point: ProbePoint) => Promise<void>) | undefined
}

export interface Seen {
  readonly view: ClusterView
  readonly looks: ReadonlyMap<NodeId, Look>
  readonly because: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** What a person wants, as the next state. Throws why not. */
export type Wish = (state: HaState, view: ClusterView) => {readonly state: HaState; readonly asking?: Asking}

export interface Glance {
  readonly state: HaState
  readonly view: ClusterView
}

export type Watch = ReturnType<typeof createWatch>

export function createWatch(options: WatchOptions) {
  const {context, servers, making} = options
  const {store, clock} = context
  let cluster = options.cluster
  const instanceId = cluster.instance.id
  const members = new Map<NodeId, Member>()
  const softFailovers: number[] = []
  let latest: Seen | undefined
  let running = false
  let going: Promise<void> | undefined
  let wake = (): void => undefined
  let isPoked = false
  let failures = 0
  let lastFailure = ''
  let shown = ''
  let tendedAt = Number.NEGATIVE_INFINITY
  /** The servers that were there then. */
  let tended = ''
  /** Standbys that hold no log of a history that is over. */
  const tidied = new Set<NodeId>()
  let downSince: number | null = null
  /** When something was last done, by the clock that never jumps. */
  let activeAt = Number.NEGATIVE_INFINITY
  /** Those that have come back since the last round, and what they have given up. */
  const rejoined: {readonly id: NodeId; readonly discardedBytes: bigint}[] = []
  const wishes: {make: Wish; granted: (operation: OperationRecord | undefined) => void; refused: (error: Error) => void}[] = []

  function poke(): void {
    isPoked = true
    wake()
  }

  const observer = createObserver(servers, making, (id) => {
    // what waits for its answer waits in vain
    const member = members.get(id)
    if (member && !member.busy) executor.interrupt(member)
    poke()
  })
  const executor = createExecutor({
    context, servers, making, observer, instanceId, poke,
    member(id) {
      const found = members.get(id)
      if (!found) throw new Error(`the cluster has no node ${id}`)
      return found
    },
    state: () => cluster.state,
    rejoined: (id, discardedBytes) => void (discardedBytes !== null && rejoined.push({id, discardedBytes})),
    failed: note,
    reached: async (step) => options.probe?.({kind: 'node.rejoin', step, direction: 'forward', when: 'after', operationId: ''}),
  })
  const nameOf = (id: NodeId): string => members.get(id)?.subject.node.name ?? id
  const records = createRecords(context, nameOf)

  function note(what: string, error: unknown): void {
    const message = `${what}: ${error instanceof Error ? error.message : String(error)}`
    if (message !== lastFailure) context.log('a move in a cluster failed', {instance: instanceId, error: message})
    lastFailure = message
  }

  async function load(): Promise<void> {
    const [instance, subjects] = await Promise.all([store.read('platform', (tx) => tx.instances.find(instanceId)), servers.all(instanceId)])
    if (!instance) throw new Error('the instance is gone')
    cluster = {...cluster, instance}
    const nodes = subjects.map(({node}) => node)
    for (const subject of subjects) {
      const {node} = subject
      const known = members.get(node.id)
      if (known) known.subject = subject
      else members.set(node.id, newMember(subject))
    }
    for (const id of [...members.keys()]) if (!nodes.some((node) => node.id === id)) members.delete(id)
  }

  async function look(): Promise<Seen> {
    const {state} = cluster
    const began = performance.now()
    const looks = await observer.look([...members.values()].filter(({id}) => state.nodes[id]))
    const now = performance.now()
    const diagnosis = diagnose(observer.evidenceOf(state, looks, options.late(began), softFailovers.map((at) => now - at)))
    const view: ClusterView = {
      now: clock.now(), nodes: await observer.viewOf(state, looks), gate: executor.gate, streams: observer.streamsOf(state, looks), mark: executor.mark, diagnosis,
    }
    return {view, looks, because: diagnosis.because, at: view.now}
  }

  async function persist(state: HaState, diagnosis: Diagnosis, asking?: Asking): Promise<OperationRecord | undefined> {
    const isNew = state.operation !== null && state.operation.startedAt !== cluster.state.operation?.startedAt
    if (isNew && cluster.state.operation === null) {
      executor.forgetTimes()
      const lastAnswer = observer.endedAt(cluster.state.primary) ?? observer.lastAnswer(cluster.state.primary)
      downSince = asking || lastAnswer === undefined ? null : clock.now() - (performance.now() - lastAnswer)
      if (diagnosis.soft) softFailovers.push(performance.now())
    }
    const {closedAt, openedAt} = executor.times
    const before = cluster
    await reached(before, state, 'after')
    const changed = await records.persist(before, state, {downSince: downSince ?? closedAt, openedAt}, asking)
    cluster = changed.cluster
    await reached(before, state, 'stored')
    if (changed.operation) options.changed(changed.operation)
    return changed.operation
  }

  /** What leads to the first phase is called `begin`. */
  async function reached({state: before, operationId}: Cluster, after: HaState, when: 'after' | 'stored'): Promise<void> {
    const operation = before.operation ?? after.operation
    if (!options.probe || !operation || before.operation?.phase === after.operation?.phase) return
    await options.probe({kind: kindOf(operation), step: before.operation?.phase ?? 'begin', direction: 'forward', when, operationId: operationId ?? ''})
  }

  async function grant(view: ClusterView): Promise<boolean> {
    const wish = wishes.shift()
    if (!wish) return false
    try {
      const {state, asking} = wish.make(cluster.state, view)
      wish.granted(state === cluster.state ? undefined : await persist(state, view.diagnosis, asking))
      return true
    } catch (error) {
      wish.refused(error as Error)
      return false
    }
  }

  /** Told of the change of primary that it lost its place by, once that is done. */
  async function settleRejoined(): Promise<void> {
    if (cluster.state.operation !== null) return
    for (let one = rejoined[0]; one !== undefined; rejoined.shift(), one = rejoined[0]) {
      const settled = await records.discard(cluster, one.id, Number(one.discardedBytes))
      if (!settled) continue
      cluster = settled.cluster
      if (settled.operation) options.changed(settled.operation)
    }
  }

  /** True when something was done. */
  async function round(): Promise<boolean> {
    await settleRejoined()
    let seen = await look()
    latest = seen
    for (const tell of glances.splice(0)) tell({state: cluster.state, view: seen.view})
    if (await grant(seen.view)) return true
    let decision = decide(cluster.state, seen.view)
    const [first] = decision.actions
    if (first?.kind === 'persist') {
      await persist(first.state, seen.view.diagnosis)
      decision = decide(cluster.state, seen.view)
      // the same view serves once
      if (decision.actions[0]?.kind === 'persist') return true
    }
    seen = {...seen, because: decision.because}
    latest = seen
    const did = await Promise.all(decision.actions.map((action) => perform(action as Exclude<Action, {kind: 'persist'}>)))
    failures = did.includes(false) ? failures + 1 : 0
    options.looked(cluster.state, seen.view, (id) => members.get(id)?.subject, observer.silenceOf)
    await show(seen)
    const there = [...seen.looks.values()].map(({member: {id, busy}, seen: answer, impairment}) => `${id} ${busy} ${answer?.startedAt} ${impairment}`).join()
    if (cluster.state.operation === null && (there !== tended || performance.now() - tendedAt > upkeepMs)) {
      tendedAt = performance.now()
      tended = there
      await mend(seen)
      await upkeep(seen)
    }
    return decision.actions.length > 0 || first !== undefined
  }

  async function perform(action: Exclude<Action, {kind: 'persist'}>): Promise<boolean> {
    try {
      await executor.run(action)
      return true
    } catch (error) {
      note(`${action.kind}${'node' in action ? ` of ${nameOf(action.node)}` : ''}`, error)
      return false
    }
  }

  /**
   * A server that somebody took off its network is put back (one that is paused stays so). The primary is left to the failover,
   * which is sooner done than a server that was cut off is found to be whole, unless there can be none.
   */
  async function mend({view: {diagnosis}, looks}: Seen): Promise<void> {
    const {state} = cluster
    const isAlone = state.voters.length === 0 || diagnosis.kind === 'no-quorum'
    await Promise.all([...looks.values()].map(async ({member, isCut}) => {
      if (!isCut || (member.id === state.primary && !isAlone)) return
      const {runtime, placement, node} = member.subject
      await runtime.place(placement).catch((error: unknown) => note(`mending ${node.name}`, error))
    }))
  }

  /** What a primary held its log for in a history that is over, when it was cut off: a standby keeps that over a rewind. */
  async function releaseFormer({id, subject}: Member): Promise<void> {
    if (tidied.has(id)) return
    await releaseFormerHolds(store, subject, await servers.admin())
    tidied.add(id)
  }

  /** Ahead of need, and never in its way: nothing here is waited for by a failover. */
  async function upkeep({view, looks}: Seen): Promise<void> {
    const {state, instance} = cluster
    const admin = await servers.admin()
    const primary = looks.get(state.primary)?.seen
    if (!primary || primary.role !== 'primary') return
    await Promise.all([...looks.values()].map(async ({member, seen}) => {
      if (!seen || member.busy) return
      const {engine, host} = member.subject
      const replication = replicationOf(engine)
      const timing = {timeoutMs: budgets.probeTimeoutMs * 2, signal: member.controller.signal}
      try {
        const peers = Object.keys(state.nodes).filter((id) => id !== member.id)
          .map((name) => ({name, position: primary.receivers.find((receiver) => receiver.name === name)?.flushed ?? null}))
        await replication.keepLogFor(host, admin, peers, timing)
        if (seen.role !== 'standby') return
        await engine.backup?.log.release(host, admin, holdOf(instance.incarnation))
        await releaseFormer(member)
        const set = setFor(state, member.id, view)
        if (state.voters.includes(member.id) && !(member.settled && sameSet(set, view.nodes[member.id]?.server?.set ?? null))) {
          await executor.run({kind: 'set', node: member.id, set})
        }
      } catch (error) {
        note(`upkeep of ${member.subject.node.name}`, error)
      }
    }))
  }

  /** The status that people see, written when it becomes another one. */
  async function show({view, looks}: Seen): Promise<void> {
    const {state} = cluster
    const {kind} = view.diagnosis
    const isWell = state.operation === null && kind === 'healthy'
    const because = named(state.operation ? `its primary is being changed: ${state.operation.because}` : view.diagnosis.because, nameOf)
    const nodes = [...looks.values()].map(({member, process, seen, impairment}) => {
      const status = member.busy ? 'starting' as const : process === 'running' ? 'running' as const : 'failed' as const
      return {id: member.id, status, reason: status !== 'running' ? null : impairment ?? (seen ? null : 'it does not answer')}
    })
    const fresh = `${isWell} ${kind} ${state.operation?.phase ?? ''} ${nodes.map(({id, status, reason}) => `${id} ${status} ${reason}`).join()}`
    if (fresh === shown) return
    shown = fresh
    const now = clock.now()
    await store.transact('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      if (!instance || instance.wanted !== 'running') return
      for (const {id, status, reason} of nodes) {
        const known = (await tx.nodes.ofInstance(instanceId)).find((node) => node.id === id)
        if (known && (known.status !== status || known.statusReason !== reason)) await tx.nodes.update(id, {status, statusReason: reason, updatedAt: now})
      }
      if (instance.status !== 'running' && instance.status !== 'degraded') return
      const [status, reason] = isWell ? ['running' as const, null] : ['degraded' as const, because]
      if (instance.status !== status || instance.statusReason !== reason) await tx.instances.update(instanceId, {status, statusReason: reason, updatedAt: now})
    })
  }

  const glances: ((found: Glance) => void)[] = []

  const change = (make: Wish): Promise<OperationRecord | undefined> => new Promise((granted, refused) => {
    wishes.push({make, granted, refused})
    poke()
  })

  async function pause(ms: number): Promise<void> {
    if (isPoked || !running) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  async function loop(): Promise<void> {
    while (running) {
      isPoked = false
      let isBusy = false
      try {
        isBusy = await round()
      } catch (error) {
        note('a round', error)
        failures++
      }
      if (!running) return
      if (isBusy) activeAt = performance.now()
      if (failures > 0) await pause(Math.min(longestPauseMs, soonMs * 2 ** failures))
      else if (isBusy) await new Promise((resolve) => setImmediate(resolve))
      else await pause(performance.now() - activeAt < activeMs || observer.isSilent(cluster.state.primary) ? soonMs : cluster.state.operation ? longestPauseMs / 4 : budgets.probeEveryMs)
    }
  }

  return {
    instanceId,
    poke,
    get cluster() { return cluster },
    get seen() { return latest },
    get isRunning() { return running },
    nameOf,
    /** Where the endpoint shall lead: null holds new clients. */
    get gate() { return executor.gate },
    subjectOf: (id: NodeId) => members.get(id)?.subject,
    /** Why its server did not come up when that was last tried; null: it did. */
    failureOf: (id: NodeId) => members.get(id)?.failure ?? null,
    /**
     * Ends a replica's server in order, and starts it with what the store says that it has. Between two decisions, as `change`; resolves when it
     * answers, which is before it streams. Throws INVALID_STATE while the primary is being changed, and why it did not come up.
     */
    async renew(id: NodeId): Promise<void> {
      let renewed: Promise<void> | undefined
      await change((state) => {
        const member = members.get(id)
        if (!member || state.operation !== null || state.primary === id || member.busy) {
          throw new DbaasError('INVALID_STATE', `${nameOf(id)} cannot be started anew now: ${state.operation?.because ?? 'it is the primary, or being started'}`)
        }
        renewed = executor.renew(id, state.primary)
        renewed.catch(() => undefined)
        return {state}
      })
      await renewed
    },
    /** `gate`: where the endpoint leads now. */
    async start(gate: NodeId | null): Promise<void> {
      if (running) return
      await going
      await load()
      for (const member of members.values()) Object.assign(member, {busy: false, controller: new AbortController(), provenDead: false})
      executor.gate = gate
      shown = ''
      failures = 0
      running = true
      going = loop()
    },
    /** Nothing is done to its servers when this resolves, until it is started again. */
    async suspend(): Promise<void> {
      running = false
      for (const member of members.values()) executor.interrupt(member)
      poke()
      await going
      await executor.idle()
      observer.close()
    },
    /** Between two decisions. Resolves with the operation that began. */
    change,
    /** The next look. Unlike `change` it takes no decision's place, so it can be asked again and again. Stays open while nobody looks. */
    glance(): Promise<Glance> {
      return new Promise((tell) => {
        glances.push(tell)
        poke()
      })
    },
    reload: load,
  }
}

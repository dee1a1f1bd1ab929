/** What the policy decides, done to real servers. Every action ends in bounded time, and can be done again. */
import {setTimeout as pause} from 'node:timers/promises'
import {budgets} from '../../../core/ha/diagnose.js'
import type {HaState, NodeId} from '../../../core/ha/state.js'
import type {Action, Mark} from '../../../core/ha/view.js'
import {DbaasError} from '../../../core/errors.js'
import type {ServiceContext} from '../context.js'
import {routeTo, type SubjectServers} from '../subject.js'
import {replicationOf, type Making, type Member} from './members.js'
import {stampFile, type Observer} from './observe.js'

type Doable = Exclude<Action, {kind: 'persist'}>

/** A node that is there answers in some milliseconds; others must not wait for one that is not. */
const shortMs = 3000
const setMs = 5000
const promoteMs = 60_000
const stopMs = 10_000
const readyMs = 120_000
/** After background work that failed: twice as long each time. */
const retryMs = 125
const longestRetryMs = 5000

export interface ExecutorOptions {
  readonly context: ServiceContext
  readonly servers: SubjectServers
  readonly making: Making
  readonly observer: Observer
  readonly instanceId: string
  member(id: NodeId): Member
  state(): HaState
  /** Something that goes on by itself has ended. */
  poke(): void
  /** It follows the primary, and has given up so much of its own log to do so. Null: nobody can say. */
  rejoined(id: NodeId, discardedBytes: bigint | null): void
  /** Of background work that failed. */
  failed(what: string, error: unknown): void
  /** For tests: a rejoin has come so far. */
  reached(step: 'kill' | 'rewind' | 'copy' | 'stamp'): Promise<void>
}

export function createExecutor(options: ExecutorOptions) {
  const {context, servers, making, observer, instanceId, member} = options
  let gate: NodeId | null = null
  let mark: Mark | null = null
  /** Milliseconds since the epoch. */
  let closedAt: number | null = null
  let openedAt: number | null = null
  const background = new Set<Promise<void>>()
  /** One after the other, of what goes on in the background. */
  const failures = new Map<NodeId, number>()
  /** Timelines that afterPromotion has been through. */
  const settledTimelines = new Set<string>()

  const admin = () => servers.admin()

  async function run(action: Doable): Promise<void> {
    switch (action.kind) {
      case 'close-gate': return closeGate()
      case 'open': return open(member(action.node))
      case 'stop': return stop(member(action.node))
      case 'fence': return fence(member(action.node))
      case 'revoke': return revoke(member(action.node))
      case 'repoint': return repoint(member(action.node), member(action.to))
      case 'set': return set(member(action.node), action.set)
      case 'promote': return promote(member(action.node), action.timeline)
      case 'mark': return markNow(member(action.node), action.key)
      case 'start': return void inBackground(member(action.node), 'start', (node) => start(node, action.follows === null ? null : member(action.follows)))
      case 'rejoin': return void inBackground(member(action.node), 'rejoin', (node) => rejoin(node, member(action.from), action))
    }
  }

  /** Long work: the node is busy meanwhile, and the others are looked after. The answer need not be waited for. */
  function inBackground(node: Member, what: string, work: (node: Member) => Promise<void>): Promise<void> {
    if (node.busy) return Promise.resolve()
    node.busy = true
    observer.forget(node.id)
    const {signal} = node.controller
    const begunAt = context.clock.now()
    const worked = work(node)
    const going = worked.then(() => {
      node.failure = null
      failures.delete(node.id)
    }, async (error: unknown) => {
      node.failure = {error: error as Error, begunAt}
      if (signal.aborted) return
      options.failed(`${what} of ${node.subject.node.name}`, error)
      // what failed would fail again at once (no room on its disk, say), and copying takes from the primary meanwhile
      const count = (failures.get(node.id) ?? 0) + 1
      failures.set(node.id, count)
      await pause(Math.min(longestRetryMs, retryMs * 2 ** count), undefined, {signal}).catch(() => undefined)
    }).finally(() => {
      node.busy = false
      background.delete(going)
      options.poke()
    })
    background.add(going)
    return worked
  }

  async function closeGate(): Promise<void> {
    closedAt ??= context.clock.now()
    openedAt = null
    await context.endpoints.closeGate(routeTo(member(options.state().primary).subject, 'hold'))
    gate = null
  }

  async function open(node: Member): Promise<void> {
    const {instance} = await servers.load(instanceId)
    await servers.route({...node.subject, instance}, 'open')
    gate = node.id
    openedAt = context.clock.now()
    context.protection.started(instanceId)
    settle(node)
  }

  /** Once for each promotion: off the critical path, and before anything is rewound to it. */
  function settle(node: Member): void {
    const going = settlePromotion(node).catch((error: unknown) => options.failed('settling a promotion', error)).finally(() => background.delete(going))
    background.add(going)
  }

  async function settlePromotion(node: Member): Promise<void> {
    const key = `${node.id} ${node.startedAt}`
    if (settledTimelines.has(key)) return
    const {host, engine} = node.subject
    await replicationOf(engine).afterPromotion(host, await admin(), {signal: node.controller.signal})
    settledTimelines.add(key)
  }

  /** In order: replicas, and the archive, receive the last of the log. */
  async function stop(node: Member): Promise<void> {
    const {runtime, placement, engine, node: {runtimeRef}} = node.subject
    const now = await runtime.observe(placement, runtimeRef)
    if (now.state === 'running') {
      const [gentlest] = engine.lifecycle.stopSignals
      if (gentlest) await runtime.signal(placement, now.ref, gentlest.signal)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(end, stopMs)
        const unwatch = runtime.watch(placement, now.ref, end)
        function end(): void {
          clearTimeout(timer)
          unwatch()
          resolve()
        }
      })
    }
    if ((await runtime.observe(placement, runtimeRef)).state === 'running') throw new DbaasError('COMMAND_FAILED', `${node.subject.node.name} does not end`)
    observer.forget(node.id)
  }

  async function fence(node: Member): Promise<void> {
    const {runtime, placement, node: {runtimeRef}} = node.subject
    interrupt(node)
    await runtime.kill(placement, runtimeRef)
    node.provenDead = true
    observer.forget(node.id)
  }

  /** What is being done to a server that is killed would wait for its answer. */
  function interrupt(node: Member): void {
    node.controller.abort(new DbaasError('OPERATION_CANCELLED', 'the server is being ended'))
    node.controller = new AbortController()
  }

  async function revoke(node: Member): Promise<void> {
    const {host, engine} = node.subject
    await replicationOf(engine).detach(host, await admin(), {timeoutMs: shortMs, signal: node.controller.signal})
    node.detached = true
  }

  async function repoint(node: Member, to: Member): Promise<void> {
    const {host, engine} = node.subject
    node.detached = false
    await replicationOf(engine).follow(host, await admin(), await making.upstreamOf(node.subject, to.subject), {timeoutMs: shortMs, signal: node.controller.signal})
  }

  async function set(node: Member, wanted: {readonly k: number; readonly names: readonly NodeId[]} | null): Promise<void> {
    const {host, engine} = node.subject
    node.settled = false
    await replicationOf(engine).setSynchronous(host, await admin(), wanted ?? {k: 0, names: []}, {timeoutMs: setMs, signal: node.controller.signal})
    node.settled = true
  }

  async function promote(node: Member, onto: number): Promise<void> {
    const {host, engine} = node.subject
    // one that was made just now has kept no log for its peers yet, and then lets none of them follow
    const peers = Object.keys(options.state().nodes).filter((id) => id !== node.id).map((name) => ({name, position: null}))
    const keeping = replicationOf(engine).keepLogFor(host, await admin(), peers, {timeoutMs: shortMs, signal: node.controller.signal})
    keeping.catch((error: unknown) => options.failed('keeping log for peers', error))
    await replicationOf(engine).promote(host, await admin(), {timeoutMs: promoteMs, onto, signal: node.controller.signal})
    node.detached = false
  }

  async function markNow(node: Member, key: string): Promise<void> {
    const {host, engine} = node.subject
    const {flushed, role} = await replicationOf(engine).observe(host, await admin(), {timeoutMs: budgets.probeTimeoutMs, signal: node.controller.signal})
    if (role === 'primary') mark = {key, position: flushed}
  }

  async function start(node: Member, of: Member | null): Promise<void> {
    const {engine, host, runtime, placement} = node.subject
    const replication = replicationOf(engine)
    // somebody removed all of it: it is made anew from the others
    if ((await servers.observe(node.subject)).state === 'absent') await runtime.place(placement)
    if (of) {
      const {kind, because} = await replication.assessRejoin(host, await making.sourceOf(of.subject), {signal: node.controller.signal})
      if (kind !== 'none') {
        node.cannotFollow = true
        context.log('a node cannot follow as it is', {instance: instanceId, node: node.id, because})
        return
      }
      options.rejoined(node.id, 0n)
    } else if (!(await engine.lifecycle.isInitialised(host))) {
      node.cannotFollow = true
      return
    }
    await bootAndWait(node, of)
  }

  async function bootAndWait(node: Member, of: Member | null): Promise<void> {
    Object.assign(node, {startedAt: null, detached: false, settled: true, provenDead: false})
    // what it shall be may have been changed meanwhile
    node.subject = (await servers.all(instanceId)).find((subject) => subject.node.id === node.id) ?? node.subject
    const ref = await making.boot(node.subject, of?.subject ?? null, goesOnInPlace(options.state(), node.id), node.controller.signal)
    const now = context.clock.now()
    node.subject = {...node.subject, node: {...node.subject.node, runtimeRef: ref}}
    await context.store.transact('platform', (tx) => tx.nodes.update(node.id, {runtimeRef: ref, status: 'starting', statusReason: null, updatedAt: now}))
    const timeout = AbortSignal.timeout(readyMs)
    await servers.awaitReady(node.subject, AbortSignal.any([timeout, node.controller.signal]), () => undefined)
    // it has read its log to its end only when this says so
    if (of === null) await revoke(node)
  }

  /** A replica, in order if it can be; with what the store says that it has now. */
  async function renew(node: Member, of: Member): Promise<void> {
    await stop(node).catch(() => undefined)
    await bootAndWait(node, of)
  }

  async function rejoin(node: Member, from: Member, {how, stamp}: {readonly how: 'rewind' | 'rebuild'; readonly stamp: number}): Promise<void> {
    const {engine, host, runtime, placement, node: {runtimeRef}, instance} = node.subject
    const replication = replicationOf(engine)
    const {signal} = node.controller
    const source = await making.sourceOf(from.subject)
    await runtime.kill(placement, runtimeRef)
    node.provenDead = true
    await runtime.place(placement)
    await host.remove(stampFile(host))
    observer.stampChanged(node.id)
    await options.reached('kill')
    await settlePromotion(from)
    await making.prepareSource(from.subject, Object.keys(options.state().nodes))
    const upstream = await making.upstreamOf(node.subject, from.subject)
    let isWhole = false
    let discarded: bigint | null = null
    if (how === 'rebuild') context.log('a node comes back', {instance: instanceId, node: node.id, how})
    else {
      try {
        await making.configure(node.subject)
        const {kind, because, discardedBytes} = await replication.assessRejoin(host, source, {signal})
        discarded = discardedBytes
        context.log('a node comes back', {instance: instanceId, node: node.id, how: kind, because, discarded_bytes: discardedBytes === null ? null : Number(discardedBytes)})
        if (kind === 'rewind') await replication.rewind(host, upstream, {version: instance.version, signal})
        await options.reached('rewind')
        isWhole = kind !== 'copy' && (kind === 'none' || (await replication.assessRejoin(host, source, {signal})).kind === 'none')
      } catch (error) {
        signal.throwIfAborted()
        context.log('a rewind failed; the node is copied anew', {instance: instanceId, node: node.id, error: String(error)})
      }
    }
    if (!isWhole) await making.copy(node.subject, from.subject, signal, () => undefined)
    await options.reached('copy')
    await host.write({path: stampFile(host), content: String(stamp)})
    await options.reached('stamp')
    observer.stampChanged(node.id)
    node.cannotFollow = false
    options.rejoined(node.id, discarded)
    await bootAndWait(node, from)
  }

  return {
    run,
    interrupt,
    /** Resolves when it answers again; while it lasts the node is busy. */
    renew: (id: NodeId, of: NodeId): Promise<void> => inBackground(member(id), 'restart', (node) => renew(node, member(of))),
    settlePromotion,
    get gate() { return gate },
    set gate(node: NodeId | null) { gate = node },
    get mark() { return mark },
    /** When the endpoint was closed for the change that is under way, and when it was opened after it. */
    get times() { return {closedAt, openedAt} },
    forgetTimes(): void {
      closedAt = null
      openedAt = null
    },
    /** Waits for what goes on in the background, which was interrupted. */
    async idle(): Promise<void> {
      await Promise.allSettled([...background])
    },
  }
}

/** The primary, that was asked to end in order and is started where it is: nothing can have been acknowledged by others meanwhile. */
const goesOnInPlace = ({operation, primary}: HaState, id: NodeId): boolean =>
  operation?.kind === 'switchover' && operation.phase === 'fence' && operation.preferred === id && operation.old === id && primary === id

/**
 * Keeps what should run running. Reality wins: at start the store is compared with what exists; afterwards the end of
 * a server, and whatever else happens to it behind our back, is seen as it happens, and a recover operation brings it
 * back, later and later if it does not stay.
 */
import {DbaasError} from '../../../core/errors.js'
import {backoffMs} from '../../../core/workflow/backoff.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {Found, Observation, Runtime, ServerEnd} from '../../runtimes/runtime.js'
import type {Route, RouteState} from '../../endpoints/endpoint.js'
import type {ServiceContext} from '../context.js'
import {createKind} from './create.workflow.js'
import {deleteKind} from './delete.workflow.js'
import {recoverKind} from './lifecycle.workflows.js'
import type {ExchangeInput} from './exchange.js'
import {restoreKind} from './restore.workflow.js'
import {routeTo, type Subject} from '../subject.js'
import type {Servers} from './servers.js'
import type {ReadTx} from '../../store/store.js'
import {submit} from '../submit.js'
import {majorUpgradeKind} from './upgrade-major.workflow.js'

/** A server that lived this long before it ended starts again from the shortest delay. */
const stableMs = 10 * 60_000
const longestDelayMs = 5 * 60_000
/** A runtime that does not answer is asked again this often at first, then less and less. */
const askAgainMs = 1000
const askAgainLongestMs = 30_000

export interface Supervisor {
  /** Once, before operations go on. */
  reconcile(): Promise<void>
  /** A workflow started (or found) the server: its end is watched from now on. */
  started(instanceId: string): void
  /** What exists with our mark and the store does not know, and what is of another site. A runtime that does not answer has none. */
  strangers(): Promise<readonly Found[]>
  /** After the endpoint process had to be started anew. */
  restoreRoutes(): Promise<void>
  stop(): void
}

export function createSupervisor(context: ServiceContext, servers: Servers, deadlineSeconds: number): Supervisor {
  const {store, clock} = context
  const watches = new Map<string, () => void>()
  const crashes = new Map<string, {count: number; at: number}>()
  /** Instances whose recovery is due: two ways may tell of one end. */
  const due = new Set<string>()
  const timers = new Set<NodeJS.Timeout>()
  /** Runtimes whose changes we hear of, and how to stop. */
  const listening = new Map<string, () => void>()
  /** Runtimes that did not answer and are being asked again. */
  const asking = new Set<string>()
  let stopped = false

  const background = (what: string, work: Promise<unknown>): void =>
    void work.catch((error: unknown) => context.log(`${what} failed`, {error: error instanceof Error ? error.message : String(error)}))

  function later(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer)
      if (!stopped) work()
    }, ms)
    timer.unref()
    timers.add(timer)
  }

  /** What was seen of a server is acted on, also when the store could not be written at that moment (its disk is full): nobody sees it twice. */
  function untilHandled(what: string, work: () => Promise<void>, again: () => Promise<void> = work, attempt = 1): void {
    background(what, work().catch((error: unknown) => {
      later(backoffMs(attempt, Math.random(), askAgainMs, askAgainLongestMs), () => untilHandled(what, again, again, attempt + 1))
      throw error
    }))
  }

  /** Only runtimes with an instance are listened to: one that nobody uses need not even be there. */
  function listen(runtime: Runtime): void {
    if (stopped || listening.has(runtime.name)) return
    listening.set(runtime.name, runtime.onChange((nodeId) =>
      untilHandled(`handling a change of ${runtime.name}`, () => (nodeId === null ? settleAll(runtime) : changed(nodeId)))))
  }

  async function watch(instanceId: string): Promise<void> {
    // what ends in a cluster is its own affair
    if (stopped || context.clusters.owns(instanceId)) return
    const subject = await servers.load(instanceId).catch(() => undefined)
    if (!subject) return
    listen(subject.runtime)
    const now = await observe(subject)
    if (now === undefined) return
    if (now.state !== 'running') return ended(instanceId, now.state === 'stopped' ? now : {exitCode: null, because: null})
    watchEnd(subject, now.ref)
    if (now.impairment !== null) await settle(instanceId)
  }

  function watchEnd({instance, runtime, placement}: Subject, ref: string): void {
    watches.get(instance.id)?.()
    watches.set(instance.id, runtime.watch(placement, ref, (end) => {
      watches.delete(instance.id)
      untilHandled('handling the end of a server', () => ended(instance.id, end), () => settle(instance.id))
    }))
  }

  /** Undefined when the runtime does not answer: nothing is known then, and it is asked again by itself. */
  async function observe(subject: Subject): Promise<Observation | undefined> {
    try {
      return await servers.observe(subject)
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'RUNTIME_UNAVAILABLE') throw error
      askAgain(subject.runtime)
      await markUnseen(subject.instance.id, error.message)
      return undefined
    }
  }

  function askAgain(runtime: Runtime, attempt = 1): void {
    if (attempt === 1 && asking.has(runtime.name)) return
    asking.add(runtime.name)
    later(backoffMs(attempt, Math.random(), askAgainMs, askAgainLongestMs), () => background(`asking ${runtime.name} again`, (async () => {
      try {
        await runtime.facts()
      } catch {
        return askAgain(runtime, attempt + 1)
      }
      asking.delete(runtime.name)
      untilHandled(`comparing what is on ${runtime.name}`, () => settleAll(runtime))
    })()))
  }

  /** The server may well serve; what is broken is our sight of it. */
  async function markUnseen(instanceId: string, because: string): Promise<void> {
    await store.transact('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      if (!instance || (instance.status !== 'running' && instance.status !== 'degraded')) return
      await tx.instances.update(instanceId, {status: 'degraded', statusReason: `it cannot be watched: ${because}`, updatedAt: clock.now()})
    })
  }

  async function changed(nodeId: string): Promise<void> {
    const node = (await store.read('platform', (tx) => tx.nodes.list())).find((n) => n.id === nodeId)
    if (node) await settle(node.instanceId)
  }

  async function settleAll(runtime: Runtime): Promise<void> {
    const all = (await store.read('platform', (tx) => tx.instances.list())).filter((i) => i.runtime === runtime.name)
    for (const instance of all) await settle(instance.id)
    if (all.length > 0) await noteProblems(await context.endpoints.replace(await routes()))
  }

  /** Compares one instance with what is true, and acts on the difference. An operation that is under way knows what it does. */
  async function settle(instanceId: string, retryFailed = false): Promise<void> {
    if (stopped || context.clusters.owns(instanceId) || (await isBusy(instanceId))) return
    const subject = await servers.load(instanceId).catch(() => undefined)
    if (!subject) return
    const {instance} = subject
    const now = await observe(subject)
    if (now === undefined) return
    if (now.state === 'running' && instance.wanted === 'running') return settleRunning(subject, now)
    // stopped on paper, running in truth: the owner asked for a stop
    if (now.state === 'running') return servers.halt(subject, () => undefined)
    if (instance.wanted !== 'running') return
    if (now.state === 'absent') return markGone(subject)
    if (instance.status !== 'failed' || retryFailed) await ended(instanceId, now)
  }

  async function settleRunning(subject: Subject, now: Observation & {state: 'running'}): Promise<void> {
    const {instance, node, runtime, placement} = subject
    let impairment = now.impairment
    if (impairment !== null) {
      // what hangs off the place (its network) is mended; what somebody did on purpose (a pause) is told
      await runtime.place(placement)
      const again = await observe(subject)
      if (again === undefined) return
      impairment = again.state === 'running' ? again.impairment : impairment
    }
    const at = clock.now()
    await store.transact('platform', async (tx) => {
      if (now.ref !== node.runtimeRef || node.status !== 'running' || node.statusReason !== impairment) {
        await tx.nodes.update(node.id, {runtimeRef: now.ref, status: 'running', statusReason: impairment, updatedAt: at})
      }
      const [status, reason] = impairment === null ? (['running', null] as const) : (['degraded', impairment] as const)
      if (instance.status !== status || instance.statusReason !== reason) {
        await tx.instances.update(instance.id, {status, statusReason: reason, updatedAt: at})
      }
    })
    watchEnd(subject, now.ref)
  }

  async function markGone({instance, node}: Subject): Promise<void> {
    const because = 'its data is gone: somebody removed it'
    const at = clock.now()
    await store.transact('platform', async (tx) => {
      await tx.nodes.update(node.id, {status: 'absent', statusReason: because, runtimeRef: null, updatedAt: at})
      await tx.instances.update(instance.id, {status: 'failed', statusReason: because, updatedAt: at})
      if (instance.status !== 'failed') {
        await tx.event({id: context.newId('event'), tenantId: instance.tenantId, type: 'instance.data_gone', subject: instance.id, payload: {}, at})
      }
    })
  }

  /** A restore in place is an operation of the instance that stays; the one that it is made in is no less its own. */
  async function isUnderWay(tx: ReadTx, instanceId: string): Promise<boolean> {
    if ((await tx.operations.openOfInstance(instanceId)).length > 0) return true
    return (await tx.operations.open()).some((o) => besideKinds.has(o.kind) && besideOf(o) === instanceId)
  }

  const isBusy = (instanceId: string): Promise<boolean> => store.read('platform', (tx) => isUnderWay(tx, instanceId))

  async function ended(instanceId: string, end: ServerEnd): Promise<void> {
    if (stopped || context.clusters.owns(instanceId)) return
    const outcome = await store.transact('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      if (!instance || instance.wanted !== 'running') return undefined
      // an operation that is under way knows what it did
      if (await isUnderWay(tx, instanceId)) return undefined
      const because = end.because ?? (end.exitCode === null ? 'its server ended' : `its server ended with code ${end.exitCode}`)
      const now = clock.now()
      for (const node of await tx.nodes.ofInstance(instanceId)) {
        await tx.nodes.update(node.id, {status: 'failed', statusReason: because, updatedAt: now})
      }
      await tx.instances.update(instanceId, {status: 'degraded', statusReason: `${because}; it is being started again`, updatedAt: now})
      await tx.event({
        id: context.newId('event'), tenantId: instance.tenantId, type: 'instance.server_ended', subject: instanceId,
        payload: {exit_code: end.exitCode, because: end.because}, at: now,
      })
      return instance
    })
    if (outcome) scheduleRecovery(instanceId)
  }

  function scheduleRecovery(instanceId: string): void {
    if (due.has(instanceId)) return
    due.add(instanceId)
    const now = clock.now()
    const before = crashes.get(instanceId)
    const count = before && now - before.at < stableMs ? before.count + 1 : 1
    crashes.set(instanceId, {count, at: now})
    const delay = count === 1 ? 0 : backoffMs(count, Math.random(), 1000, longestDelayMs)
    later(delay, () => untilHandled('recovering', async () => {
      await recover(instanceId)
      due.delete(instanceId)
    }))
  }

  async function recover(instanceId: string): Promise<void> {
    if (stopped) return
    await store.transact('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      if (!instance || instance.wanted !== 'running' || instance.status === 'deleting') return
      if (await isUnderWay(tx, instanceId)) return
      await submit(context, tx, {...context.principalOfAgent(), tenantId: instance.tenantId}, {
        kind: recoverKind, instanceId, resource: `instance/${instance.name}`, input: {instanceId}, start: 'hold-connections', deadlineSeconds,
      }, undefined)
    })
    context.poke()
  }

  async function routes(): Promise<Route[]> {
    const {instances, open} = await store.read('platform', async (tx) => ({instances: await tx.instances.list(), open: await tx.operations.open()}))
    const inMaking = new Set(open.flatMap((o) => (o.kind === createKind || o.kind === deleteKind ? [o.instanceId] : besideKinds.has(o.kind) ? [besideOf(o)] : [])))
    const result: Route[] = []
    for (const instance of instances) {
      if (instance.wanted !== 'running' || inMaking.has(instance.id)) continue
      if (context.clusters.owns(instance.id)) {
        result.push(await routeOfCluster(instance.id))
        continue
      }
      const subject = await servers.load(instance.id)
      const now = await observe(subject)
      // who cannot see a server has no reason to keep its clients from it; nor may anybody in while it is copied
      result.push(routeTo(subject, (now === undefined || now.state === 'running') && instance.status !== 'maintenance' ? 'open' : 'hold'))
    }
    return result
  }

  async function routeOfCluster(id: string): Promise<Route> {
    const gate = context.clusters.gateOf(id)
    const at = (await servers.all(id)).find(({node}) => node.id === gate) ?? (await servers.load(id))
    return routeTo(at, gate === null ? 'hold' : 'open')
  }

  async function noteProblems(states: readonly RouteState[]): Promise<void> {
    for (const state of states) {
      if (state.problem === null) continue
      await store.transact('platform', (tx) => tx.instances.update(state.id, {
        status: 'degraded', statusReason: `its endpoint does not listen: ${state.problem}`, updatedAt: clock.now(),
      }))
    }
  }

  return {
    async reconcile() {
      const all = await store.read('platform', (tx) => tx.instances.list())
      for (const instance of all) {
        listen(context.runtimes.get(instance.runtime))
        // an agent that starts gives what it had given up another try
        await settle(instance.id, true)
      }
      await noteProblems(await context.endpoints.replace(await routes()))
    },
    started(instanceId) {
      untilHandled('watching', () => watch(instanceId))
    },
    async strangers() {
      const known = new Set((await store.read('platform', (tx) => tx.nodes.list())).map((n) => n.id))
      const found = await Promise.all(context.runtimes.names.map((name) => context.runtimes.get(name).list().catch((error: unknown) => {
        if (error instanceof DbaasError && error.code === 'RUNTIME_UNAVAILABLE') return []
        throw error
      })))
      return found.flat().filter((f) => f.placement === null || !known.has(f.nodeId))
    },
    async restoreRoutes() {
      await noteProblems(await context.endpoints.replace(await routes()))
    },
    stop() {
      stopped = true
      for (const unwatch of watches.values()) unwatch()
      for (const unlisten of listening.values()) unlisten()
      for (const timer of timers) clearTimeout(timer)
    },
  }
}

/** Operations of one instance that make, or go over to, another. */
const besideKinds: ReadonlySet<string> = new Set([restoreKind, majorUpgradeKind])
const besideOf = ({input}: OperationRecord): string => (input as unknown as ExchangeInput).instanceId

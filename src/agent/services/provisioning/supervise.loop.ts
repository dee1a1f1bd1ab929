/**
 * Keeps what should run running. Reality wins: at start the store is compared with what exists; afterwards the end of
 * a server is seen as it happens, and a recover operation brings it back, later and later if it does not stay.
 */
import {backoffMs} from '../../../core/workflow/backoff.js'
import type {Found, ServerEnd} from '../../runtimes/runtime.js'
import type {Route, RouteState} from '../../endpoints/endpoint.js'
import type {ServiceContext} from '../context.js'
import {createKind} from './create.workflow.js'
import {deleteKind} from './delete.workflow.js'
import {recoverKind} from './lifecycle.workflows.js'
import type {Servers} from './servers.js'
import {submit} from '../submit.js'
import {notProtected} from './views.js'

/** A server that lived this long before it ended starts again from the shortest delay. */
const stableMs = 10 * 60_000
const longestDelayMs = 5 * 60_000

export interface Supervisor {
  /** Once, before operations go on. */
  reconcile(): Promise<void>
  /** A workflow started (or found) the server: its end is watched from now on. */
  started(instanceId: string): void
  /** What exists with our mark and the store does not know, and what is of another site. */
  strangers(): Promise<readonly Found[]>
  /** After the endpoint process had to be started anew. */
  restoreRoutes(): Promise<void>
  stop(): void
}

export function createSupervisor(context: ServiceContext, servers: Servers, deadlineSeconds: number): Supervisor {
  const {store, clock} = context
  const watches = new Map<string, () => void>()
  const crashes = new Map<string, {count: number; at: number}>()
  const timers = new Set<NodeJS.Timeout>()
  let stopped = false

  const background = (what: string, work: Promise<unknown>): void =>
    void work.catch((error: unknown) => context.log(`${what} failed`, {error: error instanceof Error ? error.message : String(error)}))

  async function watch(instanceId: string): Promise<void> {
    if (stopped) return
    const subject = await servers.load(instanceId).catch(() => undefined)
    if (!subject) return
    const now = await servers.observe(subject)
    if (now.state !== 'running') return ended(instanceId, now.state === 'stopped' ? now : {exitCode: null, because: null})
    watches.get(instanceId)?.()
    watches.set(instanceId, subject.runtime.watch(subject.placement, now.ref, (end) => {
      watches.delete(instanceId)
      background('handling the end of a server', ended(instanceId, end))
    }))
  }

  async function ended(instanceId: string, end: ServerEnd): Promise<void> {
    if (stopped) return
    const outcome = await store.transact('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      if (!instance || instance.wanted !== 'running') return undefined
      // an operation that is under way knows what it did
      if ((await tx.operations.openOfInstance(instanceId)).length > 0) return undefined
      const because = end.because ?? (end.exitCode === null ? 'its server ended' : `its server ended with code ${end.exitCode}`)
      const now = clock.now()
      for (const node of await tx.nodes.ofInstance(instanceId)) {
        await tx.nodes.update(node.id, {status: 'failed', statusReason: because, updatedAt: now})
      }
      await tx.instances.update(instanceId, {status: 'degraded', statusReason: `${because}; it is being started again`, updatedAt: now})
      await tx.event({id: context.newId('event'), tenantId: instance.tenantId, type: 'instance.server_ended', subject: instanceId, payload: {exit_code: end.exitCode, because: end.because}, at: now})
      return instance
    })
    if (outcome) scheduleRecovery(instanceId)
  }

  function scheduleRecovery(instanceId: string): void {
    const now = clock.now()
    const before = crashes.get(instanceId)
    const count = before && now - before.at < stableMs ? before.count + 1 : 1
    crashes.set(instanceId, {count, at: now})
    const delay = count === 1 ? 0 : backoffMs(count, Math.random(), 1000, longestDelayMs)
    const timer = setTimeout(() => {
      timers.delete(timer)
      background('recovering', recover(instanceId))
    }, delay)
    timer.unref()
    timers.add(timer)
  }

  async function recover(instanceId: string): Promise<void> {
    if (stopped) return
    await store.transact('platform', async (tx) => {
      const instance = await tx.instances.find(instanceId)
      if (!instance || instance.wanted !== 'running' || instance.status === 'deleting') return
      if ((await tx.operations.openOfInstance(instanceId)).length > 0) return
      await submit(context, tx, {...context.principalOfAgent(), tenantId: instance.tenantId}, {
        kind: recoverKind, instanceId, resource: `instance/${instance.name}`, input: {instanceId}, start: 'hold-connections', deadlineSeconds,
      }, undefined)
    })
    context.poke()
  }

  async function routes(): Promise<Route[]> {
    const {instances, open} = await store.read('platform', async (tx) => ({instances: await tx.instances.list(), open: await tx.operations.open()}))
    const inMaking = new Set(open.filter((o) => o.kind === createKind || o.kind === deleteKind).map((o) => o.instanceId))
    const result: Route[] = []
    for (const instance of instances) {
      if (instance.wanted !== 'running' || inMaking.has(instance.id)) continue
      const subject = await servers.load(instance.id)
      const running = (await servers.observe(subject)).state === 'running'
      result.push({
        id: instance.id, listen: {host: instance.endpointHost, port: instance.endpointPort}, target: subject.host.address(),
        mode: running ? 'open' : 'hold', allow: [],
      })
    }
    return result
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
      const open = await store.read('platform', (tx) => tx.operations.open())
      const busy = new Set(open.map((o) => o.instanceId))
      for (const instance of all) {
        if (busy.has(instance.id)) continue
        const subject = await servers.load(instance.id)
        const now = await servers.observe(subject)
        const at = clock.now()
        if (now.state === 'running' && instance.wanted === 'running') {
          await store.transact('platform', async (tx) => {
            if (now.ref !== subject.node.runtimeRef || subject.node.status !== 'running') {
              await tx.nodes.update(subject.node.id, {runtimeRef: now.ref, status: 'running', statusReason: null, updatedAt: at})
            }
            if (instance.status !== 'running') await tx.instances.update(instance.id, {status: 'running', statusReason: notProtected, updatedAt: at})
          })
        } else if (now.state === 'running') {
          // stopped on paper, running in truth: the owner asked for a stop
          await servers.halt(subject, () => undefined)
        } else if (instance.wanted === 'running') {
          const because = now.state === 'absent' ? 'its data directory is gone' : 'its server does not run'
          await store.transact('platform', async (tx) => {
            await tx.nodes.update(subject.node.id, {status: now.state === 'absent' ? 'absent' : 'failed', statusReason: because, runtimeRef: null, updatedAt: at})
            await tx.instances.update(instance.id, {
              status: now.state === 'absent' ? 'failed' : 'degraded', statusReason: now.state === 'absent' ? because : `${because}; it is being started again`, updatedAt: at,
            })
          })
        }
      }
      await noteProblems(await context.endpoints.replace(await routes()))
      for (const instance of all) {
        if (busy.has(instance.id) || instance.wanted !== 'running') continue
        const fresh = await store.read('platform', (tx) => tx.instances.find(instance.id))
        if (fresh?.status === 'running' || (fresh?.status === 'degraded' && fresh.statusReason?.startsWith('its endpoint'))) await watch(instance.id)
        else if (fresh?.status === 'degraded') scheduleRecovery(instance.id)
      }
    },
    started(instanceId) {
      background('watching', watch(instanceId))
    },
    async strangers() {
      const known = new Set((await store.read('platform', (tx) => tx.nodes.list())).map((n) => n.id))
      const found = await Promise.all(context.runtimes.names.map((name) => context.runtimes.get(name).list()))
      return found.flat().filter((f) => f.placement === null || !known.has(f.nodeId))
    },
    async restoreRoutes() {
      await noteProblems(await context.endpoints.replace(await routes()))
    },
    stop() {
      stopped = true
      for (const unwatch of watches.values()) unwatch()
      for (const timer of timers) clearTimeout(timer)
    },
  }
}

/** Start, stop, restart and recover: what moves a server without changing what it is. */
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {rolledBy, rollStepNames, rollSteps} from '../roll-steps.js'
import type {Subject} from '../subject.js'
import type {Servers} from './servers.js'

export interface LifecycleInput {
  readonly instanceId: string
}

export const startKind = 'instance.start'
export const stopKind = 'instance.stop'
export const restartKind = 'instance.restart'
export const recoverKind = 'instance.recover'

/** Name of the measurement: how long new connections waited in a restart. Milliseconds. */
export const restartGap = (engine: string): string => `restart-gap:${engine}`

export function lifecycleWorkflows(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  const {clock} = context

  const markRunning = async (tx: Tx, instanceId: string): Promise<void> => {
    const now = clock.now()
    for (const node of await tx.nodes.ofInstance(instanceId)) {
      await tx.nodes.update(node.id, {status: 'running', statusReason: null, wanted: 'running', updatedAt: now})
    }
    await tx.instances.update(instanceId, {status: 'running', statusReason: null, wanted: 'running', updatedAt: now})
  }

  const markFailed = async (tx: Tx, instanceId: string, because: string): Promise<void> => {
    const now = clock.now()
    for (const node of await tx.nodes.ofInstance(instanceId)) {
      await tx.nodes.update(node.id, {status: 'failed', statusReason: because, updatedAt: now})
    }
    await tx.instances.update(instanceId, {status: 'failed', statusReason: because, updatedAt: now})
  }

  /** After an undo: what is true now decides the status, not what was hoped for. */
  const observeAndMark = async (subject: Subject): Promise<boolean> => {
    const running = (await servers.observe(subject)).state === 'running'
    if (running) started(subject.instance.id)
    return running
  }

  const steps = {
    /** Files first: a certificate may have been renewed, and a hand-edited file is put right. */
    configure: async (instanceId: string) => servers.prepare(await servers.load(instanceId)),
    launch: async (instanceId: string, commit: (change: (tx: Tx) => Promise<void>) => void) => {
      const subject = await servers.load(instanceId)
      const {ref} = await servers.launch(subject)
      commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'starting', updatedAt: clock.now()}))
    },
    /** Whatever its servers are doing, until one of them serves as the primary. */
    cluster: async (instanceId: string, signal: AbortSignal, progress: (because: string) => void) => {
      await servers.route(await servers.load(instanceId), 'hold')
      await context.clusters.resume(instanceId, false)
      await context.clusters.untilServed(instanceId, signal, progress)
      const subject = await servers.load(instanceId)
      await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
      started(instanceId)
    },
    publish: async (instanceId: string) => {
      const subject = await servers.load(instanceId)
      await servers.route(subject, 'open')
      await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
      started(instanceId)
    },
  }

  const start = workflow<LifecycleInput, Tx>()({
    kind: startKind,
    start: 'configure',
    order: ['configure', 'start-server', 'await-ready', 'publish-endpoint', 'start-cluster'],
    deadlineSeconds: 300,
    steps: {
      'start-cluster': {
        async run({input, signal, progress}) {
          await steps.cluster(input.instanceId, signal, progress)
          return done()
        },
        async undo({input}) {
          await context.clusters.suspend(input.instanceId)
          for (const subject of await servers.all(input.instanceId)) await servers.halt(subject, () => undefined)
          await servers.route(await servers.load(input.instanceId), 'closed')
        },
      },
      configure: {
        async run({input}) {
          if (context.clusters.owns(input.instanceId)) return next('start-cluster')
          await steps.configure(input.instanceId)
          return next('start-server')
        },
      },
      'start-server': {
        async run({input, commit}) {
          await steps.launch(input.instanceId, commit)
          return next('await-ready')
        },
        async undo({input}) {
          const subject = await servers.load(input.instanceId)
          await servers.halt(subject, () => undefined)
        },
      },
      'await-ready': {
        async run({input, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await servers.load(input.instanceId), signal, progress, commit)
          return next(ready ? 'publish-endpoint' : 'configure')
        },
      },
      'publish-endpoint': {
        async run({input}) {
          await steps.publish(input.instanceId)
          return done()
        },
        async undo({input}) {
          await servers.route(await servers.load(input.instanceId), 'closed')
        },
      },
    },
    onDone: (tx, {input}) => markRunning(tx, input.instanceId),
    async onUndone(tx, {input, because, cancelled}) {
      if (!cancelled) return markFailed(tx, input.instanceId, because)
      const now = clock.now()
      for (const node of await tx.nodes.ofInstance(input.instanceId)) {
        await tx.nodes.update(node.id, {status: 'stopped', wanted: 'stopped', runtimeRef: null, updatedAt: now})
      }
      await tx.instances.update(input.instanceId, {status: 'stopped', statusReason: null, wanted: 'stopped', updatedAt: now})
    },
  })

  const stop = workflow<LifecycleInput, Tx>()({
    kind: stopKind,
    start: 'close-endpoint',
    order: ['close-endpoint', 'stop-server'],
    deadlineSeconds: 300,
    steps: {
      'close-endpoint': {
        async run({input}) {
          await context.clusters.suspend(input.instanceId)
          await servers.route(await servers.load(input.instanceId), 'closed')
          return next('stop-server')
        },
        async undo({input, signal, progress}) {
          const subject = await servers.load(input.instanceId)
          if (context.clusters.owns(input.instanceId)) return steps.cluster(input.instanceId, signal, progress)
          if (await observeAndMark(subject)) await servers.route(subject, 'open')
        },
      },
      'stop-server': {
        async run({input, progress, commit}) {
          const all = await servers.haltAll(input.instanceId, progress)
          commit(async (tx) => {
            for (const {node} of all) await tx.nodes.update(node.id, {runtimeRef: null, status: 'stopped', statusReason: null, wanted: 'stopped', updatedAt: clock.now()})
          })
          return done()
        },
      },
    },
    onDone: (tx, {input}) => tx.instances.update(input.instanceId, {status: 'stopped', statusReason: null, wanted: 'stopped', updatedAt: clock.now()}),
    async onUndone(tx, {input, because, cancelled}) {
      if (cancelled) {
        const [node] = await tx.nodes.ofInstance(input.instanceId)
        if (node?.status === 'running') return
      }
      await markFailed(tx, input.instanceId, because)
    },
  })

  const rollOf = ({instanceId}: LifecycleInput, operationId: string) => ({instanceId, operationId, change: null})
  const restart = workflow<LifecycleInput, Tx>()({
    kind: restartKind,
    start: 'checkpoint',
    order: ['checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', 'publish-endpoint', ...rollStepNames, 'finish', 'restart-cluster'],
    deadlineSeconds: 300,
    steps: {
      /** Of several servers, one after the other. */
      ...rollSteps(context, rollOf, 'finish'),
      finish: {
        async run({input, operationId, commit}) {
          const roll = rollOf(input, operationId)
          const rolled = await rolledBy(context, roll)
          commit((tx) => context.clusters.rolling.settle(tx, roll))
          return done(rolled && {...rolled, phases: rolled.phases.map((phase) => ({...phase}))})
        },
      },
      /**
       * One that is not whole, so that nobody could take over: all of its servers end, and come up as they would after a loss of all, the one path
       * there is (docs/decisions/007).
       */
      'restart-cluster': {
        async run({input, operationId, signal, progress, commit}) {
          const since = await context.store.read('platform', (tx) => tx.settings.get(`gap:${operationId}`))
          const began = since === undefined ? clock.now() : Number(since)
          if (since === undefined) await context.store.transact('platform', (tx) => tx.settings.put(`gap:${operationId}`, String(began)))
          await context.clusters.suspend(input.instanceId)
          await servers.route(await servers.load(input.instanceId), 'hold')
          await servers.haltAll(input.instanceId, progress)
          await steps.cluster(input.instanceId, signal, progress)
          const gap = clock.now() - began
          const {instance} = await servers.load(input.instanceId)
          commit(async (tx) => {
            await tx.settings.remove(`gap:${operationId}`)
            await tx.measurements.record(restartGap(instance.engine), gap, clock.now())
          })
          return done({write_gap_ms: gap})
        },
        async undo({input, operationId, signal, progress, commit}) {
          commit((tx) => tx.settings.remove(`gap:${operationId}`))
          await steps.cluster(input.instanceId, signal, progress)
        },
      },
      checkpoint: {
        async run({input, signal, progress}) {
          if (context.clusters.owns(input.instanceId)) return next((await context.clusters.rolling.whyNot(input.instanceId, {signal, progress})) === null ? 'roll-replicas' : 'restart-cluster')
          const subject = await servers.load(input.instanceId)
          if ((await servers.observe(subject)).state === 'running') {
            await subject.engine.lifecycle.checkpoint(subject.host, await servers.admin())
          }
          return next('hold-connections')
        },
      },
      'hold-connections': {
        async run({input, commit, operationId}) {
          await servers.route(await servers.load(input.instanceId), 'hold')
          commit((tx) => tx.settings.put(`gap:${operationId}`, String(clock.now())))
          return next('stop-server')
        },
        // whatever was stopped is started again, and only then are the waiting connections let through
        async undo({input, signal, progress, commit, operationId}) {
          const subject = await servers.load(input.instanceId)
          commit((tx) => tx.settings.remove(`gap:${operationId}`))
          await steps.configure(input.instanceId)
          await servers.serve(subject, {signal, progress, commit})
          started(input.instanceId)
        },
      },
      'stop-server': {
        async run({input, progress, commit}) {
          await servers.haltPrimary(input.instanceId, {progress, commit})
          return next('start-server')
        },
      },
      'start-server': {
        async run({input, commit}) {
          await steps.configure(input.instanceId)
          await steps.launch(input.instanceId, commit)
          return next('await-ready')
        },
      },
      'await-ready': {
        async run({input, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await servers.load(input.instanceId), signal, progress, commit)
          return next(ready ? 'publish-endpoint' : 'start-server')
        },
      },
      'publish-endpoint': {
        async run({input, operationId, commit}) {
          const since = await context.store.read('platform', (tx) => tx.settings.get(`gap:${operationId}`))
          await steps.publish(input.instanceId)
          const gap = since === undefined ? null : clock.now() - Number(since)
          const {instance} = await servers.load(input.instanceId)
          commit(async (tx) => {
            await tx.settings.remove(`gap:${operationId}`)
            if (gap !== null) await tx.measurements.record(restartGap(instance.engine), gap, clock.now())
          })
          return done({write_gap_ms: gap})
        },
      },
    },
    onDone: (tx, {input}) => markRunning(tx, input.instanceId),
    async onUndone(tx, {input, because, cancelled}) {
      // of several servers, the cluster says how they are
      if (context.clusters.owns(input.instanceId)) return
      const [node] = await tx.nodes.ofInstance(input.instanceId)
      if (node?.status === 'running' && (await tx.instances.find(input.instanceId))?.wanted === 'running') return
      if (!cancelled) await markFailed(tx, input.instanceId, because)
    },
  })

  /** The agent's own: a server that should run and does not. New connections wait meanwhile. */
  const recover = workflow<LifecycleInput, Tx>()({
    kind: recoverKind,
    start: 'hold-connections',
    order: ['hold-connections', 'start-server', 'await-ready', 'publish-endpoint'],
    deadlineSeconds: 600,
    steps: {
      'hold-connections': {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          // killed from outside, it may have left processes that still hold its memory
          if ((await servers.observe(subject)).state !== 'running') await subject.runtime.kill(subject.placement, subject.node.runtimeRef)
          await servers.route(subject, 'hold')
          return next('start-server')
        },
        async undo({input}) {
          await servers.route(await servers.load(input.instanceId), 'closed')
        },
      },
      'start-server': {
        async run({input, commit}) {
          await steps.configure(input.instanceId)
          await steps.launch(input.instanceId, commit)
          return next('await-ready')
        },
        async undo({input}) {
          await servers.halt(await servers.load(input.instanceId), () => undefined)
        },
      },
      'await-ready': {
        async run({input, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await servers.load(input.instanceId), signal, progress, commit)
          return next(ready ? 'publish-endpoint' : 'start-server')
        },
      },
      'publish-endpoint': {
        async run({input}) {
          await steps.publish(input.instanceId)
          return done()
        },
      },
    },
    onDone: (tx, {input}) => markRunning(tx, input.instanceId),
    onUndone: (tx, {input, because}) => markFailed(tx, input.instanceId, because),
  })

  return [start, stop, restart, recover]
}

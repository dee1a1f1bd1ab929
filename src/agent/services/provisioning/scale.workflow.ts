/**
 * Another size for each server of an instance. Live where the runtime and the server can: limits grow, the server is told, limits shrink.
 * Else a checkpoint and one restart, with new connections held; of several servers one after the other (roll-steps.ts). Whatever fails, what
 * ran before runs again.
 */
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type ParameterLayers} from '../../../core/instance/instance.js'
import {largerOf, type InstanceSize} from '../../../core/instance/sizes.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {mustBeWhole, rolledBy, rollStepNames, rollSteps} from '../roll-steps.js'
import {restartGap} from './lifecycle.workflows.js'
import {refusePreflight} from './reconfigure.workflow.js'
import type {Subject} from '../subject.js'
import type {Servers} from './servers.js'

export interface ScaleInput {
  readonly instanceId: string
  readonly size: InstanceSize
  readonly layers: ParameterLayers
  /** `next-start`: the server is stopped, so only what will be true is written down. */
  readonly how: 'live' | 'restart' | 'next-start'
}

export const scaleKind = 'instance.scale'

export function scaleWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  const {clock} = context
  /** Since when new connections wait: a killed agent must not forget it. */
  const since = (operationId: string): string => `gap:${operationId}`

  const sized = (subject: Subject, size: InstanceSize): Subject['placement'] => ({...subject.placement, size})
  const write = async (subject: Subject, layers: ParameterLayers): Promise<void> =>
    void (await subject.engine.config.write(subject.host, await servers.settingsOf(subject, effectiveParameters(layers))))
  const reload = async (subject: Subject): Promise<void> => {
    if ((await servers.observe(subject)).state === 'running') await subject.engine.lifecycle.reload(subject.host, await servers.admin())
  }
  const rollOf = ({instanceId, layers, size}: ScaleInput, operationId: string) => ({instanceId, operationId, change: {layers, size}})
  const rolls = rollSteps(context, rollOf, 'verify')

  return workflow<ScaleInput, Tx>()({
    kind: scaleKind,
    start: 'preflight',
    order: ['preflight', 'grow-limits', 'reload', 'shrink-limits', 'checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', ...rollStepNames, 'verify'],
    deadlineSeconds: 300,
    steps: {
      ...rolls,
      preflight: {
        async run({input, signal, progress}) {
          const {engine, host, instance} = await servers.load(input.instanceId)
          await refusePreflight(engine, host, effectiveParameters(input.layers), instance.version)
          if (input.how === 'next-start') return next('verify')
          if (input.how === 'live') return next('grow-limits')
          if (!context.clusters.owns(input.instanceId)) return next('checkpoint')
          await mustBeWhole(context, instance, {signal, progress})
          return next('roll-replicas')
        },
      },
      'grow-limits': {
        async run({input}) {
          for (const subject of await servers.all(input.instanceId)) await subject.runtime.limit(sized(subject, largerOf(subject.instance.size, input.size)))
          return next('reload')
        },
        async undo({input}) {
          for (const {runtime, placement} of await servers.all(input.instanceId)) await runtime.limit(placement)
        },
      },
      reload: {
        async run({input}) {
          for (const subject of await servers.all(input.instanceId)) {
            await write(subject, input.layers)
            await reload(subject)
          }
          return next('shrink-limits')
        },
        async undo({input}) {
          for (const subject of await servers.all(input.instanceId)) {
            await write(subject, subject.instance.layers)
            await reload(subject)
          }
        },
      },
      'shrink-limits': {
        async run({input, progress, signal}) {
          try {
            for (const subject of await servers.all(input.instanceId)) await subject.runtime.limit(sized(subject, input.size))
            return next('verify')
          } catch (error) {
            // it holds more memory than it may from now on: a restart gives it back
            if (!(error instanceof DbaasError) || error.code !== 'INVALID_STATE') throw error
            progress(error.message)
            if (!context.clusters.owns(input.instanceId)) return next('checkpoint')
            await mustBeWhole(context, (await servers.load(input.instanceId)).instance, {signal, progress})
            return next('roll-replicas')
          }
        },
      },
      checkpoint: {
        async run({input}) {
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
          commit((tx) => tx.settings.put(since(operationId), String(clock.now())))
          return next('stop-server')
        },
        // the one way back of all that follows: the old size, the old files, and a server that runs with them
        async undo({input, signal, progress, commit, operationId}) {
          const subject = await servers.load(input.instanceId)
          commit((tx) => tx.settings.remove(since(operationId)))
          const now = await servers.observe(subject)
          if (now.state === 'running' && now.ref === subject.node.runtimeRef && subject.node.status === 'running') {
            // it was never stopped
            return servers.route(subject, 'open')
          }
          await servers.halt(subject, progress)
          await write(subject, subject.instance.layers)
          await subject.runtime.limit(subject.placement)
          await servers.serve({...subject, node: {...subject.node, runtimeRef: null}}, {signal, progress, commit})
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
          const subject = await servers.load(input.instanceId)
          await write(subject, input.layers)
          await subject.runtime.limit(sized(subject, input.size))
          const {ref} = await servers.launch({...subject, placement: sized(subject, input.size)})
          commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'starting', updatedAt: clock.now()}))
          return next('await-ready')
        },
      },
      'await-ready': {
        async run({input, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await servers.load(input.instanceId), signal, progress, commit)
          return next(ready ? 'verify' : 'start-server')
        },
      },
      verify: {
        async run({input, operationId, commit}) {
          const all = await servers.all(input.instanceId)
          const [subject] = all as [Subject]
          const {instance, engine} = subject
          const held = await context.store.read('platform', (tx) => tx.settings.get(since(operationId)))
          if (instance.wanted === 'running') {
            for (const {host} of all) await engine.config.verify(host, await servers.admin(), effectiveParameters(input.layers))
          }
          let gap = 0
          if (held !== undefined) {
            await servers.route(subject, 'open')
            await engine.access.probe(await servers.clientOf(instance), 10_000)
            gap = clock.now() - Number(held)
            started(instance.id)
          }
          for (const {runtime, placement} of all) await runtime.label({...placement, size: input.size, facts: {...placement.facts, layers: input.layers}})
          const rolled = await rolledBy(context, rollOf(input, operationId))
          commit(async (tx) => {
            await tx.settings.remove(since(operationId))
            if (held !== undefined) await tx.measurements.record(restartGap(instance.engine), gap, clock.now())
            if (held !== undefined) await tx.nodes.update(subject.node.id, {status: 'running', statusReason: null, updatedAt: clock.now()})
            await tx.instances.update(instance.id, {size: input.size, layers: input.layers, updatedAt: clock.now()})
            if (rolled) await context.clusters.rolling.settle(tx, rollOf(input, operationId))
          })
          if (rolled) return done({...rolled, phases: rolled.phases.map((phase) => ({...phase}))})
          const applied = held !== undefined ? 'restart' : input.how === 'next-start' ? 'next-start' : 'live'
          return done({applied, write_gap_ms: applied === 'next-start' ? null : gap})
        },
      },
    },
    async onUndone(tx, {input, tenantId, because}) {
      // the size did not change, and whoever asked by a policy or by hand learns of it (property 34)
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.scale_failed', subject: input.instanceId, payload: {because}, at: clock.now()})
    },
  })
}

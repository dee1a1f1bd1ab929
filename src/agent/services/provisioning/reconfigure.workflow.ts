/**
 * A change of parameters, by reload or by one restart with new connections held; of several servers one after the other (roll-steps.ts).
 * The old files are put back, and the server with them, when the server does not take the new ones.
 */
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type ParameterLayers, type ParameterValues} from '../../../core/instance/instance.js'
import type {Engine} from '../../../engines/engine.js'
import type {Host} from '../../../engines/host.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {mustBeWhole, rolledBy, rollStepNames, rollSteps} from '../roll-steps.js'
import type {Subject} from '../subject.js'
import {restartGap} from './lifecycle.workflows.js'
import type {Servers} from './servers.js'

export interface ReconfigureInput {
  readonly instanceId: string
  readonly layers: ParameterLayers
  readonly template: string | null
  readonly changed: readonly string[]
  readonly requires: 'none' | 'reload' | 'restart'
}

export const reconfigureKind = 'configuration.update'

export function reconfigureWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  const {clock} = context

  /** A replica that does not run reads its files when it is started. */
  async function reloadAll(instanceId: string): Promise<void> {
    for (const subject of await servers.all(instanceId)) {
      if (subject.node.role === 'primary' || (await servers.observe(subject)).state === 'running') await subject.engine.lifecycle.reload(subject.host, await servers.admin())
    }
  }

  const rollOf = ({instanceId, layers}: ReconfigureInput, operationId: string) => ({instanceId, operationId, change: {layers}})
  /** Since when new connections wait, and for how long they did: a killed agent must not forget it. */
  const since = (operationId: string): string => `gap:${operationId}`
  const waited = (operationId: string): string => `gap-ms:${operationId}`

  return workflow<ReconfigureInput, Tx>()({
    kind: reconfigureKind,
    start: 'preflight',
    order: ['preflight', 'write', 'reload', 'checkpoint', 'restart-server', ...rollStepNames, 'verify'],
    deadlineSeconds: 300,
    steps: {
      ...rollSteps(context, rollOf, 'verify'),
      preflight: {
        async run({input, signal, progress}) {
          const {engine, host, instance} = await servers.load(input.instanceId)
          await refusePreflight(engine, host, effectiveParameters(input.layers), instance.version)
          if (input.requires !== 'restart' || !context.clusters.owns(input.instanceId)) return next('write')
          await mustBeWhole(context, instance, {signal, progress})
          return next('roll-replicas')
        },
      },
      write: {
        async run({input}) {
          for (const subject of await servers.all(input.instanceId)) {
            await subject.engine.config.write(subject.host, await servers.settingsOf(subject, effectiveParameters(input.layers)))
          }
          if (input.requires === 'none') return next('verify')
          return next(input.requires === 'restart' ? 'checkpoint' : 'reload')
        },
        // the one undo of the whole change: the files as they were, and a server that runs with them
        async undo({input, operationId, signal, progress, commit}) {
          const subject = await servers.load(input.instanceId)
          commit(async (tx) => {
            await tx.settings.remove(since(operationId))
            await tx.settings.remove(waited(operationId))
          })
          for (const each of await servers.all(input.instanceId)) await each.engine.config.write(each.host, await servers.settingsOf(each))
          if (context.clusters.owns(input.instanceId)) return reloadAll(input.instanceId)
          if (subject.instance.wanted !== 'running') return
          const observed = await servers.observe(subject)
          if (observed.state === 'running' && input.requires !== 'restart') {
            await subject.engine.lifecycle.reload(subject.host, await servers.admin())
            return
          }
          await servers.route(subject, 'hold')
          await servers.halt(subject, progress)
          await servers.serve({...subject, node: {...subject.node, runtimeRef: null}}, {signal, progress, commit})
          started(input.instanceId)
        },
      },
      reload: {
        async run({input}) {
          await reloadAll(input.instanceId)
          return next('verify')
        },
      },
      checkpoint: {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          if ((await servers.observe(subject)).state === 'running') {
            await subject.engine.lifecycle.checkpoint(subject.host, await servers.admin())
          }
          return next('restart-server')
        },
      },
      'restart-server': {
        async run({input, operationId, signal, progress, commit}) {
          const subject = await servers.load(input.instanceId)
          const held = await context.store.transact('platform', async (tx) => {
            const known = await tx.settings.get(since(operationId))
            if (known === undefined) await tx.settings.put(since(operationId), String(clock.now()))
            return Number(known ?? clock.now())
          })
          await servers.route(subject, 'hold')
          await servers.halt(subject, progress)
          await servers.serve({...subject, node: {...subject.node, runtimeRef: null}}, {signal, progress, commit})
          const gap = clock.now() - held
          commit(async (tx) => {
            await tx.settings.remove(since(operationId))
            await tx.settings.put(waited(operationId), String(gap))
            await tx.measurements.record(restartGap(subject.instance.engine), gap, clock.now())
          })
          started(input.instanceId)
          return next('verify')
        },
      },
      verify: {
        async run({input, operationId, commit}) {
          const all = await servers.all(input.instanceId)
          const [{engine, instance}] = all as [Subject]
          if (instance.wanted === 'running') {
            for (const {host} of all) await engine.config.verify(host, await servers.admin(), effectiveParameters(input.layers))
          }
          for (const {runtime, placement} of all) await runtime.label({...placement, facts: {...placement.facts, layers: input.layers, template: input.template}})
          const rolled = await rolledBy(context, rollOf(input, operationId))
          const gap = await context.store.read('platform', (tx) => tx.settings.get(waited(operationId)))
          commit(async (tx) => {
            await tx.settings.remove(waited(operationId))
            await tx.instances.update(instance.id, {layers: input.layers, template: input.template, updatedAt: clock.now()})
            if (rolled) await context.clusters.rolling.settle(tx, rollOf(input, operationId))
          })
          const measured = rolled ? {...rolled, phases: rolled.phases.map((phase) => ({...phase}))} : gap === undefined ? {} : {write_gap_ms: Number(gap)}
          return done({changed: [...input.changed], applied_by: instance.wanted === 'running' ? input.requires : 'next start', ...measured})
        },
      },
    },
  })
}

/** Throws INVALID_PARAMETER_VALUE when the server's own program says that it would not start with the values. */
export async function refusePreflight(engine: Engine, host: Host, values: ParameterValues, version: string): Promise<void> {
  const refusal = await engine.config.preflight(host, values, version)
  if (!refusal) return
  throw new DbaasError('INVALID_PARAMETER_VALUE', `the server would not start: ${refusal.because}`, {
    details: {...(refusal.parameter ? {parameter: refusal.parameter} : {}), because: refusal.because},
  })
}

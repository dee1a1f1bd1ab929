/**
 * Another version of the same series, on the data as they are: a checkpoint, one restart with new connections held, and
 * the old programs again where the new ones do not start. Of several servers one after the other (roll-steps.ts).
 */
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type ImagePin} from '../../../core/instance/instance.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {EngineUpgrade} from '../../../engines/upgrade.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {mustBeWhole, rolledBy, rollStepNames, rollSteps} from '../roll-steps.js'
import type {Subject} from '../subject.js'
import {restartGap} from './lifecycle.workflows.js'
import type {Servers} from './servers.js'

export interface UpgradeInput {
  readonly instanceId: string
  readonly from: string
  /** Only the beginning of one while its image is not here. The same as `from`: there is nothing to do. */
  readonly to: string
  /** The image of it, where that is here; of an instance with replicas it always is. */
  readonly image: ImagePin | null
  /** The image that somebody named for it, and for the one before. */
  readonly imageAsked: string | null
  readonly imageAskedBefore: string | null
  /** The operation that it takes back. */
  readonly undoes: string | null
}

export const upgradeKind = 'instance.upgrade'

const isNothing = ({from, to, imageAsked, imageAskedBefore}: UpgradeInput): boolean => from === to && imageAsked === imageAskedBefore

/** What the server runs from now on, once that is known. */
interface Programs {
  readonly version: string
  readonly image: ImagePin | null
}

export const upgradeOf = ({engine}: Pick<Subject, 'engine'>): EngineUpgrade => {
  if (engine.upgrade) return engine.upgrade
  throw new DbaasError('NOT_SUPPORTED', `the version of ${engine.title} cannot be changed yet`, {details: {engine: engine.name}})
}

export function upgradeWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  const {store, clock} = context
  /** Kept between the steps: since when new connections wait, and the programs that were found. */
  const since = (operationId: string): string => `gap:${operationId}`
  const programsOf = (operationId: string): string => `upgrade:${operationId}`
  const kept = (name: string): Promise<string | undefined> => store.read('platform', (tx) => tx.settings.get(name))

  /** The same node, run by the new programs. */
  async function loadWith(input: UpgradeInput, operationId: string): Promise<Subject> {
    const found = await kept(programsOf(operationId))
    if (found === undefined) throw new DbaasError('INTERNAL', 'the programs of the upgrade are not known')
    const {instance, node} = await servers.load(input.instanceId)
    return servers.subjectOf({...instance, ...(JSON.parse(found) as Programs), imageAsked: input.imageAsked}, node)
  }

  async function forget(tx: Tx, operationId: string): Promise<void> {
    await tx.settings.remove(since(operationId))
    await tx.settings.remove(programsOf(operationId))
  }

  const rollOf = ({instanceId, to, image}: UpgradeInput, operationId: string) => ({instanceId, operationId, change: {version: to, image}})

  /** Throws where what runs is not what should. */
  async function mustRun(subject: Subject, version: string): Promise<void> {
    const {engine, host, instance} = subject
    const runs = await upgradeOf(subject).runningVersion(host, await servers.admin())
    if (runs !== version) throw new DbaasError('SERVER_START_FAILED', `the server says that it is ${runs || 'of no known version'}, not ${version}`, {details: {version: runs, wanted: version}})
    await engine.config.verify(host, await servers.admin(), effectiveParameters(instance.layers))
  }

  return workflow<UpgradeInput, Tx>()({
    kind: upgradeKind,
    start: 'prepare-software',
    order: ['prepare-software', 'checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', ...rollStepNames, 'verify'],
    deadlineSeconds: 3600,
    steps: {
      ...rollSteps(context, rollOf, 'verify'),
      'prepare-software': {
        async run({input, operationId, progress, signal, commit}) {
          const {instance, node, ...subject} = await servers.load(input.instanceId)
          const wanted = servers.subjectOf({...instance, version: input.to, imageAsked: input.imageAsked}, node)
          const {version, image} = await servers.softwareOf(wanted, progress, signal)
          const {seriesOf} = upgradeOf(subject)
          if (seriesOf(version) !== seriesOf(instance.version)) {
            throw new DbaasError('INVALID_REQUEST', `${image?.reference ?? version} holds ${subject.engine.title} ${version}, which does not start on the data of ${instance.version}`, {
              details: {instance: instance.name, version}, suggestions: [`dbaas upgrade ${instance.name} --version ${version}`],
            })
          }
          commit((tx) => tx.settings.put(programsOf(operationId), JSON.stringify({version, image} satisfies Programs)))
          if (instance.wanted !== 'running') return next('verify')
          if (!context.clusters.owns(instance.id)) return next('checkpoint')
          await mustBeWhole(context, instance, {signal, progress})
          return next('roll-replicas')
        },
        async undo({operationId, commit}) {
          commit((tx) => forget(tx, operationId))
        },
      },
      checkpoint: {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          if ((await servers.observe(subject)).state === 'running') await subject.engine.lifecycle.checkpoint(subject.host, await servers.admin())
          return next('hold-connections')
        },
      },
      'hold-connections': {
        async run({input, commit, operationId}) {
          await servers.route(await servers.load(input.instanceId), 'hold')
          commit((tx) => tx.settings.put(since(operationId), String(clock.now())))
          return next('stop-server')
        },
        // the one way back of all that follows: the old programs, and a server that runs with them
        async undo({input, signal, progress, commit}) {
          const subject = await servers.load(input.instanceId)
          const now = await servers.observe(subject)
          if (now.state === 'running' && now.ref === subject.node.runtimeRef && subject.node.status === 'running') {
            // it was never stopped
            return servers.route(subject, 'open')
          }
          await servers.halt(subject, progress)
          await servers.prepare(subject)
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
        async run({input, operationId, commit}) {
          const subject = await loadWith(input, operationId)
          await servers.prepare(subject)
          const {ref} = await servers.launch(subject)
          commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'starting', updatedAt: clock.now()}))
          return next('await-ready')
        },
      },
      'await-ready': {
        async run({input, operationId, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await loadWith(input, operationId), signal, progress, commit)
          return next(ready ? 'verify' : 'start-server')
        },
      },
      verify: {
        async run({input, operationId, commit}) {
          // it is what was asked for
          if (isNothing(input)) return done({from: input.from, to: input.to, applied: 'none', write_gap_ms: 0})
          const subject = await loadWith(input, operationId)
          const {instance, node, engine} = subject
          const rolled = await rolledBy(context, rollOf(input, operationId))
          const held = await kept(since(operationId))
          let gap: number | null = null
          if (rolled) for (const each of await servers.all(instance.id)) await mustRun(each, instance.version)
          else if (held !== undefined) {
            await mustRun(subject, instance.version)
            await servers.route(subject, 'open')
            await engine.access.probe(await servers.clientOf(instance), 10_000)
            gap = clock.now() - Number(held)
            started(instance.id)
          }
          for (const each of await servers.all(instance.id)) {
            const {runtime, placement} = servers.subjectOf(instance, each.node)
            await runtime.label(placement)
          }
          commit(async (tx) => {
            const now = clock.now()
            await forget(tx, operationId)
            if (gap !== null) {
              await tx.measurements.record(restartGap(instance.engine), gap, now)
              await tx.nodes.update(node.id, {status: 'running', statusReason: null, updatedAt: now})
            }
            await tx.instances.update(instance.id, {version: instance.version, image: instance.image, imageAsked: instance.imageAsked, updatedAt: now})
            if (rolled) await context.clusters.rolling.settle(tx, rollOf(input, operationId))
          })
          const told = {from: input.from, to: instance.version}
          if (rolled) return done({...told, applied: 'rolling', write_gap_ms: rolled.write_gap_ms, phases: rolled.phases.map((phase) => ({...phase}))})
          return done({...told, applied: gap === null ? 'next-start' : 'restart', write_gap_ms: gap})
        },
      },
    },
    async onDone(tx, {input, tenantId, result}) {
      if (!isNothing(input)) await tx.event({id: context.newId('event'), tenantId, type: 'instance.upgraded', subject: input.instanceId, payload: result, at: clock.now()})
    },
    async onUndone(tx, {input, tenantId, because}) {
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.upgrade_failed', subject: input.instanceId, payload: {to: input.to, because}, at: clock.now()})
    },
  })
}

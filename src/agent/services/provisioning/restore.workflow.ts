/**
 * Restores. The data of a backup and its log become a server of a new instance. In place that instance is only the way
 * there: while the old server still serves, the new one is made and proven beside it; then the two instances exchange
 * their nodes, so that name, id and endpoint stay, and the other keeps the old state. To undo is to exchange them again. Of
 * an instance with replicas it is the primary that is exchanged; the replicas stay, and are made those of the new one.
 */
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters} from '../../../core/instance/instance.js'
import {isoTime} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {EngineBackup} from '../../../engines/backup.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {RestoreChoice} from '../protection.js'
import {forgetInstance} from './create.workflow.js'
import {createExchange, exchangeOrder, type ExchangeInput} from './exchange.js'
import {canReflink, reflinkTree} from './reflink.js'
import type {Subject} from '../subject.js'
import type {Servers} from './servers.js'

/** The other instance is the one that the data is restored into, or that has it already; `inPlaceOf` is null where nothing is exchanged. */
export interface RestoreInput extends ExchangeInput {
  /** Null: the data is there, and is gone back to. */
  readonly choice: RestoreChoice | null
  /** It is a clone. `of`: the running instance whose files are copied instead, where its file system can do that without reading them. */
  readonly clone?: {readonly of: string | null}
}

export const restoreKind = 'instance.restore'
const restoreOrder = ['prepare-software', 'place-node', 'restore-files', 'configure', 'recover', 'create-access', 'verify'] as const
const switchOrder = ['hold-connections', ...exchangeOrder] as const
export const restoreSteps = {into: [...restoreOrder, 'publish-endpoint'], inPlace: [...restoreOrder, ...switchOrder], undo: switchOrder} as const

/** What is told at the end, kept between its steps. */
const receiptOf = (operationId: string): string => `restored:${operationId}`

export function restoreWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  const {store, clock} = context
  const {load} = servers
  const exchanging = createExchange(context, servers, {software: false})

  const recoveryOf = ({engine}: Subject): EngineBackup['recovery'] => {
    if (engine.backup) return engine.backup.recovery
    throw new DbaasError('NOT_SUPPORTED', `${engine.title} cannot be restored yet`)
  }
  const choiceOf = (input: RestoreInput): RestoreChoice => {
    if (input.choice) return input.choice
    throw new DbaasError('INTERNAL', 'a restore without anything to restore')
  }
  const hostInstance = (input: RestoreInput): string => input.inPlaceOf ?? input.instanceId

  /** False: nothing is there, restore it. */
  async function cloned(sourceId: string, {engine, host}: Subject, folder: string, signal: AbortSignal): Promise<boolean> {
    const source = await load(sourceId).catch(() => undefined)
    const from = source && (await source.runtime.dataFolder(source.placement))
    if (!source || !from || !engine.backup?.cloneFiles || !(await canReflink(from, folder))) return false
    try {
      await engine.backup.cloneFiles(source.host, host, await servers.admin(), (wanted) => reflinkTree(from, folder, wanted, signal))
      return true
    } catch (error) {
      signal.throwIfAborted()
      context.log('a clone goes by the backup instead', {of: source.instance.name, error: String(error)})
      return false
    }
  }

  const receiptSoFar = async (operationId: string): Promise<{readonly method?: 'reflink' | 'copy'}> =>
    JSON.parse((await store.read('platform', (tx) => tx.settings.get(receiptOf(operationId)))) ?? '{}') as {method?: 'reflink' | 'copy'}
  const isReflink = async (operationId: string): Promise<boolean> => (await receiptSoFar(operationId)).method === 'reflink'

  return workflow<RestoreInput, Tx>()({
    kind: restoreKind,
    start: 'prepare-software',
    order: [...restoreOrder, ...switchOrder, 'publish-endpoint'],
    deadlineSeconds: 24 * 3600,
    steps: {
      'prepare-software': {
        async run({input, progress, signal, commit}) {
          const subject = await load(input.instanceId)
          const {instance} = subject
          const found = await servers.softwareOf(subject, progress, signal)
          commit((tx) => tx.instances.update(instance.id, {version: found.version, image: found.image}))
          return next('place-node')
        },
      },
      'place-node': {
        async run({input}) {
          const {runtime, placement} = await load(input.instanceId)
          await runtime.place(placement)
          return next('restore-files')
        },
        async undo({input}) {
          const {runtime, placement} = await load(input.instanceId)
          await runtime.remove(placement)
        },
      },
      'restore-files': {
        retrySeconds: 600,
        async run({input, operationId, progress, signal, commit}) {
          const subject = await load(input.instanceId)
          const {engine, host, runtime, placement} = subject
          // a copy of files looks finished before it is
          if (!input.clone?.of && (await engine.lifecycle.isInitialised(host))) return next('configure')
          const emptyFolder = async (): Promise<string | null> => {
            await host.remove(host.paths.data)
            await runtime.place(placement)
            return runtime.dataFolder(placement)
          }
          // what an agent that was killed left of it
          const folder = await emptyFolder()
          if (folder === null) {
            throw new DbaasError('NOT_SUPPORTED', `the volumes of ${runtime.name} cannot be reached from this machine, so nothing can be restored into them`, {
              suggestions: ['run the agent where the Docker engine runs, as a user who may write its volumes'],
            })
          }
          const began = clock.now()
          if (input.clone?.of) {
            progress('copying by the file system')
            if (await cloned(input.clone.of, subject, folder, signal)) {
              commit((tx) => tx.settings.put(receiptOf(operationId), JSON.stringify({method: 'reflink', restore_ms: clock.now() - began})))
              return next('configure')
            }
            await emptyFolder()
          }
          const {files, bytes} = await context.protection.recoveries.files(choiceOf(input), folder, (now, total) => progress(`${formatBytes(now)} of ${formatBytes(total)} restored`), signal)
          commit((tx) => tx.settings.put(receiptOf(operationId), JSON.stringify({...(input.clone ? {method: 'copy'} : {}), files, bytes, restore_ms: clock.now() - began})))
          return next('configure')
        },
        async undo({operationId, commit}) {
          commit((tx) => tx.settings.remove(receiptOf(operationId)))
        },
      },
      configure: {
        async run({input, operationId}) {
          const subject = await load(input.instanceId)
          if (!(await isReflink(operationId))) await recoveryOf(subject).configure(subject.host, choiceOf(input).plan, context.protection.recoveries.archive(choiceOf(input)))
          await subject.engine.config.write(subject.host, await servers.settingsOf(subject))
          return next('recover')
        },
      },
      recover: {
        retrySeconds: 300,
        async run({input, operationId, progress, signal, commit}) {
          const subject = await load(input.instanceId)
          const {engine, runtime, placement, host} = subject
          const {plan} = choiceOf(input)
          const recovery = recoveryOf(subject)
          const admin = await servers.admin()
          const archive = context.protection.recoveries.archive(choiceOf(input))
          const began = clock.now()
          let launched = await servers.launch(subject)
          if (await isReflink(operationId)) {
            await servers.awaitReady({...subject, node: {...subject.node, runtimeRef: launched.ref}}, signal, progress)
            commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: launched.ref, status: 'running', updatedAt: clock.now()}))
            return next('create-access')
          }
          for (;;) {
            const ended = new AbortController()
            const unwatch = runtime.watch(placement, launched.ref, () => ended.abort())
            try {
              const outcome = await recovery.follow(host, admin, plan, archive, {
                progress: ({phase, replayedBytes, totalBytes}) => progress(phase === 'replaying' ? `${formatBytes(replayedBytes)} of ${formatBytes(totalBytes)} of the log replayed` : phase),
                signal: AbortSignal.any([signal, ended.signal]),
              })
              if (outcome.kind === 'recovered') {
                const {restart} = await recovery.finish(host, admin)
                const {recovered} = outcome
                const receipt = {
                  ...(await receiptSoFar(operationId)), replay_ms: clock.now() - began, timeline: recovered.timeline, position: recovered.from.position, ended: recovered.because,
                  recovered_to: recovered.lastCommitMicros === null ? null : isoTime(recovered.lastCommitMicros / 1000), backup_id: choiceOf(input).backupId,
                }
                unwatch()
                if (restart) {
                  await servers.halt(subject, progress)
                  launched = await servers.launch(subject)
                }
                const {ref} = launched
                await servers.awaitReady({...subject, node: {...subject.node, runtimeRef: ref}}, signal, progress)
                commit(async (tx) => {
                  await tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'running', updatedAt: clock.now()})
                  await tx.settings.put(receiptOf(operationId), JSON.stringify(receipt))
                })
                return next('create-access')
              }
              progress(outcome.because)
              await servers.halt(subject, progress)
              launched = await servers.launch(subject)
            } catch (error) {
              signal.throwIfAborted()
              if (ended.signal.aborted) throw engine.lifecycle.explainFailure(await servers.logTail(subject))
              throw error
            } finally {
              unwatch()
            }
          }
        },
        async undo({input}) {
          const {runtime, placement, node} = await load(input.instanceId)
          await runtime.kill(placement, node.runtimeRef)
        },
      },
      'create-access': {
        async run({input}) {
          const {engine, host, instance} = await load(input.instanceId)
          const {database, username, password} = await servers.clientOf(instance)
          await engine.access.grantApplication(host, await servers.admin(), {database, username, password})
          return next('verify')
        },
      },
      verify: {
        async run({input}) {
          const {engine, host, instance} = await load(input.instanceId)
          await engine.config.verify(host, await servers.admin(), effectiveParameters(instance.layers))
          return next(input.inPlaceOf === null ? 'publish-endpoint' : 'hold-connections')
        },
      },
      'hold-connections': {
        async run({input, operationId, commit}) {
          const id = input.inPlaceOf as string
          await context.clusters.suspend(id)
          await servers.route(await load(id), 'hold')
          commit(async (tx) => {
            await tx.settings.put(`gap:${operationId}`, String(clock.now()))
            await context.clusters.freeze(tx, id)
          })
          return next('stop-servers')
        },
        async undo({input, operationId, signal, progress, commit}) {
          const id = input.inPlaceOf as string
          const subject = await load(id)
          await context.clusters.revert(id)
          commit(async (tx) => {
            await tx.settings.remove(`gap:${operationId}`)
            await context.clusters.thaw(tx, id)
          })
          if (subject.instance.wanted !== 'running') return servers.route(subject, 'closed')
          if (context.clusters.owns(id)) {
            await servers.route(subject, 'hold')
            await context.clusters.resume(id, false)
            await context.clusters.untilServed(id, signal, progress)
            return started(id)
          }
          await servers.prepare(subject)
          await servers.serve(subject, {signal, progress, commit})
          started(subject.instance.id)
        },
      },
      ...exchanging.steps,
      'open-endpoint': {
        async run({input, operationId, commit}) {
          const subject = await load(input.inPlaceOf as string)
          const {database, username, password} = await servers.clientOf(subject.instance)
          // it may have been changed since that state
          await subject.engine.access.grantApplication(subject.host, await servers.admin(), {database, username, password})
          await servers.route(subject, 'open')
          await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
          await context.clusters.beginAnew(subject)
          started(subject.instance.id)
          const replicas = (await servers.all(subject.instance.id)).length - 1
          const [held, receipt] = [await store.read('platform', (tx) => tx.settings.get(`gap:${operationId}`)), await receiptSoFar(operationId)]
          commit(async (tx) => {
            await tx.settings.remove(`gap:${operationId}`)
            await tx.settings.remove(receiptOf(operationId))
            await context.clusters.thaw(tx, subject.instance.id)
          })
          return done({
            ...receipt, ...(replicas > 0 ? {replicas} : {}), write_gap_ms: held === undefined ? null : clock.now() - Number(held), kept_as: input.keptAs,
            endpoint: `${subject.instance.endpointHost}:${subject.instance.endpointPort}`,
          })
        },
      },
      'publish-endpoint': {
        async run({input, operationId, commit}) {
          const subject = await load(input.instanceId)
          if (!(await servers.publishedOrMoved(subject, false, commit))) return next('publish-endpoint')
          await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
          started(subject.instance.id)
          const receipt = await receiptSoFar(operationId)
          commit((tx) => tx.settings.remove(receiptOf(operationId)))
          return done({...receipt, endpoint: `${subject.instance.endpointHost}:${subject.instance.endpointPort}`})
        },
        async undo({input}) {
          await context.endpoints.remove(input.instanceId)
        },
      },
    },
    async onDone(tx, {input, tenantId}) {
      const now = clock.now()
      const id = hostInstance(input)
      if (input.inPlaceOf !== null) await exchanging.settled(tx, input, (name) => `the state of ${name} before it was ${input.choice ? 'restored' : 'gone back from'}`)
      else await exchanging.serves(tx, id)
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.restored', subject: id, payload: {backup: input.choice?.backupId ?? null, kept_as: input.keptAs}, at: now})
    },
    async onUndone(tx, {input, because}) {
      if (input.choice) await forgetInstance(context, tx, input.instanceId)
    },
  })
}

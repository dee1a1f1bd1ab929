/**
 * Another series. While the old server serves, a new one is made beside it; then the old one is closed to everybody but
 * the agent, everything is copied and compared, and the two instances exchange their nodes. Until that moment the old
 * data are only read, and afterwards they are kept: to undo is to exchange again. Of an instance with replicas it is the
 * primary that is copied and exchanged; its replicas are made anew from the new one, while clients are served.
 */
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters} from '../../../core/instance/instance.js'
import {formatBytes} from '../../../core/units.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {CompareReport, CopyTools, EngineCopy, Survey} from '../../../engines/upgrade.js'
import type {Host} from '../../../engines/host.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Subject} from '../subject.js'
import type {Catalogues} from './catalogues.js'
import {forgetInstance} from './create.workflow.js'
import {createExchange, exchangeOrder, type ExchangeInput} from './exchange.js'
import {makerOf, poolKeyOf} from './prepared.js'
import type {Servers} from './servers.js'
import {upgradeOf} from './upgrade.workflow.js'

/** The other instance is the one that the new server is made in, and that keeps the old one afterwards. */
export interface MajorUpgradeInput extends ExchangeInput {
  readonly from: string
  readonly to: string
  /** The parameters could not be judged when it was asked for: the image was not there yet. */
  readonly unchecked: boolean
  /** The operation that it takes back: then there is nothing to copy. */
  readonly undoes: string | null
}

export const majorUpgradeKind = 'instance.upgrade_major'
const copyOrder = ['prepare-software', 'place-node', 'initialise', 'configure', 'start-copy', 'preflight', 'hold-connections', 'close-server', 'copy', 'compare'] as const
export const majorUpgradeSteps = {copy: [...copyOrder, ...exchangeOrder], undo: ['hold-connections', ...exchangeOrder]} as const

/** Measurement: what a copy takes for each MiB, milliseconds, once it is large enough to tell. */
export const copyPace = (engine: string): string => `copy-pace:${engine}`
/** A copy that has next to nothing in it takes this long. Milliseconds. */
export const copyBaseMs = 8000
/** Of what a copy says nothing about its pace. */
const tellingBytes = 64 * 1024 ** 2
const mebibyte = 1024 ** 2
/** Beside the data twice: once written down, once made anew. */
const spareBytes = 512 * mebibyte

/** What is told at the end, kept between its steps. */
interface Receipt {
  readonly bytes?: number
  readonly tools?: string
  readonly copy_ms?: number
  readonly databases?: number
  readonly tables?: number
  readonly rows?: number
  readonly objects?: number
}

/** Runs the programs that copy, on the agent's own machine, whatever the servers run on. Throws ENGINE_NOT_INSTALLED where there are none. */
export async function withTools<T>(context: ServiceContext, copy: EngineCopy, engine: string, step: {from: string; to: string}, work: (tools: CopyTools, workshop: Host) => Promise<T>): Promise<T> {
  const here = context.runtimes.get(context.runtimes.default)
  const installed = await here.software.installed(engine)
  const missing = new DbaasError('ENGINE_NOT_INSTALLED', `there are no programs on the agent's machine that copy a database of ${step.from} to ${step.to}`, {
    details: {engine, from: step.from, to: step.to}, suggestions: copy.toolHints(step),
  })
  const [any] = installed
  if (!any) throw missing
  return here.scratch.use({engine, version: any.version, image: null}, async ({host}) => {
    const tools = await copy.findTools(host, step, installed.map(({bin}) => bin))
    if (!tools) throw missing
    return work(tools, host)
  })
}

/** Throws INVALID_STATE, naming all that stands in the way. */
export function refuseObstacles(name: string, obstacles: Survey['obstacles']): void {
  if (obstacles.length === 0) return
  throw new DbaasError('INVALID_STATE', `${name} has what cannot be brought along: ${obstacles.map(({object, because}) => `${object} (${because})`).join(', ')}`, {
    details: {instance: name, objects: obstacles.map(({object}) => object).join(', ')}, suggestions: obstacles.slice(0, 5).map(({object, remedy}) => `${object}: ${remedy}`),
  })
}

export const missingExtensions = (wanted: readonly string[], there: ReadonlySet<string>, version: string): Survey['obstacles'] =>
  wanted.filter((name) => !there.has(name)).map((name) => ({object: `the extension ${name}`, because: `the server of ${version} does not have it`, remedy: 'DROP EXTENSION, or programs that have it'}))

export function majorUpgradeWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void, catalogues: Catalogues) {
  const {store, clock} = context
  const {load} = servers
  const exchanging = createExchange(context, servers, {software: true})
  const since = (operationId: string): string => `gap:${operationId}`
  const receiptOf = (operationId: string): string => `upgrade:${operationId}`
  /** A copy was begun: what it left must not be taken for a new server. */
  const begunOf = (operationId: string): string => `copying:${operationId}`

  const oldOf = (input: MajorUpgradeInput): Promise<Subject> => load(input.inPlaceOf as string)
  const receiptSoFar = async (operationId: string): Promise<Receipt> => JSON.parse((await store.read('platform', (tx) => tx.settings.get(receiptOf(operationId)))) ?? '{}') as Receipt
  const note = async (operationId: string, more: Receipt): Promise<(tx: Tx) => Promise<void>> => {
    const whole = JSON.stringify({...(await receiptSoFar(operationId)), ...more})
    return (tx) => tx.settings.put(receiptOf(operationId), whole)
  }

  async function initialised({engine, runtime, placement, host, instance}: Subject, progress: (because: string) => void): Promise<void> {
    if (await engine.lifecycle.isInitialised(host)) return
    if (await runtime.pool?.claim(poolKeyOf(engine, instance), placement, makerOf(engine, instance.version))) return
    progress('making a data directory')
    await host.remove(host.paths.data)
    await runtime.place(placement)
    await engine.lifecycle.initialise(host, instance.version)
  }

  /** What a copy that did not end has left goes; the new server is made once more. */
  async function anew(subject: Subject, signal: AbortSignal, progress: (because: string) => void): Promise<string> {
    const {engine, runtime, placement, host} = subject
    progress('an earlier copy did not come to its end: the new server is made once more')
    await runtime.kill(placement, subject.node.runtimeRef)
    await host.remove(host.paths.data)
    await runtime.place(placement)
    await initialised(subject, progress)
    await engine.config.write(host, await servers.settingsOf(subject))
    const {ref} = await servers.launch({...subject, node: {...subject.node, runtimeRef: null}})
    await servers.awaitReady({...subject, node: {...subject.node, runtimeRef: ref}}, signal, progress)
    return ref
  }

  async function refuseNoRoom({runtime}: Subject, bytes: number): Promise<void> {
    const {diskFreeBytes} = await runtime.facts()
    const needed = 2 * bytes + spareBytes
    if (diskFreeBytes >= needed) return
    throw new DbaasError('INSUFFICIENT_DISK', `the copy takes ${formatBytes(needed)} of disk, and ${formatBytes(diskFreeBytes)} are free`, {
      details: {needed_bytes: String(needed), free_bytes: String(diskFreeBytes)}, suggestions: ['dbaas doctor', 'delete what is not needed any more: dbaas list'],
    })
  }

  return workflow<MajorUpgradeInput, Tx>()({
    kind: majorUpgradeKind,
    start: 'prepare-software',
    order: [...copyOrder, ...exchangeOrder],
    deadlineSeconds: 24 * 3600,
    steps: {
      'prepare-software': {
        async run({input, progress, signal, commit}) {
          const subject = await load(input.instanceId)
          const {engine, runtime, instance} = subject
          const found = await servers.softwareOf(subject, progress, signal)
          if (input.unchecked) {
            const {template, user} = instance.layers
            await catalogues.check(engine, runtime, found, {...template, ...user}, effectiveParameters(instance.layers), instance.name)
          }
          commit((tx) => tx.instances.update(instance.id, {version: found.version, image: found.image}))
          return next('place-node')
        },
      },
      'place-node': {
        async run({input}) {
          const {runtime, placement} = await load(input.instanceId)
          await runtime.place(placement)
          return next('initialise')
        },
        async undo({input, operationId, commit}) {
          const {runtime, placement} = await load(input.instanceId)
          await runtime.remove(placement)
          commit(async (tx) => {
            for (const name of [receiptOf(operationId), begunOf(operationId)]) await tx.settings.remove(name)
          })
        },
      },
      initialise: {
        async run({input, progress}) {
          await initialised(await load(input.instanceId), progress)
          return next('configure')
        },
      },
      configure: {
        async run({input}) {
          const subject = await load(input.instanceId)
          await subject.engine.config.write(subject.host, await servers.settingsOf(subject))
          return next('start-copy')
        },
      },
      'start-copy': {
        async run({input, signal, progress, commit}) {
          const subject = await load(input.instanceId)
          const {ref} = await servers.launch(subject)
          commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'running', updatedAt: clock.now()}))
          const ready = await servers.readyOrMoved({...subject, node: {...subject.node, runtimeRef: ref}}, signal, progress, commit)
          return next(ready ? 'preflight' : 'configure')
        },
        async undo({input}) {
          const {runtime, placement, node} = await load(input.instanceId)
          await runtime.kill(placement, node.runtimeRef)
        },
      },
      /** The last look before anybody has to wait. */
      preflight: {
        async run({input, operationId, commit}) {
          const [old, made] = [await oldOf(input), await load(input.instanceId)]
          const {copy} = upgradeOf(old)
          const admin = await servers.admin()
          await made.engine.config.verify(made.host, admin, effectiveParameters(made.instance.layers))
          const {bytes, extensions, obstacles} = await copy.survey(old.host, admin)
          refuseObstacles(old.instance.name, [...obstacles, ...missingExtensions(extensions, await copy.extensions(made.host, admin), made.instance.version)])
          await refuseNoRoom(made, bytes)
          const tools = await withTools(context, copy, old.instance.engine, {from: old.instance.version, to: made.instance.version}, async ({version}) => version)
          await old.engine.lifecycle.checkpoint(old.host, admin)
          commit(await note(operationId, {bytes, tools}))
          return next('hold-connections')
        },
      },
      'hold-connections': {
        async run({input, operationId, commit}) {
          const old = await oldOf(input)
          await context.clusters.suspend(old.instance.id)
          await servers.route(old, 'hold')
          commit(async (tx) => {
            await tx.settings.put(since(operationId), String(clock.now()))
            await context.clusters.freeze(tx, old.instance.id)
            if (input.undoes === null) await tx.instances.update(old.instance.id, {status: 'maintenance', statusReason: `clients wait: it is copied into ${old.engine.title} ${input.to}`, updatedAt: clock.now()})
          })
          return next(input.undoes === null ? 'close-server' : 'stop-servers')
        },
        async undo({input, operationId, signal, progress, commit}) {
          const old = await oldOf(input)
          const {id} = old.instance
          await context.clusters.revert(id)
          commit(async (tx) => {
            await tx.settings.remove(since(operationId))
            await context.clusters.thaw(tx, id)
            // clients are let in: an agent that starts before all is taken back must not keep them out
            if (input.undoes === null) await tx.instances.update(old.instance.id, {status: 'running', statusReason: null, updatedAt: clock.now()})
          })
          if (old.instance.wanted !== 'running') return servers.route(old, 'closed')
          // one that runs may be closed to everybody
          if (input.undoes === null) await servers.halt(old, progress)
          if (context.clusters.owns(id)) {
            await servers.route(old, 'hold')
            await context.clusters.resume(id, false)
            await context.clusters.untilServed(id, signal, progress)
            return started(id)
          }
          await servers.prepare(old)
          await servers.serve(old, {signal, progress, commit})
          started(old.instance.id)
        },
      },
      'close-server': {
        async run({input, signal, progress, commit}) {
          const old = await oldOf(input)
          const {engine, runtime, placement, host, instance, node} = old
          await servers.halt(old, progress)
          await servers.prepare(old)
          await engine.lifecycle.clearStale(host)
          const {ref} = await runtime.start(placement, await upgradeOf(old).copy.closedCommand(host, instance.version))
          commit((tx) => tx.nodes.update(node.id, {runtimeRef: ref, status: 'starting', statusReason: null, updatedAt: clock.now()}))
          const ready = await servers.readyOrMoved({...old, node: {...node, runtimeRef: ref}}, signal, progress, commit)
          return next(ready ? 'copy' : 'close-server')
        },
      },
      copy: {
        retrySeconds: 600,
        async run({input, operationId, signal, progress, commit}) {
          const [old, made] = [await oldOf(input), await load(input.instanceId)]
          const {copy} = upgradeOf(old)
          const admin = await servers.admin()
          if (await store.read('platform', (tx) => tx.settings.get(begunOf(operationId)))) {
            const ref = await anew(made, signal, progress)
            commit((tx) => tx.nodes.update(made.node.id, {runtimeRef: ref, status: 'running', updatedAt: clock.now()}))
          } else await store.transact('platform', (tx) => tx.settings.put(begunOf(operationId), 'yes'))
          const began = clock.now()
          const jobs = Math.max(1, Math.min(4, Math.round(old.instance.size.cpu)))
          await withTools(context, copy, old.instance.engine, {from: old.instance.version, to: made.instance.version}, (tools, workshop) =>
            copy.copy({workshop, tools, from: old.host, to: made.host, admin, jobs, progress, signal}))
          await copy.settle(made.host, admin, {progress, signal})
          const {bytes = 0} = await receiptSoFar(operationId)
          const told = await note(operationId, {copy_ms: clock.now() - began})
          commit(async (tx) => {
            await told(tx)
            if (bytes >= tellingBytes) await tx.measurements.record(copyPace(old.instance.engine), Math.max(0, clock.now() - began - copyBaseMs) / (bytes / mebibyte), clock.now())
          })
          return next('compare')
        },
      },
      compare: {
        retrySeconds: 300,
        async run({input, operationId, signal, progress, commit}) {
          const [old, made] = [await oldOf(input), await load(input.instanceId)]
          const {differences, ...counted}: CompareReport = await upgradeOf(old).copy.compare(old.host, made.host, await servers.admin(), {progress, signal})
          if (differences.length > 0) {
            throw new DbaasError('OPERATION_FAILED', `the copy is not the same, so ${old.instance.name} stays as it is: ${differences.slice(0, 3).join('; ')}${differences.length > 3 ? '; and more' : ''}`, {
              details: {instance: old.instance.name, differences: differences.join('; ')}, suggestions: [`dbaas logs ${old.instance.name}`],
            })
          }
          commit(await note(operationId, counted))
          return next('stop-servers')
        },
      },
      ...exchanging.steps,
      'open-endpoint': {
        async run({input, operationId, commit}) {
          const subject = await oldOf(input)
          const {instance, engine, host} = subject
          const runs = await upgradeOf(subject).runningVersion(host, await servers.admin())
          if (runs !== instance.version) throw new DbaasError('SERVER_START_FAILED', `the server says that it is ${runs || 'of no known version'}, not ${instance.version}`, {details: {version: runs, wanted: instance.version}})
          const {database, username, password} = await servers.clientOf(instance)
          await engine.access.grantApplication(host, await servers.admin(), {database, username, password})
          await servers.route(subject, 'open')
          await engine.access.probe(await servers.clientOf(instance), 10_000)
          await context.clusters.beginAnew(subject)
          started(instance.id)
          const replicas = (await servers.all(instance.id)).length - 1
          const [held, receipt] = [await store.read('platform', (tx) => tx.settings.get(since(operationId))), await receiptSoFar(operationId)]
          commit(async (tx) => {
            for (const name of [since(operationId), receiptOf(operationId), begunOf(operationId)]) await tx.settings.remove(name)
            await context.clusters.thaw(tx, instance.id)
          })
          return done({
            from: input.from, to: instance.version, applied: input.undoes === null ? 'copy' : 'exchange', ...receipt, ...(replicas > 0 ? {replicas} : {}), write_gap_ms: held === undefined ? null : clock.now() - Number(held), kept_as: input.keptAs,
            endpoint: `${instance.endpointHost}:${instance.endpointPort}`,
          })
        },
      },
    },
    async onDone(tx, {input, tenantId, result}) {
      await exchanging.settled(tx, input, (name) => (input.undoes === null ? `${name} before its upgrade from ${input.from}` : `${name} of ${input.from}, before it was gone back from`))
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.upgraded', subject: input.inPlaceOf ?? input.instanceId, payload: result, at: clock.now()})
    },
    async onUndone(tx, {input, tenantId, because}) {
      if (input.undoes === null) await forgetInstance(context, tx, input.instanceId)
      else await tx.instances.update(input.instanceId, {status: 'stopped', wanted: 'stopped', updatedAt: clock.now()})
      if (input.inPlaceOf === null) return
      await exchanging.stayed(tx, input.inPlaceOf, because)
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.upgrade_failed', subject: input.inPlaceOf, payload: {to: input.to, because}, at: clock.now()})
    },
  })
}

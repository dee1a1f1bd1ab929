/** What a restore asks for before it is begun: that it is possible, that there is room, and what it will be called. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {BodyOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {resolveSize} from '../../../core/instance/sizes.js'
import type {InstanceRecord, NodeRecord, ParameterLayers, ParameterValues} from '../../../core/instance/instance.js'
import {checkName, datedName} from '../../../core/instance/names.js'
import {isoTime} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import type {Engine} from '../../../engines/engine.js'
import type {Runtime} from '../../runtimes/runtime.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Idempotency, Planned, RestoringApi, Started} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import type {RestoreChoice} from '../protection.js'
import {repeated, submit} from '../submit.js'
import {resolveVersion} from '../versions.js'
import {admit} from './admission.js'
import type {Catalogues} from './catalogues.js'
import {freeEndpointPort, freeNodePort} from './ports.js'
import {restoreKind, restoreSteps, type RestoreInput} from './restore.workflow.js'
import type {InstancesService} from './service.js'
import {layersFor, type Templates} from './templates.js'

const loopback = '127.0.0.1'
/** For an estimate: what a restore and a replay get through here, bytes a second, and what a start takes. */
const pace = {files: 150 * 1024 ** 2, log: 40 * 1024 ** 2, startSeconds: 3} as const
/** Beside the backup: its log, and what a recovery writes. */
const spareBytes = 256 * 1024 ** 2

/** The rows of an instance that data comes into. `enabled`: it is protected by itself, from the beginning. */
export async function insertBeside(
  context: ServiceContext, tx: Tx, {instance, node}: {readonly instance: InstanceRecord; readonly node: NodeRecord}, options: {passwordOf: string | undefined; enabled: boolean; repository: string},
): Promise<void> {
  await tx.instances.insert(instance)
  await context.protection.enrol(tx, instance, {enabled: options.enabled, repository: options.repository})
  await tx.nodes.insert(node)
  await tx.ports.reserve({tenantId: instance.tenantId, port: instance.endpointPort, ownerId: instance.id})
  await tx.ports.reserve({tenantId: instance.tenantId, port: node.port, ownerId: node.id})
  const password = options.passwordOf === undefined ? undefined : await tx.secrets.get(options.passwordOf, 'password')
  await tx.secrets.put(instance.tenantId, instance.id, 'password', password ?? context.randomSecret())
}

/** What is different of a clone that serves one purpose and then goes. */
interface Clone {
  readonly id?: string
  readonly backup?: boolean
  /** How many servers it will have: there must be room for all of them. */
  readonly servers?: number
}

export interface Restoring extends RestoringApi {
  /** The instance as it is now, under that name and id. Throws as a clone does. */
  copy(principal: Principal, source: InstanceRecord, copy: Required<Clone> & {readonly name: string}, plan: boolean): Promise<Started | Planned>
}

export function createRestoring(options: {
  context: ServiceContext; instances: InstancesService; templates: Templates; catalogues: Catalogues; platform: string; workflow: (kind: string) => {readonly deadlineSeconds: number}
}): Restoring {
  const {context, instances, templates} = options
  const {store, clock} = context

  const find = (principal: Principal, ref: string): Promise<InstanceRecord | undefined> => store.read({tenant: principal.tenantId}, (tx) => tx.instances.find(ref))

  const nameOf = (name: string, what: 'before' | 'undone'): string => datedName(name, what, clock.now())

  function refuseBusy(instance: InstanceRecord): void {
    if (['running', 'degraded', 'stopped', 'failed'].includes(instance.status)) return
    throw new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so it cannot be restored`, {
      details: {instance: instance.name, status: instance.status}, suggestions: [`dbaas operations list --instance ${instance.name}`],
    })
  }

  async function again(principal: Principal, idempotency: Idempotency | undefined): Promise<Started | undefined> {
    const before = await repeated(context, principal, idempotency)
    if (!before) return undefined
    const {inPlaceOf, instanceId} = before.input as unknown as RestoreInput
    return {operation: operationView(before), instance: await instances.withNodes(await instances.find(principal, inPlaceOf ?? instanceId))}
  }

  /** Of a version that the instance no longer has, or of no instance: what was asked for, as far as that version knows it. */
  async function layersOfThen(principal: Principal, engine: Engine, runtime: Runtime, size: InstanceRecord['size'], version: string, model: InstanceRecord | undefined): Promise<ParameterLayers> {
    const plain = await layersFor({engine, size, version, template: undefined, user: {}, templates, principal})
    if (!model) return plain
    const catalogue = await options.catalogues.of(engine, runtime, {version, image: null})
    const known = (values: ParameterValues): ParameterValues => Object.fromEntries(Object.entries(values).filter(([name]) => catalogue.has(name)))
    const builtIn = model.template === null ? undefined : engine.config.templates[model.template]
    return {...plain, template: known(builtIn?.parameters(size) ?? model.layers.template), user: known(model.layers.user)}
  }

  /** The rows of the instance that the data is restored into: as its model, where there is one. */
  async function target(principal: Principal, choice: RestoreChoice, name: string, model: InstanceRecord | undefined, id = context.newId('instance')): Promise<{instance: InstanceRecord; node: NodeRecord}> {
    const engine = context.engines.get(choice.engine)
    const runtime = context.runtimes.get(model?.runtime ?? context.runtimes.default)
    const major = choice.base.version.split('.')[0] as string
    const isOfModel = model !== undefined && model.version.split('.')[0] === major
    const version = isOfModel ? model.version : (await resolveVersion(engine, runtime, major, options.platform, null)).version
    const size = model?.size ?? resolveSize({})
    const layers = isOfModel ? model.layers : await layersOfThen(principal, engine, runtime, size, version, model)
    const now = clock.now()
    const instance: InstanceRecord = {
      id, tenantId: principal.tenantId, name, engine: engine.name, version, runtime: runtime.name, image: model?.version === version ? model.image : null,
      imageAsked: isOfModel ? model.imageAsked : null, publishAddress: model?.publishAddress ?? loopback, leased: false, status: 'provisioning', statusReason: null, wanted: 'running',
      size, template: model?.template ?? null, layers, endpointHost: loopback, endpointPort: await freeEndpointPort(context, runtime),
      database: model?.database ?? engine.defaultDatabase, username: model?.username ?? engine.defaultUsername, incarnation: context.newId('event').slice(4), protected: false,
      expiresAt: null, createdAt: now, updatedAt: now,
    }
    const node: NodeRecord = {
      id: context.newId('node'), tenantId: principal.tenantId, instanceId: id, name: `${name}-1`, role: 'primary', wanted: 'running', status: 'absent', statusReason: null,
      port: await freeNodePort(context, runtime), runtimeRef: null, createdAt: now, updatedAt: now,
    }
    return {instance, node}
  }

  async function admitRoom(choice: RestoreChoice, runtimeName: string, size: InstanceRecord['size'], servers: number): Promise<void> {
    const facts = await context.runtimes.get(runtimeName).facts()
    admit(size, servers * size.memory_bytes / 4, facts)
    const needed = servers * (choice.base.bytes + spareBytes)
    if (facts.diskFreeBytes >= needed) return
    throw new DbaasError('INSUFFICIENT_DISK', `the restore takes ${formatBytes(needed)} of disk, and ${formatBytes(facts.diskFreeBytes)} are free`, {
      details: {needed_bytes: String(needed), free_bytes: String(facts.diskFreeBytes)}, suggestions: ['dbaas doctor', 'delete what is not needed any more: dbaas list'],
    })
  }

  async function recoveryView(choice: RestoreChoice) {
    const missing = await context.protection.recoveries.missing(choice)
    if (missing.length > 0) {
      throw new DbaasError('REPOSITORY_DAMAGED', `${missing.length} objects that the restore needs are not in the repository, the first is ${missing[0]}`, {
        details: {backup: choice.backupId, missing: String(missing.length)}, suggestions: [`dbaas backups verify ${choice.backupId}`],
      })
    }
    const {base, plan} = choice
    return {
      backup_id: choice.backupId, ends: plan.expected.because, position: plan.expected.position,
      last_commit_at: plan.expected.lastCommitMicros === null ? null : isoTime(plan.expected.lastCommitMicros / 1000), size_bytes: base.bytes, log_bytes: plan.logBytes,
      segments: plan.segments.length, complete: true,
      estimated_seconds: Math.round(10 * (pace.startSeconds + base.bytes / pace.files + plan.logBytes / pace.log)) / 10,
    }
  }

  async function restore(principal: Principal, ref: string, to: string, into: string | undefined, plan: boolean | undefined, idempotency: Idempotency | undefined, clone?: Clone): Promise<Started | Planned> {
    const before = await again(principal, idempotency)
    if (before) return before
    context.mayChange()
    const source = await find(principal, ref)
    const other = into === undefined ? undefined : await find(principal, into)
    const inPlaceOf = into === undefined ? source : other
    if (!source && into === undefined) await instances.find(principal, ref).catch((error: unknown) => {
      if (!(error instanceof DbaasError)) throw error
      // kept backups of a deleted instance have no place to go back to
      throw new DbaasError(error.code, error.message, {details: error.details, suggestions: [...error.suggestions, `dbaas restore ${ref} --into NEW, if its backups were kept`]})
    })
    if (into !== undefined && !other) checkName(into)
    if (inPlaceOf) refuseBusy(inPlaceOf)
    const choice = await context.protection.recoveries.choose(principal, source, source?.name ?? ref, to)
    if (inPlaceOf && (inPlaceOf.engine !== choice.engine || inPlaceOf.version.split('.')[0] !== choice.base.version.split('.')[0])) {
      throw new DbaasError('INVALID_REQUEST', `a backup of ${choice.engine} ${choice.base.version} cannot become ${inPlaceOf.name}, which is ${inPlaceOf.engine} ${inPlaceOf.version}`, {
        suggestions: [`dbaas restore ${ref} --into NEW`],
      })
    }
    const recovery = await recoveryView(choice)
    const steps = inPlaceOf ? restoreSteps.inPlace : restoreSteps.into
    const keptAs = inPlaceOf ? nameOf(inPlaceOf.name, 'before') : null
    const made = await target(principal, choice, keptAs ?? (into as string), inPlaceOf ?? source, clone?.id)
    await admitRoom(choice, made.instance.runtime, made.instance.size, clone?.servers ?? 1)
    if (plan) return {plan: planView({steps, impact: inPlaceOf ? 'restart' : 'none', expected_downtime_ms: inPlaceOf ? null : 0, reversible: true, recovery})}
    const input: RestoreInput = {
      instanceId: made.instance.id, inPlaceOf: inPlaceOf?.id ?? null, entering: made.node.id, choice, keptAs,
      // of now: another moment is in the log alone; and the same version, for the server starts on the files as they are
      ...(clone ? {clone: {of: to === 'latest' && source?.wanted === 'running' && source.version === made.instance.version ? source.id : null}} : {}),
    }
    const operation = await store.transact({tenant: principal.tenantId}, async (tx) => {
      if (await tx.instances.find(made.instance.name)) throw new DbaasError('NAME_IN_USE', `there already is an instance "${made.instance.name}"`, {suggestions: ['try again']})
      await insertBeside(context, tx, made, {passwordOf: (inPlaceOf ?? source)?.id, enabled: inPlaceOf === undefined && clone?.backup !== false, repository: choice.repository})
      return submit(context, tx, principal, {
        kind: restoreKind, instanceId: inPlaceOf?.id ?? made.instance.id, resource: `instance/${inPlaceOf?.name ?? made.instance.name}`, input: input as never,
        start: steps[0], deadlineSeconds: options.workflow(restoreKind).deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await instances.withNodes(inPlaceOf ?? made.instance)}
  }

  async function undo(principal: Principal, ref: string, plan: boolean | undefined, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    const before = await again(principal, idempotency)
    if (before) return before
    context.mayChange()
    const instance = await instances.find(principal, ref)
    refuseBusy(instance)
    const {kept, nodes} = await store.read('platform', async (tx) => {
      const done = (await tx.operations.list({instanceId: instance.id, limit: 1000})).filter((o) => o.kind === restoreKind && o.status === 'succeeded')
        .map((o) => o.input as unknown as RestoreInput).filter((i) => i.inPlaceOf === instance.id)
      // the newest that is still there; what was gone back from is not gone forward to
      for (const {instanceId, choice} of done) {
        const there = choice ? await tx.instances.find(instanceId) : undefined
        if (there && !there.name.includes('-undone-')) return {kept: there, nodes: await tx.nodes.ofInstance(there.id)}
      }
      return {kept: undefined, nodes: []}
    })
    const [entering] = nodes
    if (!kept || !entering) {
      throw new DbaasError('INVALID_STATE', `there is no state of ${instance.name} before a restore to go back to`, {
        details: {instance: instance.name}, suggestions: [`dbaas restore ${instance.name} --to TIME`, 'dbaas list'],
      })
    }
    if (kept.version.split('.')[0] !== instance.version.split('.')[0]) {
      throw new DbaasError('INVALID_STATE', `${kept.name}, the state to go back to, is of ${kept.version}, and ${instance.name} was upgraded to ${instance.version} since`, {
        details: {instance: kept.name, version: kept.version}, suggestions: [`dbaas upgrade ${instance.name} --undo`, `dbaas start ${kept.name}`],
      })
    }
    if (kept.status !== 'stopped') {
      throw new DbaasError('INVALID_STATE', `${kept.name}, the state to go back to, is ${kept.status}`, {details: {instance: kept.name, status: kept.status}, suggestions: [`dbaas stop ${kept.name}`]})
    }
    if (nodes.length > 1) {
      throw new DbaasError('INVALID_STATE', `${kept.name}, the state to go back to, was given replicas`, {
        details: {instance: kept.name}, suggestions: [`dbaas start ${kept.name}`, `dbaas scale ${kept.name} --no-ha --replicas 0`, `dbaas stop ${kept.name}`],
      })
    }
    if (plan) return {plan: planView({steps: restoreSteps.undo, impact: 'restart', expected_downtime_ms: null, reversible: true})}
    const input: RestoreInput = {
      instanceId: kept.id, inPlaceOf: instance.id, entering: entering.id, choice: null, keptAs: nameOf(instance.name, 'undone'),
    }
    const operation = await store.transact({tenant: principal.tenantId}, async (tx) => {
      await tx.instances.update(kept.id, {status: 'maintenance', updatedAt: clock.now()})
      return submit(context, tx, principal, {
        kind: restoreKind, instanceId: instance.id, resource: `instance/${instance.name}`, input: input as never, start: restoreSteps.undo[0],
        deadlineSeconds: options.workflow(restoreKind).deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await instances.withNodes(instance)}
  }

  return {
    async restore(principal, ref, body: BodyOf<'instances.restore'>, idempotency) {
      authorize(principal, 'restore', `instance/${ref}`)
      return restore(principal, ref, body.to ?? 'latest', body.into, body.plan, idempotency)
    },
    async undo(principal, ref, {plan}, idempotency) {
      authorize(principal, 'restore', `instance/${ref}`)
      return undo(principal, ref, plan, idempotency)
    },
    async clone(principal, ref, body: BodyOf<'instances.clone'>, idempotency) {
      authorize(principal, 'clone', `instance/${ref}`)
      const before = await again(principal, idempotency)
      if (before) return before
      checkName(body.name)
      const source = await instances.find(principal, ref)
      if (await find(principal, body.name)) {
        throw new DbaasError('NAME_IN_USE', `there already is an instance "${body.name}"`, {details: {name: body.name}, suggestions: ['choose another name']})
      }
      return restore(principal, source.name, body.at ?? 'latest', body.name, body.plan, idempotency, {})
    },
    copy: (principal, source, {name, ...clone}, plan) => restore(principal, source.name, 'latest', name, plan, undefined, clone),
  }
}

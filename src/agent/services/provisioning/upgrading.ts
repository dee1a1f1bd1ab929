/** What a change of version asks for before it is begun: whether it is possible, how it would be done, and what can be gone back to. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {BodyOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type InstanceRecord, type NodeRecord, type ParameterLayers} from '../../../core/instance/instance.js'
import {datedName} from '../../../core/instance/names.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {ServiceContext} from '../context.js'
import type {Idempotency, Planned, Started, UpgradingApi} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {rollPlan, rollStepNames} from '../roll-steps.js'
import {repeated, submit} from '../submit.js'
import type {Subject} from '../subject.js'
import {byVersion, resolveVersion, type ResolvedVersion} from '../versions.js'
import {admit} from './admission.js'
import type {Catalogues} from './catalogues.js'
import {restartGap} from './lifecycle.workflows.js'
import {freeEndpointPort, freeNodePort} from './ports.js'
import {insertBeside} from './restoring.js'
import type {Servers} from './servers.js'
import type {InstancesService} from './service.js'
import {copyBaseMs, copyPace, majorUpgradeKind, majorUpgradeSteps, missingExtensions, refuseObstacles, withTools, type MajorUpgradeInput} from './upgrade-major.workflow.js'
import {upgradeKind, upgradeOf, type UpgradeInput} from './upgrade.workflow.js'

/** For an estimate, as long as no copy was measured here: milliseconds for each MiB. */
const usualPace = 60
const mebibyte = 1024 ** 2
const extensionsKnownMs = 60_000

export function createUpgrading(options: {
  context: ServiceContext; servers: Servers; catalogues: Catalogues; instances: InstancesService; platform: string
  workflow: (kind: string) => {readonly order: readonly string[]; readonly deadlineSeconds: number}
}): UpgradingApi {
  const {context, servers, catalogues, instances} = options
  const {store, clock} = context
  const scopeOf = (principal: Principal) => ({tenant: principal.tenantId})

  async function again(principal: Principal, idempotency: Idempotency | undefined): Promise<Started | undefined> {
    const before = await repeated(context, principal, idempotency)
    if (!before) return undefined
    const {inPlaceOf, instanceId} = before.input as unknown as Pick<MajorUpgradeInput, 'instanceId'> & Partial<MajorUpgradeInput>
    return {operation: operationView(before), instance: await instances.withNodes(await instances.find(principal, inPlaceOf ?? instanceId))}
  }

  const whyNot = (instance: InstanceRecord, states: readonly string[]): DbaasError | undefined =>
    states.includes(instance.status) ? undefined : new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so it cannot be upgraded`, {
      details: {instance: instance.name, status: instance.status}, suggestions: [instance.status === 'stopped' ? `dbaas start ${instance.name}` : `dbaas operations list --instance ${instance.name}`],
    })

  async function begin(
    principal: Principal, instance: InstanceRecord, states: readonly string[], submission: {kind: string; input: object; start: string}, idempotency: Idempotency | undefined,
    change?: (tx: Parameters<Parameters<typeof store.transact>[1]>[0]) => Promise<void>,
  ): Promise<Started> {
    const operation = await store.transact(scopeOf(principal), async (tx) => {
      const fresh = await tx.instances.find(instance.id)
      const changed = fresh ? whyNot(fresh, states) : new DbaasError('INSTANCE_NOT_FOUND', `there is no instance "${instance.name}"`)
      if (changed) throw changed
      if (fresh?.version !== instance.version) throw new DbaasError('INVALID_STATE', `${instance.name} has become ${fresh?.version} meanwhile`, {suggestions: ['try again']})
      await change?.(tx)
      return submit(context, tx, principal, {
        kind: submission.kind, instanceId: instance.id, resource: `instance/${instance.name}`, input: submission.input as never, start: submission.start,
        deadlineSeconds: options.workflow(submission.kind).deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await instances.withNodes(await instances.find(principal, instance.id))}
  }

  /** Throws ENGINE_NOT_INSTALLED for an image that each of several servers would have to wait for. */
  function refuseWaiting({id, engine}: InstanceRecord, resolved: ResolvedVersion): void {
    if (!context.clusters.owns(id)) return
    if (resolved.installed) return
    throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine} ${resolved.version} is not here yet`, {details: {engine, version: resolved.version}, suggestions: [`dbaas engines install ${engine}@${resolved.version} --runtime docker`]})
  }

  // ---------------------------------------------------------------- in place

  async function inPlace(principal: Principal, subject: Subject, to: Pick<UpgradeInput, 'to' | 'image' | 'imageAsked' | 'undoes'>, plan: boolean | undefined, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    const {instance} = subject
    const states = ['running', 'degraded', 'stopped']
    const refusal = whyNot(instance, states)
    if (refusal) throw refusal
    const input: UpgradeInput = {instanceId: instance.id, from: instance.version, imageAskedBefore: instance.imageAsked, ...to}
    const order = options.workflow(upgradeKind).order.filter((step) => !(rollStepNames as readonly string[]).includes(step))
    const nothing = input.from === input.to && input.imageAsked === instance.imageAsked
    const steps = nothing ? ['verify'] : instance.wanted === 'running' ? order : ['prepare-software', 'verify']
    if (plan && !nothing && instance.wanted === 'running' && context.clusters.owns(instance.id)) {
      const rolled = rollPlan(await context.clusters.rolling.plan(instance.id, {version: input.to, image: input.image}))
      return {plan: planView({
        ...rolled, steps: rolled.steps.map((step) => (step === 'preflight' ? 'prepare-software' : step)),
        upgrade: {from: input.from, to: input.to, way: 'rolling', size_bytes: null, estimated_seconds: null, tools: null, obstacles: [], kept_as: null},
      })}
    }
    if (plan) {
      const typical = await store.read('platform', (tx) => tx.measurements.typical(restartGap(instance.engine)))
      const restarts = steps.length > 2
      return {plan: planView({
        steps: nothing ? [] : steps, impact: restarts ? 'restart' : 'none', expected_downtime_ms: !restarts ? 0 : typical === undefined ? null : Math.round(typical),
        upgrade: {from: input.from, to: input.to, way: nothing ? 'none' : restarts ? 'restart' : 'next-start', size_bytes: null, estimated_seconds: null, tools: null, obstacles: [], kept_as: null},
      })}
    }
    return begin(principal, instance, states, {kind: upgradeKind, input, start: steps[0] as string}, idempotency)
  }

  // ---------------------------------------------------------------- by a copy

  /** Size and built-in template follow the version; what was set by hand, and a template of somebody's own, stay as they are. */
  function layersFor({engine, instance}: Subject, version: string): ParameterLayers {
    const builtIn = instance.template === null ? undefined : engine.config.templates[instance.template]
    return {size: engine.config.fromSize(instance.size, version), template: builtIn ? builtIn.parameters(instance.size) : instance.layers.template, user: instance.layers.user}
  }

  /** Throws UNKNOWN_PARAMETER, INVALID_PARAMETER_VALUE, with the way to take the parameter back. */
  async function checkParameters({engine, runtime, instance}: Subject, resolved: ResolvedVersion, layers: ParameterLayers): Promise<void> {
    try {
      await catalogues.check(engine, runtime, resolved, {...layers.template, ...layers.user}, effectiveParameters(layers), instance.name)
    } catch (error) {
      const parameter = error instanceof DbaasError ? error.details['parameter'] : undefined
      if (!(error instanceof DbaasError) || parameter === undefined || !Object.hasOwn(layers.user, parameter)) throw error
      throw new DbaasError(error.code, error.message, {details: error.details, suggestions: [`dbaas config unset ${instance.name} ${parameter}`, ...error.suggestions], cause: error})
    }
  }

  /** Between a plan and what was planned nobody installs one. */
  const known = new Map<string, {readonly at: number; readonly names: ReadonlySet<string>}>()
  async function extensionsOf({engine, runtime}: Subject, {version, image}: ResolvedVersion, read: () => Promise<ReadonlySet<string>>): Promise<ReadonlySet<string>> {
    const key = `${runtime.name} ${engine.name} ${version} ${image?.id ?? ''}`
    const before = known.get(key)
    if (before && clock.now() - before.at < extensionsKnownMs) return before.names
    const names = await read()
    known.set(key, {at: clock.now(), names})
    return names
  }

  /** What the new version has: read from a server of it that is started for a moment, and only where somebody wants more than every server has. */
  async function obstaclesOf(subject: Subject, resolved: ResolvedVersion): Promise<{bytes: number; obstacles: Parameters<typeof refuseObstacles>[1]}> {
    const {engine, host, runtime} = subject
    const {copy} = upgradeOf(subject)
    const {bytes, obstacles, extensions} = await copy.survey(host, await servers.admin())
    const wanted = extensions.filter((name) => name !== 'plpgsql')
    if (!resolved.installed || wanted.length === 0) return {bytes, obstacles}
    const there = await extensionsOf(subject, resolved, () => catalogues.onScratch(engine, runtime, resolved, async (scratch) => copy.extensions(scratch, await servers.admin())))
    return {bytes, obstacles: [...obstacles, ...missingExtensions(wanted, there, resolved.version)]}
  }

  async function major(principal: Principal, subject: Subject, resolved: ResolvedVersion, imageAsked: string | null, plan: boolean | undefined, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    const {instance, engine, runtime} = subject
    const states = ['running', 'degraded']
    const refusal = whyNot(instance, states)
    if (refusal) throw refusal
    const layers = layersFor(subject, resolved.version)
    const unchecked = !resolved.installed
    if (!unchecked) await checkParameters(subject, resolved, layers)
    const {copy} = upgradeOf(subject)
    const tools = await withTools(context, copy, engine.name, {from: instance.version, to: resolved.version}, async ({version}) => version)
    const {bytes, obstacles} = await obstaclesOf(subject, resolved)
    const keptAs = datedName(instance.name, 'before', clock.now())
    if (plan) {
      const pace = await store.read('platform', (tx) => tx.measurements.typical(copyPace(engine.name)))
      const estimateMs = copyBaseMs + (pace ?? usualPace) * (bytes / mebibyte)
      return {plan: planView({
        steps: majorUpgradeSteps.copy, impact: 'restart', expected_downtime_ms: pace === undefined ? null : Math.round(estimateMs),
        upgrade: {
          from: instance.version, to: resolved.version, way: 'copy', size_bytes: bytes, estimated_seconds: Math.round(estimateMs / 100) / 10, tools: `${engine.title} ${tools}`,
          obstacles: obstacles.map(({object, because, remedy}) => `${object}: ${because}; ${remedy}`), kept_as: keptAs,
        },
      })}
    }
    refuseObstacles(instance.name, obstacles)
    admit(instance.size, instance.size.memory_bytes / 4, await runtime.facts())
    const now = clock.now()
    const made: {instance: InstanceRecord; node: NodeRecord} = {
      instance: {
        ...instance, id: context.newId('instance'), name: keptAs, version: resolved.version, image: resolved.image, imageAsked, layers, leased: false, status: 'provisioning', statusReason: null,
        wanted: 'running', endpointPort: await freeEndpointPort(context, runtime), incarnation: context.newId('event').slice(4), protected: false, expiresAt: null, createdAt: now, updatedAt: now,
      },
      node: {
        id: context.newId('node'), tenantId: instance.tenantId, instanceId: '', name: `${keptAs}-1`, role: 'primary', wanted: 'running', status: 'absent', statusReason: null,
        port: await freeNodePort(context, runtime), runtimeRef: null, createdAt: now, updatedAt: now,
      },
    }
    const input: MajorUpgradeInput = {
      instanceId: made.instance.id, inPlaceOf: instance.id, entering: made.node.id, keptAs, from: instance.version, to: resolved.version, unchecked, undoes: null,
    }
    return begin(principal, instance, states, {kind: majorUpgradeKind, input, start: majorUpgradeSteps.copy[0]}, idempotency, async (tx) => {
      if (await tx.instances.find(keptAs)) throw new DbaasError('NAME_IN_USE', `there already is an instance "${keptAs}"`, {suggestions: ['try again']})
      const repository = (await tx.policies.get(instance.id))?.repository ?? 'local'
      await insertBeside(context, tx, {instance: made.instance, node: {...made.node, instanceId: made.instance.id}}, {passwordOf: instance.id, enabled: false, repository})
    })
  }

  // ---------------------------------------------------------------- back

  type Done = Pick<OperationRecord, 'id' | 'kind'> & {readonly input: Partial<MajorUpgradeInput> & UpgradeInput}

  /** The last upgrade that holds: one that was gone back from does not count, nor does what went back. */
  async function lastUpgrade(instance: InstanceRecord): Promise<Done | undefined> {
    const all = (await store.read('platform', (tx) => tx.operations.list({instanceId: instance.id, limit: 1000})))
      .filter(({kind, status}) => (kind === upgradeKind || kind === majorUpgradeKind) && status === 'succeeded').map(({id, kind, input}) => ({id, kind, input: input as unknown as Done['input']}))
    const takenBack = new Set(all.map(({input}) => input.undoes))
    return all.find(({id, input}) => input.undoes === null && !takenBack.has(id) && input.from !== input.to)
  }

  const nothingBefore = (instance: InstanceRecord, because: string): DbaasError => new DbaasError('INVALID_STATE', `there is no version of ${instance.name} to go back to: ${because}`, {
    details: {instance: instance.name, version: instance.version}, suggestions: [`dbaas restore ${instance.name} --to TIME --into NEW`, 'dbaas list'],
  })

  async function undoMajor(principal: Principal, instance: InstanceRecord, last: Done, plan: boolean | undefined, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    const states = ['running', 'degraded', 'failed']
    const refusal = whyNot(instance, states)
    if (refusal) throw refusal
    const {kept, theirs} = await store.read('platform', async (tx) => ({
      kept: await tx.instances.find(last.input.instanceId), theirs: await tx.nodes.ofInstance(last.input.instanceId),
    }))
    if (!kept) throw nothingBefore(instance, 'the state of before its upgrade was deleted')
    if (kept.status !== 'stopped') throw new DbaasError('INVALID_STATE', `${kept.name}, the state to go back to, is ${kept.status}`, {details: {instance: kept.name, status: kept.status}, suggestions: [`dbaas stop ${kept.name}`]})
    const [entering] = theirs
    if (!entering || theirs.length > 1) throw new DbaasError('INVALID_STATE', `${kept.name}, the state to go back to, was given replicas`, {details: {instance: kept.name}, suggestions: [`dbaas scale ${kept.name} --no-ha --replicas 0`]})
    const keptAs = datedName(instance.name, 'undone', clock.now())
    if (plan) {
      const typical = await store.read('platform', (tx) => tx.measurements.typical(restartGap(instance.engine)))
      return {plan: planView({
        steps: majorUpgradeSteps.undo, impact: 'restart', expected_downtime_ms: typical === undefined ? null : Math.round(typical),
        upgrade: {from: instance.version, to: kept.version, way: 'exchange', size_bytes: null, estimated_seconds: null, tools: null, obstacles: [], kept_as: keptAs},
      })}
    }
    const input: MajorUpgradeInput = {
      instanceId: kept.id, inPlaceOf: instance.id, entering: entering.id, keptAs, from: instance.version, to: kept.version, unchecked: false, undoes: last.id,
    }
    // it was scaled and configured meanwhile: what was asked for holds for the old version as well
    const subject = await servers.load(instance.id)
    const layers = layersFor(subject, kept.version)
    await checkParameters(subject, {version: kept.version, image: kept.image, installed: true}, layers)
    return begin(principal, instance, states, {kind: majorUpgradeKind, input, start: majorUpgradeSteps.undo[0]}, idempotency, async (tx) => {
      if ((await tx.instances.find(kept.id))?.status !== 'stopped') throw new DbaasError('INVALID_STATE', `${kept.name} is no longer stopped`, {suggestions: ['try again']})
      await tx.instances.update(kept.id, {status: 'maintenance', size: instance.size, layers, updatedAt: clock.now()})
    })
  }

  return {
    async upgrade(principal, ref, body: BodyOf<'instances.upgrade'>, idempotency) {
      authorize(principal, 'upgrade', `instance/${ref}`)
      const before = await again(principal, idempotency)
      if (before) return before
      context.mayChange()
      const instance = await instances.find(principal, ref)
      const subject = await servers.load(instance.id)
      const {engine, runtime} = subject
      const {seriesOf} = upgradeOf(subject)
      const imageAsked = body.image ?? null
      if (instance.imageAsked !== null && imageAsked === null) {
        throw new DbaasError('INVALID_REQUEST', `${instance.name} was made from the image ${instance.imageAsked}: say which one it is made from now`, {
          details: {instance: instance.name, image: instance.imageAsked}, suggestions: [`dbaas upgrade ${instance.name} --version ${body.version} --image IMAGE`],
        })
      }
      const resolved = await resolveVersion(engine, runtime, body.version, options.platform, imageAsked)
      const {version} = resolved
      const same = seriesOf(version) === seriesOf(instance.version)
      // the beginning of a version is as new as the newest that begins so
      const older = byVersion(version, instance.version) > 0 && (resolved.installed || !same)
      if (older) {
        const back = await lastUpgrade(instance)
        throw new DbaasError('INVALID_REQUEST', `${instance.name} is ${instance.version}, which is newer than ${version}: ${engine.title} does not promise that older programs read what newer ones wrote`, {
          details: {instance: instance.name, version: instance.version, asked: version},
          suggestions: [...(back ? [`dbaas upgrade ${instance.name} --undo`] : []), `dbaas restore ${instance.name} --to TIME --into NEW`],
        })
      }
      if (!same) return major(principal, subject, resolved, imageAsked, body.plan, idempotency)
      refuseWaiting(instance, resolved)
      return inPlace(principal, subject, {to: version, image: resolved.image, imageAsked, undoes: null}, body.plan, idempotency)
    },
    async undo(principal, ref, {plan}, idempotency) {
      authorize(principal, 'upgrade', `instance/${ref}`)
      const before = await again(principal, idempotency)
      if (before) return before
      context.mayChange()
      const instance = await instances.find(principal, ref)
      const last = await lastUpgrade(instance)
      if (!last) throw nothingBefore(instance, 'it was never upgraded')
      if (last.kind === majorUpgradeKind) return undoMajor(principal, instance, last, plan, idempotency)
      const subject = await servers.load(instance.id)
      const {from, imageAskedBefore: imageAsked} = last.input
      const resolved = await resolveVersion(subject.engine, subject.runtime, from, options.platform, imageAsked)
      refuseWaiting(instance, resolved)
      return inPlace(principal, subject, {to: from, image: resolved.image, imageAsked, undoes: last.id}, plan, idempotency)
    },
  }
}

/** What a change of size asks for before it is begun: whether it is possible, and how it would be done. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {BodyOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type InstanceRecord, type ParameterLayers} from '../../../core/instance/instance.js'
import {resolveSize, sameSize, type InstanceSize} from '../../../core/instance/sizes.js'
import {formatBytes} from '../../../core/units.js'
import type {ServiceContext} from '../context.js'
import type {Idempotency, Planned, ScalingApi, Started} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {rollDeadlineSeconds, rollPlan, rollStepNames} from '../roll-steps.js'
import {repeated, submit} from '../submit.js'
import {admitCpu, admitMemory, serverOverheadBytes} from './admission.js'
import type {Catalogues} from './catalogues.js'
import {restartGap} from './lifecycle.workflows.js'
import {scaleKind, type ScaleInput} from './scale.workflow.js'
import type {InstancesService} from './service.js'
import type {Subject} from '../subject.js'
import type {Servers} from './servers.js'

export function createScaling(options: {
  context: ServiceContext; servers: Servers; catalogues: Catalogues; instances: InstancesService
  workflow: (kind: string) => {readonly order: readonly string[]; readonly deadlineSeconds: number}
}): ScalingApi {
  const {context, servers, catalogues, instances} = options
  const {store} = context

  /** Size and built-in template follow the new size; what was set by hand, and a template of somebody's own, stay as they are. */
  function layersFor({engine, instance}: Subject, size: InstanceSize): ParameterLayers {
    const builtIn = instance.template === null ? undefined : engine.config.templates[instance.template]
    return {
      size: engine.config.fromSize(size, instance.version),
      template: builtIn ? builtIn.parameters(size) : instance.layers.template,
      user: instance.layers.user,
    }
  }

  /** The size is of each server. Throws INSUFFICIENT_CPU, INSUFFICIENT_MEMORY, INVALID_SIZE, INVALID_PARAMETER_VALUE. */
  async function refuseImpossible(subject: Subject, size: InstanceSize, layers: ParameterLayers): Promise<void> {
    const {instance, engine, runtime} = subject
    const facts = await runtime.facts()
    if (size.cpu > instance.size.cpu) admitCpu(size, facts)
    if (size.storage_bytes < instance.size.storage_bytes) {
      const used = Math.max(...await Promise.all((await servers.all(instance.id)).map(async (each) => (await each.runtime.usage(each.placement))?.diskBytes ?? 0)))
      if (used > size.storage_bytes) {
        throw new DbaasError('INVALID_SIZE', `${instance.name} takes ${formatBytes(used)} of disk, more than ${formatBytes(size.storage_bytes)}`, {
          details: {used_bytes: String(used), storage_bytes: String(size.storage_bytes)}, suggestions: [`--storage ${formatBytes(used * 1.2).replace(' ', '')}`],
        })
      }
    }
    const [now, then] = [effectiveParameters(instance.layers), effectiveParameters(layers)]
    const {before, after} = await runtime.scratch.use(instance, async ({host}) => ({
      before: await engine.config.memoryNeeded(host, now, instance.version), after: await engine.config.memoryNeeded(host, then, instance.version),
    }))
    if (after !== undefined && after + serverOverheadBytes > size.memory_bytes) {
      const byHand = Object.keys(layers.user)
      throw new DbaasError('INSUFFICIENT_MEMORY', `the server would need ${formatBytes(after + serverOverheadBytes)} to start, more than ${formatBytes(size.memory_bytes)}`, {
        details: {needed_bytes: String(after + serverOverheadBytes), memory_bytes: String(size.memory_bytes)},
        suggestions: byHand.length > 0 ? [`dbaas config unset ${instance.name} ${byHand.join(' ')}`, 'choose a larger --memory'] : ['choose a larger --memory'],
      })
    }
    const {length} = await servers.all(instance.id)
    if (instance.wanted === 'running') admitMemory(length * ((after ?? 0) - (before ?? 0)), facts, 'choose a smaller --size or --memory')
    await catalogues.check(engine, runtime, instance, {...layers.template, ...layers.user}, then, instance.name)
  }

  async function how(subject: Subject, layers: ParameterLayers): Promise<ScaleInput['how']> {
    const {instance, engine, runtime} = subject
    if (instance.wanted !== 'running') return 'next-start'
    const [now, then] = [effectiveParameters(instance.layers), effectiveParameters(layers)]
    const changed = [...new Set([...Object.keys(now), ...Object.keys(then)])].filter((name) => now[name] !== then[name])
    const catalogue = await catalogues.of(engine, runtime, instance)
    return changed.some((name) => catalogue.get(name)?.requires === 'restart') ? 'restart' : 'live'
  }

  const whyNot = (instance: InstanceRecord): DbaasError | undefined =>
    ['running', 'degraded', 'stopped'].includes(instance.status) ? undefined : new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so it cannot be scaled`, {
      details: {instance: instance.name, status: instance.status}, suggestions: [`dbaas status ${instance.name}`],
    })

  async function scale(principal: Principal, ref: string, body: BodyOf<'instances.scale'>, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    authorize(principal, 'scale', `instance/${ref}`)
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await instances.get(principal, before.instanceId ?? ref)}
    const instance = await instances.find(principal, ref)
    const {plan, ...request} = body
    if (Object.keys(request).length === 0) {
      throw new DbaasError('INVALID_REQUEST', 'say what to change: size, cpu, memory or storage', {suggestions: [`dbaas scale ${instance.name} --size medium`]})
    }
    const refusal = whyNot(instance)
    if (refusal) throw refusal
    const size = resolveSize(request, instance.size)
    const subject = await servers.load(instance.id)
    const layers = layersFor(subject, size)
    if (!sameSize(size, instance.size)) await refuseImpossible(subject, size, layers)
    const way = await how(subject, layers)
    const flow = options.workflow(scaleKind)
    const isCluster = context.clusters.owns(instance.id)
    if (plan && isCluster && way === 'restart') return {plan: planView(rollPlan(await context.clusters.rolling.plan(instance.id, {layers, size})))}
    if (plan) {
      const typical = await store.read('platform', (tx) => tx.measurements.typical(restartGap(instance.engine)))
      const [live, restart] = [['grow-limits', 'reload', 'shrink-limits'], ['checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready']]
      const skipped: readonly string[] = [...rollStepNames, ...(way === 'restart' ? live : way === 'live' ? restart : [...live, ...restart])]
      return {plan: planView({
        steps: flow.order.filter((step) => !skipped.includes(step)), impact: way === 'restart' ? 'restart' : way === 'live' ? 'reload' : 'none',
        expected_downtime_ms: way !== 'restart' ? 0 : typical === undefined ? null : Math.round(typical),
      })}
    }
    const operation = await store.transact({tenant: principal.tenantId}, async (tx) => {
      const fresh = await tx.instances.find(instance.id)
      const changed = fresh ? whyNot(fresh) : new DbaasError('INSTANCE_NOT_FOUND', `there is no instance "${ref}"`)
      if (changed) throw changed
      return submit(context, tx, principal, {
        kind: scaleKind, instanceId: instance.id, resource: `instance/${instance.name}`,
        input: {instanceId: instance.id, size: {...size}, layers: {...layers}, how: way}, start: flow.order[0] as string, deadlineSeconds: isCluster ? rollDeadlineSeconds : flow.deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await instances.get(principal, instance.id)}
  }

  return {scale}
}

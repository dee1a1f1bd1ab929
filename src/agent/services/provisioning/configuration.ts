/** Parameters of an instance: as they are, as asked for, and their change. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiParameter, ApiParameterReading, BodyOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import type {ParameterDefinition} from '../../../core/config/parameters.js'
import {effectiveParameters, type InstanceRecord, type ParameterLayers} from '../../../core/instance/instance.js'
import type {Engine} from '../../../engines/engine.js'
import type {ServiceContext} from '../context.js'
import type {ConfigurationApi, Idempotency, Planned, Started} from '../contract.js'
import {admitMemory} from './admission.js'
import {canonicalNames, type Catalogues} from './catalogues.js'
import {reconfigureKind, type ReconfigureInput} from './reconfigure.workflow.js'
import {restartGap} from './lifecycle.workflows.js'
import type {InstancesService} from './service.js'
import type {Servers} from './servers.js'
import {operationView, planView} from '../operation-view.js'
import {rollDeadlineSeconds, rollPlan, rollStepNames} from '../roll-steps.js'
import {repeated, submit} from '../submit.js'
import {layersFor, type Templates} from './templates.js'
import {resolveVersion} from '../versions.js'

export function createConfigurationService(options: {
  context: ServiceContext; servers: Servers; catalogues: Catalogues; templates: Templates; instances: InstancesService; platform: string
  workflow: (kind: string) => {readonly order: readonly string[]; readonly deadlineSeconds: number}
}): ConfigurationApi {
  const {context, servers, catalogues, templates, instances} = options
  const {store} = context

  /** Who asked for each value, for the `source` column. */
  function sourcesOf(layers: ParameterLayers): Map<string, string> {
    const sources = new Map<string, string>()
    for (const layer of ['size', 'template', 'user'] as const) {
      for (const name of Object.keys(layers[layer])) sources.set(name, layer)
    }
    return sources
  }

  async function readings(instance: InstanceRecord): Promise<ReadonlyMap<string, ApiParameterReading>> {
    const engine = context.engines.get(instance.engine)
    const sources = sourcesOf(instance.layers)
    if (instance.wanted === 'running' && instance.status !== 'provisioning') {
      const {host} = await servers.load(instance.id)
      const live = await engine.config.read(host, await servers.admin(), sources)
      return new Map([...live].map(([name, r]) => [name, {
        value: r.value, unit: r.unit, source: r.source, default: r.default, requires: r.requires, pending_restart: r.pendingRestart,
      }]))
    }
    // a stopped server cannot be asked: what it will start with
    const catalogue = await catalogues.of(engine, context.runtimes.get(instance.runtime), instance)
    const asked = effectiveParameters(instance.layers)
    return new Map([...catalogue.values()].map((d) => [d.name, {
      value: asked[d.name] ?? d.default ?? '', unit: d.unit, source: sources.get(d.name) ?? (d.managed ? 'managed' : 'default'),
      default: d.default, requires: d.requires, pending_restart: false,
    }]))
  }

  async function definitionsOf(engineName: string, version: string): Promise<{engine: Engine; version: string; catalogue: ReadonlyMap<string, ParameterDefinition>}> {
    const engine = context.engines.get(engineName)
    const runtime = context.runtimes.get(context.runtimes.default)
    const resolved = await resolveVersion(engine, runtime, version, options.platform)
    return {engine, version: resolved.version, catalogue: await catalogues.of(engine, runtime, resolved)}
  }

  const parameterView = (d: ParameterDefinition): ApiParameter => ({...d, values: d.values ? [...d.values] : null})

  async function update(
    principal: Principal, ref: string, body: BodyOf<'configuration.update'>, idempotency: Idempotency | undefined,
  ): Promise<Started | Planned> {
    authorize(principal, 'configure', `instance/${ref}`)
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await instances.get(principal, before.instanceId ?? ref)}
    const instance = await instances.find(principal, ref)
    const subject = await servers.load(instance.id)
    const {engine, runtime} = subject
    const set = canonicalNames(body.set ?? {})
    const unset = (body.unset ?? []).map((name) => name.toLowerCase())
    for (const name of unset) {
      if (Object.hasOwn(set, name)) throw new DbaasError('INVALID_REQUEST', `${name} is both set and unset`)
    }
    const user = {...instance.layers.user, ...set}
    const catalogue = await catalogues.of(engine, runtime, instance)
    for (const name of unset) {
      catalogues.definitionOf(engine, catalogue, instance.version, name, instance.name)
      delete user[name]
    }
    const template = body.template === undefined ? instance.template : body.template
    const layers: ParameterLayers = body.template === undefined
      ? {...instance.layers, user}
      : await layersFor({engine, size: instance.size, version: instance.version, template, user, templates, principal})
    const asked = effectiveParameters(layers)
    await catalogues.check(engine, runtime, instance, {...(body.template === undefined ? {} : layers.template), ...set}, asked, instance.name)

    const now = effectiveParameters(instance.layers)
    const changed = [...new Set([...Object.keys(now), ...Object.keys(asked)])].filter((name) => now[name] !== asked[name])
    const serving = instance.wanted === 'running'
    const restart = changed.some((name) => catalogue.get(name)?.requires === 'restart')
    const requires: ReconfigureInput['requires'] = !serving || changed.length === 0 ? 'none' : restart ? 'restart' : 'reload'
    // A server that cannot get its memory would be stopped, fail to start, and be put back: an outage for nothing.
    if (requires === 'restart') {
      const added = await runtime.scratch.use(instance, async ({host}) => {
        const [before, after] = [await engine.config.memoryNeeded(host, now, instance.version), await engine.config.memoryNeeded(host, asked, instance.version)]
        return (after ?? 0) - (before ?? 0)
      })
      const {length} = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
      admitMemory(added * length, await runtime.facts(), `lower ${changed.join(', ')}`)
    }
    const flow = options.workflow(reconfigureKind)
    const isRolled = requires === 'restart' && context.clusters.owns(instance.id)
    if (body.plan && isRolled) return {plan: planView(rollPlan(await context.clusters.rolling.plan(instance.id, {layers})))}
    if (body.plan) {
      const typical = await store.read('platform', (tx) => tx.measurements.typical(restartGap(engine.name)))
      const skipped: readonly string[] = [...rollStepNames, ...(requires === 'restart' ? ['reload'] : requires === 'reload' ? ['checkpoint', 'restart-server'] : ['reload', 'checkpoint', 'restart-server'])]
      return {plan: planView({
        steps: flow.order.filter((step) => !skipped.includes(step)), impact: requires,
        expected_downtime_ms: requires === 'restart' ? (typical === undefined ? null : Math.round(typical)) : 0,
      })}
    }
    if (instance.status === 'deleting' || instance.status === 'provisioning') {
      throw new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so it cannot be configured`, {suggestions: [`dbaas status ${instance.name}`]})
    }
    const operation = await store.transact({tenant: principal.tenantId}, (tx) => {
      const input: ReconfigureInput = {instanceId: instance.id, layers, template, changed, requires}
      return submit(context, tx, principal, {
        kind: reconfigureKind, instanceId: instance.id, resource: `instance/${instance.name}`,
        input: {instanceId: instance.id, layers: {...layers}, template, changed, requires: input.requires},
        start: flow.order[0] as string, deadlineSeconds: isRolled ? rollDeadlineSeconds : flow.deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await instances.get(principal, instance.id)}
  }

  return {
    update,
    async get(principal, ref, {all}) {
      authorize(principal, 'read', `instance/${ref}`)
      const instance = await instances.find(principal, ref)
      const every = await readings(instance)
      return Object.fromEntries([...every].filter(([, r]) => all || r.source !== 'default').sort(([a], [b]) => (a < b ? -1 : 1)))
    },
    async diff(principal, ref, other) {
      authorize(principal, 'read', `instance/${ref}`)
      const instance = await instances.find(principal, ref)
      const left = await readings(instance)
      let right: (name: string) => string | null
      let names: Iterable<string>
      if (other === undefined || other === 'defaults') {
        right = (name) => left.get(name)?.default ?? null
        // what the agent sets (port, files of certificates) is nobody's choice
        names = [...left].filter(([, reading]) => reading.source !== 'managed').map(([name]) => name)
      } else if (other.startsWith('template:')) {
        const engine = context.engines.get(instance.engine)
        const values = await templates.resolve(principal, engine, other.slice('template:'.length), instance.size)
        right = (name) => values[name] ?? null
        names = Object.keys(values)
      } else {
        const readingsOfOther = await readings(await instances.find(principal, other))
        right = (name) => readingsOfOther.get(name)?.value ?? null
        names = new Set([...left.keys(), ...readingsOfOther.keys()])
      }
      const engine = context.engines.get(instance.engine)
      const catalogue = await catalogues.of(engine, context.runtimes.get(instance.runtime), instance)
      return [...names].sort().flatMap((name) => {
        const reading = left.get(name)
        const definition = catalogue.get(name)
        const theirs = right(name)
        const ours = reading?.value ?? null
        // a template says 64MB where the server says 65536 of 1 kB: the same
        const same = ours === theirs || (definition !== undefined && ours !== null && theirs !== null && engine.config.sameValue(definition, theirs, ours))
        return same || reading?.requires === 'fixed' ? [] : [{name, left: ours, right: theirs, unit: reading?.unit ?? null}]
      })
    },
    async parameters(principal, engineName, version) {
      authorize(principal, 'read', `engine/${engineName}`)
      const {catalogue} = await definitionsOf(engineName, version)
      return [...catalogue.values()].map(parameterView)
    },
    async parameter(principal, engineName, version, name) {
      authorize(principal, 'read', `engine/${engineName}`)
      const found = await definitionsOf(engineName, version)
      return parameterView(catalogues.definitionOf(found.engine, found.catalogue, found.version, name.toLowerCase()))
    },
    templates: (principal, engine) => templates.list(principal, engine),
    template: (principal, engine, name) => templates.get(principal, engine, name),
    saveTemplate: (principal, engine, name, body) => templates.save(principal, engine, name, body),
    deleteTemplate: (principal, engine, name) => templates.delete(principal, engine, name),
  }
}

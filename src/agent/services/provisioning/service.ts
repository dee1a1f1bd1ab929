/** The door of provisioning: instances and their lives. One method for each endpoint; all work is in the workflows. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiInstance, BodyOf, CreateBody, QueryOf} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, instanceStatuses, type InstanceRecord, type NodeRecord} from '../../../core/instance/instance.js'
import {wantedOf, type HaState} from '../../../core/ha/state.js'
import {checkName, whyNotAName} from '../../../core/instance/names.js'
import {resolveSize} from '../../../core/instance/sizes.js'
import {nearest} from '../../../core/nearest.js'
import {parseTime} from '../../../core/time.js'
import type {Workflow} from '../../../core/workflow/workflow.js'
import type {Engine} from '../../../engines/engine.js'
import type {SiteFacts} from '../../runtimes/runtime.js'
import type {Tx} from '../../store/store.js'
import {mustSupportReplicas} from '../clusters.js'
import type {ServiceContext} from '../context.js'
import type {Idempotency, InstancesApi, Planned, Started} from '../contract.js'
import {admit} from './admission.js'
import {canonicalNames, type Catalogues} from './catalogues.js'
import {createKind, replicaSteps, type CreateInput} from './create.workflow.js'
import {deleteKind, type DeleteInput} from './delete.workflow.js'
import type {Leases} from './leases.js'
import {restartGap, restartKind, startKind, stopKind} from './lifecycle.workflows.js'
import {freeEndpointPort, freeNodePort} from './ports.js'
import type {Servers} from './servers.js'
import {operationView, planView} from '../operation-view.js'
import {rollDeadlineSeconds, rollPlan, rollStepNames} from '../roll-steps.js'
import {repeated, submit} from '../submit.js'
import {checkStatus} from '../statuses.js'
import {layersFor, type Templates} from './templates.js'
import {resolveVersion} from '../versions.js'
import {instanceView} from './views.js'

export interface InstancesOptions {
  readonly context: ServiceContext
  readonly servers: Servers
  readonly catalogues: Catalogues
  readonly templates: Templates
  readonly leases: Leases
  readonly platform: string
  /** Steps of a kind, for its plan. */
  readonly workflow: (kind: string) => Pick<Workflow<never, Tx>, 'order' | 'deadlineSeconds'>
}

const loopback = '127.0.0.1'
/** Of a restart, what only instances of several servers go through. */
const clusterSteps: readonly string[] = [...rollStepNames, 'finish', 'restart-cluster']
/** Setting: the runtimes that an instance was ever made on. */
export const runtimesUsed = 'runtimes.used'
const factsKeptMs = 2000
/** Of a runtime that has not answered yet. */
function unknownFacts(because: string): SiteFacts {
  const limit = {enforced: false, because}
  return {
    platform: 'unknown', cpus: 0, memoryTotalBytes: 0, memoryAvailableBytes: 0, diskFreeBytes: 0, serverUser: 'unknown',
    limits: {cpu: limit, memory: limit, storage: limit},
  }
}

const maxSqlRows = 10_000
const defaultSqlSeconds = 60

export type InstancesService = InstancesApi & {
  view(instance: InstanceRecord, nodes: readonly NodeRecord[]): Promise<ApiInstance>
  /** With the nodes that the store has now. */
  withNodes(instance: InstanceRecord): Promise<ApiInstance>
  /** Throws INSTANCE_NOT_FOUND, with the nearest name. */
  find(principal: Principal, ref: string): Promise<InstanceRecord>
}

export function createInstancesService(options: InstancesOptions): InstancesService {
  const {context, servers, catalogues, templates, leases} = options
  const {store, clock} = context
  const scopeOf = (principal: Principal) => ({tenant: principal.tenantId})

  /** Which limits hold changes with the machine's set-up, not from one request to the next. Admission looks anew. */
  const seen = new Map<string, {at: number; facts: Promise<SiteFacts>}>()
  const known = new Map<string, SiteFacts>()
  function factsOf(runtime: string): Promise<SiteFacts> {
    const kept = seen.get(runtime)
    const now = clock.now()
    if (kept && now - kept.at < factsKeptMs) return kept.facts
    // what was known of a runtime that does not answer is still the best there is to show
    const facts = context.runtimes.get(runtime).facts().catch(async (error: unknown) => {
      if (!(error instanceof DbaasError) || error.code !== 'RUNTIME_UNAVAILABLE') throw error
      return known.get(runtime) ?? unknownFacts(error.message)
    })
    seen.set(runtime, {at: now, facts})
    facts.then((answer) => known.set(runtime, answer), () => seen.delete(runtime))
    return facts
  }

  async function view(instance: InstanceRecord, nodes: readonly NodeRecord[]): Promise<ApiInstance> {
    return instanceView(instance, nodes, {
      protection: await context.protection.of(instance), facts: await factsOf(instance.runtime), caFile: context.certificates.caFile,
      cluster: await context.clusters.viewOf(instance.id),
      nodeOf: (node) => {
        const {host, runtime} = servers.subjectOf(instance, node)
        return {facts: context.clusters.factsOf(instance.id, node.id), address: host.address(), ...runtime.identify(node.status === 'running' ? node.runtimeRef : null)}
      },
    })
  }

  async function find(principal: Principal, ref: string): Promise<InstanceRecord> {
    const {found, names} = await store.read(scopeOf(principal), async (tx) => {
      const instance = await tx.instances.find(ref)
      return {found: instance, names: instance ? [] : (await tx.instances.list()).map((i) => i.name)}
    })
    if (found) return found
    const near = nearest(ref, names)
    throw new DbaasError('INSTANCE_NOT_FOUND', `there is no instance "${ref}"`, {
      details: {instance: ref, ...(near ? {nearest: near} : {})},
      suggestions: near ? [`did you mean ${near}?`, 'dbaas list'] : ['dbaas list', ...(whyNotAName(ref) === undefined ? [`dbaas create ${ref}`] : [])],
    })
  }

  async function withNodes(instance: InstanceRecord): Promise<ApiInstance> {
    return view(instance, await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id)))
  }

  /** A lifecycle verb: refuse what the state does not allow, or plan, or store the operation. */
  async function lifecycle(
    principal: Principal, ref: string, kind: string, plan: boolean | undefined, idempotency: Idempotency | undefined,
    rule: {action: string; impact: 'none' | 'restart'; whyNot(instance: InstanceRecord): DbaasError | undefined; downtime?(instance: InstanceRecord): Promise<number | null>
      patch(instance: InstanceRecord): Partial<InstanceRecord>; input?(instance: InstanceRecord): object; reversible?: boolean; start?: string},
  ): Promise<Started | Planned> {
    authorize(principal, rule.action, `instance/${ref}`)
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await withNodes(await find(principal, before.instanceId ?? ref))}
    const instance = await find(principal, ref)
    const refusal = rule.whyNot(instance)
    if (refusal) throw refusal
    const flow = options.workflow(kind)
    const order = flow.order.slice(rule.start === undefined ? 0 : flow.order.indexOf(rule.start))
    const isRolled = kind === restartKind && context.clusters.owns(instance.id)
    if (plan && isRolled) return {plan: planView(rollPlan(await context.clusters.rolling.plan(instance.id, null)))}
    if (plan) {
      return {plan: planView({
        steps: order.filter((step) => !clusterSteps.includes(step)), impact: rule.impact,
        expected_downtime_ms: rule.downtime ? await rule.downtime(instance) : 0, reversible: rule.reversible ?? true,
      })}
    }
    const operation = await store.transact(scopeOf(principal), async (tx) => {
      const fresh = await tx.instances.find(instance.id)
      if (!fresh) throw new DbaasError('INSTANCE_NOT_FOUND', `there is no instance "${ref}"`)
      const changed = rule.whyNot(fresh)
      if (changed) throw changed
      await tx.instances.update(instance.id, {...rule.patch(fresh), updatedAt: clock.now()})
      return submit(context, tx, principal, {
        kind, instanceId: instance.id, resource: `instance/${instance.name}`, input: {instanceId: instance.id, ...rule.input?.(fresh)},
        start: order[0] as string, deadlineSeconds: isRolled ? rollDeadlineSeconds : flow.deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await withNodes(await find(principal, instance.id))}
  }

  function whyNoFinalBackup(instance: InstanceRecord): DbaasError | undefined {
    const engine = context.engines.get(instance.engine)
    if (!engine.backup) return new DbaasError('NOT_SUPPORTED', `${engine.title} cannot be backed up yet`, {details: {engine: engine.name}, suggestions: [`dbaas delete ${instance.name}`]})
    return instance.wanted === 'running' ? undefined : wrongState(instance, 'backed up before it is deleted', `dbaas start ${instance.name}`)
  }

  const wrongState = (instance: InstanceRecord, what: string, suggestion: string): DbaasError =>
    new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so it cannot be ${what}`, {
      details: {instance: instance.name, status: instance.status}, suggestions: [suggestion],
    })

  async function create(principal: Principal, body: CreateBody, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    authorize(principal, 'create', 'instance')
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await withNodes(await find(principal, before.instanceId ?? body.name))}
    context.mayChange()
    checkName(body.name)
    const engine = context.engines.get(body.engine ?? context.engines.names[0] ?? '')
    const runtime = context.runtimes.get(body.runtime ?? context.runtimes.default)
    const size = resolveSize(body)
    if (body.protected && body.ttl_seconds !== undefined) {
      throw new DbaasError('INVALID_REQUEST', 'a protected instance cannot expire: give --protect or --ttl, not both', {
        details: {name: body.name}, suggestions: [`dbaas create ${body.name} --protect`, `dbaas create ${body.name} --ttl 1h`],
      })
    }
    if (body.lease && (body.protected || body.ttl_seconds !== undefined)) {
      throw new DbaasError('INVALID_REQUEST', 'a leased instance lives as long as its lease: it can be neither protected nor given a time to live', {
        details: {name: body.name}, suggestions: ['leave "lease" away, or "protected" and "ttl_seconds"'],
      })
    }
    if (await store.read(scopeOf(principal), (tx) => tx.instances.find(body.name))) {
      throw new DbaasError('NAME_IN_USE', `there already is an instance "${body.name}"`, {
        details: {name: body.name}, suggestions: [`dbaas status ${body.name}`, 'choose another name'],
      })
    }
    if (body.repository !== undefined) await context.protection.checkRepository(body.repository)
    const resolved = await resolveVersion(engine, runtime, body.version, options.platform, body.image ?? null)
    const {version} = resolved
    const whyNotPublish = await runtime.whyNotPublish(body.publish_address ?? null)
    if (whyNotPublish !== undefined) {
      throw new DbaasError('INVALID_REQUEST', whyNotPublish, {
        details: {runtime: runtime.name, ...(body.publish_address === undefined ? {} : {publish_address: body.publish_address})},
        suggestions: [body.publish_address === undefined ? `dbaas create ${body.name} --runtime ${runtime.name} --publish-address ADDRESS` : 'leave --publish-address away'],
      })
    }
    const topology = topologyOf(body, engine)
    const servers = 1 + topology.replicas
    const plainLayers = await layersFor({engine, size, version, template: body.template, user: canonicalNames(body.parameters ?? {}), templates, principal})
    const layers = topology.replicas === 0 ? plainLayers : {...plainLayers, size: {...plainLayers.size, ...engine.replication?.parameters(size, version)}}
    const asked = {...layers.template, ...layers.user}
    const facts = await runtime.facts()
    // the quick refusal first: reading a catalogue may take a server start
    admit(size, 0, facts)
    const unchecked = !resolved.installed && Object.keys(asked).length > 0
    if (resolved.installed && Object.keys(asked).length > 0) {
      await catalogues.check(engine, runtime, resolved, asked, effectiveParameters(layers))
      const needed = await runtime.scratch.use({engine: engine.name, version, image: resolved.image}, ({host}) => engine.config.memoryNeeded(host, effectiveParameters(layers), version))
      admit(size, servers * (needed ?? size.memory_bytes / 4), facts, Object.keys(asked))
    } else {
      admit(size, servers * size.memory_bytes / 4, facts)
    }
    if (body.port !== undefined && !(await runtime.isPortFree(body.port))) {
      throw new DbaasError('PORT_IN_USE', `port ${body.port} is taken`, {
        details: {port: String(body.port)}, suggestions: ['leave --port away to get a free one', 'choose another --port'],
      })
    }
    const flow = options.workflow(createKind)
    const steps = flow.order.filter((step) => topology.replicas > 0 || !replicaSteps.includes(step))
    if (body.plan) return {plan: planView({steps, impact: 'none', expected_downtime_ms: 0, reversible: true})}

    const now = clock.now()
    const instanceId = context.newId('instance')
    const nodeIds = Array.from({length: servers}, () => context.newId('node'))
    for (let attempt = 0; ; attempt++) {
      const endpointPort = body.port ?? (await freeEndpointPort(context, runtime))
      const nodePorts: number[] = []
      while (nodePorts.length < servers) nodePorts.push(await freeNodePort(context, runtime, nodePorts))
      const instance: InstanceRecord = {
        id: instanceId, tenantId: principal.tenantId, name: body.name, engine: engine.name, version, runtime: runtime.name,
        image: resolved.image, imageAsked: body.image ?? null, publishAddress: body.publish_address ?? loopback, leased: body.lease ?? false,
        status: 'provisioning', statusReason: null, wanted: 'running', size, template: body.template ?? null, layers,
        endpointHost: loopback, endpointPort, database: engine.defaultDatabase, username: engine.defaultUsername,
        incarnation: context.newId('event').slice(4), protected: body.protected ?? false,
        expiresAt: body.ttl_seconds === undefined ? null : now + body.ttl_seconds * 1000, createdAt: now, updatedAt: now,
      }
      const nodes = nodeIds.map((id, i): NodeRecord => ({
        id, tenantId: principal.tenantId, instanceId, name: `${body.name}-${i + 1}`, role: i === 0 ? 'primary' : 'replica', wanted: 'running', status: 'absent',
        statusReason: null, port: nodePorts[i] as number, runtimeRef: null, createdAt: now, updatedAt: now,
      }))
      try {
        const operation = await store.transact(scopeOf(principal), async (tx) => {
          const used = new Set((await tx.settings.get(runtimesUsed))?.split(','))
          if (!used.has(runtime.name)) await tx.settings.put(runtimesUsed, [...used, runtime.name].join(','))
          await tx.instances.insert(instance)
          await context.protection.enrol(tx, instance, {enabled: body.backup ?? true, repository: body.repository})
          await tx.ports.reserve({tenantId: principal.tenantId, port: endpointPort, ownerId: instanceId})
          for (const node of nodes) {
            await tx.nodes.insert(node)
            await tx.ports.reserve({tenantId: principal.tenantId, port: node.port, ownerId: node.id})
          }
          await tx.secrets.put(principal.tenantId, instanceId, 'password', context.randomSecret())
          const input: CreateInput = {instanceId, portIsFixed: body.port !== undefined, unchecked, wanted: topology.wanted}
          return submit(context, tx, principal, {
            kind: createKind, instanceId, resource: `instance/${body.name}`, input: {...input}, start: flow.order[0] as string,
            deadlineSeconds: flow.deadlineSeconds,
          }, idempotency)
        })
        context.poke()
        return {operation: operationView(operation), instance: await view(instance, nodes)}
      } catch (error) {
        // two creates may have seen the same port free
        if (body.port !== undefined || attempt >= 20 || !(error instanceof DbaasError) || error.code !== 'PORT_IN_USE') throw error
      }
    }
  }

  /** The place says what the store says. Not worth a failure: the next start writes it again. */
  async function relabel(instanceId: string): Promise<void> {
    try {
      const {runtime, placement} = await servers.load(instanceId)
      await runtime.label(placement)
    } catch (error) {
      context.log('a place could not be labelled', {instance: instanceId, error: String(error)})
    }
  }

  return {
    view,
    withNodes,
    find,
    create,
    async list(principal, query: QueryOf<'instances.list'>) {
      authorize(principal, 'list', 'instance')
      const engine = query?.engine === undefined ? undefined : context.engines.get(query.engine).name
      if (query?.status !== undefined) checkStatus(query.status, instanceStatuses)
      const {instances, nodes} = await store.read(scopeOf(principal), async (tx) => ({instances: await tx.instances.list(), nodes: await tx.nodes.list()}))
      const ofInstance = new Map<string, NodeRecord[]>()
      for (const node of nodes) ofInstance.set(node.instanceId, [...(ofInstance.get(node.instanceId) ?? []), node])
      const wanted = instances.filter((i) => engine === undefined || i.engine === engine)
      const views = await Promise.all(wanted.map((i) => view(i, ofInstance.get(i.id) ?? [])))
      // what is shown is more than what is stored: a broken promise degrades
      return views.filter((i) => query?.status === undefined || i.status === query.status)
    },
    async get(principal, ref) {
      authorize(principal, 'read', `instance/${ref}`)
      return withNodes(await find(principal, ref))
    },
    async update(principal, ref, body: BodyOf<'instances.update'>) {
      authorize(principal, 'update', `instance/${ref}`)
      context.mayChange()
      const instance = await find(principal, ref)
      if (instance.leased) {
        throw new DbaasError('INVALID_STATE', `${instance.name} lives as long as its lease: it can be neither protected nor given a time to live`, {
          details: {instance: instance.name}, suggestions: ['dbaas create NAME makes one that stays'],
        })
      }
      const isProtected = body.protected ?? instance.protected
      const expiresAt = body.ttl_seconds === undefined ? instance.expiresAt : body.ttl_seconds === null ? null : clock.now() + body.ttl_seconds * 1000
      if (isProtected && expiresAt !== null) {
        throw new DbaasError('INVALID_REQUEST', `${instance.name} cannot both be protected and expire`, {
          suggestions: [`dbaas protect ${instance.name} --no-ttl`, `dbaas unprotect ${instance.name}`],
        })
      }
      if (body.plan) return {plan: planView({steps: ['update'], impact: 'none'})}
      await store.transact(scopeOf(principal), async (tx) => {
        await tx.instances.update(instance.id, {protected: isProtected, expiresAt, updatedAt: clock.now()})
        await tx.audit({
          id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source,
          action: 'instances.update', resource: `instance/${instance.name}`, result: 'succeeded', requestId: principal.requestId,
          details: {protected: String(isProtected), expires_at: expiresAt === null ? 'never' : String(expiresAt)},
        })
      })
      await relabel(instance.id)
      return {instance: await withNodes(await find(principal, instance.id))}
    },
    delete: (principal, ref, {plan, keep_backups: keep, final_backup: final}, idempotency) => lifecycle(principal, ref, deleteKind, plan, idempotency, {
      action: 'delete', impact: 'restart', reversible: false, start: final ? 'final-backup' : 'close-endpoint',
      whyNot: (i) => final && whyNoFinalBackup(i) ? whyNoFinalBackup(i) : i.protected
        ? new DbaasError('INSTANCE_PROTECTED', `${i.name} is protected against deletion`, {details: {instance: i.name}, suggestions: [`dbaas unprotect ${i.name}`]})
        : i.status === 'deleting' ? wrongState(i, 'deleted again', `dbaas operations list --instance ${i.name}`) : undefined,
      downtime: async () => null,
      patch: () => ({status: 'deleting'}),
      input: (i): Omit<DeleteInput, 'instanceId'> => ({keep: keep ? 'all' : final ? 'final' : 'none', before: i.status === 'running' || i.status === 'degraded' || i.status === 'failed' ? i.status : i.wanted}),
    }),
    start: (principal, ref, {plan}, idempotency) => lifecycle(principal, ref, startKind, plan, idempotency, {
      action: 'start', impact: 'none',
      whyNot: (i) => (i.status === 'deleting' || i.status === 'provisioning' ? wrongState(i, 'started', `dbaas status ${i.name}`) : undefined),
      patch: () => ({wanted: 'running'}),
    }),
    stop: (principal, ref, {plan}, idempotency) => lifecycle(principal, ref, stopKind, plan, idempotency, {
      action: 'stop', impact: 'restart',
      whyNot: (i) => (i.status === 'deleting' || i.status === 'provisioning' ? wrongState(i, 'stopped', `dbaas status ${i.name}`) : undefined),
      downtime: async () => null,
      patch: () => ({wanted: 'stopped'}),
    }),
    restart: (principal, ref, {plan}, idempotency) => lifecycle(principal, ref, restartKind, plan, idempotency, {
      action: 'restart', impact: 'restart',
      whyNot: (i) => (['deleting', 'provisioning'].includes(i.status) ? wrongState(i, 'restarted', `dbaas status ${i.name}`)
        : i.wanted === 'stopped' ? wrongState(i, 'restarted', `dbaas start ${i.name}`) : undefined),
      downtime: async (i) => roundOrNull(await store.read('platform', (tx) => tx.measurements.typical(restartGap(i.engine)))),
      patch: () => ({wanted: 'running'}),
    }),
    async lease(principal, ref, signal) {
      authorize(principal, 'update', `instance/${ref}`)
      const instance = await find(principal, ref)
      if (!instance.leased) {
        throw new DbaasError('INVALID_STATE', `${instance.name} has no lease: it stays until it is deleted`, {
          details: {instance: instance.name}, suggestions: [`dbaas delete ${instance.name}`],
        })
      }
      return leases.hold(instance.id, signal)
    },
    async credentials(principal, ref) {
      authorize(principal, 'connect', `instance/${ref}`)
      const instance = await find(principal, ref)
      const client = await servers.clientOf(instance)
      const engine = context.engines.get(instance.engine)
      const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
      await store.transact(scopeOf(principal), (tx) => tx.audit({
        id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source,
        action: 'instances.credentials', resource: `instance/${instance.name}`, result: 'succeeded', requestId: principal.requestId, details: {},
      }))
      return {
        engine: instance.engine, scheme: engine.scheme, host: instance.endpointHost, port: instance.endpointPort, database: instance.database,
        username: instance.username, password: client.password, read_only: (await context.clusters.viewOf(instance.id))?.readOnlyEndpoint ?? null,
        direct: nodes.toSorted((a, b) => a.role.localeCompare(b.role)).map((n) => servers.subjectOf(instance, n).host.address()),
        ca_file: context.certificates.caFile, ca_certificate: context.certificates.caCertificate, tls_server_name: 'localhost',
      }
    },
    async sql(principal, ref, body: BodyOf<'instances.sql'>, signal) {
      authorize(principal, 'query', `instance/${ref}`)
      context.mayChange()
      const instance = await find(principal, ref)
      if (instance.wanted !== 'running' || instance.status === 'provisioning') throw wrongState(instance, 'queried', `dbaas start ${instance.name}`)
      let at: {host: string; port: number} | undefined
      if (body.node !== undefined) {
        const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
        const node = nodes.find((n) => n.name === body.node || n.id === body.node)
        if (!node) {
          throw new DbaasError('NODE_NOT_FOUND', `${instance.name} has no node "${body.node}"`, {
            details: {node: body.node, nodes: nodes.map((n) => n.name).join(', ')}, suggestions: nodes.map((n) => `--node ${n.name}`),
          })
        }
        at = servers.subjectOf(instance, node).host.address()
      }
      await store.transact(scopeOf(principal), (tx) => tx.audit({
        id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source,
        action: 'instances.sql', resource: `instance/${instance.name}`, result: 'allowed', requestId: principal.requestId,
        details: body.node ? {node: body.node} : {},
      }))
      const engine = context.engines.get(instance.engine)
      const result = await engine.access.query(await servers.clientOf(instance, at), body.statement, {
        timeoutMs: (body.timeout_seconds ?? defaultSqlSeconds) * 1000, maxRows: maxSqlRows, signal,
      })
      return {
        columns: result.columns.map((c) => ({...c})), rows: result.rows.map((r) => [...r]), row_count: result.rowCount,
        command: result.command, truncated: result.truncated,
      }
    },
    async logs(principal, ref, query: QueryOf<'instances.logs'>, signal) {
      authorize(principal, 'read', `instance/${ref}`)
      const instance = await find(principal, ref)
      const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
      const node = query?.node === undefined ? nodes[0] : nodes.find((n) => n.name === query.node || n.id === query.node)
      if (!node) {
        throw new DbaasError('NODE_NOT_FOUND', `${instance.name} has no node "${query?.node ?? ''}"`, {suggestions: nodes.map((n) => `--node ${n.name}`)})
      }
      const {engine, runtime, placement} = servers.subjectOf(instance, node)
      const since = query?.since === undefined ? undefined : parseTime(query.since, clock.now())
      const lines = runtime.logs(placement, {
        follow: query?.follow ?? false, signal, ...(query?.lines === undefined ? {} : {lines: query.lines}),
      })
      return since === undefined ? lines : newerThan(lines, since, engine.logTime)
    },
  }
}

/** How many servers beside the primary, and how many of them confirm. Throws INVALID_REQUEST, NOT_SUPPORTED. */
function topologyOf(body: CreateBody, engine: Engine): {replicas: number; wanted: HaState['wanted'] | null} {
  const replicas = body.replicas ?? (body.high_availability ? 2 : 0)
  if (body.high_availability && replicas === 0) {
    throw new DbaasError('INVALID_REQUEST', 'high availability needs a replica at least', {details: {replicas: '0'}, suggestions: [`dbaas create ${body.name} --ha`, `dbaas create ${body.name}`]})
  }
  if (replicas === 0) return {replicas, wanted: null}
  mustSupportReplicas(engine, 'leave --ha and --replicas away')
  return {replicas, wanted: body.high_availability ? wantedOf(replicas) : {k: 0, voters: 0}}
}

const roundOrNull = (value: number | undefined): number | null => (value === undefined ? null : Math.round(value))

/** Lines without a time of their own (continuations) belong to the line before. */
async function* newerThan(lines: AsyncIterable<string>, since: number, timeOf: (line: string) => number | undefined): AsyncIterable<string> {
  let within = false
  for await (const line of lines) {
    const at = timeOf(line)
    if (at !== undefined) within = at >= since
    if (within) yield line
  }
}

/** What people may ask of a cluster: another primary, and its replicas. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import {phases, wantedOf} from '../../../core/ha/state.js'
import {DbaasError} from '../../../core/errors.js'
import type {ApiInstance} from '../../../core/api/schemas.js'
import type {InstanceRecord, NodeRecord} from '../../../core/instance/instance.js'
import type {Runtime} from '../../runtimes/runtime.js'
import {mustSupportReplicas} from '../clusters.js'
import type {ServiceContext} from '../context.js'
import type {HighAvailabilityApi, Idempotency, InstancesApi, Planned, Started} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated, submit} from '../submit.js'
import {replicasKind, type ReplicasInput} from './replicas.workflow.js'
import type {ChangeRequest, HighAvailability} from './service.js'

export interface ChangesOptions {
  readonly context: ServiceContext
  readonly clusters: HighAvailability
  readonly instances: Pick<InstancesApi, 'get'> & {find(principal: Principal, ref: string): Promise<InstanceRecord>; withNodes(instance: InstanceRecord): Promise<ApiInstance>}
  readonly drill: HighAvailabilityApi['drill']
  readonly flow: {readonly order: readonly string[]; readonly deadlineSeconds: number}
  /** One that is free, and none of those. */
  freePort(runtime: Runtime, taken: readonly number[]): Promise<number>
}

export function createChanges({context, clusters, instances, drill, flow, freePort}: ChangesOptions): HighAvailabilityApi {
  const {store} = context

  /** `asked`: how a node is named in the command that was typed. */
  async function nodeOf(instance: InstanceRecord, ref: string, asked: (name: string) => string): Promise<string> {
    const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
    const node = nodes.find(({id, name}) => id === ref || name === ref)
    if (node) return node.id
    throw new DbaasError('NODE_NOT_FOUND', `${instance.name} has no node "${ref}"`, {details: {node: ref, nodes: nodes.map(({name}) => name).join(', ')}, suggestions: nodes.map(({name}) => asked(name))})
  }

  function mustHaveReplicas(instance: InstanceRecord): void {
    if (clusters.owns(instance.id)) return
    throw new DbaasError('INVALID_STATE', `${instance.name} has one server only`, {details: {instance: instance.name}, suggestions: [`dbaas scale ${instance.name} --ha`]})
  }

  async function change(principal: Principal, ref: string, what: Omit<ChangeRequest, 'preferred'> & {to: string | undefined; asked?: (name: string) => string; plan: boolean | undefined}, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    authorize(principal, what.kind, `instance/${ref}`)
    const instance = await instances.find(principal, ref)
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await instances.withNodes(instance)}
    context.mayChange()
    mustHaveReplicas(instance)
    const preferred = what.to === undefined ? null : await nodeOf(instance, what.to, what.asked ?? ((name) => `--to ${name}`))
    const steps = phases.filter((phase) => phase !== 'abort' && (phase !== 'stop' || what.kind === 'switchover'))
    if (what.plan) return {plan: planView({steps, impact: 'failover', expected_downtime_ms: null, reversible: true})}
    const {kind, force, allowDataLoss, because} = what
    const operation = await clusters.change(instance.id, {kind, force, allowDataLoss, because, preferred}, {
      principal,
      also: async (tx, {id}) => {
        if (!idempotency) return
        await tx.idempotency.put({tenantId: principal.tenantId, principalId: principal.id, key: idempotency.key, fingerprint: idempotency.fingerprint, operationId: id, at: context.clock.now()})
      },
    })
    return {operation: operationView(operation), instance: await instances.withNodes(await instances.find(principal, instance.id))}
  }

  function topologyOf(instance: InstanceRecord): {replicas: number; highAvailability: boolean} {
    const state = clusters.watch(instance.id)?.cluster.state
    return {replicas: state ? Object.keys(state.nodes).length - 1 : 0, highAvailability: (state?.wanted.k ?? 0) > 0}
  }

  async function reshape(principal: Principal, instance: InstanceRecord, to: {replicas: number; highAvailability: boolean; without: string | null}, plan: boolean | undefined, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    authorize(principal, 'scale', `instance/${instance.name}`)
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await instances.withNodes(instance)}
    context.mayChange()
    const runtime = context.runtimes.get(instance.runtime)
    mustSupportReplicas(context.engines.get(instance.engine), `dbaas clone ${instance.name} NEW`)
    if (instance.wanted !== 'running' || !['running', 'degraded'].includes(instance.status)) {
      throw new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so its replicas cannot be changed`, {details: {instance: instance.name, status: instance.status}, suggestions: [`dbaas start ${instance.name}`]})
    }
    if (to.highAvailability && to.replicas === 0) {
      const isLast = to.without !== null
      throw new DbaasError(isLast ? 'INVALID_STATE' : 'INVALID_REQUEST', isLast ? `it is the last replica of ${instance.name}, which has high availability` : 'high availability needs a replica at least', {
        details: {instance: instance.name}, suggestions: [`dbaas scale ${instance.name} --no-ha`],
      })
    }
    const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
    const primary = clusters.watch(instance.id)?.cluster.state.primary ?? nodes[0]?.id
    if (to.without !== null && to.without === primary) {
      throw new DbaasError('INVALID_STATE', `it is the primary of ${instance.name}`, {details: {instance: instance.name}, suggestions: [`dbaas switchover ${instance.name}`]})
    }
    const replicas = nodes.filter(({id}) => id !== primary)
    const removed = to.without !== null ? [to.without] : replicas.slice(to.replicas).map(({id}) => id)
    const missing = Math.max(0, to.replicas - replicas.length)
    const skipped = [...(missing === 0 ? ['prepare-primary', 'add-replicas', 'enrol'] : []), ...(removed.length === 0 ? ['retire', 'remove-replicas'] : [])]
    if (plan) return {plan: planView({steps: flow.order.filter((step) => !skipped.includes(step)), impact: 'none', expected_downtime_ms: 0, reversible: true})}
    const added: NodeRecord[] = []
    const now = context.clock.now()
    for (let number = 1; added.length < missing; number++) {
      const name = `${instance.name}-${number}`
      if (nodes.some((node) => node.name === name)) continue
      const port = await freePort(runtime, added.map((node) => node.port))
      added.push({
        id: context.newId('node'), tenantId: instance.tenantId, instanceId: instance.id, name, role: 'replica', wanted: 'running', status: 'absent', statusReason: null, port, runtimeRef: null, createdAt: now, updatedAt: now,
      })
    }
    const input: ReplicasInput = {
      instanceId: instance.id, added: added.map(({id}) => id), removed, wanted: to.highAvailability ? wantedOf(to.replicas) : {k: 0, voters: 0},
      was: clusters.watch(instance.id)?.cluster.state.wanted ?? null,
    }
    const operation = await store.transact({tenant: principal.tenantId}, async (tx) => {
      const open = (await tx.operations.openOfInstance(instance.id)).find(({kind}) => kind === replicasKind)
      if (open) throw new DbaasError('INVALID_STATE', `the replicas of ${instance.name} are being changed`, {details: {operation_id: open.id}, suggestions: [`dbaas operations wait ${open.id}`]})
      for (const node of added) {
        await tx.nodes.insert(node)
        await tx.ports.reserve({tenantId: instance.tenantId, port: node.port, ownerId: node.id})
      }
      return submit(context, tx, principal, {
        kind: replicasKind, instanceId: instance.id, resource: `instance/${instance.name}`, input: {...input, added: [...input.added], removed: [...removed], wanted: {...input.wanted}, was: input.was && {...input.was}},
        start: missing > 0 ? 'prepare-primary' : 'retire', deadlineSeconds: flow.deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation), instance: await instances.withNodes(await instances.find(principal, instance.id))}
  }

  const switchover = (principal: Principal, ref: string, to: string | undefined, plan: boolean | undefined, idempotency: Idempotency | undefined, asked?: (name: string) => string) =>
    change(principal, ref, {kind: 'switchover', force: false, allowDataLoss: false, because: `${principal.id} asked for it`, to, plan, ...(asked ? {asked} : {})}, idempotency)

  return {
    async failover(principal, ref, body, idempotency) {
      const instance = await instances.find(principal, ref)
      if (body.allow_data_loss !== undefined && body.allow_data_loss !== instance.name) {
        throw new DbaasError('CONFIRMATION_REQUIRED', `the name that was typed is "${body.allow_data_loss}", and the instance is ${instance.name}`, {suggestions: [`dbaas failover ${instance.name} --allow-data-loss`]})
      }
      const watch = clusters.watch(instance.id)
      const isWell = watch?.seen !== undefined && !watch.seen.view.diagnosis.failover && watch.cluster.state.operation === null
      if (isWell && !body.force && body.allow_data_loss === undefined && !body.plan) {
        throw new DbaasError('INVALID_STATE', `the primary of ${instance.name} is not lost: ${watch?.seen?.view.diagnosis.kind}`, {
          details: {instance: instance.name}, suggestions: [`dbaas switchover ${instance.name}`, `dbaas failover ${instance.name} --force`],
        })
      }
      return change(principal, ref, {
        kind: 'failover', force: body.force ?? false, allowDataLoss: body.allow_data_loss !== undefined, because: `${principal.id} asked for it`, to: body.to, plan: body.plan,
      }, idempotency)
    },
    switchover: (principal, ref, body, idempotency) => switchover(principal, ref, body.to, body.plan, idempotency),
    promote: (principal, ref, body, idempotency) => switchover(principal, ref, body.node, body.plan, idempotency, (name) => `dbaas promote ${ref} ${name}`),
    replicas: async (principal, ref) => (await instances.get(principal, ref)).nodes.filter((node) => node.role === 'replica'),
    async scale(principal, ref, {high_availability: ha, replicas, plan, ...size}, idempotency) {
      const instance = await instances.find(principal, ref)
      if (Object.keys(size).length > 0) {
        throw new DbaasError('NOT_SUPPORTED', 'another size and other replicas at once are not possible yet', {details: {feature: 'high-availability'}, suggestions: ['change one after the other']})
      }
      const now = topologyOf(instance)
      const isHa = ha ?? now.highAvailability
      const count = replicas ?? (isHa ? Math.max(2, now.replicas) : now.replicas)
      return reshape(principal, instance, {replicas: count, highAvailability: isHa, without: null}, plan, idempotency)
    },
    async addReplicas(principal, ref, {count, plan}, idempotency) {
      const instance = await instances.find(principal, ref)
      const now = topologyOf(instance)
      return reshape(principal, instance, {replicas: now.replicas + (count ?? 1), highAvailability: now.highAvailability, without: null}, plan, idempotency)
    },
    async removeReplica(principal, ref, node, {plan}, idempotency) {
      const instance = await instances.find(principal, ref)
      mustHaveReplicas(instance)
      const now = topologyOf(instance)
      return reshape(principal, instance, {replicas: now.replicas - 1, highAvailability: now.highAvailability, without: await nodeOf(instance, node, (name) => `dbaas replicas remove ${instance.name} ${name}`)}, plan, idempotency)
    },
    drill,
  }
}

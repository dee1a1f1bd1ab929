/** What people may ask of a cluster: another primary, and its replicas. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import {phases} from '../../../core/ha/state.js'
import {DbaasError} from '../../../core/errors.js'
import type {ApiInstance} from '../../../core/api/schemas.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {ServiceContext} from '../context.js'
import type {HighAvailabilityApi, Idempotency, InstancesApi, Planned, Started} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated} from '../submit.js'
import type {ChangeRequest, HighAvailability} from './service.js'

const absent = (what: string): DbaasError => new DbaasError('NOT_SUPPORTED', `${what} of an instance that is there is not possible yet`, {
  details: {feature: 'high-availability'}, suggestions: ['dbaas create NAME --ha'],
})

export interface ChangesOptions {
  readonly context: ServiceContext
  readonly clusters: HighAvailability
  readonly instances: Pick<InstancesApi, 'get'> & {find(principal: Principal, ref: string): Promise<InstanceRecord>; withNodes(instance: InstanceRecord): Promise<ApiInstance>}
  readonly drill: HighAvailabilityApi['drill']
}

export function createChanges({context, clusters, instances, drill}: ChangesOptions): HighAvailabilityApi {
  const {store} = context

  async function nodeOf(instance: InstanceRecord, ref: string): Promise<string> {
    const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
    const node = nodes.find(({id, name}) => id === ref || name === ref)
    if (node) return node.id
    throw new DbaasError('NODE_NOT_FOUND', `${instance.name} has no node "${ref}"`, {details: {node: ref, nodes: nodes.map(({name}) => name).join(', ')}, suggestions: nodes.map(({name}) => `--to ${name}`)})
  }

  function mustHaveReplicas(instance: InstanceRecord): void {
    if (clusters.owns(instance.id)) return
    throw new DbaasError('INVALID_STATE', `${instance.name} has one server only`, {details: {instance: instance.name}, suggestions: [`dbaas scale ${instance.name} --ha`]})
  }

  async function change(principal: Principal, ref: string, what: Omit<ChangeRequest, 'preferred'> & {to: string | undefined; plan: boolean | undefined}, idempotency: Idempotency | undefined): Promise<Started | Planned> {
    authorize(principal, what.kind, `instance/${ref}`)
    const instance = await instances.find(principal, ref)
    const before = await repeated(context, principal, idempotency)
    if (before) return {operation: operationView(before), instance: await instances.withNodes(instance)}
    context.mayChange()
    mustHaveReplicas(instance)
    const preferred = what.to === undefined ? null : await nodeOf(instance, what.to)
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

  const switchover = (principal: Principal, ref: string, to: string | undefined, plan: boolean | undefined, idempotency: Idempotency | undefined) =>
    change(principal, ref, {kind: 'switchover', force: false, allowDataLoss: false, because: `${principal.id} asked for it`, to, plan}, idempotency)

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
    promote: (principal, ref, body, idempotency) => switchover(principal, ref, body.node, body.plan, idempotency),
    replicas: async (principal, ref) => (await instances.get(principal, ref)).nodes.filter((node) => node.role === 'replica'),
    async scale(principal, ref) {
      await instances.get(principal, ref)
      throw absent('a change of the replicas')
    },
    async addReplicas(principal, ref) {
      await instances.get(principal, ref)
      throw absent('a change of the replicas')
    },
    async removeReplica(principal, ref) {
      await instances.get(principal, ref)
      throw absent('a change of the replicas')
    },
    drill,
  }
}

/** What is promised and not there yet: refused for what it is, once it is sure that the caller may see the instance at all. */
import {authorize} from '../../core/access/principal.js'
import type {Principal} from '../../core/access/principal.js'
import {DbaasError} from '../../core/errors.js'
import type {HighAvailabilityApi, InstancesApi, Planned, Started} from './contract.js'

const absent = (what: string): DbaasError => new DbaasError('NOT_SUPPORTED', `${what}: an instance has one server here, as yet`, {
  details: {feature: 'high-availability'}, suggestions: ['leave --ha and --replicas away'],
})

/** An instance has its primary and no replica. */
export function noHighAvailability(instances: Pick<InstancesApi, 'get'>): HighAvailabilityApi {
  const refuse = (what: string) => async (principal: Principal, ref: string): Promise<Started | Planned> => {
    throw absent(`${(await instances.get(principal, ref)).name} ${what}`)
  }
  return {
    scale: refuse('cannot be given replicas'), addReplicas: refuse('cannot be given replicas'),
    failover: refuse('cannot fail over'), switchover: refuse('cannot change its primary'), promote: refuse('cannot change its primary'),
    drill: refuse('cannot fail over'), removeReplica: refuse('has no replica to remove'),
    replicas: async (principal, ref) => (await instances.get(principal, ref)).nodes.filter((node) => node.role === 'replica'),
  }
}

export const refusingReplicas = <T extends InstancesApi>(instances: T): T => ({
  ...instances,
  async create(principal, body, idempotency) {
    authorize(principal, 'create', 'instance')
    if (body.high_availability || (body.replicas ?? 0) > 0) throw absent(`${body.name} cannot be given replicas`)
    return instances.create(principal, body, idempotency)
  },
})

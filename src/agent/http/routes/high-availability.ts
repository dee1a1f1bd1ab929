import type {ApiCluster, ApiInstance} from '../../../core/api/schemas.js'
import {ok, planned} from '../handler.js'
import type {HandlersOf} from '../handler.js'

export const highAvailabilityRoutes = {
  'replicas.list': async ({principal, params}, {highAvailability}) => ok({replicas: await highAvailability.replicas(principal, params.instance)}),
  'replicas.add': async ({principal, params, body, idempotency}, {highAvailability}) =>
    planned(await highAvailability.addReplicas(principal, params.instance, body, idempotency)),
  'replicas.remove': async ({principal, params, query, idempotency}, {highAvailability}) =>
    planned(await highAvailability.removeReplica(principal, params.instance, params.node, query, idempotency)),
  'clusters.get': async ({principal, params}, {instances}) => ok({cluster: clusterView(await instances.get(principal, params.instance))}),
} satisfies HandlersOf<'replicas' | 'clusters'>

/** An instance is a cluster of its own id. */
const clusterView = ({id, nodes, status, created_at, updated_at}: ApiInstance): ApiCluster => ({
  id, status, created_at, updated_at,
  primary_id: nodes.find((node) => node.role === 'primary')?.id ?? null,
  replicas: nodes.filter((node) => node.role === 'replica').map((node) => ({
    id: node.id, cluster_id: id, type: node.sync_state, status: node.status, endpoint: node.endpoint, lag_bytes: node.lag_bytes, last_sync: node.last_sync,
  })),
})

/** Records as the API shows them (CLI.md, JSON shapes). Pure. */
import type {ApiInstance, ApiNode} from '../../../core/api/schemas.js'
import {effectiveParameters, type InstanceRecord, type NodeRecord} from '../../../core/instance/instance.js'
import {isoTime} from '../../../core/time.js'
import type {SiteFacts} from '../../runtimes/runtime.js'

/** Backups come with a later release; until then nobody may read "healthy" into "running". */
export const notProtected = 'not protected: no backups are taken yet'

const isoOrNull = (ms: number | null): string | null => (ms === null ? null : isoTime(ms))

/** Where a node is, and what a person calls its server. */
export interface NodePlace {
  readonly address: {readonly host: string; readonly port: number}
  readonly pid: number | null
  readonly container: string | null
  readonly pod: string | null
}

export function nodeView(node: NodeRecord, {address, pid, container, pod}: NodePlace): ApiNode {
  return {
    id: node.id, name: node.name, role: node.role, sync_state: 'none', status: node.status, status_reason: node.statusReason,
    wanted_status: node.wanted, endpoint: {...address}, timeline: null, lsn: null,
    lag_bytes: null, lag_seconds: null, last_sync: null, pid, container, pod,
  }
}

export function instanceView(instance: InstanceRecord, nodes: readonly NodeRecord[], site: {facts: SiteFacts; caFile: string; nodeOf(node: NodeRecord): NodePlace}): ApiInstance {
  const reachable = instance.status !== 'provisioning'
  return {
    id: instance.id, name: instance.name, tenant_id: instance.tenantId, engine: instance.engine, version: instance.version,
    status: instance.status, status_reason: instance.statusReason, wanted_status: instance.wanted, runtime: instance.runtime,
    image: instance.image === null ? null : {reference: instance.image.reference, digest: instance.image.digest, id: instance.image.id},
    size: {...instance.size},
    limits: {cpu: {...site.facts.limits.cpu}, memory: {...site.facts.limits.memory}, storage: {...site.facts.limits.storage}},
    endpoint: reachable ? {host: instance.endpointHost, port: instance.endpointPort} : null,
    read_only_endpoint: null, database: instance.database, username: instance.username, high_availability: false,
    nodes: nodes.map((node) => nodeView(node, site.nodeOf(node))),
    backup: {enabled: false, reason: 'no backups are taken yet'},
    configuration: {
      engine: instance.engine, version: instance.version, parameters: {...effectiveParameters(instance.layers)}, template: instance.template,
      security_config: {tls_enabled: true, encryption_at_rest: false, customer_managed_key: null, network_acl: []},
    },
    tls: {min_version: 'TLSv1.3', ca_file: site.caFile},
    protected: instance.protected, leased: instance.leased, expires_at: isoOrNull(instance.expiresAt),
    created_at: isoTime(instance.createdAt), updated_at: isoTime(instance.updatedAt),
  }
}

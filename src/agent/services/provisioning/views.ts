/** Records as the API shows them (CLI.md, JSON shapes). Pure. */
import type {ApiInstance, ApiNode} from '../../../core/api/schemas.js'
import {effectiveParameters, type InstanceRecord, type NodeRecord} from '../../../core/instance/instance.js'
import {isoTime} from '../../../core/time.js'
import type {ClusterFacts, NodeFacts} from '../clusters.js'
import type {SiteFacts} from '../../runtimes/runtime.js'

const isoOrNull = (ms: number | null): string | null => (ms === null ? null : isoTime(ms))

/** Where a node is, and what a person calls its server. */
export interface NodePlace {
  readonly address: {readonly host: string; readonly port: number}
  readonly pid: number | null
  readonly container: string | null
  readonly pod: string | null
  /** Undefined: it is the only one. */
  readonly facts?: NodeFacts | undefined
}

export function nodeView(node: NodeRecord, {address, pid, container, pod, facts}: NodePlace): ApiNode {
  return {
    id: node.id, name: node.name, role: node.role, sync_state: facts?.sync_state ?? 'none', status: node.status, status_reason: node.statusReason,
    wanted_status: node.wanted, endpoint: {...address}, timeline: facts?.timeline ?? null, lsn: facts?.lsn ?? null,
    lag_bytes: facts?.lag_bytes ?? null, lag_seconds: facts?.lag_seconds ?? null, last_sync: isoOrNull(facts?.lastSync ?? null), pid, container, pod,
  }
}

export interface Surroundings {
  readonly facts: SiteFacts
  readonly caFile: string
  /** What is true of its backups; `broken`: a promise of theirs, so that it is degraded (DECISIONS.md 13). */
  readonly protection: {readonly backup: ApiInstance['backup']; readonly broken: string | null}
  /** Null: it has one server. */
  readonly cluster: ClusterFacts | null
  nodeOf(node: NodeRecord): NodePlace
}

export function instanceView(instance: InstanceRecord, nodes: readonly NodeRecord[], site: Surroundings): ApiInstance {
  const reachable = instance.status !== 'provisioning'
  const {backup, broken} = site.protection
  const shown = instance.status === 'running' && broken !== null ? ({status: 'degraded', status_reason: broken} as const) : {status: instance.status, status_reason: reasonOf(instance, backup)}
  return {
    id: instance.id, name: instance.name, tenant_id: instance.tenantId, engine: instance.engine, version: instance.version,
    ...shown, wanted_status: instance.wanted, runtime: instance.runtime,
    image: instance.image === null ? null : {reference: instance.image.reference, digest: instance.image.digest, id: instance.image.id},
    size: {...instance.size},
    limits: {cpu: {...site.facts.limits.cpu}, memory: {...site.facts.limits.memory}, storage: {...site.facts.limits.storage}},
    endpoint: reachable ? {host: instance.endpointHost, port: instance.endpointPort} : null,
    read_only_endpoint: reachable && site.cluster?.readOnlyEndpoint ? {...site.cluster.readOnlyEndpoint} : null, database: instance.database, username: instance.username, high_availability: site.cluster?.highAvailability ?? false,
    nodes: nodes.map((node) => nodeView(node, site.nodeOf(node))),
    replication: site.cluster?.replication ?? null,
    backup,
    configuration: {
      engine: instance.engine, version: instance.version, parameters: {...effectiveParameters(instance.layers)}, template: instance.template,
      security_config: {tls_enabled: true, encryption_at_rest: false, customer_managed_key: null, network_acl: []},
    },
    tls: {min_version: 'TLSv1.3', ca_file: site.caFile},
    protected: instance.protected, leased: instance.leased, expires_at: isoOrNull(instance.expiresAt),
    created_at: isoTime(instance.createdAt), updated_at: isoTime(instance.updatedAt),
  }
}

/** What lies in the way of protection; one that has backups is not unprotected by what has its grace. */
const said = ({enabled, last_backup_at, reason}: ApiInstance['backup']): string | null =>
  reason === null || (enabled && last_backup_at !== null) ? reason : `${enabled ? 'not protected yet' : 'not protected'}: ${reason}`

/** Nobody may read "healthy" into "running" where nothing is kept of what is written. */
const reasonOf = (instance: InstanceRecord, backup: ApiInstance['backup']): string | null =>
  instance.statusReason ?? (instance.status === 'running' ? said(backup) : null)

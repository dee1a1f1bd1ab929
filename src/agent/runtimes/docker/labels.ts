/**
 * What containers, volumes and networks say about themselves, for `docker ps --filter label=…`, and for a store that
 * has to be rebuilt. Docker never changes a label: what may change of a placement is also kept in a file on the volume.
 */
import type {Placement} from '../runtime.js'

const prefix = 'io.dbaas'

export const labels = {
  site: `${prefix}.site`,
  role: `${prefix}.role`,
  tenant: `${prefix}.tenant`,
  node: `${prefix}.node`,
  instance: `${prefix}.instance`,
  instanceName: `${prefix}.instance-name`,
  engine: `${prefix}.engine`,
  version: `${prefix}.version`,
  created: `${prefix}.created`,
  placement: `${prefix}.placement`,
  /** Of what a server's container is made; another one is made when it differs. */
  recipe: `${prefix}.recipe`,
} as const

/**
 * `server` and `data`: a node's container and volume. `tool`: a container in which programs run on a volume. `scratch`:
 * everything of a scratch place. `probe`: looks into an image. The last three live only as long as their agent needs them.
 */
export type Role = 'server' | 'data' | 'network' | 'tool' | 'scratch' | 'probe'

export type Labels = Readonly<Record<string, string>>

export const labelsOfSite = (siteId: string, role: Role, nodeId?: string): Record<string, string> => ({
  [labels.site]: siteId, [labels.role]: role, ...(nodeId === undefined ? {} : {[labels.node]: nodeId}),
})

/** No secret is in a placement. */
export const labelsOfNode = (siteId: string, role: Role, placement: Placement): Record<string, string> => ({
  ...labelsOfSite(siteId, role, placement.nodeId),
  [labels.tenant]: placement.tenantId,
  [labels.instance]: placement.instanceId,
  [labels.instanceName]: placement.instanceName,
  [labels.engine]: placement.engine,
  [labels.version]: placement.version,
  [labels.created]: new Date(placement.facts.createdAt).toISOString(),
  [labels.placement]: JSON.stringify(placement),
})

export const labelsOfNetwork = (siteId: string, tenantId: string): Record<string, string> => ({
  ...labelsOfSite(siteId, 'network'), [labels.tenant]: tenantId,
})

/** Undefined when it is missing, damaged, or of another node than it says. */
export function parsePlacement(text: string | undefined, nodeId: string): Placement | undefined {
  try {
    const value = JSON.parse(text ?? '') as Placement | null
    return value?.nodeId === nodeId && typeof value.instanceId === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/** For the `filters` of a list: what carries all of the given labels; null for any value. */
export const filterBy = (wanted: Readonly<Record<string, string | null>>): {label: string[]} => ({
  label: Object.entries(wanted).map(([key, value]) => (value === null ? key : `${key}=${value}`)),
})

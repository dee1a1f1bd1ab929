/**
 * What containers, volumes and networks are called: something a person understands in `docker ps`, with a piece of hash
 * that keeps sites, tenants and nodes of the same name apart. Derived, so that nothing has to be looked up.
 */
import {createHash} from 'node:crypto'
import type {Placement} from '../runtime.js'

/** Docker allows `[a-zA-Z0-9][a-zA-Z0-9_.-]*`. */
const clean = (text: string): string => text.replace(/[^a-zA-Z0-9_.-]+/g, '-')

const hash = (...parts: readonly string[]): string => createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 6)

/** Of a node's container, and of its volume: `dbaas-shop-1-3f9a2c`. */
export const nameOfNode = (siteId: string, {nodeId, nodeName}: Pick<Placement, 'nodeId' | 'nodeName'>): string =>
  `dbaas-${clean(nodeName)}-${hash(siteId, nodeId)}`

/** Of the container in which programs run on the node's volume while its server does not. */
export const nameOfTool = (name: string): string => `${name}-tool`

/** The network that a tenant's instances are on, and that its clients may join: `dbaas-default-81b2d0`. */
export const nameOfNetwork = (siteId: string, tenantId: string): string => `dbaas-${clean(tenantId)}-${hash(siteId, tenantId)}`

/** The names that clients on that network reach the instance by, whichever of its servers that is, and this very server; its certificate has all. */
export const aliasesOf = ({instanceName, nodeName, tenantId}: Pick<Placement, 'instanceName' | 'nodeName' | 'tenantId'>): string[] =>
  [instanceName, `${instanceName}.${tenantId}.dbaas.internal`, `${nodeName}.${instanceName}.${tenantId}.dbaas.internal`]

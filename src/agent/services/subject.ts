/** A node with everything needed to act on it, and what acts on it. Shared by the services that move servers. */
import type {InstanceRecord, NodeRecord, ParameterValues} from '../../core/instance/instance.js'
import type {AdminCredentials, Engine, ServerSettings} from '../../engines/engine.js'
import type {Host} from '../../engines/host.js'
import type {Route} from '../endpoints/endpoint.js'
import type {Store, Tx} from '../store/store.js'
import type {Observation, Placement, Runtime} from '../runtimes/runtime.js'
import {removeChange} from './node-changes.js'

export interface Subject {
  readonly instance: InstanceRecord
  readonly node: NodeRecord
  readonly engine: Engine
  readonly runtime: Runtime
  readonly placement: Placement
  readonly host: Host
}

/** Of provisioning, what a cluster needs. */
export interface SubjectServers {
  subjectOf(instance: InstanceRecord, node: NodeRecord): Subject
  /** The instance's primary, as the store has it now. Throws INSTANCE_NOT_FOUND. */
  load(instanceId: string): Promise<Subject>
  /** All nodes of the instance, the primary first. Each with its instance as the node has it (node-changes.ts). */
  all(instanceId: string): Promise<Subject[]>
  observe(subject: Subject): Promise<Observation>
  admin(): Promise<AdminCredentials>
  settingsOf(subject: Subject, values?: ParameterValues): Promise<ServerSettings>
  /** Throws what the server's log says when it ended instead, DATABASE_UNAVAILABLE, and the signal's reason. */
  awaitReady(subject: Subject, signal: AbortSignal, progress: (because: string) => void): Promise<void>
  /** Points the endpoint at the server. `hold` lets new connections wait. */
  route(subject: Subject, mode: 'open' | 'hold' | 'closed'): Promise<void>
}

/** The way of clients to it. Who is held in vain, or cannot be let through, is told in the engine's own words. */
export const routeTo = ({instance: {id, name, endpointHost, endpointPort}, engine: {wire}, host}: Pick<Subject, 'instance' | 'engine' | 'host'>, mode: Route['mode']): Route => ({
  id, listen: {host: endpointHost, port: endpointPort}, target: mode === 'closed' ? null : host.address(), mode, allow: [],
  refusal: wire.refusal(`${name} has no server that can be written to now`, `why, and what to do: dbaas status ${name}`),
})

/** Name of what makes a server keep its log for the archive: lower-case letters, digits and underscores. */
export const holdOf = (incarnation: string): string => `dbaas_${incarnation.replaceAll('-', '_')}`

/** Removes every row of a node. */
export async function forgetNode(tx: Tx, id: string): Promise<void> {
  await tx.secrets.removeAll(id)
  await tx.ports.release(id)
  await removeChange(tx, id)
  await tx.nodes.remove(id)
}

/** What its server keeps of its log for histories that have ended: nobody will ever follow them again. */
export async function releaseFormerHolds(store: Pick<Store, 'read'>, {instance, engine, host}: Pick<Subject, 'instance' | 'engine' | 'host'>, admin: AdminCredentials): Promise<void> {
  const ended = (await store.read('platform', (tx) => tx.histories.list(instance.id))).filter(({endedAt}) => endedAt !== null)
  for (const {id} of ended) await engine.backup?.log.release(host, admin, holdOf(id))
}

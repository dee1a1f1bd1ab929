import type {InstanceSize} from './sizes.js'

/** What a user sees (CLI.md). `maintenance` is serving inside a maintenance or upgrade operation. */
export const instanceStatuses = ['provisioning', 'running', 'degraded', 'maintenance', 'stopped', 'failed', 'deleting'] as const
export type InstanceStatus = (typeof instanceStatuses)[number]

/** What the owner asked for; reconciliation drives the node towards it. */
export type WantedStatus = 'running' | 'stopped'

export const nodeStatuses = ['starting', 'running', 'stopped', 'failed', 'absent'] as const
export type NodeStatus = (typeof nodeStatuses)[number]

export type ParameterValues = Readonly<Record<string, string>>

/**
 * Where each asked-for value comes from, lowest layer first: the later wins. `size` is derived from memory and CPU,
 * `template` is a snapshot taken when the template was applied (editing the template later changes no instance),
 * `user` is what was set by hand.
 */
export interface ParameterLayers {
  readonly size: ParameterValues
  readonly template: ParameterValues
  readonly user: ParameterValues
}

export const effectiveParameters = (layers: ParameterLayers): ParameterValues => ({
  ...layers.size, ...layers.template, ...layers.user,
})

/** The very image an instance runs from: the tag that was asked for may mean another one tomorrow. */
export interface ImagePin {
  /** As asked for: `postgres:18`. */
  readonly reference: string
  /** The registry's digest of it, `sha256:…`; null for an image that came from no registry. */
  readonly digest: string | null
  /** The engine's own id of it, `sha256:…`. */
  readonly id: string
  /** Folder of the server's programs in it. */
  readonly bin: string
  /** The server's user in it. */
  readonly uid: number
  readonly gid: number
}

/** What of an instance is kept with its place, so that a store that was lost can be rebuilt from what runs. */
export interface InstanceFacts {
  readonly template: string | null
  readonly layers: ParameterLayers
  readonly endpointPort: number
  readonly database: string
  readonly username: string
  readonly incarnation: string
  readonly protected: boolean
  readonly expiresAt: number | null
  readonly createdAt: number
}

/** The durable record of an instance, as the store keeps it. Times in milliseconds since the epoch. */
export interface InstanceRecord {
  readonly id: string
  readonly tenantId: string
  readonly name: string
  readonly engine: string
  /** Full version, `18.4`. */
  readonly version: string
  readonly runtime: string
  /** Null where the runtime has none, and until it is known. */
  readonly image: ImagePin | null
  /** The image that was asked for; null is the engine's official one. */
  readonly imageAsked: string | null
  /** The address that node ports are bound to. */
  readonly publishAddress: string
  /** It lives as long as somebody holds a stream to it open (`dbaas run`). */
  readonly leased: boolean
  readonly status: InstanceStatus
  readonly statusReason: string | null
  readonly wanted: WantedStatus
  readonly size: InstanceSize
  readonly template: string | null
  readonly layers: ParameterLayers
  readonly endpointHost: string
  readonly endpointPort: number
  readonly database: string
  readonly username: string
  /** One history of data (DECISIONS.md 9). */
  readonly incarnation: string
  readonly protected: boolean
  readonly expiresAt: number | null
  readonly createdAt: number
  readonly updatedAt: number
}

export interface NodeRecord {
  readonly id: string
  readonly tenantId: string
  readonly instanceId: string
  readonly name: string
  readonly role: 'primary' | 'replica'
  readonly wanted: WantedStatus
  readonly status: NodeStatus
  readonly statusReason: string | null
  /** Port the server listens on, in its place. */
  readonly port: number
  /** What the runtime needs to find the server again (process: pid and start time). Opaque above the runtime. */
  readonly runtimeRef: string | null
  readonly createdAt: number
  readonly updatedAt: number
}

/**
 * What a node is started with in the place of what its instance says, as long as the servers of an instance are changed one after the other
 * (ha/rolling.ts). Whoever loads a node sees its instance so; when the change is done the instance itself says it, and nothing is kept here.
 */
import type {ImagePin, InstanceRecord, NodeRecord, ParameterLayers} from '../../core/instance/instance.js'
import type {InstanceSize} from '../../core/instance/sizes.js'
import type {ReadTx, Tx} from '../store/store.js'

/** What is not named stays as the instance has it. */
export interface NodeChange {
  readonly size?: InstanceSize
  readonly layers?: ParameterLayers
  readonly version?: string
  readonly image?: ImagePin | null
}

export interface ChangedNode {
  /** Of which change. */
  readonly roll: string
  /** Milliseconds since the epoch: a server that was started later has it. */
  readonly since: number
  readonly change: NodeChange
}

const keyOf = (nodeId: string): string => `node-change:${nodeId}`

export async function changeOf(tx: ReadTx, nodeId: string): Promise<ChangedNode | undefined> {
  const text = await tx.settings.get(keyOf(nodeId))
  return text === undefined ? undefined : (JSON.parse(text) as ChangedNode)
}

export const putChange = (tx: Tx, nodeId: string, changed: ChangedNode): Promise<void> => tx.settings.put(keyOf(nodeId), JSON.stringify(changed))
export const removeChange = (tx: Tx, nodeId: string): Promise<void> => tx.settings.remove(keyOf(nodeId))

/** The instance as that node has it. */
export async function asNodeHasIt(tx: ReadTx, instance: InstanceRecord, node: Pick<NodeRecord, 'id'>): Promise<InstanceRecord> {
  const changed = await changeOf(tx, node.id)
  return changed ? {...instance, ...changed.change} : instance
}

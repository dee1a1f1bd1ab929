/** A placement for tests: everything a runtime is told of a node. */
import type {Placement} from '../../src/agent/runtimes/runtime.js'
import type {InstanceFacts} from '../../src/core/instance/instance.js'

const facts: InstanceFacts = {
  template: null, layers: {size: {}, template: {}, user: {}}, endpointPort: 15_432, database: 'app', username: 'app',
  incarnation: 'test', protected: false, expiresAt: null, createdAt: 1_700_000_000_000,
}

export const placementOf = (patch: Partial<Placement> & Pick<Placement, 'nodeId' | 'instanceId' | 'engine' | 'version' | 'port'>): Placement => ({
  nodeName: 'demo-1', instanceName: 'demo', tenantId: 'default', image: null, publishAddress: '127.0.0.1',
  size: {name: 'micro', cpu: 0.5, memory_bytes: 512 * 1024 ** 2, storage_bytes: 1024 ** 3}, facts, ...patch,
})

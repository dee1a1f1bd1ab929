/** What services are given by the composition root. Types only: concrete things meet in app.ts. */
import type {Principal} from '../../core/access/principal.js'
import type {IdKind} from '../../core/ids.js'
import type {Clock} from '../../core/time.js'
import type {Engine} from '../../engines/engine.js'
import type {Runtime} from '../runtimes/runtime.js'
import type {Endpoints} from '../endpoints/endpoint.js'
import type {Clusters} from './clusters.js'
import type {InstanceProtection} from './protection.js'
import type {Store} from '../store/store.js'

export interface ServiceContext {
  readonly store: Store
  readonly clock: Clock
  readonly newId: (kind: IdKind) => string
  readonly randomSecret: () => string
  readonly log: (message: string, facts?: Record<string, unknown>) => void
  readonly engines: {
    readonly names: readonly string[]
    /** Throws UNKNOWN_ENGINE. */
    get(name: string): Engine
  }
  readonly runtimes: {
    readonly names: readonly string[]
    readonly default: string
    /** Throws UNKNOWN_RUNTIME. */
    get(name: string): Runtime
  }
  readonly endpoints: Endpoints
  /** Ports of endpoints, from the first to the last. */
  readonly endpointPorts: {readonly from: number; readonly to: number}
  readonly protection: InstanceProtection
  readonly clusters: Clusters
  readonly certificates: {
    readonly caCertificate: string
    readonly caFile: string
    issueServer(names: {commonName: string; dns: readonly string[]; ip: readonly string[]}): Promise<{certificate: string; key: string}>
    admin(username: string): Promise<{username: string; ca: string; certificate: string; key: string}>
    isFresh(certificate: string): boolean
  }
  /** Refuses while the audit log cannot be written. Throws AUDIT_UNAVAILABLE. */
  readonly mayChange: () => void
  /** Tells the workflow engine that there is something to do. */
  readonly poke: () => void
  readonly principalOfAgent: () => Principal
}

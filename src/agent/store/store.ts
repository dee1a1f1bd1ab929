/**
 * What services see of the state: one transaction at a time, within the reach of one tenant or of the platform
 * (DECISIONS.md 2). No I/O inside a transaction; it may run again.
 */
import type {
  BackupRecord, HistoryRecord, LogRecord, PolicyRecord, RepositoryRecord, RestoreTestRecord,
} from '../../core/backup/backup.js'
import type {InstanceRecord, NodeRecord} from '../../core/instance/instance.js'
import type {Json} from '../../core/json.js'
import type {Lane, OperationRecord, OperationStatus} from '../../core/workflow/operation.js'

/** A tenant's name, or the whole platform (the agent's own loops, platform administrators). */
export type Scope = {readonly tenant: string} | 'platform'

export interface Store {
  /** Serialised with every other writer; commits when `change` returns, rolls back when it throws. */
  transact<T>(scope: Scope, change: (tx: Tx) => Promise<T>): Promise<T>
  /** A consistent snapshot of what is committed; never waits for writers. */
  read<T>(scope: Scope, look: (tx: ReadTx) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export interface ReadTx {
  readonly instances: {
    /** By id or by name; only what the scope may see. */
    find(ref: string): Promise<InstanceRecord | undefined>
    list(): Promise<InstanceRecord[]>
  }
  readonly nodes: {
    ofInstance(instanceId: string): Promise<NodeRecord[]>
    list(): Promise<NodeRecord[]>
  }
  readonly operations: {
    get(id: string): Promise<OperationRecord | undefined>
    list(filter: OperationFilter): Promise<OperationRecord[]>
    /** Not ended, oldest first. */
    open(): Promise<OperationRecord[]>
    /** Of the instance's own lane, unless another is named. */
    openOfInstance(instanceId: string, lane?: Lane): Promise<OperationRecord[]>
  }
  readonly templates: {
    get(engine: string, name: string): Promise<TemplateRecord | undefined>
    list(engine: string): Promise<TemplateRecord[]>
  }
  readonly secrets: {
    /** Opened. Undefined when absent. Throws SECRET_UNREADABLE. */
    get(ownerId: string, name: string): Promise<string | undefined>
  }
  readonly ports: {
    list(): Promise<PortRecord[]>
  }
  readonly settings: {
    get(name: string): Promise<string | undefined>
  }
  readonly measurements: {
    /** The median of the last 20 of what `record` stored, or undefined. */
    typical(name: string): Promise<number | undefined>
  }
  readonly requests: {
    list(limit: number): Promise<RequestRecord[]>
  }
  readonly idempotency: {
    get(principalId: string, key: string): Promise<IdempotencyRecord | undefined>
  }
  readonly backups: {
    get(id: string): Promise<BackupRecord | undefined>
    /** Oldest first. */
    list(filter?: BackupFilter): Promise<BackupRecord[]>
  }
  readonly histories: {
    get(incarnation: string): Promise<HistoryRecord | undefined>
    list(instanceId?: string): Promise<HistoryRecord[]>
  }
  readonly policies: {
    get(instanceId: string): Promise<PolicyRecord | undefined>
    list(): Promise<PolicyRecord[]>
  }
  readonly logs: {
    get(incarnation: string): Promise<LogRecord | undefined>
    list(): Promise<LogRecord[]>
  }
  readonly repositories: {
    get(name: string): Promise<RepositoryRecord | undefined>
    list(): Promise<RepositoryRecord[]>
  }
  readonly restoreTests: {
    last(instanceId: string): Promise<RestoreTestRecord | undefined>
  }
  readonly clusters: {
    get(instanceId: string): Promise<ClusterRecord | undefined>
    list(): Promise<ClusterRecord[]>
  }
  readonly failoverDrills: {
    get(id: string): Promise<FailoverDrillRecord | undefined>
    last(instanceId: string): Promise<FailoverDrillRecord | undefined>
  }
  readonly outbox: {
    audit(limit: number): Promise<{id: number; entry: AuditRecord}[]>
  }
}

export interface Tx extends ReadTx {
  readonly instances: ReadTx['instances'] & {
    /** Throws NAME_IN_USE. */
    insert(record: InstanceRecord): Promise<void>
    update(id: string, patch: Partial<Omit<InstanceRecord, 'id' | 'tenantId' | 'createdAt'>>): Promise<void>
    remove(id: string): Promise<void>
  }
  readonly nodes: ReadTx['nodes'] & {
    insert(record: NodeRecord): Promise<void>
    update(id: string, patch: Partial<Omit<NodeRecord, 'id' | 'tenantId' | 'instanceId' | 'createdAt'>>): Promise<void>
    remove(id: string): Promise<void>
  }
  readonly operations: ReadTx['operations'] & {
    insert(record: OperationRecord): Promise<void>
    update(id: string, patch: Partial<Omit<OperationRecord, 'id' | 'tenantId' | 'kind' | 'createdAt'>>): Promise<void>
  }
  readonly templates: ReadTx['templates'] & {
    put(record: TemplateRecord): Promise<void>
    remove(engine: string, name: string): Promise<void>
  }
  readonly secrets: ReadTx['secrets'] & {
    put(tenantId: string, ownerId: string, name: string, value: string): Promise<void>
    removeAll(ownerId: string): Promise<void>
  }
  readonly ports: ReadTx['ports'] & {
    /** Throws PORT_IN_USE when another owner has it. */
    reserve(record: PortRecord): Promise<void>
    release(ownerId: string): Promise<void>
  }
  readonly settings: ReadTx['settings'] & {
    put(name: string, value: string): Promise<void>
    remove(name: string): Promise<void>
  }
  readonly measurements: ReadTx['measurements'] & {
    record(name: string, value: number, at: number): Promise<void>
  }
  readonly requests: ReadTx['requests'] & {
    insert(records: readonly RequestRecord[]): Promise<void>
    /** Removes what is older; returns how many. */
    expire(before: number): Promise<number>
  }
  readonly idempotency: ReadTx['idempotency'] & {
    put(record: IdempotencyRecord): Promise<void>
    expire(before: number): Promise<number>
  }
  readonly backups: ReadTx['backups'] & {
    insert(record: BackupRecord): Promise<void>
    update(id: string, patch: Partial<Omit<BackupRecord, 'id' | 'tenantId' | 'instanceId' | 'createdAt'>>): Promise<void>
    remove(id: string): Promise<void>
  }
  readonly histories: ReadTx['histories'] & {
    insert(record: HistoryRecord): Promise<void>
    update(incarnation: string, patch: Partial<Omit<HistoryRecord, 'id' | 'tenantId' | 'instanceId'>>): Promise<void>
    remove(incarnation: string): Promise<void>
  }
  readonly policies: ReadTx['policies'] & {
    put(record: PolicyRecord): Promise<void>
    remove(instanceId: string): Promise<void>
  }
  readonly logs: ReadTx['logs'] & {
    put(record: LogRecord): Promise<void>
    remove(incarnation: string): Promise<void>
  }
  readonly repositories: ReadTx['repositories'] & {
    /** Throws NAME_IN_USE. */
    insert(record: RepositoryRecord): Promise<void>
    update(name: string, patch: Partial<Omit<RepositoryRecord, 'name' | 'tenantId' | 'createdAt'>>): Promise<void>
    remove(name: string): Promise<void>
  }
  readonly restoreTests: ReadTx['restoreTests'] & {
    insert(record: RestoreTestRecord): Promise<void>
    removeAll(instanceId: string): Promise<void>
  }
  readonly failoverDrills: ReadTx['failoverDrills'] & {
    insert(record: FailoverDrillRecord): Promise<void>
  }
  readonly clusters: ReadTx['clusters'] & {
    put(record: ClusterRecord): Promise<void>
    /** With the drills of the instance. */
    remove(instanceId: string): Promise<void>
  }
  /** Into the outbox, drained into the audit database (DECISIONS.md 3). */
  audit(entry: AuditRecord): Promise<void>
  /** Into the outbox of events, read by loops and streams. */
  event(event: EventRecord): Promise<void>
  readonly outbox: ReadTx['outbox'] & {
    removeAudit(upToId: number): Promise<void>
    expireEvents(before: number): Promise<number>
  }
}

/** What is known of the servers of an instance as one (core/ha/state.ts), whoever dies. Written before every change that it speaks of. */
export interface ClusterRecord {
  readonly instanceId: string
  readonly tenantId: string
  /** encodeState */
  readonly state: Json
  /** The record of the change of primary that is under way. */
  readonly operationId: string | null
  readonly lastChange: Json
  readonly updatedAt: number
}

/** A loss of the primary that was rehearsed to its end. */
export interface FailoverDrillRecord {
  readonly id: string
  readonly tenantId: string
  readonly instanceId: string
  readonly at: number
  /** Nothing was lost, nothing doubled, and one server at a time was the primary. */
  readonly ok: boolean
  /** The receipt. */
  readonly result: Json
}

export interface OperationFilter {
  readonly instanceId?: string
  readonly status?: OperationStatus
  readonly limit: number
}

export interface BackupFilter {
  readonly instanceId?: string
  readonly incarnation?: string
}

export interface TemplateRecord {
  readonly tenantId: string
  readonly engine: string
  readonly name: string
  readonly description: string
  readonly parameters: Readonly<Record<string, string>>
  readonly updatedAt: number
}

export interface PortRecord {
  readonly tenantId: string
  readonly port: number
  /** Instance id (its endpoint) or node id (its server). */
  readonly ownerId: string
}

export interface RequestRecord {
  readonly requestId: string
  readonly tenantId: string
  readonly clientId: string
  readonly method: string
  readonly path: string
  readonly statusCode: number
  readonly durationMs: number
  readonly at: number
}

export interface IdempotencyRecord {
  readonly tenantId: string
  readonly principalId: string
  readonly key: string
  /** Hash of method, path and body: the same key with another request is a conflict. */
  readonly fingerprint: string
  readonly operationId: string
  readonly at: number
}

export interface AuditRecord {
  readonly id: string
  readonly at: number
  readonly tenantId: string
  readonly actor: string
  readonly source: string
  readonly action: string
  readonly resource: string
  readonly result: 'allowed' | 'denied' | 'succeeded' | 'failed'
  readonly requestId: string
  readonly details: Readonly<Record<string, string>>
}

export interface ChainedAuditRecord extends AuditRecord {
  readonly sequence: number
  readonly previousHash: string
  readonly hash: string
}

export interface AuditVerification {
  readonly ok: boolean
  readonly entries: number
  readonly firstBrokenSequence: number | null
  readonly because: string | null
  readonly headHash: string | null
}

/** The audit database: append-only, hash-chained. */
export interface AuditLog {
  append(entries: readonly AuditRecord[]): Promise<void>
  list(filter: {tenant?: string; limit: number; before?: number}): Promise<ChainedAuditRecord[]>
  verify(): Promise<AuditVerification>
  close(): Promise<void>
}

export interface EventRecord {
  readonly id: string
  readonly tenantId: string
  /** `instance.status_changed`, `operation.ended`, … */
  readonly type: string
  readonly subject: string
  readonly payload: Json
  readonly at: number
}

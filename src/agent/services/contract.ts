/**
 * What the HTTP layer sees of the services: one method for each endpoint, in the words of the API. Every call takes a
 * Principal. A mutation answers with its operation at once; `plan: true` answers with the plan and changes nothing.
 */
import type {Principal} from '../../core/access/principal.js'
import type {
  ApiAgent, ApiAuditEntry, ApiBackup, ApiBreaker, ApiCheck, ApiCredentials, ApiEngine, ApiInstance, ApiNode, ApiOperation, ApiParameter,
  ApiParameterReading, ApiPlan, ApiRepository, ApiRequestLog, ApiSchedule, ApiSqlResult, ApiTemplate, BodyOf, CreateBody, QueryOf, ResponseOf,
} from '../../core/api/schemas.js'

/** Of a mutating request: the client's key, and a hash of what was asked, so that a repeated request is one change. */
export interface Idempotency {
  readonly key: string
  readonly fingerprint: string
}

export type Planned = {readonly plan: ApiPlan}
export type Started = {readonly operation: ApiOperation; readonly instance: ApiInstance}
export type StartedBare = {readonly operation: ApiOperation}

export interface DeleteOptions {
  readonly plan?: boolean
  readonly keep_backups?: boolean
  readonly final_backup?: boolean
}

export interface InstancesApi {
  list(principal: Principal, query: QueryOf<'instances.list'>): Promise<ApiInstance[]>
  get(principal: Principal, ref: string): Promise<ApiInstance>
  create(principal: Principal, body: CreateBody, idempotency: Idempotency | undefined): Promise<Started | Planned>
  update(principal: Principal, ref: string, body: BodyOf<'instances.update'>): Promise<{instance: ApiInstance} | Planned>
  delete(principal: Principal, ref: string, options: DeleteOptions, idempotency: Idempotency | undefined): Promise<Started | Planned>
  start(principal: Principal, ref: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
  stop(principal: Principal, ref: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
  restart(principal: Principal, ref: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** Lines, one at once and then now and then, as long as the instance is there; reading them keeps it. Throws INVALID_STATE. */
  lease(principal: Principal, ref: string, signal: AbortSignal): Promise<AsyncIterable<string>>
  credentials(principal: Principal, ref: string): Promise<ApiCredentials>
  sql(principal: Principal, ref: string, body: BodyOf<'instances.sql'>, signal: AbortSignal): Promise<ApiSqlResult>
  /** Whole lines without their line ends. */
  logs(principal: Principal, ref: string, query: QueryOf<'instances.logs'>, signal: AbortSignal): Promise<AsyncIterable<string>>
}

export type StartedBackup = {readonly operation: ApiOperation; readonly backup: ApiBackup}

export interface BackupsApi {
  list(principal: Principal, query: QueryOf<'backups.list'>): Promise<ApiBackup[]>
  get(principal: Principal, ref: string): Promise<ApiBackup>
  create(principal: Principal, instance: string, body: BodyOf<'backups.create'>, idempotency: Idempotency | undefined): Promise<StartedBackup | Planned>
  verify(principal: Principal, ref: string, body: BodyOf<'backups.verify'>, idempotency: Idempotency | undefined): Promise<StartedBackup | Planned>
  delete(principal: Principal, ref: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<StartedBackup | Planned>
  /** Names this moment. It is reached by restores as soon as the log up to it is archived. */
  point(principal: Principal, instance: string, body: BodyOf<'points.create'>): Promise<ResponseOf<'points.create'>['point']>
  drill(principal: Principal, instance: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
  schedule(principal: Principal, instance: string): Promise<ApiSchedule>
  setSchedule(principal: Principal, instance: string, body: BodyOf<'schedules.set'>): Promise<{schedule: ApiSchedule} | Planned>
  repositories(principal: Principal): Promise<ApiRepository[]>
  addRepository(principal: Principal, body: BodyOf<'repositories.add'>): Promise<{repository: ApiRepository; backups_found: number} | Planned>
  updateRepository(principal: Principal, name: string, body: BodyOf<'repositories.update'>): Promise<{repository: ApiRepository} | Planned>
  promoteRepository(principal: Principal, name: string, body: BodyOf<'repositories.promote'>): Promise<{repository: ApiRepository; backups_lost: number} | Planned>
  removeRepository(principal: Principal, name: string): Promise<void>
  checkRepository(principal: Principal, name: string): Promise<ApiRepository>
  exportKeys(principal: Principal): Promise<ResponseOf<'keys.export'>['keys']>
  importKey(principal: Principal, body: BodyOf<'keys.import'>, idempotency: Idempotency | undefined): Promise<StartedBare | Planned>
  rotateKeys(principal: Principal, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<StartedBare | Planned>
}

export interface ScalingApi {
  scale(principal: Principal, ref: string, body: BodyOf<'instances.scale'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
}

/**
 * Instances of more than one server. All throw INSTANCE_NOT_FOUND; NODE_NOT_FOUND for a node that the instance has not; INVALID_STATE where
 * the instance is not running, has one server only (suggest `dbaas scale NAME --ha`), or is changing its primary already; NOT_SUPPORTED where
 * the engine or the runtime cannot. `to` and `node` are ids or names of nodes.
 */
export interface HighAvailabilityApi {
  /**
   * `body` names `high_availability` or `replicas`, and may name a size as well: one operation for both. `replicas` alone keeps high
   * availability as it is; `high_availability: true` alone means two replicas, where there are fewer. `high_availability: false` keeps the
   * replicas, unless their number is given. The result of the operation is that of a scale: `{write_gap_ms, applied}`.
   * Throws INVALID_REQUEST for high availability with no replica, QUOTA_EXCEEDED, INSUFFICIENT_MEMORY, INSUFFICIENT_DISK.
   */
  scale(principal: Principal, ref: string, body: BodyOf<'instances.scale'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /**
   * For a primary that is lost. A healthy one is refused without `force` (INVALID_STATE, suggest `dbaas switchover NAME`). `to` wins among
   * those that hold every acknowledged write and is else refused (INVALID_STATE, telling what it lacks). Throws NO_QUORUM where nobody can be
   * chosen safely, unless `allow_data_loss` is the name of the instance; CONFIRMATION_REQUIRED when it is another name. The result is a PrimaryChange (core/ha/receipt.ts).
   */
  failover(principal: Principal, ref: string, body: BodyOf<'instances.failover'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** In order: nothing is lost; undone when the new primary does not catch up. Throws NO_QUORUM. The result is a PrimaryChange. */
  switchover(principal: Principal, ref: string, body: BodyOf<'instances.switchover'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** A switchover to that node; one that confirms nothing (async) is refused, INVALID_STATE. Of the primary itself: nothing to do. */
  promote(principal: Principal, ref: string, body: BodyOf<'instances.promote'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** All nodes but the primary, as `instances.get` shows them. */
  replicas(principal: Principal, ref: string): Promise<ApiNode[]>
  /** Throws as `scale`. */
  addReplicas(principal: Principal, ref: string, body: BodyOf<'replicas.add'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /**
   * Throws INVALID_STATE for the primary (suggest `dbaas switchover NAME`), and for the last replica of an instance with high availability
   * (suggest `dbaas scale NAME --no-ha`). One that is broken is removed, too.
   */
  removeReplica(principal: Principal, ref: string, node: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** On the instance itself, or a copy. A partition is NOT_SUPPORTED where the runtime cannot make one. The result is a FailoverReceipt. */
  drill(principal: Principal, ref: string, body: BodyOf<'drills.failover'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
}

export interface RestoringApi {
  restore(principal: Principal, ref: string, body: BodyOf<'instances.restore'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** Back to the state before the last restore in place. */
  undo(principal: Principal, ref: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
  clone(principal: Principal, ref: string, body: BodyOf<'instances.clone'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
}

export interface UpgradingApi {
  /**
   * Another version: on the data as they are within a series, else by a copy that is compared before anybody uses it. Throws UNKNOWN_VERSION,
   * ENGINE_NOT_INSTALLED (also for the programs that copy), INVALID_REQUEST for an older one, INVALID_STATE for what cannot be brought along.
   */
  upgrade(principal: Principal, ref: string, body: BodyOf<'instances.upgrade'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  /** Back to the version before the last upgrade; after a copy, to its data as well. */
  undo(principal: Principal, ref: string, options: {plan?: boolean}, idempotency: Idempotency | undefined): Promise<Started | Planned>
}

export interface AdoptionApi {
  /** Takes over everything that a site left here whose own agent and store are gone. */
  adopt(principal: Principal, body: BodyOf<'agent.adopt'>): Promise<{operations: ApiOperation[]; instances: ApiInstance[]} | Planned>
}

export interface ConfigurationApi {
  get(principal: Principal, ref: string, options: {all?: boolean}): Promise<Record<string, ApiParameterReading>>
  update(principal: Principal, ref: string, body: BodyOf<'configuration.update'>, idempotency: Idempotency | undefined): Promise<Started | Planned>
  diff(principal: Principal, ref: string, other: string | undefined): Promise<ResponseOf<'configuration.diff'>['differences']>
  parameters(principal: Principal, engine: string, version: string): Promise<ApiParameter[]>
  parameter(principal: Principal, engine: string, version: string, name: string): Promise<ApiParameter>
  templates(principal: Principal, engine: string): Promise<ApiTemplate[]>
  template(principal: Principal, engine: string, name: string): Promise<ApiTemplate>
  saveTemplate(principal: Principal, engine: string, name: string, body: BodyOf<'templates.save'>): Promise<ApiTemplate>
  deleteTemplate(principal: Principal, engine: string, name: string): Promise<void>
}

export interface EnginesApi {
  list(principal: Principal): Promise<{engines: ApiEngine[]; notes: string[]}>
  install(principal: Principal, engine: string, body: BodyOf<'engines.install'>, idempotency: Idempotency | undefined): Promise<StartedBare | Planned>
  remove(principal: Principal, engine: string, version: string, options: {plan?: boolean; runtime?: string}, idempotency: Idempotency | undefined): Promise<StartedBare | Planned>
}

export interface OperationsApi {
  list(principal: Principal, query: QueryOf<'operations.list'>): Promise<ApiOperation[]>
  get(principal: Principal, id: string): Promise<ApiOperation>
  /** The operation now, and each time it changes, until it has ended or the signal. */
  follow(principal: Principal, id: string, signal: AbortSignal): Promise<AsyncIterable<ApiOperation>>
  cancel(principal: Principal, id: string): Promise<ApiOperation>
}

export interface PlatformApi {
  health(principal: Principal): Promise<{status: 'ok' | 'degraded'; checks: ApiCheck[]; circuit_breakers: ApiBreaker[]}>
  agent(principal: Principal): Promise<ApiAgent>
  /** Returns at once; the agent ends when the answer has been sent. */
  stop(principal: Principal): Promise<void>
  logs(principal: Principal, lines: number): Promise<string>
  doctor(principal: Principal): Promise<ApiCheck[]>
  audit(principal: Principal, query: QueryOf<'audit.list'>): Promise<ApiAuditEntry[]>
  verifyAudit(principal: Principal): Promise<ResponseOf<'audit.verify'>['verification']>
  requests(principal: Principal, limit: number): Promise<ApiRequestLog[]>
}

export interface Services {
  readonly instances: InstancesApi
  readonly backups: BackupsApi
  readonly scaling: ScalingApi
  readonly highAvailability: HighAvailabilityApi
  readonly restoring: RestoringApi
  readonly upgrading: UpgradingApi
  readonly adoption: AdoptionApi
  readonly configuration: ConfigurationApi
  readonly engines: EnginesApi
  readonly operations: OperationsApi
  readonly platform: PlatformApi
}

/** Where the HTTP layer leaves what it saw. */
export interface RequestSink {
  request(record: {requestId: string; tenantId: string; clientId: string; method: string; path: string; statusCode: number; durationMs: number; at: number}): void
  /** A denied request: audited with full detail (property 21). */
  denied(principal: Principal, action: string, resource: string, because: string): void
}

/** The wire contract: one schema per shape, one entry per endpoint. OpenAPI 3.1 is generated from this. */
import Type from 'typebox'
import type {Static, TSchema} from 'typebox'
import {backupStatuses, repositoryStatuses} from '../backup/backup.js'
import {errorTable} from '../errors.js'
import {instanceStatuses, nodeStatuses} from '../instance/instance.js'
import {operationStatuses} from '../workflow/operation.js'
import type {EndpointId} from './paths.js'

/** `healthy`: as many voters stream as are wanted; `degraded`: fewer, and writes go on; `blocked`: writes wait; `changing`: the primary is
 *  being changed; `no-quorum`: no safe choice exists, somebody has to decide; `async`: nothing is confirmed by anybody else. */
export const replicationStatuses = ['healthy', 'degraded', 'blocked', 'changing', 'no-quorum', 'async'] as const

const closed = {additionalProperties: false}
const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const Words = <const T extends readonly string[]>(words: T) => Type.Unsafe<T[number]>({type: 'string', enum: [...words]})
const Time = Type.String({format: 'date-time', description: 'ISO 8601, UTC'})
/** Not Type.Record: its pattern `^.*$` does not match a name with a line break, whose value would go unchecked. */
const MapOf = <T extends TSchema>(values: T) => Type.Unsafe<Record<string, Static<T>>>({type: 'object', additionalProperties: values})
const Values = MapOf(Type.String())

export const ErrorDetailSchema = Type.Object({
  code: Type.String({description: `A stable code, see docs/errors.md: ${Object.keys(errorTable).length} of them`}),
  message: Type.String(),
  details: Type.Optional(Values),
  suggestions: Type.Optional(Type.Array(Type.String())),
}, {$id: 'ErrorDetail', ...closed})

export const ErrorResponseSchema = Type.Object({
  error: ErrorDetailSchema,
  request_id: Type.String(),
  timestamp: Time,
}, {$id: 'ErrorResponse', ...closed})

export const AddressSchema = Type.Object({host: Type.String(), port: Type.Integer()}, {$id: 'Address', ...closed})

export const SizeSchema = Type.Object({
  name: Type.String(),
  cpu: Type.Number(),
  memory_bytes: Type.Integer(),
  storage_bytes: Type.Integer(),
}, {$id: 'Size', ...closed})

const LimitSchema = Type.Object({
  enforced: Type.Boolean(),
  because: Nullable(Type.String({description: 'Why it is not enforced here, or how it is'})),
}, closed)

export const NodeSchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  role: Words(['primary', 'replica']),
  sync_state: Words(['sync', 'async', 'dr', 'none']),
  status: Words(nodeStatuses),
  status_reason: Nullable(Type.String()),
  wanted_status: Words(['running', 'stopped']),
  endpoint: Nullable(AddressSchema),
  timeline: Nullable(Type.Integer()),
  lsn: Nullable(Type.String()),
  lag_bytes: Nullable(Type.Integer()),
  lag_seconds: Nullable(Type.Number()),
  last_sync: Nullable(Time),
  pid: Nullable(Type.Integer()),
  container: Nullable(Type.String()),
  pod: Nullable(Type.String()),
}, {$id: 'Node', ...closed})

export const ReplicationSchema = Type.Object({
  replicas_wanted: Type.Integer({description: 'Servers that are not the primary'}),
  confirmations: Type.Integer({description: 'So many voters have written each commit to disk before it is acknowledged; 0: none'}),
  voters: Type.Array(Type.String(), {description: 'Nodes that may confirm, and may be chosen'}),
  status: Words(replicationStatuses),
  status_reason: Nullable(Type.String()),
  epoch: Type.Integer({description: 'One more with every decision'}),
  timeline: Nullable(Type.Integer()),
  operation: Nullable(Type.Object({
    kind: Words(['failover', 'switchover']), phase: Type.String(), started_at: Time, from: Type.String(), to: Nullable(Type.String()), because: Type.String(),
  }, closed)),
  last_decision: Nullable(Type.Object({at: Time, because: Type.String()}, closed)),
  last_change: Nullable(Type.Object({
    at: Time, kind: Words(['failover', 'switchover']), from: Type.String(), to: Type.String(), because: Type.String(), write_gap_ms: Nullable(Type.Integer()),
    discarded_bytes: Nullable(Type.Integer({description: 'Of the log of the old primary, confirmed by nobody and given up when it came back; null: it has not yet, or nobody can say'})),
  }, closed)),
  last_drill: Nullable(Type.Object({
    at: Time, ok: Type.Boolean(), fault: Words(['kill', 'hang', 'partition']), clone: Nullable(Type.String()), time_to_first_write_ms: Type.Integer(), acknowledged_writes: Type.Integer(),
    lost_writes: Type.Integer(),
  }, closed)),
}, {$id: 'Replication', ...closed})

export const InstanceSchema = Type.Object({
  id: Type.String(),
  name: Type.String(),
  tenant_id: Type.String(),
  engine: Type.String(),
  version: Type.String(),
  status: Words(instanceStatuses),
  status_reason: Nullable(Type.String()),
  wanted_status: Words(['running', 'stopped']),
  runtime: Type.String(),
  image: Nullable(Type.Object({
    reference: Type.String(), digest: Nullable(Type.String({description: 'Of the registry; null for an image that came from none'})), id: Type.String(),
  }, closed)),
  size: SizeSchema,
  limits: Type.Object({cpu: LimitSchema, memory: LimitSchema, storage: LimitSchema}, closed),
  endpoint: Nullable(AddressSchema),
  read_only_endpoint: Nullable(AddressSchema),
  database: Type.String(),
  username: Type.String(),
  high_availability: Type.Boolean({description: 'A replica confirms every commit, and takes over when the primary is lost'}),
  nodes: Type.Array(NodeSchema),
  replication: Nullable(ReplicationSchema),
  backup: Type.Object({
    enabled: Type.Boolean(),
    reason: Nullable(Type.String({description: 'Why it is not enabled; or what is not as promised'})),
    schedule: Nullable(Type.String({description: 'Cron expression, UTC'})),
    retention_seconds: Nullable(Type.Number()),
    next_backup_at: Nullable(Time),
    last_backup_at: Nullable(Time),
    recoverable_from: Nullable(Time),
    recoverable_to: Nullable(Time),
    log_lag_bytes: Nullable(Type.Integer()),
    log_lag_seconds: Nullable(Type.Number()),
    last_restore_test: Nullable(Type.Object({
      at: Time, ok: Type.Boolean(), rto_seconds: Nullable(Type.Number()), recovered_to: Nullable(Time),
    }, closed)),
  }, closed),
  configuration: Type.Object({
    engine: Type.String(),
    version: Type.String(),
    parameters: Values,
    template: Nullable(Type.String()),
    security_config: Type.Object({
      tls_enabled: Type.Literal(true),
      encryption_at_rest: Type.Boolean(),
      customer_managed_key: Nullable(Type.String()),
      network_acl: Type.Array(Type.String()),
    }, closed),
  }, closed),
  tls: Type.Object({min_version: Type.String(), ca_file: Type.String()}, closed),
  protected: Type.Boolean(),
  leased: Type.Boolean({description: 'It is deleted when nobody holds its lease any more'}),
  expires_at: Nullable(Time),
  created_at: Time,
  updated_at: Time,
}, {$id: 'Instance', ...closed})

/** DatabaseCluster and Replica of the reference: the same instance, seen as its servers. */
export const ReplicaSchema = Type.Object({
  id: Type.String(),
  cluster_id: Type.String(),
  type: Words(['sync', 'async', 'dr', 'none']),
  status: Words(nodeStatuses),
  endpoint: Nullable(AddressSchema),
  lag_bytes: Nullable(Type.Integer()),
  last_sync: Nullable(Time),
}, {$id: 'Replica', ...closed})

export const ClusterSchema = Type.Object({
  id: Type.String(),
  primary_id: Nullable(Type.String()),
  replicas: Type.Array(ReplicaSchema),
  status: Words(instanceStatuses),
  created_at: Time,
  updated_at: Time,
}, {$id: 'Cluster', ...closed})

export const BackupSchema = Type.Object({
  id: Type.String(),
  instance_id: Type.String(),
  instance_name: Type.String(),
  engine: Type.String(),
  type: Nullable(Words(['full', 'incremental'])),
  status: Words(backupStatuses),
  because: Nullable(Type.String()),
  trigger: Words(['first', 'schedule', 'request', 'final', 'gap']),
  label: Nullable(Type.String()),
  size_bytes: Nullable(Type.Integer({description: 'Of the files when restored'})),
  stored_bytes: Nullable(Type.Integer({description: 'Written for it: what changed, compressed'})),
  created_at: Time,
  completed_at: Nullable(Time),
  expires_at: Nullable(Time),
  verified_at: Nullable(Time),
  recoverable_from: Nullable(Time),
  encrypted: Type.Boolean(),
  checksum: Nullable(Type.String()),
  repository: Type.String(),
  incarnation: Type.String(),
  snapshot: Nullable(Type.Integer()),
  timeline: Nullable(Type.String()),
  start_position: Nullable(Type.String()),
  end_position: Nullable(Type.String()),
  kept: Type.Boolean({description: 'Its instance is deleted'}),
}, {$id: 'Backup', ...closed})

export const ScheduleSchema = Type.Object({
  enabled: Type.Boolean(),
  reason: Nullable(Type.String()),
  cron_expression: Type.String({description: 'Five fields, UTC'}),
  backup_type: Words(['full', 'incremental']),
  retention_days: Nullable(Type.Number()),
  retention_seconds: Nullable(Type.Number({description: 'The window that can be recovered to'})),
  keep_last: Nullable(Type.Integer()),
  jitter_seconds: Type.Number(),
  repository: Type.String(),
  next_backup_at: Nullable(Time),
}, {$id: 'Schedule', ...closed})

const RepositorySettings = Type.Record(Type.String(), Type.Union([Type.String({maxLength: 100_000}), Type.Boolean()]))

export const RepositorySchema = Type.Object({
  name: Type.String(),
  kind: Type.String(),
  location: Type.String(),
  status: Words(repositoryStatuses),
  because: Nullable(Type.String()),
  backups: Type.Integer(),
  stored_bytes: Type.Integer(),
  created_at: Time,
  settings: Type.Record(Type.String(), Type.Union([Type.String(), Type.Boolean()]), {description: 'As its kind names them; secret ones are never shown'}),
  copy: Nullable(Type.Object({
    of: Type.String(),
    copied_at: Nullable(Time),
    lag_seconds: Nullable(Type.Number({description: 'All that is older is in it'})),
    because: Nullable(Type.String({description: 'Why it is not kept up to date'})),
  }, closed)),
}, {$id: 'Repository', ...closed})

export const StepSchema = Type.Object({
  name: Type.String(),
  status: Words(['running', 'waiting', 'succeeded', 'failed', 'undoing', 'undone']),
  started_at: Time,
  ended_at: Nullable(Time),
  because: Nullable(Type.String()),
}, {$id: 'Step', ...closed})

export const OperationSchema = Type.Object({
  id: Type.String(),
  kind: Type.String(),
  status: Words(operationStatuses),
  tenant_id: Type.String(),
  instance_id: Nullable(Type.String()),
  steps: Type.Array(StepSchema),
  result: Type.Unknown(),
  error: Nullable(ErrorDetailSchema),
  created_at: Time,
  ended_at: Nullable(Time),
}, {$id: 'Operation', ...closed})

export const PlanSchema = Type.Object({
  steps: Type.Array(Type.String()),
  impact: Words(['none', 'reload', 'restart', 'failover']),
  expected_downtime_ms: Nullable(Type.Integer({description: 'From what this site measured before; null when it never did'})),
  cost_month_delta: Nullable(Type.Number({description: 'Null until the site has a price book'})),
  reversible: Type.Boolean(),
  recovery: Type.Optional(Type.Object({
    backup_id: Type.String({description: 'Where it starts'}),
    ends: Type.String({description: 'Where it ends, as read in the log'}),
    position: Type.String(),
    last_commit_at: Nullable(Time),
    size_bytes: Type.Integer(),
    log_bytes: Type.Integer(),
    segments: Type.Integer(),
    complete: Type.Boolean({description: 'Every object that is needed is there'}),
    estimated_seconds: Type.Number(),
  }, closed)),
  upgrade: Type.Optional(Type.Object({
    from: Type.String(),
    to: Type.String({description: 'Only the beginning of a version while its image is not here'}),
    way: Words(['none', 'next-start', 'restart', 'rolling', 'copy', 'exchange']),
    size_bytes: Nullable(Type.Number({description: 'What would be copied'})),
    estimated_seconds: Nullable(Type.Number({description: 'How long clients would wait for the copy'})),
    tools: Nullable(Type.String({description: 'The programs that copy'})),
    obstacles: Type.Array(Type.String({description: 'What has to go first'})),
    kept_as: Nullable(Type.String({description: 'What the state of before would be called'})),
  }, closed)),
}, {$id: 'Plan', ...closed})

export const ParameterSchema = Type.Object({
  name: Type.String(),
  type: Words(['bool', 'integer', 'real', 'enum', 'string']),
  unit: Nullable(Type.String()),
  min: Nullable(Type.String()),
  max: Nullable(Type.String()),
  step: Type.Optional(Type.String()),
  values: Nullable(Type.Array(Type.String())),
  default: Nullable(Type.String()),
  category: Type.String(),
  description: Type.String(),
  requires: Words(['reload', 'restart', 'fixed']),
  managed: Nullable(Type.String()),
}, {$id: 'Parameter', ...closed})

export const ParameterReadingSchema = Type.Object({
  value: Type.String(),
  unit: Nullable(Type.String()),
  source: Type.String(),
  default: Nullable(Type.String()),
  requires: Words(['reload', 'restart', 'fixed']),
  pending_restart: Type.Boolean(),
}, {$id: 'ParameterReading', ...closed})

export const TemplateSchema = Type.Object({
  engine: Type.String(),
  name: Type.String(),
  built_in: Type.Boolean(),
  description: Type.String(),
  parameters: Values,
  updated_at: Nullable(Time),
}, {$id: 'Template', ...closed})

export const EngineVersionSchema = Type.Object({
  version: Type.String(),
  runtime: Type.String({description: 'Which runtime has it'}),
  source: Type.String({description: '`bundled` (came with dbaas), `npm` (installed on request), `system` (found on the machine), `archive` (from a file or folder that was named), `image`'}),
  installed: Type.Boolean(),
  path: Nullable(Type.String({description: 'Folder of its programs, or name of its image'})),
  checksum: Nullable(Type.String({description: '`sha256:HEX` of the archive it was installed from'})),
}, {$id: 'EngineVersion', ...closed})

export const EngineSchema = Type.Object({
  name: Type.String(),
  title: Type.String(),
  versions: Type.Array(EngineVersionSchema),
  hints: Type.Array(Type.String(), {description: 'How to get one, where none is installed'}),
}, {$id: 'Engine', ...closed})

export const AgentSchema = Type.Object({
  pid: Type.Integer(),
  version: Type.String(),
  socket: Type.String(),
  site: Type.String(),
  region: Type.String(),
  started_at: Time,
  home: Type.String(),
  data_dir: Type.String(),
  instances: Type.Integer(),
  memory_bytes: Type.Integer({description: 'Resident memory of the agent'}),
}, {$id: 'Agent', ...closed})

export const CheckSchema = Type.Object({
  name: Type.String(),
  ok: Type.Boolean(),
  level: Words(['ok', 'note', 'warning', 'problem']),
  message: Type.String(),
  suggestion: Nullable(Type.String()),
}, {$id: 'Check', ...closed})

export const BreakerSchema = Type.Object({
  name: Type.String(),
  max_failures: Type.Integer(),
  reset_timeout: Type.Number({description: 'Seconds'}),
  failure_threshold: Type.Number(),
  state: Words(['closed', 'open', 'half-open']),
}, {$id: 'CircuitBreaker', ...closed})

export const AuditEntrySchema = Type.Object({
  id: Type.String(),
  sequence: Type.Integer(),
  at: Time,
  tenant_id: Type.String(),
  actor: Type.String(),
  source: Type.String(),
  action: Type.String(),
  resource: Type.String(),
  result: Words(['allowed', 'denied', 'succeeded', 'failed']),
  request_id: Type.String(),
  details: Values,
  previous_hash: Type.String(),
  hash: Type.String(),
}, {$id: 'AuditEntry', ...closed})

export const RequestLogSchema = Type.Object({
  request_id: Type.String(),
  client_id: Type.String(),
  method: Type.String(),
  path: Type.String(),
  status_code: Type.Integer(),
  duration_ms: Type.Number(),
  timestamp: Time,
}, {$id: 'RequestLog', ...closed})

/** How many servers. Without `replicas`, high availability means two; `replicas` without it are read replicas that confirm nothing. */
const topology = {
  high_availability: Type.Optional(Type.Boolean({description: 'Replicas confirm every commit, and one takes over when the primary is lost'})),
  replicas: Type.Optional(Type.Integer({minimum: 0, maximum: 16, description: 'Servers that are not the primary; with high availability the first two vote'})),
}

export const CreateBodySchema = Type.Object({
  name: Type.String({maxLength: 200}),
  engine: Type.Optional(Type.String()),
  version: Type.Optional(Type.String()),
  runtime: Type.Optional(Type.String()),
  image: Type.Optional(Type.String({minLength: 1, maxLength: 400, description: 'Image to run instead of the official one (docker)'})),
  publish_address: Type.Optional(Type.String({minLength: 1, maxLength: 255, description: 'Address that its ports are bound to; loopback by default'})),
  size: Type.Optional(Type.String()),
  cpu: Type.Optional(Type.Number()),
  memory_bytes: Type.Optional(Type.Integer()),
  storage_bytes: Type.Optional(Type.Integer()),
  template: Type.Optional(Type.String()),
  parameters: Type.Optional(Values),
  ttl_seconds: Type.Optional(Type.Number({exclusiveMinimum: 0})),
  protected: Type.Optional(Type.Boolean()),
  backup: Type.Optional(Type.Boolean({description: 'False: no backups are taken of it'})),
  repository: Type.Optional(Type.String({description: 'Where its backups are kept; "local" by default'})),
  ...topology,
  lease: Type.Optional(Type.Boolean({description: 'Delete it when nobody has held its lease for a few seconds'})),
  port: Type.Optional(Type.Integer({minimum: 1, maximum: 65_535})),
  plan: Type.Optional(Type.Boolean({description: 'Only say what would happen'})),
}, {$id: 'CreateInstance', ...closed})

const PlanFlag = Type.Object({plan: Type.Optional(Type.Boolean())}, closed)
const PlanQuery = Type.Object({plan: Type.Optional(Type.Boolean())}, closed)
const Limit = Type.Optional(Type.Integer({minimum: 1, maximum: 1000, description: 'At most so many; 100 by default'}))
const NodeName = Type.Optional(Type.String({minLength: 1, maxLength: 200, description: 'Id (nod_…) or name of the node; the best by default'}))
const InstanceRef = Type.Object({instance: Type.String({description: 'Id (ins_…) or name'})}, closed)
const OperationRef = Type.Object({operation: Type.String()}, closed)
const EngineRef = Type.Object({engine: Type.String()}, closed)

const Plan = Type.Object({plan: PlanSchema}, closed)
const Accepted = Type.Object({operation: OperationSchema}, closed)
const AcceptedBackup = Type.Object({operation: OperationSchema, backup: BackupSchema}, closed)
const BackupRef = Type.Object({backup: Type.String({description: 'Id (bak_…) or label'})}, closed)
const AcceptedInstance = Type.Object({operation: OperationSchema, instance: InstanceSchema}, closed)

interface EndpointSchema {
  readonly params?: TSchema
  readonly query?: TSchema
  readonly body?: TSchema
  /** Status -> body. A string is a media type that is not JSON. */
  readonly responses: Readonly<Record<number, TSchema | string>>
}

const mutation = <T extends Omit<EndpointSchema, 'responses'>>(extra: T) => ({...extra, responses: {200: Plan, 202: AcceptedInstance}})

export const endpointSchemas = {
  'health.get': {responses: {200: Type.Object({
    status: Words(['ok', 'degraded']),
    checks: Type.Array(CheckSchema),
    circuit_breakers: Type.Array(BreakerSchema),
  }, closed)}},
  'agent.get': {responses: {200: Type.Object({agent: AgentSchema}, closed)}},
  'agent.stop': {responses: {202: Type.Object({stopping: Type.Literal(true)}, closed)}},
  'agent.adopt': {
    body: Type.Object({site_id: Type.String({minLength: 1, maxLength: 100}), plan: Type.Optional(Type.Boolean())}, closed),
    responses: {200: Plan, 202: Type.Object({operations: Type.Array(OperationSchema), instances: Type.Array(InstanceSchema)}, closed)},
  },
  'agent.logs': {query: Type.Object({lines: Type.Optional(Type.Integer({minimum: 1, maximum: 10_000}))}, closed), responses: {200: 'text/plain'}},
  'doctor.get': {responses: {200: Type.Object({checks: Type.Array(CheckSchema)}, closed)}},
  'sizes.list': {responses: {200: Type.Object({sizes: Type.Array(SizeSchema), default: Type.String()}, closed)}},

  'instances.list': {
    query: Type.Object({engine: Type.Optional(Type.String()), status: Type.Optional(Type.String())}, closed),
    responses: {200: Type.Object({instances: Type.Array(InstanceSchema)}, closed)},
  },
  'instances.create': mutation({body: CreateBodySchema}),
  'instances.get': {params: InstanceRef, responses: {200: Type.Object({instance: InstanceSchema}, closed)}},
  'instances.update': {
    params: InstanceRef,
    body: Type.Object({
      protected: Type.Optional(Type.Boolean()),
      ttl_seconds: Type.Optional(Nullable(Type.Number({exclusiveMinimum: 0}))),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: Type.Union([Plan, Type.Object({instance: InstanceSchema}, closed)])},
  },
  'instances.delete': mutation({params: InstanceRef, query: Type.Object({
    plan: Type.Optional(Type.Boolean()),
    keep_backups: Type.Optional(Type.Boolean({description: 'Its backups stay, and can be restored by its name'})),
    final_backup: Type.Optional(Type.Boolean({description: 'One more is taken first, and stays'})),
  }, closed)}),
  'instances.start': mutation({params: InstanceRef, body: PlanFlag}),
  'instances.stop': mutation({params: InstanceRef, body: PlanFlag}),
  'instances.restart': mutation({params: InstanceRef, body: PlanFlag}),
  'instances.scale': mutation({
    params: InstanceRef,
    body: Type.Object({
      size: Type.Optional(Type.String()),
      cpu: Type.Optional(Type.Number()),
      memory_bytes: Type.Optional(Type.Integer()),
      storage_bytes: Type.Optional(Type.Integer()),
      ...topology,
      plan: Type.Optional(Type.Boolean()),
    }, closed),
  }),
  'instances.failover': mutation({
    params: InstanceRef,
    body: Type.Object({
      to: NodeName,
      force: Type.Optional(Type.Boolean({description: 'Though the primary is healthy'})),
      allow_data_loss: Type.Optional(Type.String({maxLength: 200, description: 'The name of the instance, typed: acknowledged writes may be lost; the best of the nodes that answer is taken'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
  }),
  'instances.switchover': mutation({params: InstanceRef, body: Type.Object({to: NodeName, plan: Type.Optional(Type.Boolean())}, closed)}),
  'instances.promote': mutation({
    params: InstanceRef, body: Type.Object({node: Type.String({minLength: 1, maxLength: 200}), plan: Type.Optional(Type.Boolean())}, closed),
  }),
  'instances.restore': mutation({
    params: InstanceRef,
    body: Type.Object({
      to: Type.Optional(Type.String({minLength: 1, maxLength: 200, description: 'latest, a time, a position, a transaction, a named point, or a backup'})),
      into: Type.Optional(Type.String({description: 'The name of a new instance, or of one whose state is kept beside; without it, in place'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
  }),
  'instances.undo': mutation({params: InstanceRef, body: PlanFlag}),
  'instances.upgrade': mutation({
    params: InstanceRef,
    body: Type.Object({
      version: Type.String({minLength: 1, maxLength: 100, description: 'Full, or the beginning of one'}),
      image: Type.Optional(Type.String({minLength: 1, maxLength: 500, description: 'The image to run from now on, where the runtime has images'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
  }),
  'instances.undo_upgrade': mutation({params: InstanceRef, body: PlanFlag}),
  'instances.clone': mutation({
    params: InstanceRef,
    body: Type.Object({name: Type.String(), at: Type.Optional(Type.String({minLength: 1, maxLength: 200})), plan: Type.Optional(Type.Boolean())}, closed),
  }),
  'instances.lease': {params: InstanceRef, responses: {200: 'text/plain'}},
  'instances.credentials': {params: InstanceRef, responses: {200: Type.Object({credentials: Type.Object({
    engine: Type.String(),
    scheme: Type.String({description: '`postgresql`'}),
    host: Type.String(),
    port: Type.Integer(),
    database: Type.String(),
    username: Type.String(),
    password: Type.String(),
    direct: Type.Array(AddressSchema, {description: 'The servers themselves, the primary first'}),
    read_only: Nullable(AddressSchema),
    ca_file: Type.String(),
    ca_certificate: Type.String(),
    tls_server_name: Type.String(),
  }, closed)}, closed)}},
  'instances.sql': {
    params: InstanceRef,
    body: Type.Object({
      statement: Type.String({minLength: 1}),
      node: Type.Optional(Type.String()),
      timeout_seconds: Type.Optional(Type.Number({exclusiveMinimum: 0, maximum: 3600})),
    }, closed),
    responses: {200: Type.Object({
      columns: Type.Array(Type.Object({name: Type.String(), type: Type.String()}, closed)),
      rows: Type.Array(Type.Array(Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]))),
      row_count: Type.Integer(),
      command: Type.String(),
      truncated: Type.Boolean({description: 'More rows existed than are returned'}),
    }, closed)},
  },
  'instances.logs': {
    params: InstanceRef,
    query: Type.Object({
      node: Type.Optional(Type.String()),
      since: Type.Optional(Type.String({description: 'ISO 8601'})),
      lines: Type.Optional(Type.Integer({minimum: 0, maximum: 100_000})),
      follow: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: 'text/plain'},
  },

  'replicas.list': {params: InstanceRef, responses: {200: Type.Object({replicas: Type.Array(NodeSchema)}, closed)}},
  'replicas.add': mutation({
    params: InstanceRef,
    body: Type.Object({count: Type.Optional(Type.Integer({minimum: 1, maximum: 16, description: 'One by default'})), plan: Type.Optional(Type.Boolean())}, closed),
  }),
  'replicas.remove': mutation({
    params: Type.Object({instance: Type.String({description: 'Id (ins_…) or name'}), node: Type.String({description: 'Id (nod_…) or name of the node'})}, closed),
    query: PlanQuery,
  }),
  'clusters.get': {params: InstanceRef, responses: {200: Type.Object({cluster: ClusterSchema}, closed)}},

  'backups.list': {
    query: Type.Object({instance: Type.Optional(Type.String({description: 'Id or name, of a deleted one, too'}))}, closed),
    responses: {200: Type.Object({backups: Type.Array(BackupSchema)}, closed)},
  },
  'backups.create': {
    params: InstanceRef,
    body: Type.Object({
      label: Type.Optional(Type.String({minLength: 1, maxLength: 100})),
      type: Type.Optional(Words(['full', 'incremental'])),
      keep_seconds: Type.Optional(Type.Number({exclusiveMinimum: 0, description: 'Of a labelled one; without it, it is kept until it is deleted'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: Plan, 202: AcceptedBackup},
  },
  'backups.get': {params: BackupRef, responses: {200: Type.Object({backup: BackupSchema}, closed)}},
  'backups.verify': {
    params: BackupRef, body: Type.Object({
      restore_test: Type.Optional(Type.Boolean({description: 'Restores it into a throw-away server, too, and runs the engine\'s own checks there'})), plan: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: Plan, 202: AcceptedBackup},
  },
  'backups.delete': {params: BackupRef, query: PlanQuery, responses: {200: Plan, 202: AcceptedBackup}},
  'points.create': {
    params: InstanceRef,
    body: Type.Object({name: Type.String({minLength: 1, maxLength: 63})}, closed),
    responses: {200: Type.Object({point: Type.Object({name: Type.String(), timeline: Type.String(), position: Type.String(), created_at: Time}, closed)}, closed)},
  },
  'drills.restore': mutation({params: InstanceRef, body: PlanFlag}),
  'drills.failover': mutation({
    params: InstanceRef,
    body: Type.Object({
      fault: Type.Optional(Words(['kill', 'hang', 'partition'])),
      clone: Type.Optional(Type.Boolean({description: 'On a copy of the instance, which is deleted afterwards'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
  }),
  'schedules.get': {params: InstanceRef, responses: {200: Type.Object({schedule: ScheduleSchema}, closed)}},
  'schedules.set': {
    params: InstanceRef,
    body: Type.Object({
      enabled: Type.Optional(Type.Boolean()),
      cron_expression: Type.Optional(Type.String({minLength: 1, maxLength: 200})),
      backup_type: Type.Optional(Words(['full', 'incremental'])),
      retention_seconds: Type.Optional(Nullable(Type.Number({exclusiveMinimum: 0}))),
      keep_last: Type.Optional(Nullable(Type.Integer({minimum: 1}))),
      jitter_seconds: Type.Optional(Type.Number({minimum: 0, maximum: 86_400})),
      repository: Type.Optional(Type.String({description: 'Where they are kept; refused while there are backups in another one'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: Type.Union([Plan, Type.Object({schedule: ScheduleSchema}, closed)])},
  },
  'repositories.list': {responses: {200: Type.Object({repositories: Type.Array(RepositorySchema)}, closed)}},
  'repositories.add': {
    body: Type.Object({
      name: Type.String({minLength: 1, maxLength: 40}),
      kind: Type.Optional(Type.String()),
      location: Type.String({minLength: 1, maxLength: 4096, description: 'A path on the machine of the agent, or s3://bucket/prefix'}),
      settings: Type.Optional(RepositorySettings),
      copy_of: Type.Optional(Type.String({description: 'It is kept a copy of that repository'})),
      copy_to: Type.Optional(Type.String({minLength: 1, maxLength: 4096, description: 'A copy of it is kept there: a location of the same kind, reached by the same settings; it is called NAME-copy'})),
      promote: Type.Optional(Type.Boolean({description: 'It is a copy whose original is lost: it becomes a repository of its own, and is copied to no more'})),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: Type.Union([Plan, Type.Object({
      repository: RepositorySchema,
      backups_found: Type.Integer({description: 'Backups that were in it, of databases that this site did not know, and that its master key opens'}),
    }, closed)])},
  },
  'repositories.update': {
    params: Type.Object({repository: Type.String()}, closed),
    body: Type.Object({settings: RepositorySettings, plan: Type.Optional(Type.Boolean())}, closed),
    responses: {200: Type.Union([Plan, Type.Object({repository: RepositorySchema}, closed)])},
  },
  'repositories.promote': {
    params: Type.Object({repository: Type.String()}, closed),
    body: PlanFlag,
    responses: {200: Type.Union([Plan, Type.Object({
      repository: RepositorySchema,
      backups_lost: Type.Integer({description: 'Backups that had not been copied yet'}),
    }, closed)])},
  },
  'repositories.remove': {
    params: Type.Object({repository: Type.String()}, closed),
    responses: {200: Type.Object({removed: Type.Literal(true)}, closed)},
  },
  'repositories.check': {
    params: Type.Object({repository: Type.String()}, closed),
    responses: {200: Type.Object({repository: RepositorySchema}, closed)},
  },
  'keys.export': {responses: {200: Type.Object({keys: Type.Array(Type.Object({
    id: Type.String({description: 'Tells keys apart, and tells nothing of them'}),
    key: Type.String({description: '32 bytes in hexadecimal: whoever has it can read every backup'}),
    source: Type.String(),
  }, closed))}, closed)}},
  'keys.import': {
    body: Type.Object({key: Type.String({pattern: '^[0-9a-fA-F]{64}$', description: '32 bytes in hexadecimal'}), plan: Type.Optional(Type.Boolean())}, closed),
    responses: {200: Plan, 202: Accepted},
  },
  'keys.rotate': {body: PlanFlag, responses: {200: Plan, 202: Accepted}},

  'configuration.get': {
    params: InstanceRef,
    query: Type.Object({all: Type.Optional(Type.Boolean())}, closed),
    responses: {200: Type.Object({parameters: MapOf(ParameterReadingSchema)}, closed)},
  },
  'configuration.update': mutation({
    params: InstanceRef,
    body: Type.Object({
      set: Type.Optional(Values),
      unset: Type.Optional(Type.Array(Type.String())),
      template: Type.Optional(Nullable(Type.String())),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
  }),
  'configuration.diff': {
    params: InstanceRef,
    query: Type.Object({with: Type.Optional(Type.String({description: 'An instance, `template:NAME`, or `defaults` (the default)'}))}, closed),
    responses: {200: Type.Object({differences: Type.Array(Type.Object({
      name: Type.String(), left: Nullable(Type.String()), right: Nullable(Type.String()), unit: Nullable(Type.String()),
    }, closed))}, closed)},
  },

  'engines.list': {responses: {200: Type.Object({
    engines: Type.Array(EngineSchema),
    notes: Type.Array(Type.String(), {description: 'What could not be looked at: a runtime that does not answer'}),
  }, closed)}},
  'engines.install': {
    params: EngineRef,
    body: Type.Object({
      version: Type.Optional(Type.String({minLength: 1, maxLength: 100, description: 'Full, or the beginning of one; with `from` alone, whatever is there'})),
      from: Type.Optional(Type.String({minLength: 1, maxLength: 4096, description: 'An https URL, or a path on the machine of the agent: an archive or a folder; the reference of an image (docker)'})),
      checksum: Type.Optional(Type.String({minLength: 1, maxLength: 200, description: '`sha256:HEX` or `sha512:HEX` of what is at `from`'})),
      runtime: Type.Optional(Type.String()),
      plan: Type.Optional(Type.Boolean()),
    }, closed),
    responses: {200: Plan, 202: Accepted},
  },
  'engines.remove': {
    params: Type.Object({engine: Type.String(), version: Type.String()}, closed),
    query: Type.Object({plan: Type.Optional(Type.Boolean()), runtime: Type.Optional(Type.String())}, closed),
    responses: {200: Plan, 202: Accepted},
  },
  'parameters.list': {
    params: Type.Object({engine: Type.String(), version: Type.String()}, closed),
    responses: {200: Type.Object({parameters: Type.Array(ParameterSchema)}, closed)},
  },
  'parameters.get': {
    params: Type.Object({engine: Type.String(), version: Type.String(), parameter: Type.String()}, closed),
    responses: {200: Type.Object({parameter: ParameterSchema}, closed)},
  },
  'templates.list': {params: EngineRef, responses: {200: Type.Object({templates: Type.Array(TemplateSchema)}, closed)}},
  'templates.get': {
    params: Type.Object({engine: Type.String(), template: Type.String()}, closed),
    responses: {200: Type.Object({template: TemplateSchema}, closed)},
  },
  'templates.save': {
    params: Type.Object({engine: Type.String(), template: Type.String()}, closed),
    body: Type.Object({
      parameters: Values,
      description: Type.Optional(Type.String({maxLength: 500})),
      version: Type.Optional(Type.String({description: 'Version the values are checked against; the newest installed by default'})),
    }, closed),
    responses: {200: Type.Object({template: TemplateSchema}, closed)},
  },
  'templates.delete': {
    params: Type.Object({engine: Type.String(), template: Type.String()}, closed),
    responses: {200: Type.Object({deleted: Type.Literal(true)}, closed)},
  },

  'operations.list': {
    query: Type.Object({instance: Type.Optional(Type.String()), status: Type.Optional(Type.String()), limit: Limit}, closed),
    responses: {200: Type.Object({operations: Type.Array(OperationSchema)}, closed)},
  },
  'operations.get': {params: OperationRef, responses: {200: Type.Object({operation: OperationSchema}, closed)}},
  'operations.events': {params: OperationRef, responses: {200: 'text/event-stream'}},
  'operations.cancel': {params: OperationRef, responses: {202: Accepted}},

  'audit.list': {
    query: Type.Object({limit: Limit, before: Type.Optional(Type.Integer({description: 'Only entries of a smaller sequence number'}))}, closed),
    responses: {200: Type.Object({entries: Type.Array(AuditEntrySchema)}, closed)},
  },
  'audit.verify': {responses: {200: Type.Object({verification: Type.Object({
    ok: Type.Boolean(),
    entries: Type.Integer(),
    first_broken_sequence: Nullable(Type.Integer()),
    because: Nullable(Type.String()),
    head_hash: Nullable(Type.String()),
  }, closed)}, closed)}},
  'requests.list': {
    query: Type.Object({limit: Limit}, closed),
    responses: {200: Type.Object({requests: Type.Array(RequestLogSchema)}, closed)},
  },
} as const satisfies Record<EndpointId, EndpointSchema>

export type EndpointSchemas = typeof endpointSchemas
type Of<T> = T extends TSchema ? Static<T> : undefined
type Part<Id extends EndpointId, Key extends 'params' | 'query' | 'body'> = EndpointSchemas[Id] extends Record<Key, infer T> ? Of<T> : undefined
export type ParamsOf<Id extends EndpointId> = Part<Id, 'params'>
export type QueryOf<Id extends EndpointId> = Part<Id, 'query'>
export type BodyOf<Id extends EndpointId> = Part<Id, 'body'>
type Responses<Id extends EndpointId> = EndpointSchemas[Id]['responses']
type OneResponse<T> = T extends string ? string : T extends TSchema ? Static<T> : never
/** Any success body of the endpoint: a union where there is more than one status. */
export type ResponseOf<Id extends EndpointId> = OneResponse<Responses<Id>[keyof Responses<Id>]>

export type ApiError = Static<typeof ErrorResponseSchema>
export type ApiInstance = Static<typeof InstanceSchema>
export type ApiReplication = Static<typeof ReplicationSchema>
export type ApiCluster = Static<typeof ClusterSchema>
export type ApiNode = Static<typeof NodeSchema>
export type ApiOperation = Static<typeof OperationSchema>
export type ApiBackup = Static<typeof BackupSchema>
export type ApiSchedule = Static<typeof ScheduleSchema>
export type ApiRepository = Static<typeof RepositorySchema>
export type ApiPlan = Static<typeof PlanSchema>
export type ApiParameter = Static<typeof ParameterSchema>
export type ApiParameterReading = Static<typeof ParameterReadingSchema>
export type ApiTemplate = Static<typeof TemplateSchema>
export type ApiEngine = Static<typeof EngineSchema>
export type ApiAgent = Static<typeof AgentSchema>
export type ApiCheck = Static<typeof CheckSchema>
export type ApiBreaker = Static<typeof BreakerSchema>
export type ApiAuditEntry = Static<typeof AuditEntrySchema>
export type ApiRequestLog = Static<typeof RequestLogSchema>
export type ApiCredentials = ResponseOf<'instances.credentials'>['credentials']
export type ApiSqlResult = ResponseOf<'instances.sql'>
export type CreateBody = Static<typeof CreateBodySchema>

/** Shapes that other shapes refer to by name; registered once in the OpenAPI document. */
export const sharedSchemas: readonly TSchema[] = [
  ErrorDetailSchema, ErrorResponseSchema, AddressSchema, SizeSchema, NodeSchema, ReplicationSchema, InstanceSchema, ReplicaSchema, ClusterSchema, BackupSchema, ScheduleSchema, RepositorySchema, StepSchema, OperationSchema,
  PlanSchema, ParameterSchema, ParameterReadingSchema, TemplateSchema, EngineVersionSchema, EngineSchema, AgentSchema,
  CheckSchema, BreakerSchema, AuditEntrySchema, RequestLogSchema, CreateBodySchema,
]

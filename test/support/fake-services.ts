/** The services as the HTTP layer sees them, with plain objects behind: for tests of the server and the client alone. */
import type {ApiBackup, ApiInstance, ApiOperation, ApiPlan, ApiRepository, ApiSchedule, ApiTemplate} from '../../src/core/api/schemas.js'
import {DbaasError} from '../../src/core/errors.js'
import type {
  Idempotency,
  Planned,
  RequestSink,
  Services,
  Started,
  StartedBare,
} from '../../src/agent/services/contract.js'

const at = '2026-11-23T17:22:00.000Z'
const digits = (n: number): string => String(n).padStart(26, '0')

export const anInstance = (n: number, change: Partial<ApiInstance> = {}): ApiInstance => ({
  id: `ins_${digits(n)}`,
  name: `demo-${n}`,
  tenant_id: 'default',
  engine: 'postgresql',
  version: '18.4',
  status: 'running',
  status_reason: n % 2 === 0 ? null : 'backups are off: not protected',
  wanted_status: 'running',
  runtime: 'process', image: null,
  size: {name: 'small', cpu: 1, memory_bytes: 1024 ** 3, storage_bytes: 10 * 1024 ** 3},
  limits: {
    cpu: {enforced: true, because: null},
    memory: {enforced: true, because: 'cgroup v1'},
    storage: {enforced: false, because: 'no quota here'},
  },
  endpoint: n % 3 === 0 ? null : {host: '127.0.0.1', port: 15_432 + n},
  read_only_endpoint: null,
  database: 'app',
  username: 'app',
  high_availability: false,
  nodes: [
    {
      id: `nod_${digits(n)}`,
      name: 'n1',
      role: 'primary',
      sync_state: 'none',
      status: 'running',
      status_reason: null,
      wanted_status: 'running',
      endpoint: {host: '127.0.0.1', port: 25_432 + n},
      timeline: 1,
      lsn: '0/1A2B3C8',
      lag_bytes: null,
      lag_seconds: null,
      last_sync: null,
      pid: 4711, container: null, pod: null,
    },
  ],
  replication: null,
  backup: {
    enabled: false, reason: 'not available yet', schedule: null, retention_seconds: null, next_backup_at: null, last_backup_at: null, recoverable_from: null,
    recoverable_to: null, log_lag_bytes: null, log_lag_seconds: null, last_restore_test: null,
  },
  configuration: {
    engine: 'postgresql',
    version: '18.4',
    parameters: {work_mem: '64MB', 'a.b': 'ünïcode "quoted"\n'},
    template: n % 2 === 0 ? null : 'oltp',
    security_config: {tls_enabled: true, encryption_at_rest: false, customer_managed_key: null, network_acl: []},
  },
  tls: {min_version: 'TLSv1.3', ca_file: '/home/ca.pem'},
  protected: false,
  leased: false,
  expires_at: null,
  created_at: at,
  updated_at: at,
  ...change,
})

export const anOperation = (n: number, change: Partial<ApiOperation> = {}): ApiOperation => ({
  id: `op_${digits(n)}`,
  kind: 'instance.create',
  status: 'running',
  tenant_id: 'default',
  instance_id: `ins_${digits(n)}`,
  steps: [{name: 'place', status: 'running', started_at: at, ended_at: null, because: null}],
  result: null,
  error: null,
  created_at: at,
  ended_at: null,
  ...change,
})

const aPlan: ApiPlan = {
  steps: ['place', 'start'],
  impact: 'none',
  expected_downtime_ms: 0,
  cost_month_delta: null,
  reversible: true,
}
const aTemplate = (engine: string, name: string): ApiTemplate => ({
  engine,
  name,
  built_in: true,
  description: 'for tests',
  parameters: {work_mem: '16MB'},
  updated_at: null,
})

const aBackup: ApiBackup = {
  id: `bak_${digits(1)}`, instance_id: `ins_${digits(1)}`, instance_name: 'demo-1', engine: 'postgresql', type: 'full', status: 'completed',
  because: 'there is no backup before it', trigger: 'first', label: null, size_bytes: 24_000_000, stored_bytes: 3_000_000, created_at: at, completed_at: at,
  expires_at: null, verified_at: at, recoverable_from: at, encrypted: true, checksum: `sha256:${'0'.repeat(64)}`, repository: 'local', incarnation: '0001',
  snapshot: 1, timeline: '00000001', start_position: '0/2000028', end_position: '0/2000158', kept: false,
}
const aSchedule: ApiSchedule = {
  enabled: true, reason: null, cron_expression: '0 2 * * *', backup_type: 'incremental', retention_days: 7, retention_seconds: 604_800, keep_last: null,
  jitter_seconds: 3600, repository: 'local', next_backup_at: at,
}
const aRepository: ApiRepository = {
  name: 'local', kind: 'directory', location: '/home/repository', status: 'ok', because: null, backups: 1, stored_bytes: 3_000_000, created_at: at,
  settings: {path: '/home/repository'}, copy: null,
}

export interface FakeServices extends Services {
  /** Every call that changes something, in order. */
  readonly changes: {
    readonly call: string
    readonly arguments: unknown
    readonly idempotency?: Idempotency | undefined
  }[]
  readonly known: {instances: Map<string, ApiInstance>; operations: Map<string, ApiOperation>}
  /** Sets the operation's new state and tells its followers. */
  change(operation: ApiOperation): void
  /** What `instances.logs` sends; replaced by tests. */
  logLines: (signal: AbortSignal) => AsyncIterable<string>
  /** Thrown by the next call of `instances.list`. */
  failure: unknown
  /** Followers of operations now. */
  followers(): number
}

export function createFakeServices(count = 3): FakeServices {
  const known = {instances: new Map<string, ApiInstance>(), operations: new Map<string, ApiOperation>()}
  for (let n = 1; n <= count; n++) {
    const instance = anInstance(n)
    known.instances.set(instance.name, instance).set(instance.id, instance)
  }
  const changes: FakeServices['changes'] = []
  const waiting = new Set<() => void>()

  const find = (ref: string): ApiInstance => {
    const instance = known.instances.get(ref)
    if (!instance)
      throw new DbaasError('INSTANCE_NOT_FOUND', `there is no instance "${ref}"`, {suggestions: ['dbaas list']})
    return instance
  }
  const operation = (id: string): ApiOperation => {
    const found = known.operations.get(id)
    if (!found) throw new DbaasError('OPERATION_NOT_FOUND', `there is no operation "${id}"`)
    return found
  }
  const start = (
    call: string,
    plan: boolean | undefined,
    args: unknown,
    idempotency?: Idempotency,
  ): Planned | StartedBare => {
    if (plan) return {plan: aPlan}
    changes.push({call, arguments: args, idempotency})
    const started = anOperation(changes.length)
    known.operations.set(started.id, started)
    return {operation: started}
  }
  const onInstance = (
    call: string,
    ref: string,
    plan: boolean | undefined,
    idempotency?: Idempotency,
  ): Planned | Started => {
    const instance = find(ref)
    const result = start(call, plan, {ref}, idempotency)
    return 'plan' in result ? result : {...result, instance}
  }
  async function* follow(id: string, signal: AbortSignal): AsyncGenerator<ApiOperation> {
    let shown = ''
    let wake = (): void => undefined
    const woken = (): void => wake()
    waiting.add(woken)
    signal.addEventListener('abort', woken)
    try {
      while (!signal.aborted) {
        const now = operation(id)
        const text = JSON.stringify(now)
        if (text !== shown) yield now
        shown = text
        if (now.ended_at !== null) return
        if (JSON.stringify(operation(id)) === shown && !signal.aborted)
          await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      waiting.delete(woken)
      signal.removeEventListener('abort', woken)
    }
  }

  const fake: FakeServices = {
    changes,
    known,
    failure: undefined,
    change(changed) {
      known.operations.set(changed.id, changed)
      for (const wake of waiting) wake()
    },
    followers: () => waiting.size,
    async *logLines() {
      yield 'one'
      yield 'zwei äöü €'
    },
    instances: {
      async list() {
        if (fake.failure !== undefined) throw fake.failure
        return [...known.instances].filter(([key]) => key.startsWith('ins_')).map(([, instance]) => instance)
      },
      get: async (_, ref) => find(ref),
      async create(_, body, idempotency) {
        const result = start('create', body.plan, body, idempotency)
        return 'plan' in result
          ? result
          : {...result, instance: anInstance(900, {name: body.name, status: 'provisioning'})}
      },
      async update(_, ref, body) {
        const instance = {...find(ref), ...(body.protected === undefined ? {} : {protected: body.protected})}
        if (body.plan) return {plan: aPlan}
        changes.push({call: 'update', arguments: body})
        return {instance}
      },
      delete: async (_, ref, {plan}, idempotency) => onInstance('delete', ref, plan, idempotency),
      start: async (_, ref, {plan}, idempotency) => onInstance('start', ref, plan, idempotency),
      stop: async (_, ref, {plan}, idempotency) => onInstance('stop', ref, plan, idempotency),
      restart: async (_, ref, {plan}, idempotency) => onInstance('restart', ref, plan, idempotency),
      async lease(_, ref, signal) {
        find(ref)
        return fake.logLines(signal)
      },
      credentials: async (_, ref) => ({
        engine: 'postgresql',
        scheme: 'postgresql',
        host: '127.0.0.1',
        port: 5432,
        database: 'app',
        username: 'app',
        password: `secret of ${find(ref).name}`,
        direct: [{host: '127.0.0.1', port: 25_432}],
        read_only: null,
        ca_file: '/home/ca.pem',
        ca_certificate: '-----BEGIN',
        tls_server_name: 'demo',
      }),
      async sql(_, ref, {statement}, signal) {
        find(ref)
        if (statement === 'sleep') {
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
          changes.push({call: 'sql aborted', arguments: undefined})
        }
        return {
          columns: [
            {name: 'a', type: 'int4'},
            {name: 'b', type: 'text'},
          ],
          rows: [
            [1, 'x'],
            [null, true],
          ],
          row_count: 2,
          command: 'SELECT',
          truncated: false,
        }
      },
      async logs(_, ref, __, signal) {
        find(ref)
        return fake.logLines(signal)
      },
    },
    backups: {
      list: async () => [aBackup],
      get: async () => aBackup,
      async create(_, ref, body, idempotency) {
        find(ref)
        const result = start('backup', body.plan, {ref, ...body}, idempotency)
        return 'plan' in result ? result : {...result, backup: aBackup}
      },
      async verify(_, ref, {plan}, idempotency) {
        const result = start('verify', plan, {ref}, idempotency)
        return 'plan' in result ? result : {...result, backup: aBackup}
      },
      async delete(_, ref, {plan}, idempotency) {
        const result = start('deleteBackup', plan, {ref}, idempotency)
        return 'plan' in result ? result : {...result, backup: aBackup}
      },
      schedule: async () => aSchedule,
      async setSchedule(_, ref, body) {
        if (body.plan) return {plan: aPlan}
        changes.push({call: 'setSchedule', arguments: {ref, ...body}})
        return {schedule: aSchedule}
      },
      repositories: async () => [aRepository],
      async addRepository(_, body) {
        if (body.plan) return {plan: aPlan}
        changes.push({call: 'addRepository', arguments: body})
        return {repository: {...aRepository, name: body.name}, backups_found: 0}
      },
      async updateRepository(_, name, body) {
        if (body.plan) return {plan: aPlan}
        changes.push({call: 'updateRepository', arguments: {name, ...body}})
        return {repository: {...aRepository, name}}
      },
      async promoteRepository(_, name, body) {
        if (body.plan) return {plan: aPlan}
        changes.push({call: 'promoteRepository', arguments: {name}})
        return {repository: {...aRepository, name}, backups_lost: 0}
      },
      removeRepository: async (_, name) => void changes.push({call: 'removeRepository', arguments: name}),
      checkRepository: async () => aRepository,
      exportKeys: async () => [{id: '0123456789abcdef', key: '00'.repeat(32), source: 'the file /home/keys/backup.key'}],
      point: async (_, ref, {name}) => {
        find(ref)
        changes.push({call: 'point', arguments: {ref, name}})
        return {name, timeline: '00000001', position: '0/1', created_at: '2026-11-24T00:00:00.000Z'}
      },
      drill: async (_, ref, {plan}, idempotency) => onInstance('drill', ref, plan, idempotency),
      importKey: async (_, {plan}, idempotency) => start('importKey', plan, {}, idempotency),
      rotateKeys: async (_, {plan}, idempotency) => start('rotateKeys', plan, {}, idempotency),
    },
    adoption: {
      adopt: async (_, {plan}) => (plan ? {plan: aPlan} : {operations: [...known.operations.values()], instances: []}),
    },
    restoring: {
      async restore(_, ref, body, idempotency) {
        return onInstance('instances.restore', ref, body.plan, idempotency)
      },
      async undo(_, ref, body, idempotency) {
        return onInstance('instances.undo', ref, body.plan, idempotency)
      },
      async clone(_, ref, body, idempotency) {
        return onInstance('instances.clone', ref, body.plan, idempotency)
      },
    },
    upgrading: {
      upgrade: async (_, ref, {plan}, idempotency) => onInstance('upgrade', ref, plan, idempotency),
      undo: async (_, ref, {plan}, idempotency) => onInstance('undoUpgrade', ref, plan, idempotency),
    },
    scaling: {
      scale: async (_, ref, {plan}, idempotency) => onInstance('scale', ref, plan, idempotency),
    },
    highAvailability: {
      scale: async (_, ref, {plan}, idempotency) => onInstance('scaleServers', ref, plan, idempotency),
      failover: async (_, ref, {plan}, idempotency) => onInstance('failover', ref, plan, idempotency),
      switchover: async (_, ref, {plan}, idempotency) => onInstance('switchover', ref, plan, idempotency),
      promote: async (_, ref, {plan}, idempotency) => onInstance('promote', ref, plan, idempotency),
      replicas: async (_, ref) => find(ref).nodes.filter((node) => node.role === 'replica'),
      addReplicas: async (_, ref, {plan}, idempotency) => onInstance('addReplicas', ref, plan, idempotency),
      removeReplica: async (_, ref, __, {plan}, idempotency) => onInstance('removeReplica', ref, plan, idempotency),
      drill: async (_, ref, {plan}, idempotency) => onInstance('drillFailover', ref, plan, idempotency),
    },
    configuration: {
      get: async () => ({
        work_mem: {
          value: '64MB',
          unit: 'kB',
          source: 'user',
          default: '4MB',
          requires: 'reload',
          pending_restart: false,
        },
      }),
      update: async (_, ref, body, idempotency) => onInstance('configure', ref, body.plan, idempotency),
      diff: async () => [{name: 'work_mem', left: '64MB', right: null, unit: null}],
      parameters: async () => [
        {
          name: 'work_mem',
          type: 'integer',
          unit: 'kB',
          min: '64',
          max: '2147483647',
          values: null,
          default: '4096',
          category: 'Resource Usage',
          description: 'Memory',
          requires: 'reload',
          managed: null,
        },
      ],
      async parameter(_, engine, version, name) {
        if (name !== 'work_mem')
          throw new DbaasError('UNKNOWN_PARAMETER', `${engine} ${version} has no parameter "${name}"`)
        return (await this.parameters(_, engine, version))[0]!
      },
      templates: async (_, engine) => [aTemplate(engine, 'dev'), aTemplate(engine, 'oltp')],
      template: async (_, engine, name) => aTemplate(engine, name),
      async saveTemplate(_, engine, name, body) {
        changes.push({call: 'saveTemplate', arguments: {engine, name, body}})
        return {...aTemplate(engine, name), built_in: false, parameters: body.parameters, updated_at: at}
      },
      async deleteTemplate(_, engine, name) {
        if (name === 'dev') throw new DbaasError('TEMPLATE_BUILT_IN', `the template "${name}" is built in`)
        changes.push({call: 'deleteTemplate', arguments: {engine, name}})
      },
    },
    engines: {
      list: async () => ({
        engines: [{
          name: 'postgresql', title: 'PostgreSQL', hints: [],
          versions: [{version: '18.4', runtime: 'process', source: 'bundled', installed: true, path: null, checksum: null}],
        }],
        notes: [],
      }),
      install: async (_, engine, body, idempotency) => start('install', body.plan, {engine, ...body}, idempotency),
      remove: async (_, engine, version, {plan}, idempotency) => start('remove', plan, {engine, version}, idempotency),
    },
    operations: {
      list: async () => [...known.operations.values()],
      get: async (_, id) => operation(id),
      async follow(_, id, signal) {
        operation(id)
        return follow(id, signal)
      },
      async cancel(_, id) {
        if (operation(id).ended_at !== null) throw new DbaasError('NOT_CANCELLABLE', 'it has ended')
        changes.push({call: 'cancel', arguments: {id}})
        return operation(id)
      },
    },
    platform: {
      health: async () => ({
        status: 'ok',
        checks: [{name: 'endpoint', ok: true, level: 'ok', message: 'serves', suggestion: null}],
        circuit_breakers: [
          {name: 'runtime', max_failures: 5, reset_timeout: 30, failure_threshold: 0.5, state: 'half-open'},
        ],
      }),
      agent: async () => ({
        pid: process.pid,
        version: '0.1.0',
        socket: '/s',
        site: 'local',
        region: 'local',
        started_at: at,
        home: '/home',
        data_dir: '/data',
        instances: count,
        memory_bytes: 100_000_000,
      }),
      async stop() {
        changes.push({call: 'stop', arguments: undefined})
      },
      logs: async (_, lines) => `the last ${lines} lines\n`,
      doctor: async () => [
        {name: 'disk', ok: false, level: 'warning', message: '1 GiB free', suggestion: 'free some space'},
      ],
      audit: async () => [
        {
          id: `aud_${digits(1)}`,
          sequence: 1,
          at,
          tenant_id: 'default',
          actor: 'local:0',
          source: 'socket',
          action: 'instances.create',
          resource: 'instance/demo',
          result: 'succeeded',
          request_id: 'req_1',
          details: {},
          previous_hash: '',
          hash: 'abc',
        },
      ],
      verifyAudit: async () => ({ok: true, entries: 1, first_broken_sequence: null, because: null, head_hash: 'abc'}),
      requests: async () => [
        {
          request_id: 'req_1',
          client_id: 'local:0',
          method: 'GET',
          path: '/v1/instances',
          status_code: 200,
          duration_ms: 1.5,
          timestamp: at,
        },
      ],
    },
  }
  return fake
}

export interface FakeSink extends RequestSink {
  readonly requests: Parameters<RequestSink['request']>[0][]
  readonly denials: {
    readonly principal: string
    readonly action: string
    readonly resource: string
    readonly because: string
  }[]
}

export function createFakeSink(): FakeSink {
  const requests: FakeSink['requests'] = []
  const denials: FakeSink['denials'] = []
  return {
    requests,
    denials,
    request: (record) => requests.push(record),
    denied: (principal, action, resource, because) =>
      denials.push({principal: principal.id, action, resource, because}),
  }
}

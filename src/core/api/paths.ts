/**
 * Every endpoint of the API, in one table: the server registers its routes from it, the client makes its calls from
 * it, the OpenAPI document and docs are generated from it. `core/api/schemas.ts` gives the shapes; this file has none,
 * so that a command can import it for nothing.
 *
 * `mutates`: the call changes something, takes an `Idempotency-Key`, and is audited.
 */
export interface EndpointPath {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** With `{name}` for path parameters. */
  readonly path: `/v1/${string}`
  readonly mutates: boolean
  readonly summary: string
  /** The CLI verb that makes this call. */
  readonly verb: string
}

const get = (path: `/v1/${string}`, verb: string, summary: string): EndpointPath => ({method: 'GET', path, mutates: false, verb, summary})
const change = (method: EndpointPath['method'], path: `/v1/${string}`, verb: string, summary: string): EndpointPath => ({method, path, mutates: true, verb, summary})

export const endpointPaths = {
  'health.get': get('/v1/health', 'doctor', 'Whether the agent and what it depends on work'),
  'agent.get': get('/v1/agent', 'agent status', 'The agent that answers'),
  'agent.stop': change('POST', '/v1/agent/stop', 'agent stop', 'Stop the agent; databases go on'),
  'agent.adopt': change('POST', '/v1/agent/adopt', 'agent adopt', 'Take over the databases that a lost site left here'),
  'agent.logs': get('/v1/agent/logs', 'agent logs', 'The last lines of the agent\'s own log'),
  'doctor.get': get('/v1/doctor', 'doctor', 'What the site can do, and how to get what it lacks'),
  'sizes.list': get('/v1/sizes', 'create --help', 'The published sizes'),

  'instances.list': get('/v1/instances', 'list', 'The instances of the tenant'),
  'instances.create': change('POST', '/v1/instances', 'create', 'Create an instance, or plan to'),
  'instances.get': get('/v1/instances/{instance}', 'status', 'One instance'),
  'instances.update': change('PATCH', '/v1/instances/{instance}', 'protect', 'Change protection or expiry'),
  'instances.delete': change('DELETE', '/v1/instances/{instance}', 'delete', 'Delete an instance with everything of it'),
  'instances.start': change('POST', '/v1/instances/{instance}/start', 'start', 'Start a stopped instance'),
  'instances.stop': change('POST', '/v1/instances/{instance}/stop', 'stop', 'Stop an instance'),
  'instances.restart': change('POST', '/v1/instances/{instance}/restart', 'restart', 'Restart an instance; new connections are held meanwhile'),
  'instances.scale': change('POST', '/v1/instances/{instance}/scale', 'scale', 'Change CPU, memory, storage, or how many servers there are: live where that is possible, else by one restart or a switchover'),
  'instances.failover': change('POST', '/v1/instances/{instance}/failover', 'failover', 'Make a replica the primary though the primary is lost, or in spite of it'),
  'instances.switchover': change('POST', '/v1/instances/{instance}/switchover', 'switchover', 'Change the primary in order: nothing is lost, new connections are held meanwhile'),
  'instances.promote': change('POST', '/v1/instances/{instance}/promote', 'promote', 'Change the primary in order, to that node'),
  'instances.restore': change('POST', '/v1/instances/{instance}/restore', 'restore', 'Restore a database to a moment: into a new instance, into another, or in place'),
  'instances.undo': change('POST', '/v1/instances/{instance}/restore/undo', 'restore', 'Go back to the state before the last restore in place'),
  'instances.upgrade': change('POST', '/v1/instances/{instance}/upgrade', 'upgrade', 'Another version: minor by one restart, major by a copy that is compared, with the way back kept'),
  'instances.undo_upgrade': change('POST', '/v1/instances/{instance}/upgrade/undo', 'upgrade', 'Go back to the version before the last upgrade'),
  'instances.clone': change('POST', '/v1/instances/{instance}/clone', 'clone', 'A copy of a database that can be written to, as of a moment'),
  'instances.lease': get('/v1/instances/{instance}/lease', 'run', 'A stream that keeps a leased instance as long as it is open'),
  'instances.credentials': get('/v1/instances/{instance}/credentials', 'url', 'How to connect, password included (audited)'),
  'instances.sql': change('POST', '/v1/instances/{instance}/sql', 'sql', 'Run a statement as the application role'),
  'instances.logs': get('/v1/instances/{instance}/logs', 'logs', 'The server\'s log, as text; `follow` keeps the stream open'),

  'replicas.list': get('/v1/instances/{instance}/replicas', 'replicas list', 'The servers of an instance that are not its primary'),
  'replicas.add': change('POST', '/v1/instances/{instance}/replicas', 'replicas add', 'Add a replica'),
  'replicas.remove': change('DELETE', '/v1/instances/{instance}/replicas/{node}', 'replicas remove', 'Remove a replica with its data'),
  'clusters.get': get('/v1/clusters/{instance}', 'status', 'One instance as a cluster: its primary and its replicas'),

  'backups.list': get('/v1/backups', 'backups list', 'Backups of the tenant or of one instance, the newest first; those kept of deleted instances, too'),
  'backups.create': change('POST', '/v1/instances/{instance}/backups', 'backup', 'Take a backup now'),
  'backups.get': get('/v1/backups/{backup}', 'backups show', 'One backup'),
  'backups.verify': change('POST', '/v1/backups/{backup}/verify', 'backups verify', 'Read all of a backup back, and the log that it needs'),
  'backups.delete': change('DELETE', '/v1/backups/{backup}', 'backups delete', 'Delete a backup'),
  'points.create': change('POST', '/v1/instances/{instance}/points', 'backups point', 'Name this moment, so that a restore can go to it'),
  'drills.restore': change('POST', '/v1/instances/{instance}/drills/restore', 'drill restore', 'Restore the newest backup into a throw-away server, check all of it, and keep the receipt'),
  'drills.failover': change('POST', '/v1/instances/{instance}/drills/failover', 'drill failover', 'Break the primary under a real writer, count what was acknowledged and what survived, and keep the receipt'),
  'schedules.get': get('/v1/instances/{instance}/backups/schedule', 'backups schedule', 'When backups are taken, and how long they are kept'),
  'schedules.set': change('PUT', '/v1/instances/{instance}/backups/schedule', 'backups schedule', 'Change when backups are taken and how long they are kept, or turn them off'),
  'repositories.list': get('/v1/repositories', 'repositories list', 'Where backups are kept'),
  'repositories.add': change('POST', '/v1/repositories', 'repositories add', 'Add a place to keep backups in'),
  'repositories.update': change('PATCH', '/v1/repositories/{repository}', 'repositories update', 'Change how a repository is reached: its credentials, its server'),
  'repositories.promote': change('POST', '/v1/repositories/{repository}/promote', 'repositories promote', 'Make a copy take the place of its original, which is lost'),
  'repositories.remove': change('DELETE', '/v1/repositories/{repository}', 'repositories remove', 'Forget a repository that no instance keeps backups in; what is in it stays'),
  'repositories.check': change('POST', '/v1/repositories/{repository}/check', 'repositories check', 'Whether a repository answers, and can do what it must'),
  'keys.export': change('POST', '/v1/keys/export', 'keys export', 'The master key of the backups, for the safe (audited)'),
  'keys.import': change('POST', '/v1/keys/import', 'keys import', 'Put back a master key that was exported, and wrap all keys by it'),
  'keys.rotate': change('POST', '/v1/keys/rotate', 'keys rotate', 'Wrap the keys of all backups by a new master key'),

  'configuration.get': get('/v1/instances/{instance}/configuration', 'config show', 'Parameters as they are on the server'),
  'configuration.update': change('PATCH', '/v1/instances/{instance}/configuration', 'config set', 'Change parameters by reload or restart, rolled back on failure'),
  'configuration.diff': get('/v1/instances/{instance}/configuration/diff', 'config diff', 'Parameters that differ from another instance, a template, or the defaults'),

  'engines.list': get('/v1/engines', 'engines list', 'Engines, their versions, and which are installed'),
  'engines.install': change('POST', '/v1/engines/{engine}/versions', 'engines install', 'Install a version'),
  'engines.remove': change('DELETE', '/v1/engines/{engine}/versions/{version}', 'engines remove', 'Remove an installed version that no instance uses'),
  'parameters.list': get('/v1/engines/{engine}/versions/{version}/parameters', 'config explain', 'The parameter catalogue of a version'),
  'parameters.get': get('/v1/engines/{engine}/versions/{version}/parameters/{parameter}', 'config explain', 'One parameter: range, unit, default, reload or restart'),
  'templates.list': get('/v1/engines/{engine}/templates', 'config templates list', 'Configuration templates of an engine'),
  'templates.get': get('/v1/engines/{engine}/templates/{template}', 'config templates show', 'One template'),
  'templates.save': change('PUT', '/v1/engines/{engine}/templates/{template}', 'config templates save', 'Make or replace a template'),
  'templates.delete': change('DELETE', '/v1/engines/{engine}/templates/{template}', 'config templates delete', 'Delete a user-made template'),

  'operations.list': get('/v1/operations', 'operations list', 'Operations, newest first'),
  'operations.get': get('/v1/operations/{operation}', 'operations show', 'One operation with its steps'),
  'operations.events': get('/v1/operations/{operation}/events', 'operations follow', 'The operation each time it changes, as server-sent events, until it ends'),
  'operations.cancel': change('POST', '/v1/operations/{operation}/cancel', 'operations cancel', 'Cancel and undo an operation'),

  'audit.list': get('/v1/audit', 'audit list', 'Audit entries, newest first'),
  'audit.verify': get('/v1/audit/verification', 'audit verify', 'Whether the hash chain of the audit log is whole'),
  'requests.list': get('/v1/requests', 'requests list', 'The request log, newest first'),
} as const satisfies Record<string, EndpointPath>

export type EndpointId = keyof typeof endpointPaths
export const endpointIds = Object.keys(endpointPaths) as EndpointId[]
export const jsonBodyLimitBytes = 1024 * 1024

/** Where the OpenAPI document of all of the above is. */
export const openapiPath = '/v1/openapi.json'

/** Request headers that are ours. An idempotency key is 1 to 255 visible ASCII characters. */
export const tenantHeader = 'x-dbaas-tenant'
export const idempotencyHeader = 'idempotency-key'
/** Of a request (honoured when it is 1 to 128 of `A-Z a-z 0-9 . _ : -`) and of every response. */
export const requestIdHeader = 'x-request-id'

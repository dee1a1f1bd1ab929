/**
 * The metadata schema, one entry a version; `PRAGMA user_version` counts them. An entry that has shipped is never
 * edited: its hash is kept in the database and compared at every start.
 */
export interface Migration {
  readonly name: string
  readonly sql: string
}

export const metadataMigrations: readonly Migration[] = [
  {
    name: '0001-foundation',
    sql: `
CREATE TABLE instances (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT NOT NULL, engine TEXT NOT NULL, version TEXT NOT NULL,
  runtime TEXT NOT NULL, status TEXT NOT NULL, status_reason TEXT, wanted TEXT NOT NULL, size TEXT NOT NULL,
  template TEXT, layers TEXT NOT NULL, endpoint_host TEXT NOT NULL, endpoint_port INTEGER NOT NULL,
  database TEXT NOT NULL, username TEXT NOT NULL, incarnation TEXT NOT NULL, protected INTEGER NOT NULL,
  expires_at INTEGER, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT;
CREATE TABLE nodes (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, instance_id TEXT NOT NULL REFERENCES instances (id), name TEXT NOT NULL,
  role TEXT NOT NULL, wanted TEXT NOT NULL, status TEXT NOT NULL, status_reason TEXT, port INTEGER NOT NULL,
  runtime_ref TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
  UNIQUE (instance_id, name)
) STRICT;
CREATE TABLE operations (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, kind TEXT NOT NULL, instance_id TEXT, status TEXT NOT NULL,
  input TEXT NOT NULL, step TEXT NOT NULL, direction TEXT NOT NULL, attempt INTEGER NOT NULL, step_started_at INTEGER,
  steps TEXT NOT NULL, result TEXT NOT NULL, error TEXT, cancel_requested INTEGER NOT NULL, principal_id TEXT NOT NULL,
  request_id TEXT NOT NULL, deadline_at INTEGER NOT NULL, run_at INTEGER NOT NULL, lease_owner TEXT, lease_until INTEGER,
  created_at INTEGER NOT NULL, ended_at INTEGER
) STRICT;
CREATE INDEX operations_open ON operations (created_at) WHERE ended_at IS NULL;
CREATE INDEX operations_of_instance ON operations (instance_id, created_at);
CREATE TABLE templates (
  tenant_id TEXT NOT NULL, engine TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, parameters TEXT NOT NULL,
  updated_at INTEGER NOT NULL, PRIMARY KEY (tenant_id, engine, name)
) STRICT;
CREATE TABLE secrets (
  tenant_id TEXT NOT NULL, owner_id TEXT NOT NULL, name TEXT NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (owner_id, name)
) STRICT;
CREATE TABLE ports (port INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, owner_id TEXT NOT NULL) STRICT;
CREATE TABLE settings (name TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, value TEXT NOT NULL) STRICT;
CREATE TABLE measurements (
  id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX measurements_by_name ON measurements (name, id);
CREATE TABLE requests (
  id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, tenant_id TEXT NOT NULL, client_id TEXT NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, status_code INTEGER NOT NULL, duration_ms REAL NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_by_time ON requests (at);
CREATE TABLE idempotency (
  tenant_id TEXT NOT NULL, principal_id TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
  operation_id TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (principal_id, key)
) STRICT;
CREATE TABLE audit_outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id TEXT NOT NULL, entry TEXT NOT NULL) STRICT;
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, tenant_id TEXT NOT NULL, type TEXT NOT NULL,
  subject TEXT NOT NULL, payload TEXT NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (at);
`,
  },
  {
    name: '0002-images-and-leases',
    sql: `
ALTER TABLE instances ADD COLUMN image TEXT;
ALTER TABLE instances ADD COLUMN image_asked TEXT;
ALTER TABLE instances ADD COLUMN publish_address TEXT NOT NULL DEFAULT '127.0.0.1';
ALTER TABLE instances ADD COLUMN leased INTEGER NOT NULL DEFAULT 0;
`,
  },
  {
    name: '0003-backups',
    sql: `
ALTER TABLE operations ADD COLUMN lane TEXT NOT NULL DEFAULT 'instance';
CREATE TABLE repositories (
  name TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, kind TEXT NOT NULL, location TEXT NOT NULL, settings TEXT NOT NULL, repository_id TEXT,
  copy_of TEXT, copied_at INTEGER, copy_because TEXT, copy_failed_at INTEGER, status TEXT NOT NULL, because TEXT,
  checked_at INTEGER, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE histories (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, instance_id TEXT NOT NULL, instance_name TEXT NOT NULL, engine TEXT NOT NULL,
  repository TEXT NOT NULL, system TEXT, began_at INTEGER NOT NULL, ended_at INTEGER, kept INTEGER NOT NULL, shredded INTEGER NOT NULL
) STRICT;
CREATE INDEX histories_of_instance ON histories (instance_id, began_at);
CREATE TABLE backups (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, instance_id TEXT NOT NULL, instance_name TEXT NOT NULL, engine TEXT NOT NULL,
  incarnation TEXT NOT NULL REFERENCES histories (id), repository TEXT NOT NULL, line INTEGER, trigger TEXT NOT NULL, type TEXT, status TEXT NOT NULL,
  because TEXT, label TEXT, keep_ms INTEGER, snapshot INTEGER, size_bytes INTEGER, stored_bytes INTEGER, encrypted INTEGER NOT NULL,
  checksum TEXT, timeline TEXT, start_position TEXT, end_position TEXT, start_segment TEXT, end_segment TEXT, consistent_at INTEGER,
  base TEXT NOT NULL, verified_at INTEGER, created_at INTEGER NOT NULL, completed_at INTEGER, expires_at INTEGER
) STRICT;
CREATE INDEX backups_of_instance ON backups (instance_id, created_at);
CREATE INDEX backups_of_incarnation ON backups (incarnation, created_at);
CREATE TABLE policies (
  instance_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, enabled INTEGER NOT NULL, because TEXT, repository TEXT NOT NULL, cron TEXT NOT NULL,
  backup_type TEXT NOT NULL, jitter_ms INTEGER NOT NULL, window_ms INTEGER, keep_last INTEGER, enabled_at INTEGER NOT NULL,
  served_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE logs (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, instance_id TEXT NOT NULL, state TEXT NOT NULL, because TEXT, since INTEGER NOT NULL,
  timeline TEXT, position TEXT, durable_at INTEGER, lag_bytes INTEGER, lag_seconds REAL, line INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE TABLE restore_tests (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, instance_id TEXT NOT NULL, backup_id TEXT NOT NULL, at INTEGER NOT NULL, ok INTEGER NOT NULL,
  rto_seconds REAL, recovered_to INTEGER, result TEXT NOT NULL
) STRICT;
CREATE INDEX restore_tests_of_instance ON restore_tests (instance_id, at);
`,
  },
  {
    name: '0004-clusters',
    sql: `
CREATE TABLE clusters (
  instance_id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, state TEXT NOT NULL, operation_id TEXT, last_change TEXT, updated_at INTEGER NOT NULL
) STRICT;
`,
  },
  {
    name: '0005-failover-drills',
    sql: `
CREATE TABLE failover_drills (
  id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, instance_id TEXT NOT NULL, at INTEGER NOT NULL, ok INTEGER NOT NULL, result TEXT NOT NULL
) STRICT;
CREATE INDEX failover_drills_of_instance ON failover_drills (instance_id, at);
`,
  },
]

export const auditMigrations: readonly Migration[] = [
  {
    name: '0001-chain',
    sql: `
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant_id TEXT NOT NULL, body TEXT NOT NULL,
  previous_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX entries_of_tenant ON entries (tenant_id, sequence);
CREATE TRIGGER entries_are_not_updated BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
`,
  },
]

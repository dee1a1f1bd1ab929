/** The parameters that the agent answers for, and why (PARAMETER_MANAGED); and their values. */
import {because, managedBy, sharedReasons} from '../mysql-family/managed.js'

export const whyManaged = managedBy({
  ...sharedReasons,
  innodb_directories: because.place,
  innodb_doublewrite_dir: because.place,
  innodb_temp_tablespaces_dir: because.place,
  innodb_redo_log_archive_dirs: because.place,
  'admin_*': because.place,
  create_admin_listener_thread: because.place,
  'mysqlx*': because.place,
  server_memory: because.place,
  container_aware: because.place,
  innodb_dedicated_server: 'the size of the instance says what it says, for its part of the machine',

  auto_generate_certs: because.tls,
  authentication_policy: because.login,
  'caching_sha2_password_*': because.login,
  'sha256_password_*': because.login,
  'mysql_native_password*': because.login,
  default_authentication_plugin: because.login,
  'activate_*': because.login,
  mandatory_roles: because.login,
  partial_revokes: because.login,
  protocol_compression_algorithms: because.access,
  external_table_storage_engine: because.engines,
  log_raw: because.log,
  log_timestamps: because.log,
  log_slow_replica_statements: because.replication,
  log_slow_slave_statements: because.replication,

  'persist_*': because.login,
  persisted_globals_load: 'what an instance is configured with is in one place, and that is not its data directory',

  enforce_gtid_consistency: because.replication,
  'group_replication_*': because.replication,
  'clone_*': because.replication,
  replication_optimize_for_static_plugin_config: because.replication,
  replication_sender_observe_commit_only: because.replication,
  server_id_bits: because.replication,
  binlog_encryption: because.replication,
  binlog_error_action: because.durability,
  binlog_gtid_simple_recovery: because.recovery,
  binlog_rotate_encryption_master_key_at_startup: because.action,
  binlog_row_event_max_size: because.replication,
  innodb_redo_log_encrypt: because.durability,
  innodb_undo_log_encrypt: because.durability,
  innodb_validate_tablespace_paths: because.recovery,
  innodb_flush_method: because.durability,
  innodb_use_fdatasync: because.durability,

  'keyring_*': because.libraries,
  'mecab_*': because.libraries,
  'telemetry*': because.libraries,
  innodb_limit_optimistic_insert_debug: because.debugging,
  keyring_operations: because.libraries,

  innodb_buffer_pool_in_core_file: because.recovery,
  thread_handling: because.access,
  ssl_fips_mode: because.tls,
  ...Object.fromEntries(
    ['innodb_checkpoint_disabled', 'innodb_redo_log_capacity_debug'].map((name) => [name, because.debugging]),
  ),
})

/**
 * The same for every instance of a version, and for as long as it lives: a reload never sets them. The slow log goes where
 * the server's errors go, a file that is cut when it grows; where nobody can open that again (a pipe of another user),
 * MySQL says so in its log and runs without it.
 */
export const managedValues = (_version: string): Readonly<Record<string, string>> => ({
  require_secure_transport: 'ON',
  tls_version: 'TLSv1.3',
  auto_generate_certs: 'OFF',
  caching_sha2_password_auto_generate_rsa_keys: 'OFF',
  sha256_password_auto_generate_rsa_keys: 'OFF',
  // nothing in the data directory may override the file
  persisted_globals_load: 'OFF',
  mysqlx: 'OFF',
  local_infile: 'OFF',
  secure_file_priv: 'NULL',
  skip_name_resolve: 'ON',
  // a health check that is cut off counts as a connection error, and would close the server to its host
  max_connect_errors: '4294967295',
  log_timestamps: 'UTC',
  log_output: 'FILE',
  slow_query_log: 'ON',
  slow_query_log_file: '/dev/stderr',
  performance_schema: 'ON',
  // replication (ha.md 3.2)
  log_bin: 'binlog',
  binlog_format: 'ROW',
  gtid_mode: 'ON',
  enforce_gtid_consistency: 'ON',
  log_replica_updates: 'ON',
  skip_replica_start: 'ON',
  relay_log: 'relay',
  relay_log_recovery: 'ON',
  // durability
  sync_binlog: '1',
  innodb_flush_log_at_trx_commit: '1',
  innodb_doublewrite: 'ON',
})

/** What an instance has unless its owner says otherwise. */
export const ownDefaults: Readonly<Record<string, string>> = {
  character_set_server: 'utf8mb4',
}

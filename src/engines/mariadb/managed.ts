/** The parameters that the agent answers for, and why (PARAMETER_MANAGED); and their values. */
import {because, managedBy, sharedReasons} from '../mysql-family/managed.js'

export const whyManaged = managedBy({
  ...sharedReasons,
  log_slow_admin_statements: 'it is a part of log_slow_filter',
  innodb_log_checkpoint_now: because.action,
  ignore_builtin_innodb: because.libraries,
  innodb_log_file_mmap: because.place,
  server_uid: because.fact,
  date_format: because.fact,
  datetime_format: because.fact,
  time_format: because.fact,
  ignore_db_dirs: because.place,
  extra_port: because.place,
  extra_max_connections: because.place,
  large_pages: because.place,

  strict_password_validation: because.login,
  secure_auth: because.login,
  old_passwords: because.login,
  'simple_password_check_*': because.login,
  max_password_errors: because.login,
  proxy_protocol_networks: because.login,

  log_warnings: because.log,
  log_slow_query: because.log,
  log_slow_query_file: because.log,
  log_slow_slave_statements: because.replication,
  sql_error_log: because.log,
  'server_audit_*': because.log,

  expire_logs_days: because.replication,
  read_binlog_speed_limit: because.replication,
  master_verify_checksum: because.replication,
  binlog_alter_two_phase: because.replication,
  binlog_commit_wait_count: because.replication,
  binlog_annotate_row_events: because.replication,
  'wsrep_*': because.replication,

  aria_recover_options: because.recovery,
  aria_sync_log_dir: because.durability,
  innodb_flush_method: because.durability,
  innodb_use_atomic_writes: because.durability,
  innodb_encrypt_log: because.durability,
  'innodb_encrypt*': because.durability,
  'innodb_encryption_*': because.durability,
  'innodb_default_encryption_key_id': because.durability,
  innodb_data_file_buffering: because.durability,
  innodb_data_file_write_through: because.durability,
  innodb_log_file_buffering: because.durability,
  innodb_log_file_write_through: because.durability,
  innodb_immediate_scrub_data_uncompressed: because.durability,
  innodb_instant_alter_column_allowed: because.recovery,

  aria_block_size: because.frozen,
  'aria_log_dir*': because.place,
  storage_engine: because.access,
  thread_handling: because.access,

  'feedback*': 'the server tells nobody about itself',
  aria_encrypt_tables: because.durability,
  tmp_disk_table_encrypt: because.durability,
  debug_no_thread_alarm: because.debugging,
  secure_timestamp: because.roles,
})

/**
 * The same for every instance of a version, and for as long as it lives: a reload never sets them. The slow log goes where
 * the server's errors go, a file that is cut when it grows; where nobody can open that again (a pipe of another user),
 * MariaDB says so in its log and runs without it.
 */
export const managedValues = (_version: string): Readonly<Record<string, string>> => ({
  require_secure_transport: 'ON',
  tls_version: 'TLSv1.3',
  local_infile: 'OFF',
  skip_name_resolve: 'ON',
  // a health check that is cut off counts as a connection error, and would close the server to its host
  max_connect_errors: '4294967295',
  log_output: 'FILE',
  slow_query_log: 'ON',
  slow_query_log_file: '/dev/stderr',
  performance_schema: 'ON',
  // replication (ha.md 3.6)
  log_bin: 'binlog',
  binlog_format: 'ROW',
  gtid_strict_mode: 'ON',
  gtid_domain_id: '0',
  log_slave_updates: 'ON',
  skip_slave_start: 'ON',
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

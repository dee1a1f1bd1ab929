/** A first list of the values; the config side adds the reasons (`whyManaged`) and owns the file. */

export const managedValues = (_version: string): Readonly<Record<string, string>> => ({
  // TLS
  require_secure_transport: 'ON',
  tls_version: 'TLSv1.3',
  auto_generate_certs: 'OFF',
  caching_sha2_password_auto_generate_rsa_keys: 'OFF',
  // nothing in the data directory may override the file
  persisted_globals_load: 'OFF',
  mysqlx: 'OFF',
  local_infile: 'OFF',
  secure_file_priv: 'NULL',
  skip_name_resolve: 'ON',
  // a health check that is cut off counts as a connection error, and would close the server to its host
  max_connect_errors: '4294967295',
  log_timestamps: 'UTC',
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

export const ownDefaults: Readonly<Record<string, string>> = {
  character_set_server: 'utf8mb4',
  binlog_expire_logs_seconds: '604800',
}

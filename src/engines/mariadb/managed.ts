/** A first list of the values; the config side adds the reasons (`whyManaged`) and owns the file. */

export const managedValues = (_version: string): Readonly<Record<string, string>> => ({
  // TLS
  require_secure_transport: 'ON',
  tls_version: 'TLSv1.3',
  local_infile: 'OFF',
  skip_name_resolve: 'ON',
  // a health check that is cut off counts as a connection error, and would close the server to its host
  max_connect_errors: '4294967295',
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

export const ownDefaults: Readonly<Record<string, string>> = {
  character_set_server: 'utf8mb4',
  expire_logs_days: '7',
}

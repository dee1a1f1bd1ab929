/** Why the agent answers for parameters (PARAMETER_MANAGED): what both servers have. */

export const because = {
  place: 'the agent gives the server its place: folders, address and port',
  tls: "the agent manages TLS: certificates of the site's own CA, TLS 1.3 at least, no plain text",
  login: 'the agent manages who may log in, and how',
  log: "the agent reads the server's log, and keeps it within bounds; slow statements are in it (long_query_time says which)",
  replication: 'the agent manages replication, and the binary log that it and recovery need',
  durability: 'the agent never trades acknowledged commits or damage detection for speed',
  libraries: 'the agent chooses what code is loaded into the server',
  files: 'statements neither read nor write files of the machine',
  frozen: 'it is frozen when the data directory is made',
  access: 'the agent keeps a way in for itself and its health checks',
  roles: "the agent decides whether the server takes writes, by its instance's role",
  monitoring: 'the agent measures the server by its performance_schema',
  debugging: "it is an aid of the server's own developers and testers that can damage data or hold up every session",
  recovery: 'the agent decides how a damaged or crashed server starts again',
  fact: 'it says what the server is',
  table: 'it names a table that must be there first: a session sets it when it makes the index',
  engines: 'the agent protects, checks and restores tables of the transactional storage engine',
  action: 'it is an order that is carried out once, not a setting',
} as const

/** Name, or prefix ending in `*` -> why. An exact name beats a prefix, a longer prefix a shorter one. */
export type Reasons = Readonly<Record<string, string>>

export const sharedReasons: Reasons = {
  basedir: because.place,
  datadir: because.place,
  tmpdir: because.place,
  socket: because.place,
  port: because.place,
  port_open_timeout: because.place,
  bind_address: because.place,
  pid_file: because.place,
  hostname: because.place,
  'version*': because.fact,
  system_time_zone: because.fact,
  innodb_version: because.fact,
  license: because.fact,
  large_files_support: because.fact,
  protocol_version: because.fact,
  innodb_ft_aux_table: because.action,
  innodb_ft_server_stopword_table: because.table,
  innodb_ft_user_stopword_table: because.table,
  character_sets_dir: because.place,
  lc_messages_dir: because.place,
  skip_networking: because.place,
  'report_*': because.replication,
  innodb_data_home_dir: because.place,
  innodb_data_file_path: because.frozen,
  innodb_temp_data_file_path: because.place,
  innodb_log_group_home_dir: because.place,
  innodb_undo_directory: because.place,
  innodb_tmpdir: because.place,
  innodb_buffer_pool_filename: because.place,
  replica_load_tmpdir: because.place,
  slave_load_tmpdir: because.place,

  'ssl_*': because.tls,
  'tls_*': because.tls,
  require_secure_transport: because.tls,

  skip_name_resolve: because.login,
  skip_show_database: because.login,
  init_connect: because.login,
  default_password_lifetime: because.login,
  disconnect_on_expired_password: because.login,
  check_proxy_users: because.login,
  automatic_sp_privileges: because.login,
  'validate_password*': because.login,
  'password_*': because.login,

  'general_log*': because.log,
  log_output: because.log,
  slow_query_log: because.log,
  slow_query_log_file: because.log,
  log_error: because.log,
  'log_error_*': because.log,

  server_id: because.replication,
  server_uuid: because.replication,
  log_bin: because.replication,
  'log_bin_*': because.replication,
  binlog_format: because.replication,
  binlog_row_image: because.replication,
  binlog_checksum: because.replication,
  sql_log_bin: because.replication,
  log_replica_updates: because.replication,
  log_slave_updates: because.replication,
  'relay_log*': because.replication,
  max_relay_log_size: because.replication,
  sync_relay_log: because.replication,
  sync_relay_log_info: because.replication,
  sync_master_info: because.replication,
  sync_source_info: because.replication,
  'replica_*': because.replication,
  'slave_*': because.replication,
  'replicate_*': because.replication,
  'rpl_*': because.replication,
  'gtid_*': because.replication,
  skip_replica_start: because.replication,
  skip_slave_start: because.replication,
  init_replica: because.replication,
  init_slave: because.replication,
  'sql_slave_*': because.replication,
  'sql_replica_*': because.replication,
  'auto_increment_*': because.replication,
  'encrypt_*': because.durability,

  sync_binlog: because.durability,
  innodb_flush_log_at_trx_commit: because.durability,
  innodb_flush_log_at_timeout: because.durability,
  innodb_doublewrite: because.durability,
  innodb_checksum_algorithm: because.durability,
  innodb_log_checksums: because.durability,
  innodb_fast_shutdown: because.durability,
  flush: because.durability,
  flush_time: because.durability,
  myisam_recover_options: because.recovery,
  innodb_force_recovery: because.recovery,
  innodb_force_load_corrupted: because.recovery,
  tc_heuristic_recover: because.recovery,
  core_file: because.recovery,

  plugin_dir: because.libraries,
  'plugin_*': because.libraries,
  init_file: because.libraries,

  local_infile: because.files,
  ft_stopword_file: because.files,
  secure_file_priv: because.files,

  lower_case_table_names: because.frozen,
  innodb_page_size: because.frozen,
  innodb_undo_tablespaces: because.frozen,

  max_connect_errors: because.access,
  max_user_connections: because.access,
  offline_mode: because.roles,
  read_only: because.roles,
  super_read_only: because.roles,
  innodb_read_only: because.roles,

  performance_schema: because.monitoring,

  debug: because.debugging,
  debug_sync: because.debugging,
  gdb: because.debugging,
  innodb_buffer_pool_dump_now: because.action,
  innodb_buffer_pool_load_now: because.action,
  innodb_buffer_pool_load_abort: because.action,
  'innodb_monitor_*': because.action,
}

/** Why the agent alone sets a parameter, or null, by the reasons given. */
export function managedBy(reasons: Reasons): (name: string) => string | null {
  const prefixes = Object.keys(reasons)
    .filter((name) => name.endsWith('*'))
    .map((name) => name.slice(0, -1))
    .sort((a, b) => b.length - a.length)
  return (name) => {
    if (Object.hasOwn(reasons, name)) return reasons[name] as string
    const prefix = prefixes.find((candidate) => name.startsWith(candidate))
    return prefix === undefined ? null : (reasons[`${prefix}*`] as string)
  }
}

/** The parameters that the agent answers for, and why (PARAMETER_MANAGED). */
import {can} from './versions.js'

const place = 'the agent gives the server its place: folders, address and port'
const tls = "the agent manages TLS: certificates of the site's own CA, TLS 1.3 at least, no plain text"
const login = 'the agent manages who may log in, and how'
const log = "the agent reads the server's log, and keeps it within bounds"
const replication = 'the agent manages replication'
const archive = 'the agent manages the log archive and recovery'
const durability = 'the agent never trades acknowledged commits or damage detection for speed'
const libraries = 'the agent chooses what code is loaded into the server'
const supervision = 'the agent supervises the server, and decides when it starts again'
const access = 'the agent keeps a way in for itself, and notices dead connections'
const debugging =
  "it is a debugging aid of PostgreSQL's own developers that would hold up every session, the agent's too"

/** Name, or prefix ending in `*` -> why. */
const reasons: Readonly<Record<string, string>> = {
  config_file: place,
  hba_file: place,
  ident_file: place,
  data_directory: place,
  external_pid_file: place,
  hosts_file: place,
  listen_addresses: place,
  port: place,
  'unix_socket_*': place,
  cluster_name: place,
  'bonjour*': place,
  stats_temp_directory: place,
  'ssl*': tls,
  'krb_*': login,
  gss_accept_delegation: login,
  db_user_namespace: login,
  password_encryption: login,
  oauth_validator_libraries: login,
  'md5_password_*': login,
  logging_collector: log,
  log_destination: log,
  log_directory: log,
  log_filename: log,
  log_file_mode: log,
  log_line_prefix: log,
  log_timezone: log,
  'log_rotation_*': log,
  log_truncate_on_rotation: log,
  'syslog_*': log,
  event_source: log,
  wal_level: replication,
  max_wal_senders: replication,
  max_replication_slots: replication,
  hot_standby: replication,
  wal_log_hints: replication,
  primary_conninfo: replication,
  recovery_min_apply_delay: replication,
  'wal_receiver_*': replication,
  wal_retrieve_retry_interval: replication,
  primary_slot_name: replication,
  promote_trigger_file: replication,
  synchronous_standby_names: replication,
  synchronized_standby_slots: replication,
  sync_replication_slots: replication,
  'archive_*': archive,
  summarize_wal: archive,
  wal_summary_keep_time: archive,
  restore_command: archive,
  'recovery_target*': archive,
  recovery_end_command: archive,
  fsync: durability,
  full_page_writes: durability,
  data_sync_retry: durability,
  zero_damaged_pages: durability,
  ignore_checksum_failure: durability,
  ignore_invalid_pages: durability,
  ignore_system_indexes: durability,
  allow_system_table_mods: durability,
  shared_preload_libraries: libraries,
  session_preload_libraries: libraries,
  local_preload_libraries: libraries,
  jit_provider: libraries,
  dynamic_library_path: libraries,
  extension_control_path: libraries,
  restart_after_crash: supervision,
  allow_alter_system: supervision,
  send_abort_for_crash: supervision,
  send_abort_for_kill: supervision,
  superuser_reserved_connections: access,
  'tcp_*': access,
  pre_auth_delay: debugging,
  post_auth_delay: debugging,
  debug_discard_caches: debugging,
}

const prefixes = Object.keys(reasons)
  .filter((name) => name.endsWith('*'))
  .map((name) => name.slice(0, -1))

/** Why the agent alone sets the parameter, or null. */
export function whyManaged(name: string): string | null {
  const lower = name.toLowerCase()
  if (Object.hasOwn(reasons, lower)) return reasons[lower] as string
  const prefix = prefixes.find((candidate) => lower.startsWith(candidate))
  return prefix === undefined ? null : (reasons[`${prefix}*`] as string)
}

/** Frozen by the pool of data directories, or fixed by how instances are run: the same for every one of a major. */
export const managedValues = (version: string): Readonly<Record<string, string>> => ({
  unix_socket_directories: '',
  ssl: 'on',
  ssl_min_protocol_version: 'TLSv1.3',
  password_encryption: 'scram-sha-256',
  logging_collector: 'off',
  log_destination: 'stderr',
  // logTime reads what `%m` writes; `%q` ends the prefix for processes without a session
  log_line_prefix: '%m [%p] %q%u@%d ',
  log_timezone: 'UTC',
  wal_level: 'replica',
  max_wal_senders: '10',
  max_replication_slots: '10',
  hot_standby: 'on',
  wal_log_hints: 'on',
  fsync: 'on',
  full_page_writes: 'on',
  // the agent decides: a primary that reopened by itself would show commits that nobody acknowledged
  restart_after_crash: 'off',
  shared_preload_libraries: 'pg_stat_statements',
  superuser_reserved_connections: '3',
  tcp_keepalives_idle: '60',
  tcp_keepalives_interval: '10',
  tcp_keepalives_count: '6',
  ...(can(version, 'allow-alter-system') ? {allow_alter_system: 'off'} : {}),
  // which pages changed since a backup: the next one reads and sends only those
  ...(can(version, 'incremental-backup') ? {summarize_wal: 'on', wal_summary_keep_time: '10d'} : {}),
})

/** What an instance has unless its owner says otherwise; `initdb` would have chosen them by the machine's locale. */
export const ownDefaults: Readonly<Record<string, string>> = {
  timezone: 'UTC',
  datestyle: 'iso, mdy',
  default_text_search_config: 'pg_catalog.english',
  lc_messages: 'C',
  lc_monetary: 'C',
  lc_numeric: 'C',
  lc_time: 'C',
}

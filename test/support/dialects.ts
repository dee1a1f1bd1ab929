/**
 * What tests say to each engine, and how they read back by other means than the product's own: SQL of that engine, and
 * values that any server of a supported version takes.
 */
import fc from 'fast-check'

export interface Dialect {
  /** Parameters of every kind and way of applying them, each with a valid value. */
  readonly parameter: fc.Arbitrary<readonly [name: string, value: string]>
  /** One row, whose last column is the TLS version of the session that asks. */
  readonly tlsVersion: string
  /** One row, whose last two columns are unit (if the engine has units) and value. */
  parameterQuery(name: string): string
  /** Whether the row read means the value asked for. */
  same(row: readonly unknown[], asked: string): boolean
  /** One row, one column: rights of the application's role beyond its own database; empty, zero or false. */
  readonly tooManyRights: string
  /** Statements that put a text into a table and an index of it, 50 rows. */
  marker(text: string): readonly string[]
}

const scaled = (units: Readonly<Record<string, number>>) => (row: readonly unknown[], asked: string): boolean => {
  const [unit, read] = [row[0] === null ? null : String(row[0]), String(row[1])]
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]+)?$/.exec(asked)
  if (!match || asked === read) return asked === read
  const base = units[unit ?? ''] ?? 1
  const scale = match[2] ? (units[match[2]] as number) : base
  return Math.abs(Number(read) * base - Number(match[1]) * scale) < 1e-6
}

const postgresql: Dialect = {
  parameter: fc.oneof(
    fc.integer({min: 64, max: 65_536}).map((kb) => ['work_mem', `${kb}kB`] as const),
    fc.integer({min: 10, max: 200}).map((n) => ['max_connections', String(n)] as const),
    fc.integer({min: 1, max: 64}).map((mb) => ['maintenance_work_mem', `${mb}MB`] as const),
    fc.boolean().map((b) => ['jit', b ? 'on' : 'off'] as const),
    fc.constantFrom('none', 'ddl', 'mod').map((v) => ['log_statement', v] as const),
    fc.integer({min: 0, max: 10}).map((n) => ['random_page_cost', `${1 + n / 10}`] as const),
    fc.integer({min: 1, max: 3600}).map((s) => ['statement_timeout', `${s}s`] as const),
    fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York').map((z) => ['timezone', z] as const),
    fc.integer({min: 16, max: 200}).map((mb) => ['shared_buffers', `${mb}MB`] as const),
    fc.constantFrom('on', 'off').map((v) => ['autovacuum', v] as const),
  ),
  tlsVersion: 'select version from pg_stat_ssl where pid = pg_backend_pid()',
  parameterQuery: (name) => `select unit, setting from pg_settings where lower(name) = lower('${name}')`,
  same: scaled({kB: 1024, '8kB': 8192, MB: 1024 ** 2, s: 1000, ms: 1, '': 1}),
  tooManyRights: 'select (rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)::int from pg_roles where rolname = current_user',
  marker: (text) => [`create table t as select '${text}' as secret from generate_series(1, 50)`, 'create index on t (secret)'],
}

const MIB = 1024 ** 2

/** What MySQL and MariaDB have alike. Values are multiples of every block size, so that no server rounds them. */
const family = (more: fc.Arbitrary<readonly [string, string]>): Dialect => ({
  parameter: fc.oneof(
    fc.integer({min: 20, max: 200}).map((n) => ['max_connections', String(n)] as const),
    fc.integer({min: 1, max: 64}).map((mb) => ['sort_buffer_size', String(mb * MIB)] as const),
    fc.integer({min: 1, max: 64}).map((mb) => ['tmp_table_size', `${mb}M`] as const),
    fc.integer({min: 1, max: 10}).map((s) => ['long_query_time', String(s)] as const),
    fc.integer({min: 60, max: 28_800}).map((s) => ['wait_timeout', String(s)] as const),
    fc.constantFrom('ON', 'OFF').map((v) => ['innodb_print_all_deadlocks', v] as const),
    fc.integer({min: 1, max: 8}).map((n) => ['innodb_read_io_threads', String(n)] as const),
    fc.integer({min: 100, max: 2000}).map((n) => ['innodb_io_capacity', String(n)] as const),
    more,
  ),
  tlsVersion: "show session status like 'Ssl_version'",
  parameterQuery: (name) => `show global variables like '${name}'`,
  same(row, asked) {
    const read = String(row.at(-1))
    const on = (text: string): string => (/^(on|1)$/i.test(text) ? 'on' : /^(off|0)$/i.test(text) ? 'off' : text.toUpperCase())
    const number = /^(\d+(?:\.\d+)?)([KMG])?$/i.exec(asked)
    if (number && /^\d+(\.\d+)?$/.test(read)) {
      return Number(read) === Number(number[1]) * ({K: 1024, M: MIB, G: 1024 ** 3}[number[2]?.toUpperCase() ?? ''] ?? 1)
    }
    return on(read) === on(asked)
  },
  tooManyRights: "select count(*) from information_schema.user_privileges where privilege_type <> 'USAGE'",
  marker: (text) => [
    'create table t (id int auto_increment primary key, secret varchar(100), key (secret))',
    `insert into t (secret) with recursive n (i) as (select 1 union all select i + 1 from n where i < 50) select '${text}' from n`,
  ],
})

export const dialects: Readonly<Record<string, Dialect>> = {
  postgresql,
  mysql: family(fc.oneof(
    fc.integer({min: 1, max: 2}).map((n) => ['innodb_buffer_pool_size', String(n * 128 * MIB)] as const),
    fc.constantFrom('READ-COMMITTED', 'REPEATABLE-READ', 'SERIALIZABLE').map((v) => ['transaction_isolation', v] as const),
  )),
  mariadb: family(fc.constantFrom('ON', 'OFF').map((v) => ['innodb_stats_on_metadata', v] as const)),
}

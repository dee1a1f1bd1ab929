/** PostgreSQL at the command line: libpq's forms, psql, and psql's own commands in the built-in prompt. */
import type {Access, EnginePrompt, MetaCommand, Route} from '../prompt.js'
import {hostList, hostsOf, queryOf, userInfo} from '../prompt.js'

/** Read-only means any server: there may be none but the primary, and the session then refuses writes by itself. */
const readOnlyOptions = '-c default_transaction_read_only=on'

/** Which of several servers is wanted, in libpq's words: the primary; or any other, and the primary where there is no other. */
const wantedServer = (access: Access, {direct, readOnly}: Route): 'read-write' | 'prefer-standby' | undefined =>
  direct && access.direct.length > 1 ? (readOnly ? 'prefer-standby' : 'read-write') : undefined

/** As libpq, node-postgres and most drivers read it. */
function uri(access: Access, route: Route): string {
  const wanted = wantedServer(access, route)
  const query = queryOf([
    ['sslmode', 'verify-full'],
    ['sslrootcert', route.caFile],
    ...(route.readOnly ? [['options', readOnlyOptions] as const] : []),
    ...(wanted === undefined ? [] : [['target_session_attrs', wanted] as const]),
  ])
  return `postgresql://${userInfo(access)}@${hostList(access, route)}/${encodeURIComponent(access.database)}?${query}`
}

async function jdbc(access: Access, route: Route): Promise<string> {
  const wanted = wantedServer(access, route)
  const query = new URLSearchParams({
    user: access.username, password: access.password, sslmode: 'verify-full', sslrootcert: route.caFile,
    ...(route.readOnly ? {readOnly: 'true'} : {}),
    ...(wanted === undefined ? {} : {targetServerType: wanted === 'read-write' ? 'primary' : 'preferSecondary'}),
  })
  return `jdbc:postgresql://${hostList(access, route)}/${encodeURIComponent(access.database)}?${query}`
}

async function environment(access: Access, route: Route): Promise<Record<string, string>> {
  const {readOnly, caFile} = route
  const hosts = hostsOf(access, route)
  const wanted = wantedServer(access, route)
  return {
    PGHOST: hosts.map(({host}) => host).join(','),
    PGPORT: hosts.map(({port}) => String(port)).join(','),
    PGDATABASE: access.database,
    PGUSER: access.username,
    PGPASSWORD: access.password,
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: caFile,
    ...(readOnly ? {PGOPTIONS: readOnlyOptions} : {}),
    ...(wanted === undefined ? {} : {PGTARGETSESSIONATTRS: wanted}),
  }
}

const quoted = (value: string): string => (/^[^\s'\\]+$/.test(value) ? value : `'${value.replace(/['\\]/g, (c) => `\\${c}`)}'`)

/** libpq's keyword form. */
function keywords(access: Access, route: Route): string {
  const {readOnly, caFile} = route
  const hosts = hostsOf(access, route)
  const wanted = wantedServer(access, route)
  return Object.entries({
    host: hosts.map(({host}) => host).join(','),
    port: hosts.map(({port}) => String(port)).join(','),
    dbname: access.database,
    user: access.username,
    password: access.password,
    sslmode: 'verify-full',
    sslrootcert: caFile,
    ...(readOnly ? {options: readOnlyOptions} : {}),
    ...(wanted === undefined ? {} : {target_session_attrs: wanted}),
  }).map(([name, value]) => `${name}=${quoted(value)}`).join(' ')
}

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

const visibleRelations = (kinds: string): string => `select n.nspname as schema, c.relname as name,
  case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view' when 'm' then 'materialized view'
    when 'S' then 'sequence' when 'f' then 'foreign table' end as type,
  pg_get_userbyid(c.relowner) as owner, pg_size_pretty(pg_total_relation_size(c.oid)) as size
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in (${kinds}) and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_toast' and pg_table_is_visible(c.oid)
order by 1, 2`

/** Columns, then indexes and constraints, one row each. The cast says by itself when there is no such relation. */
const describe = (name: string): string => `with it as (select ${literal(name)}::regclass as oid)
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
  concat_ws(' ', case when a.attnotnull then 'not null' end,
    case when a.attidentity <> '' then 'identity' when a.attgenerated <> '' then 'generated' end,
    'default ' || pg_get_expr(d.adbin, d.adrelid)) as details
from it join pg_attribute a on a.attrelid = it.oid left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped
union all
select i.relname, 'index', pg_get_indexdef(x.indexrelid) from it join pg_index x on x.indrelid = it.oid join pg_class i on i.oid = x.indexrelid
union all
select c.conname, 'constraint', pg_get_constraintdef(c.oid) from it join pg_constraint c on c.conrelid = it.oid where c.contype in ('c', 'f')`

/** The backslash commands of psql that people type most, as statements over PostgreSQL's own catalogs. */
const commands: Readonly<Record<string, MetaCommand>> = {
  '\\d': {
    usage: '\\d [NAME]', meaning: 'tables, views and sequences; or the columns, indexes and constraints of one',
    statement: (name) => (name === undefined ? visibleRelations("'r','p','v','m','S','f'") : describe(name)),
  },
  '\\dt': {usage: '\\dt', meaning: 'tables', statement: () => visibleRelations("'r','p'")},
  '\\dv': {usage: '\\dv', meaning: 'views', statement: () => visibleRelations("'v','m'")},
  '\\dn': {
    usage: '\\dn', meaning: 'schemas',
    statement: () => "select nspname as name, pg_get_userbyid(nspowner) as owner from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1",
  },
  '\\l': {
    usage: '\\l', meaning: 'databases',
    statement: () => "select datname as name, pg_get_userbyid(datdba) as owner, pg_encoding_to_char(encoding) as encoding, case when has_database_privilege(oid, 'CONNECT') then pg_size_pretty(pg_database_size(oid)) end as size from pg_database where not datistemplate order by 1",
  },
  '\\du': {
    usage: '\\du', meaning: 'roles',
    statement: () => "select rolname as name, concat_ws(', ', case when rolsuper then 'superuser' end, case when rolcanlogin then 'login' end, case when rolcreatedb then 'create databases' end, case when rolcreaterole then 'create roles' end, case when rolreplication then 'replication' end) as attributes from pg_roles where rolname !~ '^pg_' order by 1",
  },
}

export const prompt: EnginePrompt = {
  title: 'PostgreSQL',
  uri, jdbc, environment, keywords,
  // libpq looks at these before PGHOST, and Debian's psql at PGCLUSTER
  misleading: ['PGHOSTADDR', 'PGSERVICE', 'PGSERVICEFILE', 'PGCLUSTER', 'PGTARGETSESSIONATTRS'],
  client: {
    programs: ['psql'],
    package: 'postgresql-client',
    start: async (access, route) => ({args: () => [], env: await environment(access, route)}),
  },
  words: {
    // the manual, 4.1: block comments nest, E'' texts know backslashes
    lexis: {
      quotes: `'"`, escapes: '', escapePrefix: true, dollarQuotes: true, nestedComments: true, hashComments: false, dashesNeedSpace: false,
      backslashG: false,
    },
    commands,
    bare: {},
    unavailable: {
      '\\c': 'every instance is one database: dbaas connect NAME',
      '\\i': 'dbaas sql NAME - < FILE',
      '\\copy': 'install postgresql-client: dbaas connect then uses psql',
    },
    delimiter: false,
    needsSession: (text) =>
      /^\s*(?:begin|start\s+transaction)\b/i.test(text) && !/\b(?:commit|rollback|end)\s*(?:work|transaction)?\s*;\s*$/i.test(text),
  },
}

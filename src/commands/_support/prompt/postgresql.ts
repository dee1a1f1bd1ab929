/** The backslash commands of psql that people type most, as statements over PostgreSQL's own catalogs. */
export interface MetaCommand {
  readonly usage: string
  readonly meaning: string
  statement(argument: string | undefined): string
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

export const metaCommands: Readonly<Record<string, MetaCommand>> = {
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

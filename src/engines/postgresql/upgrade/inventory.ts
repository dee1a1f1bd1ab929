/**
 * Everything in a database that is not a row, as lines that two servers of different versions write alike: no object
 * numbers, no text that a server composes anew, nothing that an extension made for itself, nothing that the system has.
 */
import type {Client} from 'pg'

/** Extensions make what is theirs, and a newer one makes more. */
const notOfExtension = (catalogue: string, oid: string): string =>
  `not exists (select from pg_depend e where e.classid = '${catalogue}'::regclass and e.objid = ${oid} and e.deptype = 'e')`

/** What somebody made: initdb's own have smaller numbers. */
const made = (catalogue: string, oid: string): string => `${oid} >= 16384 and ${notOfExtension(catalogue, oid)}`

const grants = (acl: string, kind: string, owner: string): string => `coalesce((
  select string_agg(concat_ws(' ', a.grantee::regrole, a.privilege_type, a.is_grantable, a.grantor::regrole), ',' order by a.grantee::regrole::text collate "C", a.privilege_type collate "C", a.grantor::regrole::text collate "C")
  from aclexplode(coalesce(${acl}, acldefault('${kind}', ${owner}))) a
  /* 17 has it, and gives it with ALL */
  where a.privilege_type <> 'MAINTAIN'), '')`

/** Tables, views, sequences and the like that somebody made, of this database. */
const relations = `select c.*, format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where ${made('pg_class', 'c.oid')} and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and c.relpersistence <> 't' and n.nspname <> 'pg_toast'`

/** Catalogues of which the names are compared, with what of them is left out. */
const catalogues: readonly (readonly [string, string])[] = [
  ['pg_proc', 'true'], ['pg_operator', 'true'], ['pg_opclass', 'true'], ['pg_opfamily', 'true'], ['pg_cast', 'true'], ['pg_collation', 'true'], ['pg_conversion', 'true'],
  ['pg_language', 'true'], ['pg_am', 'true'], ['pg_transform', 'true'], ['pg_event_trigger', 'true'], ['pg_foreign_data_wrapper', 'true'], ['pg_foreign_server', 'true'],
  ['pg_user_mapping', 'true'], ['pg_publication', 'true'], ['pg_publication_rel', 'true'], ['pg_statistic_ext', 'true'], ['pg_ts_config', 'true'], ['pg_ts_dict', 'true'],
  ['pg_ts_parser', 'true'], ['pg_ts_template', 'true'], ['pg_default_acl', 'true'],
  // arrays and the types of tables come and go with what they are of
  ['pg_type', `not exists (select from pg_type t where t.typarray = x.oid) and (x.typrelid = 0 or exists (select from pg_class c where c.oid = x.typrelid and c.relkind = 'c'))`],
]

interface Line {
  readonly kind: string
  readonly name: string
  readonly detail: string
}

const statements: readonly string[] = [
  ...catalogues.map(([catalogue, condition]) => `select o.type as kind, o.identity as name, '' as detail from ${catalogue} x, pg_identify_object('${catalogue}'::regclass, x.oid, 0) o
    where ${made(catalogue, 'x.oid')} and (${condition})`),
  // that of a database which every server has is as its initdb made it: before 15 everybody may create in it
  `select 'schema' as kind, n.nspname as name, concat_ws(' ', n.nspowner::regrole, ${grants('n.nspacl', 'n', 'n.nspowner')}) as detail
    from pg_namespace n where (n.nspname = 'public' and current_database() not in ('postgres', 'template1') or n.oid >= 16384) and n.nspname !~ '^pg_(toast_)?temp_' and ${notOfExtension('pg_namespace', 'n.oid')}`,
  `select 'extension' as kind, e.extname as name, e.extnamespace::regnamespace::text as detail from pg_extension e`,
  `select 'relation' as kind, c.name, concat_ws(' ', c.relkind, c.relpersistence, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity, c.relreplident, c.relispopulated, c.relispartition,
      (select string_agg(o, ',' order by o collate "C") from unnest(c.reloptions) o), ${`case c.relkind when 'S' then ${grants('c.relacl', 's', 'c.relowner')} else ${grants('c.relacl', 'r', 'c.relowner')} end`}) as detail
    from (${relations}) c`,
  `select 'column' as kind, format('%s.%I', c.name, a.attname) as name, concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.atthasdef, a.attcompression,
      a.attcollation::regcollation, (select string_agg(g::text, ',' order by g::text collate "C") from unnest(a.attacl) g)) as detail
    from (${relations}) c join pg_attribute a on a.attrelid = c.oid where a.attnum > 0 and not a.attisdropped and c.relkind <> 'S'`,
  // one that was never finished is not brought along
  `select 'index' as kind, format('%I.%I', n.nspname, i.relname) as name, concat_ws(' ', c.name, m.amname, x.indisunique, x.indisprimary, x.indisclustered, x.indoption::text,
      (select string_agg(a.attname, ',' order by a.attnum) from pg_attribute a where a.attrelid = i.oid), x.indpred is not null, x.indexprs is not null,
      (select string_agg(o, ',' order by o collate "C") from unnest(i.reloptions) o)) as detail
    from pg_index x join pg_class i on i.oid = x.indexrelid join pg_am m on m.oid = i.relam join pg_namespace n on n.oid = i.relnamespace join (${relations}) c on c.oid = x.indrelid
    where x.indisvalid or c.relkind = 'p'`,
  // NOT NULL has a name of its own from 18 on: it is compared with the columns
  `select 'constraint' as kind, o.identity as name, concat_ws(' ', k.contype, k.convalidated, k.condeferrable, k.condeferred, k.confupdtype, k.confdeltype) as detail
    from pg_constraint k, pg_identify_object('pg_constraint'::regclass, k.oid, 0) o
    where k.oid >= 16384 and k.contype <> 'n' and k.conparentid = 0 and ${notOfExtension('pg_class', 'k.conrelid')} and ${notOfExtension('pg_type', 'k.contypid')}
      and (k.conrelid = 0 or exists (select from (${relations}) c where c.oid = k.conrelid))`,
  `select 'trigger' as kind, format('%I on %s', t.tgname, c.name) as name, concat_ws(' ', t.tgenabled, t.tgfoid::regproc, t.tgtype, t.tgqual is not null) as detail
    from pg_trigger t join (${relations}) c on c.oid = t.tgrelid where not t.tgisinternal and t.tgparentid = 0`,
  `select 'rule' as kind, format('%I on %s', r.rulename, c.name) as name, concat_ws(' ', r.ev_type, r.ev_enabled, r.is_instead) as detail
    from pg_rewrite r join (${relations}) c on c.oid = r.ev_class where r.rulename <> '_RETURN'`,
  `select 'policy' as kind, format('%I on %s', p.polname, c.name) as name, concat_ws(' ', p.polcmd, p.polpermissive,
      (select string_agg(r::regrole::text, ',' order by r::regrole::text collate "C") from unnest(p.polroles) r)) as detail
    from pg_policy p join (${relations}) c on c.oid = p.polrelid`,
  `select 'function body' as kind, o.identity as name, concat_ws(' ', md5(p.prosrc), p.proowner::regrole, l.lanname, p.provolatile, p.proisstrict, p.prosecdef, p.proparallel,
      array_to_string(p.proconfig, ','), ${grants('p.proacl', 'f', 'p.proowner')}) as detail
    from pg_proc p join pg_language l on l.oid = p.prolang, pg_identify_object('pg_proc'::regclass, p.oid, 0) o where ${made('pg_proc', 'p.oid')}`,
  `select 'labels' as kind, t.oid::regtype::text as name, (select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid) as detail
    from pg_type t where t.typtype = 'e' and ${made('pg_type', 't.oid')}`,
  `select 'domain' as kind, t.oid::regtype::text as name, concat_ws(' ', format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault is not null) as detail
    from pg_type t where t.typtype = 'd' and ${made('pg_type', 't.oid')}`,
  `select 'sequence' as kind, c.name, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle) as detail from pg_sequence s join (${relations}) c on c.oid = s.seqrelid`,
  `select 'comments' as kind, d.classoid::regclass::text as name, count(*)::text || ' ' || coalesce(sum(hashtextextended(d.description, 0)::numeric), 0)::text as detail from pg_description d
    where d.objoid >= 16384 and not exists (select from pg_depend e where e.classid = d.classoid and e.objid = d.objoid and e.deptype = 'e') and d.classoid <> 'pg_extension'::regclass group by d.classoid`,
  // a page of nothing but zeros may be left out
  `select 'large objects' as kind, '' as name, concat_ws(' ', (select count(*) from pg_largeobject_metadata), (select coalesce(sum(bytes), 0) from (select max(pageno::int8 * 2048 + length(data)) as bytes from pg_largeobject group by loid) l),
    (select coalesce(sum(hashtextextended(loid || ' ' || pageno || ' ' || encode(data, 'hex'), 0)::numeric), 0) from pg_largeobject where encode(data, 'hex') ~ '[^0]')) as detail`,
]

/** The system's roles, and the agent's, which makes them when it needs them. */
const notOurs = (name: string): string => `${name} !~ '^(pg|dbaas)_'`

const sharedStatements: readonly string[] = [
  `select 'role' as kind, rolname as name, concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, md5(rolpassword), rolvaliduntil) as detail
    from pg_authid where ${notOurs('rolname')}`,
  `select 'membership' as kind, format('%s in %s', member::regrole, roleid::regrole) as name, string_agg(admin_option::text, ',' order by admin_option) as detail
    from pg_auth_members where ${notOurs('member::regrole::text')} group by member, roleid`,
  `select 'setting' as kind, format('%s of %s', coalesce(d.datname, 'all databases'), case s.setrole when 0 then 'all roles' else s.setrole::regrole::text end) as name,
      (select string_agg(c, ',' order by c collate "C") from unnest(s.setconfig) c) as detail
    from pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase where coalesce(d.datname, '') not in ('postgres', 'template1')`,
  `select 'database' as kind, d.datname as name, concat_ws(' ', d.datdba::regrole, pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datistemplate, d.datconnlimit, ${grants('d.datacl', 'd', 'd.datdba')}) as detail
    from pg_database d where d.datname not in ('postgres', 'template0', 'template1')`,
]

const read = async (client: Client, wanted: readonly string[]): Promise<Map<string, string>> => {
  const lines = new Map<string, string>()
  for (const statement of wanted) {
    const {rows} = await client.query<Line>(statement)
    for (const {kind, name, detail} of rows) lines.set(`${kind} ${name}`.trim(), detail ?? '')
  }
  return lines
}

/** Roles, databases, and what is set for them. */
export const sharedInventory = (client: Client): Promise<Map<string, string>> => read(client, sharedStatements)

export const inventory = (client: Client): Promise<Map<string, string>> => read(client, statements)

export interface Table {
  /** Quoted, with its schema. */
  readonly name: string
  /** Quoted, in an order of their own: that of a copy may be another. */
  readonly columns: string | null
}

/** Those that have rows of their own; what an extension keeps in its tables is its own affair, and what a view made is made anew. */
export const tablesOf = async (client: Client): Promise<Table[]> => (await client.query<Table>(`
  select c.name, (select string_agg(quote_ident(a.attname), ', ' order by a.attname collate "C") from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
  from (${relations}) c where c.relkind = 'r' order by c.name collate "C"`)).rows

export const sequencesOf = async (client: Client): Promise<string[]> =>
  (await client.query<{name: string}>(`select c.name from (${relations}) c where c.relkind = 'S' order by c.name collate "C"`)).rows.map(({name}) => name)

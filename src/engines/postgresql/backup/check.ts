/**
 * Reads all of a restored server, and runs PostgreSQL's own checks: amcheck on every index and table, pg_visibility on every
 * table (amcheck does not look at the visibility map). The extensions are made in a transaction that is rolled back.
 */
import type {Client} from 'pg'
import type {CheckOptions, CheckReport} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin, connectAdmin, type Connection} from '../client.js'
import {connectionError} from '../errors.js'

interface Task {
  readonly what: string
  readonly kind: 'read' | 'heap' | 'visibility' | 'index'
  readonly statement: string
}

interface Relation {
  readonly oid: number
  /** Quoted, with its schema. */
  readonly name: string
  readonly kind: string
  /** Of the index, or of the table. */
  readonly method: string
}

type Report = {-readonly [key in keyof CheckReport]: CheckReport[key] extends readonly (infer Item)[] ? Item[] : CheckReport[key]}

/** What can be checked: tables, the tables of their large values, materialised views; and indexes that are valid. */
const relationsOf = `
  select c.oid::int8::float8 as oid, format('%I.%I', n.nspname, c.relname) as name, c.relkind as kind, coalesce(m.amname, '') as method
  from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_am m on m.oid = c.relam left join pg_index i on i.indexrelid = c.oid
  where c.relkind in ('r', 'm', 't', 'i') and c.relpersistence <> 't' and (c.relkind <> 'm' or c.relispopulated) and (i.indexrelid is null or i.indisvalid and i.indisready)
  order by c.relkind = 'i', c.oid`

export async function check(host: Host, admin: AdminCredentials, options: CheckOptions): Promise<CheckReport> {
  const databases = await asAdmin(host, admin, async (client) =>
    (await client.query<{name: string}>('select datname as name from pg_database where datallowconn order by oid')).rows.map(({name}) => name))
  const report: Report = {databases: databases.length, tables: 0, rows: 0, indexes: 0, findings: [], skipped: []}
  for (const database of databases) {
    options.signal.throwIfAborted()
    const {host: address, port} = host.address()
    const connection = await connectAdmin(host, admin, {database}).catch((error: unknown) => {
      throw connectionError(error, `${address}:${port}`)
    })
    const cancel = (): void => void connection.cancel()
    options.signal.addEventListener('abort', cancel)
    try {
      await checkDatabase(connection, database, report, options)
    } catch (error) {
      options.signal.throwIfAborted()
      throw error
    } finally {
      options.signal.removeEventListener('abort', cancel)
      await connection.close()
    }
  }
  return report
}

async function checkDatabase({client}: Connection, database: string, report: Report, {progress, signal}: CheckOptions): Promise<void> {
  await client.query("set row_security = off; set search_path = pg_catalog; set lock_timeout = '60s'; begin; create schema dbaas_check")
  const amcheck = await schemaOf(client, 'amcheck')
  const visibility = await schemaOf(client, 'pg_visibility')
  for (const [name, schema] of [['amcheck', amcheck], ['pg_visibility', visibility]] as const) {
    if (schema === undefined) report.skipped.push({object: database, because: `the server does not have the extension ${name}`})
  }
  const functions = new Set((await client.query<{name: string}>("select proname as name from pg_proc where pronamespace = $1::regnamespace", [amcheck ?? 'pg_catalog'])).rows.map(({name}) => name))
  const {rows: relations} = await client.query<Relation>(relationsOf)
  const tasks = relations.flatMap((relation) => tasksOf(relation, amcheck, visibility, functions, (because) => report.skipped.push({object: `${database}: ${relation.name}`, because})))
  for (const [done, {what, kind, statement}] of tasks.entries()) {
    signal.throwIfAborted()
    progress(done, tasks.length, `${database}: ${what}`)
    const object = `${database}: ${what}`
    await client.query('savepoint one')
    try {
      const {rows} = await client.query<{said: string}>(statement)
      if (kind === 'read') report.rows += Number(rows[0]?.said)
      else if (kind !== 'index') for (const {said} of rows) report.findings.push({object, because: said})
    } catch (error) {
      signal.throwIfAborted()
      if (typeof (error as {code?: unknown}).code !== 'string' || (error as {severity?: unknown}).severity === 'FATAL') throw error
      report.findings.push({object, because: (error as Error).message})
      await client.query('rollback to one')
    }
    if (kind === 'read') report.tables++
    if (kind === 'index') report.indexes++
  }
  progress(tasks.length, tasks.length, database)
  await client.query('rollback')
}

/** Where the extension is, or is made; undefined: the server does not have it. */
async function schemaOf(client: Client, extension: string): Promise<string | undefined> {
  const {rows: [found]} = await client.query<{name: string}>('select quote_ident(nspname) as name from pg_extension e join pg_namespace n on n.oid = e.extnamespace where extname = $1', [extension])
  if (found) return found.name
  const {rowCount} = await client.query('select from pg_available_extensions where name = $1', [extension])
  if (rowCount === 0) return undefined
  await client.query(`create extension ${extension} schema dbaas_check`)
  return 'dbaas_check'
}

function tasksOf({oid, name, kind, method}: Relation, amcheck: string | undefined, visibility: string | undefined, functions: ReadonlySet<string>, skip: (because: string) => void): Task[] {
  if (kind === 'i') {
    const statement = {btree: `bt_index_parent_check(${oid}, true)`, gin: `gin_index_check(${oid})`}[method]
    const there = statement !== undefined && functions.has(statement.slice(0, statement.indexOf('(')))
    if (amcheck !== undefined && !there) skip(`amcheck knows no check of an index of the kind ${method}`)
    return there ? [{what: name, kind: 'index', statement: `select ${amcheck}.${statement}`}] : []
  }
  if (method !== 'heap') skip(`it is stored by ${method}, which amcheck does not know`)
  return [
    // every value is brought together, uncompressed and written as text; large ones by the table that they belong to
    ...(kind === 't' ? [] : [{what: name, kind: 'read', statement: `select count(one.*::text)::text as said from only ${name} one`} as const]),
    ...(amcheck !== undefined && method === 'heap'
      ? [{what: name, kind: 'heap', statement: `select format('block %s, row %s: %s', blkno, offnum, msg) as said from ${amcheck}.verify_heapam(${oid}) limit 20`} as const] : []),
    ...(visibility !== undefined && method === 'heap'
      ? [{what: name, kind: 'visibility', statement: `select format('the row %s is not visible to all, and its page is said to be', t_ctid) as said from ${visibility}.pg_check_visible(${oid}) limit 20`} as const] : []),
  ]
}

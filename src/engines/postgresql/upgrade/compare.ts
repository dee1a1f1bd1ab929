/** Whether two servers have the same in them: every object by its name and what makes it up, every row by its text. */
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {CompareReport, CopyWork, EngineCopy} from '../../upgrade.js'
import {asAdmin, connectAdmin, type Connection} from '../client.js'
import {connectionError} from '../errors.js'
import {inventory, sequencesOf, sharedInventory, tablesOf, type Table} from './inventory.js'
import {databasesOf} from './survey.js'

/** More is of no use to anybody. */
const mostDifferences = 20

/** Text of values must not depend on what somebody set. */
const settings = `set search_path = pg_catalog; set row_security = off; set timezone = 'UTC'; set datestyle = 'iso, mdy'; set intervalstyle = 'postgres';
  set extra_float_digits = 1; set bytea_output = 'hex'; set lc_monetary = 'C'; set xmlbinary = 'base64'; set lock_timeout = '60s'; set default_transaction_read_only = on`

type Report = {-readonly [key in keyof CompareReport]: CompareReport[key] extends readonly (infer Item)[] ? Item[] : CompareReport[key]}

export const compare: EngineCopy['compare'] = async (from, to, admin, work) => {
  const report: Report = {databases: 0, tables: 0, rows: 0, objects: 0, differences: []}
  const [databases, others] = await Promise.all([from, to].map((host) => asAdmin(host, admin, databasesOf))) as [string[], string[]]
  for (const missing of databases.filter((name) => !others.includes(name))) report.differences.push(`the database ${missing} is missing`)
  const [shared, copied] = await Promise.all([from, to].map((host) => asAdmin(host, admin, sharedInventory))) as [Map<string, string>, Map<string, string>]
  note(report, 'the server', shared, copied)
  for (const database of databases.filter((name) => others.includes(name))) {
    work.signal.throwIfAborted()
    report.databases++
    await compareDatabase(database, from, to, admin, report, work)
  }
  report.differences.splice(mostDifferences)
  return report
}

function note(report: Report, where: string, before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
  report.objects += before.size
  for (const [what, detail] of before) {
    const there = after.get(what)
    if (there === undefined) report.differences.push(`${where}: the ${what} is missing`)
    else if (there !== detail) report.differences.push(`${where}: the ${what} is not the same`)
  }
  for (const what of after.keys()) if (!before.has(what)) report.differences.push(`${where}: the ${what} was not there before`)
}

async function compareDatabase(database: string, from: Host, to: Host, admin: AdminCredentials, report: Report, {progress, signal}: CopyWork): Promise<void> {
  const opened: Connection[] = []
  const cancel = (): void => opened.forEach((connection) => void connection.cancel())
  signal.addEventListener('abort', cancel)
  try {
    for (const host of [from, to]) {
      const {host: address, port} = host.address()
      opened.push(await connectAdmin(host, admin, {database}).catch((error: unknown) => {
        throw connectionError(error, `${address}:${port}`)
      }))
    }
    const [source, target] = opened.map(({client}) => client) as [Connection['client'], Connection['client']]
    const both = <T>(ask: (client: Connection['client']) => Promise<T>): Promise<[T, T]> => Promise.all([ask(source), ask(target)])
    await both((client) => client.query(settings))
    progress(`${database}: comparing what there is`)
    note(report, database, ...(await both(inventory)))
    const tables = await tablesOf(source)
    for (const [done, table] of tables.entries()) {
      signal.throwIfAborted()
      progress(`${database}: comparing rows, ${done} of ${tables.length} tables`)
      const [before, after] = await both((client) => rowsOf(client, table))
      report.tables++
      report.rows += Number(before.count)
      if (before.count !== after.count) report.differences.push(`${database}: ${table.name} has ${after.count} rows instead of ${before.count}`)
      else if (before.sum !== after.sum) report.differences.push(`${database}: the rows of ${table.name} are not the same`)
    }
    for (const name of await sequencesOf(source)) {
      const [before, after] = await both(async (client) => JSON.stringify((await client.query(`select last_value, is_called from ${name}`)).rows))
      if (before !== after) report.differences.push(`${database}: the sequence ${name} is not where it was`)
    }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', cancel)
    for (const connection of opened) await connection.close()
  }
}

interface Rows {
  readonly count: string
  readonly sum: string
}

/** The order of rows is none. A table that is missing has said so. */
async function rowsOf(client: Connection['client'], {name, columns}: Table): Promise<Rows> {
  const sum = columns === null ? `'0'` : `coalesce(sum(hashtextextended(row(${columns})::text collate "C", 0)::numeric), 0)::text`
  try {
    return (await client.query<Rows>(`select count(*)::text as count, ${sum} as sum from only ${name}`)).rows[0] as Rows
  } catch (error) {
    if ((error as {code?: unknown}).code !== '42P01' && (error as {code?: unknown}).code !== '42703') throw error
    return {count: 'no', sum: ''}
  }
}

/**
 * Writes everything of a server down by PostgreSQL's own programs, and makes it anew in another. Roles first, then one
 * database after the other, each by several connections at a time.
 */
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import type {AdminCredentials} from '../../engine.js'
import type {ExecResult, Host} from '../../host.js'
import type {CopyRequest, EngineCopy} from '../../upgrade.js'
import {adminRole, asAdmin} from '../client.js'
import {programEnv} from '../preflight.js'
import {databasesOf, inDatabase} from './survey.js'

/** A program may take as long as there is data; the operation has a deadline of its own. */
const patienceSeconds = 7 * 86_400

/** What the owner's configuration could do to the programs' sessions, undone; of both servers. */
const sessionOptions = [
  'statement_timeout=0', 'idle_session_timeout=0', 'lock_timeout=0', 'default_transaction_read_only=off', 'client_min_messages=warning', 'log_statement=none',
  'log_min_duration_statement=-1', 'log_min_error_statement=panic', 'log_duration=off', 'synchronous_commit=off', 'row_security=off',
].map((setting) => `-c ${setting}`).join(' ')

type Env = Readonly<Record<string, string>>

/** Makes the programs come in as the agent does. The files are the place's: they go with it. */
async function credentialFiles({config}: Host['paths'], write: Host['write'], admin: AdminCredentials): Promise<Env> {
  const [ca, certificate, key] = [`${config}/copy-ca.crt`, `${config}/copy.crt`, `${config}/copy.key`]
  for (const [path, content] of [[ca, admin.ca], [certificate, admin.certificate], [key, admin.key]] as const) await write({path, content, mode: 0o600})
  return {...programEnv, PGUSER: admin.username, PGSSLMODE: 'verify-ca', PGSSLROOTCERT: ca, PGSSLCERT: certificate, PGSSLKEY: key, PGCONNECT_TIMEOUT: '10', PGOPTIONS: sessionOptions, PGAPPNAME: 'dbaas copy'}
}

const at = (host: Host): Env => ({PGHOST: host.address().host, PGPORT: String(host.address().port)})

/** What failed, and which object: `from TOC entry 251; 1259 16633 VIEW large app`. Never the statement: it may hold what nobody but its owner shall read. */
const reasonOf = ({stderr}: ExecResult): string => {
  const lines = stderr.split('\n')
  const [error] = lines.flatMap((line) => /^\w+:(?:\S*:)? (?:error|ERROR|FATAL): +(.*)$/.exec(line)?.[1] ?? [])
  const object = lines.flatMap((line) => /^\w+: from TOC entry \d+; \d+ \d+ (.*) \S+$/.exec(line)?.[1] ?? []).at(-1)
  return [object, error ?? 'it said nothing'].filter((part) => part !== undefined).join(': ')
}

function check(program: string, result: ExecResult): ExecResult {
  if (result.code === 0 && !result.timedOut) return result
  throw new DbaasError('COMMAND_FAILED', `${program} ${result.timedOut ? 'took too long' : `ended with code ${result.code}`}: ${reasonOf(result)}`, {
    details: {program}, suggestions: ['remove or change what it names, then upgrade again'],
  })
}

/** The agent's own role is there already, and must be. */
const withoutAdmin = (script: string): string => script.replace(new RegExp(`^CREATE ROLE "?${adminRole}"?;$`, 'm'), '')

export const copy: EngineCopy['copy'] = async ({workshop, tools, from, to, admin, jobs, progress, signal}: CopyRequest) => {
  const env = await credentialFiles(workshop.paths, workshop.write, admin)
  const run = async (program: string, of: Host, args: readonly string[], more: {env?: Env; stdin?: string} = {}): Promise<ExecResult> => check(program, await workshop.exec(
    [`${tools.folder}/${program}`, ...args], {env: {...env, ...at(of), ...more.env}, ...(more.stdin === undefined ? {} : {stdin: more.stdin}), timeoutSeconds: patienceSeconds, signal},
  ))
  const databases = await asAdmin(from, admin, databasesOf)
  const own = await ownObjects(from, admin, databases)
  await clear(to, admin)

  progress('roles and their passwords')
  const {stdout: roles} = await run('pg_dumpall', from, ['--globals-only', '--quote-all-identifiers', '--no-tablespaces'], {env: {PGDATABASE: 'postgres'}})
  await run('psql', to, ['--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', '--file=-'], {env: {PGDATABASE: 'postgres'}, stdin: withoutAdmin(roles)})

  for (const database of databases) {
    const made = isMade(database)
    // as initdb made them, and nothing in them
    if (made && !own.get(database)) continue
    const folder = `${workshop.paths.data}/copy`
    await workshop.remove(folder)
    const {rows: [size]} = await asAdmin(from, admin, (client) => client.query<{bytes: number}>('select pg_database_size($1)::float8 as bytes', [database]))
    progress(`${database}: writing ${formatBytes(size?.bytes ?? 0)} down`)
    await run('pg_dump', from, ['--format=directory', `--jobs=${jobs}`, '--compress=1', '--no-sync', '--quote-all-identifiers', `--file=${folder}`], {env: {PGDATABASE: database}})
    progress(`${database}: making it anew`)
    await run('pg_restore', to, ['--verbose', '--exit-on-error', `--jobs=${jobs}`, ...(made ? [`--dbname=${database}`] : ['--create', '--dbname=postgres']), folder])
    await workshop.remove(folder)
  }
}

/** Databases that every new server has. */
const isMade = (database: string): boolean => database === 'postgres' || database === 'template1'

/** Whether somebody made something in them. */
async function ownObjects(host: Host, admin: AdminCredentials, databases: readonly string[]): Promise<ReadonlyMap<string, boolean>> {
  const found = new Map<string, boolean>()
  for (const database of databases.filter(isMade)) {
    const {rows: [row]} = await inDatabase(host, admin, database, (client) => client.query<{some: boolean}>(`select exists (
      select from pg_class where oid >= 16384 union all select from pg_proc where oid >= 16384 union all select from pg_type where oid >= 16384
      union all select from pg_namespace where oid >= 16384 union all select from pg_extension where oid >= 16384 union all select from pg_largeobject_metadata) as some`))
    found.set(database, row?.some ?? false)
  }
  return found
}

/** A new server has the application's role and database; both come from the old one. */
async function clear(host: Host, admin: AdminCredentials): Promise<void> {
  await asAdmin(host, admin, async (client) => {
    const {rows: databases} = await client.query<{name: string}>(`select datname as name from pg_database where datname not in ('postgres', 'template0', 'template1')`)
    for (const {name} of databases) await client.query(`drop database ${client.escapeIdentifier(name)}`)
    const {rows: roles} = await client.query<{name: string}>(`select rolname as name from pg_roles where rolname <> $1 and rolname !~ '^pg_'`, [adminRole])
    for (const {name} of roles) await client.query(`drop role ${client.escapeIdentifier(name)}`)
  })
}

export const settle: EngineCopy['settle'] = async (host, admin, {progress, signal}) => {
  for (const database of await asAdmin(host, admin, databasesOf)) {
    signal.throwIfAborted()
    progress(`${database}: statistics for its planner`)
    await inDatabase(host, admin, database, (client) => client.query('analyze'))
  }
}

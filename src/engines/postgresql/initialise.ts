/** Making a data directory: initdb, the application's role and database in it, all on disk before it counts as made. */
import {DbaasError} from '../../core/errors.js'
import type {ExecResult, Host} from '../host.js'
import {adminRole, preloadDriver} from './client.js'
import {explainFailure} from './errors.js'
import {programEnv} from './preflight.js'
import {can, majorOf} from './versions.js'

export const applicationRole = 'app'
export const applicationDatabase = 'app'

/** Rises with every change of what a new data directory holds: directories of another layout are not used. */
const layout = 1

/** Everything that is frozen in a data directory. The minor is not: it changes programs, not data. */
export const poolKey = (version: string): string => `postgresql-${majorOf(version)}-layout-${layout}`

const markerOf = (host: Host): string => `${host.paths.data}/dbaas-initialised`

export const isInitialised = (host: Host): Promise<boolean> => host.exists(markerOf(host))

/**
 * Collation by code point and Unicode character classes, the same on every machine: by the server itself where it can,
 * else the C library's C.UTF-8, in whose absence (`plain`) only ASCII has classes.
 */
function localeArguments(version: string, plain: boolean): string[] {
  if (can(version, 'builtin-locale')) return ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
  return ['--locale=C', ...(plain ? [] : ['--lc-ctype=C.UTF-8'])]
}

const initdb = (host: Host, version: string, plain: boolean): Promise<ExecResult> =>
  host.exec(
    [
      `${host.paths.bin}/initdb`,
      '--pgdata',
      host.paths.data,
      '--username',
      adminRole,
      '--encoding',
      'UTF8',
      ...localeArguments(version, plain),
      // nobody can use what is written here: the server is always told another pg_hba.conf
      '--data-checksums',
      '--auth',
      'reject',
      '--no-sync',
      '--no-instructions',
    ],
    {env: programEnv},
  )

/** Copying files is the cheaper strategy as long as nothing waits for the disk; before 15 there is no other. */
const strategy = (version: string): string => (can(version, 'database-strategy') ? 'STRATEGY file_copy' : '')

/**
 * The role owns its database and nothing else. In `template1` first, so that databases made later are closed too.
 * One statement a paragraph, as `postgres --single -j` reads them.
 */
const statements = (version: string): string =>
  [
    'REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC',
    ...(can(version, 'closed-public-schema')
      ? []
      : ['ALTER SCHEMA public OWNER TO pg_database_owner', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC']),
    `CREATE ROLE ${applicationRole} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS`,
    `CREATE DATABASE ${applicationDatabase} OWNER ${applicationRole} ${strategy(version)}`,
    `REVOKE ALL ON DATABASE ${applicationDatabase} FROM PUBLIC`,
  ]
    .map((statement) => `${statement};\n\n`)
    .join('')

function check(result: ExecResult, program: string): void {
  if (result.code === 0 && !result.timedOut) return
  const reason = explainFailure(result.stderr.trim() === '' ? result.stdout : result.stderr)
  if (reason.code !== 'SERVER_START_FAILED') throw reason
  throw new DbaasError(
    'COMMAND_FAILED',
    `${program} ${result.timedOut ? 'took too long' : `ended with code ${result.code}`}: ${
      reason.details['server'] ?? reason.message
    }`,
    {details: {program}, suggestions: ['dbaas doctor'], cause: reason},
  )
}

/** As EngineLifecycle.make promises: two programs write without waiting for the disk. */
export async function make(host: Host, version: string): Promise<void> {
  // the first connection to the server will want it; it loads while initdb works
  preloadDriver()
  let made = await initdb(host, version, false)
  if (made.code !== 0 && !can(version, 'builtin-locale') && /invalid locale name/.test(made.stderr)) {
    made = await initdb(host, version, true)
  }
  check(made, 'initdb')
  check(
    await host.exec(
      [
        `${host.paths.bin}/postgres`,
        '--single',
        '-j',
        '-F',
        '-D',
        host.paths.data,
        '-c',
        'exit_on_error=on',
        '-c',
        'log_checkpoints=off',
        'template1',
      ],
      {env: programEnv, stdin: statements(version)},
    ),
    'postgres --single',
  )
}

/**
 * The whole file system at once where that can be: file by file the disk is flushed a thousand times, which takes ten
 * times as long on a machine that has other work (1.2 s instead of 0.1 s), and is the longest part of a create there.
 */
async function sync(host: Host, version: string): Promise<ExecResult> {
  const argv = [`${host.paths.bin}/initdb`, '--sync-only', '--pgdata', host.paths.data]
  if (can(version, 'sync-method')) {
    const atOnce = await host.exec([...argv, '--sync-method=syncfs'], {env: programEnv})
    if (atOnce.code === 0 || !/does not support sync method/.test(atOnce.stderr)) return atOnce
  }
  return host.exec(argv, {env: programEnv})
}

/**
 * As EngineLifecycle.seal promises. Everything is synced once (`initdb --sync-only`), and only then the marker is
 * written, itself synced: after a crash there is either no marker, or a directory that is whole on disk.
 */
export async function seal(host: Host, version: string): Promise<void> {
  check(await sync(host, version), 'initdb --sync-only')
  await host.write({path: markerOf(host), content: `${poolKey(version)}\n`})
}

export async function initialise(host: Host, version: string): Promise<void> {
  await make(host, version)
  await seal(host, version)
}

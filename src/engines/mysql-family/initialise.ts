/** Making a data directory: system tables, the agent's account and the application's, all on disk before it counts as made. */
import {DbaasError} from '../../core/errors.js'
import type {ExecResult, Host} from '../host.js'
import {preloadDriver} from './client.js'
import type {Dialect} from './dialect.js'
import {explainFailure} from './errors.js'
import {layoutOf} from './layout.js'

export const applicationAccount = 'app'
export const applicationDatabase = 'app'

/** What an application's database is made with. Without a collation: the version's own default for utf8mb4. */
export const databaseAttributes = 'character set utf8mb4'

/** Rises with every change of what a new data directory holds: directories of another layout are not used. */
export const layoutNumber = 1

/** Programs write English, in UTC, and look for no configuration of the machine. */
export const programEnv = {LC_ALL: 'C', TZ: 'UTC'} as const

/** What the agent's certificate must be for, as the server prints a subject (X509_NAME_oneline). */
export const subjectOf = (account: string): string => `/CN=${account}`

const markerOf = (host: Host): string => `${host.paths.data}/dbaas-initialised`

export const isInitialised = (host: Host): Promise<boolean> => host.exists(markerOf(host))

/** Throws COMMAND_FAILED with the program's own reason, or what the reason is, where that is known. */
export function check(result: ExecResult, program: string): void {
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

/**
 * The whole file system at once: file by file the disk is flushed for each. Where `sync` cannot, the folder, what is in
 * it, and what is in its folders: there is nothing deeper. Where it takes no names, it syncs all.
 */
const syncAll = 'cd "$1" && { sync -f . 2>/dev/null || exec sync . ./* ./*/*; }'

/** As EngineLifecycle.make promises: the server makes the directory and ends. */
export async function make(dialect: Dialect, host: Host, version: string): Promise<void> {
  // the first connection to the server will want it; it loads while the server works
  preloadDriver()
  await dialect.makeData(host, version, await layoutOf(host))
}

/**
 * As EngineLifecycle.seal promises. Everything is synced, and only then the marker is written, itself synced: after a
 * crash there is either no marker, or a directory that is whole on disk.
 */
export async function seal(dialect: Dialect, host: Host, version: string): Promise<void> {
  check(await host.exec(['sh', '-c', syncAll, 'sync', host.paths.data], {env: programEnv}), 'sync')
  await host.write({path: markerOf(host), content: `${dialect.poolKey(version)}\n`})
}

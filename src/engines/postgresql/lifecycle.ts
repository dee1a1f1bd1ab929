import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../core/errors.js'
import type {Client} from 'pg'
import type {AdminCredentials, EngineLifecycle, ServerCommand} from '../engine.js'
import type {Host} from '../host.js'
import {asAdmin, connectAdmin} from './client.js'
import {explainFailure, isServerError, sqlstateOf} from './errors.js'
import {filesOf} from './files.js'
import {initialise, isInitialised, make, poolKey, seal} from './initialise.js'
import {programEnv} from './preflight.js'

function command(host: Host): ServerCommand {
  const files = filesOf(host)
  return {
    argv: [
      `${host.paths.bin}/postgres`,
      '-D',
      host.paths.data,
      // on the command line, where nothing in the data directory can override them
      '-c',
      `config_file=${files.conf}`,
      '-c',
      `hba_file=${files.hba}`,
      '-c',
      `ident_file=${files.ident}`,
    ],
    env: programEnv,
  }
}

/** SQLSTATEs of a server that will let the agent in soon: it starts, recovers, stops, or is full. */
const soon = new Set(['57P01', '57P02', '57P03', '53300'])

/** One attempt, answered within a second or two even by a server that hangs. */
const attemptMs = 2000

async function whyNotReady(host: Host, admin: AdminCredentials): Promise<string | undefined> {
  let connection: Awaited<ReturnType<typeof connectAdmin>> | undefined
  try {
    connection = await connectAdmin(host, admin, {timeoutMs: attemptMs})
    await connection.client.query('select 1')
    return undefined
  } catch (error) {
    return whyNotYet(error)
  } finally {
    await connection?.close()
  }
}

/** Throws SERVER_START_FAILED for what waiting does not heal: the server answers, and refuses the agent. */
function whyNotYet(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  if (!isServerError(error)) {
    // one of the two certificates does not hold, and will not the next time
    const code = String((error as {code?: unknown} | null)?.code ?? '')
    if (/CERT|UNABLE_TO_|ERR_TLS|ERR_SSL/.test(code)) throw refusal(message, error)
    return code === 'ECONNREFUSED' ? 'it does not accept connections yet' : `it does not answer yet: ${message || code}`
  }
  const sqlstate = sqlstateOf(error) as string
  if (soon.has(sqlstate)) return message
  throw refusal(message, error)
}

const refusal = (message: string, cause: unknown): DbaasError =>
  new DbaasError('SERVER_START_FAILED', `the server runs, but does not let the agent in: ${message}`, {
    cause,
    suggestions: ['dbaas logs NAME', 'dbaas doctor'],
  })

interface Complaint {
  readonly code: string
  readonly message: string
  readonly hint: string
}

/** A change that waits for a restart; not a fault of the file. */
const needsRestart = '55P02'

/**
 * What the server would complain about in its files. pg_file_settings only says "could not be applied"; the words come
 * as debug messages while it reads them.
 */
async function complaintsAboutFiles(client: Client): Promise<Complaint[]> {
  const heard: Complaint[] = []
  const listen = (notice: {
    code?: string | undefined
    message?: string | undefined
    hint?: string | undefined
  }): void => {
    heard.push({code: notice.code ?? '', message: notice.message ?? '', hint: notice.hint ?? ''})
  }
  await client.query('set client_min_messages = debug3')
  client.on('notice', listen)
  try {
    const {rows} = await client.query<{name: string | null; error: string}>(
      'select name, error from pg_file_settings where error is not null',
    )
    // successful completion is 00000: the debug messages of other parts of the server
    const told = heard.filter(({code}) => code !== '00000' && code !== needsRestart)
    if (told.length > 0) return told
    // an error without words of its own, other than a restart that is due (also for what is in no file any more, as after a recovery): a syntax error, say
    return rows
      .filter(({error}) => error !== 'setting could not be applied' && !/ cannot be changed without restarting the server$/.test(error))
      .map((row) => ({code: '', message: row.name === null ? row.error : `${row.name}: ${row.error}`, hint: ''}))
  } finally {
    client.off('notice', listen)
    await client.query('set client_min_messages = warning')
  }
}

/** How long the postmaster may take to read a file of a few hundred lines. */
const reloadSeconds = 10

/** Files that are known to be right; resolves when the postmaster and this session have read them. Throws DATABASE_UNAVAILABLE. */
export async function reloadConfiguration(client: Client): Promise<void> {
  const loadTime = async (): Promise<string> =>
    (await client.query<{at: string}>('select pg_conf_load_time()::text as at')).rows[0]?.at ?? ''
  const before = await loadTime()
  await client.query('select pg_reload_conf()')
  for (let waitedMs = 0; (await loadTime()) === before; waitedMs += 10) {
    if (waitedMs > reloadSeconds * 1000) {
      throw new DbaasError(
        'DATABASE_UNAVAILABLE',
        `the server did not read its configuration within ${reloadSeconds} s`,
        {
          suggestions: ['dbaas logs NAME', 'dbaas restart NAME'],
        },
      )
    }
    await sleep(10)
  }
}

/**
 * The server's files are judged first: a reload with a faulty file would apply the rest of it. Then, a backend reads
 * the files only when the postmaster has read them and passed the signal on, so that our own session's time tells of
 * both.
 */
async function reload(host: Host, admin: AdminCredentials): Promise<void> {
  await asAdmin(host, admin, async (client) => {
    const [first] = await complaintsAboutFiles(client)
    if (first) {
      const parameter = /parameter "([^"]+)"/.exec(first.message)?.[1]?.toLowerCase()
      throw new DbaasError(
        'INVALID_PARAMETER_VALUE',
        `the server does not accept its configuration: ${first.message}`,
        {
          details: {...(parameter === undefined ? {} : {parameter}), server: first.message},
          suggestions: [
            ...(first.hint === '' ? [] : [first.hint]),
            ...(parameter === undefined ? [] : [`dbaas config unset NAME ${parameter}`]),
          ],
        },
      )
    }
    await reloadConfiguration(client)
  })
}

export const lifecycle: EngineLifecycle = {
  poolKey,
  initialise,
  make,
  seal,
  isInitialised,
  command,
  stopSignals: [
    {signal: 'SIGINT', seconds: 60, because: 'fast shutdown: sessions are ended, then everything is written to disk'},
    {
      signal: 'SIGQUIT',
      seconds: 5,
      because: 'immediate shutdown: nothing more is written, the next start recovers from the log',
    },
  ],
  whyNotReady,
  explainFailure,
  reload,
  async checkpoint(host, admin) {
    await asAdmin(host, admin, (client) => client.query('checkpoint'))
  },
  /** The caller knows that no server runs. The pid in the file may be another program's by now, and stop a start. */
  clearStale: (host) => host.remove(`${host.paths.data}/postmaster.pid`),
}

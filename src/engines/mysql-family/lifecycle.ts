import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../core/errors.js'
import type {AdminCredentials, EngineLifecycle, ServerCommand} from '../engine.js'
import type {Host} from '../host.js'
import {asAdmin, connectAdmin} from './client.js'
import type {AdminClient} from './client.js'
import type {Dialect} from './dialect.js'
import {explainFailure, isServerError} from './errors.js'
import {filesOf} from './files.js'
import {isInitialised, make, programEnv, seal} from './initialise.js'
import {reload} from './reload.js'

function command(dialect: Dialect, host: Host): ServerCommand {
  return {
    // the first argument, and the only file that is read: neither the machine's nor a user's can add to it
    argv: [`${host.paths.bin}/${dialect.serverProgram}`, `--defaults-file=${filesOf(host).conf}`],
    env: programEnv,
  }
}

/** Errors of a server that will let the agent in soon: it starts, stops, or is full. */
const soon = new Set([1040, 1053, 1203])

/** One attempt, answered within a second or two even by a server that hangs. */
const attemptMs = 2000

async function whyNotReady(dialect: Dialect, host: Host, admin: AdminCredentials): Promise<string | undefined> {
  try {
    const connection = await connectAdmin(dialect, host, admin, {timeoutMs: attemptMs})
    await connection.close()
    return undefined
  } catch (error) {
    return whyNotYet(error)
  }
}

/** What the driver says when the server goes away in the middle of a handshake, which it then calls a fault of TLS. */
const interrupted = /ECONNRESET|EPIPE|ETIMEDOUT|disconnected before secure|no answer within/

/** Throws SERVER_START_FAILED for what waiting does not heal: the server answers, and refuses the agent. */
function whyNotYet(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  if (!isServerError(error)) {
    // one of the two certificates does not hold, and will not the next time
    const code = String((error as {code?: unknown} | null)?.code ?? '')
    if (/CERT|UNABLE_TO_|ERR_TLS|ERR_SSL|HANDSHAKE/.test(code) && !interrupted.test(message)) throw refusal(message, error)
    return code === 'ECONNREFUSED' ? 'it does not accept connections yet' : `it does not answer yet: ${message || code}`
  }
  if (soon.has(error.errno)) return message
  throw refusal(message, error)
}

const refusal = (message: string, cause: unknown): DbaasError =>
  new DbaasError('SERVER_START_FAILED', `the server runs, but does not let the agent in: ${message}`, {
    cause,
    suggestions: ['dbaas logs NAME', 'dbaas doctor'],
  })

/** How long a checkpoint may take, and how few pages it may leave: a stop writes the rest. */
const checkpointSeconds = 30
const fewPages = 64

const flushing = ['innodb_max_dirty_pages_pct_lwm', 'innodb_max_dirty_pages_pct'] as const

async function numberIn(client: AdminClient, statement: string): Promise<number> {
  const [row] = await client.query<{value: string}>(statement)
  return Number(row?.value)
}

/**
 * There is no statement for it: the share of changed pages that InnoDB keeps in memory is set to none, until hardly any
 * is left. Should the agent die meanwhile, the next reload puts the values back.
 */
async function checkpoint(client: AdminClient): Promise<void> {
  const before: [string, number][] = []
  for (const name of flushing) before.push([name, await numberIn(client, `select @@global.${name} as value`)])
  try {
    for (const name of flushing) await client.query(`set global ${name} = 0`)
    for (const until = Date.now() + checkpointSeconds * 1000; Date.now() < until; await sleep(50)) {
      const [row] = await client.query<{Value: string}>("show global status like 'Innodb_buffer_pool_pages_dirty'")
      if (Number(row?.Value) <= fewPages) break
    }
  } finally {
    // the water mark may not be above the share, so the share goes first
    for (const [name, value] of before.reverse()) await client.query(`set global ${name} = ${value}`)
  }
}

export const createLifecycle = (dialect: Dialect): EngineLifecycle => ({
  poolKey: (version) => dialect.poolKey(version),
  async initialise(host, version) {
    await make(dialect, host, version)
    await seal(dialect, host, version)
  },
  make: (host, version) => make(dialect, host, version),
  seal: (host, version) => seal(dialect, host, version),
  isInitialised,
  command: (host) => command(dialect, host),
  stopSignals: [
    {
      signal: 'SIGTERM',
      seconds: 120,
      because: 'normal shutdown: sessions are ended, then everything is written to disk',
    },
  ],
  whyNotReady: (host, admin) => whyNotReady(dialect, host, admin),
  explainFailure,
  reload: (host, admin) => asAdmin(dialect, host, admin, (client) => reload(dialect, host, client)),
  checkpoint: (host, admin) => asAdmin(dialect, host, admin, checkpoint),
  /** The caller knows that no server runs. The pid in the file may be another program's by now. */
  clearStale: (host) => host.remove(filesOf(host).pid),
})

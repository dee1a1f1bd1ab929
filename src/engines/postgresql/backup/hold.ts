/** A hold on the log is a physical replication slot: what its reader has not acknowledged is kept, up to `max_slot_wal_keep_size`. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from 'pg'
import {DbaasError} from '../../../core/errors.js'
import type {BackupServer, LogHold} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin} from '../client.js'
import {isServerError, sqlError, sqlstateOf} from '../errors.js'
import {majorOf} from '../versions.js'
import {identifier, openSession} from './session.js'

/** SQLSTATEs of commands about slots. */
const exists = '42710'
const absent = '42704'
const inUse = '55006'
/** object_not_in_prerequisite_state: the server has dropped what the slot held. */
const invalidated = '55000'
/** undefined_file: the segment that is asked for is gone. */
const removed = '58P01'

/** Why what a reader asks for is not to be had any more, or undefined when the error says something else. */
export function whyLost(error: unknown): string | undefined {
  if (!isServerError(error)) return undefined
  if (sqlstateOf(error) === absent) return 'the server has no hold of that name: it kept nothing'
  if (sqlstateOf(error) === invalidated) return `the server has dropped what it held, for it was too much: ${error.message}`
  return sqlstateOf(error) === removed ? `the server has removed log that was not read yet: ${error.message}` : undefined
}

const checkName = (name: string): void => {
  if (/^[a-z0-9_]{1,63}$/.test(name)) return
  throw new DbaasError('INVALID_REQUEST', `"${name}" cannot be the name of a hold`, {suggestions: ['use at most 63 lower-case letters, digits and _']})
}

async function asSuperuser<T>(host: Host, admin: AdminCredentials, use: (client: Client) => Promise<T>): Promise<T> {
  return asAdmin(host, admin, async (client) => {
    try {
      return await use(client)
    } catch (error) {
      throw isServerError(error) ? sqlError(error) : error
    }
  })
}

/** As EngineLog.hold promises. */
export async function hold(host: Host, admin: AdminCredentials, name: string): Promise<void> {
  checkName(name)
  await asSuperuser(host, admin, async (client) => {
    const {rows: [slot]} = await client.query<{lost: boolean}>("select wal_status is not distinct from 'lost' or restart_lsn is null as lost from pg_replication_slots where slot_name = $1", [name])
    if (slot && !slot.lost) return
    if (slot) await drop(client, name)
    try {
      await client.query('select pg_create_physical_replication_slot($1, true)', [name])
    } catch (error) {
      if (sqlstateOf(error) !== exists) throw error
    }
  })
}

/** As EngineLog.release promises. */
export async function release(host: Host, admin: AdminCredentials, name: string): Promise<void> {
  checkName(name)
  await asSuperuser(host, admin, (client) => drop(client, name))
}

/** A reader that the server has not missed yet is ended first. */
async function drop(client: Client, name: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await client.query('select pg_drop_replication_slot($1)', [name])
      return
    } catch (error) {
      if (sqlstateOf(error) === absent) return
      if (sqlstateOf(error) !== inUse || tries === 100) throw error
      await client.query('select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null', [name])
      await sleep(50)
    }
  }
}

/** The server ends the reader first, then drops the hold: whether that is what happened, waiting a moment. */
export async function becomesLost(server: BackupServer, name: string): Promise<boolean> {
  // Below 15 it cannot be asked; who comes back learns of it.
  if (majorOf(server.version) < 15) return false
  for (let tries = 0; tries < 10; tries++) {
    try {
      if (await isLost(server, name)) return true
    } catch {
      // a server that shuts down lets nobody in
      return false
    }
    await sleep(100)
  }
  return false
}

async function isLost(server: BackupServer, name: string): Promise<boolean> {
  const session = await openSession(server, 'dbaas log')
  try {
    return (await session.rows(`READ_REPLICATION_SLOT ${identifier(name)}`))[0]?.['restart_lsn'] === null
  } finally {
    await session.close()
  }
}

interface SlotRow {
  readonly wal_status: 'reserved' | 'extended' | 'unreserved' | 'lost' | null
  readonly held: string | null
  readonly spare: string | null
}

/** As EngineLog.observeHold promises. */
export async function observeHold(host: Host, admin: AdminCredentials, name: string): Promise<LogHold> {
  const rows = await asAdmin(host, admin, async (client) =>
    (await client.query<SlotRow>(
      `select wal_status, safe_wal_size as spare,
         pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn)::bigint as held
       from pg_replication_slots where slot_name = $1`, [name])).rows)
  const [slot] = rows
  const none = {heldBytes: 0, spareBytes: null}
  if (slot === undefined) return {state: 'absent', because: 'the server has no such hold', ...none}
  if (slot.wal_status === 'lost' || slot.held === null) return {state: 'lost', because: 'the server has dropped what it held, for it was more than max_slot_wal_keep_size', ...none}
  const heldBytes = Math.max(0, Number(slot.held))
  const spareBytes = slot.spare === null ? null : Number(slot.spare)
  const sizes = {heldBytes, spareBytes}
  if (slot.wal_status === 'unreserved') return {state: 'at-risk', because: 'the next checkpoint drops what it holds', ...sizes}
  // three quarters of what it may hold
  if (spareBytes !== null && spareBytes < heldBytes / 3) return {state: 'at-risk', because: `it holds ${heldBytes} bytes, and is lost after ${spareBytes} more`, ...sizes}
  return {state: 'kept', because: 'the server keeps what is not read yet', ...sizes}
}

/** A hold on the log is a physical replication slot: what its reader has not acknowledged is kept, up to `max_slot_wal_keep_size`. */
import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import type {BackupServer, LogHold} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {asAdmin} from '../client.js'
import {isServerError, sqlError, sqlstateOf} from '../errors.js'
import {majorOf} from '../versions.js'
import {identifier, literal, openSession, type Session} from './session.js'

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

async function inSession<T>(server: BackupServer, use: (session: Session) => Promise<T>): Promise<T> {
  const session = await openSession(server, 'dbaas log')
  try {
    return await use(session)
  } catch (error) {
    throw isServerError(error) ? sqlError(error) : error
  } finally {
    await session.close()
  }
}

const checkName = (name: string): void => {
  if (/^[a-z0-9_]{1,63}$/.test(name)) return
  throw new DbaasError('INVALID_REQUEST', `"${name}" cannot be the name of a hold`, {suggestions: ['use at most 63 lower-case letters, digits and _']})
}

/** As EngineLog.hold promises. */
export async function hold(server: BackupServer, name: string): Promise<void> {
  checkName(name)
  await inSession(server, async (session) => {
    if (await make(session, name)) return
    if (!(await isLost(session, server, name))) return
    await session.rows(`DROP_REPLICATION_SLOT ${identifier(name)} WAIT`)
    await make(session, name)
  })
}

/** False when it is there already. */
async function make(session: Session, name: string): Promise<boolean> {
  try {
    await session.rows(`CREATE_REPLICATION_SLOT ${identifier(name)} PHYSICAL RESERVE_WAL`)
    return true
  } catch (error) {
    if (sqlstateOf(error) === exists) return false
    throw error
  }
}

async function isLost(session: Session, server: BackupServer, name: string): Promise<boolean> {
  if (majorOf(server.version) >= 15) {
    const [slot] = await session.rows(`READ_REPLICATION_SLOT ${identifier(name)}`)
    return slot?.['restart_lsn'] === null
  }
  // It cannot be asked, but it says so when it is used.
  const [system] = await session.rows('IDENTIFY_SYSTEM')
  try {
    await session.converse(`START_REPLICATION SLOT ${identifier(name)} PHYSICAL ${system?.['xlogpos']}`, {copyBoth: () => session.endCopy()})
    return false
  } catch (error) {
    if (sqlstateOf(error) === inUse) return false
    if (whyLost(error) !== undefined) return true
    throw error
  }
}

/** The server ends the reader first, then drops the hold: whether that is what happened, waiting a moment. */
export async function becomesLost(server: BackupServer, name: string): Promise<boolean> {
  for (let tries = 0; tries < 10; tries++) {
    try {
      if (await inSession(server, (session) => isLost(session, server, name))) return true
    } catch {
      // a server that shuts down lets nobody in
      return false
    }
    await sleep(100)
  }
  return false
}

/** As EngineLog.release promises. */
export async function release(server: BackupServer, name: string): Promise<void> {
  checkName(name)
  await inSession(server, async (session) => {
    try {
      await session.rows(`DROP_REPLICATION_SLOT ${identifier(name)} WAIT`)
    } catch (error) {
      if (sqlstateOf(error) !== absent) throw error
    }
  })
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
       from pg_replication_slots where slot_name = ${literal(name)}`)).rows)
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

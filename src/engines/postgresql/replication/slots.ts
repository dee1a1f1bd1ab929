/** The role of peers, and the log that is kept for them: a physical slot for each on every node, a standby's moved by hand. */
import type {Client} from 'pg'
import type {EngineReplication} from '../../replication.js'
import {formatLsn, parseLsn} from '../backup/lsn.js'
import {sqlstateOf} from '../errors.js'
import {nameOfSlot, peerRole, slotOf} from './names.js'
import {within} from './session.js'

const moveMs = 10_000

/** What a rewind calls in its source (PostgreSQL documentation, pg_rewind, Notes). */
const rewindFunctions = ['pg_ls_dir(text, boolean, boolean)', 'pg_stat_file(text, boolean)', 'pg_read_binary_file(text)', 'pg_read_binary_file(text, bigint, bigint, boolean)']

export const prepare: EngineReplication['prepare'] = (host, admin, timing) =>
  within(host, admin, timing, moveMs, async ({client}) => {
    const {rows: [seen]} = await client.query<{recovering: boolean; there: boolean}>(
      'select pg_is_in_recovery() as recovering, exists (select from pg_roles where rolname = $1) as there', [peerRole])
    if (seen?.recovering) return
    await client.query('set synchronous_commit = local')
    if (!seen?.there) await client.query(`create role ${peerRole}`)
    await client.query(`alter role ${peerRole} login replication nosuperuser nocreatedb nocreaterole nobypassrls connection limit -1 password null valid until 'infinity'`)
    await client.query(`grant connect on database postgres to ${peerRole}`)
    await client.query(`grant execute on function ${rewindFunctions.map((name) => `pg_catalog.${name}`).join(', ')} to ${peerRole}`)
  })

interface Slot {
  readonly slot: string
  readonly active: boolean
  readonly lost: boolean
  /** It holds back what vacuum may remove, for nobody: left by a standby of an earlier time. */
  readonly holds: boolean
  readonly at: string | null
}

/** SQLSTATEs: made meanwhile; gone meanwhile; in use. */
const tolerated = new Set(['42710', '42704', '55006'])

async function quietly(client: Client, statement: string, values: readonly string[]): Promise<void> {
  try {
    await client.query(statement, [...values])
  } catch (error) {
    if (!tolerated.has(sqlstateOf(error) ?? '')) throw error
  }
}

export const keepLogFor: EngineReplication['keepLogFor'] = (host, admin, peers, timing) =>
  within(host, admin, timing, moveMs, async ({client}) => {
    const {rows} = await client.query<Slot & {until: string}>(`
      select slot_name as slot, active, wal_status is not distinct from 'lost' as lost, xmin is not null and not active as holds, restart_lsn::text as at
      from pg_replication_slots where slot_type = 'physical'`)
    const {rows: [end]} = await client.query<{at: string}>('select coalesce(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end, \'0/0\')::text as at')
    const wanted = new Map(peers.map(({name, position}) => [slotOf(name), position]))
    const slots = new Map(rows.map((row) => [row.slot, row]))
    const drop = (slot: string) => quietly(client, 'select pg_drop_replication_slot($1)', [slot])
    for (const {slot} of rows) if (nameOfSlot(slot) !== undefined && !wanted.has(slot)) await drop(slot)
    for (const [slot, position] of wanted) {
      const present = slots.get(slot)
      const isStale = present !== undefined && !present.active && (present.lost || present.holds)
      if (isStale) await drop(slot)
      if (present === undefined || isStale) await quietly(client, 'select pg_create_physical_replication_slot($1, true)', [slot])
      else if (!present.active && position !== null && present.at !== null) {
        const to = Math.min(Number(position), parseLsn(end?.at ?? '0/0'))
        if (to > parseLsn(present.at)) await quietly(client, 'select pg_replication_slot_advance($1, $2)', [slot, formatLsn(to)])
      }
    }
  })

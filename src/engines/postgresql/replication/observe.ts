/** What a node says of itself: one question of SQL, and one of the replication protocol, which alone knows the timeline of a standby. */
import type {Client} from 'pg'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {NodeReplication, ReceiverState, ReplicationProbe, StandbyState, Timing} from '../../replication.js'
import {parseLsn} from '../backup/lsn.js'
import {connectAdmin} from '../client.js'
import {DbaasError} from '../../../core/errors.js'
import {sqlstateOf} from '../errors.js'
import {nameOfSlot, parseSynchronous, peerRole} from './names.js'
import {asOurs, one, whereOf, within} from './session.js'
import {parseUpstream} from './settings.js'

const observeMs = 2000

interface Answer {
  readonly recovering: boolean
  readonly started: number
  readonly flushed: string
  readonly received: string | null
  readonly replayed: string
  readonly startup: string | null
  readonly synchronous: string
  readonly upstream: string
  readonly receiver: {status: string; host: string | null; port: number | null; silent: number | null; latest: string | null; timeline: number | null} | null
  /** Milliseconds since the last commit that was replayed. */
  readonly stale: number | null
  readonly standbys: {name: string; state: string; sync: string; flushed: string | null; replayed: string | null; lag: number | null; silent: number | null}[] | null
  readonly waiting: string[] | null
  readonly slots: {slot: string; active: boolean; lost: boolean; kept: string | null}[] | null
}

const milliseconds = (interval: string): string => `(extract(epoch from ${interval}) * 1000)::float8`

/** A function of one role is an error in the other, so each stands behind a `case`. */
const question = `select json_build_object(
  'recovering', r,
  'started', ${milliseconds("(pg_postmaster_start_time() - 'epoch'::timestamptz)")},
  'flushed', case when r then coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0') else pg_current_wal_flush_lsn() end,
  'received', case when r then pg_last_wal_receive_lsn() end,
  'replayed', case when r then coalesce(pg_last_wal_replay_lsn(), '0/0') else pg_current_wal_flush_lsn() end,
  'startup', (select wait_event from pg_stat_activity where backend_type = 'startup'),
  'synchronous', current_setting('synchronous_standby_names'),
  'upstream', current_setting('primary_conninfo'),
  'receiver', (select json_build_object('status', status, 'host', sender_host, 'port', sender_port, 'silent', ${milliseconds('clock_timestamp() - last_msg_receipt_time')}, 'latest', latest_end_lsn, 'timeline', received_tli)
    from pg_stat_wal_receiver),
  'stale', case when r then ${milliseconds('clock_timestamp() - pg_last_xact_replay_timestamp()')} end,
  'standbys', (select json_agg(json_build_object('name', application_name, 'state', state, 'sync', sync_state, 'flushed', flush_lsn, 'replayed', replay_lsn,
      'lag', ${milliseconds('replay_lag')}, 'silent', ${milliseconds('clock_timestamp() - reply_time')}) order by application_name)
    from pg_stat_replication where usename = '${peerRole}' and application_name <> 'dbaas agent'),
  'waiting', (select json_agg(pid || ' ' || coalesce(query_start::text, '')) from pg_stat_activity where wait_event = 'SyncRep'),
  'slots', (select json_agg(json_build_object('slot', slot_name, 'active', active, 'lost', wal_status is not distinct from 'lost',
      'kept', pg_wal_lsn_diff(case when r then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end, restart_lsn)::text) order by slot_name)
    from pg_replication_slots where slot_type = 'physical')
) as answer from (select pg_is_in_recovery() as r) as role`

/** object_not_in_prerequisite_state: it was promoted in the middle of the question. */
const promoted = '55000'

/** A standby at the end of its log sleeps in one of these (waits of the startup process). */
export const atEndOfLog: ReadonlySet<string> = new Set(['RecoveryRetrieveRetryInterval', 'RecoveryWalStream'])

const position = (lsn: string): bigint => BigInt(parseLsn(lsn))
const positionOrNull = (lsn: string | null): bigint | null => (lsn === null ? null : position(lsn))

function standbyOf({received, startup, receiver, stale, replayed, upstream}: Answer): StandbyState {
  const silentMs = receiver?.silent ?? null
  const hasAll = receiver?.latest != null && position(replayed) >= position(receiver.latest)
  return {
    // A receiver starts only at the end of what there was, and knows what it has added.
    isExact: received !== null || atEndOfLog.has(startup ?? ''),
    follows: parseUpstream(upstream),
    receiving: receiver && {host: receiver.host ?? '', port: receiver.port ?? 0, status: receiver.status, silentMs},
    staleMs: hasAll && silentMs !== null ? silentMs : stale,
  }
}

const receiverOf = (end: bigint) => (row: NonNullable<Answer['standbys']>[number]): ReceiverState => {
  const flushed = positionOrNull(row.flushed)
  return {
    name: row.name, state: row.state, isSynchronous: row.sync === 'quorum' || row.sync === 'sync', flushed, replayed: positionOrNull(row.replayed),
    lagBytes: flushed === null ? null : end > flushed ? end - flushed : 0n, replayLagMs: row.lag, silentMs: row.silent,
  }
}

/** The server names the timeline that it replays; what it has received may be of a newer one. */
const timelineOf = ({receiver, received}: Answer, replayed: number): number => (received === null ? replayed : Math.max(replayed, receiver?.timeline ?? 0))

/** When each session that waits was first seen to. */
type Seen = Map<string, number>

function waitingOf(keys: readonly string[], seen: Seen): NodeReplication['waiting'] {
  const now = performance.now()
  for (const key of seen.keys()) if (!keys.includes(key)) seen.delete(key)
  for (const key of keys) if (!seen.has(key)) seen.set(key, now)
  return {sessions: keys.length, longestMs: keys.length === 0 ? 0 : Math.round(now - Math.min(...seen.values()))}
}

async function askOnce(client: Client, seen: Seen): Promise<NodeReplication> {
  const answered = one<{answer: Answer}>(client, question)
  const identified = one<{systemid: string; timeline: number}>(client, 'IDENTIFY_SYSTEM')
  // both are on their way; neither may fail without a listener
  const [first, second] = await Promise.allSettled([answered, identified])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'rejected') throw second.reason
  const {answer} = first.value
  const flushed = position(answer.flushed)
  return {
    role: answer.recovering ? 'standby' : 'primary', system: String(second.value.systemid), timeline: timelineOf(answer, Number(second.value.timeline)), startedAt: Math.round(answer.started),
    flushed, replayed: position(answer.replayed), synchronous: parseSynchronous(answer.synchronous),
    standby: answer.recovering ? standbyOf(answer) : null,
    receivers: (answer.standbys ?? []).map(receiverOf(flushed)),
    waiting: waitingOf(answer.waiting ?? [], seen),
    kept: (answer.slots ?? []).flatMap(({slot, active, lost, kept}) => {
      const name = nameOfSlot(slot)
      return name === undefined ? [] : [{name, isActive: active, isLost: lost, bytes: kept === null || BigInt(kept) < 0n ? 0n : BigInt(kept)}]
    }),
  }
}

/** In a session of the replication protocol. */
export async function ask(client: Client, seen: Seen = new Map()): Promise<NodeReplication> {
  try {
    return await askOnce(client, seen)
  } catch (error) {
    if (sqlstateOf(error) !== promoted) throw error
    return askOnce(client, seen)
  }
}

export const observe = (host: Host, admin: AdminCredentials, timing?: Timing): Promise<NodeReplication> =>
  within(host, admin, timing, observeMs, ({client}) => ask(client), {walsender: true})

/** As EngineReplication.probe promises. */
export async function probe(host: Host, admin: AdminCredentials, timing?: Timing): Promise<ReplicationProbe> {
  timing?.signal?.throwIfAborted()
  const connection = await connectAdmin(host, admin, {timeoutMs: timing?.timeoutMs ?? observeMs, walsender: true}).catch((error: unknown) => {
    throw asOurs(error, host)
  })
  const {client, socket} = connection
  const seen: Seen = new Map()
  let because: Error | undefined
  const ended = new Promise<Error>((resolve) => {
    const end = (error?: Error | null): void => resolve(because ??= error ?? new DbaasError('DATABASE_UNAVAILABLE', `the database at ${whereOf(host)} has ended the connection`))
    client.once('error', end)
    socket.once('close', () => end())
  })
  return {
    ended,
    async observe(of) {
      const ms = of?.timeoutMs ?? observeMs
      const late = new DbaasError('DATABASE_UNAVAILABLE', `the database at ${whereOf(host)} did not answer within ${ms} ms`, {suggestions: ['dbaas list', 'dbaas doctor']})
      const stop = (): void => void socket.destroy(late)
      const timer = setTimeout(stop, ms)
      of?.signal?.addEventListener('abort', stop)
      try {
        return await ask(client, seen)
      } catch (error) {
        of?.signal?.throwIfAborted()
        throw asOurs(error, host)
      } finally {
        clearTimeout(timer)
        of?.signal?.removeEventListener('abort', stop)
      }
    },
    close: () => connection.close(),
  }
}

/** As EngineReplication.probeWrite promises. */
export const probeWrite = (host: Host, admin: AdminCredentials, timing?: Timing): Promise<{position: bigint; milliseconds: number}> =>
  within(host, admin, timing, observeMs, async ({client}) => {
    const {rows: [role]} = await client.query<{recovering: boolean}>('select pg_is_in_recovery() as recovering')
    if (role?.recovering) throw new DbaasError('INVALID_STATE', `the database at ${whereOf(host)} is a standby, and takes no writes`)
    await client.query('set synchronous_commit = local')
    const began = performance.now()
    const {at} = await one<{at: string}>(client, "select pg_logical_emit_message(true, 'dbaas', '')::text as at")
    return {position: position(at), milliseconds: performance.now() - began}
  })

const diskFull = '53100'

/** As EngineReplication.hasRoom promises: what does not fit into the memory of a query goes into a file beside the tables, for as long as the query lasts. */
export const hasRoom = (host: Host, admin: AdminCredentials, timing?: Timing): Promise<boolean> =>
  within(host, admin, timing, observeMs, async ({client}) => {
    await client.query("set work_mem = '64kB'; set temp_file_limit = -1; set temp_tablespaces = ''")
    try {
      await client.query('select count(*) from generate_series(1, 60000)')
      return true
    } catch (error) {
      if (sqlstateOf(error) === diskFull) return false
      throw error
    }
  })

/** What a standby is told: whom to follow, to follow nobody, to be the primary. */
import type {Client} from 'pg'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {Detached, EngineReplication, Timing} from '../../replication.js'
import {DbaasError} from '../../../core/errors.js'
import {parseLsn, parseTimeline, timelineName} from '../backup/lsn.js'
import {adminRole} from '../client.js'
import {reloadConfiguration} from '../lifecycle.js'
import {ask, atEndOfLog} from './observe.js'
import {one, whereOf, within} from './session.js'
import {change, following} from './settings.js'

const moveMs = 10_000
/** A standby replays all that it has received first. */
const promoteMs = 60_000
const checkpointMs = 600_000
/** So many answers in a row, some milliseconds apart: one could be from before the server has heard of the change. */
const settled = 3

async function mustBeStandby(client: Client, host: Host): Promise<void> {
  if ((await one<{recovering: boolean}>(client, 'select pg_is_in_recovery() as recovering')).recovering) return
  throw new DbaasError('INVALID_STATE', `the database at ${whereOf(host)} is a primary`, {suggestions: ['dbaas status NAME']})
}

export const follow: EngineReplication['follow'] = (host, admin, upstream, timing) =>
  within(host, admin, timing, moveMs, async ({client}) => {
    await mustBeStandby(client, host)
    await change(host, following(host, upstream))
    await reloadConfiguration(client)
  })

interface Receiving {
  readonly recovering: boolean
  /** Processes that receive, or are about to. */
  readonly receivers: number
  readonly startup: string | null
}

const receiving = `select pg_is_in_recovery() as recovering, (select count(*)::int from pg_stat_activity where backend_type = 'walreceiver') as receivers,
  (select wait_event from pg_stat_activity where backend_type = 'startup') as startup`

/** Readers whose snapshot, lock or buffer the replay waits for are ended: an acknowledged write is worth more than a report. */
async function endReaders(client: Client): Promise<void> {
  await client.query(`select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and usename is distinct from '${adminRole}'
    and exists (select from pg_stat_activity where backend_type = 'startup' and (wait_event like 'RecoveryConflict%' or wait_event_type in ('Lock', 'BufferPin')))`)
}

/** Polls between looks at what holds the replay up. */
const patience = 5

/** As EngineReplication.detach promises. One session for all of it: this is what a failover waits for. */
export const detach = (host: Host, admin: AdminCredentials, timing?: Timing): Promise<Detached> =>
  within(host, admin, timing, moveMs, async ({client, until}) => {
    await mustBeStandby(client, host)
    await change(host, following(host, null))
    await reloadConfiguration(client)
    let quiet = 0
    let polls = 0
    await until('it receives from nobody, and has read its log to the end', async () => {
      const seen = await one<Receiving>(client, receiving)
      if (++polls % patience === 0) await endReaders(client)
      // Only what has been replayed to its end is certain to be of the timeline that it says.
      quiet = seen.receivers === 0 && atEndOfLog.has(seen.startup ?? '') ? quiet + 1 : 0
      return quiet >= settled ? true : undefined
    })
    const {system, timeline, flushed, replayed} = await ask(client)
    return {system, timeline, flushed, replayed}
  }, {walsender: true})

/**
 * A promotion takes the number after the newest history that it finds, counted from its own without a hole (findNewestTimeLine). An empty
 * history is of a timeline that comes from nowhere: nobody follows it, but its number is taken. One that
 * is left over is removed before the next start.
 */
async function reserve(host: Host, client: Client, onto: number): Promise<void> {
  const {timeline} = await one<{timeline: number}>(client, 'select max(t) as timeline from (select timeline_id as t from pg_control_checkpoint() union all select min_recovery_end_timeline from pg_control_recovery()) as known')
  const wal = `${host.paths.data}/pg_wal`
  const there = new Set((await host.list(wal)).filter((name) => name.endsWith('.history')).map((name) => parseTimeline(name.slice(0, 8))))
  const newer = [...there].filter((each) => each >= onto)
  if (newer.length > 0) throw new DbaasError('INVALID_STATE', `the database at ${whereOf(host)} knows of the timeline ${Math.max(...newer)}, so it cannot go onto ${onto}`)
  for (let each = timeline + 1; each < onto; each++) if (!there.has(each)) await host.write({path: `${wal}/${timelineName(each)}.history`, content: ''})
}

export const promote: EngineReplication['promote'] = (host, admin, timing) =>
  within(host, admin, timing, promoteMs, async ({client, until}) => {
    const isStandby = async (): Promise<boolean> => (await one<{recovering: boolean}>(client, 'select pg_is_in_recovery() as recovering')).recovering
    if (await isStandby()) {
      if (timing?.onto !== undefined) await reserve(host, client, timing.onto)
      await client.query('select pg_promote(false)')
      let polls = 0
      await until('it ends its recovery', async () => {
        if (!(await isStandby())) return true
        if (++polls % patience === 0) await endReaders(client)
        return undefined
      })
    }
    const now = await one<{segment: string; at: string}>(client, 'select pg_walfile_name(pg_current_wal_lsn()) as segment, pg_current_wal_flush_lsn()::text as at')
    return {timeline: parseTimeline(now.segment.slice(0, 8)), position: BigInt(parseLsn(now.at))}
  })

export const afterPromotion: EngineReplication['afterPromotion'] = (host, admin, timing) =>
  within(host, admin, timing, checkpointMs, async ({client, until}) => {
    await change(host, {max_standby_streaming_delay: null, max_standby_archive_delay: null})
    await reloadConfiguration(client)
    await client.query('checkpoint')
    await until('its control file says the timeline', async () => {
      const {same} = await one<{same: boolean}>(client, "select (select timeline_id from pg_control_checkpoint()) = ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as same")
      return same ? true : undefined
    })
  })

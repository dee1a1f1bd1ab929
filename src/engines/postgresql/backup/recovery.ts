/** Drives a recovery: gives the server its log, watches how far it is, and ends it where the plan says. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from 'pg'
import {DbaasError} from '../../../core/errors.js'
import type {BaseBackup, EngineRecovery, LogArchive, Recovered, RecoveryOptions, RecoveryOutcome, RecoveryPlan} from '../../backup.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import {connectAdmin, type Connection} from '../client.js'
import {isInitialised, markerName, seal} from '../initialise.js'
import {formatLsn, parseLsn, parseSegment, segmentBytes, startOfSegment, timelineName} from './lsn.js'
import {damagesIn} from './page-checksum.js'
import {planRecovery, recoveryWindow} from './recovery-plan.js'
import {raiseFloors, removeSettings, writeSettings} from './recovery-settings.js'
import {parseHistory, stretchesOf} from './timeline.js'
import {createWalReader, pushInTurns} from './wal.js'
import {walEvents, type StandbyParameters} from './wal-events.js'

/** Log that lies ahead of the server by default. */
const aheadBytes = 16 * segmentBytes
/** How often the server is asked how far it is. */
const pollMs = 50
/** A server that has all of its log, and does not end its recovery within so long, will not. */
const overdueMs = 20_000

const walPath = (host: Host, name: string): string => `${host.paths.data}/pg_wal/${name}`

/** What the server must have before anybody can ask it: the log up to the end of the backup. */
const neededFirst = (plan: RecoveryPlan): number => {
  const end = startOfSegment(parseLsn(plan.engine['end'] as string) - 1)
  return plan.segments.findIndex(({segment}) => parseSegment(segment).start === end) + 1
}

/** A segment of the plan; nothing behind the end of the plan, so that nothing is replayed that was archived since. */
async function contentOf(plan: RecoveryPlan, archive: LogArchive, index: number): Promise<Buffer> {
  const {timeline, segment} = plan.segments[index] as {timeline: string; segment: string}
  const {bytes, final} = await archive.read(timeline, segment)
  const isLast = index === plan.segments.length - 1
  if (!isLast && (!final || bytes.length < segmentBytes)) {
    throw new DbaasError('RECOVERY_FAILED', `the segment ${segment} of the log is not whole in the archive: ${bytes.length} bytes`, {suggestions: ['dbaas backups verify NAME']})
  }
  const until = isLast && plan.stop === 'end' ? parseLsn(plan.engine['until'] as string) - parseSegment(segment).start : bytes.length
  // The server takes no segment that is not full; zeros are no log.
  const whole = Buffer.alloc(segmentBytes)
  whole.set(bytes.subarray(0, until))
  return whole
}

async function configure(host: Host, plan: RecoveryPlan, archive: LogArchive): Promise<void> {
  // The server puts the label aside at its first start: from then on the data are its own.
  if (!(await host.exists(`${host.paths.data}/backup_label`)) && (await isInitialised(host))) return
  const content = await archive.history(plan.timeline)
  for (const {timeline} of stretchesOf(Number.parseInt(plan.timeline, 16), content)) {
    const history = await archive.history(timelineName(timeline))
    if (history !== undefined) await host.write({path: walPath(host, `${timelineName(timeline)}.history`), content: history})
  }
  await host.write({path: walPath(host, plan.segments[0]?.segment ?? ''), content: await contentOf(plan, archive, 0)})
  await writeSettings(host, plan)
  await seal(host, plan.engine['version'] as string)
}

/** Parameters that the segments fed so far ask for; records may go on from one segment to the next. */
function watchParameters(): {push(start: number, bytes: Buffer): Promise<StandbyParameters | undefined>} {
  let needed: StandbyParameters | undefined
  const reader = createWalReader(0, walEvents((_, event) => {
    if (event?.kind === 'parameters') needed = event.parameters
  }))
  return {
    async push(start, bytes) {
      needed = undefined
      await pushInTurns(reader, start, bytes)
      return needed
    },
  }
}

interface Observation {
  readonly isRecovering: boolean
  readonly position: number | null
}

async function observe(client: Client): Promise<Observation> {
  const {rows: [row]} = await client.query<{recovering: boolean; lsn: string | null}>('select pg_is_in_recovery() as recovering, pg_last_wal_replay_lsn()::text as lsn')
  return {isRecovering: row?.recovering === true, position: row?.lsn ? parseLsn(row.lsn) : null}
}

async function follow(host: Host, admin: AdminCredentials, plan: RecoveryPlan, archive: LogArchive, options: RecoveryOptions): Promise<RecoveryOutcome> {
  const ahead = Math.max(1, Math.floor((options.aheadBytes ?? aheadBytes) / segmentBytes))
  const start = parseLsn(plan.engine['start'] as string)
  const expected = parseLsn(plan.expected.position)
  const parameters = watchParameters()
  let connection: Connection | undefined
  let fed = 0
  let complete: number | undefined
  let isPromoting = false
  let because = ''

  const report = (phase: 'starting' | 'replaying' | 'promoting' | 'promoted', position: number | null): void =>
    options.progress({
      phase, position: position === null ? null : formatLsn(position), replayedBytes: position === null ? 0 : Math.max(0, Math.min(position - start, plan.logBytes)), totalBytes: plan.logBytes,
    })

  /** Feeds one segment; says so if the server must be started anew before it may have it. */
  async function feed(position: number | null): Promise<boolean> {
    const {segment} = plan.segments[fed] as {segment: string}
    const at = parseSegment(segment).start
    // What was replayed may have been removed, and is not needed any more.
    const isPast = position !== null && at + segmentBytes <= startOfSegment(position)
    if (!isPast) {
      const content = await contentOf(plan, archive, fed)
      const needed = await parameters.push(at, content)
      if (needed && (await raiseFloors(host, plan, needed))) return false
      await host.write({path: walPath(host, segment), content})
    }
    fed++
    return true
  }

  try {
    for (;;) {
      options.signal.throwIfAborted()
      connection ??= await connectAdmin(host, admin, {timeoutMs: 2000}).catch((error: Error) => {
        because = error.message
        return undefined
      })
      const seen = connection && (await observe(connection.client).catch(async (error: Error) => {
        because = error.message
        await connection?.close()
        connection = undefined
        return undefined
      }))
      if (connection && seen && !seen.isRecovering) {
        report('promoted', expected)
        return {kind: 'recovered', recovered: await reportOf(host, connection.client, plan)}
      }
      const position = seen?.position ?? null
      report(seen === undefined ? 'starting' : isPromoting ? 'promoting' : 'replaying', position)

      const wanted = position === null ? neededFirst(plan) : Math.floor((position - startOfSegment(start)) / segmentBytes) + 1
      if (fed < Math.min(plan.segments.length, wanted + ahead)) {
        if (!(await feed(position))) return {kind: 'restart', because: 'the log has changes that need more connections or workers than the server has'}
        continue
      }
      if (position !== null && fed === plan.segments.length && position >= expected) {
        if (plan.stop === 'end' && !isPromoting) {
          isPromoting = true
          report('promoting', position)
          await connection?.client.query('select pg_promote(false)')
        }
        complete ??= performance.now()
        if (performance.now() - complete > overdueMs) {
          throw new DbaasError('RECOVERY_FAILED', `the server has replayed its log up to ${formatLsn(position)}, and does not end its recovery (${plan.expected.because})${because === '' ? '' : `: ${because}`}`, {suggestions: ['dbaas logs NAME']})
        }
      }
      await sleep(pollMs, undefined, {signal: options.signal}).catch(() => {})
    }
  } finally {
    await connection?.close()
  }
}

/** From the history of the new timeline, which the server wrote when it left the old one. */
async function reportOf(host: Host, client: Client, plan: RecoveryPlan): Promise<Recovered> {
  const {rows: [row]} = await client.query<{timeline: string; micros: string | null}>(
    "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as timeline, (extract(epoch from pg_last_xact_replay_timestamp()) * 1000000)::bigint as micros")
  const timeline = row?.timeline as string
  const left = parseHistory((await host.read(walPath(host, `${timeline}.history`)))?.toString('utf8') ?? '').at(-1)
  if (left === undefined) throw new DbaasError('RECOVERY_FAILED', `the server serves on the timeline ${timeline}, whose history is not there`, {suggestions: ['dbaas logs NAME']})
  const position = formatLsn(left.end)
  // A time is the server's to judge: it takes the first transaction that is later, in the order of the log.
  if (position !== plan.expected.position && (plan.target.kind !== 'time' || plan.stop === 'end')) {
    throw new DbaasError('RECOVERY_FAILED', `the recovery ended at ${position} (${left.because}), and should at ${plan.expected.position} (${plan.expected.because})`, {
      details: {ended: position, expected: plan.expected.position}, suggestions: ['dbaas logs NAME'],
    })
  }
  return {
    timeline, from: {timeline: timelineName(left.timeline), position},
    lastCommitMicros: row?.micros == null ? plan.expected.lastCommitMicros : Number(row.micros),
    because: left.because === 'no recovery target specified' ? 'at the end of the log' : left.because,
  }
}

export const recovery: EngineRecovery = {
  window: recoveryWindow,
  plan: planRecovery,
  // The marker says that the data are whole, so it is written when they are.
  place: (path, attributes) => (path === markerName ? undefined : {path, mode: typeof attributes['mode'] === 'number' ? attributes['mode'] : 0o600}),
  configure,
  follow,
  finish: removeSettings,
  damagesIn: (path: string, offset: number, bytes: Uint8Array, backup: BaseBackup) => damagesIn(path, offset, bytes, parseLsn(backup.start)),
}

/**
 * Follows the log of a server (START_REPLICATION; PostgreSQL documentation, 54.4): from the end of the archive, over changes
 * of the timeline, until it is told to end, the server shuts down, or what comes next is not to be had any more.
 */
import {DbaasError} from '../../../core/errors.js'
import type {BackupServer, LogEnd, LogRequest, LogSink} from '../../backup.js'
import {commandError, isServerError, sqlstateOf} from '../errors.js'
import {majorOf} from '../versions.js'
import {becomesLost, whyLost} from './hold.js'
import {formatLsn, parseLsn, parseSegment, parseTimeline, segmentBytes, segmentName, startOfSegment, timelineName} from './lsn.js'
import {openSession, identifier, type Session} from './session.js'
import {streamTimeline} from './stream.js'
import {stretchesOf, type Stretch} from './timeline.js'

/** Where the next byte of the archive comes from. */
interface Next {
  timeline: number
  lsn: number
  /** The segment at `lsn` has ended in the archive, or nothing of it is there. */
  isBegin: boolean
  /** Why the line begins anew with it. */
  fresh: string | undefined
  /** Everything committed by then is in the archive. */
  at: number
}

class Gap extends Error {}

/** admin_shutdown: the session was told to end. */
const terminated = '57P01'

/** As EngineLog.follow promises. */
export async function follow(server: BackupServer, request: LogRequest, sink: LogSink, signal: AbortSignal): Promise<LogEnd> {
  for (let from = request.from; ; ) {
    if (signal.aborted) return {kind: 'asked'}
    const end = await followOnce(server, {...request, from}, sink, signal)
    if (end.kind !== 'stalled') return end
    from = end.from
  }
}

/** The sink took nothing for long, and so the connection was given up; all that had come is durable up to `from`. */
interface Stalled {
  readonly kind: 'stalled'
  readonly from: LogRequest['from']
}

async function followOnce(server: BackupServer, request: LogRequest, sink: LogSink, signal: AbortSignal): Promise<LogEnd | Stalled> {
  const session = await openSession(server, 'dbaas log')
  try {
    return await followIn(session, server, request, sink, signal)
  } catch (error) {
    if (error instanceof Gap) return {kind: 'gap', because: error.message}
    const because = whyLost(error)
    if (because !== undefined) return {kind: 'gap', because}
    // The server ends a reader when it drops what is held for it.
    if (sqlstateOf(error) === terminated && (await becomesLost(server, request.hold))) return {kind: 'gap', because: 'the server has dropped what it held, for it was too much'}
    throw isServerError(error) ? commandError(error, session.where) : error
  } finally {
    await session.close()
  }
}

async function followIn(session: Session, server: BackupServer, request: LogRequest, sink: LogSink, signal: AbortSignal): Promise<LogEnd | Stalled> {
  const [system] = await session.rows('IDENTIFY_SYSTEM')
  if (request.system !== null && system?.['systemid'] !== request.system) throw new Gap(`the server has other data: ${system?.['systemid']}, and the archive is of ${request.system}`)
  await checkSegments(session)
  const current = Number(system?.['timeline'])
  const written = parseLsn(system?.['xlogpos'] as string)
  const histories = new Map<number, string>()
  const line = stretchesOf(current, await historyOf(session, current, histories))
  let next = await whereToBegin(session, server, request, current, written)
  if (next.timeline === current && next.lsn > written) {
    throw new Gap(`the archive ends at ${formatLsn(next.lsn)}, and the server at ${formatLsn(written)}: it has lost what was archived`)
  }

  for (;;) {
    const stretch = line.find(({timeline}) => timeline === next.timeline)
    if (stretch === undefined || (next.isBegin && next.lsn % segmentBytes !== 0 && next.lsn < stretch.end)) throw new Gap(`the server went another way: its timeline ${timelineName(current)} does not come from ${timelineName(next.timeline)}`)
    if (next.lsn < stretch.end) {
      await keepHistories(session, line, stretch.timeline, histories, sink)
      const {kind, lsn, at} = await streamTimeline(
        session, `START_REPLICATION SLOT ${identifier(request.hold)} PHYSICAL ${formatLsn(next.lsn)} TIMELINE ${next.timeline}`,
        {...next, start: next.lsn, isCurrent: stretch.timeline === current, isCaughtUp: next.lsn >= written, flush: request.flush, sink, signal})
      if (kind === 'stalled') return {kind, from: archiveEnd(next.timeline, lsn, at)}
      if (kind !== 'timeline') return {kind}
      next = {timeline: next.timeline, lsn, isBegin: lsn % segmentBytes === 0, fresh: undefined, at}
    }
    const following = line[line.indexOf(stretch) + 1]
    // A timeline that has begun since we asked: the next call will know of it.
    if (following === undefined) throw new DbaasError('DATABASE_UNAVAILABLE', `the server at ${session.where} was promoted`, {suggestions: ['dbaas list']})
    await leave(next, sink)
    // What the new timeline took over of the segment is in its own copy of it.
    next = {timeline: following.timeline, lsn: startOfSegment(following.begin), isBegin: true, fresh: next.fresh, at: next.at}
  }
}

/** As the archive would say it that ends there: never between two segments. */
function archiveEnd(timeline: number, lsn: number, at: number): NonNullable<LogRequest['from']> {
  const final = lsn % segmentBytes === 0
  return {
    timeline: timelineName(timeline), segment: segmentName(timeline, final ? lsn - 1 : lsn), offset: final ? segmentBytes : lsn % segmentBytes, final, mark: {at},
  }
}

/** The segment ends where the timeline was left, be it full or not. */
async function leave({timeline, lsn, isBegin, at}: Next, sink: LogSink): Promise<void> {
  if (isBegin) return
  await sink.append({timeline: timelineName(timeline), segment: segmentName(timeline, lsn), start: lsn % segmentBytes, bytes: new Uint8Array(0), final: true, at})
}

async function checkSegments(session: Session): Promise<void> {
  const size = Object.values((await session.rows('SHOW wal_segment_size'))[0] ?? {})[0]
  if (size === '16MB') return
  throw new DbaasError('NOT_SUPPORTED', `the log of the server has segments of ${size}, and dbaas knows those of 16MB`, {suggestions: ['dbaas create makes servers that can be backed up']})
}

/** The first timeline has none. */
async function historyOf(session: Session, timeline: number, known: Map<number, string>): Promise<string | undefined> {
  if (timeline === 1) return undefined
  const found = known.get(timeline) ?? (await session.rows(`TIMELINE_HISTORY ${timeline}`))[0]?.['content'] ?? ''
  known.set(timeline, found)
  return found
}

/** Those of the timeline and of all that follow: an archive without one could not be followed through. */
async function keepHistories(session: Session, line: readonly Stretch[], from: number, known: Map<number, string>, sink: LogSink): Promise<void> {
  for (const {timeline} of line.slice(line.findIndex((stretch) => stretch.timeline === from))) {
    const content = await historyOf(session, timeline, known)
    if (content !== undefined) await sink.putHistory(timelineName(timeline), content)
  }
}

async function whereToBegin(session: Session, server: BackupServer, {from, hold}: LogRequest, current: number, written: number): Promise<Next> {
  if (from !== null) {
    const {start} = parseSegment(from.segment)
    const lsn = from.final ? start + segmentBytes : start + from.offset
    // A segment that ended before it was full was the last of its timeline.
    const left = from.final && from.offset < segmentBytes
    return {timeline: parseTimeline(from.timeline), lsn: left ? start + from.offset : lsn, isBegin: from.final, fresh: undefined, at: from.mark?.at ?? 0}
  }
  const fresh = 'the archive begins here'
  // Below 15 nobody tells what is held; what is written from now on is.
  if (majorOf(server.version) < 15) return {timeline: current, lsn: startOfSegment(written), isBegin: true, fresh, at: 0}
  const [slot] = await session.rows(`READ_REPLICATION_SLOT ${identifier(hold)}`)
  if (!slot?.['slot_type']) throw new Gap('the server has no hold of that name: it kept nothing')
  if (slot['restart_lsn'] === null) throw new Gap('the server has dropped what it held, for it was too much')
  return {timeline: Number(slot['restart_tli'] ?? current), lsn: startOfSegment(parseLsn(slot['restart_lsn'] as string)), isBegin: true, fresh, at: 0}
}


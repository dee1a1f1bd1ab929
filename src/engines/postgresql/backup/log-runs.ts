/**
 * Runs of the archive: segments that a recovery along a timeline can read one after the other, without a gap. Of a segment
 * that several timelines have, the server reads the newest's (xlogrecovery.c, XLogFileReadAnyTLI), which begins as the older.
 */
import type {ArchivedSegment, LogArchive} from '../../backup.js'
import {parseSegment, parseTimeline, segmentBytes, segmentName, startOfSegment, timelineName} from './lsn.js'
import {stretchesOf, type Stretch} from './timeline.js'

interface RunSegment {
  readonly timeline: string
  readonly segment: string
  readonly start: number
}

export interface LogRun {
  readonly stretches: readonly Stretch[]
  /** Ascending, one after the other. */
  readonly segments: readonly RunSegment[]
  /** It ends with the archive, not at a gap. */
  readonly isNewest: boolean
  /** Undefined: not in this run. */
  indexOf(lsn: number): number | undefined
  /** The last few are kept: a search comes back to them. */
  read(index: number): Promise<ArchivedSegment>
}

const keptSegments = 3

/** Along that timeline, by default the newest; the newest run first. None: the archive is empty, or has nothing of it. */
export async function openRuns(archive: LogArchive, wanted?: string): Promise<LogRun[]> {
  const there = new Map<string, Map<number, boolean>>()
  for await (const {timeline, segment, whole = false} of archive.segments()) {
    const starts = there.get(timeline) ?? new Map<number, boolean>()
    there.set(timeline, starts.set(parseSegment(segment).start, whole))
  }
  const newest = wanted ?? [...there.keys()].sort().at(-1)
  if (newest === undefined) return []
  const stretches = stretchesOf(parseTimeline(newest), await archive.history(newest))
  const runs: RunSegment[][] = []
  for (const segment of along(stretches, there)) {
    const run = runs.at(-1)
    const before = run?.at(-1)
    const follows = before && before.start + segmentBytes === segment.start && (await isFull(archive, before, stretches, there))
    if (run && follows) run.push(segment)
    else runs.push([segment])
  }
  return runs.reverse().map((segments, i) => runOf(archive, stretches, segments, i === 0))
}

/** Each segment once, ascending. */
function along(stretches: readonly Stretch[], there: ReadonlyMap<string, ReadonlyMap<number, boolean>>): RunSegment[] {
  const found = new Map<number, RunSegment>()
  for (const {timeline, begin, end} of stretches) {
    const name = timelineName(timeline)
    for (const start of there.get(name)?.keys() ?? []) {
      if (start >= startOfSegment(begin) && start < end) found.set(start, {timeline: name, segment: segmentName(timeline, start), start})
    }
  }
  return [...found.values()].sort((a, b) => a.start - b.start)
}

async function isFull(archive: LogArchive, {timeline, segment, start}: RunSegment, stretches: readonly Stretch[], there: ReadonlyMap<string, ReadonlyMap<number, boolean>>): Promise<boolean> {
  // Where its timeline was left in the middle of it, the next one's copy would be needed, and is not there.
  const end = stretches.find((stretch) => timelineName(stretch.timeline) === timeline)?.end ?? 0
  if (end < start + segmentBytes) return false
  if (there.get(timeline)?.get(start)) return true
  const {final, bytes} = await archive.read(timeline, segment)
  return final && bytes.length === segmentBytes
}

function runOf(archive: LogArchive, stretches: readonly Stretch[], segments: readonly RunSegment[], isNewest: boolean): LogRun {
  const first = (segments[0] as RunSegment).start
  const kept = new Map<number, Promise<ArchivedSegment>>()
  return {
    stretches, segments, isNewest,
    indexOf(lsn) {
      const index = Math.floor((lsn - first) / segmentBytes)
      return index >= 0 && index < segments.length ? index : undefined
    },
    read(index) {
      const {timeline, segment} = segments[index] as RunSegment
      const found = kept.get(index) ?? archive.read(timeline, segment)
      kept.delete(index)
      kept.set(index, found)
      if (kept.size > keptSegments) kept.delete(kept.keys().next().value as number)
      return found
    },
  }
}

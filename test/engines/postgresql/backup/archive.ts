/** A log archive in memory that is as strict as the repository's: slices follow each other, or say why not. */
import type {ArchivedSegment, LogArchive, LogRequest, LogSink, LogSlice, LogStatus} from '../../../../src/engines/backup.js'

interface Segment {
  timeline: string
  segment: string
  parts: Uint8Array[]
  length: number
  final: boolean
  marks: {end: number; at: number}[]
  fresh: string | null
}

export interface TestArchive extends LogSink, LogArchive {
  readonly slices: readonly LogSlice[]
  readonly statuses: readonly LogStatus[]
  completeUntil: number | null
  end(): LogRequest['from']
  bytes(timeline: string, segment: string): Uint8Array | undefined
  /** Called before a slice counts; may wait, and may throw. */
  before: (slice: LogSlice) => Promise<void> | void
  /** Called when it counts. */
  after: (slice: LogSlice) => void
  /** Without the segments from that one on. */
  drop(predicate: (segment: {timeline: string; segment: string}) => boolean): void
}

export function testArchive(): TestArchive {
  const segments: Segment[] = []
  const histories = new Map<string, string>()
  const slices: LogSlice[] = []
  const statuses: LogStatus[] = []
  const find = (timeline: string, segment: string) => segments.find((one) => one.timeline === timeline && one.segment === segment)

  const archive: TestArchive = {
    slices, statuses, completeUntil: null,
    before() {},
    after() {},
    async append(slice) {
      await archive.before(slice)
      const {timeline, segment, start, bytes, final, at, fresh} = slice
      const last = segments.at(-1)
      const where = `${timeline}/${segment} at ${start}`
      if (bytes.length === 0 && !final) throw new Error(`an empty slice: ${where}`)
      if (last && fresh === undefined && at < (last.marks.at(-1)?.at ?? 0)) throw new Error(`time runs backwards: ${where}`)
      if (last?.timeline === timeline && last.segment === segment) {
        if (last.final || last.length !== start) throw new Error(`the archive is at ${last.length}${last.final ? ', final' : ''}: ${where}`)
      } else {
        if (start !== 0) throw new Error(`a segment does not begin at its beginning: ${where}`)
        if (last && (last.timeline > timeline || (last.timeline === timeline && last.segment > segment))) throw new Error(`out of order: ${where}`)
        if (fresh === undefined && last?.final !== true) throw new Error(`the segment before has not ended: ${where}`)
        segments.push({timeline, segment, parts: [], length: 0, final: false, marks: [], fresh: fresh ?? null})
      }
      const into = segments.at(-1) as Segment
      if (timeline !== '00000001' && !histories.has(timeline)) throw new Error(`no history of ${timeline}`)
      into.parts.push(bytes)
      into.length += bytes.length
      into.final = final
      into.marks.push({end: into.length, at})
      slices.push(slice)
      archive.after(slice)
    },
    async putHistory(timeline, content) {
      const known = histories.get(timeline)
      if (known !== undefined && known !== content) throw new Error(`another history of ${timeline}`)
      histories.set(timeline, content)
    },
    history: async (timeline) => histories.get(timeline),
    status: (status) => void statuses.push(status),
    end() {
      const last = segments.at(-1)
      return last ? {timeline: last.timeline, segment: last.segment, offset: last.length, final: last.final, mark: last.marks.at(-1) ?? null} : null
    },
    bytes(timeline, segment) {
      const found = find(timeline, segment)
      return found && Buffer.concat(found.parts)
    },
    async *segments() {
      for (const {timeline, segment} of [...segments].sort((a, b) => (a.timeline + a.segment < b.timeline + b.segment ? -1 : 1))) yield {timeline, segment}
    },
    async read(timeline, segment): Promise<ArchivedSegment> {
      const found = find(timeline, segment)
      if (!found) throw new Error(`no ${timeline}/${segment}`)
      const {final, marks, fresh} = found
      return {bytes: Buffer.concat(found.parts), final, marks: [...marks], fresh}
    },
    drop(predicate) {
      for (let i = segments.length - 1; i >= 0; i--) if (predicate(segments[i] as Segment)) segments.splice(i, 1)
    },
  }
  return archive
}

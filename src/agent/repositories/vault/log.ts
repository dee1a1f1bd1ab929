/**
 * The log archive (WAL, binlog) of an incarnation: one line of slices. A slice is put at a name that its start gives, if
 * absent: so of two writers one goes on and the other learns of it, and there is never more than one line.
 */
import {DbaasError} from '../../../core/errors.js'
import {getIfThere, type Context} from './context.js'
import {damaged, objects} from './format.js'
import {finishRemoval, foundSegments, linkOf, openLog, removeSegment, sealLog, segmentsOf, type LogHeader, type LogObject, type Mark, type SegmentFiles} from './log-format.js'
import type {Damage} from './verify.js'

/** A segment is in memory as a whole, some times over, when it is compacted, read or checked. */
export const segmentLimitBytes = 64 * 1024 * 1024

/** A file that is larger than `segmentLimitBytes` is several segments: their names need only sort as its parts do. */
export interface LogSlice {
  readonly timeline: string
  readonly segment: string
  /** Where in the segment it begins, in bytes. */
  readonly start: number
  readonly bytes: Uint8Array
  /** The segment ends with it, be it full or not. */
  readonly final: boolean
  /** Milliseconds since the epoch: everything committed by then is in it or before it. */
  readonly at: number
  readonly note?: string
  /** Why the line begins anew here, with bytes missing before: the first slice, a lost slot. */
  readonly fresh?: string
}

/** Where the archive ends. */
export interface LogEnd {
  readonly timeline: string
  readonly segment: string
  readonly offset: number
  readonly final: boolean
  readonly link: string
  readonly mark: Mark | null
}

export interface Segment {
  readonly timeline: string
  readonly segment: string
  readonly bytes: Uint8Array
  readonly final: boolean
  readonly marks: readonly Mark[]
  readonly previous: string | null
  readonly fresh: string | null
  readonly link: string
}

export interface LogCheck {
  readonly segments: number
  readonly bytes: number
  readonly damages: readonly Damage[]
  /** Up to here all of it is there, from where it was asked; null when not even the first segment is. */
  readonly until: LogEnd | null
}

export interface Log {
  /** Null when it is empty. Throws REPOSITORY_DAMAGED. */
  end(): Promise<LogEnd | null>
  /** Durable when it resolves. One at a time; it must follow the end, or be `fresh`. Throws LEASE_LOST when another writer was faster. */
  append(slice: LogSlice): Promise<LogEnd>
  /** Makes one object of the slices of a segment that has ended. Idempotent. */
  compact(timeline: string, segment: string): Promise<void>
  segments(): AsyncIterable<SegmentFiles>
  /** What is there of the segment. Throws REPOSITORY_DAMAGED when a part of it is missing or not what was written; BACKUP_NOT_FOUND. */
  read(timeline: string, segment: string): Promise<Segment>
  /** Reads all of the log from that segment on (all of it without) and follows its links. Damage is an answer. */
  check(from?: {readonly timeline: string; readonly segment: string}): Promise<LogCheck>
  /** Removes segments that are not needed, whole ones and slices. */
  prune(needed: (segment: {readonly timeline: string; readonly segment: string}) => boolean): Promise<number>
  putHistory(timeline: string, content: string): Promise<void>
  /** Undefined when absent. */
  history(timeline: string): Promise<string | undefined>
}

const isName = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(text)

export function openLogArchive(context: Context): Log {
  const {store} = context
  let known: LogEnd | null | undefined

  const fetch = async (name: string): Promise<LogObject> => openLog(context, name, await store.get(context.at(name)))
  /** A slice; or, where the slices of the segment were put together since they were listed, the whole segment. */
  async function fetchSlice(timeline: string, segment: string, start: number): Promise<{readonly part: LogObject; readonly isWhole: boolean}> {
    const [name, whole] = [objects.slice(timeline, segment, start), objects.whole(timeline, segment)]
    const sealed = await getIfThere(store, context.at(name))
    if (sealed !== undefined) return {part: await openLog(context, name, sealed), isWhole: false}
    const isWhole = (await store.stat(context.at(whole))) !== undefined
    return {part: await fetch(isWhole ? whole : name), isWhole}
  }
  const endOf = ({timeline, segment, end, final, link, marks}: LogObject): LogEnd => ({timeline, segment, offset: end, final, link, mark: marks.at(-1) ?? null})

  async function end(): Promise<LogEnd | null> {
    let last: SegmentFiles | undefined
    for await (const segment of segmentsOf(context)) last = segment
    if (!last) return null
    const {timeline, segment, slices, whole} = last
    return endOf(whole ? await fetch(objects.whole(timeline, segment)) : (await fetchSlice(timeline, segment, slices.at(-1) as number)).part)
  }

  function whyNotNext(slice: LogSlice, before: LogEnd | null): string | undefined {
    if (!isName(slice.timeline) || !isName(slice.segment)) return 'a timeline or segment has no proper name'
    if (slice.bytes.length === 0 && !slice.final) return 'a slice is empty'
    if (slice.start + slice.bytes.length > segmentLimitBytes) return `a segment has ${segmentLimitBytes} bytes at most`
    const where = `${slice.timeline}/${slice.segment}`
    const behind = before && (before.timeline > slice.timeline || (before.timeline === slice.timeline && before.segment > slice.segment))
    const same = before && before.timeline === slice.timeline && before.segment === slice.segment
    if (behind) return `${where} comes before the end of the archive, which is ${before.timeline}/${before.segment}`
    if (same) return !before.final && before.offset === slice.start ? undefined : `${where} is archived up to ${before.offset}${before.final ? ' and has ended' : ''}, and the slice begins at ${slice.start}`
    if (slice.start !== 0) return `${where} begins at ${slice.start}`
    return slice.fresh !== undefined || before?.final ? undefined : before ? `${before.timeline}/${before.segment} has not ended before ${where}` : `${where} follows nothing and does not say why`
  }

  async function append(slice: LogSlice): Promise<LogEnd> {
    known ??= await end()
    const because = whyNotNext(slice, known)
    if (because !== undefined) throw new DbaasError('INTERNAL', `the log cannot go on: ${because}`)
    const {timeline, segment, start, bytes, final, at, note, fresh} = slice
    const position = {start, end: start + bytes.length, final, previous: fresh !== undefined ? null : (known?.link ?? null)}
    const mark: Mark = {end: position.end, at, ...(note === undefined ? {} : {note})}
    const header: LogHeader = {...position, fresh: fresh ?? null, link: linkOf(timeline, segment, position, bytes), marks: [mark]}
    const name = objects.slice(timeline, segment, start)
    const sealed = await sealLog(context, name, header, [bytes])
    if (start === 0) await finishRemoval(context, timeline, segment)
    let ours = false
    try {
      ours = await store.putIfAbsent(context.at(name), sealed)
    } catch (error) {
      known = undefined
      // The answer may have got lost. If nothing is there, it may yet come: the next try will see it.
      if ((await getIfThere(store, context.at(name))) === undefined) throw error
    }
    // Where the segment is there whole, another writer has had this name, gone on, and put its slices together.
    const isThere = ours || (await getIfThere(store, context.at(name)).then((there) => there && openLog(context, name, there)))?.link === header.link
    if (!isThere || (await store.stat(context.at(objects.whole(timeline, segment)))) !== undefined) {
      known = undefined
      throw new DbaasError('LEASE_LOST', `another writer archives the log of ${context.keys.incarnation}: ${timeline}/${segment} at ${start}`)
    }
    await store.barrier()
    known = {timeline, segment, offset: position.end, final, link: header.link, mark}
    return known
  }

  /** The objects of a segment, checked to be one line from its beginning. */
  async function partsOf(timeline: string, segment: string): Promise<LogObject[]> {
    let files: SegmentFiles | undefined
    for await (const found of segmentsOf(context, objects.segment(timeline, segment))) files = found
    if (!files) throw new DbaasError('BACKUP_NOT_FOUND', `the segment ${timeline}/${segment} is not in the archive`, {details: {timeline, segment}})
    if (files.whole) return [await fetch(objects.whole(timeline, segment))]
    const parts: LogObject[] = []
    for (const start of files.slices) {
      const name = objects.slice(timeline, segment, start)
      const {part, isWhole} = await fetchSlice(timeline, segment, start)
      if (isWhole) return [part]
      const before = parts.at(-1)
      const follows = before ? part.start === before.end && part.previous === before.link && !before.final : part.start === 0
      if (!follows) throw damaged(context.at(name), before ? `it does not follow the slice at ${before.start}: one is missing` : 'the slices before it are missing')
      if (linkOf(timeline, segment, part, part.bytes) !== part.link) throw damaged(context.at(name), 'its link is not its own')
      parts.push(part)
    }
    return parts
  }

  const join = (parts: readonly LogObject[]): Segment => {
    const [first, last] = [parts[0] as LogObject, parts.at(-1) as LogObject]
    const {timeline, segment, previous, fresh} = first
    const bytes = parts.length === 1 ? first.bytes : Buffer.concat(parts.map((part) => part.bytes))
    return {timeline, segment, bytes, final: last.final, marks: parts.flatMap(({marks}) => marks), previous, fresh, link: last.link}
  }
  const read = async (timeline: string, segment: string) => join(await partsOf(timeline, segment))

  return {
    async end() {
      known = await end()
      return known
    },
    append,

    async compact(timeline, segment) {
      const name = objects.whole(timeline, segment)
      if ((await store.stat(context.at(name))) === undefined) {
        const {bytes, final, marks, previous, fresh, link} = await read(timeline, segment)
        if (!final) throw new DbaasError('INTERNAL', `the segment ${timeline}/${segment} has not ended`)
        await store.putIfAbsent(context.at(name), await sealLog(context, name, {start: 0, end: bytes.length, final, previous, fresh, link, marks}, [bytes]))
        await store.barrier()
      }
      // It is read back before what it was made of goes.
      await fetch(name)
      for await (const files of segmentsOf(context, objects.segment(timeline, segment))) {
        for (const start of files.slices) await store.delete(context.at(objects.slice(timeline, segment, start)))
      }
    },

    segments: () => segmentsOf(context),
    read,

    async check(from) {
      const damages: Damage[] = []
      const sums = {segments: 0, bytes: 0}
      let until: LogEnd | null = null
      let before: Segment | undefined
      let begun = false
      for await (const {timeline, segment} of segmentsOf(context)) {
        if (from && (timeline < from.timeline || (timeline === from.timeline && segment < from.segment))) continue
        const object = context.at(objects.segment(timeline, segment).slice(0, -1))
        try {
          if (from && !begun && (timeline !== from.timeline || segment !== from.segment)) throw damaged(object, `${from.timeline}/${from.segment} before it is missing`)
          begun = true
          const found = await read(timeline, segment)
          sums.segments++
          sums.bytes += found.bytes.length
          if (before && found.fresh !== null) throw damaged(object, `the line begins anew: ${found.fresh}`)
          if (before && (found.previous !== before.link || !before.final)) throw damaged(object, `it does not follow ${before.timeline}/${before.segment}`)
          before = found
          const {final, link, marks} = found
          if (damages.length === 0) until = {timeline, segment, offset: found.bytes.length, final, link, mark: marks.at(-1) ?? null}
        } catch (error) {
          if (!(error instanceof DbaasError) || error.code !== 'REPOSITORY_DAMAGED') throw error
          damages.push({object: error.details['object'] ?? object, because: error.message})
          // what follows a damaged one is not blamed for it
          before = undefined
          begun = true
        }
      }
      return {...sums, damages, until}
    },

    async prune(needed) {
      let removed = 0
      for await (const files of foundSegments(context)) {
        if (!files.gone && needed({timeline: files.timeline, segment: files.segment})) continue
        await removeSegment(context, files)
        removed++
      }
      await store.barrier()
      return removed
    },

    async putHistory(timeline, content) {
      const name = objects.history(timeline)
      await store.putIfAbsent(context.at(name), context.seal(name, {timeline, content}))
      await store.barrier()
      if ((await this.history(timeline)) !== content) throw damaged(context.at(name), 'another history of the timeline is there')
    },
    async history(timeline) {
      return ((await context.read(objects.history(timeline))) as {content: string} | undefined)?.content
    },
  }
}

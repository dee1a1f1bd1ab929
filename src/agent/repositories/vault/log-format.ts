/** An object of the log archive: a slice of a segment, or a whole one. */
import {createHash} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import {listAll} from '../repository.js'
import type {Context} from './context.js'
import {bind, damaged, objects} from './format.js'

/** A moment in the log: what was committed by `at` (milliseconds since the epoch) lies before `end`. `note` is the engine's. */
export interface Mark {
  readonly end: number
  readonly at: number
  readonly note?: string
}

export interface LogHeader {
  /** Bytes of the segment: from `start` (inclusive) to `end` (exclusive). */
  readonly start: number
  readonly end: number
  /** The segment ends here. */
  readonly final: boolean
  /** The link of the object before it; null for the first of a stream, which says why it is one in `fresh`. */
  readonly previous: string | null
  readonly fresh: string | null
  /** Its own link: by `linkOf` for a slice; of a whole segment the link of its last slice. */
  readonly link: string
  readonly marks: readonly Mark[]
}

export interface LogObject extends LogHeader {
  readonly timeline: string
  readonly segment: string
  readonly bytes: Uint8Array
}

/** What each object of the log knows of the one before it: so a missing, swapped or older one is found by its successor. */
export function linkOf(timeline: string, segment: string, part: Pick<LogHeader, 'start' | 'end' | 'final' | 'previous'>, bytes: Uint8Array): string {
  const content = createHash('sha256').update(bytes).digest('hex')
  const {start, end, final, previous} = part
  return createHash('sha256').update(bind('link', timeline, segment, start, end, String(final), previous ?? '', content)).digest('hex').slice(0, 32)
}

/** Sealed in a worker thread: length of the header (uint32 LE), the header (JSON), the bytes. */
export async function sealLog(context: Context, name: string, header: LogHeader, bytes: readonly Uint8Array[]): Promise<Uint8Array> {
  const json = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(4)
  size.writeUInt32LE(json.length)
  const {answer} = await context.pool.run({kind: 'seal', keys: context.keyText, name, parts: [size, json, ...bytes], codec: context.codec})
  return answer.sealed
}

/** Throws REPOSITORY_DAMAGED. */
export async function openLog(context: Context, name: string, sealed: Buffer): Promise<LogObject> {
  const {answer: {plain}} = await context.pool.run({kind: 'unseal', keys: context.keyText, name, sealed})
  const bytes = Buffer.from(plain.buffer, plain.byteOffset, plain.length)
  const at = 4 + bytes.readUInt32LE(0)
  const header = JSON.parse(bytes.toString('utf8', 4, at)) as LogHeader
  const [, timeline, segment, part] = name.split('/') as [string, string, string, string]
  const object = {...header, timeline, segment, bytes: bytes.subarray(at)}
  const expected = part === 'whole' ? 0 : Number(part)
  if (header.start !== expected || header.end - header.start !== object.bytes.length) throw damaged(context.at(name), 'it holds another part of the log')
  return object
}

/** Names of the objects of a segment, the slices in order, then the whole one. */
export interface SegmentFiles {
  readonly timeline: string
  readonly segment: string
  readonly slices: readonly number[]
  readonly whole: boolean
  /** Of its objects, as they are stored. */
  readonly storedBytes: number
}

interface Found extends SegmentFiles {
  /** Its removal has begun: what is left of it does not count. */
  readonly gone: boolean
}

/** Segments that are there, in order: by timeline, then by segment, as text. */
export async function* segmentsOf(context: Context, prefix = 'log/'): AsyncGenerator<SegmentFiles> {
  for await (const {gone, ...files} of foundSegments(context, prefix)) if (!gone) yield files
}

/** And what is left of those whose removal was interrupted. */
export async function* foundSegments(context: Context, prefix = 'log/'): AsyncGenerator<Found> {
  let open: {timeline: string; segment: string; slices: number[]; whole: boolean; gone: boolean; storedBytes: number} | undefined
  for await (const {name, size} of listAll(context.store, context.at(prefix))) {
    const [, timeline, segment, part] = name.slice(context.at('').length).split('/') as [string, string, string, string]
    if (open?.timeline !== timeline || open.segment !== segment) {
      if (open) yield open
      open = {timeline, segment, slices: [], whole: false, gone: false, storedBytes: 0}
    }
    if (part === 'whole') open.whole = true
    else if (part === 'gone') open.gone = true
    else open.slices.push(Number(part))
    open.storedBytes += size
  }
  if (open) yield open
}

/** Removes what crashes have left: the rest of segments that were being removed; slices of segments that are there whole, and can be read. */
export async function tidyLog(context: Context): Promise<number> {
  let removed = 0
  for await (const files of foundSegments(context)) {
    const {timeline, segment, slices, whole, gone} = files
    if (gone) {
      await removeSegment(context, files)
      removed++
    } else if (whole && slices.length > 0 && (await isReadable(context, objects.whole(timeline, segment)))) {
      for (const start of slices) await context.store.delete(context.at(objects.slice(timeline, segment, start)))
      removed += slices.length
    }
  }
  return removed
}

/** Removes a segment: all of it or, where a crash comes between, what is left of it counts no more and goes with the next `tidyLog`. */
export async function removeSegment(context: Context, files: Found): Promise<void> {
  const {timeline, segment, slices, whole, gone} = files
  if (!gone && slices.length + (whole ? 1 : 0) > 1) {
    const name = objects.gone(timeline, segment)
    await context.store.put(context.at(name), context.seal(name, {}), {urgent: true})
    await context.store.barrier()
  }
  await removeParts(context, files)
}

/** What was left of a segment of that name when its removal was interrupted: a new one could not begin there. */
export async function finishRemoval(context: Context, timeline: string, segment: string): Promise<void> {
  if ((await context.store.stat(context.at(objects.gone(timeline, segment)))) === undefined) return
  for await (const files of foundSegments(context, objects.segment(timeline, segment))) if (files.gone) await removeSegment(context, files)
}

async function removeParts({store, at}: Context, {timeline, segment, slices, whole}: SegmentFiles): Promise<void> {
  for (const start of slices) await store.delete(at(objects.slice(timeline, segment, start)))
  if (whole) await store.delete(at(objects.whole(timeline, segment)))
  // Durably before what says that they do not count.
  await store.barrier()
  await store.delete(at(objects.gone(timeline, segment)))
}

async function isReadable(context: Context, name: string): Promise<boolean> {
  try {
    await openLog(context, name, await context.store.get(context.at(name)))
    return true
  } catch (error) {
    if (error instanceof DbaasError && error.code === 'REPOSITORY_DAMAGED') return false
    throw error
  }
}

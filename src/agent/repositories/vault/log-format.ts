/** An object of the log archive: a slice of a segment, or a whole one. */
import {createHash} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
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

/** Segments that are there, in order: by timeline, then by segment, as text. */
export async function* segmentsOf(context: Context, prefix = 'log/'): AsyncGenerator<SegmentFiles> {
  let open: {timeline: string; segment: string; slices: number[]; whole: boolean; storedBytes: number} | undefined
  for (let after: string | undefined; ; ) {
    const {objects: page, more} = await context.store.list(context.at(prefix), after === undefined ? {} : {after})
    for (const {name, size} of page) {
      const [, timeline, segment, part] = name.slice(context.at('').length).split('/') as [string, string, string, string]
      if (open?.timeline !== timeline || open.segment !== segment) {
        if (open) yield open
        open = {timeline, segment, slices: [], whole: false, storedBytes: 0}
      }
      if (part === 'whole') open.whole = true
      else open.slices.push(Number(part))
      open.storedBytes += size
    }
    after = page.at(-1)?.name
    if (!more || after === undefined) break
  }
  if (open) yield open
}

/** Removes slices of segments that are there whole, and can be read: what a crash left between the two. */
export async function tidyLog(context: Context): Promise<number> {
  let removed = 0
  for await (const {timeline, segment, slices, whole} of segmentsOf(context)) {
    if (!whole || slices.length === 0 || !(await isReadable(context, objects.whole(timeline, segment)))) continue
    for (const start of slices) await context.store.delete(context.at(objects.slice(timeline, segment, start)))
    removed += slices.length
  }
  return removed
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

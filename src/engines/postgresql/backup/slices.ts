/** Cuts the stream of the log into slices: none crosses a segment, each is as large as has come when it is taken. */
import {segmentBytes, startOfSegment} from './lsn.js'

export interface Slice {
  readonly from: number
  readonly segmentStart: number
  readonly bytes: Uint8Array
  /** Its end is the end of a segment. */
  readonly isEnd: boolean
}

export interface Slices {
  /** The first byte that has not come. */
  readonly end: number
  /** Bytes that wait to be taken. */
  readonly waiting: number
  /** When the oldest of them came (performance.now()); undefined: nothing waits. */
  readonly since: number | undefined
  /** Whether a segment is complete. */
  readonly hasEnd: boolean
  push(data: Buffer): void
  /** All that waits, up to the end of the segment; undefined: nothing does. */
  take(): Slice | undefined
}

/** Portions are kept in blocks, so that a thousand small ones do not cost a thousand buffers. */
const blockBytes = 128 * 1024

export function createSlices(start: number): Slices {
  const blocks: Buffer[] = []
  /** Bytes taken of the first block, and bytes in the last. */
  let taken = 0
  let filled = 0
  let from = start
  let end = start
  let since: number | undefined

  const untilSegment = (): number => segmentBytes - (from % segmentBytes)

  return {
    get end() {
      return end
    },
    get waiting() {
      return end - from
    },
    get since() {
      return since
    },
    get hasEnd() {
      return end - from >= untilSegment()
    },
    push(data) {
      if (data.length === 0) return
      since ??= performance.now()
      end += data.length
      for (let at = 0; at < data.length; ) {
        let last = blocks.at(-1)
        if (last === undefined || filled === blockBytes) {
          blocks.push((last = Buffer.allocUnsafeSlow(blockBytes)))
          filled = 0
        }
        const copied = data.copy(last, filled, at)
        at += copied
        filled += copied
      }
    },
    take() {
      const length = Math.min(end - from, untilSegment())
      if (length === 0) return undefined
      // Memory of its own: a sink may hand it over to a thread.
      const bytes = Buffer.allocUnsafeSlow(length)
      for (let at = 0; at < length; ) {
        const first = blocks[0] as Buffer
        const copied = first.copy(bytes, at, taken, blocks.length === 1 ? filled : blockBytes)
        at += copied
        taken += copied
        if (taken === (blocks.length === 1 ? filled : blockBytes)) {
          blocks.shift()
          taken = 0
        }
      }
      const slice = {from, segmentStart: startOfSegment(from), bytes, isEnd: length === untilSegment()}
      from += length
      if (from === end) since = undefined
      return slice
    },
  }
}

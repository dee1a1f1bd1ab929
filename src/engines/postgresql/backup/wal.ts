/**
 * Reads the records of the write-ahead log out of its segments, as far as a recovery is planned by them: where each begins
 * and ends, and the contents of those few that matter. Layout: src/include/access/{xlogrecord,xlog_internal}.h; how a
 * record goes on over pages: src/backend/access/transam/xlogreader.c. Checksums of records are not looked at: the archive
 * vouches for its bytes.
 */
import {setImmediate} from 'node:timers/promises'
import {readLsn, segmentBytes, startOfSegment} from './lsn.js'

const pageBytes = 8192
const shortHeaderBytes = 24
const longHeaderBytes = 40
const recordHeaderBytes = 24
const flags = {continues: 1, long: 2, overwritten: 8} as const
/** xl_rmid and xl_info: places in the header of a record. */
const infoAt = 16
const managerAt = 17

export interface WalRecord {
  readonly start: number
  /** Where the next begins, but for headers of pages: PostgreSQL's EndRecPtr. */
  readonly end: number
  readonly xid: number
  /** Resource manager. */
  readonly manager: number
  /** Upper half: which record of the manager's. */
  readonly info: number
  /** xlp_magic of its page: which format. */
  readonly format: number
  /** Empty, but for those that were asked for. */
  readonly bytes: Buffer
}

export interface WalReader {
  /** The bytes of a segment, or as many of its first as there are. In order, without gaps. */
  push(segmentStart: number, bytes: Uint8Array): void
  /** Of the last record that is complete; undefined before the first. */
  readonly lastStart: number | undefined
  readonly lastEnd: number | undefined
  /** The log ends here: what follows is no log. */
  readonly isEnded: boolean
}

export interface WalVisitor {
  /** Whether the contents are wanted. Called for every record. */
  wants(manager: number, info: number): boolean
  record(record: WalRecord): void
}

const align = (lsn: number): number => Math.ceil(lsn / 8) * 8
/** RM_XLOG's record that ends a segment before it is full. */
const isSwitch = (manager: number, info: number): boolean => manager === 0 && (info & 0xf0) === 0x40

interface Open {
  readonly start: number
  readonly format: number
  readonly total: number
  /** So much has come. */
  got: number
  /** The header, when it has not come in one piece; and the contents, when they are wanted. */
  readonly header: Buffer
  wanted: Buffer | null | undefined
}

/** `from`: records that begin before it are not told. */
export function createWalReader(from: number, visitor: WalVisitor): WalReader {
  let open: Open | undefined
  /** Bytes of a record whose beginning was not seen. */
  let foreign = 0
  let isSynchronised = false
  let skipTo = 0
  let lastStart: number | undefined
  let lastEnd: number | undefined
  let isEnded = false

  function feed(record: Open, bytes: Buffer, at: number, length: number): void {
    if (record.got < recordHeaderBytes) bytes.copy(record.header, record.got, at, at + Math.min(length, recordHeaderBytes - record.got))
    const before = record.got
    record.got += length
    if (record.got < recordHeaderBytes) return
    if (record.wanted === undefined) {
      const wants = record.start >= from && visitor.wants(record.header[managerAt] as number, record.header[infoAt] as number)
      record.wanted = wants ? Buffer.alloc(record.total) : null
      if (record.wanted) record.header.copy(record.wanted)
    }
    if (record.wanted) bytes.copy(record.wanted, before, at, at + length)
  }

  function finish({start, format, header, wanted}: Open, end: number): void {
    const manager = header[managerAt] as number
    const info = header[infoAt] as number
    const switched = isSwitch(manager, info)
    const aligned = switched ? startOfSegment(end - 1) + segmentBytes : align(end)
    if (switched) skipTo = aligned
    open = undefined
    lastStart = start
    lastEnd = aligned
    if (start >= from) visitor.record({start, end: aligned, xid: header.readUInt32LE(4), manager, info, format, bytes: wanted ?? noBytes})
  }

  /** One page, or the beginning of one. */
  function page(address: number, bytes: Buffer): void {
    if (bytes.length < shortHeaderBytes) return
    const format = bytes.readUInt16LE(0)
    const info = bytes.readUInt16LE(2)
    if (format === 0 || readLsn(bytes, 8, false) !== address) {
      isEnded = true
      return
    }
    let at = (info & flags.long) === 0 ? shortHeaderBytes : longHeaderBytes
    // The server went down in the middle of a record, and began another here when it came back.
    if ((info & flags.overwritten) !== 0) {
      open = undefined
      foreign = 0
    } else if ((info & flags.continues) !== 0) {
      const left = bytes.readUInt32LE(16)
      if (!isSynchronised) foreign = left
      else if (left !== (open ? open.total - open.got : foreign)) isEnded = true
    } else if (open || foreign > 0) isEnded = true
    isSynchronised = true
    if (isEnded) return

    if (foreign > 0) {
      const skipped = Math.min(foreign, bytes.length - at)
      foreign -= skipped
      at = align(at + skipped)
      if (foreign > 0) return
    }
    while (at < bytes.length) {
      if (open === undefined) {
        // The length is never cut by the end of a page, but by the end of what there is.
        if (at + 4 > bytes.length) return
        const total = bytes.readUInt32LE(at)
        if (total < recordHeaderBytes) {
          isEnded = true
          return
        }
        open = {start: address + at, format, total, got: 0, header: Buffer.alloc(recordHeaderBytes), wanted: undefined}
      }
      const length = Math.min(open.total - open.got, bytes.length - at)
      feed(open, bytes, at, length)
      at += length
      if (open.got < open.total) return
      finish(open, address + at)
      if (skipTo > address + at) return
      at = align(at)
    }
  }

  return {
    push(segmentStart, content) {
      const bytes = Buffer.from(content.buffer, content.byteOffset, content.length)
      for (let at = 0; at < bytes.length && !isEnded; at += pageBytes) {
        if (segmentStart + at >= skipTo) page(segmentStart + at, bytes.subarray(at, at + pageBytes))
      }
    },
    get lastStart() {
      return lastStart
    },
    get lastEnd() {
      return lastEnd
    },
    get isEnded() {
      return isEnded
    },
  }
}

const noBytes = Buffer.alloc(0)

/** A segment takes tens of milliseconds: others have their turns in between. */
export async function pushInTurns(reader: WalReader, segmentStart: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length && !reader.isEnded; at += turnBytes) {
    reader.push(segmentStart + at, bytes.subarray(at, at + turnBytes))
    await setImmediate()
  }
}

const turnBytes = 1024 * 1024

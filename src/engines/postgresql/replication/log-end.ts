/**
 * Where the log on a disk ends, as a server that starts on it would find it, and the bytes before that end: by which two logs are
 * told apart whose timelines have the same number, because two nodes were promoted without knowing of each other.
 */
import type {Host} from '../../host.js'
import type {ControlFile} from '../backup/control-file.js'
import {parseSegment, segmentBytes, startOfSegment} from '../backup/lsn.js'
import {createWalReader, pushInTurns} from '../backup/wal.js'

export interface LogEnd {
  readonly timeline: number
  readonly position: number
  /** The last of it: bytes from `tailStart` up to the position, all of one segment. */
  readonly tailStart: number
  readonly tail: Buffer
}

const tailBytes = 16 * 1024

/** CRC-32C, as pg_crc32c_sb8.c computes it. */
const table = Uint32Array.from({length: 256}, (_, n) => {
  let value = n
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value >>> 0
})
function checksum(parts: readonly Buffer[]): number {
  let value = 0xffffffff
  for (const bytes of parts) for (const byte of bytes) value = (table[(value ^ byte) & 0xff] as number) ^ (value >>> 8)
  return (value ^ 0xffffffff) >>> 0
}

const headerBytes = 24
const checksumAt = 20
const isWhole = (record: Buffer): boolean => record.readUInt32LE(checksumAt) === checksum([record.subarray(headerBytes), record.subarray(0, checksumAt)])

export async function findLogEnd(host: Host, control: ControlFile): Promise<LogEnd> {
  const folder = `${host.paths.data}/pg_wal`
  // of a segment that several timelines have a copy of, the newest timeline's
  const segments = new Map<number, string>()
  for (const name of (await host.list(folder)).filter((file) => /^[0-9A-F]{24}$/.test(file)).sort()) segments.set(parseSegment(name).start, name)
  /** The last one that was read: it is asked for again and again, and comes a long way where the host is a container. */
  let kept: {readonly start: number; readonly bytes: Buffer | undefined} | undefined
  const read = async (start: number): Promise<Buffer | undefined> => {
    if (!segments.has(start)) return undefined
    if (kept?.start !== start) kept = {start, bytes: await host.read(`${folder}/${segments.get(start)}`)}
    return kept.bytes
  }

  /** The last record that begins at `from` or after it, with its bytes if they are asked for. */
  async function last(from: number, wants: boolean): Promise<{start: number; end: number; bytes: Buffer} | undefined> {
    let found: {start: number; end: number; bytes: Buffer} | undefined
    const reader = createWalReader(from, {wants: () => wants, record: ({start, end, bytes}) => void (found = {start, end, bytes})})
    for (let start = startOfSegment(from); !reader.isEnded; start += segmentBytes) {
      const bytes = await read(start)
      if (bytes === undefined) break
      await pushInTurns(reader, start, bytes)
    }
    return found
  }

  const found = await last(control.redo, false)
  // Log comes in pieces that do not end with records: of the last one only a part may be there, before what lay there earlier.
  const whole = found === undefined ? false : isWhole((await last(found.start, true))?.bytes ?? Buffer.alloc(headerBytes))
  const position = found === undefined ? control.redo : whole ? found.end : found.start
  const start = startOfSegment(Math.max(0, position - 1))
  const tailStart = Math.max(start, position - tailBytes)
  return {
    timeline: segments.has(start) ? parseSegment(segments.get(start) as string).timeline : control.timeline, position, tailStart,
    tail: (await read(start))?.subarray(tailStart - start, position - start) ?? Buffer.alloc(0),
  }
}

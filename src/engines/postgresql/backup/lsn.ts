/**
 * Places in the write-ahead log. An LSN is a number of bytes since the beginning of all log: a whole number here (2^53
 * bytes are 9 PB), `1/2A000028` as text. Segments and their names: src/include/access/xlog_internal.h.
 */
import {DbaasError} from '../../../core/errors.js'

/** What `initdb` makes by default, and so every instance of ours. */
export const segmentBytes = 16 * 1024 * 1024

const half = 2 ** 32
const segmentsInHalf = half / segmentBytes

const hex = (n: number): string => n.toString(16).toUpperCase()
const hex8 = (n: number): string => hex(n).padStart(8, '0')

export const formatLsn = (lsn: number): string => `${hex(Math.floor(lsn / half))}/${hex(lsn % half)}`

/** Throws INVALID_REQUEST: people type them. */
export function parseLsn(text: string): number {
  const found = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text)
  const lsn = found ? Number.parseInt(found[1] as string, 16) * half + Number.parseInt(found[2] as string, 16) : Number.NaN
  if (Number.isSafeInteger(lsn)) return lsn
  throw new DbaasError('INVALID_REQUEST', `"${text}" is no position in the log`, {
    details: {position: text}, suggestions: ['a position looks like 0/3000148: what pg_current_wal_lsn() answers'],
  })
}

/** As it is read from the wire and from files. */
export const readLsn = (bytes: Buffer, at: number, bigEndian: boolean): number =>
  bigEndian ? bytes.readUInt32BE(at) * half + bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4) * half + bytes.readUInt32LE(at)

export const timelineName = (timeline: number): string => hex8(timeline)

export function parseTimeline(name: string): number {
  if (!/^[0-9A-F]{8}$/.test(name)) throw new DbaasError('INVALID_REQUEST', `"${name}" is no timeline`, {suggestions: ['a timeline looks like 00000002']})
  return Number.parseInt(name, 16)
}

export const startOfSegment = (lsn: number): number => lsn - (lsn % segmentBytes)

/** The segment that the byte at `lsn` lies in. */
export function segmentName(timeline: number, lsn: number): string {
  const n = Math.floor(lsn / segmentBytes)
  return hex8(timeline) + hex8(Math.floor(n / segmentsInHalf)) + hex8(n % segmentsInHalf)
}

/** Throws INVALID_REQUEST. */
export function parseSegment(name: string): {readonly timeline: number; readonly start: number} {
  if (!/^[0-9A-F]{24}$/.test(name)) throw new DbaasError('INVALID_REQUEST', `"${name}" is no segment of the log`)
  const part = (at: number): number => Number.parseInt(name.slice(at, at + 8), 16)
  return {timeline: part(0), start: (part(8) * segmentsInHalf + part(16)) * segmentBytes}
}

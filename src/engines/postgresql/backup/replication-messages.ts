/** The server's clock, as a role sees it that may only replicate: the log stream begins with it. */
import {formatLsn, readLsn} from './lsn.js'
import type {Session} from './session.js'

/** Microseconds between 1970 and 2000: PostgreSQL's epoch. */
export const epochMicros = 946_684_800_000_000

/** A TimestampTz of the wire, in microseconds since 1970. */
export const readMicros = (bytes: Buffer, at: number, bigEndian: boolean): number =>
  (bigEndian ? Number(bytes.readBigInt64BE(at)) : Number(bytes.readBigInt64LE(at))) + epochMicros

export function standbyStatus(positions: {received: number; durable: number}, askForReply: boolean): Buffer {
  const message = Buffer.alloc(34)
  message[0] = 0x72 /* r */
  message.writeBigUInt64BE(BigInt(positions.received), 1)
  message.writeBigUInt64BE(BigInt(positions.durable), 9)
  // apply: nothing is
  message.writeBigInt64BE(BigInt(Math.round(Date.now() * 1000 - epochMicros)), 25)
  message[33] = askForReply ? 1 : 0
  return message
}

export interface ServerMessage {
  /** `w`: log; `k`: a sign of life. */
  readonly kind: 'log' | 'alive'
  /** Of the log that comes with it. */
  readonly start: number
  /** The server has so much. */
  readonly end: number
  readonly micros: number
  readonly replyNow: boolean
  /** Empty for a sign of life. */
  readonly data: Buffer
}

/** Undefined for messages that physical replication does not have. */
export function readServerMessage(chunk: Buffer): ServerMessage | undefined {
  if (chunk[0] === 0x77 /* w */ && chunk.length >= 25) {
    return {kind: 'log', start: readLsn(chunk, 1, true), end: readLsn(chunk, 9, true), micros: readMicros(chunk, 17, true), replyNow: false, data: chunk.subarray(25)}
  }
  if (chunk[0] !== 0x6b /* k */ || chunk.length !== 18) return undefined
  const end = readLsn(chunk, 1, true)
  return {kind: 'alive', start: end, end, micros: readMicros(chunk, 9, true), replyNow: chunk[17] === 1, data: chunk.subarray(18)}
}

/** Milliseconds since 1970: asks for the log from `lsn` on, and takes the time of the first message. */
export async function serverTime(session: Session, timeline: number, lsn: number): Promise<number> {
  let micros: number | undefined
  let ended = false
  await session.converse(`START_REPLICATION PHYSICAL ${formatLsn(lsn)} TIMELINE ${timeline}`, {
    copyBoth: () => session.send(standbyStatus({received: lsn, durable: lsn}, true)),
    copyData(chunk) {
      micros ??= readServerMessage(chunk)?.micros
      if (micros === undefined || ended) return
      ended = true
      session.endCopy()
    },
  })
  return Math.ceil((micros ?? Date.now() * 1000) / 1000)
}

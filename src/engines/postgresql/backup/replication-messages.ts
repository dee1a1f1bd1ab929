/** The server's clock, as a role sees it that may only replicate: the log stream begins with it. */
import {formatLsn, readLsn} from './lsn.js'
import type {Conversation, Session} from './session.js'

/** Microseconds between 1970 and 2000: PostgreSQL's epoch. */
export const epochMicros = 946_684_800_000_000

/** A TimestampTz of the wire, in microseconds since 1970. */
export const readMicros = (bytes: Buffer, at: number, bigEndian: boolean): number =>
  (bigEndian ? Number(bytes.readBigInt64BE(at)) : Number(bytes.readBigInt64LE(at))) + epochMicros

/** `durable`: null acknowledges nothing. */
export function standbyStatus(positions: {received: number; durable: number | null}, askForReply: boolean): Buffer {
  const message = Buffer.alloc(34)
  message[0] = 0x72 /* r */
  message.writeBigUInt64BE(BigInt(positions.received), 1)
  message.writeBigUInt64BE(BigInt(positions.durable ?? 0), 9)
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
}

const kinds: Readonly<Record<number, {readonly kind: ServerMessage['kind']; readonly bytes: number}>> = {
  // w
  119: {kind: 'log', bytes: 25},
  // k
  107: {kind: 'alive', bytes: 18},
}

/** What a message is besides the log in it. Undefined for those that physical replication does not have. */
function readServerMessage(chunk: Buffer): ServerMessage | undefined {
  const found = kinds[chunk[0] as number]
  if (found === undefined || chunk.length < found.bytes) return undefined
  if (found.kind === 'log') return {kind: 'log', start: readLsn(chunk, 1, true), end: readLsn(chunk, 9, true), micros: readMicros(chunk, 17, true), replyNow: false}
  const end = readLsn(chunk, 1, true)
  return {kind: 'alive', start: end, end, micros: readMicros(chunk, 9, true), replyNow: chunk[17] === 1}
}

export interface ServerMessageHandler {
  begin(message: ServerMessage): void
  /** Log, as it comes; valid during the call only. */
  data(bytes: Buffer): void
  end(message: ServerMessage): void
}

/** Puts messages together of their parts, but for the log in them. */
export function createServerMessages({begin, data, end}: ServerMessageHandler): NonNullable<Conversation['copyPart']> {
  let header: Buffer[] = []
  let length = 0
  let message: ServerMessage | undefined
  return (part, isStart, isEnd) => {
    if (isStart) {
      header = []
      length = 0
      message = undefined
    }
    if (message === undefined) {
      header.push(Buffer.from(part.subarray(0, 25)))
      const joined = header.length === 1 ? (header[0] as Buffer) : Buffer.concat(header)
      message = readServerMessage(joined)
      if (message === undefined) {
        length += part.length
        return
      }
      begin(message)
      const rest = message.kind === 'log' ? part.subarray((kinds[119] as {bytes: number}).bytes - length) : part.subarray(part.length)
      if (rest.length > 0) data(rest)
    } else data(part)
    if (isEnd) end(message)
  }
}

/** Milliseconds since 1970: asks for the log from `lsn` on, and takes the time of the first message. */
export async function serverTime(session: Session, timeline: number, lsn: number): Promise<number> {
  let micros: number | undefined
  let ended = false
  await session.converse(`START_REPLICATION PHYSICAL ${formatLsn(lsn)} TIMELINE ${timeline}`, {
    copyBoth: () => session.send(standbyStatus({received: lsn, durable: lsn}, true)),
    copyPart: createServerMessages({
      begin() {},
      data() {},
      end(message) {
        micros ??= message.micros
        if (!ended) session.endCopy()
        ended = true
      },
    }),
  })
  return Math.ceil((micros ?? Date.now() * 1000) / 1000)
}

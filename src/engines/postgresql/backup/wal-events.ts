/** What the log says of transactions, named points and parameters: src/include/access/{xact,xlog_internal}.h. */
import {epochMicros} from './replication-messages.js'
import type {WalRecord, WalVisitor} from './wal.js'

export type WalEvent =
  | {readonly kind: 'transaction'; readonly start: number; readonly end: number; readonly xid: number; readonly isCommitted: boolean; readonly micros: number}
  | {readonly kind: 'name'; readonly start: number; readonly end: number; readonly name: string; readonly micros: number}
  | {readonly kind: 'parameters'; readonly start: number; readonly end: number; readonly parameters: StandbyParameters}

/** What a server that replays must have as large as the one that wrote. */
export interface StandbyParameters {
  readonly max_connections: number
  readonly max_worker_processes: number
  readonly max_wal_senders: number
  readonly max_prepared_transactions: number
  readonly max_locks_per_transaction: number
}

const managers = {log: 0, transactions: 1} as const
/** Upper halves of xl_info. */
const logRecords = {parameterChange: 0x60, restorePoint: 0x70} as const
const transactionRecords = {commit: 0x00, abort: 0x20, commitPrepared: 0x30, abortPrepared: 0x40} as const
const operation = 0x70
/** Bits of xl_xact_xinfo, in the order of their parts. */
const parts = {database: 1, subtransactions: 2, files: 4, invalidations: 8, twoPhase: 16, droppedStatistics: 256} as const
/** xlp_magic of PostgreSQL 18, whose statistics have names of 64 bits. */
const format18 = 0xd118

const isEndOfTransaction = (info: number): boolean => Object.values<number>(transactionRecords).includes(info & operation)

/** Tells of every record, and of what it says if that is of our kinds. */
export const walEvents = (tell: (record: WalRecord, event: WalEvent | undefined) => void): WalVisitor => ({
  wants: (manager, info) =>
    manager === managers.transactions ? isEndOfTransaction(info) : manager === managers.log && Object.values<number>(logRecords).includes(info & 0xf0),
  record: (record) => tell(record, record.bytes.length > 0 ? eventOf(record) : undefined),
})

/** The record's own data lie at its end; before them, headers of what else it has. Undefined: it has pages of tables, and is none of ours. */
function mainData(bytes: Buffer): Buffer | undefined {
  for (let at = 24; at < bytes.length; ) {
    const id = bytes[at] as number
    if (id === 255) return bytes.subarray(bytes.length - (bytes[at + 1] as number))
    if (id === 254) return bytes.subarray(bytes.length - bytes.readUInt32LE(at + 1))
    if (id === 253) at += 3 // origin of replication
    else if (id === 252) at += 5 // the transaction that it is part of
    else return undefined
  }
  return undefined
}

function eventOf({start, end, xid, manager, info, format, bytes}: WalRecord): WalEvent | undefined {
  const data = mainData(bytes)
  if (data === undefined) return undefined
  if (manager === managers.transactions) {
    const micros = Number(data.readBigInt64LE(0)) + epochMicros
    const kind = info & operation
    const isPrepared = kind === transactionRecords.commitPrepared || kind === transactionRecords.abortPrepared
    return {
      kind: 'transaction', start, end, xid: isPrepared ? preparedXid(data, format, xid) : xid,
      isCommitted: kind === transactionRecords.commit || kind === transactionRecords.commitPrepared, micros,
    }
  }
  if ((info & 0xf0) === logRecords.restorePoint) {
    const name = data.subarray(8, 8 + 64)
    const length = name.indexOf(0)
    return {kind: 'name', start, end, name: name.toString('utf8', 0, length === -1 ? name.length : length), micros: Number(data.readBigInt64LE(0)) + epochMicros}
  }
  return {
    kind: 'parameters', start, end,
    parameters: {
      max_connections: data.readInt32LE(0), max_worker_processes: data.readInt32LE(4), max_wal_senders: data.readInt32LE(8),
      max_prepared_transactions: data.readInt32LE(12), max_locks_per_transaction: data.readInt32LE(16),
    },
  }
  // wal_level and the rest are the same for all instances of ours
}

/** The header names the session's own transaction; which one it was is behind lists of varying length. */
function preparedXid(data: Buffer, format: number, xid: number): number {
  const flags = data.readUInt32LE(8)
  let at = 12
  const list = (itemBytes: number): void => {
    at += 4 + data.readInt32LE(at) * itemBytes
  }
  if (flags & parts.database) at += 8
  if (flags & parts.subtransactions) list(4)
  if (flags & parts.files) list(12)
  if (flags & parts.droppedStatistics) list(format >= format18 ? 16 : 12)
  if (flags & parts.invalidations) list(16)
  return flags & parts.twoPhase ? data.readUInt32LE(at) : xid
}


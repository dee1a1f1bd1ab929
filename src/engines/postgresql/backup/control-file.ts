/**
 * `global/pg_control`, as far as it is needed: src/include/catalog/pg_control.h, the same from 14 to 18 up to the parameters, and but for a
 * gap up to the checksums. Little-endian.
 */
import {DbaasError} from '../../../core/errors.js'
import {readLsn} from './lsn.js'
import type {StandbyParameters} from './wal-events.js'

export const controlPath = 'global/pg_control'

const versions = new Set([1300, 1700, 1800])

function checked(control: Buffer): Buffer {
  if (control.length >= 512 && versions.has(control.readUInt32LE(8))) return control
  throw new DbaasError('INTEGRITY_MISMATCH', `the control file has a format that is not known: ${control.length < 12 ? 'it is empty' : control.readUInt32LE(8)}`)
}

/** Throws INTEGRITY_MISMATCH. */
export function standbyParametersOf(file: Buffer): StandbyParameters {
  const control = checked(file)
  return {
    max_connections: control.readInt32LE(180), max_worker_processes: control.readInt32LE(184), max_wal_senders: control.readInt32LE(188),
    max_prepared_transactions: control.readInt32LE(192), max_locks_per_transaction: control.readInt32LE(196),
  }
}

/** DBState. */
const states = ['starting', 'stopped', 'stopped-standby', 'stopping', 'crash-recovery', 'standby', 'primary'] as const

export interface ControlFile {
  readonly system: string
  readonly state: (typeof states)[number]
  /** Where the last checkpoint's record begins, where the log is needed from because of it, and its timeline. */
  readonly checkpoint: number
  readonly redo: number
  readonly timeline: number
  /** A standby's data are torn before that; 0 for a primary. */
  readonly consistentFrom: number
  /** Every change of a page is in the log or in a checksum: then a rewind can find it. */
  readonly isRewindable: boolean
}

/** Throws INTEGRITY_MISMATCH. */
export function readControlFile(file: Buffer): ControlFile {
  const control = checked(file)
  const state = states[control.readUInt32LE(16)]
  if (state === undefined) throw new DbaasError('INTEGRITY_MISMATCH', `the control file says a state that is not known: ${control.readUInt32LE(16)}`)
  return {
    system: String(control.readBigUInt64LE(0)), state, checkpoint: readLsn(control, 32, false), redo: readLsn(control, 40, false), timeline: control.readUInt32LE(48),
    consistentFrom: readLsn(control, 136, false), isRewindable: control[176] === 1 || control.readUInt32LE(252) !== 0,
  }
}

/** `global/pg_control`, as far as it is needed: src/include/catalog/pg_control.h, the same from 14 to 18 up to there. Little-endian. */
import {DbaasError} from '../../../core/errors.js'
import type {StandbyParameters} from './wal-events.js'

export const controlPath = 'global/pg_control'

const versions = new Set([1300, 1700, 1800])

/** Throws INTEGRITY_MISMATCH. */
export function standbyParametersOf(control: Buffer): StandbyParameters {
  if (control.length < 512 || !versions.has(control.readUInt32LE(8))) throw new DbaasError('INTEGRITY_MISMATCH', `the control file has a format that is not known: ${control.length < 12 ? 'it is empty' : control.readUInt32LE(8)}`)
  return {
    max_connections: control.readInt32LE(180), max_worker_processes: control.readInt32LE(184), max_wal_senders: control.readInt32LE(188),
    max_prepared_transactions: control.readInt32LE(192), max_locks_per_transaction: control.readInt32LE(196),
  }
}

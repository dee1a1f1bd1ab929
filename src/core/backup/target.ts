/** What a person says a database shall be restored to. */
import {DbaasError} from '../errors.js'
import {parseTime} from '../time.js'

export type RestoreTarget =
  | {readonly kind: 'latest'}
  /** Microseconds since the epoch. */
  | {readonly kind: 'time'; readonly micros: number}
  | {readonly kind: 'position'; readonly position: string}
  | {readonly kind: 'transaction'; readonly id: string}
  /** A backup by id or label, or a point that somebody has named. */
  | {readonly kind: 'named'; readonly name: string}

/**
 * `latest`, a time (ISO 8601 to the microsecond, or ago: `-10m`), a position of the log (`0/16B3748`), the number of a
 * transaction, a backup's id or label, or a named point. `now`: milliseconds since the epoch. Throws INVALID_REQUEST.
 */
export function parseTarget(text: string, now: number): RestoreTarget {
  const clean = text.trim()
  if (clean === '') throw new DbaasError('INVALID_REQUEST', 'a target cannot be empty', {suggestions: ['--to latest', '--to -10m']})
  if (clean === 'latest' || clean === 'now') return {kind: 'latest'}
  if (/^[0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8}$/.test(clean)) return {kind: 'position', position: clean.toUpperCase()}
  if (/^\d+$/.test(clean)) return {kind: 'transaction', id: clean}
  const ago = /^-?([\d.a-z]+)\s+ago$/i.exec(clean)
  if (ago) return {kind: 'time', micros: parseTime(`-${ago[1]}`, now) * 1000}
  if (/^-\d/.test(clean)) return {kind: 'time', micros: parseTime(clean, now) * 1000}
  if (/^\d{4}-\d{2}-\d{2}/.test(clean)) {
    const ms = parseTime(clean, now)
    const fraction = /\.(\d{4,6})/.exec(clean)?.[1] ?? ''
    return {kind: 'time', micros: ms * 1000 + Number(fraction.slice(3).padEnd(3, '0') || 0)}
  }
  return {kind: 'named', name: clean}
}

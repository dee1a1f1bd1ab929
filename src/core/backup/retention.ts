/**
 * How long backups and the log archive are kept. `--keep 7d` is a window: at any time of it the database can be restored
 * to any moment of it. So a scheduled backup is needed until its successor is as old as the window (DECISIONS.md 20); a
 * labelled one is kept for exactly its own time; a segment of the log for exactly as long as a backup needs it.
 */
import {formatDuration} from '../time.js'

/** A segment of the log. Segments are ordered by timeline, then by name, as text. */
export interface LogPoint {
  readonly timeline: string
  readonly segment: string
}

export interface RetainedBackup {
  readonly id: string
  /** Milliseconds since the epoch. It can be restored to this moment and, with the log, to any later one. */
  readonly completedAt: number
  /** Scheduled ones follow the policy; a labelled one is kept for `keepMs` (null: until it is deleted by hand). */
  readonly kind: {readonly name: 'scheduled'} | {readonly name: 'labelled'; readonly keepMs: number | null}
  /** False when it is known to be damaged: then it relieves no other one. */
  readonly usable: boolean
  /** The log that it needs to be consistent, both ends included. */
  readonly logFrom: LogPoint
  readonly logTo: LogPoint
}

export interface RetentionPolicy {
  /** Milliseconds; null: no window. */
  readonly windowMs: number | null
  /** Scheduled backups that stay, whatever their age; null: no such number. With both, a backup goes when neither needs it; with none, never. */
  readonly keepLast: number | null
}

export interface Verdict {
  readonly id: string
  readonly action: 'keep' | 'delete'
  /** Null while nothing has happened that would end its time. May move when a successor comes, or the policy changes. */
  readonly expiresAt: number | null
  readonly because: string
}

export interface LogRange {
  readonly from: LogPoint
  /** Included; null: without an end. */
  readonly to: LogPoint | null
}

export interface RetentionPlan {
  readonly verdicts: readonly Verdict[]
  /** When the next backup expires, if nothing else happens. */
  readonly nextAt: number | null
  /** What of the log is needed by the backups that stay. */
  readonly log: readonly LogRange[]
}

export const compareLogPoints = (a: LogPoint, b: LogPoint): number =>
  a.timeline !== b.timeline ? (a.timeline < b.timeline ? -1 : 1) : a.segment === b.segment ? 0 : a.segment < b.segment ? -1 : 1

/** Completed backups of one incarnation; `running`: where the log begins that a backup now being made will need. */
export function planRetention(backups: readonly RetainedBackup[], policy: RetentionPolicy, now: number, running: LogPoint | null = null): RetentionPlan {
  const scheduled = backups.filter(({kind}) => kind.name === 'scheduled').sort((a, b) => a.completedAt - b.completedAt || (a.id < b.id ? -1 : 1))
  const verdicts = backups.map((backup) => verdictOn(backup, scheduled, policy, now))
  const kept = new Set(verdicts.filter(({action}) => action === 'keep').map(({id}) => id))
  const coming = verdicts.flatMap(({action, expiresAt}) => (action === 'keep' && expiresAt !== null ? [expiresAt] : []))
  return {
    verdicts,
    nextAt: coming.length > 0 ? Math.min(...coming) : null,
    log: logRanges(backups.filter(({id}) => kept.has(id)), running),
  }
}

function verdictOn(backup: RetainedBackup, scheduled: readonly RetainedBackup[], policy: RetentionPolicy, now: number): Verdict {
  const {expiresAt, because} = backup.kind.name === 'labelled' ? ownTime(backup.completedAt, backup.kind.keepMs) : policyTime(backup, scheduled, policy)
  return {id: backup.id, action: expiresAt !== null && expiresAt <= now ? 'delete' : 'keep', expiresAt, because}
}

const ownTime = (completedAt: number, keepMs: number | null) => keepMs === null
  ? {expiresAt: null, because: 'it has a label and is kept until it is deleted'}
  : {expiresAt: completedAt + keepMs, because: `it has a label and is kept for ${formatDuration(keepMs)}`}

function policyTime(backup: RetainedBackup, scheduled: readonly RetainedBackup[], {windowMs, keepLast}: RetentionPolicy): {expiresAt: number | null; because: string} {
  const newer = scheduled.slice(scheduled.indexOf(backup) + 1).filter(({usable}) => usable)
  if (windowMs === null && keepLast === null) return {expiresAt: null, because: 'backups are kept until they are deleted'}
  const reasons: {until: number | null; because: string}[] = []
  if (windowMs !== null) {
    const [successor] = newer
    reasons.push(successor
      ? {until: successor.completedAt + windowMs, because: `it is needed until the next one, ${successor.id}, is ${formatDuration(windowMs)} old`}
      : {until: null, because: `no newer one covers the last ${formatDuration(windowMs)}`})
  }
  if (keepLast !== null) {
    const relief = newer[keepLast - 1]
    reasons.push(relief
      ? {until: relief.completedAt, because: `${keepLast} newer ones are there since ${relief.id}`}
      : {until: null, because: `it is one of the last ${keepLast}`})
  }
  // Each reason is a promise: the one that holds longest decides.
  const longest = reasons.reduce((a, b) => (a.until === null || (b.until !== null && b.until <= a.until) ? a : b))
  return {expiresAt: longest.until, because: longest.because}
}

/**
 * Of the log: everything from the oldest scheduled backup on, because the window is any moment after it; between the
 * ends of each labelled one. Without any scheduled one the newest labelled one stands in, so that the log does not break off.
 */
function logRanges(kept: readonly RetainedBackup[], running: LogPoint | null): LogRange[] {
  const scheduled = kept.filter(({kind}) => kind.name === 'scheduled')
  const newest = kept.reduce<RetainedBackup | undefined>((a, b) => (a === undefined || b.completedAt > a.completedAt ? b : a), undefined)
  const open = [...(scheduled.length > 0 ? scheduled : newest ? [newest] : []).map(({logFrom}) => logFrom), ...(running ? [running] : [])]
  const from = open.reduce<LogPoint | undefined>((a, b) => (a === undefined || compareLogPoints(b, a) < 0 ? b : a), undefined)
  const labelled = kept.filter(({kind, logFrom}) => kind.name === 'labelled' && (from === undefined || compareLogPoints(logFrom, from) < 0))
  return [...labelled.map(({logFrom, logTo}) => ({from: logFrom, to: logTo})), ...(from ? [{from, to: null}] : [])]
}

/** Whether a segment of the log must stay. */
export const isLogNeeded = (plan: Pick<RetentionPlan, 'log'>, point: LogPoint): boolean =>
  plan.log.some(({from, to}) => compareLogPoints(from, point) <= 0 && (to === null || compareLogPoints(point, to) <= 0))

/** When a backup is due. A time of the schedule is served by one backup, however late: what was missed is caught up once. */
import {isoTime} from '../time.js'
import type {BackupTrigger, BackupType, PolicyRecord} from './backup.js'
import {parseCron} from './cron.js'

/** What the schedule of a new instance is made of. */
export const defaultPolicy = {cron: '0 2 * * *', backupType: 'incremental', jitterMs: 3_600_000, windowMs: 7 * 86_400_000, keepLast: null} as const

/** A failed backup that was due is tried again after so long; doubled each time, up to the longest. */
const againMs = 60_000
const againLongestMs = 3_600_000

export interface ScheduleView {
  readonly policy: Pick<PolicyRecord, 'enabled' | 'cron' | 'backupType' | 'jitterMs' | 'enabledAt' | 'servedAt'>
  /** What spreads instances over the jitter: their ids. */
  readonly instanceId: string
  /** Whether there is a backup that counts, on the line of the log that is there now. */
  readonly protected: boolean
  /** The log lost something since: only a new base backup makes what is written now recoverable. */
  readonly gap: boolean
  /** A backup of the instance is being taken or waits to be. */
  readonly busy: boolean
  /** The last one that failed, since the last that did not. */
  readonly failures: {readonly count: number; readonly lastAt: number}
}

export type ScheduleDecision =
  | {readonly kind: 'take'; readonly trigger: BackupTrigger; readonly type: BackupType; readonly because: string
    /** The time of the schedule that it serves; null for one that the schedule did not ask for. */
    readonly serves: number | null}
  | {readonly kind: 'rest'; readonly until: number | null; readonly because: string}

export function decideBackup(view: ScheduleView, now: number): ScheduleDecision {
  const {policy, failures} = view
  if (!policy.enabled) return {kind: 'rest', until: null, because: 'backups are off'}
  if (view.busy) return {kind: 'rest', until: null, because: 'one is being taken'}
  const jitter = jitterOf(view.instanceId, policy.jitterMs)
  const cron = parseCron(policy.cron)
  const last = cron.previous(now - jitter)
  const isDue = last > policy.servedAt
  const patience = failures.count === 0 ? 0 : Math.min(againLongestMs, againMs * 2 ** (failures.count - 1))
  const rest = failures.lastAt + patience
  const wanted = view.gap ? ({trigger: 'gap', because: 'something of the log was lost: what is written since needs a new one'} as const)
    : !view.protected ? ({trigger: 'first', because: 'there is none yet'} as const)
      : isDue ? ({trigger: 'schedule', because: late(last + jitter, now)} as const) : undefined
  if (!wanted) return {kind: 'rest', until: cron.next(last) + jitter, because: `the next one is due at ${isoTime(cron.next(last) + jitter)}`}
  if (patience > 0 && rest > now) return {kind: 'rest', until: rest, because: `the last try failed; the next is at ${isoTime(rest)}`}
  return {kind: 'take', ...wanted, type: policy.backupType, serves: isDue ? last : null}
}

const late = (due: number, now: number): string =>
  now - due < 120_000 ? 'it is time' : `it was due at ${isoTime(due)}, when nobody could take it`

/** When the next scheduled one begins. */
export function nextBackupAt(policy: Pick<PolicyRecord, 'cron' | 'jitterMs' | 'servedAt'>, instanceId: string, now: number): number {
  const jitter = jitterOf(instanceId, policy.jitterMs)
  const cron = parseCron(policy.cron)
  const last = cron.previous(now - jitter)
  return (last > policy.servedAt ? last : cron.next(last)) + jitter
}

/** Between 0 and `rangeMs`, evenly spread over ids, the same for one id: FNV-1a, and the finaliser of MurmurHash3 that mixes its high bits. */
export function jitterOf(id: string, rangeMs: number): number {
  let hash = 0x811c9dc5
  for (const letter of id) hash = Math.imul(hash ^ (letter.codePointAt(0) as number), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return Math.floor((((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32) * rangeMs)
}

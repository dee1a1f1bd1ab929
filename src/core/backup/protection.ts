/** What is true of an instance's backups, and whether what was promised is kept (DECISIONS.md 13). */
import {formatDuration, isoTime} from '../time.js'
import type {BackupRecord, LogRecord, PolicyRecord, RepositoryRecord, RestoreTestRecord} from './backup.js'
import {nextBackupAt} from './schedule.js'

export interface ProtectionView {
  readonly instanceId: string
  /** Whether its server should run: one that is stopped writes nothing that could be lost. */
  readonly running: boolean
  /** Whether its engine can be backed up at all; its name for a person. */
  readonly supported: boolean
  readonly engine: string
  readonly policy: PolicyRecord | undefined
  /** Of the incarnation that is written to. */
  readonly backups: readonly BackupRecord[]
  readonly log: LogRecord | undefined
  readonly repository: RepositoryRecord | undefined
  /** Of that repository. */
  readonly copies: readonly RepositoryRecord[]
  readonly lastRestoreTest: RestoreTestRecord | undefined
}

export interface Protection {
  readonly enabled: boolean
  /** Why it is not enabled; or what is broken, past its grace or not. */
  readonly reason: string | null
  /** Past its grace: the instance is degraded. */
  readonly broken: boolean
  readonly schedule: string | null
  readonly retentionMs: number | null
  readonly nextBackupAt: number | null
  readonly lastBackupAt: number | null
  readonly recoverableFrom: number | null
  readonly recoverableTo: number | null
  readonly logLagBytes: number | null
  readonly logLagSeconds: number | null
  readonly lastRestoreTest: RestoreTestRecord | undefined
}

/** How long a promise may be broken before the instance is degraded. */
export const graces = {firstBackupMs: 10 * 60_000, logMs: 60_000, scheduleMs: 3_600_000, repositoryMs: 60_000, copyMs: 600_000} as const

const isGood = ({status}: BackupRecord): boolean => status === 'completed'

/** Backups on the line of the log that is there now: with it they reach any later moment. */
export const onLine = (backups: readonly BackupRecord[], log: LogRecord | undefined): BackupRecord[] =>
  backups.filter((backup) => isGood(backup) && log !== undefined && backup.line === log.line)

export function diagnoseProtection(view: ProtectionView, now: number): Protection {
  const {policy, log} = view
  const off = {
    broken: false, schedule: null, retentionMs: null, nextBackupAt: null, logLagBytes: null, logLagSeconds: null, lastRestoreTest: view.lastRestoreTest,
    ...windowOf(view),
  }
  if (!view.supported) return {...off, enabled: false, reason: `backups of ${view.engine} are not there yet`}
  if (!policy) return {...off, enabled: false, reason: 'backups have not begun'}
  if (!policy.enabled) return {...off, enabled: false, reason: policy.because ?? 'backups are off'}
  const problem = view.running ? whatIsBroken(view, policy, now) : whatIsBrokenAtRest(view)
  const stale = log?.state === 'following' ? 0 : Math.max(0, now - (log?.updatedAt ?? now)) / 1000
  return {
    ...off, enabled: true, reason: problem?.because ?? null, broken: problem?.broken ?? false,
    schedule: policy.cron, retentionMs: policy.windowMs, nextBackupAt: nextBackupAt(policy, view.instanceId, now),
    logLagBytes: log?.lagBytes ?? null,
    // while nobody follows it, the lag grows by itself
    logLagSeconds: log?.lagSeconds === null || log?.lagSeconds === undefined ? null : round(log.lagSeconds + (view.running ? stale : 0)),
  }
}

const round = (seconds: number): number => Math.round(seconds * 1000) / 1000

function windowOf({backups, log}: ProtectionView): Pick<Protection, 'lastBackupAt' | 'recoverableFrom' | 'recoverableTo'> {
  const good = backups.filter(isGood)
  const reached = onLine(backups, log).map(({consistentAt}) => consistentAt ?? 0)
  const lastBackupAt = good.reduce<number | null>((last, {completedAt}) => Math.max(last ?? 0, completedAt ?? 0), null)
  if (reached.length === 0) return {lastBackupAt, recoverableFrom: null, recoverableTo: null}
  return {lastBackupAt, recoverableFrom: Math.min(...reached), recoverableTo: Math.max(log?.durableAt ?? 0, ...reached)}
}

interface Problem {
  readonly because: string
  readonly broken: boolean
}

/** A server that does not run: what it wrote must be there, and its newest backup good. */
function whatIsBrokenAtRest({backups}: ProtectionView): Problem | undefined {
  return damaged(backups)
}

const damaged = (backups: readonly BackupRecord[]): Problem | undefined => {
  const newest = [...backups].filter(({status}) => status === 'completed' || status === 'damaged').sort((a, b) => (b.completedAt ?? 0) - (a.completedAt ?? 0))[0]
  return newest?.status === 'damaged' ? {broken: true, because: `its newest backup ${newest.id} is damaged: ${newest.because ?? 'it cannot be read back'}`} : undefined
}

const whyFailed = ({result}: RestoreTestRecord): string => {
  const {because} = (result ?? {}) as {because?: unknown}
  return typeof because === 'string' ? because : 'what was restored is damaged'
}

function whatIsBroken(view: ProtectionView, policy: PolicyRecord, now: number): Problem | undefined {
  const {backups, log, repository} = view
  const since = (at: number, grace: number, because: string): Problem => ({broken: now - at > grace, because})
  if (log?.state === 'gap') {
    const away = repository?.status === 'unavailable' ? `, and the repository ${repository.name} does not answer: ${repository.because ?? 'unknown'}` : ''
    return {broken: true, because: `its log has a gap: ${log.because ?? 'something was lost'}; a new backup is due${away}`}
  }
  const found = damaged(backups)
  if (found) return found
  const test = view.lastRestoreTest
  if (test && !test.ok) return {broken: true, because: `the restore that was tried at ${isoTime(test.at)} failed: ${whyFailed(test)}`}
  if (repository?.status === 'unavailable') {
    const because = `the repository ${repository.name} does not answer: ${repository.because ?? 'unknown'}`
    return log?.risk ? {broken: true, because: `${because}; its log may be lost soon: ${log.risk}`} : since(repository.checkedAt ?? now, graces.repositoryMs, because)
  }
  const reached = onLine(backups, log)
  if (reached.length === 0) {
    const cut = backups.some(isGood)
    return cut ? {broken: true, because: 'its log begins anew after the last backup: what is written since cannot be recovered until the next'}
      : since(policy.enabledAt, graces.firstBackupMs, now - policy.enabledAt > graces.firstBackupMs
        ? `there is no backup of it after ${formatDuration(now - policy.enabledAt)}` : 'its first backup is not taken yet')
  }
  if (!log || log.state !== 'following') {
    const because = `its log is not followed${log?.because ? `: ${log.because}` : ' yet'}`
    return log?.risk ? {broken: true, because: `${because}; it may be lost soon: ${log.risk}`} : since(log?.since ?? policy.enabledAt, graces.logMs, because)
  }
  if (log.risk) return {broken: true, because: `its log may be lost soon: ${log.risk}`}
  if ((log.lagSeconds ?? 0) * 1000 > graces.logMs) return {broken: true, because: `its log is ${formatDuration((log.lagSeconds ?? 0) * 1000)} behind`}
  const due = nextBackupAt(policy, view.instanceId, now)
  if (due < now) return since(due, graces.scheduleMs, `the backup that was due at ${isoTime(due)} has not been taken`)
  const copy = view.copies.find(({copyBecause}) => copyBecause !== null)
  if (copy) return since(copy.copyFailedAt ?? now, graces.copyMs, `the copy ${copy.name} of its repository is not kept up to date: ${copy.copyBecause}`)
  return undefined
}

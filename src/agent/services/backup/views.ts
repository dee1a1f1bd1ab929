/** Backups as the API shows them (CLI.md, JSON shapes). Pure. */
import type {ApiBackup, ApiInstance, ApiRepository, ApiSchedule} from '../../../core/api/schemas.js'
import type {BackupRecord, PolicyRecord, RepositoryRecord} from '../../../core/backup/backup.js'
import type {Protection} from '../../../core/backup/protection.js'
import {nextBackupAt} from '../../../core/backup/schedule.js'
import {isoTime} from '../../../core/time.js'

const isoOrNull = (ms: number | null): string | null => (ms === null ? null : isoTime(ms))

export const backupView = (backup: BackupRecord, kept: boolean): ApiBackup => ({
  id: backup.id, instance_id: backup.instanceId, instance_name: backup.instanceName, engine: backup.engine, type: backup.type, status: backup.status,
  because: backup.because, trigger: backup.trigger, label: backup.label, size_bytes: backup.sizeBytes, stored_bytes: backup.storedBytes,
  created_at: isoTime(backup.createdAt), completed_at: isoOrNull(backup.completedAt), expires_at: isoOrNull(backup.expiresAt),
  verified_at: isoOrNull(backup.verifiedAt), recoverable_from: isoOrNull(backup.consistentAt), encrypted: backup.encrypted, checksum: backup.checksum,
  repository: backup.repository, incarnation: backup.incarnation, snapshot: backup.snapshot, timeline: backup.timeline,
  start_position: backup.startPosition, end_position: backup.endPosition, kept,
})

export const scheduleView = (policy: PolicyRecord, now: number): ApiSchedule => ({
  enabled: policy.enabled, reason: policy.because, cron_expression: policy.cron, backup_type: policy.backupType,
  retention_days: policy.windowMs === null ? null : policy.windowMs / 86_400_000, retention_seconds: policy.windowMs === null ? null : policy.windowMs / 1000,
  keep_last: policy.keepLast, jitter_seconds: policy.jitterMs / 1000, repository: policy.repository,
  next_backup_at: policy.enabled ? isoTime(nextBackupAt(policy, policy.instanceId, now)) : null,
})

export const repositoryView = (repository: RepositoryRecord, backups: readonly BackupRecord[], now: number): ApiRepository => {
  const own = backups.filter((b) => b.repository === repository.name)
  return {
    name: repository.name, kind: repository.kind, location: repository.location, status: repository.status, because: repository.because,
    backups: own.length, stored_bytes: own.reduce((sum, b) => sum + (b.storedBytes ?? 0), 0), created_at: isoTime(repository.createdAt),
    settings: {...repository.settings},
    copy: repository.copyOf === null ? null : {
      of: repository.copyOf, copied_at: isoOrNull(repository.copiedAt), because: repository.copyBecause,
      lag_seconds: repository.copiedAt === null ? null : Math.max(0, now - repository.copiedAt) / 1000,
    },
  }
}

export const protectionView = (protection: Protection): ApiInstance['backup'] => {
  const test = protection.lastRestoreTest
  return {
    enabled: protection.enabled, reason: protection.reason, schedule: protection.schedule,
    retention_seconds: protection.retentionMs === null ? null : protection.retentionMs / 1000, next_backup_at: isoOrNull(protection.nextBackupAt),
    last_backup_at: isoOrNull(protection.lastBackupAt), recoverable_from: isoOrNull(protection.recoverableFrom),
    recoverable_to: isoOrNull(protection.recoverableTo), log_lag_bytes: protection.logLagBytes, log_lag_seconds: protection.logLagSeconds,
    last_restore_test: test ? {at: isoTime(test.at), ok: test.ok, rto_seconds: test.rtoSeconds, recovered_to: isoOrNull(test.recoveredTo)} : null,
  }
}

/** Backups, schedules and repositories as text. */
import type {ApiBackup, ApiOperation, ApiRepository, ApiSchedule} from '../../../core/api/schemas.js'
import {formatDuration} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import type {MutationResult} from '../follow.js'
import {renderDetails} from './details.js'
import {fromNow} from './instance.js'
import {doneLine} from './operation.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const sizeOf = (bytes: number | null): string => (bytes === null ? '-' : formatBytes(bytes))

function paintBackup(status: ApiBackup['status'], paint: Paint): string {
  return status === 'completed' ? paint.green(status) : status === 'damaged' ? paint.red(status) : paint.yellow(status)
}

const expiry = (backup: ApiBackup, now: number): string =>
  backup.expires_at !== null ? fromNow(backup.expires_at, now) : backup.kept || backup.label !== null ? 'when deleted' : 'after its successor'

export function renderBackups(backups: readonly ApiBackup[], now: number, paint: Paint): string {
  if (backups.length === 0) return 'No backups.\n'
  const columns = ['ID', 'INSTANCE', 'LABEL', 'STATUS', 'TYPE', 'SIZE', 'STORED', 'TAKEN', 'VERIFIED', 'EXPIRES'].map((title) => ({title}))
  return renderTable(columns, backups.map((backup) => [
    backup.id,
    `${backup.instance_name}${backup.kept ? paint.dim(' (deleted)') : ''}`,
    visible(backup.label ?? '-'),
    paintBackup(backup.status, paint),
    backup.type ?? '-',
    sizeOf(backup.size_bytes),
    sizeOf(backup.stored_bytes),
    fromNow(backup.created_at, now),
    backup.verified_at === null ? paint.yellow('no') : fromNow(backup.verified_at, now),
    expiry(backup, now),
  ]), paint)
}

export function renderBackup(backup: ApiBackup, now: number, paint: Paint): string {
  const time = (at: string | null): string | undefined => (at === null ? undefined : `${fromNow(at, now)} (${at})`)
  return `${paint.bold(visible(backup.label ?? backup.id))}  ${paintBackup(backup.status, paint)}\n${renderDetails([
    ['instance', `${backup.instance_name}${backup.kept ? ', which is deleted' : ''}`],
    ['type', backup.type === null ? undefined : `${backup.type}: ${backup.because ?? ''}`],
    ['why', backup.trigger],
    ['size', backup.size_bytes === null ? undefined : `${formatBytes(backup.size_bytes)}; ${sizeOf(backup.stored_bytes)} were written for it`],
    ['taken', time(backup.created_at)],
    ['restorable', backup.recoverable_from === null ? undefined : `to ${backup.recoverable_from} and, with the log, later`],
    ['verified', time(backup.verified_at) ?? paint.yellow('not yet')],
    ['expires', backup.expires_at === null ? expiry(backup, now) : time(backup.expires_at)],
    ['encryption', backup.encrypted ? 'AES-256-GCM, by a key of its instance alone' : paint.red('none')],
    ['repository', `${backup.repository}, snapshot ${backup.snapshot ?? '-'} of ${backup.incarnation}`],
    ['log', backup.start_position === null ? undefined : `${backup.start_position} to ${backup.end_position} on timeline ${backup.timeline}`],
    ['checksum', backup.checksum ?? undefined],
    ['id', paint.dim(backup.id)],
  ], paint)}`
}

export function renderTaken(result: MutationResult, operation: ApiOperation, paint: Paint): string {
  const backup = 'backup' in result ? result.backup : undefined
  if (!backup) return doneLine('backed up', operation, paint)
  return doneLine(`${visible(backup.label ?? backup.id)} of ${backup.instance_name}: ${sizeOf(backup.size_bytes)}, ${sizeOf(backup.stored_bytes)} written, read back and whole`, operation, paint)
}

export function renderSchedule(name: string, schedule: ApiSchedule, now: number, paint: Paint): string {
  const {retention_seconds: keep, keep_last: last} = schedule
  const kept = keep === null && last === null ? 'until they are deleted' : [
    ...(keep === null ? [] : [`any moment of the last ${formatDuration(keep * 1000)} can be restored`]), ...(last === null ? [] : [`at least the last ${last} stay`]),
  ].join('; ')
  return renderDetails([
    ['backups', schedule.enabled ? paint.green('on') : paint.yellow(`off: ${schedule.reason ?? 'not protected'}`)],
    ['when', `${schedule.cron_expression} (UTC), up to ${formatDuration(schedule.jitter_seconds * 1000)} later`],
    ['next', schedule.next_backup_at === null ? undefined : `${fromNow(schedule.next_backup_at, now)} (${schedule.next_backup_at})`],
    ['kept', kept],
    ['type', schedule.backup_type],
    ['repository', schedule.repository],
    ['change', paint.cyan(`dbaas backups schedule ${name} --cron "30 2 * * *" --keep 7d`)],
  ], paint)
}

export function renderRepositories(repositories: readonly ApiRepository[], paint: Paint): string {
  const columns = ['NAME', 'KIND', 'STATUS', 'BACKUPS', 'STORED', 'COPY', 'LOCATION'].map((title) => ({title}))
  return renderTable(columns, repositories.map((repository) => [
    paint.bold(repository.name), repository.kind, paintRepository(repository, paint), String(repository.backups), formatBytes(repository.stored_bytes), paintCopy(repository.copy, paint), visible(repository.location),
  ]), paint)
}

const paintRepository = ({status, because}: ApiRepository, paint: Paint): string =>
  status === 'ok' ? paint.green(status) : status === 'unavailable' ? paint.red(`${status}${because ? `: ${visible(because)}` : ''}`) : paint.dim(status)

function paintCopy(copy: ApiRepository['copy'], paint: Paint): string {
  if (copy === null) return '-'
  const text = `of ${copy.of}, ${copy.lag_seconds === null ? 'not there yet' : `${formatDuration(Math.round(copy.lag_seconds) * 1000)} behind`}`
  return copy.because === null ? text : paint.red(`${text}: ${visible(copy.because)}`)
}

export const renderRepository = (repository: ApiRepository, paint: Paint): string => renderDetails([
  ['kind', repository.kind], ['location', visible(repository.location)],
  ...Object.entries(repository.settings).filter(([name]) => ['endpoint', 'region'].includes(name)).map(([name, value]): [string, string] => [name, visible(String(value))]),
  ['copy', repository.copy === null ? undefined : paintCopy(repository.copy, paint)], ['status', paintRepository(repository, paint)],
  ['backups', `${repository.backups}, ${formatBytes(repository.stored_bytes)}`],
], paint)

/** Instances as text: one line each, one screen, and what follows a change. */
import type {ApiInstance, ApiOperation} from '../../../core/api/schemas.js'
import {formatDuration} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import {renderDetails} from './details.js'
import {decisionText, drillText, renderNodes, replicationText, topology, worstLag} from './high-availability.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

export function paintStatus(status: string, paint: Paint): string {
  if (status === 'running') return paint.green(status)
  if (status === 'failed' || status === 'absent') return paint.red(status)
  return status === 'stopped' ? paint.dim(status) : paint.yellow(status)
}

export const address = (endpoint: {host: string; port: number} | null): string | undefined =>
  endpoint === null ? undefined : `${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`

/** `small (1 CPU, 1 GiB memory, 10 GiB storage)` */
export const sizeText = ({name, cpu, memory_bytes, storage_bytes}: ApiInstance['size']): string =>
  `${name} (${cpu} CPU, ${formatBytes(memory_bytes)} memory, ${formatBytes(storage_bytes)} storage)`

/** `in 3 h 5 m`, `2 d 1 h ago` */
export function fromNow(iso: string, now: number): string {
  const ms = Date.parse(iso) - now
  return ms >= 0 ? `in ${formatDuration(ms)}` : `${formatDuration(-ms)} ago`
}

/** `postgres:18@sha256:1a2b3c4d5e6f`: as it was asked for, and which one that was. */
function imageText({image}: ApiInstance): string | undefined {
  if (image === null) return undefined
  const digest = image.digest ?? image.id
  return visible(image.reference.includes('@') ? image.reference : `${image.reference}@${digest.slice(0, 'sha256:'.length + 12)}`)
}

export function renderList(instances: readonly ApiInstance[], now: number, paint: Paint): string {
  if (instances.length === 0) return `No instances yet.\n  ${paint.cyan('→')} dbaas create demo\n`
  const withImages = instances.some(({image}) => image !== null)
  const withReplicas = instances.some(({nodes}) => nodes.length > 1)
  const columns = ['NAME', 'STATUS', 'ENGINE', 'RUNTIME', ...(withImages ? ['IMAGE'] : []), 'SIZE', 'TOPOLOGY', ...(withReplicas ? ['LAG'] : []), 'ENDPOINT', 'BACKUP', 'AGE'].map((title) => ({title}))
  return renderTable(columns, instances.map((instance) => [
    paint.bold(instance.name),
    paintStatus(instance.status, paint),
    `${instance.engine} ${instance.version}`,
    instance.runtime,
    ...(withImages ? [imageText(instance) ?? '-'] : []),
    instance.size.name,
    topology(instance),
    ...(withReplicas ? [worstLag(instance) || '-'] : []),
    address(instance.endpoint) ?? '-',
    backupCell(instance, now, paint),
    formatDuration(Math.max(0, now - Date.parse(instance.created_at))),
  ]), paint)
}

function limitLines({limits}: ApiInstance): string {
  return (['cpu', 'memory', 'storage'] as const).map((name) => {
    const {enforced, because} = limits[name]
    return `${name} ${enforced ? 'enforced' : 'not enforced'}${because === null ? '' : `: ${because}`}`
  }).join('\n')
}

/** The words of DECISIONS.md 13: an unprotected database never looks healthy. */
function protectionText({name, backup}: ApiInstance, now: number, paint: Paint): string {
  if (!backup.enabled) return paint.yellow(`not protected: ${visible(backup.reason ?? 'no backups yet')}`)
  const last = backup.last_backup_at === null ? paint.yellow('none taken yet') : `the last ${fromNow(backup.last_backup_at, now)}`
  const next = backup.next_backup_at === null ? '' : `, the next ${fromNow(backup.next_backup_at, now)}`
  return [`${last}${next}: dbaas backups list ${name}`, ...(backup.reason === null ? [] : [paint.yellow(visible(backup.reason))])].join('\n')
}

function windowText({backup}: ApiInstance, now: number, paint: Paint): string | undefined {
  if (!backup.enabled) return undefined
  const {recoverable_from: from, recoverable_to: to, log_lag_bytes: bytes, log_lag_seconds: seconds} = backup
  const window = from === null || to === null ? paint.yellow('to no moment yet') : `to any moment from ${fromNow(from, now)} to ${to}`
  return `${window}${bytes === null || seconds === null ? '' : `\nthe log is ${formatBytes(bytes)} and ${formatDuration(seconds * 1000)} behind`}`
}

function restoreTestText({backup}: ApiInstance, now: number, paint: Paint): string | undefined {
  const test = backup.last_restore_test
  if (test === null) return backup.enabled ? paint.dim('never tried') : undefined
  const took = test.rto_seconds === null ? '' : ` in ${formatDuration(test.rto_seconds * 1000)}`
  return test.ok ? `proven ${fromNow(test.at, now)}${took}` : paint.red(`failed ${fromNow(test.at, now)}`)
}

/** `2 h 5 m ago`: the age of the newest backup. */
function backupCell({backup}: ApiInstance, now: number, paint: Paint): string {
  if (!backup.enabled) return paint.yellow('none')
  return backup.last_backup_at === null ? paint.yellow('not yet') : fromNow(backup.last_backup_at, now)
}

export function renderInstance(instance: ApiInstance, now: number, paint: Paint): string {
  // What is about backups is said in its own line.
  const isKnown = instance.status_reason === null || (instance.backup.reason !== null && instance.status_reason.endsWith(instance.backup.reason))
  const reason = isKnown ? '' : `  ${paint.dim(instance.status_reason ?? '')}`
  const wanted = instance.wanted_status === instance.status ? '' : paint.dim(`  (wanted: ${instance.wanted_status})`)
  const set = Object.keys(instance.configuration.parameters).length
  const head = `${paint.bold(instance.name)}  ${paintStatus(instance.status, paint)}${wanted}${reason}\n`
  const details = renderDetails([
    ['engine', `${instance.engine} ${instance.version} on ${instance.runtime}`],
    ['image', imageText(instance)],
    ['endpoint', address(instance.endpoint)],
    ['read-only', address(instance.read_only_endpoint)],
    ['replicas', replicationText(instance, paint)],
    ['decision', decisionText(instance, now)],
    ['failover', drillText(instance, now, paint)],
    ['database', `${instance.database}, as ${instance.username}`],
    ['encryption', `${instance.tls.min_version} or newer in transit; data on disk ${instance.configuration.security_config.encryption_at_rest ? 'encrypted' : paint.yellow('not encrypted')}`],
    ['backups', protectionText(instance, now, paint)],
    ['restorable', windowText(instance, now, paint)],
    ['restore', restoreTestText(instance, now, paint)],
    ['size', sizeText(instance.size)],
    ['limits', limitLines(instance)],
    ['template', instance.configuration.template ?? undefined],
    ['parameters', set === 0 ? 'all at their defaults' : `${set} set by size, template or hand: dbaas config show ${instance.name}`],
    ['deletion', instance.protected ? 'protected' : instance.leased ? 'when the command that made it has ended (dbaas run)' : undefined],
    ['expires', instance.expires_at === null ? undefined : `${fromNow(instance.expires_at, now)} (${instance.expires_at})`],
    ['created', `${fromNow(instance.created_at, now)} (${instance.created_at})`],
    ['id', paint.dim(instance.id)],
  ], paint)
  return `${head}${details}${instance.nodes.length === 0 ? '' : `\n${renderNodes(instance.nodes, paint).replace(/^(?=.)/gm, '  ')}`}`
}

/** One line before `run` begins what it is for. */
export const renderReady = (instance: ApiInstance, now: number, paint: Paint): string =>
  `${paint.green('✓')} ${paint.bold(instance.name)} is ${instance.status}: ${instance.engine} ${instance.version} at ${address(instance.endpoint) ?? '-'}  ${
    paint.dim(formatDuration(Math.max(0, now - Date.parse(instance.created_at))))}\n`

/** After a create: what there is now, how to get in, and what it lacks. */
export function renderCreated(instance: ApiInstance, operation: ApiOperation, paint: Paint): string {
  const took = operation.ended_at === null ? '' : `  ${paint.dim(formatDuration(Date.parse(operation.ended_at) - Date.parse(operation.created_at)))}`
  const head = `${paint.green('✓')} ${paint.bold(instance.name)} is ${instance.status}: ${instance.engine} ${instance.version}, ${instance.tls.min_version}${took}\n`
  return head + renderDetails([
    ['endpoint', address(instance.endpoint)],
    ['read-only', address(instance.read_only_endpoint)],
    ['replicas', replicationText(instance, paint)],
    ['connect', paint.cyan(`dbaas connect ${instance.name}`)],
    ['url', paint.cyan(`dbaas url ${instance.name}`)],
    ['size', sizeText(instance.size)],
    ['backups', instance.backup.enabled ? `on: the first is taken now, then ${instance.backup.schedule ?? ''} (UTC)` : protectionText(instance, 0, paint)],
    ['expires', instance.expires_at === null ? undefined : instance.expires_at],
  ], paint)
}

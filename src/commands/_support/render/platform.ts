/** Agent, engines, checks, audit and request log as text. */
import type {ApiAgent, ApiAuditEntry, ApiCheck, ApiRequestLog} from '../../../core/api/schemas.js'
import {formatDuration} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import {renderDetails} from './details.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const columnsOf = (...titles: string[]) => titles.map((title) => ({title}))

export function renderAgent(agent: ApiAgent, now: number, paint: Paint): string {
  return `${paint.green('●')} the agent of site ${paint.bold(agent.site)} (${agent.region}) is running\n${renderDetails([
    ['pid', String(agent.pid)],
    ['version', agent.version],
    ['since', `${formatDuration(Math.max(0, now - Date.parse(agent.started_at)))} (${agent.started_at})`],
    ['instances', String(agent.instances)],
    ['memory', formatBytes(agent.memory_bytes)],
    ['socket', agent.socket],
    ['home', agent.home],
    ['data', agent.data_dir],
  ], paint)}`
}

export function renderChecks(checks: readonly ApiCheck[], paint: Paint): string {
  const marks = {ok: paint.green('✓'), note: paint.cyan('i'), warning: paint.yellow('!'), problem: paint.red('✗')}
  return checks.map((check) =>
    `${marks[check.level]} ${paint.bold(check.name)}  ${check.message}\n${check.suggestion === null || check.level === 'ok' ? '' : `    ${paint.cyan('→')} ${check.suggestion}\n`}`).join('')
}

export function renderAudit(entries: readonly ApiAuditEntry[], paint: Paint): string {
  if (entries.length === 0) return 'The audit log is empty.\n'
  return renderTable(columnsOf('#', 'WHEN', 'WHO', 'FROM', 'ACTION', 'RESOURCE', 'RESULT'), entries.map((entry) => [
    String(entry.sequence), entry.at, visible(entry.actor), visible(entry.source), entry.action, visible(entry.resource),
    entry.result === 'denied' || entry.result === 'failed' ? paint.red(entry.result) : entry.result,
  ]), paint)
}

export function renderRequests(requests: readonly ApiRequestLog[], paint: Paint): string {
  if (requests.length === 0) return 'No requests.\n'
  return renderTable(columnsOf('WHEN', 'METHOD', 'PATH', 'STATUS', 'TOOK', 'CLIENT', 'REQUEST'), requests.map((request) => [
    request.timestamp, request.method, visible(request.path),
    request.status_code >= 400 ? paint.red(String(request.status_code)) : String(request.status_code),
    formatDuration(request.duration_ms), visible(request.client_id), paint.dim(request.request_id),
  ]), paint)
}

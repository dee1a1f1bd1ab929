/** Operations and plans as text. */
import type {ApiInstance, ApiOperation, ApiPlan} from '../../../core/api/schemas.js'
import type {Scaled} from '../../../core/ha/receipt.js'
import {formatDuration} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import type {MutationResult} from '../follow.js'
import {renderDetails} from './details.js'
import type {Paint} from './paint.js'
import {stepLine} from './steps.js'
import {renderTable} from './table.js'

function recoveryLines(recovery: ApiPlan['recovery']): [string, string][] {
  if (!recovery) return []
  const {backup_id: backup, size_bytes: size, log_bytes: log, segments, ends, last_commit_at: last, estimated_seconds: seconds} = recovery
  return [
    ['from', `${backup}, ${formatBytes(size)}, and ${formatBytes(log)} of log in ${segments} segments; all of it is there`],
    ['ends', `at ${ends}${last === null ? '' : `; the last transaction is of ${last}`}`],
    ['takes', `about ${formatDuration(seconds * 1000)}`],
  ]
}

/** How, what stands in the way, and what it takes. */
function upgradeLines(upgrade: ApiPlan['upgrade']): [string, string][] {
  if (!upgrade) return []
  const {from, to, way, size_bytes: size, estimated_seconds: seconds, tools, obstacles, kept_as: kept} = upgrade
  const ways = {
    none: 'it is that version already', 'next-start': 'when it is started', restart: 'by one restart, on the data as they are', rolling: 'one server after the other', exchange: 'the state of before comes back',
    copy: 'by a copy into a new server, which is compared with the old one before anybody uses it',
  }
  return [
    ['version', `${from} → ${to}`], ['way', ways[way]],
    ...(size === null ? [] : [['copies', `${formatBytes(size)}${tools === null ? '' : `, by the programs of ${tools}`}`] as [string, string]]),
    ...(seconds === null ? [] : [['takes', `about ${formatDuration(seconds * 1000)}, while clients wait`] as [string, string]]),
    ...(obstacles.length === 0 ? [] : [['first', obstacles.join('\n')] as [string, string]]),
    ...(kept === null ? [] : [['kept', `the state of now, as ${kept}`] as [string, string]]),
  ]
}

export function renderPlan(plan: ApiPlan, paint: Paint): string {
  const downtime = plan.expected_downtime_ms === null ? 'not measured here yet' : formatDuration(plan.expected_downtime_ms)
  return `${paint.bold('Plan')} ${paint.dim('(nothing was changed)')}\n${renderDetails([
    ['steps', plan.steps.length === 0 ? 'none: nothing to do' : plan.steps.map((step, i) => `${i + 1}. ${step}`).join('\n')],
    ...recoveryLines(plan.recovery),
    ...upgradeLines(plan.upgrade),
    ['impact', plan.impact],
    ['downtime', plan.impact === 'none' || plan.impact === 'reload' ? 'none' : downtime],
    ['cost', plan.cost_month_delta === null ? undefined : `${plan.cost_month_delta >= 0 ? '+' : ''}${plan.cost_month_delta.toFixed(2)} a month`],
    ['reversible', plan.reversible ? 'yes' : paint.yellow('no')],
  ], paint)}`
}

/** What a mutating verb prints: its plan, the operation it left running, or `done` where it waited. */
export function renderMutation(result: MutationResult, paint: Paint, done: (instance: ApiInstance | undefined, operation: ApiOperation) => string): string {
  if ('plan' in result) return renderPlan(result.plan, paint)
  if (result.operation.ended_at !== null) return done(result.instance, result.operation)
  return `${paint.cyan('…')} ${result.operation.kind} goes on as ${result.operation.id}\n  ${paint.cyan('→')} dbaas operations wait ${result.operation.id}\n`
}

export const doneLine = (text: string, operation: ApiOperation, paint: Paint): string =>
  `${paint.green('✓')} ${text}${operation.ended_at === null ? '' : `  ${paint.dim(tookText(operation, 0))}`}\n`

/** How long nobody could write while servers were started anew; nothing where none was, or nobody measured it. */
export function gapLine({result}: ApiOperation, paint: Paint): string {
  const {applied, write_gap_ms: gap} = (result ?? {}) as Partial<Scaled>
  return gap === undefined || gap === null ? '' : `  ${paint.cyan('→')} ${applied === 'switchover' ? 'by a switchover, ' : ''}writes were held up for ${formatDuration(gap)}\n`
}

/** What `agent adopt` took over. */
export const renderAdopted = (instances: readonly ApiInstance[], operations: readonly ApiOperation[], paint: Paint): string => instances.map((instance) => {
  const {backups, backups_sealed: sealed} = (operations.find((o) => o.instance_id === instance.id)?.result ?? {}) as {backups?: number; backups_sealed?: boolean}
  const lines = [
    `${paint.green('✓')} ${instance.name} is ${instance.status}: ${instance.engine} ${instance.version} on ${instance.runtime}`,
    `  ${paint.cyan('→')} dbaas url ${instance.name}  ${paint.dim('(its password is a new one)')}`,
    ...(backups ? [`  ${paint.cyan('→')} dbaas backups list ${instance.name}  ${paint.dim(`(${backups} of before ${backups === 1 ? 'is' : 'are'} there)`)}`] : []),
    ...(sealed ? [`  ${paint.yellow('!')} its backups of before cannot be read without the key of the lost site: dbaas keys import FILE`] : []),
  ]
  return `${lines.join('\n')}\n`
}).join('')

const tookText = (operation: ApiOperation, now: number): string =>
  formatDuration(Math.max(0, (operation.ended_at === null ? now : Date.parse(operation.ended_at)) - Date.parse(operation.created_at)))

const paintOutcome = (status: ApiOperation['status'], paint: Paint): string =>
  status === 'succeeded' ? paint.green(status) : status === 'failed' ? paint.red(status) : paint.yellow(status)

export function renderOperations(operations: readonly ApiOperation[], now: number, paint: Paint): string {
  if (operations.length === 0) return 'No operations.\n'
  const columns = ['ID', 'KIND', 'STATUS', 'INSTANCE', 'STARTED', 'TOOK', 'STEP'].map((title) => ({title}))
  return renderTable(columns, operations.map((operation) => [
    operation.id,
    operation.kind,
    paintOutcome(operation.status, paint),
    operation.instance_id ?? '-',
    `${formatDuration(Math.max(0, now - Date.parse(operation.created_at)))} ago`,
    tookText(operation, now),
    operation.error?.code ?? operation.steps.at(-1)?.name ?? '-',
  ]), paint)
}

export function renderOperation(operation: ApiOperation, now: number, paint: Paint): string {
  const head = `${paint.bold(operation.kind)}  ${paintOutcome(operation.status, paint)}  ${paint.dim(tookText(operation, now))}\n`
  const steps = operation.steps.map((step) => `  ${stepLine(step, now, paint)}\n`).join('')
  const error = operation.error === null ? '' : `  ${paint.red('✗')} ${operation.error.message} ${paint.dim(`(${operation.error.code})`)}\n${
    (operation.error.suggestions ?? []).map((suggestion) => `    ${paint.cyan('→')} ${suggestion}\n`).join('')}`
  return head + steps + error + renderDetails([
    ['instance', operation.instance_id ?? undefined],
    ['started', operation.created_at],
    ['id', paint.dim(operation.id)],
  ], paint)
}

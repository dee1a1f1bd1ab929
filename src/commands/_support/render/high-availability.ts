/** What happens to an instance of several servers, as text. */
import type {ApiInstance, ApiNode, ApiReplication} from '../../../core/api/schemas.js'
import type {FailoverReceipt, PrimaryChange, Scaled} from '../../../core/ha/receipt.js'
import {formatDuration} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import type {MutationResult} from '../follow.js'
import {address, fromNow, paintStatus} from './instance.js'
import {doneLine, renderMutation} from './operation.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const arrow = (text: string, paint: Paint): string => `  ${paint.cyan('→')} ${text}\n`

/** `fence 23 ms, arm 60 ms`; nothing where none were told. */
const phaseLine = ({phases = []}: {readonly phases?: PrimaryChange['phases']}, paint: Paint): string =>
  phases.length === 0 ? '' : `  ${paint.dim(phases.map(({name, ms}) => `${visible(name)} ${formatDuration(ms)}`).join(', '))}\n`

export function renderPrimaryChange(result: MutationResult, name: string, paint: Paint): string {
  return renderMutation(result, paint, (instance, operation) => {
    const change = (operation.result ?? {}) as Partial<PrimaryChange>
    const {from, to, timeline, because, write_gap_ms: gap, discarded_bytes: discarded} = change
    const what = to === undefined ? 'goes on as it was' : from === to ? `is served by ${to} again` : `is served by ${to}, and was by ${from}`
    return doneLine(`${instance?.name ?? name} ${what}${timeline === undefined ? '' : ` (timeline ${timeline})`}`, operation, paint) +
      (gap === undefined || gap === null ? '' : arrow(`writes were held up for ${formatDuration(gap)}`, paint)) +
      (because === undefined ? '' : arrow(visible(because), paint)) +
      (discarded ? arrow(`${formatBytes(discarded)} of the old primary's log were given up: nobody had confirmed them`, paint) : '') +
      phaseLine(change, paint)
  })
}

export function renderFailoverDrill(result: MutationResult, name: string, paint: Paint): string {
  return renderMutation(result, paint, (instance, operation) => {
    const receipt = (operation.result ?? {}) as Partial<FailoverReceipt>
    const {fault, clone, from, to, because, time_to_first_write_ms: first, acknowledged_writes: written, lost_writes: lost} = receipt
    const fate = fault === undefined ? 'was lost' : fates[fault]
    const loss = lost === undefined ? '' : lost === 0 ? paint.green('0 lost') : paint.red(`${lost} LOST`)
    const where = clone ? `${clone}, a copy of ${instance?.name ?? name},` : (instance?.name ?? name)
    return doneLine(`${where} survives: ${from} ${fate}, ${to} took over, and the first write was acknowledged after ${formatDuration(first ?? 0)}`, operation, paint) +
      arrow(`${written} writes were acknowledged, ${loss}`, paint) +
      (because === undefined ? '' : arrow(visible(because), paint)) +
      phaseLine(receipt, paint)
  })
}

/** `demo is small: primary + 2 replicas, live: no write was held up` */
export function renderScaled(result: MutationResult, name: string, paint: Paint): string {
  return renderMutation(result, paint, (instance, operation) => {
    const {applied, write_gap_ms: gap, ...rest} = (operation.result ?? {}) as Partial<Scaled>
    const how = applied === 'next-start' ? 'in force at the next start' : gap === undefined || gap === null || applied === 'live' ? 'live: no write was held up'
      : `${applied === 'switchover' ? 'by a switchover' : 'by one restart'}, writes held up for ${formatDuration(gap)}`
    const servers = instance !== undefined && instance.nodes.length > 1 ? ` with ${topology(instance)}` : ''
    return doneLine(`${instance?.name ?? name} is ${instance?.size.name ?? 'scaled'}${servers}, ${how}`, operation, paint) + phaseLine(rest, paint)
  })
}

/** `primary`, `primary + 2 replicas`; of none `-`. */
export function topology({nodes}: Pick<ApiInstance, 'nodes'>): string {
  const replicas = nodes.filter((node) => node.role === 'replica').length
  const primary = nodes.some((node) => node.role === 'primary')
  if (replicas === 0) return primary ? 'primary' : '-'
  return `${primary ? 'primary' : 'no primary'} + ${replicas} replica${replicas === 1 ? '' : 's'}`
}

/** `16 KB, 0.2 s`; `-` where it is not known: nobody is behind themselves, and one that is away does not tell. */
function lagText({lag_bytes: bytes, lag_seconds: seconds}: ApiNode): string {
  if (bytes === null && seconds === null) return '-'
  if (bytes === 0) return 'none'
  return [...(bytes === null ? [] : [formatBytes(bytes)]), ...(seconds === null ? [] : [formatDuration(Math.round(seconds * 1000))])].join(', ')
}

/** The most that a replica is behind, for a list; empty without replicas. */
export function worstLag({nodes}: Pick<ApiInstance, 'nodes'>): string {
  const [worst] = nodes.filter((node) => node.role === 'replica' && node.lag_bytes !== null).sort((a, b) => (b.lag_bytes ?? 0) - (a.lag_bytes ?? 0))
  return worst === undefined ? '' : lagText(worst)
}

const places = ['pid', 'container', 'pod'] as const

/** Container ids are shown as short as docker shows them. */
function placeText(node: ApiNode, place: (typeof places)[number]): string {
  const value = node[place]
  if (value === null) return '-'
  return place === 'container' && /^[0-9a-f]{64}$/.test(String(value)) ? String(value).slice(0, 12) : visible(String(value))
}

/** One line a node; where they follow each other, also how far. */
export function renderNodes(nodes: readonly ApiNode[], paint: Paint): string {
  if (nodes.length === 0) return ''
  const used = places.filter((place) => nodes.some((node) => node[place] !== null))
  const follows = nodes.some((node) => node.role === 'replica')
  const columns = ['NODE', 'ROLE', 'STATUS', 'WANTED', ...(follows ? ['TIMELINE', 'LSN', 'LAG'] : []), 'ADDRESS', ...used.map((place) => place.toUpperCase()), 'WHY']
  return renderTable(columns.map((title) => ({title})), nodes.map((node) => [
    node.name,
    node.sync_state === 'none' ? node.role : `${node.role} (${node.sync_state})`,
    paintStatus(node.status, paint),
    node.wanted_status,
    ...(follows ? [node.timeline === null ? '-' : String(node.timeline), node.lsn ?? '-', lagText(node)] : []),
    address(node.endpoint) ?? '-',
    ...used.map((place) => placeText(node, place)),
    visible(node.status_reason ?? ''),
  ]), paint)
}

export const renderReplicas = (replicas: readonly ApiNode[], name: string, paint: Paint): string =>
  replicas.length === 0 ? `${name} has no replicas.\n${arrow(`dbaas scale ${name} --ha`, paint)}${arrow(`dbaas replicas add ${name}`, paint)}` : renderNodes(replicas, paint)

const statusWords: Record<ApiReplication['status'], string> = {
  healthy: 'every promise is kept', degraded: 'a replica is missing', blocked: 'WRITES WAIT', changing: 'the primary is being changed',
  'no-quorum': 'NOBODY CAN SAFELY BE THE PRIMARY', async: 'no replica confirms commits',
}

/** `any 1 of demo-2, demo-3 confirms each commit; every promise is kept` */
export function replicationText({replication, name, high_availability}: ApiInstance, paint: Paint): string | undefined {
  if (replication === null) return undefined
  const {confirmations, voters, status, status_reason: reason, operation} = replication
  const confirms = confirmations === 0 ? 'no commit waits for a replica'
    : `${confirmations === voters.length ? voters.join(' and ') : `any ${confirmations} of ${voters.join(', ')}`} ${confirmations === 1 ? 'confirms' : 'confirm'} each commit`
  const words = statusWords[status]
  const painted = status === 'healthy' ? paint.green(words) : status === 'blocked' || status === 'no-quorum' ? paint.red(words) : paint.yellow(words)
  return [
    `${confirms}${status === 'async' && confirmations === 0 ? '' : `; ${painted}`}`,
    ...(reason === null ? [] : [visible(reason)]),
    ...(operation === null ? [] : [paint.yellow(`${operation.kind} from ${operation.from}${operation.to === null ? '' : ` to ${operation.to}`}, in phase ${operation.phase}: ${visible(operation.because)}`)]),
    ...(status === 'no-quorum' ? [`${paint.cyan('→')} dbaas failover ${name} --allow-data-loss`] : []),
    ...(high_availability || confirmations > 0 ? [] : [paint.dim(`dbaas scale ${name} --ha makes it highly available`)]),
  ].join('\n')
}

/** Why it is as it is, and who was the primary before. */
export function decisionText({replication}: ApiInstance, now: number): string | undefined {
  const {last_decision: decision, last_change: change} = replication ?? {last_decision: null, last_change: null}
  const lines = [
    ...(decision === null ? [] : [`${visible(decision.because)} (${fromNow(decision.at, now)})`]),
    ...(change === null ? [] : [`last ${change.kind} ${fromNow(change.at, now)}, from ${change.from} to ${change.to}${
      change.write_gap_ms === null ? '' : `, writes held up for ${formatDuration(change.write_gap_ms)}`}: ${visible(change.because)}${
      change.discarded_bytes ? `; ${formatBytes(change.discarded_bytes)} of the log of ${change.from}, which nobody had confirmed, were given up` : ''}`]),
  ]
  return lines.length === 0 ? undefined : lines.join('\n')
}

const fates = {kill: 'was killed', hang: 'stopped dead', partition: 'was cut off'} as const

/** Whether the loss of the primary was rehearsed, and how that went. Undefined: it would not be survived by design. */
export function drillText({replication, high_availability, name}: ApiInstance, now: number, paint: Paint): string | undefined {
  const drill = replication?.last_drill ?? null
  if (drill === null) return high_availability ? paint.dim(`never tried: dbaas drill failover ${name}`) : undefined
  const {at, ok, fault, clone, time_to_first_write_ms: first, acknowledged_writes: written, lost_writes: lost} = drill
  const what = `the primary${clone === null ? '' : ' of a copy'} ${fates[fault]}, the first write was acknowledged after ${formatDuration(first)}, ${lost} of ${written} lost`
  return ok ? `proven ${fromNow(at, now)}: ${what}` : paint.red(`FAILED ${fromNow(at, now)}: ${what}`)
}

/** What a restore or a clone did, as text. */
import {formatBytes} from '../../../core/units.js'
import type {MutationResult} from '../follow.js'
import {doneLine, renderMutation} from './operation.js'
import type {Paint} from './paint.js'

interface Receipt {
  readonly method?: 'reflink' | 'copy'
  readonly recovered_to?: string | null
  readonly ended?: string
  readonly kept_as?: string | null
  readonly write_gap_ms?: number | null
  readonly replicas?: number
}

export function renderRestored(result: MutationResult, name: string, paint: Paint): string {
  return renderMutation(result, paint, (instance, operation) => {
    const {method, recovered_to: to, ended, kept_as: kept, write_gap_ms: gap, replicas} = (operation.result ?? {}) as Receipt
    const own = instance?.name ?? name
    const what = method === 'reflink' ? `${own} is copied, by a reflink: it shares its blocks until one of them changes`
      : method === 'copy' ? `${own} is a copy${to === null || to === undefined ? '' : `; its last transaction is of ${to}`}`
      : to === undefined ? `${own} is back in the state before its restore` : `${own} is restored${to === null ? '' : `; its last transaction is of ${to}`}`
    const lines = [
      ...(method === 'copy' ? [paint.dim('it was made from the backup and the log; on XFS or Btrfs, and without --at, it would be a reflink')] : []),
      ...(ended === undefined ? [] : [paint.dim(`it ended ${ended}`)]), ...(gap === undefined || gap === null ? [] : [paint.dim(`clients waited for ${gap} ms`)]),
      ...(replicas ? [`its ${replicas === 1 ? 'replica is' : `${replicas} replicas are`} made again: dbaas status ${own} --watch`] : []),
      ...(kept ? [`the other state is ${kept}, stopped; dbaas restore ${own} --undo goes back, dbaas delete ${kept} removes it`] : []),
    ]
    return doneLine(what, operation, paint) + lines.map((line) => `  ${paint.cyan('→')} ${line}\n`).join('')
  })
}

interface DrillReceipt {
  readonly rto_seconds?: number
  readonly rpo_seconds?: number | null
  readonly tables?: number
  readonly rows?: number
  readonly indexes?: number
  readonly bytes?: number
  readonly log_bytes?: number
}

export function renderDrill(result: MutationResult, name: string, paint: Paint): string {
  return renderMutation(result, paint, (instance, operation) => {
    const {rto_seconds: rto, rpo_seconds: rpo, tables, rows, indexes, bytes, log_bytes: log} = (operation.result ?? {}) as DrillReceipt
    return `${doneLine(`${instance?.name ?? name} can be restored: it took ${rto} s (RTO)${rpo === null || rpo === undefined ? '' : `, and ${rpo} s of work would have been lost (RPO)`}`, operation, paint)}` +
      `  ${paint.dim(`${formatBytes(bytes ?? 0)} restored, ${formatBytes(log ?? 0)} of log replayed; ${tables} tables with ${rows} rows read, ${indexes} indexes checked`)}\n`
  })
}

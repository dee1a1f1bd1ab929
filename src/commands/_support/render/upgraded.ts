/** What a change of version did, as text. */
import {formatDuration} from '../../../core/time.js'
import type {MutationResult} from '../follow.js'
import {doneLine, renderMutation} from './operation.js'
import type {Paint} from './paint.js'

interface Receipt {
  readonly from?: string
  readonly to?: string
  readonly applied?: 'none' | 'next-start' | 'restart' | 'rolling' | 'copy' | 'exchange'
  readonly write_gap_ms?: number | null
  readonly tables?: number
  readonly rows?: number
  readonly objects?: number
  readonly kept_as?: string | null
}

export function renderUpgraded(result: MutationResult, name: string, paint: Paint): string {
  return renderMutation(result, paint, (instance, operation) => {
    const {from, to, applied, write_gap_ms: gap, tables, rows, objects, kept_as: kept} = (operation.result ?? {}) as Receipt
    const own = instance?.name ?? name
    const what = applied === 'none' ? `${own} is ${to} already`
      : applied === 'next-start' ? `${own} is ${to} from its next start on (${from} before)` : `${own} is ${to} (${from} before)`
    const lines = [
      ...(gap === null || gap === undefined || applied === 'none' ? [] : [paint.dim(`clients waited for ${formatDuration(gap)}`)]),
      ...(tables === undefined ? [] : [paint.dim(`copied and compared: ${tables} tables with ${rows} rows, ${objects} other objects`)]),
      ...(kept ? [`the other state is ${kept}, stopped; ${applied === 'copy' ? `dbaas upgrade ${own} --undo goes back, ` : ''}dbaas delete ${kept} removes it`] : []),
      ...(applied === 'restart' ? [paint.dim(`dbaas upgrade ${own} --undo goes back`)] : []),
    ]
    return doneLine(what, operation, paint) + lines.map((line) => `  ${paint.cyan('→')} ${line}\n`).join('')
  })
}

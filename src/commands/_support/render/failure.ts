import type {DbaasError} from '../../../core/errors.js'
import type {Paint} from './paint.js'

/** The message names the thing, the arrows say what to do next, the last line is for scripts and reports. */
export function renderFailure(error: DbaasError, requestId: string, paint: Paint): string {
  const lines = [`${paint.red('✗')} ${error.message}`]
  for (const suggestion of error.suggestions) lines.push(`  ${paint.cyan('→')} ${suggestion}`)
  const operation = error.details.operation_id === undefined ? '' : `, operation ${error.details.operation_id}`
  lines.push(paint.dim(`  ${error.code}, exit ${error.row.exit}${operation}, ${requestId}`))
  return `${lines.join('\n')}\n`
}

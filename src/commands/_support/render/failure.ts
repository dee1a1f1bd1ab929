import type {DbaasError} from '../../../core/errors.js'
import type {Paint} from './paint.js'
import {visible} from './visible.js'

/** The message names the thing, the arrows say what to do next, the last line is for scripts and reports. */
export function renderFailure(error: DbaasError, requestId: string, paint: Paint): string {
  const lines = [`${paint.red('✗')} ${visible(error.message)}`]
  // The database's own further words.
  for (const name of ['detail', 'hint'] as const) {
    const words = error.details[name]
    if (words !== undefined) lines.push(`  ${paint.dim(`${name}:`)} ${visible(words)}`)
  }
  for (const suggestion of error.suggestions) lines.push(`  ${paint.cyan('→')} ${suggestion}`)
  const operation = error.details.operation_id === undefined ? '' : `, operation ${error.details.operation_id}`
  lines.push(paint.dim(`  ${error.code}, exit ${error.row.exit}${operation}, ${requestId}`))
  return `${lines.join('\n')}\n`
}

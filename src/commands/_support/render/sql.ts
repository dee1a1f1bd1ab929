import type {ApiSqlResult} from '../../../core/api/schemas.js'
import {renderDetails} from './details.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const numeric = /^(?:tiny|small|medium|big)?int|^numeric|^float|^real|^double|^oid$|^money|^decimal|^serial/

/** Rows as a table and a count, or what the statement did. NULL is shown apart from an empty text. */
export function renderSql(result: ApiSqlResult, paint: Paint): string {
  if (result.columns.length === 0) {
    return result.row_count > 0 ? `${result.command} ${result.row_count}\n` : `${result.command}\n`
  }
  const columns = result.columns.map((column) => ({title: visible(column.name), right: numeric.test(column.type)}))
  const rows = result.rows.map((row) => row.map((value) => (value === null ? paint.dim('NULL') : visible(String(value)))))
  return `${renderTable(columns, rows, paint)}${countLine(result, paint)}\n`
}

const countLine = (result: ApiSqlResult, paint: Paint): string =>
  result.truncated
    ? paint.yellow(`the first ${result.rows.length} rows; there are more`)
    : paint.dim(`${result.rows.length} row${result.rows.length === 1 ? '' : 's'}`)

/** Each row as lines of `name  value`: for rows that are wider than a screen. */
export function renderVertical(result: ApiSqlResult, paint: Paint): string {
  if (result.columns.length === 0) return renderSql(result, paint)
  const rows = result.rows.map((row, i) => `${paint.dim(`--- row ${i + 1}`)}\n${renderDetails(
    result.columns.map((column, at) => {
      const value = row[at]
      return [visible(column.name), value === null || value === undefined ? paint.dim('NULL') : visible(String(value))] as const
    }), paint, '')}`)
  return `${rows.join('')}${countLine(result, paint)}\n`
}

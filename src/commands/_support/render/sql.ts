import type {ApiSqlResult} from '../../../core/api/schemas.js'
import type {Paint} from './paint.js'
import {renderTable} from './table.js'
import {visible} from './visible.js'

const numeric = /^(?:small|big)?int|^numeric|^float|^real|^double|^oid$|^money|^decimal|^serial/

/** Rows as a table and a count, or what the statement did. NULL is shown apart from an empty text. */
export function renderSql(result: ApiSqlResult, paint: Paint): string {
  if (result.columns.length === 0) {
    return result.row_count > 0 ? `${result.command} ${result.row_count}\n` : `${result.command}\n`
  }
  const columns = result.columns.map((column) => ({title: visible(column.name), right: numeric.test(column.type)}))
  const rows = result.rows.map((row) => row.map((value) => (value === null ? paint.dim('NULL') : visible(String(value)))))
  const count = result.truncated
    ? paint.yellow(`the first ${result.rows.length} rows; there are more`)
    : paint.dim(`${result.rows.length} row${result.rows.length === 1 ? '' : 's'}`)
  return `${renderTable(columns, rows, paint)}${count}\n`
}

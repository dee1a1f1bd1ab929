import Table from 'cli-table3'
import type {Paint} from './paint.js'

const noLines = Object.fromEntries([
  'top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right',
  'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid',
].map((name) => [name, '']))

export interface Column {
  readonly title: string
  readonly right?: boolean
}

/**
 * A table without lines, two spaces between columns; ends with a line end. Cells may be painted: what comes from a
 * database must have gone through `visible` first.
 */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[], paint: Paint): string {
  const table = new Table({
    chars: {...noLines, middle: '  '},
    style: {'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true},
    head: columns.map((column) => paint.dim(column.title)),
    colAligns: columns.map((column) => (column.right ? 'right' : 'left')),
  })
  for (const row of rows) table.push([...row])
  return `${table.toString().split('\n').map((line) => line.trimEnd()).join('\n')}\n`
}

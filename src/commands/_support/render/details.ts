import type {Paint} from './paint.js'

/** `label   value` lines, labels aligned; rows whose value is undefined are left out. Ends with a line end. */
export function renderDetails(rows: readonly (readonly [label: string, value: string | undefined])[], paint: Paint, indent = '  '): string {
  const shown = rows.filter((row): row is readonly [string, string] => row[1] !== undefined)
  const width = Math.max(0, ...shown.map(([label]) => label.length))
  return shown.map(([label, value]) => {
    const [first = '', ...more] = value.split('\n')
    const rest = more.map((line) => `\n${indent}${' '.repeat(width)}  ${line}`).join('')
    return `${indent}${paint.dim(label.padEnd(width))}  ${first}${rest}\n`
  }).join('')
}

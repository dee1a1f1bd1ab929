/** Types of result columns: their SQL names by number, and how their texts become JSON. */

/** What a result tells of a column, as the driver names it. */
export interface Column {
  readonly name: string
  /** Number of the type (MYSQL_TYPE_…, field_types.h). */
  readonly columnType: number
  /** Number of a collation; 63 is no text but bytes. */
  readonly characterSet: number
  readonly flags: number
  /** MariaDB: a type of its own that travels as text (`uuid`, `inet6`). */
  readonly extendedTypeName?: string
  /** MariaDB: `json` for the text that is one. */
  readonly extendedFormat?: string
}

const unsigned = 32
const enumeration = 256
const set = 2048
const bytes = 63

const whole: Readonly<Record<number, string>> = {1: 'tinyint', 2: 'smallint', 3: 'int', 8: 'bigint', 9: 'mediumint'}

const others: Readonly<Record<number, string>> = {
  0: 'decimal',
  4: 'float',
  5: 'double',
  6: 'null',
  7: 'timestamp',
  10: 'date',
  11: 'time',
  12: 'datetime',
  13: 'year',
  14: 'date',
  16: 'bit',
  242: 'vector',
  245: 'json',
  246: 'decimal',
  247: 'enum',
  248: 'set',
  255: 'geometry',
}

/** Texts and bytes share their numbers; the collation tells which. `[text, bytes]`. */
const strings: Readonly<Record<number, readonly [string, string]>> = {
  15: ['varchar', 'varbinary'],
  249: ['tinytext', 'tinyblob'],
  250: ['mediumtext', 'mediumblob'],
  251: ['longtext', 'longblob'],
  252: ['text', 'blob'],
  253: ['varchar', 'varbinary'],
  254: ['char', 'binary'],
}

/** The name of the column's type, without its length: `bigint unsigned`, `varchar`. */
export function typeName({columnType, characterSet, flags, extendedTypeName, extendedFormat}: Column): string {
  if (extendedFormat === 'json') return 'json'
  if (extendedTypeName !== undefined) return extendedTypeName
  if (flags & enumeration) return 'enum'
  if (flags & set) return 'set'
  const integer = whole[columnType]
  if (integer !== undefined) return flags & unsigned ? `${integer} unsigned` : integer
  const pair = strings[columnType]
  return pair ? pair[characterSet === bytes ? 1 : 0] : (others[columnType] ?? 'unknown')
}

export type Cell = string | number | boolean | null

const year = 13
const floating = new Set([4, 5])
/** Always bytes, whatever their collation says. */
const opaque = new Set([16, 242, 255])
/**
 * Integers up to 2^53 and floats are native, and larger integers, decimals, times and documents stay text (DECISIONS.md
 * 11). There are no booleans: `true` is 1 here, and a `tinyint(1)` may hold 7. Bytes (binary strings, bit fields,
 * vectors, geometries) are hexadecimal as the server's own client prints them: `0x00FF`.
 */
export function cell(column: Column, value: Buffer | null): Cell {
  if (value === null) return null
  const {columnType, characterSet} = column
  const binary = characterSet === bytes && Object.hasOwn(strings, columnType) && column.extendedTypeName === undefined
  if (binary || opaque.has(columnType)) return `0x${value.toString('hex').toUpperCase()}`
  const text = value.toString('utf8')
  if (Object.hasOwn(whole, columnType) || columnType === year) {
    const number = Number(text)
    return Number.isSafeInteger(number) ? number : text
  }
  if (floating.has(columnType)) {
    const number = Number(text)
    return Number.isFinite(number) ? number : text
  }
  return text
}

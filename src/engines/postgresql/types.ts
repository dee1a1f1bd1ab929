/** Types of result columns: their SQL names by object id, and how their texts become JSON. */

/** pg_type.dat: ids of built-in types never change. Names as `format_type` gives them. */
const base: Readonly<Record<number, string>> = {
  16: 'boolean',
  17: 'bytea',
  18: '"char"',
  19: 'name',
  20: 'bigint',
  21: 'smallint',
  23: 'integer',
  25: 'text',
  26: 'oid',
  27: 'tid',
  28: 'xid',
  114: 'json',
  142: 'xml',
  600: 'point',
  650: 'cidr',
  700: 'real',
  701: 'double precision',
  705: 'unknown',
  829: 'macaddr',
  869: 'inet',
  1042: 'character',
  1043: 'character varying',
  1082: 'date',
  1083: 'time without time zone',
  1114: 'timestamp without time zone',
  1184: 'timestamp with time zone',
  1186: 'interval',
  1266: 'time with time zone',
  1560: 'bit',
  1562: 'bit varying',
  1700: 'numeric',
  2205: 'regclass',
  2278: 'void',
  2950: 'uuid',
  3220: 'pg_lsn',
  3802: 'jsonb',
  1000: 'boolean[]',
  1005: 'smallint[]',
  1007: 'integer[]',
  1009: 'text[]',
  1015: 'character varying[]',
  1016: 'bigint[]',
  1021: 'real[]',
  1022: 'double precision[]',
  1231: 'numeric[]',
  2951: 'uuid[]',
  3807: 'jsonb[]',
}

export const typeName = (oid: number): string | undefined => base[oid]

export type Cell = string | number | boolean | null

const smallWhole = new Set([21, 23, 26])
const floating = new Set([700, 701])

/**
 * Small integers, finite floats and booleans are native; what JSON's numbers would bend (bigint, numeric) or cannot
 * say (NaN, infinities) stays text (DECISIONS.md 11).
 */
export function cell(oid: number, text: string | null): Cell {
  if (text === null) return null
  if (oid === 16) return text === 't'
  if (smallWhole.has(oid)) return Number(text)
  if (floating.has(oid)) {
    const value = Number(text)
    return Number.isFinite(value) ? value : text
  }
  return text
}

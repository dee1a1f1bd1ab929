/**
 * Numbers and booleans as PostgreSQL reads them from a configuration file: a port of `parse_bool`, `parse_int`,
 * `parse_real` and `convert_to_base_unit` (src/backend/utils/misc/guc.c, src/backend/utils/adt/bool.c), so that a value
 * is judged without a server exactly as the server judges it.
 */

/** `[what is written, factor to the base unit]`, largest first: the order is part of the rounding rule. */
type Units = readonly (readonly [string, number])[]

const memory = (base: number): Units => [
  ['TB', 1024 ** 4 / base],
  ['GB', 1024 ** 3 / base],
  ['MB', 1024 ** 2 / base],
  ['kB', 1024 / base],
  ['B', 1 / base],
]
const time = (baseMs: number): Units => [
  ['d', 86_400_000 / baseMs],
  ['h', 3_600_000 / baseMs],
  ['min', 60_000 / baseMs],
  ['s', 1000 / baseMs],
  ['ms', 1 / baseMs],
  ['us', 0.001 / baseMs],
]

/** The unit of a parameter, as pg_settings prints it. */
function unitsOf(unit: string): Units | undefined {
  if (unit === 'ms') return time(1)
  if (unit === 's') return time(1000)
  if (unit === 'min') return time(60_000)
  const match = /^(\d*)(B|kB|MB)$/.exec(unit)
  if (!match) return undefined
  const scale = {B: 1, kB: 1024, MB: 1024 ** 2}[match[2] as 'B' | 'kB' | 'MB']
  return memory(Number(match[1] || 1) * scale)
}

/** The words a person may write behind a number for a parameter with that base unit. */
export const unitWords = (unit: string): readonly string[] => unitsOf(unit)?.map(([word]) => word) ?? []

/** Half to even, as `rint` does. */
function rint(value: number): number {
  const floor = Math.floor(value)
  const part = value - floor
  if (part !== 0.5) return Math.round(value)
  return floor % 2 === 0 ? floor : floor + 1
}

const space = '[ \\t\\n\\v\\f\\r]'
const decimal = new RegExp(`^${space}*[+-]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][+-]?\\d+)?`)
const hexadecimal = new RegExp(`^${space}*([+-]?)0[xX]([0-9a-fA-F]*)(?:\\.([0-9a-fA-F]*))?(?:[pP]([+-]?\\d+))?`)
const infinite = new RegExp(`^${space}*([+-]?)inf(?:inity)?`, 'i')

interface Scanned {
  readonly value: number
  readonly rest: string
}

/** `strtod`. Undefined where it reads nothing, not a number, or sets ERANGE (overflow, or too small to be normal). */
function scanReal(text: string): Scanned | undefined {
  const hex = hexadecimal.exec(text)
  if (hex && (hex[2] ?? '') + (hex[3] ?? '') !== '') {
    // `p` without digits is not part of the number, and the expression leaves it out
    const digits = (hex[2] ?? '') + (hex[3] ?? '')
    let value = 0
    for (const digit of digits) value = value * 16 + Number.parseInt(digit, 16)
    value *= 2 ** (Number(hex[4] ?? 0) - 4 * (hex[3] ?? '').length)
    if (!Number.isFinite(value) || (value < 2 ** -1022 && /[1-9a-f]/i.test(digits))) return undefined
    return {value: hex[1] === '-' ? -value : value, rest: text.slice(hex[0].length)}
  }
  const plain = decimal.exec(text)
  if (plain) {
    const value = Number(plain[0].trim())
    const mantissa = plain[0].split(/[eE]/)[0] as string
    if (!Number.isFinite(value) || (Math.abs(value) < 2 ** -1022 && /[1-9]/.test(mantissa))) return undefined
    return {value, rest: text.slice(plain[0].length)}
  }
  const endless = infinite.exec(text)
  if (endless) return {value: endless[1] === '-' ? -Infinity : Infinity, rest: text.slice(endless[0].length)}
  return undefined
}

const longMax = 2n ** 63n - 1n
const longMin = -(2n ** 63n)
const integer = new RegExp(`^${space}*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\\d*)`)

/** `strtol(text, &end, 0)`, or `strtod` where parse_int turns to it: at a point, an exponent, or an overflow. */
function scanInteger(text: string): Scanned | undefined {
  const match = integer.exec(text)
  if (!match) {
    // nothing read: the end is the start, and only a point or an exponent there sends it to strtod
    return /^[.eE]/.test(text) ? scanReal(text) : undefined
  }
  const rest = text.slice(match[0].length)
  const digits = match[2] as string
  const magnitude = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits)
  const value = match[1] === '-' ? -magnitude : magnitude
  if (/^[.eE]/.test(rest) || value > longMax || value < longMin) return scanReal(text)
  return {value: Number(value), rest}
}

const longestUnit = 3
const trailing = new RegExp(`^${space}*([^ \\t\\n\\v\\f\\r]*)${space}*$`)

/** The number in the base unit. Undefined when what follows the number is no unit of the parameter. */
function inBaseUnit(scanned: Scanned, unit: string | null): number | undefined {
  const match = trailing.exec(scanned.rest)
  if (!match) return undefined
  const word = match[1] as string
  if (word === '') return scanned.value
  const units = unit === null ? undefined : unitsOf(unit)
  if (!units || word.length > longestUnit) return undefined
  const at = units.findIndex(([name]) => name === word)
  if (at < 0) return undefined
  const value = scanned.value * (units[at] as [string, number])[1]
  const smaller = units[at + 1]?.[1]
  // "30.1GB" is rounded to whole megabytes: the next smaller unit, if there is one
  return smaller === undefined ? value : rint(value / smaller) * smaller
}

export const integerMax = 2 ** 31 - 1
export const integerMin = -(2 ** 31)

/** A whole number in the base unit; `'overflow'` beyond 32 bits; undefined if it is no number. */
export function parseInteger(text: string, unit: string | null): number | 'overflow' | undefined {
  const scanned = scanInteger(text)
  const value = scanned && inBaseUnit(scanned, unit)
  if (value === undefined) return undefined
  const whole = rint(value)
  return whole > integerMax || whole < integerMin ? 'overflow' : whole
}

/** A number in the base unit; undefined if it is none. */
export function parseReal(text: string, unit: string | null): number | undefined {
  const scanned = scanReal(text)
  return scanned && inBaseUnit(scanned, unit)
}

const words = [
  ['true', 1, true],
  ['false', 1, false],
  ['yes', 1, true],
  ['no', 1, false],
  ['on', 2, true],
  ['off', 2, false],
] as const

/** Any unique prefix of a truth word, in any case, or `1` and `0`. */
export function parseBoolean(text: string): boolean | undefined {
  if (text === '1') return true
  if (text === '0') return false
  const lower = text.toLowerCase()
  return words.find(([word, least]) => lower.length >= least && word.startsWith(lower))?.[2]
}

/**
 * Numbers, booleans and words as MySQL and MariaDB read them from an option file: a port of `eval_num_suffix`,
 * `getopt_double`, `get_bool_argument` (mysys/my_getopt.c) and `find_type` (mysys/typelib.c), so that a value is judged
 * without a server exactly as the server judges it.
 */

/** Behind a whole number, in either case: powers of 1024. */
export const suffixes = ['K', 'M', 'G', 'T', 'P', 'E'] as const

const unsignedMax = 2n ** 64n - 1n
const signedMin = -(2n ** 63n)

const integer = /^[ \t\n\v\f\r]*([+-]?)(\d+)(.?)/s

/**
 * A whole number; `'overflow'` beyond 64 bits; undefined if it is none. Only the first character behind the digits is
 * looked at: `64MB` is `64M`, and `1e3` is one exbibyte. The servers read a text without digits as 0, but it says no
 * number: it is none here.
 */
export function parseInteger(text: string): bigint | 'overflow' | undefined {
  const match = integer.exec(text)
  if (!match) return undefined
  const [, sign, digits, suffix] = match as unknown as [string, string, string, string]
  const power = suffix === '' ? 0 : (suffixes as readonly string[]).indexOf(suffix.toUpperCase()) + 1
  // the servers look at bytes: letters of other alphabets have no capital K
  if (suffix !== '' && (power === 0 || suffix.charCodeAt(0) > 127)) return undefined
  const value = (sign === '-' ? -1n : 1n) * BigInt(digits) * 1024n ** BigInt(power)
  return value > unsignedMax || value < signedMin ? 'overflow' : value
}

/** Whether a text is a negative number, zero too: MariaDB refuses the sign itself where a value has none. */
export const hasMinus = (text: string): boolean => /^[ \t\n\v\f\r]*-/.test(text)

const real = /^[ \t\n\v\f\r]*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/

/** A decimal number, with a point or an exponent; undefined if it is none, or too large for a double. */
export function parseReal(text: string): number | undefined {
  if (!real.test(text)) return undefined
  const value = Number(text.trim())
  return Number.isFinite(value) ? value : undefined
}

/** `on`, `true`, `1`, `off`, `false`, `0`, in any case; `yes` and `no` are neither. */
export function parseBoolean(text: string): boolean | undefined {
  const lower = lowerAscii(text)
  if (lower === 'on' || lower === 'true' || lower === '1') return true
  return lower === 'off' || lower === 'false' || lower === '0' ? false : undefined
}

/** ASCII alone, as far as the words of an enumeration go. */
export const lowerAscii = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

const index = /^[ \t\n\v\f\r]*\+?(\d+)$/

/**
 * The word of a list that a text means: the word itself, its number from 0, or any beginning that only one of them has;
 * in any case, with blanks behind it.
 */
export function findWord(text: string, words: readonly string[]): string | undefined {
  const lower = lowerAscii(text)
  if (lower === '') return undefined
  const trimmed = lower.replace(/ +$/, '')
  const exact = words.find((word) => lowerAscii(word) === trimmed)
  if (exact !== undefined) return exact
  const begun = words.filter((word) => lowerAscii(word).startsWith(lower))
  if (begun.length > 0) return begun.length === 1 ? begun[0] : undefined
  const number = index.exec(text)?.[1]
  return number === undefined ? undefined : words[Number(number)]
}

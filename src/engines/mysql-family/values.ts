/**
 * Whether the server would accept a value, judged from the catalogue; and whether two values are the same.
 *
 * These servers start with values that they do not like: a number out of its range is clamped, one that is no multiple
 * of its block is cut, a boolean that is none is off, with a warning at best. Nobody who wrote `max_connections =
 * 100001` is served by 100000. So *accepted* means here: a server that is started with the value in its file runs with
 * exactly this value; and that a running server takes it too, where it can. One that would be adjusted is rejected, with
 * the range or the block, and the nearest that will do.
 */
import type {ParameterDefinition} from '../../core/config/parameters.js'
import {nearest} from '../../core/nearest.js'
import {findWord, hasMinus, lowerAscii, parseBoolean, parseInteger, parseReal, suffixes} from './numbers.js'

/** How the two families of servers differ here. */
export interface ValueRules {
  /**
   * Whether only the server knows if a value will do that the catalogue finds nothing wrong in: where something else
   * decides (another parameter, a limit of the machine), or the server adjusts what its own description allows.
   */
  asks(name: string): boolean
  /** Of a value that the catalogue finds nothing wrong in, where a start and a statement understand it differently. */
  whyNot?(name: string, value: string): string | undefined
}

export interface Values {
  whyNotValid(definition: ParameterDefinition, value: string): string | undefined | 'ask'
  sameValue(definition: ParameterDefinition, asked: string, read: string): boolean
}

const range = ({min, max, step}: ParameterDefinition): string =>
  `${min} to ${max}${step === undefined ? '' : ` in steps of ${step}`}`

const clamp = (value: bigint, min: bigint, max: bigint): bigint => (value < min ? min : value > max ? max : value)

function whyNotInteger(definition: ParameterDefinition, value: string): string | undefined {
  const {min, max, step} = definition
  const number = parseInteger(value)
  if (number === undefined) {
    return `"${value}" is not a whole number, with or without ${suffixes.join(', ')} behind it; the range is ${range(definition)}`
  }
  if (min === null || max === null) return undefined
  if (number === 'overflow') return `${value} is out of range: ${range(definition)}`
  const [least, most, block] = [BigInt(min), BigInt(max), BigInt(step ?? 1)]
  const shown = String(number) === value.trim() ? value : `${value} (${number})`
  if (number < least || number > most) return `${shown} is out of range: ${range(definition)}`
  // even of -0: one server refuses the sign, the other one adjusts it to 0
  if (least >= 0n && hasMinus(value)) return `"${value}" has a sign; the range is ${range(definition)}`
  if (number % block !== 0n) {
    return `${shown} is not a multiple of ${block}; the nearest is ${clamp(((number + block / 2n) / block) * block, least, most)}`
  }
  return undefined
}

function whyNotReal(definition: ParameterDefinition, value: string): string | undefined {
  const number = parseReal(value)
  if (number === undefined) return `"${value}" is not a number; the range is ${range(definition)}`
  const {min, max} = definition
  if (min === null || max === null) return undefined
  return number < Number(min) || number > Number(max) ? `${value} is out of range: ${range(definition)}` : undefined
}

/** The beginning of a word is one in the file, and none in a statement: it would hold up a reload. */
const isBeginning = (value: string, word: string): boolean => lowerAscii(value) !== lowerAscii(word) && !/^\s*\+?\d+$/.test(value)

function whyNotWord({values, requires}: ParameterDefinition, value: string): string | undefined {
  const words = values ?? []
  const word = findWord(value, words)
  if (word !== undefined && requires === 'reload' && isBeginning(value, word)) return `"${value}" is not written out: ${word}`
  if (word !== undefined) return undefined
  const near = nearest(value, words)
  return `"${value}" is none of ${words.join(', ')}${near === undefined ? '' : `; the nearest is ${near}`}`
}

/** The members of a set, lower case; blanks are no separators. */
const members = (text: string): Set<string> =>
  new Set(
    lowerAscii(text)
      .split(',')
      .filter((word) => word !== ''),
  )

/** A plain list of a set's own words, each once written out. */
const isPlainSet = (words: readonly string[], value: string): boolean => {
  const known = new Set(words.map(lowerAscii))
  return value !== '' && lowerAscii(value).split(',').every((word) => known.has(word))
}

/** How a real is shown: six decimals. */
const shownReal = (value: number): string => value.toFixed(6)

function sameSet(definition: ParameterDefinition, asked: string, read: string): boolean {
  const [a, b] = [members(asked), members(read)]
  if ([...a].some((word) => !b.has(word))) return false
  // ANSI, TRADITIONAL and the like stand for several modes, which are read back beside them
  return a.size === b.size || definition.name === 'sql_mode'
}

/** `name=on,…` of which some may be asked for; the others stay. */
function sameSwitches(asked: string, read: string): boolean {
  const b = members(read)
  return [...members(asked)].every((word) => word === 'default' || word.endsWith('=default') || b.has(word))
}

const isSwitches = (read: string): boolean => /^\w+=(on|off)(,|$)/.test(read)

/** Names of character sets and collations that are read back as what they stand for. */
const charset = (word: string): string => word.replace(/^utf8(?=_|$)/, 'utf8mb3')

/** `+2:00` is shown as `+02:00`. */
export const paddedOffset = (zone: string): string => zone.replace(/^([+-])(\d:)/, '$10$2')

function sameText(name: string, asked: string, read: string): boolean {
  const [a, b] = [lowerAscii(asked), lowerAscii(read)]
  if (a === b || (name === 'time_zone' && paddedOffset(a) === paddedOffset(b))) return true
  if (isSwitches(b)) return sameSwitches(a, b)
  if (/^(character_set|collation)_/.test(name)) return charset(a) === charset(b)
  return false
}

function sameNumber({name, type, min}: ParameterDefinition, asked: string, read: string): boolean {
  if (type === 'real') {
    const [a, b] = [parseReal(asked), parseReal(read)]
    return a !== undefined && b !== undefined && shownReal(a) === shownReal(b)
  }
  const [a, b] = [parseInteger(asked), parseInteger(read)]
  if (typeof a !== 'bigint' || typeof b !== 'bigint') return false
  // -1 where nothing else is negative, and 0 of some, ask the server to choose: what it reads back is its choice
  return a === b || (a === -1n && min === '-1') || (a === 0n && serverChoosesAtZero.has(name))
}

/** Numbers that are chosen by the server where they are 0; it depends on the machine what. */
export const serverChoosesAtZero: ReadonlySet<string> = new Set(['back_log', 'open_files_limit', 'innodb_open_files', 'innodb_buffer_pool_instances', 'innodb_buffer_pool_chunk_size'])

export function createValues(rules: ValueRules): Values {
  /** As EngineConfig.whyNotValid promises. */
  function whyNotValid(definition: ParameterDefinition, value: string): string | undefined | 'ask' {
    if (definition.requires === 'fixed') return `${definition.name} cannot be changed in the server's configuration`
    // the line-based file cannot hold the first, nor a C string the second
    if (/[\r\n]/.test(value)) return 'a value must be one line'
    if (value.includes('\0')) return 'a value must not contain a zero byte'
    const because = whyNot(definition, value)
    if (because !== undefined && because !== 'ask') return because
    return rules.whyNot?.(definition.name, value) ?? (rules.asks(definition.name) ? 'ask' : because)
  }

  function whyNot(definition: ParameterDefinition, value: string): string | undefined | 'ask' {
    switch (definition.type) {
      case 'bool':
        return parseBoolean(value) === undefined ? `"${value}" is neither on nor off` : undefined
      case 'integer':
        return whyNotInteger(definition, value)
      case 'real':
        return whyNotReal(definition, value)
      case 'enum':
        return whyNotWord(definition, value)
      case 'string':
        // a number without a sign is the bits of a set; -0 would be read as none of them
        if (definition.values !== null && hasMinus(value) && parseInteger(value) !== undefined) return `"${value}" is not a list of ${definition.values.join(', ')}`
        return definition.values !== null && isPlainSet(definition.values, value) ? undefined : 'ask'
    }
  }

  /** As EngineConfig.sameValue promises. */
  function sameValue(definition: ParameterDefinition, asked: string, read: string): boolean {
    if (asked === read) return true
    switch (definition.type) {
      case 'bool': {
        const value = parseBoolean(asked)
        return value !== undefined && value === parseBoolean(read)
      }
      case 'integer':
      case 'real':
        return sameNumber(definition, asked, read)
      case 'enum': {
        const words = definition.values ?? []
        const [a, b] = [findWord(asked, words), findWord(read, words)]
        return a === undefined || b === undefined ? lowerAscii(asked) === lowerAscii(read) : a === b
      }
      case 'string':
        return definition.values === null
          ? sameText(definition.name, asked, read)
          : sameSet(definition, asked, read) || sameText(definition.name, asked, read)
    }
  }

  return {whyNotValid, sameValue}
}

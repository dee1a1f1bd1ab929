/** Whether the server would accept a value, judged from the catalogue; and whether two values are the same. */
import type {ParameterDefinition} from '../../core/config/parameters.js'
import {nearest} from '../../core/nearest.js'
import {integerMax, integerMin, parseBoolean, parseInteger, parseReal, unitWords} from './numbers.js'

/**
 * Parameters whose check hook in the server knows more than pg_settings shows (guc_hooks.c and others): a gap in the
 * range, a multiple, a limit of the machine, another parameter. Only the binary can judge them.
 */
const judgedByHook = new Set([
  'max_connections',
  'max_worker_processes',
  'autovacuum_max_workers',
  'max_stack_depth',
  'huge_page_size',
  'vacuum_buffer_usage_limit',
  'client_connection_check_interval',
  'io_max_concurrency',
  'effective_io_concurrency',
  'maintenance_io_concurrency',
  'recovery_prefetch',
  'commit_timestamp_buffers',
  'multixact_member_buffers',
  'multixact_offset_buffers',
  'notify_buffers',
  'serializable_buffers',
  'subtransaction_buffers',
  'transaction_buffers',
  'default_with_oids',
  'wal_buffers',
  'log_statement_stats',
  'log_parser_stats',
  'log_planner_stats',
  'log_executor_stats',
  'debug_io_direct',
  'wal_sync_method',
])

/**
 * Words that some enumerations accept without listing them (the entries marked hidden in guc_tables.c). Whether this
 * one does, the binary knows.
 */
const hiddenWords = new Set([
  'true',
  'false',
  'yes',
  'no',
  'on',
  'off',
  '1',
  '0',
  'debug',
  'info',
  'archive',
  'hot_standby',
])

/** pg_settings prints the largest double with six digits, which would read as less than it is. */
const bound = (text: string): number => {
  const value = Number(text)
  if (value >= 1.79769e308) return Number.MAX_VALUE
  return value <= -1.79769e308 ? -Number.MAX_VALUE : value
}

const withUnit = (number: string, unit: string | null): string => {
  if (unit === null) return number
  const match = /^(\d+)(\D+)$/.exec(unit)
  return match ? `${Number(number) * Number(match[1])}${match[2]}` : `${number}${unit}`
}

const range = ({min, max, unit}: ParameterDefinition): string =>
  `${withUnit(min as string, unit)} to ${withUnit(max as string, unit)}`

function whyNotNumber(definition: ParameterDefinition, value: string): string | undefined {
  const {unit, type} = definition
  const number = type === 'integer' ? parseInteger(value, unit) : parseReal(value, unit)
  if (number === undefined) {
    const units =
      unit === null ? 'without a unit' : `with or without a unit (${unitWords(unit).join(', ')}; capitals matter)`
    const kind = type === 'integer' ? 'a whole number' : 'a number'
    return `"${value}" is not ${kind} ${units}; the range is ${range(definition)}`
  }
  const min = bound(definition.min ?? String(integerMin))
  const max = bound(definition.max ?? String(integerMax))
  if (number === 'overflow' || number < min || number > max) return `${value} is out of range: ${range(definition)}`
  return undefined
}

function whyNotWord(definition: ParameterDefinition, value: string): string | undefined | 'ask' {
  const listed = definition.values ?? []
  const lower = value.toLowerCase()
  if (listed.some((word) => word.toLowerCase() === lower)) return undefined
  // of a library's enumerations nobody here knows the hidden words
  if (hiddenWords.has(lower) || definition.name.includes('.')) return 'ask'
  const near = nearest(value, listed)
  return `"${value}" is none of ${listed.join(', ')}${near === undefined ? '' : `; the nearest is ${near}`}`
}

/** As EngineConfig.whyNotValid promises. */
export function whyNotValid(definition: ParameterDefinition, value: string): string | undefined | 'ask' {
  if (definition.requires === 'fixed')
    return `${definition.name} cannot be changed: it is fixed when the server is built or its data made`
  // the line-based file cannot hold the first, nor a C string the second
  if (/[\r\n]/.test(value)) return 'a value must be one line'
  if (value.includes('\0')) return 'a value must not contain a zero byte'
  switch (definition.type) {
    case 'string':
      return 'ask'
    case 'bool':
      if (parseBoolean(value) === undefined) return `"${value}" is neither on nor off`
      break
    case 'enum': {
      const because = whyNotWord(definition, value)
      if (because !== undefined) return because
      break
    }
    case 'integer':
    case 'real': {
      const because = whyNotNumber(definition, value)
      if (because !== undefined) return because
    }
  }
  return judgedByHook.has(definition.name) ? 'ask' : undefined
}

/** A value that asks the server to choose: what it reads back is its choice. */
const serverChooses: Readonly<Record<string, number>> = {
  wal_buffers: -1,
  io_max_concurrency: -1,
  commit_timestamp_buffers: 0,
  subtransaction_buffers: 0,
  transaction_buffers: 0,
}

/** A floor that the server raises a smaller value to, in the base unit, silently. */
const raisedTo: Readonly<Record<string, number>> = {autovacuum_work_mem: 1024, wal_buffers: 4}

/** Other words that an enumeration reads back as the first of the row. */
const synonyms: readonly (readonly string[])[] = [
  ['on', 'true', 'yes', '1'],
  ['off', 'false', 'no', '0'],
  ['debug2', 'debug'],
  ['replica', 'archive', 'hot_standby'],
]
const canonical = (word: string): string => synonyms.find((row) => row.includes(word))?.[0] ?? word

/** Six digits, as the server prints a real. */
const shown = (value: number): string => Number(value.toPrecision(6)).toString()

const list = (text: string): string =>
  text
    .split(',')
    .map((item) =>
      item
        .trim()
        .replace(/^"(.*)"$/, '$1')
        .toLowerCase(),
    )
    .join(',')

function sameInteger({name, unit}: ParameterDefinition, asked: string, read: string): boolean {
  const [a, b] = [parseInteger(asked, unit), parseInteger(read, unit)]
  if (typeof a !== 'number' || typeof b !== 'number') return false
  if (Object.hasOwn(serverChooses, name) && a === serverChooses[name]) return true
  const floor = raisedTo[name]
  return a === b || (floor !== undefined && a >= 0 && a < floor && b === floor)
}

/** As EngineConfig.sameValue promises. */
export function sameValue(definition: ParameterDefinition, asked: string, read: string): boolean {
  if (asked === read) return true
  switch (definition.type) {
    case 'bool': {
      const value = parseBoolean(asked)
      return value !== undefined && value === parseBoolean(read)
    }
    case 'integer':
      return sameInteger(definition, asked, read)
    case 'real': {
      const [a, b] = [parseReal(asked, definition.unit), parseReal(read, definition.unit)]
      return a !== undefined && b !== undefined && (a === b || shown(a) === shown(b))
    }
    case 'enum': {
      const [a, b] = [asked.toLowerCase(), read.toLowerCase()]
      // the one enumeration whose `on` is a method: pglz, since methods have names
      return (
        a === b ||
        canonical(a) === canonical(b) ||
        (definition.name === 'wal_compression' && b === 'pglz' && canonical(a) === 'on')
      )
    }
    case 'string':
      return sameText(definition.name, asked, read)
  }
}

/** Texts that the server rewrites: names of zones and encodings, the two halves of datestyle, lists. */
function sameText(name: string, asked: string, read: string): boolean {
  const [a, b] = [asked.toLowerCase(), read.toLowerCase()]
  switch (name) {
    case 'timezone':
    case 'log_timezone':
      return a === b
    case 'client_encoding':
      return a.replace(/[^a-z0-9]/g, '') === b.replace(/[^a-z0-9]/g, '')
    case 'datestyle':
      // half of it may be asked for; the other half stays
      return list(a)
        .split(',')
        .every((half) => list(b).includes(half))
    default:
      return list(asked) === list(read) && asked.includes(',')
  }
}

/**
 * MySQL's tables tell the bounds of whole numbers and little else (`variables_metadata` of 9.x tells types, but knows
 * no word of an enumeration). The rest is asked of the program: what it makes of a value that it is given shows in the
 * list of values it would run with.
 */
import type {ParameterDefinition} from '../../core/config/parameters.js'
import type {Host} from '../host.js'
import type {Described, Describer} from '../mysql-family/catalogue.js'
import type {AdminClient} from '../mysql-family/client.js'
import type {Help} from '../mysql-family/help.js'
import {askHelp} from '../mysql-family/help.js'
import {canonicalName, optionOf} from '../mysql-family/options.js'
import {dialect} from './dialect.js'

interface Row {
  name: string
  value: string | null
  min: string
  max: string
}

/** `TRUE` of an option is `ON` of a variable. */
const shownBoolean = (value: string | null): string | null =>
  value === null ? null : value === 'TRUE' ? 'ON' : value === 'FALSE' ? 'OFF' : value

function typeOf(row: Row, takes: 'nothing' | 'number' | 'text' | undefined): ParameterDefinition['type'] {
  if (takes === 'nothing') return 'bool'
  if (takes === 'text') return 'string'
  if (takes === undefined && !/^\d+(\.\d+)?$/.test(row.value ?? '')) return /^(ON|OFF|YES|NO)$/.test(row.value ?? '') ? 'bool' : 'string'
  // six decimals are how a real is shown, always
  return /\.\d{6}$/.test(row.value ?? '') ? 'real' : 'integer'
}

/**
 * Whether a variable can be set while the server runs. The statement fails whatever the answer is, before anything is
 * looked at, let alone set: the server first finds all of a statement's variables, and names the first that is read only.
 */
async function isDynamic(client: AdminClient, name: string): Promise<boolean> {
  try {
    await client.query(`set global \`${name}\` = default, global version = 'none'`)
  } catch (error) {
    return /'version' is a read only variable/.test((error as Error).message)
  }
  throw new Error('MySQL set its own version')
}

/** Descriptions of variables that the program has none of: those without an option, those of plugins. */
async function documentation(client: AdminClient): Promise<ReadonlyMap<string, string>> {
  const [there] = await client.query<{n: string}>(
    "select count(*) as n from information_schema.tables where table_schema = 'performance_schema' and lower(table_name) = 'variables_metadata'",
  )
  if (there?.n !== '1') return new Map()
  const rows = await client.query<{name: string; text: string | null}>(
    'select lower(variable_name) as name, documentation as text from performance_schema.variables_metadata',
  )
  return new Map(rows.flatMap(({name, text}) => (text === null || text.trim() === '' ? [] : [[name, text.trim()] as const])))
}

async function outline(client: AdminClient, help: Help): Promise<Described[]> {
  const rows = await client.query<Row>(`
    select lower(v.variable_name) as name, v.variable_value as value, i.min_value as min, i.max_value as max
    from performance_schema.global_variables v join performance_schema.variables_info i using (variable_name)`)
  const documented = await documentation(client)
  const definitions: Described[] = []
  for (const row of rows) {
    const option = optionOf(row.name, (name) => help.options.has(name))
    const told = option === undefined ? undefined : help.options.get(option)
    const type = typeOf(row, told?.takes)
    const boot = option === undefined ? null : (help.values.get(option) ?? null)
    definitions.push({
      name: row.name,
      type,
      unit: null,
      min: type === 'integer' ? row.min : null,
      max: type === 'integer' ? row.max : null,
      values: null,
      default: type === 'bool' ? shownBoolean(boot) : boot,
      description: told?.description || documented.get(row.name) || 'MySQL does not describe it.',
      requires: option === undefined ? 'fixed' : (await isDynamic(client, row.name)) ? 'reload' : 'restart',
    })
  }
  return definitions
}

// ---------------------------------------------------------------- what the program makes of values

type Trial = ReadonlyMap<string, string>

/** What each option would be if it were asked for so; undefined of one that the program refuses. */
async function tryValues(host: Host, trial: Trial): Promise<Map<string, string | undefined>> {
  const results = new Map<string, string | undefined>()
  let rest = [...trial]
  while (rest.length > 0) {
    const help = await askHelp(host, dialect, ['--no-defaults', ...rest.map(([name, value]) => `--${name.replaceAll('_', '-')}=${value}`)])
    if (help.values.size > 0) {
      for (const [name] of rest) results.set(name, help.values.get(name) ?? undefined)
      return results
    }
    const refused = new Set([...help.result.stderr.matchAll(/ to '([^']+)'\.?$/gm)].map((match) => canonicalName(match[1] as string)))
    const known = rest.filter(([name]) => refused.has(name))
    if (known.length === 0) {
      // it gave up without a name: whose fault it is shows by halves
      const [only] = rest
      if (rest.length === 1 && only) return results.set(only[0], undefined)
      const half = Math.ceil(rest.length / 2)
      for (const part of [rest.slice(0, half), rest.slice(half)]) {
        for (const [name, value] of await tryValues(host, new Map(part))) results.set(name, value)
      }
      return results
    }
    for (const [name] of known) results.set(name, undefined)
    rest = rest.filter(([name]) => !refused.has(name))
  }
  return results
}

/** More words than any enumeration, and more members than any set, has. */
const mostWords = 200
const mostMembers = 64

/**
 * An enumeration is a text option that reads a number as the word with that number; a set reads it as the members of
 * its bits. Options of the storage engine take numbers beyond the last word for the default, the server's own refuse.
 */
async function wordsOf(host: Host, names: readonly string[]): Promise<Map<string, {type: 'enum' | 'string'; values: string[]}>> {
  const found = new Map<string, {type: 'enum' | 'string'; values: string[]}>()
  const [zero, one] = [await tryValues(host, new Map(names.map((name) => [name, '0']))), await tryValues(host, new Map(names.map((name) => [name, '1'])))]
  const three = await tryValues(host, new Map(names.map((name) => [name, '3'])))
  const enums = new Map<string, string[]>()
  const sets = new Map<string, string[]>()
  for (const name of names) {
    const [first, second, fourth] = [zero.get(name), one.get(name), three.get(name)]
    if (first === undefined || /[/0-9;]$|^0/.test(first) && first.startsWith('0')) continue
    if (first === '' && second !== undefined && second !== '1') sets.set(name, [second])
    else if (fourth?.includes(',') && second !== undefined && fourth.startsWith(`${second},`)) sets.set(name, [second])
    else if (second === undefined) found.set(name, {type: 'enum', values: [first]})
    else if (second !== first && second !== '1') enums.set(name, [first, second])
  }
  for (let at = 2, open = [...enums.keys()]; open.length > 0 && at < mostWords; at += 1) {
    const next = await tryValues(host, new Map(open.map((name) => [name, String(at)])))
    open = open.filter((name) => {
      const [word, words] = [next.get(name), enums.get(name) as string[]]
      if (word === undefined || words.includes(word)) return false
      words.push(word)
      return true
    })
  }
  for (let bit = 1, open = [...sets.keys()]; open.length > 0 && bit < mostMembers; bit += 1) {
    const next = await tryValues(host, new Map(open.map((name) => [name, String(2n ** BigInt(bit))])))
    open = open.filter((name) => {
      const word = next.get(name)
      if (word === undefined) return false
      // a member that stands for others is read with them, itself the last
      ;(sets.get(name) as string[]).push(word.split(',').at(-1) as string)
      return true
    })
  }
  for (const [name, words] of enums) found.set(name, {type: 'enum', values: words})
  // numbers of modes that are none any more have a word all the same
  for (const [name, members] of sets) found.set(name, {type: 'string', values: members.filter((member) => !/^NOT_USED/.test(member))})
  return found
}

/** Blocks that are no power of two are tens and hundreds. */
const blocks = [...Array.from({length: 40}, (_, power) => 2n ** BigInt(power + 1)), 10n, 50n, 100n, 500n, 1000n].sort((a, b) => (a < b ? -1 : 1))

/** As near below `number` as there is a value in the range with all of its lowest bits set: one less than a multiple of any block. */
function before(number: bigint, min: bigint, max: bigint): bigint {
  for (let bits = 30n; bits > 0n; bits -= 1n) {
    const value = (number >> bits << bits) | ((1n << bits) - 1n)
    if (value >= min && value <= max) return value
  }
  return number
}

/** Numbers that the program cuts down to a multiple of something: what that is, when three trials agree on it. */
async function stepsOf(host: Host, integers: readonly ParameterDefinition[]): Promise<Map<string, string>> {
  const tries = [2n, 3n, 7n].map(
    (part) =>
      new Map(
        integers.map(({name, min, max}) => {
          const [least, most] = [BigInt(min as string), BigInt(max as string)]
          return [name, before(least + (most - least) / part, least, most)]
        }),
      ),
  )
  const results: {asked: Map<string, bigint>; got: Map<string, string | undefined>}[] = []
  for (const asked of tries) results.push({asked, got: await tryValues(host, new Map([...asked].map(([name, value]) => [name, String(value)])))})
  const steps = new Map<string, string>()
  for (const {name} of integers) {
    const pairs = results.flatMap(({asked, got}) => {
      const [a, b] = [asked.get(name), got.get(name)]
      return a === undefined || b === undefined || !/^-?\d+$/.test(b) ? [] : [[a, BigInt(b)] as const]
    })
    if (pairs.length < tries.length || pairs.every(([a, b]) => a === b)) continue
    const step = blocks.find((block) => pairs.every(([a, b]) => (a / block) * block === b))
    if (step !== undefined) steps.set(name, String(step))
  }
  return steps
}

const enormous = '1e300'

async function boundsOf(host: Host, reals: readonly string[]): Promise<Map<string, {min: string; max: string}>> {
  const [least, most] = [
    await tryValues(host, new Map(reals.map((name) => [name, `-${enormous}`]))),
    await tryValues(host, new Map(reals.map((name) => [name, enormous]))),
  ]
  const bounds = new Map<string, {min: string; max: string}>()
  for (const name of reals) {
    const [min, max] = [least.get(name), most.get(name)]
    // -0 is 0
    if (min !== undefined && max !== undefined) bounds.set(name, {min: String(Number(min) + 0), max: String(Number(max))})
  }
  return bounds
}

async function complete(host: Host, definitions: readonly ParameterDefinition[]): Promise<ParameterDefinition[]> {
  // what nobody may set is not tried either: some of it would send the program elsewhere
  const free = definitions.filter(({managed, requires}) => managed === null && requires !== 'fixed')
  const optionNamed = ({name}: ParameterDefinition): string => (name === 'time_zone' ? 'default_time_zone' : name)
  const words = await wordsOf(host, free.filter(({type}) => type === 'string').map(optionNamed))
  const steps = await stepsOf(host, free.filter(({type}) => type === 'integer'))
  const bounds = await boundsOf(host, free.filter(({type}) => type === 'real').map(({name}) => name))
  return definitions.map((definition) => {
    const step = steps.get(definition.name)
    return {
      ...definition,
      ...words.get(definition.name),
      ...bounds.get(definition.name),
      ...(step === undefined ? {} : {step}),
    }
  })
}

export const describer: Describer = {outline, complete}

/** Random settings for a parameter: valid, invalid, on the edge, and weird, by what the catalogue says of it. */
import fc from 'fast-check'
import type {ParameterDefinition} from '../../../src/core/config/parameters.js'

export interface Setting {
  readonly definition: ParameterDefinition
  readonly value: string
}

const weird = fc.constantFrom(
  '', ' ', '-', '+', '.', 'e', 'k', 'K5', '0x10', '0x', '1_000', '1,5', '1e', '1e+', '1.', '.5', '-.5e1', '08', '010', '1e3', '1E-2', '1e400',
  '1e-400', '99999999999999999999', '-99999999999999999999', '18446744073709551615', '18446744073709551616', '9223372036854775807',
  '9223372036854775808', '-9223372036854775808', '4294967295', '4294967296', '2147483648', '-2147483649', '18014398509481984K', '16E', '15E',
  'inf', 'nan', '- 5', '--5', '5 5', ' 5', '5 ', '\t5', '5k', '5K', '5kb', '5KB', '5 k', '5mb', '5m', '5Gx', '5T', '5p', '5µ', '5%', '1.5M', '1.5',
  '0.5', '-0.5', '0', '-0', '+0', '00', '1', '+1', '01', '-1', '2', '3', 'on', 'off', 'ON', 'yes', 'no', 'true', 'FALSE', 'null', 'default', 'DEFAULT',
  "it's", 'a"b', 'a#b', 'back\\slash', '٣', 'é', '☃',
)

const bigints = (min: bigint, max: bigint): fc.Arbitrary<bigint> => fc.bigInt(min < max ? {min, max} : {min, max: min})
const pick = (number: bigint, min: bigint, max: bigint): bigint => (number < min ? min : number > max ? max : number)

/** In the range and near it, and multiples of the step and their neighbours. */
function numbersOf(definition: ParameterDefinition): fc.Arbitrary<bigint> {
  const [low, high] = [BigInt(definition.min ?? 0), BigInt(definition.max ?? 100)]
  const step = BigInt(definition.step ?? 1)
  const multiples = bigints(low / step, pick(low / step + 4000n, low / step, high / step)).map((count) => count * step)
  return fc.oneof(
    {weight: 2, arbitrary: fc.constantFrom(low - 1n, low, low + 1n, high - 1n, high, high + 1n, 0n, 1n, -1n)},
    {weight: 3, arbitrary: bigints(low, pick(low + 5000n, low, high))},
    {weight: 1, arbitrary: bigints(low, high)},
    {weight: 3, arbitrary: multiples},
    {weight: 1, arbitrary: multiples.map((number) => number + 1n)},
    {weight: 1, arbitrary: multiples.map((number) => number + step / 2n)},
  )
}

/** The same number in some notation, or nearly. */
const written = (number: bigint): fc.Arbitrary<string> => {
  const factors = [['K', 1024n], ['m', 1024n ** 2n], ['G', 1024n ** 3n]] as const
  const exact = factors.filter(([, factor]) => number !== 0n && number % factor === 0n)
  return fc.constantFrom(
    ...Array.from({length: 8}, () => String(number)),
    ...exact.flatMap(([suffix, factor]) => [`${number / factor}${suffix}`, `${number / factor}${suffix.toLowerCase()}b`]),
    `+${number}`,
    `0${number}`,
    ` ${number}`,
    `${number} `,
    `${number}.0`,
    `${number}x`,
    `${number}k`,
  )
}

const integers = (definition: ParameterDefinition): fc.Arbitrary<string> =>
  fc.oneof(
    {weight: 8, arbitrary: numbersOf(definition).chain(written)},
    {weight: 2, arbitrary: weird},
    {weight: 1, arbitrary: fc.string({maxLength: 6})},
  )

function reals(definition: ParameterDefinition): fc.Arbitrary<string> {
  const [low, high] = [Number(definition.min ?? 0), Math.min(Number(definition.max ?? 1), 1e9)]
  return fc.oneof(
    {weight: 2, arbitrary: fc.constantFrom(low, high, low - 0.5, high + 0.5, low - 1, high + 1, high / 2).map(String)},
    {weight: 4, arbitrary: fc.double({min: low, max: high, noNaN: true}).map((value) => value.toFixed(3))},
    {weight: 2, arbitrary: fc.integer({min: Math.ceil(low), max: Math.floor(high)}).map(String)},
    {weight: 2, arbitrary: weird},
  )
}

const mixedCase = (word: string): fc.Arbitrary<string> =>
  fc.constantFrom(word, word, word.toUpperCase(), word.toLowerCase(), word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())

const booleans: fc.Arbitrary<string> = fc.oneof(
  {weight: 5, arbitrary: fc.constantFrom('on', 'off', 'true', 'false', '1', '0').chain(mixedCase)},
  {weight: 1, arbitrary: fc.constantFrom('yes', 'no', 't', 'f', 'o', ' on', 'on ', '2', '-1', '00', '01', 'enabled', '')},
  {weight: 1, arbitrary: weird},
)

const words = (values: readonly string[]): fc.Arbitrary<string> => {
  const listed = fc.constantFrom(...(values.length > 0 ? values : ['']))
  return fc.oneof(
    {weight: 5, arbitrary: listed.chain(mixedCase)},
    {weight: 2, arbitrary: fc.integer({min: -1, max: values.length + 1}).map(String)},
    {weight: 1, arbitrary: listed.chain((word) => fc.nat(Math.max(1, word.length - 1)).map((length) => word.slice(0, length)))},
    {weight: 1, arbitrary: listed.map((word) => `${word}x`)},
    {weight: 1, arbitrary: listed.map((word) => `${word} `)},
    {weight: 1, arbitrary: weird},
  )
}

const sets = (values: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(
    {weight: 4, arbitrary: fc.subarray([...values], {minLength: 1, maxLength: Math.min(3, values.length)}).map((some) => some.join(','))},
    {weight: 1, arbitrary: fc.subarray([...values], {minLength: 1, maxLength: Math.min(3, values.length)}).map((some) => some.join(', '))},
    {weight: 1, arbitrary: fc.constantFrom(...values).map((word) => `${word},nonsense`)},
    {weight: 1, arbitrary: fc.nat(2 ** Math.min(values.length, 20)).map(String)},
    {weight: 1, arbitrary: weird},
  )

const texts: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      '', 'nope', 'InnoDB', 'innodb', 'MyISAM', 'MEMORY', 'heap', 'CSV', 'NoSuchEngine', 'SYSTEM', '+00:00', '+02:00', '-13:59', '+14:00',
      '+15:00', '+2:00', 'UTC', 'Europe/Vienna', 'Mars/Olympus', 'utf8', 'utf8mb3', 'utf8mb4', 'UTF8MB4', 'latin1', 'binary', 'EBCDIC',
      'utf8mb4_bin', 'utf8mb4_general_ci', 'latin1_swedish_ci', 'utf8mb4_nonsense_ci', 'en_US', 'de_AT', 'DE_at', 'xx_XX', 'mrr=off',
      'mrr=off,mrr_cost_based=on', 'mrr=maybe', 'nonsense=on', 'default', 'default,mrr=off', 'enabled=on', 'enabled=on,one_line=on',
      'autocommit', 'time_zone,autocommit', '*', 'no_such_variable', '+ -><()~*:""&|', '+ -><()~*:""&', 'mydb/stop', "it's", 'back\\slash', 'a b', 'é',
      'x'.repeat(80),
    ),
  },
  {weight: 1, arbitrary: fc.string({maxLength: 8})},
  {weight: 1, arbitrary: weird},
)

export const settingOf = (definition: ParameterDefinition): fc.Arbitrary<Setting> => {
  const values = {
    bool: () => booleans,
    integer: () => integers(definition),
    real: () => reals(definition),
    enum: () => words(definition.values ?? []),
    string: () => (definition.values === null || definition.values.length === 0 ? texts : sets(definition.values)),
  }[definition.type]()
  // the file holds neither, whatever the parameter is; what becomes of them is a test of its own
  return values.map((value) => ({definition, value: value.replaceAll(/[\0\r\n]/g, '')})).filter(({value}) => !takesDisk(definition, value))
}

/** A server makes files of that size when it starts, and they would be as large as the disk. */
const filesOfThatSize = new Set(['innodb_log_file_size', 'innodb_redo_log_capacity', 'aria_log_file_size'])
const largestFileBytes = 256n * 1024n ** 2n

function takesDisk({name}: ParameterDefinition, value: string): boolean {
  const match = /^\s*\+?(\d+)([kmgtpe]?)/i.exec(value)
  if (!filesOfThatSize.has(name) || !match) return false
  const said = BigInt(match[1] as string) * 1024n ** BigInt(' kmgtpe'.indexOf((match[2] as string).toLowerCase() || ' '))
  // too much is cut to the most, which is worse
  return said > largestFileBytes
}

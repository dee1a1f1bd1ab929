/** Random settings for a parameter: valid, invalid, on the edge, and weird, by what the catalogue says of it. */
import fc from 'fast-check'
import type {ParameterDefinition} from '../../../src/core/config/parameters.js'
import {unitWords} from '../../../src/engines/postgresql/numbers.js'

export interface Setting {
  readonly definition: ParameterDefinition
  readonly value: string
}

const space = fc.constantFrom('', '', '', ' ', '  ', '\t', '\v', '\u00a0')

const weird = fc.constantFrom(
  '',
  ' ',
  '-',
  '+',
  '.',
  'e',
  '0x',
  '0x1g',
  '1_000',
  '1,5',
  '1e',
  '1e+',
  '.5',
  '5.',
  '-.5e1',
  '0x1p3',
  '0x1.8',
  '0x1.8p',
  '0xAbs',
  '08',
  '08.5',
  '010',
  '1e3',
  '1E-2',
  '1e999',
  '1e-400',
  '1e-310',
  '99999999999999999999',
  '-99999999999999999999',
  '0xFFFFFFFFFFFFFFFFFF',
  '9223372036854775807',
  '2147483647',
  '2147483648',
  '-2147483648',
  '-2147483649',
  '2147483647.4',
  '2147483647.5',
  'inf',
  '-Infinity',
  'infinityx',
  'nan',
  'NaN',
  'NAN(1)',
  '- 5',
  '--5',
  '5 5',
  '5kBs',
  '5 kB s',
  '5k B',
  '5Kb',
  '5KB',
  '5mb',
  '5Ms',
  '5 mS',
  '5sec',
  '5minutes',
  '1.5.2',
  '0',
  '-0',
  '+0',
  '1',
  '-1',
  '0.5',
  '1.5',
  '2.5',
  '-0.5',
  'on',
  'off',
  'true',
  'null',
  'default',
  "it's",
  '٣',
)

const inRange = ({min, max}: ParameterDefinition): fc.Arbitrary<number> => {
  const low = Math.max(Number(min ?? 0), -1e15)
  const high = Math.min(Number(max ?? 1), 1e15)
  return fc.oneof(
    fc.constantFrom(low - 1, low, low + 1, high - 1, high, high + 1, 0, 1, -1),
    fc.integer({min: Math.ceil(low), max: Math.floor(high)}),
    fc.integer({min: Math.ceil(low), max: Math.floor(Math.min(high, low + 2000))}),
  )
}

/** The same number in some notation. */
const written = (number: number): fc.Arbitrary<string> =>
  fc.constantFrom(
    String(number),
    String(number),
    String(number),
    `+${number}`,
    `${number}.0`,
    `${number}.4`,
    `${number}.5`,
    `${number}.6`,
    number.toExponential(),
    number.toExponential(2),
    number >= 0 ? `0x${Math.floor(number).toString(16)}` : `-0X${Math.floor(-number).toString(16)}`,
    number >= 0 ? `0${Math.floor(number).toString(8)}` : `-0${Math.floor(-number).toString(8)}`,
    (number / 1024).toString(),
    (number / 1000).toString(),
  )

const anyUnit = fc.constantFrom(
  'B',
  'kB',
  'MB',
  'GB',
  'TB',
  'us',
  'ms',
  's',
  'min',
  'h',
  'd',
  'KB',
  'kb',
  'm',
  'x',
  'bytes',
)

function numbers(definition: ParameterDefinition): fc.Arbitrary<string> {
  const own = unitWords(definition.unit ?? '')
  const unit = fc.oneof(
    {weight: 4, arbitrary: fc.constant('')},
    {weight: 4, arbitrary: own.length > 0 ? fc.constantFrom(...own) : fc.constant('')},
    {weight: 1, arbitrary: anyUnit},
  )
  const number = inRange(definition).chain(written)
  const fraction = fc.double({noNaN: true, min: -10, max: 10_000}).map(String)
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(space, fc.oneof({weight: 4, arbitrary: number}, {weight: 1, arbitrary: fraction}), space, unit, space)
        .map((parts) => parts.join('')),
    },
    {weight: 2, arbitrary: weird},
    {weight: 1, arbitrary: fc.string({maxLength: 8})},
  )
}

const mixedCase = (word: string): fc.Arbitrary<string> =>
  fc.constantFrom(word, word.toUpperCase(), word.slice(0, 1).toUpperCase() + word.slice(1))

const booleans: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('true', 'false', 'yes', 'no', 'on', 'off'), fc.nat(5))
      .map(([word, length]) => word.slice(0, length + 1))
      .chain(mixedCase),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('1', '0', '2', '', 'o', 'of', ' on', 'on ', 'enabled', 'tru e', '00', '01', 't1', 'ja'),
  },
  {weight: 1, arbitrary: weird},
)

const hidden = [
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
  'default',
  't',
  'auto',
]

const words = (values: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(
    {weight: 3, arbitrary: fc.constantFrom(...(values.length > 0 ? values : [''])).chain(mixedCase)},
    {weight: 2, arbitrary: fc.constantFrom(...hidden).chain(mixedCase)},
    {weight: 1, arbitrary: fc.constantFrom(...(values.length > 0 ? values : [''])).map((word) => `${word}x`)},
    {weight: 1, arbitrary: weird},
  )

const texts: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom(
      '',
      'nope',
      'UTC',
      'Europe/Vienna',
      'Mars/Olympus',
      '+02',
      '<+05>-05',
      'iso, mdy',
      'ISO',
      'german, ymd',
      'nonsense, dmy',
      'UTF8',
      'latin1',
      'EBCDIC',
      'C',
      'POSIX',
      'C.UTF-8',
      'xx_XX',
      'pg_catalog.english',
      'no_such_config',
      'heap',
      'columnar',
      'all',
      'none',
      'on',
      'receipt',
      'authentication, authorization',
      'data, wal',
      'default',
      'India',
      '$libdir',
      '"$user", public',
      'a,,b',
      '"open',
      "it's",
      'back\\slash',
      'a b',
      'é',
      '%m [%p]',
      '/nowhere',
      'heap,btree',
      'set, inherit',
      'foreign-table',
      'view',
      'x'.repeat(80),
    ),
  },
  {weight: 2, arbitrary: fc.string({maxLength: 12})},
  {weight: 1, arbitrary: weird},
)

export const settingOf = (definition: ParameterDefinition): fc.Arbitrary<Setting> => {
  const values = {
    bool: () => booleans,
    integer: () => numbers(definition),
    real: () => numbers(definition),
    enum: () => words(definition.values ?? []),
    string: () => texts,
  }[definition.type]()
  // PostgreSQL's texts hold no zero byte at all, on any way in
  return values.map((value) => ({definition, value: value.replaceAll('\0', '')}))
}

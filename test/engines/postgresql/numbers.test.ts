import assert from 'node:assert/strict'
import fc from 'fast-check'
import type {ParameterDefinition} from '../../../src/core/config/parameters.js'
import {parseBoolean, parseInteger, parseReal} from '../../../src/engines/postgresql/numbers.js'
import {sameValue, whyNotValid} from '../../../src/engines/postgresql/values.js'

const definition = (of: Partial<ParameterDefinition>): ParameterDefinition => ({
  name: 'x',
  type: 'integer',
  unit: null,
  min: '0',
  max: '100',
  values: null,
  default: null,
  category: '',
  description: '',
  requires: 'reload',
  managed: null,
  ...of,
})

describe('numbers as PostgreSQL reads them', () => {
  it('reads integers in every notation, and rounds half to even', () => {
    const cases: [string, string | null, number | 'overflow' | undefined][] = [
      ['10', null, 10],
      [' 0x1F ', null, 31],
      ['017', null, 15],
      ['08', null, undefined],
      ['1e3', null, 1000],
      ['2.5', null, 2],
      ['3.5', null, 4],
      ['-2.5', null, -2],
      ['.5e1', null, 5],
      ['1 MB', 'kB', 1024],
      ['1.5MB', 'kB', 1536],
      ['30.1GB', 'kB', 30822 * 1024],
      ['16kB', '8kB', 2],
      ['1mb', 'kB', undefined],
      ['1d', 's', 86_400],
      ['90s', 'min', 2],
      ['1500us', 'ms', 2],
      ['5', 'x', 5],
      ['5kB', null, undefined],
      ['2147483648', null, 'overflow'],
      ['1TB', 'B', 'overflow'],
      ['1e999', null, undefined],
      ['', null, undefined],
      ['nan', null, undefined],
      ['inf', null, undefined],
      ['99999999999999999999', null, 'overflow'],
      ['0x', null, undefined],
    ]
    for (const [text, unit, expected] of cases) assert.equal(parseInteger(text, unit), expected, `${text} in ${unit}`)
  })

  it('reads reals, infinities among them', () => {
    assert.equal(parseReal('0x1.8p1', null), 3)
    assert.equal(parseReal('-Infinity', null), -Infinity)
    assert.equal(parseReal('1.5s', 'ms'), 1500)
    assert.equal(parseReal('1e-310', null), undefined)
  })

  it('reads truth by any unique prefix', () => {
    for (const yes of ['t', 'TRUE', 'y', 'on', '1']) assert.equal(parseBoolean(yes), true, yes)
    for (const no of ['f', 'of', 'OFF', 'no', '0']) assert.equal(parseBoolean(no), false, no)
    for (const neither of ['', 'o', ' on', '2', 'truee']) assert.equal(parseBoolean(neither), undefined, neither)
  })

  it('takes a value as asked and as read for the same, and two different numbers for different', () => {
    const memory = definition({unit: 'kB', max: '2147483647'})
    fc.assert(
      fc.property(fc.nat(2000), fc.nat(2000), (a, b) => {
        assert.equal(sameValue(memory, `${a}MB`, String(b * 1024)), a === b)
        assert.equal(sameValue(memory, `${a}`, String(b)), a === b)
      }),
      {numRuns: 200},
    )
    assert.ok(sameValue(definition({type: 'bool'}), 'yes', 'on'))
    assert.ok(!sameValue(definition({type: 'bool'}), 'yes', 'off'))
    assert.ok(sameValue(definition({type: 'real'}), '0.1234567', '0.123457'))
    assert.ok(sameValue(definition({type: 'enum', name: 'wal_compression'}), 'on', 'pglz'))
    assert.ok(sameValue(definition({type: 'string', name: 'timezone'}), 'europe/vienna', 'Europe/Vienna'))
    assert.ok(!sameValue(definition({type: 'string', name: 'search_path'}), 'a', 'b'))
  })

  it('names the range with its unit, the units, and the nearest word', () => {
    assert.equal(
      whyNotValid(definition({unit: '8kB', min: '16', max: '1024'}), '1'),
      '1 is out of range: 128kB to 8192kB',
    )
    assert.match(
      String(whyNotValid(definition({unit: 'ms'}), '5sec')),
      /"5sec" is not a whole number with or without a unit \(d, h, min, s, ms, us/,
    )
    assert.match(
      String(whyNotValid(definition({type: 'enum', values: ['serializable', 'read committed']}), 'serialisable')),
      /the nearest is serializable/,
    )
    assert.match(String(whyNotValid(definition({type: 'string'}), 'a\nb')), /one line/)
  })
})

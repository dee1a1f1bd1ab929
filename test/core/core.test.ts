import assert from 'node:assert/strict'
import fc from 'fast-check'
import {DbaasError, errorTable} from '../../src/core/errors.js'
import {isId, makeId} from '../../src/core/ids.js'
import {maxNameLength, suggestName, whyNotAName} from '../../src/core/instance/names.js'
import {resolveSize, sizes} from '../../src/core/instance/sizes.js'
import {editDistance, nearest} from '../../src/core/nearest.js'
import {formatDuration, parseDuration, parseTime} from '../../src/core/time.js'
import {formatBytes, parseBytes} from '../../src/core/units.js'
import {backoffMs} from '../../src/core/workflow/backoff.js'

const codeOf = (work: () => unknown): string => {
  try {
    work()
    return 'fine'
  } catch (error) {
    return error instanceof DbaasError ? error.code : String(error)
  }
}

describe('names', () => {
  it('are lower-case DNS labels of at most 40 characters, and no reserved words', () => {
    for (const good of ['demo', 'a', 'shop-2', 'x'.repeat(maxNameLength)]) assert.equal(whyNotAName(good), undefined, good)
    for (const bad of ['', 'Demo', '1st', 'a_b', 'a-', '-a', 'ä', 'a.b', 'agent', 'postgres', 'ins-1', 'x'.repeat(41)]) assert.ok(whyNotAName(bad), bad)
  })
  it('suggest only valid names', () => {
    fc.assert(fc.property(fc.string({unit: 'binary'}), (text) => {
      const name = suggestName(text)
      if (name !== undefined) assert.equal(whyNotAName(name), undefined)
    }))
    assert.equal(suggestName('My Shop'), 'my-shop')
  })
})

describe('sizes and units', () => {
  it('parse what they format, to the precision shown', () => {
    fc.assert(fc.property(fc.integer({min: 0, max: 2 ** 50}), (bytes) => {
      const back = parseBytes(formatBytes(bytes))
      assert.ok(Math.abs(back - bytes) <= bytes * 0.06)
    }))
    assert.equal(parseBytes('20GB'), 20_000_000_000)
    assert.equal(parseBytes('512MiB'), 512 * 1024 ** 2)
    for (const bad of ['', 'x', '-1GB', '1 parsec', '9999999999TB']) assert.equal(codeOf(() => parseBytes(bad)), 'INVALID_SIZE', bad)
  })
  it('name the nearest size, and the range', () => {
    assert.deepEqual(resolveSize({}), sizes.small)
    assert.equal(resolveSize({size: 'medium', cpu: 1}).name, 'custom')
    assert.throws(() => resolveSize({size: 'smal'}), (e: unknown) => e instanceof DbaasError && e.suggestions[0] === '--size small')
    assert.throws(() => resolveSize({memory_bytes: 1}), (e: unknown) => e instanceof DbaasError && e.message.includes('128 MiB to 4 TiB'))
    assert.equal(codeOf(() => resolveSize({cpu: Number.NaN})), 'INVALID_SIZE')
  })
  it('do not take a property of Object for a size', () => {
    assert.equal(codeOf(() => resolveSize({size: 'constructor'})), 'INVALID_SIZE')
  })
})

describe('times', () => {
  it('parse durations with units, and refuse anything else', () => {
    assert.equal(parseDuration('1h30m'), 5_400_000)
    assert.equal(parseDuration('250ms'), 250)
    for (const bad of ['', '5', 'h', '1x', '1h 30', '-5m']) assert.equal(codeOf(() => parseDuration(bad)), 'INVALID_REQUEST', bad)
  })
  it('parse ISO 8601 and times ago', () => {
    assert.equal(parseTime('-10m', 1_000_000), 400_000)
    assert.equal(parseTime('2026-11-23T17:22:00Z', 0), Date.parse('2026-11-23T17:22:00Z'))
    assert.equal(codeOf(() => parseTime('yesterday', 0)), 'INVALID_REQUEST')
  })
  it('are shown in two units at most', () => {
    assert.deepEqual([450, 1200, 200_000, 7_500_000, 3e8].map(formatDuration), ['450 ms', '1.2 s', '3 m 20 s', '2 h 5 m', '3 d 11 h'])
  })
})

describe('nearest', () => {
  it('finds what was mistyped by one letter, and nothing for something else', () => {
    const words = ['work_mem', 'shared_buffers', 'max_connections']
    assert.equal(nearest('work_men', words), 'work_mem')
    assert.equal(nearest('shraed_buffers', words), 'shared_buffers')
    assert.equal(nearest('zzzzzzzz', words), undefined)
  })
  it('takes the beginning of a word for that word', () => {
    assert.equal(nearest('prot', ['port', 'protect', 'protection']), 'protect')
    assert.equal(nearest('shared', ['shared_buffers', 'share']), 'shared_buffers')
  })
  it('measures a distance: symmetric, zero only for equal words', () => {
    fc.assert(fc.property(fc.string({maxLength: 12}), fc.string({maxLength: 12}), (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a))
      assert.equal(editDistance(a, b) === 0, a === b)
    }))
  })
})

describe('ids', () => {
  it('are of their kind, and sort by time', () => {
    fc.assert(fc.property(fc.integer({min: 0, max: 2 ** 47}), fc.integer({min: 1, max: 2 ** 40}), fc.uint8Array({minLength: 16, maxLength: 16}), (now, later, random) => {
      const a = makeId('instance', now, random)
      assert.ok(isId('instance', a))
      assert.ok(!isId('operation', a))
      assert.ok(a < makeId('instance', now + later, random))
    }))
  })
})

describe('errors', () => {
  it('survive the wire', () => {
    const error = new DbaasError('NAME_IN_USE', 'taken', {details: {name: 'demo'}, suggestions: ['dbaas list']})
    assert.deepEqual(DbaasError.fromDetail(error.toDetail()).toDetail(), error.toDetail())
    assert.equal(DbaasError.fromDetail({code: 'FROM_THE_FUTURE', message: 'x'}).code, 'INTERNAL')
  })
  it('have a status that fits their exit code', () => {
    for (const [code, row] of Object.entries(errorTable)) {
      if (row.exit === 3) assert.equal(row.status, 404, code)
      if (row.exit === 2) assert.ok([400, 405, 413, 415].includes(row.status), code)
      if (row.exit === 5) assert.equal(row.status, 409, code)
    }
  })
})

describe('backoff', () => {
  it('stays between half the base and the cap, and its ceiling grows', () => {
    fc.assert(fc.property(fc.integer({min: 1, max: 1000}), fc.double({min: 0, max: 0.999, noNaN: true}), (attempt, random) => {
      const ms = backoffMs(attempt, random)
      assert.ok(ms >= 50 && ms <= 10_000)
      assert.ok(backoffMs(attempt + 1, 0.999) >= backoffMs(attempt, 0.999))
    }))
  })
})

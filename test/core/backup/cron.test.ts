import assert from 'node:assert/strict'
import fc from 'fast-check'
import {parseCron} from '../../../src/core/backup/cron.js'
import {DbaasError} from '../../../src/core/errors.js'

const at = (text: string): number => Date.parse(`${text}Z`)
const iso = (ms: number): string => new Date(ms).toISOString().slice(0, 16)
const minute = 60_000

describe('cron expressions', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['30 2 * * *', '2026-11-24T02:30', '2026-11-25T02:30'],
    ['30 2 * * *', '2026-11-24T02:29', '2026-11-24T02:30'],
    ['*/15 * * * *', '2026-11-24T23:50', '2026-11-25T00:00'],
    ['0 3 * * sun', '2026-11-24T00:00', '2026-11-29T03:00'],
    ['0 3 * * 7', '2026-11-24T00:00', '2026-11-29T03:00'],
    ['0 0 29 2 *', '2026-11-24T00:00', '2028-02-29T00:00'],
    ['0 12 1-7/2 jan,jul *', '2026-11-24T00:00', '2027-01-01T12:00'],
    // either day field, as in crontab(5)
    ['0 0 13 * fri', '2026-11-24T00:00', '2026-11-27T00:00'],
    ['@weekly', '2026-11-24T00:00', '2026-11-29T00:00'],
    ['@monthly', '2026-11-24T00:00', '2026-12-01T00:00'],
  ]
  for (const [text, from, expected] of cases) it(`${text} after ${from} is ${expected}`, () => assert.equal(iso(parseCron(text).next(at(from))), expected))

  for (const text of ['', '* * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * * 13 *', '* * * * 8', '5-1 * * * *', '*/0 * * * *', 'a * * * *', '@dayly', '0 0 31 2 *', '1- * * * *', '1,,2 * * * *']) {
    it(`refuses "${text}"`, () => assert.throws(() => parseCron(text), (error) => error instanceof DbaasError && error.code === 'INVALID_REQUEST' && error.suggestions.length > 0))
  }
  it('suggests the nearest word', () => assert.throws(() => parseCron('@dayly'), (e) => e instanceof DbaasError && e.suggestions[0] === 'did you mean @daily?'))

  /** The definition, minute by minute. */
  function matches(fields: readonly (readonly number[] | null)[], time: number): boolean {
    const d = new Date(time)
    const [m, h, dom, mon, dow] = fields as [number[] | null, number[] | null, number[] | null, number[] | null, number[] | null]
    const fits = (list: readonly number[] | null, value: number): boolean => list === null || list.includes(value)
    const day = dom !== null && dow !== null ? dom.includes(d.getUTCDate()) || dow.includes(d.getUTCDay()) : fits(dom, d.getUTCDate()) && fits(dow, d.getUTCDay())
    return fits(m, d.getUTCMinutes()) && fits(h, d.getUTCHours()) && fits(mon, d.getUTCMonth() + 1) && day
  }

  it('finds exactly the minutes that match, forwards and backwards', () => {
    const field = (min: number, max: number) => fc.oneof(fc.constant(null), fc.uniqueArray(fc.integer({min, max}), {minLength: 1, maxLength: 3}))
    fc.assert(fc.property(
      fc.tuple(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)), fc.integer({min: 0, max: 3 * 365 * 1440}), fc.integer({min: 0, max: 59_999}),
      (fields, minutes, ms) => {
        const cron = parseCron(fields.map((list) => list?.join(',') ?? '*').join(' '))
        const from = at('2025-01-01T00:00') + minutes * minute + ms
        const next = cron.next(from)
        const previous = cron.previous(from)
        assert.ok(next > from && previous <= from && next % minute === 0 && previous % minute === 0)
        assert.ok(matches(fields, next) && matches(fields, previous))
        // nothing between
        assert.equal(cron.previous(next - 1), previous)
        assert.equal(cron.next(previous), next)
        const between = Array.from({length: 200}, (_, i) => previous + Math.floor(((next - previous) / minute) * (i / 200)) * minute).filter((t) => t > previous)
        assert.ok(between.every((t) => !matches(fields, t)))
      },
    ), {numRuns: 300})
  })
})

import assert from 'node:assert/strict'
import fc from 'fast-check'
import {believe, believedFrom, type BelievedTime} from '../../../src/core/backup/believed-time.js'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const begin = Date.parse('2026-11-24T10:00:00Z')

describe('the time by which backups are old', () => {
  it('is the clock that goes on, however it goes within an hour', () => fc.assert(fc.property(fc.array(fc.integer({min: -hour, max: hour}), {maxLength: 50}), (steps) => {
    let now = begin
    let time: BelievedTime | undefined
    let highest = begin
    for (const step of steps) {
      now += step
      highest = time === undefined ? now : Math.max(highest, now)
      const next = believe(time, now)
      if (now <= (time?.at ?? now) + hour) assert.deepEqual(next, {at: highest, doubtedSince: null, seenAt: now})
      time = next
      highest = time.at
    }
  })))

  it('never goes back, nor on by more than an hour without that the clock was doubted for a tenth of it', () => fc.assert(fc.property(
    fc.array(fc.oneof(fc.integer({min: minute, max: hour}), fc.integer({min: -4000 * day, max: 4000 * day})), {maxLength: 100}), (steps) => {
      let now = begin
      let time = believe(undefined, now)
      for (const step of steps) {
        now += step
        const next = believe(time, now)
        assert.ok(next.at >= time.at)
        if (next.at > time.at + hour) {
          assert.ok(time.doubtedSince !== null && Math.abs(now - time.seenAt) <= hour, 'it was not doubted')
          const jumped = time.doubtedSince - time.at
          assert.ok(now - time.doubtedSince >= Math.min(7 * day, Math.max(hour, jumped / 10)))
        }
        time = next
      }
    }), {numRuns: 1000}))

  it('is believed an hour after a night, two days after three weeks, a week after years; at once when it is set right', () => {
    for (const [jump, wait] of [[8 * hour, hour], [20 * day, 2 * day], [3650 * day, 7 * day]] as const) {
      let time = believe(believe(undefined, begin), begin + jump)
      assert.deepEqual([time.at, believedFrom(time)], [begin, begin + jump + wait])
      for (let now = begin + jump; now < begin + jump + wait; now += 30 * minute) assert.equal((time = believe(time, now)).at, begin)
      assert.deepEqual(believe(time, begin + jump + wait), {at: begin + jump + wait, doubtedSince: null, seenAt: begin + jump + wait})
    }
    const ahead = believe(believe(undefined, begin), begin + 3650 * day)
    assert.deepEqual(believe(ahead, begin - minute), {at: begin, doubtedSince: null, seenAt: begin - minute})
    assert.equal(believedFrom(believe(ahead, begin + 10 * minute)), null)
  })
})

import assert from 'node:assert/strict'
import fc from 'fast-check'
import {parseCron} from '../../../src/core/backup/cron.js'
import {decideBackup, defaultPolicy, jitterOf, nextBackupAt, type ScheduleView} from '../../../src/core/backup/schedule.js'

const minute = 60_000
const hour = 60 * minute
const begin = Date.parse('2026-11-24T10:00:00Z')
const policy = {...defaultPolicy, enabled: true, enabledAt: begin, servedAt: begin}
const view = (patch: Partial<ScheduleView> = {}): ScheduleView =>
  ({policy, instanceId: 'ins_a', protected: true, gap: false, busy: false, failures: {count: 0, lastAt: 0}, ...patch})

describe('the schedule of backups', () => {
  it('asks for the first one at once, and for one after a gap', () => {
    const first = decideBackup(view({protected: false}), begin)
    assert.ok(first.kind === 'take' && first.trigger === 'first' && first.serves === null)
    const gap = decideBackup(view({gap: true}), begin)
    assert.ok(gap.kind === 'take' && gap.trigger === 'gap')
  })
  it('asks for nothing when it is off, or one is being taken', () => {
    assert.equal(decideBackup(view({policy: {...policy, enabled: false}, protected: false}), begin).kind, 'rest')
    assert.equal(decideBackup(view({busy: true, protected: false}), begin).kind, 'rest')
  })
  it('tries again later and later after a failure', () => {
    const after = (count: number) => decideBackup(view({protected: false, failures: {count, lastAt: begin}}), begin + 1)
    const waits = [1, 2, 3, 20].map((count) => { const d = after(count); return d.kind === 'rest' ? (d.until as number) - begin : 0 })
    assert.deepEqual(waits, [minute, 2 * minute, 4 * minute, hour])
    assert.equal(decideBackup(view({protected: false, failures: {count: 1, lastAt: begin}}), begin + minute).kind, 'take')
  })
  it('spreads instances evenly over the jitter, always in the same way', () => {
    const all = Array.from({length: 2000}, (_, i) => jitterOf(`ins_${i}`, hour))
    assert.ok(all.every((ms) => ms >= 0 && ms < hour))
    assert.equal(jitterOf('ins_7', hour), all[7])
    const quarters = [0, 1, 2, 3].map((q) => all.filter((ms) => Math.floor(ms / (hour / 4)) === q).length)
    assert.ok(Math.min(...quarters) > 400, quarters.join(' '))
  })

  // Feature: enterprise-dbaas-platform, Property 10: Automated Backup Creation
  it('serves every time of a schedule once, within its jitter, and catches up once what was missed while nobody was there', () => {
    const crons = fc.constantFrom('0 2 * * *', '*/20 * * * *', '30 */6 * * *', '15 3 * * mon,thu', '0 0 1 * *', '@hourly')
    // stretches in which the agent runs, and in which it does not; minutes
    const stretches = fc.array(fc.record({up: fc.integer({min: 1, max: 3000}), down: fc.integer({min: 0, max: 9000})}), {minLength: 1, maxLength: 8})
    fc.assert(fc.property(crons, stretches, fc.integer({min: 0, max: 59}), fc.string(), (text, runs, jitterMinutes, id) => {
      const cron = parseCron(text)
      const jitterMs = jitterMinutes * minute
      const jitter = jitterOf(id, jitterMs)
      let servedAt = begin
      let now = begin
      const taken: {at: number; serves: number}[] = []
      const ups: [number, number][] = []
      for (const {up, down} of runs) {
        const until = now + up * minute
        ups.push([now, until])
        for (; now < until; ) {
          const decision = decideBackup(view({policy: {...policy, cron: text, jitterMs, servedAt}, instanceId: id}), now)
          if (decision.kind === 'take') {
            assert.equal(decision.trigger, 'schedule')
            taken.push({at: now, serves: decision.serves as number})
            servedAt = decision.serves as number
            continue
          }
          // a loop that sleeps until it is told wakes in time
          assert.ok(decision.until !== null && decision.until > now)
          now = Math.min(until, decision.until)
        }
        now = until + down * minute
      }
      assert.deepEqual(taken.map(({serves}) => serves), [...new Set(taken.map(({serves}) => serves))], 'no time is served twice')
      for (const {at, serves} of taken) {
        assert.ok(serves > begin && cron.previous(serves) === serves && at >= serves + jitter)
        const [from] = ups.find(([a, b]) => a <= at && at < b) as [number, number]
        // on time when the agent was there, else at once when it came back
        assert.equal(at, Math.max(serves + jitter, from))
      }
      // whatever came due while it ran is served
      for (const [from, to] of ups) {
        for (let due = cron.next(Math.max(begin, from - jitter)); due + jitter < to; due = cron.next(due)) assert.ok(taken.some(({serves}) => serves === due), `${due} was missed`)
      }
      assert.ok(nextBackupAt({cron: text, jitterMs, servedAt}, id, now) >= servedAt)
    }), {numRuns: 200})
  })
})

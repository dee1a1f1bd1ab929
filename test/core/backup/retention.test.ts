import assert from 'node:assert/strict'
import fc from 'fast-check'
import {isLogNeeded, planRetention, type LogPoint, type RetainedBackup, type RetentionPolicy} from '../../../src/core/backup/retention.js'

const hour = 3_600_000
const day = 24 * hour
const minute = 60_000
const segmentMs = 2 * hour
/** The segment that is written at a moment: one each two hours; after `switchAt` on another timeline. */
const segmentAt = (time: number, switchAt = Number.POSITIVE_INFINITY): LogPoint =>
  ({timeline: time < switchAt ? '00000001' : '00000002', segment: String(Math.floor(time / segmentMs)).padStart(12, '0')})

const backup = (id: string, completedAt: number, kind: RetainedBackup['kind'] = {name: 'scheduled'}, usable = true): RetainedBackup =>
  ({id, completedAt, kind, usable, logFrom: segmentAt(completedAt - hour), logTo: segmentAt(completedAt)})

interface Taken {
  readonly every: number
  readonly labelled: boolean
  readonly keepMs: number | null
  readonly tookMs: number
  readonly damagedAfterMs: number | null
}
const taken: fc.Arbitrary<Taken> = fc.record({
  // between a backup and the next: minutes to days, missed ones included
  every: fc.integer({min: 10, max: 4 * 24 * 60}).map((minutes) => minutes * minute),
  labelled: fc.integer({min: 0, max: 4}).map((n) => n === 0),
  keepMs: fc.oneof({weight: 5, arbitrary: fc.integer({min: 1, max: 20 * 24 * 60}).map((minutes) => minutes * minute)}, {weight: 1, arbitrary: fc.constant(null)}),
  tookMs: fc.integer({min: 1, max: 600}).map((minutes) => minutes * minute),
  damagedAfterMs: fc.oneof({weight: 9, arbitrary: fc.constant(null)}, {weight: 1, arbitrary: fc.integer({min: 0, max: 3 * 24 * 60}).map((minutes) => minutes * minute)}),
})
const policies: fc.Arbitrary<RetentionPolicy> = fc.oneof(
  fc.record({windowMs: fc.integer({min: 1, max: 14 * 24}).map((hours) => hours * hour), keepLast: fc.constant(null)}),
  fc.record({windowMs: fc.constant(null), keepLast: fc.integer({min: 1, max: 6})}),
  fc.record({windowMs: fc.integer({min: 1, max: 14 * 24}).map((hours) => hours * hour), keepLast: fc.integer({min: 1, max: 6})}),
)

describe('retention', () => {
  // Feature: enterprise-dbaas-platform, Property 12: Backup Retention Compliance
  it('keeps each backup exactly as long as it was asked, and the log exactly as long as a backup needs it', () => {
    fc.assert(fc.property(fc.array(taken, {minLength: 1, maxLength: 15}), policies, fc.integer({min: 1, max: 59}), (takings, policy, offset) => {
      let now = 400 * day
      const switchAt = now + 5 * day
      const all: (RetainedBackup & {readonly damagedAt: number | null; readonly startedAt: number})[] = []
      let at = now
      for (const [i, {every, labelled, keepMs, tookMs, damagedAfterMs}] of takings.entries()) {
        at += every
        const completedAt = at + tookMs
        all.push({
          id: `b${i}`, startedAt: at, completedAt, kind: labelled ? {name: 'labelled', keepMs} : {name: 'scheduled'}, usable: true,
          logFrom: segmentAt(at, switchAt), logTo: segmentAt(completedAt, switchAt), damagedAt: damagedAfterMs === null ? null : completedAt + damagedAfterMs,
        })
        at = completedAt
      }
      const end = at + 25 * day
      const gone = new Map<string, number>()
      const segments = new Set<string>()
      let next = Math.floor(now / segmentMs)
      const key = ({timeline, segment}: LogPoint) => `${timeline}/${segment}`
      const point = (text: string): LogPoint => ({timeline: text.split('/')[0] as string, segment: text.split('/')[1] as string})
      // A loop that looks once a minute, at any second of it; what is not due for long is skipped.
      now += offset * 1000
      while (now < end) {
        const present = all.filter(({id, completedAt}) => completedAt <= now && !gone.has(id)).map((b) => ({...b, usable: b.damagedAt === null || b.damagedAt > now}))
        const running = all.find(({startedAt, completedAt}) => startedAt <= now && completedAt > now)
        for (; (next + 1) * segmentMs <= now; next++) segments.add(key(segmentAt(next * segmentMs, switchAt)))
        const plan = planRetention(present, policy, now, running?.logFrom ?? null)
        for (const {id, action} of plan.verdicts) if (action === 'delete') gone.set(id, now)
        const left = present.filter(({id}) => !gone.has(id))
        for (const text of [...segments]) if (!isLogNeeded(plan, point(text))) segments.delete(text)

        // Everything that a backup which stays needs is there, from its beginning on.
        const scheduled = left.filter(({kind}) => kind.name === 'scheduled')
        for (const {logFrom, logTo, kind} of left) {
          for (let t = now - 40 * day; t < now - segmentMs; t += segmentMs * 5) {
            const s = segmentAt(t, switchAt)
            if (t < 400 * day || key(s) < key(logFrom) || (kind.name === 'labelled' && key(s) > key(logTo))) continue
            assert.ok(segments.has(key(s)), `the segment ${key(s)} is needed and gone`)
          }
        }
        // And nothing else: every segment that is there is needed by one of them.
        const oldest = [...(scheduled.length > 0 ? scheduled : left.slice(-1)).map(({logFrom}) => key(logFrom)), ...(running ? [key(running.logFrom)] : [])].sort()[0]
        for (const text of segments) {
          const inLabelled = left.some(({kind, logFrom, logTo}) => kind.name === 'labelled' && key(logFrom) <= text && text <= key(logTo))
          assert.ok(inLabelled || (oldest !== undefined && text >= oldest), `the segment ${text} is not needed any more`)
        }
        // The window: any moment of it has a sound backup before it, if one was ever made before it.
        if (policy.windowMs !== null && all.every(({damagedAt}) => damagedAt === null)) {
          const from = now - policy.windowMs
          const wasCovered = all.some((b) => b.kind.name === 'scheduled' && b.completedAt <= from)
          if (wasCovered) assert.ok(left.some((b) => b.kind.name === 'scheduled' && b.completedAt <= from), 'the window is not covered')
        }
        const due = plan.nextAt ?? Number.POSITIVE_INFINITY
        const event = Math.min(...all.flatMap((b) => [b.startedAt, b.completedAt, b.damagedAt ?? 0]).filter((t) => t > now), due > now ? due : Number.POSITIVE_INFINITY, now + 12 * hour)
        now += Math.max(1, Math.ceil((event - now) / minute)) * minute
      }
      // Exactly the time asked: gone within a minute after it, never before it.
      for (const b of all) {
        const exact = exactly(b, all, policy)
        const at = gone.get(b.id)
        if (exact === null || exact >= end - minute) assert.ok(at === undefined || at >= (exact ?? Number.POSITIVE_INFINITY), `${b.id} went at ${at}`)
        else assert.ok(at !== undefined && at >= exact && at <= exact + minute, `${b.id} was due at ${exact} and went at ${at}`)
      }
    }), {numRuns: 200})
  }).timeout(60_000)

  /** The rule, written down another way: by looking at all that ever happened. Null: never. */
  function exactly(b: RetainedBackup, all: readonly (RetainedBackup & {readonly damagedAt: number | null})[], {windowMs, keepLast}: RetentionPolicy): number | null {
    if (b.kind.name === 'labelled') return b.kind.keepMs === null ? null : b.completedAt + b.kind.keepMs
    const newer = all.filter((other) => other.kind.name === 'scheduled' && other.completedAt > b.completedAt)
    // moments at which something changes
    const moments = newer.flatMap((other) => [other.completedAt, ...(windowMs === null ? [] : [other.completedAt + windowMs])]).sort((x, y) => x - y)
    for (const t of moments) {
      const sound = newer.filter((other) => other.completedAt <= t && (other.damagedAt === null || other.damagedAt > t))
      const windowDone = windowMs === null || sound.some((other, i) => i === 0 && other.completedAt + windowMs <= t)
      const lastDone = keepLast === null || sound.length >= keepLast
      if (windowDone && lastDone) return t
    }
    return null
  }

  it('waits for a successor that is sound', () => {
    const policy = {windowMs: 7 * day, keepLast: null}
    const [one, two, three] = [backup('one', 100 * day), backup('two', 101 * day, {name: 'scheduled'}, false), backup('three', 102 * day)]
    assert.deepEqual(planRetention([one, two, three], policy, 108.5 * day).verdicts.map(({action}) => action), ['keep', 'keep', 'keep'])
    const plan = planRetention([one, two, three], policy, 109 * day)
    assert.deepEqual(plan.verdicts.map(({action}) => action), ['delete', 'delete', 'keep'])
    assert.match(plan.verdicts[0]?.because ?? '', /until the next one, three, is 7 d 0 h old/)
    assert.equal(plan.nextAt, null)
  })

  it('says why, and when the next one goes', () => {
    const plan = planRetention([backup('one', 100 * day), backup('two', 101 * day), backup('l', 101 * day, {name: 'labelled', keepMs: 30 * day})], {windowMs: day, keepLast: 2}, 101.5 * day)
    assert.deepEqual(plan.verdicts.map(({expiresAt}) => expiresAt), [null, null, 131 * day])
    assert.match(plan.verdicts[0]?.because ?? '', /one of the last 2/)
    assert.equal(plan.nextAt, 131 * day)
    const forever = planRetention([backup('one', 100 * day), backup('l', 100 * day, {name: 'labelled', keepMs: null})], {windowMs: null, keepLast: null}, 10_000 * day)
    assert.deepEqual(forever.verdicts.map(({action, expiresAt}) => [action, expiresAt]), [['keep', null], ['keep', null]])
  })
})

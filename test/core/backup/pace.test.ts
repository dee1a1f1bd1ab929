import assert from 'node:assert/strict'
import fc from 'fast-check'
import {adaptPace, beginPace, type Pace} from '../../../src/core/backup/pace.js'

const MiB = 1024 ** 2
const rate = ({bytesPerSecond}: Pace): number => bytesPerSecond ?? Number.POSITIVE_INFINITY

describe('the pace of a backup', () => {
  // Feature: enterprise-dbaas-platform, Property 11: Backup Operation Isolation
  it('settles where the latency of clients is at most half as much again, and uses what room there is', () => {
    // a server whose latency grows with how much of its disk the backup takes
    fc.assert(fc.property(fc.integer({min: 2, max: 50}), fc.integer({min: 30, max: 2000}), fc.array(fc.double({min: 0.8, max: 1.2, noNaN: true}), {minLength: 400, maxLength: 400}), (usual, disk, noise) => {
      const latency = (pace: Pace, factor: number) => usual * factor / Math.max(0.02, 1 - Math.min(0.98, rate(pace) / MiB / disk))
      let pace = beginPace(Array.from({length: 8}, (_, i) => usual * (noise[i] as number)))
      const seen: {rate: number; ms: number}[] = []
      for (const factor of noise) {
        const ms = latency(pace, factor)
        seen.push({rate: rate(pace), ms})
        pace = adaptPace(pace, ms, Math.min(rate(pace), disk * MiB))
      }
      const settled = seen.slice(200)
      const median = settled.map(({ms}) => ms).sort((a, b) => a - b)[100] as number
      const atFloor = settled.every(({rate: r}) => r === 8 * MiB)
      // what is usual is itself known only by probes
      assert.ok(median <= Math.max(usual, pace.usualMs) * 1.5 + 3 || atFloor, `${usual} ms became ${median}`)
      assert.ok(settled.some(({rate: r}) => r > 8 * MiB) || disk < 60, 'it does not crawl where there is room')
    }), {numRuns: 200})
  })
  it('does not grow while nothing comes, and falls at once below what is used', () => {
    let pace = beginPace([5, 5, 5])
    for (let i = 0; i < 100; i++) pace = adaptPace(pace, 5, 0)
    assert.equal(pace.bytesPerSecond, 16 * MiB)
    pace = {...pace, bytesPerSecond: null}
    pace = adaptPace(adaptPace(pace, 50, 100 * MiB), 50, 100 * MiB)
    assert.equal(pace.bytesPerSecond, 50 * MiB)
  })
  it('halves after two slow answers, or one that did not come, and never stands still', () => {
    let pace = beginPace([5, 5, 5])
    pace = adaptPace(pace, 50, rate(pace))
    assert.equal(pace.bytesPerSecond, 16 * MiB)
    pace = adaptPace(pace, 5, Math.min(1024 * MiB, rate(pace)))
    for (let i = 0; i < 40; i++) pace = adaptPace(pace, 5, Math.min(1024 * MiB, rate(pace)))
    const fast = pace.bytesPerSecond as number
    assert.ok(fast > 64 * MiB)
    pace = adaptPace(adaptPace(pace, 50, rate(pace)), 50, rate(pace))
    assert.equal(pace.bytesPerSecond, Math.floor(fast / 2))
    pace = adaptPace(pace, null, rate(pace))
    assert.equal(pace.bytesPerSecond, Math.floor(Math.floor(fast / 2) / 2))
    for (let i = 0; i < 20; i++) pace = adaptPace(pace, null, rate(pace))
    assert.equal(pace.bytesPerSecond, 8 * MiB)
    for (let i = 0; i < 400; i++) pace = adaptPace(pace, 5, Math.min(1024 * MiB, rate(pace)))
    assert.equal(pace.bytesPerSecond, null)
  })
})

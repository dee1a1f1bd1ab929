import assert from 'node:assert/strict'
import fc from 'fast-check'
import {judgeRehearsal, type Acknowledgement} from '../../../src/core/ha/rehearsal.js'

const at = (row: number, time: number, server = 'a'): Acknowledgement => ({row, at: time, server})
const acknowledged = [at(1, 10), at(2, 20), at(3, 31), at(4, 330, 'b'), at(5, 340, 'b')]
const whole = {acknowledged, surviving: [1, 2, 3, 4, 5], struckAt: 30}

describe('the verdict of a rehearsed failover', () => {
  it('measures from the fault, and from the last row before it, to the first of another server', () => {
    const verdict = judgeRehearsal(whole)
    assert.equal(verdict.timeToFirstWriteMs, 300)
    assert.equal(verdict.writeGapMs, 299, 'the struck server acknowledged one row more while it was being struck')
    assert.deepEqual([verdict.acknowledged, verdict.lost, verdict.doubled, verdict.divided, verdict.lostMs], [5, [], [], 0, 0])
  })

  it('finds a row that was acknowledged and is gone, and says since when rows are', () => {
    const verdict = judgeRehearsal({...whole, surviving: [1, 3, 4, 5]})
    assert.deepEqual(verdict.lost, [2])
    assert.equal(verdict.lostMs, 10)
  })

  it('finds a row that is there twice, and minds none that is there without having been acknowledged', () => {
    assert.deepEqual(judgeRehearsal({...whole, surviving: [1, 2, 3, 4, 5, 4]}).doubled, [4])
    assert.deepEqual(judgeRehearsal({...whole, surviving: [1, 2, 3, 4, 5, 6]}).doubled, [])
  })

  it('finds two primaries that acknowledged at the same time', () => {
    assert.equal(judgeRehearsal({...whole, acknowledged: [...acknowledged, at(6, 335, 'a')], surviving: [1, 2, 3, 4, 5, 6]}).divided, 1)
  })

  it('has no time to the first write while nobody else has acknowledged one', () => {
    const verdict = judgeRehearsal({...whole, acknowledged: acknowledged.slice(0, 3)})
    assert.deepEqual([verdict.timeToFirstWriteMs, verdict.writeGapMs], [null, null])
  })

  it('loses exactly what is missing, whatever the order', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.nat(200), {minLength: 1}), fc.infiniteStream(fc.boolean()), fc.nat(1000), (rows, kept, struckAt) => {
      const survives = rows.filter(() => kept.next().value === true)
      const {lost, doubled} = judgeRehearsal({acknowledged: rows.map((row, i) => at(row, (i * 37) % 1000)), surviving: survives, struckAt})
      assert.deepEqual([...lost].sort(), rows.filter((row) => !survives.includes(row)).sort())
      assert.deepEqual(doubled, [])
    }))
  })
})

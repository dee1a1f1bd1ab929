/** The judge of the fault suite itself: it finds what is lost, doubled, or acknowledged by two primaries at a time, and nothing else. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import {judge, type Acknowledged} from '../support/ha-judge.js'

/** Primaries one after the other, each with a timeline of its own, and what each acknowledged. */
const histories = fc.array(fc.record({rows: fc.integer({min: 1, max: 6}), server: fc.constantFrom('a', 'b', 'c')}), {minLength: 1, maxLength: 5}).map((reigns) =>
  reigns.flatMap(({rows, server}, reign) => Array.from({length: rows}, () => ({server, timeline: reign + 1}))).map((write, n): Acknowledged => ({...write, id: String(n), at: n})))

describe('the judge of acknowledged writes', () => {
  it('finds nothing where every row is there once, and primaries follow each other', () => {
    fc.assert(fc.property(histories, fc.array(fc.string()), (writes, unacknowledged) => {
      const others = new Set(unacknowledged.map((id) => `-${id}`))
      assert.deepEqual(judge(writes, [...writes.map(({id}) => id), ...others]), {acknowledged: writes.length, lost: [], doubled: [], divided: []})
    }), {numRuns: 200})
  })

  it('finds every row that is not there, and every one that is there twice', () => {
    fc.assert(fc.property(histories, fc.infiniteStream(fc.constantFrom(0, 1, 1, 2)), (writes, draws) => {
      const times = writes.map(() => draws.next().value as number)
      const found = judge(writes, writes.flatMap(({id}, i) => Array.from({length: times[i] as number}, () => id)))
      assert.deepEqual(found.lost, writes.filter((_, i) => times[i] === 0).map(({id}) => id))
      assert.deepEqual(found.doubled, writes.filter((_, i) => times[i] === 2).map(({id}) => id))
    }), {numRuns: 200})
  })

  it('finds each write that an old primary acknowledged beside a new one', () => {
    fc.assert(fc.property(histories, fc.nat(), (writes, draw) => {
      const last = writes.at(-1) as Acknowledged
      fc.pre(last.timeline > 1)
      const late = {...last, id: 'late', at: last.at + 1, timeline: 1 + (draw % (last.timeline - 1))}
      assert.deepEqual(judge([late, ...writes], []).divided, ['late'])
    }), {numRuns: 200})
  })

  it('finds two servers on one timeline', () => {
    const write = {id: '1', at: 1, server: 'a', timeline: 2}
    assert.deepEqual(judge([write, {...write, id: '2', at: 2, server: 'b'}], ['1', '2']).divided, ['2'])
  })
})

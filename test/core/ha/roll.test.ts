import assert from 'node:assert/strict'
import fc from 'fast-check'
import {nextMove, plannedMoves, type RollMove, type RollNode, type RollView} from '../../../src/core/ha/roll.js'

const node = (id: string, changes: Partial<RollNode> = {}): RollNode => ({id, isPrimary: id === 'a', isVoter: id !== 'a', state: 'pending', ...changes})
const three = [node('a'), node('b'), node('c')]
const same = {raises: false, lowers: false}
const told = (moves: readonly RollMove[]): string[] => moves.map((move) => (move.kind === 'renew' ? move.node : move.kind === 'hand-over' ? `to ${move.to}` : move.kind))
const planned = (nodes: readonly RollNode[], order: RollView['order']): string[] => told(plannedMoves({nodes, order}))

describe('the order in which servers are started anew', () => {
  it('is replicas, then a switchover, which starts the old primary as well', () => assert.deepEqual(planned(three, same), ['b', 'c', 'to b']))
  it('is the same where standbys need more', () => assert.deepEqual(planned(three, {raises: true, lowers: false}), ['b', 'c', 'to b']))
  it('is the primary first, where it is, and its replicas after it, where standbys may have less', () => assert.deepEqual(planned(three, {raises: false, lowers: true}), ['in-place', 'b', 'c']))
  it('takes replicas twice where one setting is raised and another lowered', () => assert.deepEqual(planned(three, {raises: true, lowers: true}), ['b', 'c', 'in-place', 'b', 'c']))
  it('begins with those that only read', () => assert.deepEqual(planned([...three, node('d', {isVoter: false})], same), ['d', 'b', 'c', 'to b']))
  it('leaves the primary where it is when nobody may take over', () => assert.deepEqual(planned([node('a'), node('b', {isVoter: false})], same), ['b', 'in-place']))
  it('waits while something else is going on', () => assert.deepEqual(nextMove({nodes: three, order: same, unrest: 'b is away'}), {kind: 'wait', because: 'b is away'}))
  it('goes on from where a failover has led: the old primary is just another replica', () =>
    assert.deepEqual(planned([node('a', {isPrimary: false, isVoter: true}), node('b', {isPrimary: true, isVoter: false, state: 'done'}), node('c')], same), ['a', 'c']))
  it('starts a primary again that was promoted with more than wanted', () =>
    assert.deepEqual(planned([node('a', {isPrimary: false, isVoter: true, state: 'done'}), node('b', {isPrimary: true, isVoter: false, state: 'raised'}), node('c', {state: 'raised'})], same), ['in-place', 'c']))

  it('comes to its end from wherever it is, whatever is promoted meanwhile, and hands over only to one that was started anew', () => {
    const states = fc.constantFrom<RollNode['state']>('pending', 'raised', 'done')
    const clusters = fc.record({states: fc.array(states, {minLength: 1, maxLength: 5}), raises: fc.boolean(), lowers: fc.boolean(), voters: fc.nat(4), failovers: fc.array(fc.tuple(fc.nat(10), fc.nat(4)), {maxLength: 3})})
    fc.assert(fc.property(clusters, ({states: drawn, raises, lowers, voters, failovers}) => {
      let nodes = drawn.map((state, i) => node('abcde'[i] as string, {state, isVoter: i > 0 && i <= voters}))
      let order = {raises, lowers}
      const promote = (id: string): void => void (nodes = nodes.map((each) => ({...each, isPrimary: each.id === id, isVoter: each.id !== id && (each.isVoter || each.isPrimary)})))
      for (let round = 0; ; round++) {
        assert.ok(round < 40, 'it does not end')
        const failover = failovers.find(([at]) => at === round)
        const heirs = nodes.filter(({isVoter}) => isVoter)
        if (failover && heirs.length > 0) promote((heirs[failover[1] % heirs.length] as RollNode).id)
        const move = nextMove({nodes, order, unrest: null})
        if (move.kind === 'done') break
        assert.notEqual(move.kind, 'wait')
        const primary = nodes.find(({isPrimary}) => isPrimary) as RollNode
        const become = (id: string, state: RollNode['state']): void => void (nodes = nodes.map((each) => (each.id === id ? {...each, state} : each)))
        if (move.kind === 'renew') {
          assert.notEqual(move.node, primary.id)
          become(move.node, primary.state === 'done' ? 'done' : order.lowers ? 'raised' : 'done')
        } else if (move.kind === 'hand-over') {
          assert.ok(!order.lowers, 'a standby cannot have less')
          assert.equal(nodes.find(({id}) => id === move.to)?.state, 'done')
          assert.ok(nodes.every(({state, isPrimary}) => isPrimary || state !== 'pending'), 'a replica has less than its next primary')
          become(primary.id, 'done')
          promote(move.to)
        } else if (move.kind === 'in-place') {
          if (order.raises) assert.ok(nodes.every(({state, isPrimary}) => isPrimary || state !== 'pending'), 'a replica has less than its primary')
          become(primary.id, 'done')
          order = same
        }
      }
      assert.ok(nodes.every(({state}) => state === 'done'))
    }))
  })
})

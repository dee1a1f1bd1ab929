import assert from 'node:assert/strict'
import {whyNot} from '../../../src/core/ha/decide.js'
import {elect} from '../../../src/core/ha/elect.js'
import {isOnLine, sharedPosition, type Line} from '../../../src/core/ha/line.js'
import {beginOperation} from '../../../src/core/ha/operation.js'
import {decodeState, encodeState, wantedOf} from '../../../src/core/ha/state.js'
import {World, type Happening} from './world.js'

const healthy = (nodes = 3, wanted = wantedOf(nodes - 1)): World => {
  const world = new World({nodes, wanted, strict: true})
  world.settle()
  return world
}
const led = (world: World, ...happenings: readonly Happening[]): World => {
  for (const happening of happenings) world.happen(happening)
  return world
}

describe('the decisions of high availability', () => {
  it('make a new cluster one in which one of two voters confirms', () => {
    const {state} = healthy()
    assert.deepEqual([state.primary, state.k, state.voters], ['a', 1, ['b', 'c']])
  })

  it('make the one replica of two nodes confirm every commit', () => assert.deepEqual([healthy(2).state.k, healthy(2).state.voters], [1, ['b']]))

  it('replace a killed primary by a voter, and make it a voter in its turn', () => {
    const world = led(healthy(), ['commit', 0, 0], ['kill', 0, 0])
    world.settle()
    assert.deepEqual([world.state.primary, world.gate, world.state.voters], ['b', 'b', ['a', 'c']])
  })

  it('choose nobody when the primary and a voter are lost, and say who is missing', () => {
    const world = led(healthy(), ['kill', 0, 0], ['work', 0, 0], ['cut', 0, 0], ['cut', 1, 0], ['work', 0, 3])
    assert.equal(world.gate, null)
    assert.match(world.because, /^NO QUORUM: 1 of the 2 voters that are needed answer: b does not answer, a does not answer$/)
    world.settle()
    assert.equal(world.gate, world.state.primary)
  })

  it('take what is there when the loss of writes is allowed, and promise nothing until voters hold it', () => {
    const world = led(healthy(), ['kill', 0, 0], ['work', 0, 0], ['cut', 0, 0], ['cut', 1, 0], ['work', 0, 3])
    const request = {kind: 'failover', preferred: 'c', allowDataLoss: true} as const
    assert.match(whyNot(world.state, world.observe(), {kind: 'failover'}) ?? '', /^a failover is under way/)
    assert.equal(whyNot(world.state, world.observe(), request), null)
    world.acknowledged.clear()
    world.state = beginOperation(world.state, {...request, because: 'somebody allowed it'}, world.now)
    led(world, ['work', 0, 3], ['work', 0, 3])
    assert.deepEqual([world.gate, world.state.primary, world.state.k, world.state.voters], ['c', 'c', 0, []])
    world.settle()
    assert.deepEqual([world.state.primary, world.state.k, world.state.voters], ['c', 1, ['a', 'b']])
  })

  it('give up a failover whose primary answers again before it was fenced', () => {
    const world = led(healthy(), ['deafen', 0, 0], ['panic', 0, 0], ['work', 0, 0], ['panic', 0, 0], ['deafen', 0, 0], ['work', 0, 3])
    assert.deepEqual([world.state.primary, world.gate, world.state.operation, world.state.highestTimeline], ['a', 'a', null, 1])
  })

  it('switch to the voter that was asked for, without that anything is made anew', () => {
    const world = healthy()
    assert.equal(whyNot(world.state, world.observe(), {kind: 'switchover', preferred: 'c'}), null)
    world.state = beginOperation(world.state, {kind: 'switchover', preferred: 'c', because: 'somebody asked for it'}, world.now)
    world.settle()
    assert.deepEqual([world.state.primary, world.servers.get('a')!.stamp, world.state.voters], ['c', null, ['a', 'b']])
  })

  it('start the primary where it is when a change asks for it, and ask no voter', () => {
    const world = healthy()
    world.state = beginOperation(world.state, {kind: 'switchover', preferred: 'a', forced: true, because: 'it shall have less'}, world.now)
    led(world, ['work', 0, 3], ['work', 0, 3])
    assert.deepEqual([world.servers.get('b')!.follows, world.servers.get('c')!.follows], ['a', 'a'])
    world.settle()
    assert.deepEqual([world.state.primary, world.gate, world.state.highestTimeline, world.state.voters], ['a', 'a', 2, ['b', 'c']])
  })

  it('let a voter take over from one that was to be started where it is, and is out of reach', () => {
    const world = healthy()
    world.state = beginOperation(world.state, {kind: 'switchover', preferred: 'a', forced: true, because: 'it shall have less'}, world.now)
    led(world, ['work', 0, 0], ['kill', 0, 0], ['cut', 0, 0], ['work', 0, 3], ['work', 0, 3], ['work', 0, 3])
    assert.deepEqual([world.state.primary, world.gate], ['b', 'b'])
  })

  it('refuse as a target who is none, with the reason', () => {
    const world = healthy(4)
    const refusal = (preferred: string, force = false): string | null => whyNot(world.state, world.observe(), {kind: 'switchover', preferred}, force)
    assert.equal(refusal('a'), 'a is the primary')
    assert.equal(refusal('e'), 'there is no node e')
    assert.equal(refusal('d'), 'd is not a voter: it may lack acknowledged writes')
    led(world, ['unlink', 0, 1])
    assert.equal(refusal('b'), 'b does not stream from a')
    assert.equal(refusal('b', true), null)
    assert.equal(refusal('d', true), 'd is not a voter: it may lack acknowledged writes')
  })

  it('hear nobody of another database', () => {
    const {state, observe} = {state: healthy().state, observe: healthy().observe()}
    const nodes = Object.fromEntries(Object.entries(observe.nodes).map(([id, node]) => [id, {...node, server: node.server && {...node.server, systemId: 'other', inRecovery: true, revoked: true}}]))
    const election = elect(state, nodes)
    assert.equal(election.chosen, null)
    assert.match(election.because, /b holds another database, c holds another database/)
  })

  it('are the same after the state was stored and read', () => {
    const {state} = led(healthy(), ['commit', 0, 0], ['kill', 0, 0], ['work', 0, 3], ['work', 0, 3])
    assert.deepEqual(decodeState(JSON.parse(JSON.stringify(encodeState(state)))), state)
  })
})

describe('the line of a log', () => {
  const line = (...ends: (readonly [number, bigint | null])[]): Line => ends.map(([timeline, until]) => ({timeline, until}))
  const recorded = line([1, 100n], [2, 200n], [3, null])

  it('is shared up to where two logs part', () => {
    assert.equal(sharedPosition(recorded, 250n, recorded), 250n)
    assert.equal(sharedPosition(line([1, null]), 80n, recorded), 80n)
    assert.equal(sharedPosition(line([1, null]), 130n, recorded), 100n)
    assert.equal(sharedPosition(line([1, 100n], [2, null]), 230n, recorded), 200n)
    // the same numbers, another history
    assert.equal(sharedPosition(line([1, 90n], [2, null]), 230n, recorded), 90n)
    assert.equal(sharedPosition(line([1, 100n], [3, null]), 120n, recorded), 100n)
  })

  it('lets a log go on that has nothing of its own', () => {
    assert.ok(isOnLine(line([1, null]), 100n, recorded))
    assert.ok(!isOnLine(line([1, null]), 101n, recorded))
  })
})

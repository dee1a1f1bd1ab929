import assert from 'node:assert/strict'
import {hungReaders, readableNodes, readLimits} from '../../../src/core/ha/readers.js'
import {wantedOf, type HaState} from '../../../src/core/ha/state.js'
import type {ClusterView, NodeView, ServerView} from '../../../src/core/ha/view.js'
import {World} from './world.js'

describe('replicas to read from', () => {
  const healthy = (): {state: HaState, view: ClusterView} => {
    const world = new World({nodes: 3, wanted: wantedOf(2), strict: true})
    world.settle()
    return {state: world.state, view: world.observe()}
  }
  const {state, view} = healthy()
  const but = (id: string, change: Partial<NodeView>): ClusterView => ({...view, nodes: {...view.nodes, [id]: {...(view.nodes[id] as NodeView), ...change}}})
  const server = (id: string, change: Partial<ServerView>): Partial<NodeView> => ({server: {...(view.nodes[id]?.server as ServerView), ...change}})
  const at = view.nodes['a']?.server?.position ?? 0n

  it('are all but the primary', () => assert.deepEqual(readableNodes(state, view), ['b', 'c']))

  const unfit: readonly (readonly [title: string, view: ClusterView])[] = [
    ['does not answer', but('b', {server: null})],
    ['does not run', but('b', {process: 'exited'})],
    ['is being made anew', but('b', {busy: true})],
    ['cannot follow the primary', but('b', {cannotFollow: true})],
    ['has left recovery', but('b', server('b', {inRecovery: false}))],
    ['has been without its primary for too long', {...view, streams: {...view.streams, b: {flushed: at, lostMs: readLimits.lostMs}}}],
    ['the primary knows nothing of', {...view, streams: {c: {flushed: at, lostMs: null}}}],
    ['is too far behind', {...but('a', server('a', {position: at + readLimits.behindBytes}))}],
  ]
  for (const [title, seen] of unfit) {
    it(`are none that ${title}`, () => assert.ok(!readableNodes(state, seen).includes('b')))
  }

  it('are those that lost their primary a moment ago, too', () =>
    assert.deepEqual(readableNodes(state, {...view, streams: {...view.streams, b: {flushed: at, lostMs: readLimits.lostMs - 1}}}), ['b', 'c']))

  it('go on while the primary is away: nobody gets any newer', () =>
    assert.deepEqual(readableNodes(state, {...but('a', {process: 'exited', server: null}), streams: {}}), ['b', 'c']))

  it('are not the one that is about to become primary, nor one whose files are not whole', () => {
    const operation = {kind: 'failover', chosen: 'b'} as HaState['operation']
    assert.deepEqual(readableNodes({...state, operation}, view), ['c'])
    const nodes = {...state.nodes, c: {...state.nodes['c'], rejoin: {how: 'rewind', atLeast: 0n, stamp: 1}}} as HaState['nodes']
    assert.deepEqual(readableNodes({...state, nodes}, view), ['b'])
  })

  it('are given up as hung when they run and have not answered for as long as a primary that hangs', () => {
    const hung = (seen: ClusterView, probes = 2, ms = 2000): string[] => hungReaders(state, seen, (id) => (id === 'c' ? undefined : {probes, ms}))
    const silent = but('b', {server: null})
    assert.deepEqual(hung(silent), ['b'])
    assert.deepEqual([hung(silent, 1), hung(silent, 2, 1999)], [[], []])
    assert.deepEqual([hung(but('b', {server: null, busy: true})), hung(but('b', {server: null, process: 'exited'})), hung(but('c', {server: null})), hung(but('a', {server: null}))], [[], [], [], []])
    assert.deepEqual(hung({...silent, diagnosis: {...silent.diagnosis, kind: 'discarded'}}), [])
  })
})

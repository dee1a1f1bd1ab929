import assert from 'node:assert/strict'
import {budgets, diagnose, type Evidence} from '../../../src/core/ha/diagnose.js'

const replica = {answers: true, silentMs: 100, streams: true}
const deserted = {answers: true, silentMs: null, streams: false}
const well: Evidence = {
  state: {primary: 'a', voters: ['b', 'c'], k: 1, wanted: {k: 1, voters: 2}}, process: 'running', failedProbes: 0, failingMs: 0, inRecovery: false, startingMs: null, failedWrites: 0, stalledMs: 0, fullMs: 0, roomy: [],
  failedConnects: 0, unservedMs: 0, replicas: {b: replica, c: replica}, outOfRecovery: ['a'], allExited: false, agentLateMs: 0, softFailoversAgoMs: [],
}
const silent: Evidence = {...well, failedProbes: 3, failingMs: 2500, outOfRecovery: []}
const hung: Evidence = {...silent, replicas: {b: {...deserted, silentMs: 2400}, c: deserted}}

describe('the diagnosis of a primary', () => {
  const cases: readonly (readonly [title: string, evidence: Evidence, kind: string, failover: boolean])[] = [
    ['answers, all voters stream', well, 'healthy', false],
    ['answers, one voter is away', {...well, replicas: {b: replica, c: deserted}}, 'degraded', false],
    ['answers, no voter streams', {...well, replicas: {b: deserted, c: deserted}}, 'blocked', false],
    ['its process is gone', {...well, process: 'exited'}, 'primary-dead', true],
    ['its process is gone, and the agent was late', {...well, process: 'exited', agentLateMs: 5000}, 'primary-dead', true],
    ['its process is gone, for the tenth time', {...well, process: 'exited', softFailoversAgoMs: [1, 2, 3, 4]}, 'primary-dead', true],
    ['nothing runs', {...well, process: 'exited', allExited: true}, 'cold-start', true],
    ['came up as a standby', {...well, inRecovery: true, outOfRecovery: []}, 'cold-start', true],
    ['does not answer once', {...silent, failedProbes: 1, failingMs: 1000}, 'suspect', false],
    ['does not answer, and the agent slept', {...hung, agentLateMs: 300}, 'discarded', false],
    ['does not answer, nor does anybody', {...silent, replicas: {b: {...replica, answers: false}, c: {...replica, answers: false}}}, 'discarded', false],
    ['does not answer, and the replicas hear nothing from it', hung, 'primary-hung', true],
    ['does not answer, and too few voters do for a failover', {...hung, replicas: {b: deserted, c: {...deserted, answers: false}}}, 'no-quorum', false],
    ['does not answer, but streams', silent, 'unreachable-but-streaming', false],
    ['does not answer for long, but streams', {...silent, failingMs: budgets.unreachableMs}, 'unreachable-but-streaming', true],
    ['answers and writes nothing', {...well, failedWrites: 6, stalledMs: 7000}, 'write-stalled', true],
    ['has had no room on its disk for a moment', {...well, fullMs: 3000, roomy: ['b', 'c']}, 'healthy', false],
    ['has no room on its disk, and another has', {...well, fullMs: budgets.stalledMs, roomy: ['c']}, 'write-stalled', true],
    ['has no room on its disk, nor has any voter', {...well, fullMs: 60_000, roomy: ['d']}, 'write-stalled', false],
    ['has no room on its disk, and the voter that has does not answer', {...well, fullMs: 60_000, roomy: ['c'], replicas: {b: replica, c: {...replica, answers: false}}}, 'write-stalled', false],
    ['has no room on its disk, and too few voters answer for a failover', {...well, fullMs: 60_000, roomy: ['b'], replicas: {b: replica, c: {...replica, answers: false}}}, 'no-quorum', false],
    ['has no room on its disk, for the third time in five minutes', {...well, fullMs: 9000, roomy: ['b'], softFailoversAgoMs: [1, 2]}, 'write-stalled', false],
    ['answers, and let nobody in twice', {...well, failedConnects: 2, unservedMs: 9000}, 'healthy', false],
    ['answers, and lets nobody in', {...well, failedConnects: 3, unservedMs: 6000}, 'suspect', false],
    ['answers, and lets nobody in for long', {...well, failedConnects: 3, unservedMs: budgets.unreachableMs}, 'unreachable-but-streaming', true],
    ['lets nobody in, and too few voters do for a failover', {...well, failedConnects: 4, unservedMs: 9000, replicas: {b: replica, c: {...deserted, answers: false}}}, 'no-quorum', false],
    ['lets nobody in, for the third time in five minutes', {...well, failedConnects: 4, unservedMs: 9000, softFailoversAgoMs: [1, 2]}, 'unreachable-but-streaming', false],
    ['is not alone', {...well, outOfRecovery: ['a', 'c']}, 'two-primaries', false],
    ['is starting', {...well, startingMs: 5000}, 'suspect', false],
    ['is starting for ever', {...well, startingMs: 31_000}, 'primary-dead', true],
    ['hangs for the third time in five minutes', {...hung, softFailoversAgoMs: [60_000, 120_000]}, 'primary-hung', false],
    ['hangs for the third time in five minutes, and goes on hanging', {...hung, failingMs: 30_000, softFailoversAgoMs: [60_000, 120_000]}, 'primary-hung', true],
  ]
  for (const [title, evidence, kind, failover] of cases) {
    it(`that ${title}: ${kind}${failover ? ', and a failover' : ''}`, () => {
      const found = diagnose(evidence)
      assert.deepEqual([found.kind, found.failover], [kind, failover], found.because)
      assert.match(found.because, /\w/)
    })
  }

  it('prefers a voter with room to one without', () => assert.equal(diagnose({...well, fullMs: budgets.stalledMs, roomy: ['c']}).preferred, 'c'))

  it('finds a hung primary within three seconds of its last answer', () => assert.ok(budgets.hungAfterMs + budgets.probeTimeoutMs <= 3000))
})

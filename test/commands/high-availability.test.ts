import assert from 'node:assert/strict'
import fc from 'fast-check'
import {topologyBody} from '../../src/commands/_support/flags.js'
import {renderFailoverDrill, renderPrimaryChange, renderReplicas, renderScaled} from '../../src/commands/_support/render/high-availability.js'
import {renderInstance, renderList} from '../../src/commands/_support/render/instance.js'
import {plain} from '../../src/commands/_support/render/paint.js'
import type {ApiInstance, ApiNode, ApiOperation, ApiReplication} from '../../src/core/api/schemas.js'
import type {DbaasError} from '../../src/core/errors.js'
import type {FailoverReceipt, PrimaryChange} from '../../src/core/ha/receipt.js'
import {anInstance, anOperation} from '../support/fake-services.js'

const failsWith = (code: string, words: RegExp) => (error: DbaasError) => error.code === code && words.test(`${error.message} ${error.suggestions.join(' ')}`)

const at = '2026-11-23T17:22:00.000Z'
const [alone] = anInstance(1).nodes as [ApiNode]
const node = (n: number, change: Partial<ApiNode>): ApiNode =>
  ({...alone, id: `nod_${n}`, name: `demo-${n}`, endpoint: {host: '127.0.0.1', port: 21_000 + n}, timeline: 2, lsn: '0/5000148', lag_bytes: null, lag_seconds: null, ...change})
const replication: ApiReplication = {
  replicas_wanted: 2, confirmations: 1, voters: ['demo-2', 'demo-3'], status: 'healthy', status_reason: null, epoch: 7, timeline: 2, operation: null,
  last_decision: {at, because: 'demo-1 serves, and both voters stream'},
  last_change: {at, kind: 'failover', from: 'demo-2', to: 'demo-1', because: 'the process of demo-2 ended', write_gap_ms: 640, discarded_bytes: null},
  last_drill: null,
}
const cluster = (change: Partial<ApiInstance> = {}, view: Partial<ApiReplication> = {}): ApiInstance => anInstance(1, {
  name: 'demo', high_availability: true, read_only_endpoint: {host: '127.0.0.1', port: 16_000}, replication: {...replication, ...view},
  nodes: [
    node(1, {role: 'primary'}),
    node(2, {role: 'replica', sync_state: 'sync', lag_bytes: 0, lag_seconds: 0}),
    node(3, {role: 'replica', sync_state: 'async', status: 'starting', status_reason: 'it follows since 2 s', lsn: '0/4000000', timeline: 1, lag_bytes: 16_777_544, lag_seconds: 1.5}),
  ],
  ...change,
})
const now = Date.parse(at) + 5000
const done = (result: unknown): ApiOperation => anOperation(1, {status: 'succeeded', created_at: at, ended_at: '2026-11-23T17:22:01.200Z', result})

describe('an instance of several servers, as text', () => {
  it('shows on one screen who follows whom, how far, what was decided last, and why', () => {
    const status = renderInstance(cluster(), now, plain)
    assert.match(status, /read-only +127\.0\.0\.1:16000\n/)
    assert.match(status, /replicas +any 1 of demo-2, demo-3 confirms each commit; every promise is kept\n/)
    assert.match(status, /decision +demo-1 serves, and both voters stream \(5\.0 s ago\)\n +last failover 5\.0 s ago, from demo-2 to demo-1, writes held up for 640 ms: the process of demo-2 ended\n/)
    assert.match(status, /NODE +ROLE +STATUS +WANTED +TIMELINE +LSN +LAG +ADDRESS/)
    assert.match(status, /demo-1 +primary +running +running +2 +0\/5000148 +- +127\.0\.0\.1:21001/)
    assert.match(status, /demo-2 +replica \(sync\) +running +running +2 +0\/5000148 +none /)
    assert.match(status, /demo-3 +replica \(async\) +starting +running +1 +0\/4000000 +16\.0 MiB, 1\.5 s +.*it follows since 2 s\n/)
  })

  it('says loudly that writes wait, that the primary is being changed, and that nobody can be chosen', () => {
    const text = (view: Partial<ApiReplication>): string => renderInstance(cluster({}, view), now, plain)
    assert.match(text({status: 'blocked', status_reason: 'demo-2 and demo-3 are away'}), /WRITES WAIT\n +demo-2 and demo-3 are away\n/)
    const operation = {kind: 'failover', phase: 'arm', started_at: at, from: 'demo-1', to: 'demo-2', because: 'it answers nobody'} as const
    assert.match(text({status: 'changing', operation}), /failover from demo-1 to demo-2, in phase arm: it answers nobody/)
    assert.match(text({status: 'no-quorum'}), /NOBODY CAN SAFELY BE THE PRIMARY\n +→ dbaas failover demo --allow-data-loss\n/)
    assert.match(text({confirmations: 2}), /demo-2 and demo-3 confirm each commit/)
    const readReplicas = renderInstance(cluster({high_availability: false}, {confirmations: 0, voters: [], status: 'async'}), now, plain)
    assert.match(readReplicas, /no commit waits for a replica\n +dbaas scale demo --ha makes it highly available\n/)
    // one server alone is not told of what it has not
    assert.doesNotMatch(renderInstance(anInstance(1), now, plain), /replicas|decision|TIMELINE/)
  })

  it('says what an old primary gave up, and whether the loss of a primary was rehearsed', () => {
    const text = (view: Partial<ApiReplication>, change: Partial<ApiInstance> = {}): string => renderInstance(cluster(change, view), now, plain)
    const last = {...replication.last_change, discarded_bytes: 20_480} as NonNullable<ApiReplication['last_change']>
    assert.match(text({last_change: last}), /demo-2 ended; 20 KiB of the log of demo-2, which nobody had confirmed, were given up\n/)
    assert.doesNotMatch(text({last_change: {...last, discarded_bytes: 0}}), /given up/)
    assert.match(text({}), /failover +never tried: dbaas drill failover demo\n/)
    assert.doesNotMatch(text({}, {high_availability: false}), /never tried: dbaas drill failover/)
    const drill = {at, ok: true, fault: 'hang', clone: null, time_to_first_write_ms: 3600, acknowledged_writes: 812, lost_writes: 0} as const
    assert.match(text({last_drill: drill}), /failover +proven 5\.0 s ago: the primary stopped dead, the first write was acknowledged after 3\.6 s, 0 of 812 lost\n/)
    assert.match(text({last_drill: {...drill, fault: 'kill', clone: 'demo-drill-1'}}), /the primary of a copy was killed/)
    assert.match(text({last_drill: {...drill, ok: false, lost_writes: 3}}), /failover +FAILED 5\.0 s ago: .*3 of 812 lost\n/)
  })

  it('obeys no control character of a reason', () => {
    fc.assert(fc.property(fc.string({unit: 'binary', maxLength: 30}), (because) => {
      const text = renderInstance(cluster({}, {status_reason: because, last_decision: {at, because}}), now, plain)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
      assert.doesNotMatch(text, /[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/)
    }), {numRuns: 200})
  })

  it('has the worst lag in the list, where there are replicas', () => {
    assert.match(renderList([cluster(), anInstance(2)], now, plain), /TOPOLOGY +LAG +ENDPOINT[\s\S]*primary \+ 2 replicas +16\.0 MiB, 1\.5 s [\s\S]*demo-2 .* primary +- /)
    assert.doesNotMatch(renderList([anInstance(2)], now, plain), /LAG/)
  })

  it('lists replicas, or how to get one', () => {
    assert.match(renderReplicas(cluster().nodes.slice(1), 'demo', plain), /^NODE[\s\S]*demo-2 +replica \(sync\)/)
    assert.match(renderReplicas([], 'demo', plain), /no replicas[\s\S]*dbaas scale demo --ha\n[\s\S]*dbaas replicas add demo\n/)
  })

  const change: PrimaryChange = {
    from: 'demo-1', to: 'demo-2', timeline: 3, because: 'the process of demo-1 ended', write_gap_ms: 640, discarded_bytes: 2048,
    phases: [{name: 'fence', ms: 23}, {name: 'arm', ms: 61}],
  }

  it('ends a change of primary with the measured gap, the reason and the phases', () => {
    assert.equal(renderPrimaryChange({operation: done(change), instance: cluster()}, 'demo', plain), `✓ demo is served by demo-2, and was by demo-1 (timeline 3)  1.2 s
  → writes were held up for 640 ms
  → the process of demo-1 ended
  → 2 KiB of the old primary's log were given up: nobody had confirmed them
  fence 23 ms, arm 61 ms
`)
    const quiet = {...change, to: 'demo-1', write_gap_ms: null, discarded_bytes: null, phases: []}
    assert.equal(renderPrimaryChange({operation: done(quiet), instance: cluster()}, 'demo', plain), '✓ demo is served by demo-1 again (timeline 3)  1.2 s\n  → the process of demo-1 ended\n')
    // a result of another version is no reason to break
    assert.match(renderPrimaryChange({operation: done(null)}, 'demo', plain), /^✓ demo goes on as it was/)
  })

  it('ends a drill with what was acknowledged and what was lost', () => {
    const receipt: FailoverReceipt = {
      fault: 'hang', clone: null, from: 'demo-1', to: 'demo-2', because: 'it answers nobody', time_to_first_write_ms: 2100, write_gap_ms: 2140, acknowledged_writes: 4711,
      lost_writes: 0, doubled_writes: 0, divided_writes: 0, rpo_seconds: 0, rto_seconds: 2.1, phases: [{name: 'fence', ms: 40}],
    }
    const text = renderFailoverDrill({operation: done(receipt), instance: cluster()}, 'demo', plain)
    assert.match(text, /^✓ demo survives: demo-1 stopped dead, demo-2 took over, and the first write was acknowledged after 2\.1 s[\s\S]*4711 writes were acknowledged, 0 lost\n[\s\S]*fence 40 ms\n$/)
    assert.match(renderFailoverDrill({operation: done({...receipt, clone: 'demo-drill', lost_writes: 2}), instance: cluster()}, 'demo', plain), /demo-drill, a copy of demo, survives[\s\S]*2 LOST/)
  })

  it('says how a change of size or number came in force', () => {
    const scaled = (result: unknown): string => renderScaled({operation: done(result), instance: cluster()}, 'demo', plain)
    assert.match(scaled({applied: 'live', write_gap_ms: null}), /^✓ demo is small with primary \+ 2 replicas, live: no write was held up/)
    assert.match(scaled({applied: 'switchover', write_gap_ms: 812}), /by a switchover, writes held up for 812 ms/)
    assert.match(scaled({applied: 'restart', write_gap_ms: 812}), /by one restart, writes held up for 812 ms/)
    assert.match(scaled({applied: 'next-start', write_gap_ms: null}), /in force at the next start/)
    assert.match(renderScaled({operation: done({applied: 'restart', write_gap_ms: 5}), instance: anInstance(1)}, 'demo-1', plain), /^✓ demo-1 is small, by one restart, writes held up for 5 ms/)
  })
})

describe('how many servers are asked for', () => {
  it('is what was typed, and nothing more', () => {
    assert.deepEqual(topologyBody({}), {})
    assert.deepEqual(topologyBody({ha: true}), {high_availability: true})
    assert.deepEqual(topologyBody({ha: false, replicas: '0'}), {high_availability: false, replicas: 0})
    assert.deepEqual(topologyBody({ha: true, replicas: '1'}), {high_availability: true, replicas: 1})
  })

  it('is refused where it cannot be, with what to type', () => {
    assert.throws(() => topologyBody({ha: true, replicas: '0'}), failsWith('USAGE', /nobody could take over.*--ha --replicas 1/))
    for (const replicas of ['two', '-1', '1.5', '']) assert.throws(() => topologyBody({replicas}), failsWith('USAGE', /--replicas takes a whole number/))
    assert.throws(() => topologyBody({replicas: '17'}), failsWith('USAGE', /at most 16/))
  })
})

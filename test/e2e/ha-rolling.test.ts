/** Every server of a cluster started anew under writers: another size, other parameters, or just so; one after the other, and none is missed. */
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import type {ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {formatBytes} from '../../src/core/units.js'
import {assertSameEverywhere, changesOf, instanceOf, primaryOf, processesOfNode, replicasOf, signal, startWriters, untilWhole} from '../support/ha.js'
import {call, finish, killedAgent} from '../support/kills.js'
import {startProbed, stopAgent} from '../support/probed-agent.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'
import {startWriter} from '../support/writer.js'

const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)

/** Three servers, twice each where it is undone, on a machine that may be busy with other tests. */
const endSeconds = 180

interface Measured {
  readonly applied?: string
  readonly applied_by?: string
  readonly write_gap_ms: number
  readonly phases?: readonly {readonly name: string; readonly ms: number}[]
}

describe('the servers of an instance with high availability', function () {
  this.timeout(300_000)
  let site: Site
  before(async () => {
    site = temporarySite('ha-rolling', {env: {DBAAS_POOL_SIZE: '0'}})
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    await untilWhole(site, 'demo')
  })
  after(() => site?.dispose())

  const pids = (instance: ApiInstance): number[] => instance.nodes.map(({pid}) => pid as number)
  /** What each server itself says. */
  const everywhere = async (parameter: string): Promise<string[]> => {
    const {nodes} = await instanceOf(site, 'demo')
    const answers = await Promise.all(nodes.map(({name}) => site.json('sql', 'demo', `show ${parameter}`, '--node', name)))
    return [...new Set(answers.map(({rows}) => String(rows?.[0]?.[0])))]
  }

  /** Under a writer that writes each 50 ms and four that write as fast as they can. */
  async function changed(what: string, ...args: string[]): Promise<{result: Measured; gapMs: number; before: ApiInstance; after: ApiInstance; operation: ApiOperation}> {
    const before = await untilWhole(site, 'demo')
    const [writer, crowd] = [await startWriter(site, 'demo'), await startWriters(site, 'demo')]
    const {operation} = await site.json(...args)
    await crowd.goOn()
    const {gapMs, lost} = await writer.stop()
    await crowd.stop()
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    assert.deepEqual(lost, [])
    const after = await untilWhole(site, 'demo')
    await assertSameEverywhere(site, after)
    const result = operation.result as Measured
    tell(`${what}: ${result.applied}, write gap ${result.write_gap_ms} ms (felt ${gapMs} ms): ${result.phases?.map(({name, ms}) => `${name} ${ms}`).join(', ')}`)
    // it is measured from before the endpoint is asked to hold to after it was asked to let go, which takes a while on a busy machine
    assert.ok(result.write_gap_ms > 0 && result.write_gap_ms <= gapMs * 1.25 + 100, `${result.write_gap_ms} said, ${gapMs} felt`)
    // SPEC.md, property 8: 30 s is what is promised, 2 s what is aimed at
    assert.ok(gapMs <= 30_000, `${gapMs} ms without a write`)
    return {result, gapMs, before, after, operation}
  }

  it('are planned in an order that is told before, with the gap to be expected, and left as they are', async () => {
    const before = await instanceOf(site, 'demo')
    const [first, second] = replicasOf(before).map(({name}) => name)
    const primary = primaryOf(before).name
    const {plan} = await site.json('scale', 'demo', '--size', 'small', '--plan')
    assert.deepEqual(plan, {
      steps: ['preflight', `roll-replicas: ${first}, ${second}`, `roll-primary: switchover from ${primary} to ${first}`, `roll-others: ${primary}`, 'verify'],
      impact: 'failover', expected_downtime_ms: null, cost_month_delta: null, reversible: true,
    })
    const lower = (await site.json('config', 'set', 'demo', 'max_connections=40', '--plan')).plan
    assert.deepEqual(lower.steps.slice(1, -1), [`roll-primary: restart of ${primary} where it is`, `roll-others: ${first}, ${second}`])
    assert.equal(lower.impact, 'restart')
    assert.deepEqual(pids(await instanceOf(site, 'demo')), pids(before))
  })

  // Feature: enterprise-dbaas-platform, Property 8: Scaling Operation Downtime
  // Iterations: one, 3 servers; single servers in test/e2e/scale.test.ts
  it('are larger one after the other, and the gap that was measured is the gap that was felt', async () => {
    const {result, before, after} = await changed('scale up', 'scale', 'demo', '--size', 'small')
    assert.equal(result.applied, 'switchover')
    assert.notEqual(primaryOf(after).id, primaryOf(before).id)
    assert.equal(after.size.name, 'small')
    assert.deepEqual(await everywhere('max_connections'), ['100'])
    const {plan} = await site.json('restart', 'demo', '--plan')
    assert.ok(plan.expected_downtime_ms > 0, 'the next plan knows what this one took')
  })

  // Feature: enterprise-dbaas-platform, Property 32: Horizontal and Vertical Scaling
  // Iterations: up and down, memory, CPU and storage of 3 servers under 5 writers; replicas in test/e2e/ha-replicas.test.ts
  it('are smaller again, though no standby may have less than its log says', async () => {
    const {result, before, after} = await changed('scale down', 'scale', 'demo', '--size', 'micro')
    assert.equal(result.applied, 'restart')
    assert.equal(primaryOf(after).id, primaryOf(before).id, 'it was started where it is')
    assert.deepEqual(await everywhere('max_connections'), ['51'])
    assert.deepEqual(pids(after).filter((pid) => pids(before).includes(pid)), [])
    assert.equal(formatBytes(after.size.memory_bytes), '512 MiB')
  })

  it('have more CPU live: nobody is started anew', async () => {
    const before = await untilWhole(site, 'demo')
    const writer = await startWriter(site, 'demo')
    const {operation, instance} = await site.json('scale', 'demo', '--cpu', '0.7')
    const {failures, lost} = await writer.stop()
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    assert.deepEqual([operation.result, failures, lost, instance.size.cpu], [{applied: 'live', write_gap_ms: 0}, 0, [], 0.7])
    assert.deepEqual(pids(await instanceOf(site, 'demo')), pids(before))
  })

  it('take a parameter that a reload suffices for, all of them, and nobody is started anew', async () => {
    const before = await untilWhole(site, 'demo')
    const {operation} = await site.json('config', 'set', 'demo', 'work_mem=5MB')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    assert.deepEqual(await everywhere('work_mem'), ['5MB'])
    assert.deepEqual(pids(await instanceOf(site, 'demo')), pids(before))
  })

  it('take parameters that need a restart, one raised and one lowered', async () => {
    await changed('config set, raised and lowered', 'config', 'set', 'demo', 'max_connections=60', 'max_worker_processes=6', 'max_parallel_workers=2')
    assert.deepEqual([await everywhere('max_connections'), await everywhere('max_worker_processes')], [['60'], ['6']])
    await changed('config set, lowered', 'config', 'set', 'demo', 'max_connections=30', 'max_locks_per_transaction=32')
    assert.deepEqual([await everywhere('max_connections'), await everywhere('max_locks_per_transaction')], [['30'], ['32']])
    await changed('config set, neither', 'config', 'set', 'demo', 'wal_buffers=2MB')
    assert.deepEqual(await everywhere('wal_buffers'), ['2MB'])
  })

  it('survive the loss of the primary right after a setting was lowered, and take a replica to their midst that is made anew', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
    await writers.goOn()
    await writers.stop()
    await assertSameEverywhere(site, await untilWhole(site, 'demo'))
    assert.deepEqual(await everywhere('max_connections'), ['30'])
  })

  it('are restarted one after the other', async () => {
    const {result, before, after} = await changed('restart', 'restart', 'demo')
    assert.equal(result.applied, 'switchover')
    assert.deepEqual(pids(after).filter((pid) => pids(before).includes(pid)), [])
  })

  it('are as they were when one does not start with what was asked for', async () => {
    const before = await untilWhole(site, 'demo')
    const writer = await startWriter(site, 'demo')
    // the check of the values takes no memory, and there are no huge pages here
    const operation = await finish(site, await call(site, 'configuration.update', {params: {instance: 'demo'}, body: {set: {huge_pages: 'on'}}}), endSeconds)
    const {gapMs, lost, failures} = await writer.stop()
    assert.equal(operation.status, 'failed', JSON.stringify(operation))
    tell(`does not start: ${operation.error?.code}: ${operation.error?.message} (${gapMs} ms felt)`)
    assert.deepEqual([lost, failures], [[], 0], 'the first replica showed that it does not work')
    const after = await untilWhole(site, 'demo')
    assert.equal(primaryOf(after).pid, primaryOf(before).pid)
    assert.deepEqual(await everywhere('huge_pages'), ['try'])
    assert.deepEqual((await instanceOf(site, 'demo')).configuration.parameters, before.configuration.parameters)
  })

  it('go on when the primary is killed in the middle', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    const begun = await call(site, 'configuration.update', {params: {instance: 'demo'}, body: {set: {max_connections: '80'}}})
    await until('a replica was started anew', async () => replicasOf(await instanceOf(site, 'demo')).some(({pid}) => pid !== null && !pids(before).includes(pid)))
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
    const operation = await finish(site, begun, endSeconds)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    await writers.goOn()
    tell(`primary killed in the middle: ${writers.gapMs()} ms without a write`)
    await writers.stop()
    assert.ok((await changesOf(site, 'demo')).some(({kind, created_at: at}) => kind === 'instance.failover' && at >= begun.created_at))
    await assertSameEverywhere(site, await untilWhole(site, 'demo'))
    assert.deepEqual(await everywhere('max_connections'), ['80'])
  })

  const withProbe = async (probe: Parameters<typeof startProbed>[1], work: () => Promise<void>): Promise<void> => {
    await stopAgent(site)
    await startProbed(site, probe)
    await work()
    await stopAgent(site)
    assert.equal((await site.run('agent', 'start')).code, 0)
  }
  const setting = (connections: number, key: string = randomUUID()): Promise<ApiOperation> => call(site, 'configuration.update', {params: {instance: 'demo'}, body: {set: {max_connections: String(connections)}}}, key)

  for (const [connections, kind] of [[90, 'raised'], [70, 'lowered']] as const) {
    it(`go back to what they were when it fails at its end: ${kind}`, async () => {
      const known = await everywhere('max_connections')
      const writer = await startWriter(site, 'demo')
      await withProbe({fault: {kind: 'configuration.update', step: 'roll-others'}}, async () => {
        const operation = await finish(site, await setting(connections), endSeconds)
        assert.equal(operation.status, 'failed')
        await untilWhole(site, 'demo')
      })
      const {gapMs, lost} = await writer.stop()
      tell(`${kind}, failed and undone: felt ${gapMs} ms`)
      assert.deepEqual(lost, [])
      assert.deepEqual(await everywhere('max_connections'), known)
    })
  }

  it('go back when it is cancelled before the primary is moved', async () => {
    const before = await untilWhole(site, 'demo')
    const known = await everywhere('max_connections')
    await withProbe({cancel: {kind: 'configuration.update', step: 'roll-replicas', direction: 'forward', when: 'after'}}, async () => {
      assert.equal((await finish(site, await setting(95), endSeconds)).status, 'cancelled')
      assert.equal(primaryOf(await untilWhole(site, 'demo')).pid, primaryOf(before).pid)
      assert.deepEqual(await everywhere('max_connections'), known)
    })
  })

  for (const [step, when, laterMs] of [['roll-replicas', 'before', 600], ['roll-primary', 'before', 400], ['roll-primary', 'after', undefined], ['roll-others', 'after', undefined]] as const) {
    it(`go on with another agent: killed ${laterMs === undefined ? '' : `${laterMs} ms after `}${when} ${step}`, async () => {
      const wanted = 81 + ['roll-replicas', 'roll-primary', 'roll-others'].indexOf(step) * 3 + (when === 'before' ? 0 : 1)
      const writer = await startWriter(site, 'demo')
      const kill = {kind: 'configuration.update', step, direction: 'forward' as const, when, ...(laterMs === undefined ? {} : {laterMs})}
      const operation = await killedAgent(site, {kill}, (key) => setting(wanted, key), endSeconds)
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      const {gapMs, lost} = await writer.stop()
      tell(`agent killed ${when} ${step}: felt ${gapMs} ms, said ${(operation.result as unknown as Measured).write_gap_ms} ms`)
      assert.deepEqual(lost, [])
      await untilWhole(site, 'demo')
      assert.deepEqual(await everywhere('max_connections'), [String(wanted)])
    })
  }
})

describe('a server with replicas that confirm nothing', function () {
  this.timeout(180_000)
  let site: Site
  before(async () => {
    site = temporarySite('ha-rolling-async', {env: {DBAAS_POOL_SIZE: '0'}})
    const {operation} = await site.json('create', 'demo', '--replicas', '1', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  it('is started anew where it is, its replica before it, or after it where settings are lowered', async () => {
    for (const size of ['small', 'micro']) {
      const before = await until('it is whole', async () => {
        const instance = await instanceOf(site, 'demo')
        return replicasOf(instance).every(({lag_bytes}) => lag_bytes !== null) ? instance : undefined
      })
      const writer = await startWriter(site, 'demo')
      const {operation} = await site.json('scale', 'demo', '--size', size)
      const {gapMs, lost} = await writer.stop()
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      assert.deepEqual([operation.result.applied, lost], ['restart', []])
      tell(`${size}, replica confirms nothing: write gap ${operation.result.write_gap_ms} ms (felt ${gapMs} ms): ${JSON.stringify(operation.result.phases)}`)
      const after = await instanceOf(site, 'demo')
      assert.equal(primaryOf(after).id, primaryOf(before).id)
      assert.equal(after.size.name, size)
    }
  })
})

/** What else may happen to an instance with replicas: real servers, real kills, four writers, no acknowledged row lost. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {clientOf, untilAnswers} from '../support/probed-agent.js'
import {processesOf, temporarySite, type Site} from '../support/site.js'
import {assertSameEverywhere, changesOf, instanceOf, primaryOf, processesOfNode, replicasOf, signal, startWriters, untilWhole} from '../support/ha.js'
import {until} from '../support/until.js'

describe('an instance with two replicas', function () {
  this.timeout(240_000)
  let site: Site
  const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)
  const isAway = async (): Promise<boolean> => (await instanceOf(site, 'demo')).replication?.status !== 'healthy'

  before(async () => {
    site = temporarySite('ha-faults')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  // Feature: enterprise-dbaas-platform, Property 25: Synchronous Replica Maintenance
  it('writes on while a replica is away, and takes it back', async () => {
    const before = await untilWhole(site, 'demo')
    const [replica] = replicasOf(before)
    assert.ok(replica)
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    signal(processesOfNode(site, before, replica), 'SIGKILL')
    await until('it is missed', isAway)
    await writers.goOn()
    const gap = writers.gapMs()
    tell(`a replica killed: ${gap} ms without a write`)
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    assert.equal(primaryOf(after).id, primaryOf(before).id)
    assert.equal((await changesOf(site, 'demo')).length, 0)
    await assertSameEverywhere(site, after)
  })

  it('acknowledges nothing while both replicas hang, and goes on when they are back', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGSTOP')
    await until('writes wait', async () => (await instanceOf(site, 'demo')).replication?.status === 'blocked', 30)
    const written = writers.acknowledged()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    assert.equal(writers.acknowledged(), written, 'a write was acknowledged that no replica has')
    for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGCONT')
    await writers.goOn()
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    assert.equal(primaryOf(after).id, primaryOf(before).id)
    await assertSameEverywhere(site, after)
  })

  it('takes back both replicas, which were killed', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGKILL')
    await until('they are missed', isAway)
    await writers.goOn()
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    await assertSameEverywhere(site, after)
  })

  it('loses nothing when agent and primary are killed at the same time', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    const {agent} = await clientOf(site).call('agent.get', {})
    process.kill(agent.pid, 'SIGKILL')
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
    // the endpoint process brings the agent back
    await untilAnswers(site)
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
    await writers.goOn()
    tell(`agent and primary killed: ${writers.gapMs()} ms without a write`)
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    await assertSameEverywhere(site, after)
  })

  it('loses nothing when the agent is killed in the middle of a failover', async () => {
    for (const delayMs of [30, 120, 250, 400]) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      const {agent} = await clientOf(site).call('agent.get', {})
      signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      process.kill(agent.pid, 'SIGKILL')
      await untilAnswers(site)
      await writers.goOn()
      const after = await untilWhole(site, 'demo')
      await writers.stop()
      await assertSameEverywhere(site, after)
      tell(`agent killed ${delayMs} ms into it: ${before.replication?.epoch} -> ${after.replication?.epoch}, ${(await changesOf(site, 'demo')).length} changes`)
    }
  })

  it('comes back when all of its servers were killed', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    for (const node of before.nodes) signal(processesOfNode(site, before, node), 'SIGKILL')
    await writers.goOn()
    tell(`all killed: ${writers.gapMs()} ms without a write`)
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    await assertSameEverywhere(site, after)
  })

  it('is stopped, started and restarted as one, and deleted without a trace', async () => {
    const writers = await startWriters(site, 'demo')
    await writers.stop()
    const stopped = await site.json('stop', 'demo')
    assert.equal(stopped.operation?.status, 'succeeded', JSON.stringify(stopped))
    const [{instance: still}] = [await clientOf(site).call('instances.get', {params: {instance: 'demo'}})]
    assert.deepEqual(still.nodes.map(({status}) => status), ['stopped', 'stopped', 'stopped'])
    for (const node of still.nodes) assert.deepEqual(processesOfNode(site, still, node), [])
    const started = await site.json('start', 'demo')
    assert.equal(started.operation?.status, 'succeeded', JSON.stringify(started))
    await assertSameEverywhere(site, await untilWhole(site, 'demo'))
    const restarted = await site.json('restart', 'demo')
    assert.equal(restarted.operation?.status, 'succeeded', JSON.stringify(restarted))
    tell(`restarted: ${restarted.operation.result.write_gap_ms} ms`)
    await assertSameEverywhere(site, await untilWhole(site, 'demo'))
    const {id} = await instanceOf(site, 'demo')
    const deleted = await site.json('delete', 'demo', '--yes')
    assert.equal(deleted.operation?.status, 'succeeded', JSON.stringify(deleted))
    assert.deepEqual(processesOf([`${site.home}/instances/${id}`]), [])
    assert.doesNotMatch(readFileSync(`${site.home}/logs/agent.log`, 'utf8'), /a step threw/)
  })
})

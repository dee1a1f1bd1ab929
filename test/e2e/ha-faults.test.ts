/** What else may happen to an instance with replicas: real servers, real kills, four writers, no acknowledged row lost. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {setTimeout as pause} from 'node:timers/promises'
import {clientOf, untilAnswers} from '../support/probed-agent.js'
import {processesOf, temporarySite, type Site} from '../support/site.js'
import {assertSameEverywhere, changesOf, instanceOf, primaryOf, processesOfNode, replicasOf, signal, startWriters, underFault, untilOtherPrimary, untilWhole} from '../support/ha.js'
import {faultRounds, sampled} from '../support/runs.js'
import {until} from '../support/until.js'

describe('an instance with two replicas', function () {
  this.timeout(faultRounds * 240_000)
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
  // Iterations: 1 real kill of a replica in CI, 5 in test:full
  it('writes on while a replica is away, and takes it back', () => underFault(site, async ({before, writers, tell}) => {
    const [replica] = replicasOf(before)
    assert.ok(replica)
    const changes = (await changesOf(site, 'demo')).length
    signal(processesOfNode(site, before, replica), 'SIGKILL')
    await until('it is missed', isAway)
    await writers.goOn()
    tell('a replica killed')
    const after = await untilWhole(site, 'demo')
    assert.equal(primaryOf(after).id, primaryOf(before).id)
    assert.equal((await changesOf(site, 'demo')).length, changes)
  }))

  it('writes on while a replica hangs, which confirms no more until it is back', () => underFault(site, async ({before, writers, tell}) => {
    const [replica] = replicasOf(before)
    assert.ok(replica)
    const changes = (await changesOf(site, 'demo')).length
    signal(processesOfNode(site, before, replica), 'SIGSTOP')
    await until('it confirms no more', async () => !((await instanceOf(site, 'demo')).replication?.voters.includes(replica.name) ?? true), 30)
    await writers.goOn()
    tell('a replica hung')
    signal(processesOfNode(site, before, replica), 'SIGCONT')
    const after = await untilWhole(site, 'demo')
    assert.equal(primaryOf(after).id, primaryOf(before).id)
    assert.equal((await changesOf(site, 'demo')).length, changes)
  }))

  it('acknowledges nothing while both replicas hang, and goes on when they are back', () => underFault(site, async ({before, writers, tell}) => {
    for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGSTOP')
    await until('writes wait', async () => (await instanceOf(site, 'demo')).replication?.status === 'blocked', 30)
    const written = writers.acknowledged()
    await pause(1500)
    assert.equal(writers.acknowledged(), written, 'a write was acknowledged that no replica has')
    for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGCONT')
    await writers.goOn()
    tell('both replicas hung')
    assert.equal(primaryOf(await untilWhole(site, 'demo')).id, primaryOf(before).id)
  }))

  it('takes back both replicas, which were killed', () => underFault(site, async ({before, writers, tell}) => {
    for (const replica of replicasOf(before)) signal(processesOfNode(site, before, replica), 'SIGKILL')
    await until('they are missed', isAway)
    await writers.goOn()
    tell('both replicas killed')
    assert.equal(primaryOf(await untilWhole(site, 'demo')).id, primaryOf(before).id)
  }))

  it('loses nothing when agent and primary are killed at the same time', () => underFault(site, async ({before, writers, tell}) => {
    const {agent} = await clientOf(site).call('agent.get', {})
    process.kill(agent.pid, 'SIGKILL')
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
    // the endpoint process brings the agent back
    await untilAnswers(site)
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('agent and primary killed')
  }))

  it('loses nothing when the agent is killed at any moment of a failover', async () => {
    for (const delayMs of sampled([30, 120, 250, 400, 800], 1)) {
      await underFault(site, async ({before, writers, tell}) => {
        const {agent} = await clientOf(site).call('agent.get', {})
        signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
        await pause(delayMs)
        process.kill(agent.pid, 'SIGKILL')
        await untilAnswers(site)
        await writers.goOn()
        tell(`agent killed ${delayMs} ms into a failover`)
      }, 1)
    }
  })

  it('comes back when all of its servers were killed', () => underFault(site, async ({before, writers, tell}) => {
    for (const node of before.nodes) signal(processesOfNode(site, before, node), 'SIGKILL')
    await writers.goOn()
    tell('all killed')
  }))

  it('promotes nobody when the primary and a replica are gone at once, and goes on when either is back', () => underFault(site, async ({before, writers, tell}) => {
    const [first, second] = replicasOf(before)
    assert.ok(first && second)
    // the other replica cannot tell whether it has all, and the two that hang can neither answer nor be started
    signal(processesOfNode(site, before, first), 'SIGSTOP')
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGSTOP')
    await until('nobody may be chosen', async () => (await instanceOf(site, 'demo')).replication?.last_decision?.because.includes('of the 2 voters that a failover needs answer'), 30)
    const written = writers.acknowledged()
    signal(processesOfNode(site, before, first), 'SIGCONT')
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('primary and a replica hung')
    assert.ok(writers.acknowledged() > written)
  }))

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

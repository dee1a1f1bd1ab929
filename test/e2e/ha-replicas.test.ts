/** Replicas that come and go under writers: an instance of one server becomes a cluster, and one of one server again. */
import assert from 'node:assert/strict'
import {temporarySite, type Site} from '../support/site.js'
import {assertSameEverywhere, instanceOf, primaryOf, processesOfNode, replicasOf, signal, startWriters, untilWhole} from '../support/ha.js'
import {until} from '../support/until.js'

describe('an instance of one server', function () {
  this.timeout(240_000)
  let site: Site
  before(async () => {
    site = temporarySite('ha-replicas')
    const {operation} = await site.json('create', 'demo', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  const done = async (...args: string[]): Promise<void> => {
    const answer = await site.json(...args)
    assert.equal(answer.operation?.status, 'succeeded', JSON.stringify(answer))
  }
  const count = async (): Promise<number> => replicasOf(await instanceOf(site, 'demo')).length

  it('becomes one that survives its primary, while it is written to', async () => {
    const writers = await startWriters(site, 'demo')
    await done('scale', 'demo', '--ha')
    const whole = await untilWhole(site, 'demo')
    assert.deepEqual([whole.high_availability, whole.replication?.confirmations, whole.replication?.voters.length], [true, 1, 2])
    await writers.goOn()
    const before = primaryOf(whole)
    signal(processesOfNode(site, whole, before), 'SIGKILL')
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== before.id)
    await writers.goOn()
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    await assertSameEverywhere(site, after)
  })

  // Feature: enterprise-dbaas-platform, Property 32: Horizontal and Vertical Scaling
  // Iterations: one replica added and removed
  it('has one replica more, which confirms nothing as long as the first two do, and gives it up', async () => {
    const writers = await startWriters(site, 'demo')
    await done('replicas', 'add', 'demo')
    const more = await untilWhole(site, 'demo')
    assert.deepEqual(replicasOf(more).map(({sync_state}) => sync_state).sort(), ['async', 'sync', 'sync'])
    const voter = replicasOf(more).find(({sync_state}) => sync_state === 'sync')
    assert.ok(voter)
    await done('replicas', 'remove', 'demo', voter.name, '--yes')
    assert.deepEqual(processesOfNode(site, more, voter), [])
    const fewer = await untilWhole(site, 'demo')
    assert.deepEqual(replicasOf(fewer).map(({sync_state}) => sync_state), ['sync', 'sync'])
    await writers.goOn()
    await writers.stop()
    await assertSameEverywhere(site, fewer)
  })

  it('is one of one server again, which starts by itself', async () => {
    const writers = await startWriters(site, 'demo')
    await done('scale', 'demo', '--no-ha', '--replicas', '0')
    assert.equal(await count(), 0)
    await writers.goOn()
    await writers.stop()
    const alone = await instanceOf(site, 'demo')
    assert.deepEqual([alone.high_availability, alone.replication], [false, null])
    signal(processesOfNode(site, alone, primaryOf(alone)), 'SIGKILL')
    const rows = await until('it is back', async () => (await site.json('sql', 'demo', 'select count(*) from journal')).rows as unknown[] | undefined)
    assert.equal(rows.length, 1)
  })
})

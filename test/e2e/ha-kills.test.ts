/** An agent that is killed while replicas are made, or taken away: the next one ends it, and undone nothing is left. */
import assert from 'node:assert/strict'
import {call, finish, killedAgent} from '../support/kills.js'
import {leftoversOf} from '../support/leftovers.js'
import {untilWhole} from '../support/ha.js'
import {clientOf, startProbed, stopAgent} from '../support/probed-agent.js'
import {temporarySite, type Site} from '../support/site.js'

describe('an agent killed in the life of an instance with replicas', function () {
  this.timeout(180_000)
  let site: Site
  const body = {name: 'demo', size: 'micro', high_availability: true, backup: false}
  before(async () => {
    site = temporarySite('ha-kills')
    assert.equal((await site.run('agent', 'start')).code, 0)
  })
  after(() => site?.dispose())

  const removed = async (): Promise<void> => {
    const {instances} = await clientOf(site).call('instances.list', {})
    for (const {name} of instances) assert.equal((await finish(site, await call(site, 'instances.delete', {params: {instance: name}, query: {}}))).status, 'succeeded')
  }
  const isGone = async (): Promise<void> => {
    assert.deepEqual((await clientOf(site).call('instances.list', {})).instances, [])
    assert.deepEqual(leftoversOf(site.home), [])
  }

  for (const [step, when] of [['start-server', 'after'], ['add-replicas', 'before'], ['add-replicas', 'after'], ['publish-endpoint', 'after'], ['await-replicas', 'after']] as const) {
    it(`is followed by one that makes it whole: killed ${when} ${step} of a create`, async () => {
      await removed()
      const operation = await killedAgent(site, {kill: {kind: 'instance.create', step, direction: 'forward', when}}, (key) => call(site, 'instances.create', {body}, key))
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      assert.equal((await untilWhole(site, 'demo')).replication?.voters.length, 2)
    })
  }

  for (const step of ['add-replicas', 'await-replicas'] as const) {
    it(`leaves nothing of a create that fails at ${step}`, async () => {
      await removed()
      await stopAgent(site)
      const agent = await startProbed(site, {fault: {kind: 'instance.create', step}})
      const operation = await finish(site, await call(site, 'instances.create', {body}))
      assert.equal(operation.status, 'failed')
      await isGone()
      await stopAgent(site)
      assert.equal(agent.exitCode ?? 0, 0)
      assert.equal((await site.run('agent', 'start')).code, 0)
    })
  }

  it('is followed by one that deletes what was to be deleted', async () => {
    for (const step of ['close-endpoint', 'stop-server', 'shred']) {
      await removed()
      assert.equal((await finish(site, await call(site, 'instances.create', {body}))).status, 'succeeded')
      const operation = await killedAgent(site, {kill: {kind: 'instance.delete', step, direction: 'forward', when: 'after'}}, (key) => call(site, 'instances.delete', {params: {instance: 'demo'}, query: {}}, key))
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      await isGone()
    }
  })
})

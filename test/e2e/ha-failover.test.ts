/** Real servers, real kills: an instance with two replicas, four writers, and not one acknowledged row that is not there afterwards. */
import assert from 'node:assert/strict'
import {temporarySite, type Site} from '../support/site.js'
import {changesOf, instanceOf, logOf, primaryOf, processesOfNode, replicasOf, signal, underFault, untilOtherPrimary, untilWhole} from '../support/ha.js'
import {faultRounds, realRuns} from '../support/runs.js'
import {until} from '../support/until.js'

describe('an instance with two replicas', function () {
  this.timeout(faultRounds * 240_000)
  let site: Site
  const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)

  before(async () => {
    site = temporarySite('ha')
    const began = Date.now()
    const {operation, instance} = await site.json('create', 'demo', '--ha', '--size', 'micro')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    tell(`created in ${Date.now() - began} ms`)
    assert.equal(instance.high_availability, true)
    assert.deepEqual(instance.nodes.map(({role, sync_state}: {role: string; sync_state: string}) => `${role} ${sync_state}`).sort(), ['primary none', 'replica sync', 'replica sync'])
    await until('the first backup', async () => (await instanceOf(site, 'demo')).backup.recoverable_to !== null)
  })
  after(() => site?.dispose())

  // Feature: enterprise-dbaas-platform, Property 24: Automatic Failover Capability
  // Iterations: 2 real kills in CI, 5 in test:full; of each other fault 1 and 5 (ha-*.test.ts)
  it('goes on without its primary, which was killed with all its processes, and loses nothing', () => underFault(site, async ({before, writers, tell}) => {
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('killed')
    const [change] = await changesOf(site, 'demo')
    assert.equal(change?.kind, 'instance.failover')
    assert.match((change.result as {because: string}).because, /process of \S+ is gone/)
    assert.equal(replicasOf(await untilWhole(site, 'demo')).length, 2)
  }, realRuns(2, 5)))

  it('goes on when only the main process of its primary is killed', () => underFault(site, async ({before, writers, tell}) => {
    process.kill(primaryOf(before).pid as number, 'SIGKILL')
    await untilOtherPrimary(site, before)
    await writers.goOn()
    tell('main process killed')
  }))

  it('changes its primary under load when it is asked to', () => underFault(site, async ({before, writers, tell}) => {
    const target = replicasOf(before)[1]
    assert.ok(target)
    const {operation} = await site.json('switchover', 'demo', '--to', target.name)
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    await writers.goOn()
    tell('switchover')
    assert.equal(primaryOf(await untilWhole(site, 'demo')).id, target.id)
  }))

  it('goes on without a primary that hangs, and whose processes wake up when another one is there', () => underFault(site, async ({before, writers, tell}) => {
    const stopped = processesOfNode(site, before, primaryOf(before))
    signal(stopped, 'SIGSTOP')
    await untilOtherPrimary(site, before)
    signal(stopped, 'SIGCONT')
    await writers.goOn()
    tell('hung')
  }))

  it('has one line of log in its archive through all of it, and a backup that reaches to the end', async () => {
    const timeline = (await instanceOf(site, 'demo')).replication?.timeline ?? 0
    // the archive goes on along every timeline there was
    await until('the log of the newest timeline', async () => Number.parseInt(logOf(site).timeline, 16) === timeline)
    assert.deepEqual({line: logOf(site).line, state: logOf(site).state}, {line: 1, state: 'following'})
    const {backups} = await site.json('backups', 'list', 'demo')
    const {operation} = await site.json('backups', 'verify', backups[0].id)
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
})

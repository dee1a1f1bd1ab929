/** Real servers, real kills: an instance with two replicas, four writers, and not one acknowledged row that is not there afterwards. */
import assert from 'node:assert/strict'
import {temporarySite, type Site} from '../support/site.js'
import {assertSameEverywhere, changesOf, instanceOf, logOf, primaryOf, processesOfNode, replicasOf, signal, startWriters, untilWhole} from '../support/ha.js'
import {until} from '../support/until.js'

describe('an instance with two replicas', function () {
  this.timeout(240_000)
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
  it('goes on without its primary, which was killed with all its processes, and loses nothing', async () => {
    for (let round = 0; round < 3; round++) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      writers.gapMs()
      signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
      await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
      await writers.goOn()
      const gap = writers.gapMs()
      const written = await writers.stop()
      const [change] = await changesOf(site, 'demo')
      tell(`kill: ${gap} ms without a write, ${written} written; ${JSON.stringify((change?.result as {phases?: unknown})?.phases)}`)
      assert.equal(change?.kind, 'instance.failover')
      const after = await untilWhole(site, 'demo')
      assert.equal(replicasOf(after).length, 2)
      await assertSameEverywhere(site, after)
    }
  })

  it('goes on when only the main process of its primary is killed', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    process.kill(primaryOf(before).pid as number, 'SIGKILL')
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
    await writers.goOn()
    tell(`postmaster: ${writers.gapMs()} ms without a write`)
    await writers.stop()
    await assertSameEverywhere(site, await untilWhole(site, 'demo'))
  })

  it('changes its primary under load when it is asked to', async () => {
    const before = await untilWhole(site, 'demo')
    const target = replicasOf(before)[1]
    assert.ok(target)
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    const {operation} = await site.json('switchover', 'demo', '--to', target.name)
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    await writers.goOn()
    tell(`switchover: ${writers.gapMs()} ms without a write; ${JSON.stringify(operation.result.phases)}`)
    await writers.stop()
    const after = await untilWhole(site, 'demo')
    assert.equal(primaryOf(after).id, target.id)
    await assertSameEverywhere(site, after)
  })

  it('goes on without a primary that hangs', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    writers.gapMs()
    signal(processesOfNode(site, before, primaryOf(before)), 'SIGSTOP')
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
    await writers.goOn()
    tell(`hang: ${writers.gapMs()} ms without a write`)
    await writers.stop()
    await assertSameEverywhere(site, await untilWhole(site, 'demo'))
  })

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

/** Rules about what is found again of a store that was lost. Real repositories are in test/e2e/adopt-backups and backup-rescue. */
import assert from 'node:assert/strict'
import type {KeptSnapshot, TakenBackup} from '../../../../src/agent/archiver/archiver.js'
import {DbaasError} from '../../../../src/core/errors.js'
import type {InstanceRecord} from '../../../../src/core/instance/instance.js'
import {siteInMemory, type Site} from './site-in-memory.js'

const hour = 3_600_000
const day = 24 * hour
const begin = Date.parse('2026-11-24T10:00:00Z')
const sealed = new DbaasError('KEY_UNAVAILABLE', 'the data key is wrapped by another master key')
const silent = (): void => undefined

describe('backups whose store was lost', () => {
  let site: Site
  let instance: InstanceRecord
  beforeEach(async () => {
    site = await siteInMemory(begin)
    instance = await site.add('demo', {cron: '0 2 * * *', jitterMs: 0, windowMs: 30 * day})
  })
  afterEach(() => site.dispose())

  /** Days of daily backups, then a store that knows nothing of them; whole lines of the archive, oldest first. */
  async function lost(days: number): Promise<KeptSnapshot[]> {
    for (const until = site.now + days * day; site.now < until; site.now += 6 * hour) {
      await site.tick()
      await site.retention.run()
    }
    const rows = await site.backups()
    const held = rows.map((row): KeptSnapshot => ({
      ...(site.archive.snapshots.get(row.snapshot as number) as TakenBackup), startedAt: row.createdAt, committedAt: row.completedAt as number,
      about: {backupId: row.id, instanceId: row.instanceId, instanceName: row.instanceName, engine: row.engine, label: row.label, trigger: row.trigger},
    }))
    await site.store.transact('platform', async (tx) => {
      for (const {id} of rows) await tx.backups.remove(id)
      await tx.logs.remove(instance.incarnation)
      await tx.histories.remove(instance.incarnation)
      await tx.policies.remove(instance.id)
    })
    return held
  }
  const enter = async (): Promise<void> => {
    const recognised = await site.recognition.look(instance, silent)
    await site.store.transact('platform', (tx) => site.recognition.enter(tx, instance, recognised))
  }
  const now = async () => {
    const found = await site.store.read('platform', (tx) => tx.instances.find(instance.id))
    return found as InstanceRecord
  }
  const histories = () => site.store.read('platform', (tx) => tx.histories.list(instance.id))

  it('are all there again, and none expires by a policy that was not theirs', async () => {
    const held = await lost(29)
    assert.ok(held.length >= 29, String(held.length))
    // and nobody noticed for weeks
    for (let hours = 0; hours < 40 * 24; hours++) {
      site.now += hour
      await site.retention.run()
    }
    site.held.set(instance.incarnation, held)
    await enter()
    assert.equal((await now()).incarnation, instance.incarnation)
    assert.deepEqual((await site.backups()).map(({id}) => id), held.map(({about}) => about.backupId))
    await site.retention.run()
    await site.tick()
    await site.retention.run()
    for (const {about} of held) assert.equal((await site.backups()).find(({id}) => id === about.backupId)?.status, 'completed')
    assert.equal(site.archive.snapshots.size, held.length)
  }).timeout(60_000)

  it('stay where they are without their key, for as long as it takes, and are kept when it is back', async () => {
    const held = await lost(3)
    site.held.set(instance.incarnation, sealed)
    await enter()
    const fresh = (await now()).incarnation
    assert.notEqual(fresh, instance.incarnation)
    assert.deepEqual((await site.backups()), [])
    for (let days = 0; days < 60; days++) {
      site.now += day
      await site.retention.run()
    }
    assert.deepEqual([...site.archive.erased, ...site.archive.shredded], [])
    assert.equal(await site.recognition.lookAgain(silent), 0)

    site.held.set(instance.incarnation, held)
    assert.equal(await site.recognition.lookAgain(silent), held.length)
    assert.equal(await site.recognition.lookAgain(silent), 0)
    await site.retention.run()
    assert.deepEqual((await site.backups()).map(({status}) => status), held.map(() => 'completed'))
    assert.deepEqual([...site.archive.erased], [])
    assert.deepEqual((await histories()).map(({id, endedAt}) => [id, endedAt === null]).sort(), [[fresh, true], [instance.incarnation, false]].sort())
  }).timeout(60_000)

  it('of another database are left alone, until somebody looks for what is nobody\'s', async () => {
    const held = await lost(1)
    site.held.set('incarnation-other', held.map((each) => ({...each, about: {...each.about, backupId: `${each.about.backupId}x`, instanceId: 'ins_other', instanceName: 'other'}})))
    site.held.set('incarnation-strange', sealed)
    await enter()
    assert.deepEqual(await site.backups(), [])
    assert.deepEqual((await histories()).map(({id, kept}) => [id, kept]), [[instance.incarnation, false]])
    assert.equal(await site.recognition.lookAgain(silent), held.length)
    assert.deepEqual(new Set((await site.backups()).map(({instanceId}) => instanceId)), new Set(['ins_other']))
    site.now += 60 * day
    await site.retention.run()
    assert.deepEqual((await site.backups()).map(({status}) => status), held.map(() => 'completed'))
    assert.deepEqual([...site.archive.erased], [])
  }).timeout(60_000)

  it('are shredded with the database, those that could not be read, too; or kept with the others', async () => {
    await lost(1)
    for (const kept of ['none', 'all'] as const) {
      site.held.set(instance.incarnation, sealed)
      await enter()
      await site.store.transact('platform', (tx) => site.erasure.seal(tx, instance.id, kept))
      const old = (await histories()).find(({id}) => id === instance.incarnation)
      assert.deepEqual([old?.kept, old?.shredded], kept === 'all' ? [true, false] : [false, true])
      await site.store.transact('platform', (tx) => site.erasure.leave(tx, instance.id))
      await site.store.transact('platform', async (tx) => {
        for (const {id} of await tx.histories.list(instance.id)) await tx.histories.remove(id)
      })
    }
  })
})

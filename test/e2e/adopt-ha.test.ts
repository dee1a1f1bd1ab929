/** A home that was lost, of an instance of several servers: an agent on an empty home takes all of them over, and loses nothing that any had acknowledged. */
import assert from 'node:assert/strict'
import type {FailoverReceipt} from '../../src/core/ha/receipt.js'
import {connectTo} from '../support/clients.js'
import {assertSameEverywhere, instanceOf, primaryOf, replicasOf, untilWhole} from '../support/ha.js'
import {leftoversOf, siteOf} from '../support/leftovers.js'
import {loseHome} from '../support/lost-home.js'
import {cells} from '../support/matrix.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

for (const cell of cells.filter(({engine}) => engine === 'postgresql')) {
  describe(`adopt an instance with replicas: ${cell.title}`, function () {
    cell.need()
    this.timeout(300_000)
    let site: Site
    before(() => {
      site = temporarySite('adopt-ha', {env: {DBAAS_POOL_SIZE: '0', ...cell.env}})
    })
    after(() => site?.dispose())

    it('finds who has everything, promotes it, and makes the others its replicas', async () => {
      const made = await site.json('create', 'demo', '--ha', '--runtime', cell.runtime, '--size', 'micro', '--no-backup', ...cell.flags)
      assert.equal(made.operation?.status, 'succeeded', JSON.stringify(made))
      // whoever was made first is not who has everything any more
      const {operation} = await site.json('switchover', 'demo')
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      const before = await untilWhole(site, 'demo')
      assert.notEqual(primaryOf(before).name, 'demo-1')

      const acknowledged: string[] = []
      const first = await connectTo(site, 'demo')
      await first.query('create table journal (id text)')
      await first.close()
      const writers = await Promise.all([1, 2, 3, 4].map(async (writer) => {
        const client = await connectTo(site, 'demo')
        return async (): Promise<void> => {
          for (let n = 0; ; n++) {
            await client.query(`insert into journal values ('${writer}-${n}')`)
            acknowledged.push(`${writer}-${n}`)
          }
        }
      }))
      const ends = writers.map((write) => write().catch(() => undefined))
      await until('they write', async () => acknowledged.length > 200)

      const lostSite = siteOf(site.home)
      await loseHome(site)
      await Promise.all(ends)
      assert.deepEqual((await site.json('list')).instances, [])
      const {plan} = await site.json('agent', 'adopt', '--site', lostSite, '--plan')
      assert.equal(plan.steps.filter((step: string) => step === 'demo: choose-primary').length, 1, JSON.stringify(plan))

      const adopted = await site.json('agent', 'adopt', '--site', lostSite)
      assert.deepEqual(adopted.operations?.map((o: {status: string}) => o.status), ['succeeded'], JSON.stringify(adopted))
      const after = await untilWhole(site, 'demo')
      assert.deepEqual([after.id, after.high_availability, replicasOf(after).length], [before.id, true, 2])
      assert.deepEqual(after.nodes.map(({id}) => id).sort(), before.nodes.map(({id}) => id).sort())
      const client = await connectTo(site, 'demo')
      const ids = (await client.query('select id from journal')).map(([id]) => String(id))
      await client.close()
      const there = new Set(ids)
      assert.equal(there.size, ids.length, 'rows are doubled')
      assert.deepEqual(acknowledged.filter((id) => !there.has(id)), [], 'acknowledged rows are lost')
      await assertSameEverywhere(site, after)
      process.stdout.write(`      ${acknowledged.length} acknowledged, 0 lost; ${primaryOf(before).name} was the primary, ${primaryOf(after).name} is\n`)
    })

    it('survives its primary from then on, and leaves nothing when it is deleted', async () => {
      // it is protected from now on, beginning with a backup
      await until('its first backup', async () => (await instanceOf(site, 'demo')).backup.last_backup_at !== null)
      const drill = await site.json('drill', 'failover', 'demo', '--kill')
      assert.equal(drill.operation?.status, 'succeeded', JSON.stringify(drill))
      const {lost_writes: lost, doubled_writes: doubled} = drill.operation.result as FailoverReceipt
      assert.deepEqual([lost, doubled], [0, 0])
      await untilWhole(site, 'demo')
      assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
      assert.deepEqual(leftoversOf(site.home), [])
    })
  })
}

/** A home that was lost, of a database that was backed up: whoever takes it over has its backups, too, if they have its key. */
import assert from 'node:assert/strict'
import {writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {query} from '../support/clients.js'
import {leftoversOf, siteOf} from '../support/leftovers.js'
import {loseHome} from '../support/lost-home.js'
import {cells} from '../support/matrix.js'
import {full} from '../support/runs.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

interface Backup {
  readonly id: string
  readonly status: string
  readonly trigger: string
}

// what differs on docker is in adopt.test.ts: here it is for test:full
for (const cell of cells.filter(({engine, runtime}) => engine === 'postgresql' && (full || runtime === 'process'))) {
  describe(`adopt a database with backups: ${cell.title}`, function () {
    cell.need()
    this.timeout(300_000)
    let site: Site
    let key: string
    let first: string
    const between = 'between'
    before(() => {
      site = temporarySite('adopt-backups', {env: {DBAAS_POOL_SIZE: '0', ...cell.env}})
    })
    after(() => site?.dispose())

    const backups = async (): Promise<Backup[]> => (await site.json('backups', 'list', 'demo')).backups
    const completed = async (): Promise<Backup[]> => (await backups()).filter(({status}) => status === 'completed')
    async function run(...args: string[]): Promise<void> {
      const {code, stderr} = await site.run(...args)
      assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    }
    async function adopted(lostSite: string): Promise<{backups: number; backups_sealed: boolean}> {
      const {operations} = await site.json('agent', 'adopt', '--site', lostSite)
      assert.deepEqual(operations?.map((o: {status: string}) => o.status), ['succeeded'], JSON.stringify(operations))
      return operations[0].result
    }
    const holds = async (): Promise<string[]> => (await query(site, 'demo', 'select slot_name from pg_replication_slots order by 1')).map(([name]) => String(name))

    it('finds them where the key is: none is lost, and the log goes on', async () => {
      const made = await site.json('create', 'demo', '--runtime', cell.runtime, '--size', 'micro', ...cell.flags)
      assert.equal(made.operation?.status, 'succeeded', JSON.stringify(made))
      await until('its first backup', async () => (await completed()).length === 1, 60_000)
      await query(site, 'demo', 'create table t (n int)')
      await query(site, 'demo', 'insert into t values (1)')
      await run('backup', 'demo', '--label', 'one')
      await run('backups', 'point', 'demo', between)
      await query(site, 'demo', 'insert into t values (2)')
      await run('backup', 'demo')
      const before = await completed()
      assert.equal(before.length, 3)
      first = before.find(({trigger}) => trigger === 'first')?.id as string
      const window = (await site.json('status', 'demo')).instance.backup.recoverable_from
      key = (await site.json('keys', 'export')).keys[0].key
      writeFileSync(join(site.home, '..', 'key'), key)
      const held = await holds()

      const lostSite = siteOf(site.home)
      await loseHome(site)
      await run('keys', 'import', join(site.home, '..', 'key'))
      const {backups: found, backups_sealed: sealed} = await adopted(lostSite)
      assert.deepEqual([found, sealed], [3, false])
      assert.deepEqual(await holds(), held)
      const again = await backups()
      for (const {id} of before) assert.equal(again.find((b) => b.id === id)?.status, 'completed', id)
      assert.equal((await site.json('backups', 'show', 'one')).backup.label, 'one')

      // no new backup stands in for them, and what the repository has of them stays
      await until('a backup of the new site', async () => (await completed()).length > before.length, 60_000)
      await run('backups', 'verify', first)
      await run('restore', 'demo', '--to', between, '--into', 'then')
      assert.deepEqual(await query(site, 'then', 'select n from t'), [['1']])
      await run('restore', 'demo', '--to', first, '--into', 'empty')
      assert.deepEqual(await query(site, 'empty', "select count(*) from pg_class where relname = 't'"), [['0']])
      // proven by having been read: it is on the line that goes on to now
      assert.equal((await site.json('status', 'demo')).instance.backup.recoverable_from, window)
      for (const name of ['then', 'empty']) await run('delete', name, '--yes')
    })

    it('protects it anew where it is not, and what was stays sealed until the key is put back', async () => {
      const before = await completed()
      const lostSite = siteOf(site.home)
      const held = await holds()
      await loseHome(site)
      const {backups: found, backups_sealed: sealed} = await adopted(lostSite)
      assert.deepEqual([found, sealed], [0, true])
      await until('a backup of its own', async () => (await completed()).length === 1, 60_000)
      const [own] = await completed() as [Backup]
      assert.equal((await site.json('status', 'demo')).instance.status, 'running')
      // what nobody follows any more holds nothing
      const now = await holds()
      assert.ok(now.length === 1 && !held.includes(now[0] as string), `${held} ${now}`)
      assert.equal((await site.json('restore', 'demo', '--to', between, '--into', 'then')).error.code, 'TARGET_UNREACHABLE')
      // another key in the meantime opens no more than the one before
      await run('keys', 'rotate')
      await query(site, 'demo', 'insert into t values (3)')

      await run('keys', 'import', join(site.home, '..', 'key'))
      const all = await completed()
      for (const {id} of [...before, own]) assert.ok(all.some((b) => b.id === id), id)
      await run('restore', 'demo', '--to', between, '--into', 'then')
      assert.deepEqual(await query(site, 'then', 'select n from t'), [['1']])
      await run('restore', 'demo', '--to', 'latest', '--into', 'now')
      assert.deepEqual(await query(site, 'now', 'select n from t order by n'), [['1'], ['2'], ['3']])
      await run('backup', 'demo')
      for (const name of ['then', 'now']) await run('delete', name, '--yes')
    })

    if (cell.runtime === 'process') {
      it('keeps what it cannot read, too, when backups are to be kept', async () => {
        const before = await completed()
        const lostSite = siteOf(site.home)
        await loseHome(site)
        assert.equal((await adopted(lostSite)).backups_sealed, true)
        await until('a backup of its own', async () => (await completed()).length === 1, 60_000)
        await run('delete', 'demo', '--keep-backups', '--yes')
        await run('keys', 'import', join(site.home, '..', 'key'))
        const kept = await completed()
        // those of the histories before the last one say themselves whose they are
        assert.ok(before.filter(({id}) => kept.some((b) => b.id === id)).length > 0, JSON.stringify(kept))
        await run('restore', 'demo', '--to', 'latest', '--into', 'back')
        for (const {id} of kept) await run('backups', 'delete', id, '--yes')
        await run('delete', 'back', '--yes')
      })
    }

    it('leaves nothing when it is deleted, of what it was before either', async () => {
      if (cell.runtime !== 'process') await run('delete', 'demo', '--yes')
      assert.deepEqual(leftoversOf(site.home), [])
    })
  })
}

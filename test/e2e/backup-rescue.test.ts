/** The place of the backups is lost, or all of the machine: what was copied elsewhere takes its place, here or on another machine. */
import assert from 'node:assert/strict'
import {existsSync, readdirSync, renameSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {query} from '../support/clients.js'
import {leftoversOf} from '../support/leftovers.js'
import {temporarySite, type Site} from '../support/site.js'
import {temporaryFolder} from '../support/temporary.js'
import {until} from '../support/until.js'

describe('backups whose place is lost', function () {
  this.timeout(300_000)
  const folder = temporaryFolder('rescue')
  const [offsite, third, unmounted, keyFile] = ['offsite', 'third', 'unmounted', 'key'].map((name) => join(folder.path, name)) as [string, string, string, string]
  let site: Site
  let other: Site
  let local: string
  before(async () => {
    site = temporarySite('rescue', {env: {DBAAS_POOL_SIZE: '0'}})
    other = temporarySite('rescue-other', {env: {DBAAS_POOL_SIZE: '0'}})
  })
  after(async () => {
    await site?.dispose()
    await other?.dispose()
    folder.dispose()
  })

  async function run(of: Site, ...args: string[]): Promise<string> {
    const {code, stdout, stderr} = await of.run(...args)
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const backups = async (of: Site): Promise<{id: string; status: string; label: string | null; repository: string}[]> => (await of.json('backups', 'list')).backups
  const repository = async (name: string) => (await site.json('repositories', 'list')).repositories.find((r: {name: string}) => r.name === name)
  const snapshots = (root: string): string => readdirSync(root, {recursive: true}).map(String).filter((name) => /\/snapshots\/\d+$/.test(name)).sort().join()

  it('are kept in the copy from then on, as far as it had come', async () => {
    assert.equal((await site.json('create', 'demo', '--size', 'micro')).operation?.status, 'succeeded')
    await until('the first backup', async () => (await backups(site)).some(({status}) => status === 'completed'), 60_000)
    await query(site, 'demo', 'create table t (n int)')
    await query(site, 'demo', 'insert into t values (1)')
    await run(site, 'backup', 'demo', '--label', 'one')
    local = (await repository('local')).location
    await run(site, 'repositories', 'add', 'offsite', offsite, '--copy-of', 'local')
    await until('that it is copied', async () => existsSync(offsite) && snapshots(offsite) !== '' && snapshots(offsite) === snapshots(local), 60_000)

    const early = await site.json('repositories', 'promote', 'offsite')
    assert.equal(early.error.code, 'INVALID_STATE')
    assert.match(early.error.message, /local answers/)
    assert.equal((await site.json('repositories', 'promote', 'local')).error.code, 'INVALID_STATE')
    assert.equal((await site.json('repositories', 'promote', 'ofsite')).error.code, 'REPOSITORY_NOT_FOUND')
    assert.deepEqual((await other.json('repositories', 'add', 'stolen', offsite)).error.code, 'REPOSITORY_REFUSED')

    // the copy is away for the last backup, and then the original is lost
    renameSync(offsite, unmounted)
    await run(site, 'backup', 'demo', '--label', 'late')
    renameSync(local, `${local}.lost`)
    renameSync(unmounted, offsite)
    assert.deepEqual((await site.json('repositories', 'promote', 'offsite', '--plan')).plan.steps, ['check', 'promote', 'move'])
    assert.equal((await repository('offsite')).copy.of, 'local')
    const {repository: promoted, backups_lost: lost} = await site.json('repositories', 'promote', 'offsite')
    assert.deepEqual([promoted.copy, lost], [null, 1])
    const labelled = async (label: string) => (await backups(site)).find((b) => b.label === label)
    assert.deepEqual([(await labelled('one'))?.status, (await labelled('one'))?.repository, (await labelled('late'))?.status], ['completed', 'offsite', 'damaged'])

    // it goes on: what is written now can be restored
    await query(site, 'demo', 'insert into t values (2)')
    assert.match((await site.json('status', 'demo')).instance.status_reason, /it was not copied yet when local was lost/)
    await run(site, 'backup', 'demo', '--label', 'after')
    assert.equal((await site.json('status', 'demo')).instance.status, 'running')
    // the number that the lost one had is that of another one by now
    const again = await site.json('backups', 'verify', 'late')
    assert.equal(again.error?.code, 'INVALID_STATE', JSON.stringify(again))
    await run(site, 'backups', 'delete', 'late', '--yes')
    await run(site, 'backups', 'verify', 'after')
    await run(site, 'restore', 'demo', '--to', 'latest', '--into', 'now')
    assert.deepEqual(await query(site, 'now', 'select n from t order by n'), [['1'], ['2']])
    await run(site, 'restore', 'demo', '--to', 'one', '--into', 'then')
    assert.deepEqual(await query(site, 'then', 'select n from t order by n'), [['1']])
    for (const name of ['now', 'then']) await run(site, 'delete', name, '--yes')
  })

  it('can be restored on another machine, by whoever has the key', async () => {
    await run(site, 'repositories', 'add', 'third', third, '--copy-of', 'offsite')
    await until('that it is copied', async () => existsSync(third) && snapshots(third) !== '' && snapshots(third) === snapshots(offsite), 60_000)
    writeFileSync(keyFile, await run(site, 'keys', 'export'))
    const theirs = (await backups(site)).filter(({status}) => status === 'completed').map(({id}) => id)

    const refused = await other.json('repositories', 'add', 'rescued', third)
    assert.equal(refused.error.code, 'REPOSITORY_REFUSED')
    assert.match(refused.error.suggestions.join(), /--promote/)
    assert.equal((await other.json('repositories', 'add', 'rescued', third, '--promote', '--copy-of', 'local')).error.code, 'USAGE')
    // without the key there is nothing to see
    const added = await other.json('repositories', 'add', 'rescued', third, '--promote')
    assert.deepEqual([added.repository?.copy, added.backups_found], [null, 0], JSON.stringify(added))
    assert.equal((await other.json('restore', 'demo', '--to', 'latest', '--into', 'demo')).error.code, 'BACKUP_NOT_FOUND')
    const {operation} = await other.json('keys', 'import', keyFile)
    assert.equal(operation.result.backups, theirs.length)
    const here = await backups(other)
    for (const id of theirs) assert.ok(here.some((b) => b.id === id && b.status === 'completed'), id)

    // what it found is not its own: it is forgotten and found again, and nothing of it is removed
    const before = snapshots(third)
    await run(other, 'repositories', 'remove', 'rescued', '--yes')
    assert.equal((await backups(other)).some(({id}) => theirs.includes(id)), false)
    assert.equal((await other.json('repositories', 'add', 'rescued', third)).backups_found, theirs.length)
    assert.equal(snapshots(third), before)
    await run(other, 'restore', 'demo', '--to', 'latest', '--into', 'demo')
    assert.deepEqual(await query(other, 'demo', 'select n from t order by n'), [['1'], ['2']])
    assert.equal((await other.json('repositories', 'remove', 'rescued', '--yes')).error.code, 'INVALID_STATE')
  })

  it('are gone with what they are of', async () => {
    await run(other, 'delete', 'demo', '--yes')
    for (const {id} of await backups(other)) await run(other, 'backups', 'delete', id, '--yes')
    await run(site, 'delete', 'demo', '--yes')
    for (const root of [offsite, third]) assert.equal(snapshots(root), '')
    for (const name of ['third', 'offsite']) await run(site, 'repositories', 'remove', name, '--yes')
    await run(other, 'repositories', 'remove', 'rescued', '--yes')
    assert.deepEqual([...leftoversOf(site.home), ...leftoversOf(other.home)], [])
  })
})

/** Clones say what they are: a reflink on a real XFS, a copy elsewhere and of the past. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {chmodSync, truncateSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {startWriter} from '../support/writer.js'
import {clientOf} from '../support/probed-agent.js'
import {dataRootOf, temporarySite, type Site} from '../support/site.js'
import {temporaryFolder} from '../support/temporary.js'
import {until} from '../support/until.js'

describe('clones on a file system with reflinks', function () {
  this.timeout(180_000)
  const folder = temporaryFolder('xfs')
  const mounted = join(folder.path, 'fs')
  let site: Site
  const backedUp = (name: string) => until(`the first backup of ${name}`, async () =>
    (await clientOf(site).call('instances.get', {params: {instance: name}})).instance.backup.recoverable_to !== null, 90)
  const count = async (name: string): Promise<number> => Number((await site.json('sql', name, 'select count(*) from filler')).rows[0][0])
  const usedBytes = (): number => Number(execFileSync('df', ['--output=used', '-B1', mounted]).toString().split('\n')[1])

  before(async () => {
    const image = join(folder.path, 'image')
    writeFileSync(image, '')
    truncateSync(image, 1024 ** 3)
    execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', image])
    execFileSync('mkdir', [mounted])
    execFileSync('mount', ['-o', 'loop', image, mounted])
    chmodSync(folder.path, 0o711)
    site = temporarySite('reflinks', {folder: join(mounted, 'home'), env: {DBAAS_POOL_SIZE: '0'}})
    const created = await site.run('create', 'demo', '--size', 'micro')
    assert.equal(created.code, 0, created.stderr)
    const filled = await site.json('sql', 'demo', "create table filler as select n, repeat(md5(n::text), 20) as text from generate_series(1, 100000) n")
    assert.equal(filled.row_count, 100_000)
    await backedUp('demo')
  })
  after(async () => {
    await site?.dispose()
    execFileSync('umount', [mounted])
    folder.dispose()
  })

  it('are reflinks that share their blocks, with all that was committed, while writers go on', async () => {
    const writer = await startWriter(site, 'demo', 5)
    const before = usedBytes()
    const {operation, instance} = await site.json('clone', 'demo', 'copy')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    assert.equal(operation.result.method, 'reflink')
    const {lost} = await writer.stop()
    assert.deepEqual(lost, [])
    assert.equal(await count('copy'), 100_000)
    assert.equal(instance.nodes.length, 1)
    // its log and its first backup are its own
    const [grown, size] = [usedBytes() - before, Number(execFileSync('du', ['-sb', join(dataRootOf(site.home), 'instances', instance.id)]).toString().split('\t')[0])]
    assert.ok(size > 150_000_000 && grown < size * 0.6, `it has ${size} bytes, and ${grown} bytes more are used`)
  })

  it('are databases of their own, which are protected by themselves', async () => {
    assert.equal((await site.json('sql', 'copy', 'delete from filler where n > 10')).row_count, 99_990)
    assert.deepEqual([await count('copy'), await count('demo')], [10, 100_000])
    await backedUp('copy')
    const checked = await site.json('sql', 'copy', 'select count(*) from filler where text = repeat(md5(n::text), 20)')
    assert.deepEqual(checked.rows, [['10']])
  })

  it('are copies where they are of the past', async () => {
    const {operation} = await site.json('clone', 'demo', 'then', '--at', 'latest')
    assert.equal(operation.result.method, 'reflink')
    await site.run('delete', 'then', '--yes')
    const at = new Date().toISOString()
    await until('the log up to then', async () => ((await clientOf(site).call('instances.get', {params: {instance: 'demo'}})).instance.backup.recoverable_to ?? '') > at, 60)
    const past = await site.json('clone', 'demo', 'then', '--at', at)
    assert.equal(past.operation?.result?.method, 'copy', JSON.stringify(past))
    assert.equal(await count('then'), 100_000)
  })
})

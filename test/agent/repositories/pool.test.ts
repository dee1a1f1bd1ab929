/** Worker threads: the same results as without, the agent's own thread free, memory bounded, death survived. */
import assert from 'node:assert/strict'
import {createHash, randomBytes} from 'node:crypto'
import {readdirSync, readFileSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import {monitorEventLoopDelay} from 'node:perf_hooks'
import {pathToFileURL} from 'node:url'
import {build} from 'esbuild'
import {createPool, type Pool} from '../../../src/agent/repositories/vault/pool.js'
import {projectRoot} from '../../support/site.js'
import {temporaryFolder} from '../../support/temporary.js'
import {assertSameFiles, contentsOf, makePlace, takeSnapshot, whole, type Place} from './support.js'

const mib = 1024 * 1024
const rows = Buffer.from(Array.from({length: 4000}, (_, i) => `${i},customer ${i % 97},shipped,2026-11-${(i % 28) + 1}\n`).join(''))

/** Rows with noise between: about as compressible as a table is. No page is there twice, and making them costs next to nothing. */
function* heap(bytes: number): Generator<Uint8Array> {
  const pattern = Buffer.alloc(4 * mib)
  for (let at = 0; at < pattern.length; at += 512) {
    rows.copy(pattern, at, Math.floor(Math.random() * (rows.length - 512)))
    pattern.set(randomBytes(128), at)
  }
  for (let at = 0; at < bytes; at += 64 * 1024) {
    const chunk = pattern.subarray(at % pattern.length, (at % pattern.length) + 64 * 1024)
    for (let page = 0; page < chunk.length; page += 8192) chunk.writeDoubleLE(Math.random(), page)
    yield chunk
  }
}

describe('worker threads of the repository', function () {
  this.timeout(120_000)
  let place: Place
  let pool: Pool
  before(async () => {
    place = await makePlace('pool')
    pool = createPool(2)
  })
  after(async () => {
    await pool.close()
    place.dispose()
  })

  it('write and read what one thread would, and are behind other work where the system can tell', async () => {
    const vault = place.vault({pool, packBytes: 2 * mib})
    const files = new Map([['a', randomBytes(6 * mib)], ['b', Buffer.concat([Buffer.alloc(3 * mib), rows])], ['c', Buffer.from('x')]])
    const n = await takeSnapshot(vault, null, files)
    assertSameFiles(await contentsOf(vault, n), files)
    assertSameFiles(await contentsOf(place.vault(), n), files)
    assert.deepEqual((await vault.verify(n)).damages, [])
    const changed = Buffer.from(files.get('a') as Buffer)
    changed.set(randomBytes(9), 77_777)
    const next = await takeSnapshot(vault, n, new Map([...files, ['a', changed]]))
    assertSameFiles(await contentsOf(place.vault(), next), new Map([...files, ['a', changed]]))
    if (process.platform === 'linux') {
      const nice = readdirSync('/proc/self/task').map((task) => readFileSync(`/proc/self/task/${task}/stat`, 'utf8').split(') ')[1]?.split(' ')[16])
      assert.equal(nice.filter((value) => value === '10').length >= 2, true, nice.join(' '))
      const own = readFileSync(`/proc/${readlinkSync('/proc/thread-self')}/stat`, 'utf8').split(') ')[1]?.split(' ')[16]
      assert.notEqual(own, '10')
    }
  })

  it('leave the agent\'s own thread free, and take no more memory for more data', async () => {
    const vault = place.vault({pool})
    const delays = monitorEventLoopDelay({resolution: 5})
    const before = process.memoryUsage().rss
    delays.enable()
    let peak = before
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20)
    const n = await takeSnapshot(vault, null, [{path: 'heap', pageSize: 8192, content: {kind: 'whole', bytes: heap(192 * mib)}}])
    const hash = createHash('sha256')
    for await (const bytes of vault.read(await vault.tree(n), 'heap')) hash.update(bytes.subarray(0, 10))
    clearInterval(watch)
    delays.disable()
    assert.ok(peak - before < 400 * mib, `${Math.round((peak - before) / mib)} MiB more`)
    assert.ok(delays.percentile(99) / 1e6 < 100, `${delays.percentile(99) / 1e6} ms`)
  })

  it('that die fail what they had a part in, and what comes next works', async () => {
    const mortal = createPool(1)
    try {
      const vault = place.vault({pool: mortal})
      const writer = await vault.begin(null)
      await writer.write(whole('f', randomBytes(mib)))
      const dying = mortal.run({kind: 'verify', keys: null as never, name: '', content: null as never, salt: null as never, blobs: null as never})
      await assert.rejects(dying, {code: 'INTERNAL'})
      await mortal.close()
      await assert.rejects(writer.commit({}), {code: 'INTERNAL'})
      await writer.abort('it failed')
      const files = new Map([['f', randomBytes(mib)]])
      assertSameFiles(await contentsOf(vault, await takeSnapshot(vault, null, files)), files)
    } finally {
      await mortal.close()
    }
  })

  it('are found beside the bundle that starts them', async () => {
    const {path, dispose} = temporaryFolder('pool-bundle')
    try {
      const source = join(projectRoot, 'src/agent/repositories/vault')
      await build({
        entryPoints: {main: join(source, 'pool.ts'), 'backup-worker': join(source, 'worker.ts')}, outdir: path, bundle: true, platform: 'node', target: 'node20.19',
        format: 'esm', logLevel: 'error', outExtension: {'.js': '.js'},
      })
      const bundled = (await import(pathToFileURL(join(path, 'main.js')).href)) as {createPool: typeof createPool}
      const alone = bundled.createPool(1)
      const {answer} = await alone.run({kind: 'hash', content: Buffer.from('abc')})
      assert.equal(answer.sha256, createHash('sha256').update('abc').digest('hex'))
      await alone.close()
    } finally {
      dispose()
    }
  })
})

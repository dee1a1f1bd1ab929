/** Snapshots against a model: what is read back is what the files were, whatever happened to them between. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import fc from 'fast-check'
import {DbaasError} from '../../../src/core/errors.js'
import type {ChangedPage, FileInput} from '../../../src/agent/repositories/vault/writer.js'
import {assertSameFiles, contentsOf, makePlace, takeSnapshot, whole, type Place} from './support.js'

const mib = 1024 * 1024

/** Pages of random bytes, of zeros, and of a few known ones. */
function fill(pages: number, pageSize: number, seed: number): Buffer {
  const bytes = Buffer.alloc(pages * pageSize)
  for (let page = 0; page < pages; page++) {
    const kind = (page * 7 + seed) % 5
    if (kind === 0) continue
    const at = page * pageSize
    if (kind === 1) bytes.fill(`row ${page % 3} `, at, at + pageSize)
    else bytes.set(randomBytes(64), at + (kind * 97) % (pageSize - 64))
  }
  return bytes
}

interface Edit {
  readonly kind: 'pages' | 'grow' | 'shrink' | 'zero' | 'new' | 'drop' | 'nothing' | 'odd'
  readonly file: number
  readonly share: number
  /** Whether this file comes as changed pages in the next snapshot. */
  readonly changed: boolean
}

const edit: fc.Arbitrary<Edit> = fc.record({
  kind: fc.constantFrom('pages', 'grow', 'shrink', 'zero', 'new', 'drop', 'nothing', 'odd'), file: fc.nat(9), share: fc.double({min: 0, max: 1, noNaN: true}), changed: fc.boolean(),
})

function applyEdit(files: Map<string, Buffer>, {kind, file, share}: Edit, pageSize: number): void {
  const paths = [...files.keys()]
  const path = paths[file % paths.length] as string
  const old = files.get(path) as Buffer
  const pages = Math.ceil(old.length / pageSize)
  const touched = Math.max(1, Math.floor(share * share * pages))
  if (kind === 'new') files.set(`base/${file}-${paths.length}`, fill(Math.floor(share * 300), pageSize, file))
  else if (kind === 'drop' && paths.length > 1) files.delete(path)
  else if (kind === 'grow') files.set(path, Buffer.concat([old, fill(Math.floor(share * 200), pageSize, file)]))
  else if (kind === 'shrink') files.set(path, Buffer.from(old.subarray(0, Math.floor(share * pages) * pageSize)))
  else if (kind === 'odd') files.set(path, Buffer.from(old.subarray(0, Math.floor(share * old.length))))
  else if (kind === 'pages' || kind === 'zero') {
    const next = Buffer.from(old)
    for (let i = 0; i < touched && pages > 0; i++) {
      const at = Math.floor(((i * 31 + file) % pages)) * pageSize
      const end = Math.min(next.length, at + pageSize)
      if (kind === 'zero') next.fill(0, at, end)
      else next.set(randomBytes(Math.min(32, end - at)), at)
    }
    files.set(path, next)
  }
}

/** What the caller of a snapshot knows of a file whose changes are tracked: pages that differ, and some that do not. */
function changesOf(path: string, old: Buffer, now: Buffer, pageSize: number): FileInput {
  const pages: ChangedPage[] = []
  for (let page = 0; page * pageSize < now.length; page++) {
    const [was, is] = [old.subarray(page * pageSize, (page + 1) * pageSize), now.subarray(page * pageSize, (page + 1) * pageSize)]
    const beyond = page * pageSize >= old.length
    const asBefore = beyond ? is.every((byte) => byte === 0) : was.equals(is)
    if (!asBefore || page % 41 === 40) pages.push({page, bytes: is})
  }
  return {path, pageSize, content: {kind: 'changed', length: now.length, pages}}
}

async function disposablePlace() {
  const place = await makePlace('snapshots')
  return {place, [Symbol.asyncDispose]: async () => place.dispose()}
}

describe('snapshots', function () {
  this.timeout(120_000)
  let place: Place
  before(async () => {
    place = await makePlace('snapshots')
  })
  after(() => place.dispose())

  it('give back what they were given, whatever was changed, cut, grown, zeroed or dropped between', async () => {
    await fc.assert(fc.asyncProperty(
      fc.constantFrom(8192, 16_384), fc.array(fc.array(edit, {maxLength: 5}), {minLength: 1, maxLength: 6}), async (pageSize, rounds) => {
        await using own = await disposablePlace()
        const {place} = own
        const vault = place.vault()
        let files = new Map([['base/1', fill(300, pageSize, 1)], ['base/2', fill(3, pageSize, 2)], ['PG_VERSION', Buffer.from('18\n')], ['empty', Buffer.alloc(0)]])
        let previous = await takeSnapshot(vault, null, [...files].map(([path, bytes]) => whole(path, bytes, pageSize)))
        const taken = [{n: previous, files}]
        for (const edits of rounds) {
          const next = new Map(files)
          for (const one of edits) applyEdit(next, one, pageSize)
          const tracked = new Set(edits.filter(({changed}) => changed).map(({file}) => [...next.keys()][file % next.size]))
          const inputs = [...next].map(([path, bytes]) => {
            const old = files.get(path)
            return tracked.has(path) && old ? changesOf(path, old, bytes, pageSize) : whole(path, bytes, pageSize)
          })
          previous = await takeSnapshot(vault, previous, inputs)
          files = next
          taken.push({n: previous, files})
        }
        // Each is complete by itself: whichever are deleted, the others stay whole.
        for (const {n} of taken.filter((_, i) => i % 2 === 0)) await vault.delete(n)
        const collected = await vault.collect()
        assert.equal(collected.because, null)
        for (const {n, files: expected} of taken.filter((_, i) => i % 2 === 1)) {
          assertSameFiles(await contentsOf(vault, n), expected)
          assert.deepEqual((await vault.verify(n)).damages, [])
        }
        for (const {n} of taken.filter((_, i) => i % 2 === 1)) await vault.delete(n)
        await vault.collect()
        assert.deepEqual((await place.store.list(`${place.keys.incarnation}/packs/`)).objects, [])
      },
    ), {numRuns: 60})
  })

  it('store a page that changed, not the extent around it, and nothing for what did not change', async () => {
    const vault = place.vault()
    const random = randomBytes(32 * mib)
    const first = await takeSnapshot(vault, null, new Map([['heap', random]]))
    const same = await vault.snapshot(await takeSnapshot(vault, first, new Map([['heap', random]])))
    assert.ok(same.storedBytes < 20_000, `${same.storedBytes} bytes for no change`)
    const changed = Buffer.from(random)
    for (let page = 0; page < 4096; page += 100) changed.set(randomBytes(16), page * 8192)
    const second = await vault.snapshot(await takeSnapshot(vault, same.number, new Map([['heap', changed]])))
    assert.ok(second.storedBytes < 41 * 8192 * 1.1, `${second.storedBytes} bytes for 41 pages`)
    assertSameFiles(await contentsOf(vault, second.number), new Map([['heap', changed]]))
  })

  it('cost nothing for zeros', async () => {
    const vault = place.vault()
    const sparse = await vault.snapshot(await takeSnapshot(vault, null, new Map([['zeros', Buffer.alloc(50 * mib)]])))
    assert.ok(sparse.storedBytes < 2000, `${sparse.storedBytes} bytes`)
    const chunks: Uint8Array[] = []
    for await (const bytes of vault.read(await vault.tree(sparse.number), 'zeros')) chunks.push(bytes)
    assert.ok(Buffer.concat(chunks).equals(Buffer.alloc(50 * mib)))
  })

  it('store equal files once, and do not store again what a crashed session left', async () => {
    const vault = place.vault()
    const bytes = randomBytes(4 * mib)
    const twice = await vault.snapshot(await takeSnapshot(vault, null, new Map([['a', bytes], ['b', bytes]])))
    assert.ok(twice.storedBytes < 4.1 * mib, `${twice.storedBytes} bytes`)
    const other = randomBytes(20 * mib)
    const crashed = await vault.begin(null)
    await crashed.write(whole('c', other))
    await crashed.abort('killed')
    const again = await vault.snapshot(await takeSnapshot(vault, null, new Map([['c', other]])))
    // the pack that was still open was lost
    assert.ok(again.storedBytes < 8 * mib, `${again.storedBytes} bytes`)
    await vault.collect()
    assertSameFiles(await contentsOf(vault, again.number), new Map([['c', other]]))
  })

  it('stay readable and small over many rounds of small changes', async () => {
    const vault = place.vault()
    let bytes = randomBytes(4 * mib)
    let n = await takeSnapshot(vault, null, new Map([['heap', bytes]]))
    let stored = 0
    for (let round = 0; round < 60; round++) {
      bytes = Buffer.from(bytes)
      for (let i = 0; i < 5; i++) bytes.set(randomBytes(8), ((round * 131 + i * 97) % 512) * 8192)
      // as whole files and as changed pages in turn
      const previous = n
      const old = await contentsOf(vault, previous)
      n = await takeSnapshot(vault, previous, round % 2 === 0 ? new Map([['heap', bytes]]) : [changesOf('heap', old.get('heap') as Buffer, bytes, 8192)])
      stored += (await vault.snapshot(n)).storedBytes
      const tree = await vault.tree(n)
      for (let i = 0; i < 4; i++) assert.ok(tree.extent(i).length <= 18)
    }
    assertSameFiles(await contentsOf(vault, n), new Map([['heap', bytes]]))
    // 60 rounds of 5 pages are 2.4 MB; whole extents after 4 deltas would be 48 MB
    assert.ok(stored < 14 * mib, `${stored} bytes`)
  })

  it('of thousands of files, most of them empty or small, are quick and not large', async () => {
    const vault = place.vault()
    const files = new Map(Array.from({length: 6000}, (_, i) => [`base/16384/${i}${i % 3 === 0 ? '_fsm' : ''}`, i % 2 === 0 ? Buffer.alloc(0) : Buffer.from(`${i}`.repeat(1 + (i % 50)))]))
    const began = performance.now()
    const one = await vault.snapshot(await takeSnapshot(vault, null, files))
    const two = await vault.snapshot(await takeSnapshot(vault, one.number, files))
    assertSameFiles(await contentsOf(vault, two.number), files)
    assert.ok(one.storedBytes < 2 * mib, `${one.storedBytes} bytes`)
    assert.ok(two.storedBytes < mib, `${two.storedBytes} bytes for no change`)
    assert.ok(performance.now() - began < 30_000, `${performance.now() - began} ms`)
  })

  it('give back paths and attributes as they were, whatever text they are', async () => {
    const vault = place.vault()
    const paths = ['pg_tblspc/16385/PG_18_202506291/5/1', '/var/lib/elsewhere/табл/1', '../../etc/passwd', 'a\nb"\\', 'x'.repeat(5000), '', 'C:\\data\\1', '\ud800']
    const inputs = paths.map((path, i): FileInput => ({path, pageSize: 8192, attributes: {mode: 0o600 + i, link: path}, content: {kind: 'whole', bytes: [Buffer.from(`${i}`)]}}))
    const n = await takeSnapshot(vault, null, inputs)
    const tree = await vault.tree(n)
    assert.deepEqual(tree.files.map(({path, attributes}) => [path, attributes]), paths.map((path, i) => [path, {mode: 0o600 + i, link: path}]))
    await assert.rejects(takeSnapshot(vault, n, [whole('twice', Buffer.alloc(1)), whole('twice', Buffer.alloc(2))]), {code: 'INTERNAL'})
  })

  it('are read from a repository that may only be read, and checked there', async () => {
    const files = new Map([['f', randomBytes(100_000)]])
    const n = await takeSnapshot(place.vault(), null, files)
    const refuse = async (): Promise<never> => { throw new DbaasError('REPOSITORY_REFUSED', 'it is mounted to be read only') }
    const reader = place.vault({store: {...place.store, prepare: refuse, put: refuse, putIfAbsent: refuse, delete: refuse, barrier: refuse}})
    assertSameFiles(await contentsOf(reader, n), files)
    const {damages, recorded} = await reader.verify(n)
    assert.deepEqual({damages, recorded}, {damages: [], recorded: false})
    await assert.rejects(reader.begin(n), {code: 'REPOSITORY_REFUSED'})
  })

  it('are read again though they were verified, when the clock was wrong then', async () => {
    const own = await makePlace('snapshots-clock')
    try {
      const n = await takeSnapshot(own.vault(), null, new Map([['f', randomBytes(10_000)]]))
      const now = own.clock.time
      await own.vault().verify(n)
      assert.deepEqual([(await own.vault().verify(n, now - 1000)).skipped], [1])
      own.clock.time = now + 400 * 86_400_000
      await own.vault().verify(n)
      own.clock.time = now + 10 * 86_400_000
      const {skipped, packs} = await own.vault().verify(n, own.clock.time - 1000)
      assert.deepEqual({skipped, packs}, {skipped: 0, packs: 1})
    } finally {
      own.dispose()
    }
  })

  it('leave who restores alone once a restore has failed', async () => {
    const vault = place.vault({packBytes: mib})
    const n = await takeSnapshot(vault, null, new Map(Array.from({length: 80}, (_, i) => [`f${i}`, randomBytes(mib)])))
    let calls = 0
    const slow = async () => {
      calls++
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const failing = vault.restore(await vault.tree(n), {begin: slow, end: slow, write: async ({path}) => {
      await slow()
      if (path === 'f3') throw new DbaasError('DISK_FULL', 'the disk is full')
    }})
    await assert.rejects(failing, {code: 'DISK_FULL'})
    const then = calls
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(calls, then)
    assert.ok(calls < 200, `${calls} calls`)
  })

  it('refuse changed pages of a file that they do not know, out of order, beyond its end, or cut in a page', async () => {
    const vault = place.vault()
    const n = await takeSnapshot(vault, null, new Map([['f', fill(20, 8192, 0)]]))
    const page = Buffer.alloc(8192, 1)
    const attempt = (path: string, length: number, pages: ChangedPage[]) => takeSnapshot(vault, n, [{path, pageSize: 8192, content: {kind: 'changed', length, pages}}])
    await assert.rejects(attempt('unknown', 8192, []), {code: 'INTERNAL'})
    await assert.rejects(attempt('f', 20 * 8192, [{page: 3, bytes: page}, {page: 2, bytes: page}]), {code: 'INTERNAL'})
    await assert.rejects(attempt('f', 20 * 8192, [{page: 20, bytes: page}]), {code: 'INTERNAL'})
    await assert.rejects(attempt('f', 10 * 8192 + 5, []), {code: 'INTERNAL'})
    await assert.rejects(attempt('f', 20 * 8192, [{page: 3, bytes: page.subarray(1)}]), {code: 'INTERNAL'})
  })
})

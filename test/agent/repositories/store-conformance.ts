/** What every repository kind promises (repository.ts), tried on a real one. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import fc from 'fast-check'
import {listAll, type ObjectStore} from '../../../src/agent/repositories/repository.js'

export interface Subject {
  /** A store with nothing in it, as a process of its own would open it; several at once are of the same place. */
  open(): ObjectStore
  dispose(): Promise<void>
  /** Bytes of an object that is larger than the store sends at once. */
  readonly largeBytes: number
}

const bytes = (text: string): Buffer => Buffer.from(text)

export function storeConformance(title: string, make: () => Promise<Subject>, runs = 100): void {
  describe(`${title} keeps the promise of a repository`, function () {
    this.timeout(180_000)
    let subject: Subject
    let store: ObjectStore
    before(async () => {
      subject = await make()
      store = subject.open()
      await store.prepare()
      await store.prepare()
    })
    after(() => subject?.dispose())

    it('gives back what was put, whole and in parts, until it is deleted', async () => {
      const content = randomBytes(10_000)
      await store.put('parts/one', [content.subarray(0, 10), content.subarray(10, 10), content.subarray(10)])
      await store.barrier()
      assert.ok((await store.get('parts/one')).equals(content))
      assert.ok((await store.get('parts/one', {offset: 100, length: 50})).equals(content.subarray(100, 150)))
      assert.ok((await store.get('parts/one', {last: 70})).equals(content.subarray(-70)))
      assert.ok((await store.get('parts/one', {offset: 9990, length: 50})).equals(content.subarray(9990)), 'shorter where it ends')
      assert.equal((await store.get('parts/one', {offset: 10_000, length: 50})).length, 0)
      assert.ok((await store.get('parts/one', {last: 20_000})).equals(content))
      assert.equal((await store.stat('parts/one'))?.size, 10_000)
      assert.ok(Math.abs(((await store.stat('parts/one'))?.modifiedAt ?? 0) - Date.now()) < 300_000)
      await store.put('parts/one', bytes('two'))
      assert.equal((await store.get('parts/one')).toString(), 'two')
      await store.delete('parts/one')
      await store.delete('parts/one')
      assert.equal(await store.stat('parts/one'), undefined)
      await assert.rejects(store.get('parts/one'), {code: 'REPOSITORY_DAMAGED', details: {object: 'parts/one', repository: store.where}})
      await assert.rejects(store.get('never/was', {last: 5}), {code: 'REPOSITORY_DAMAGED'})
    })

    it('keeps empty and large objects', async () => {
      await store.put('sizes/empty', Buffer.alloc(0))
      assert.equal((await store.get('sizes/empty')).length, 0)
      const large = randomBytes(subject.largeBytes)
      await store.put('sizes/large', [large.subarray(0, 1_000_001), large.subarray(1_000_001)])
      assert.ok((await store.get('sizes/large')).equals(large))
      assert.equal(await store.putIfAbsent('sizes/large', large), false)
      assert.equal(await store.putIfAbsent('sizes/large-2', large), true)
      assert.ok((await store.get('sizes/large-2', {offset: subject.largeBytes - 5, length: 5})).equals(large.subarray(-5)))
    })

    it('puts if absent for exactly one of many at once, and leaves what was there', async () => {
      for (let round = 0; round < 10; round++) {
        const stores = Array.from({length: 8}, () => subject.open())
        const won = await Promise.all(stores.map((one, i) => one.putIfAbsent(`race/${round}`, bytes(`writer ${i}`))))
        assert.equal(won.filter(Boolean).length, 1)
        assert.equal((await store.get(`race/${round}`)).toString(), `writer ${won.indexOf(true)}`)
        assert.equal(await store.putIfAbsent(`race/${round}`, bytes('late')), false)
        await store.barrier()
        await store.delete(`race/${round}`)
        assert.equal(await store.putIfAbsent(`race/${round}`, bytes('again')), true)
      }
    })

    it('lists what is there, in the order of the names as bytes, by prefix and page', async () => {
      const part = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,3}$/)
      const name = fc.array(part, {minLength: 1, maxLength: 3}).map((parts) => parts.join('/'))
      await fc.assert(fc.asyncProperty(fc.uniqueArray(name, {maxLength: 12}), fc.nat(), fc.integer({min: 1, max: 5}), async (names, cut, limit) => {
        const base = `list-${randomBytes(4).toString('hex')}/`
        // A file cannot be where a folder is; names of our objects never are each other's beginnings.
        const own = names.filter((one) => !names.some((other) => other.startsWith(`${one}/`))).map((one) => base + one)
        await Promise.all(own.map((one) => store.put(one, bytes(one))))
        const expected = own.sort((a, b) => Buffer.compare(bytes(a), bytes(b)))
        const prefix = expected.length > 0 ? (expected[cut % expected.length] as string).slice(0, base.length + (cut % 3)) : base
        const found: string[] = []
        for await (const {name: one, size} of listAll(store, prefix)) {
          found.push(one)
          assert.equal(size, one.length)
        }
        assert.deepEqual(found, expected.filter((one) => one.startsWith(prefix)))
        const paged: string[] = []
        for (let after: string | undefined, more = true; more; ) {
          const page = await store.list(base, {limit, ...(after === undefined ? {} : {after})})
          assert.ok(page.objects.length <= limit)
          paged.push(...page.objects.map((object) => object.name))
          ;({more} = page)
          after = paged.at(-1)
        }
        assert.deepEqual(paged, expected)
        await Promise.all(own.map((one) => store.delete(one)))
        assert.deepEqual((await store.list(base)).objects, [])
      }), {numRuns: runs})
    })

    it('refuses names that could lead elsewhere', async () => {
      for (const name of ['', '/', 'a/', '/a', '../a', 'a/../b', 'a//b', '.a', 'a/.b', 'a\\b', 'ä', 'a b', 'a\0', `${'x'.repeat(129)}`, 'a/b/c/d/e/f/g/h/i']) {
        await assert.rejects(async () => store.put(name, bytes('x')), {code: 'INTERNAL'}, name)
        await assert.rejects(async () => store.get(name), {code: 'INTERNAL'}, name)
        await assert.rejects(async () => store.delete(name), {code: 'INTERNAL'}, name)
      }
    })

    it('has nothing unfinished left after all this', async () => {
      assert.equal(await store.tidy(0), 0)
      await store.barrier()
    })
  })
}

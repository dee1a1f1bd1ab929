/** Who may write, who takes over, and that a collection beside writers takes nothing from them. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {basename} from 'node:path'
import fc from 'fast-check'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {listAll, type ObjectStore} from '../../../src/agent/repositories/repository.js'
import {removeIncarnation} from '../../../src/agent/repositories/vault/index.js'
import type {Vault} from '../../../src/agent/repositories/vault/index.js'
import {openS3} from '../../../src/agent/repositories/s3/index.js'
import {realRuns} from '../../support/runs.js'
import {makeBucket, s3OrSkip} from '../../support/s3.js'
import {assertSameFiles, contentsOf, makePlace, takeSnapshot, whole, type Files, type Place} from './support.js'

const hour = 3_600_000
const some = (bytes = 60_000): Files => new Map([['base/1', randomBytes(bytes)], ['PG_VERSION', Buffer.from('18\n')]])

async function packsThere(store: ObjectStore, incarnation: string): Promise<string[]> {
  const names: string[] = []
  for await (const {name} of listAll(store, `${incarnation}/packs/`)) names.push(name.split('/').slice(2).join('/'))
  return names
}

async function packsNeeded(vault: Vault): Promise<string[]> {
  const needed = (await vault.snapshots()).flatMap(({packs}) => packs.map(([session, name]) => `${String(session).padStart(8, '0')}/${name}`))
  return [...new Set(needed)].sort()
}

/** `make` opens the store of a place; `runs` is how often what is random is tried. */
function describeSessions(make: (root: string) => ObjectStore, runs: number): void {
  let place: Place
  beforeEach(async () => {
    place = await makePlace('sessions', make)
  })
  afterEach(() => place.dispose())

  it('belong to one writer while its lease holds', async () => {
    const writer = await place.vault({owner: 'site_a'}).begin(null)
    await assert.rejects(place.vault({owner: 'site_b'}).begin(null), {code: 'REPOSITORY_BUSY', details: {owner: 'site_a', session: '1'}})
    await writer.write(whole('f', randomBytes(10_000)))
    await writer.commit({})
    await takeSnapshot(place.vault({owner: 'site_b'}), null, some())
  })

  it('are taken over when the lease has run out; who wakes up later commits nothing', async () => {
    const a = place.vault({owner: 'site_a'})
    const writer = await a.begin(null)
    await writer.write(whole('f', randomBytes(10_000)))
    place.clock.time += 61_000
    const b = place.vault({owner: 'site_b'})
    const files = some()
    const n = await takeSnapshot(b, null, files)
    await assert.rejects(writer.commit({}), {code: 'LEASE_LOST'})
    assert.deepEqual((await b.snapshots()).map(({number}) => number), [n])
    // What it left may be of use for a while; then it goes.
    await b.collect()
    assert.equal((await packsThere(place.store, place.keys.incarnation)).length, 2)
    place.clock.time += 25 * hour
    await b.collect()
    assert.deepEqual(await packsThere(place.store, place.keys.incarnation), await packsNeeded(b))
    assertSameFiles(await contentsOf(b, n), files)
  })

  it('are taken over at once by the same site: it has crashed', async () => {
    const left = await place.vault().begin(null)
    const n = await takeSnapshot(place.vault(), null, some())
    await assert.rejects(left.commit({}), {code: 'LEASE_LOST'})
    assert.equal(n, 2)
  })

  it('are renewed while they last', async () => {
    const clock = {now: () => Date.now()}
    const writer = await place.vault({owner: 'site_a', clock, leaseMs: 300}).begin(null)
    await new Promise((resolve) => setTimeout(resolve, 900))
    await assert.rejects(place.vault({owner: 'site_b', clock, leaseMs: 300}).begin(null), {code: 'REPOSITORY_BUSY'})
    await writer.commit({})
  })

  it('do not bar others for years, though their lease was written by a clock that was years ahead', async () => {
    const clock = {now: () => Date.now()}
    const wrong = {now: () => Date.now() + 10 * 365 * 24 * hour}
    await place.vault({owner: 'site_a', clock: wrong}).begin(null)
    const b = place.vault({owner: 'site_b', clock, leaseMs: 300})
    await assert.rejects(b.begin(null), {code: 'REPOSITORY_BUSY'})
    await new Promise((resolve) => setTimeout(resolve, 350))
    // Not renewed before our eyes for as long as a lease holds.
    const n = await takeSnapshot(b, null, some())
    assert.deepEqual((await b.snapshots()).map(({number}) => number), [n])
    // A sweep that such a clock has left, the same.
    const sweeping = place.vault({owner: 'site_a', clock: wrong, store: {...place.store, delete: async () => { throw new Error('killed') }}})
    await assert.rejects(sweeping.collect(), /killed/)
    await assert.rejects(b.collect(), {code: 'REPOSITORY_BUSY'})
    await new Promise((resolve) => setTimeout(resolve, 350))
    assert.equal((await b.collect()).because, null)
    await takeSnapshot(b, n, some())
  })

  it('do not commit when a machine has slept through the time that packs of the dead are kept', async () => {
    const writer = await place.vault({leaseMs: 1_000_000}).begin(null)
    await writer.write(whole('f', randomBytes(10_000)))
    // the steady clock stands still meanwhile
    place.clock.time += 25 * hour
    await assert.rejects(writer.commit({}), {code: 'LEASE_LOST'})
    await writer.abort('lost')
    assert.deepEqual(await place.vault().snapshots(), [])
  })

  it('that were given up stay so: their tombstone is no snapshot to be deleted', async () => {
    const left = await place.vault({owner: 'site_a'}).begin(null)
    await left.write(whole('f', randomBytes(10_000)))
    place.clock.time += 61_000
    const vault = place.vault({owner: 'site_b'})
    const n = await takeSnapshot(vault, null, some())
    await vault.delete(left.number)
    await assert.rejects(left.commit({}), {code: 'LEASE_LOST'})
    assert.deepEqual((await vault.snapshots()).map(({number}) => number), [n])
    // One that cannot be read can be deleted.
    await place.store.put(`${place.keys.incarnation}/snapshots/00000002`, randomBytes(300))
    await assert.rejects(vault.snapshots(), {code: 'REPOSITORY_DAMAGED'})
    await vault.delete(n)
    assert.deepEqual(await vault.snapshots(), [])
  })

  it('leave nothing for years, though they were given up while a clock was years ahead', async () => {
    const wrong = {now: () => place.clock.time + 5 * 365 * 24 * hour}
    const writer = await place.vault({clock: wrong}).begin(null)
    await writer.write(whole('f', randomBytes(50_000)))
    await writer.abort('at random')
    const vault = place.vault()
    await vault.collect()
    assert.deepEqual(await packsThere(place.store, place.keys.incarnation), [])
  })

  it('do not run out of numbers because of a name that somebody else has put there', async () => {
    await place.store.put(`${place.keys.incarnation}/sessions/999999999999999`, randomBytes(100))
    await assert.rejects(place.vault({clock: {now: () => Date.now() + 3_600_000}}).begin(null), {code: 'REPOSITORY_DAMAGED', message: /no session has such a number/})
  })

  it('keep their packs, and those they build upon, whatever is deleted and collected meanwhile', async () => {
    const vault = place.vault({packBytes: 16 * 1024})
    const files = some(400_000)
    const one = await takeSnapshot(vault, null, files)
    const writer = await vault.begin(one)
    for (const [path, bytes] of files) await writer.write(whole(path, bytes))
    await writer.write(whole('new', randomBytes(200_000)))
    await vault.delete(one)
    const collector = place.vault({owner: 'site_collector'})
    const collected = await collector.collect()
    assert.match(collected.because ?? '', /builds upon snapshot 1, which was deleted/)
    const snapshot = await writer.commit({})
    assert.equal((await collector.collect()).because, null)
    const found = await contentsOf(vault, snapshot.number)
    found.delete('new')
    assertSameFiles(found, files)
    assert.deepEqual(await packsThere(place.store, place.keys.incarnation), await packsNeeded(vault))
  })

  it('wait for a collection that runs', async () => {
    const sweep = `${place.keys.incarnation}/sweeps/${place.clock.time}`
    // One that cannot be read counts as one that runs until its lease would have ended.
    await place.store.put(sweep, randomBytes(100))
    const clock = {now: () => Date.now()}
    const beginning = place.vault({clock}).begin(null)
    assert.equal(await Promise.race([beginning.then(() => 'began'), new Promise((resolve) => setTimeout(() => resolve('waits'), 500))]), 'waits')
    await place.store.delete(sweep)
    await (await beginning).abort('done')
  })

  it('are not given a number twice, though everything of them was deleted', async () => {
    const vault = place.vault()
    const one = await takeSnapshot(vault, null, some())
    await vault.delete(one)
    await vault.collect()
    assert.equal(await takeSnapshot(vault, null, some()), one + 1)
  })

  it('are collected, but nothing of theirs when it is not known what is needed', async () => {
    const vault = place.vault()
    const one = await takeSnapshot(vault, null, some())
    await takeSnapshot(vault, one, some())
    const name = `${place.keys.incarnation}/snapshots/00000001`
    const good = await place.store.get(name)
    await place.store.put(name, good.subarray(1))
    await vault.delete(2)
    const collected = await vault.collect()
    assert.match(collected.because ?? '', /snapshot 1 cannot be read/)
    assert.equal(collected.packs, 0)
    await place.store.put(name, good)
    assert.equal((await vault.collect()).packs, 1)
  })

  it('leave nothing when the incarnation is removed, and its key goes first', async () => {
    const vault = place.vault()
    await takeSnapshot(vault, null, some())
    await vault.log.append({timeline: '1', segment: '1', start: 0, bytes: randomBytes(10), final: false, at: 1, fresh: 'the first'})
    const names: string[] = []
    const inner = place.another()
    await removeIncarnation({...inner, delete: async (name, options) => {
      names.push(name)
      await inner.delete(name, options)
    }}, place.keys.incarnation)
    assert.match(names[0] ?? '', /\/keys\/00000001$/)
    assert.deepEqual((await place.store.list(`${place.keys.incarnation}/`)).objects, [])
  })

  it('of several sites that write, die, delete and collect at random: what was committed is whole, what is not needed goes', async () => {
    const step = fc.record({who: fc.nat(2), what: fc.constantFrom('backup', 'backup', 'backup', 'die', 'delete', 'collect', 'wait', 'stall'), i: fc.nat(100)})
    await fc.assert(fc.asyncProperty(fc.array(step, {minLength: 5, maxLength: 40}), async (steps) => {
      const own = await makePlace('sessions-random', make)
      try {
        const vaults = [0, 1, 2].map((who) => own.vault({owner: `site_${who}`, store: own.another(), packBytes: 16 * 1024}))
        const expected = new Map<number, Files>()
        const stalled: {commit(): Promise<unknown>; number: number}[] = []
        for (const {who, what, i} of steps) {
          const vault = vaults[who] as Vault
          const previous = [...expected.keys()].at(-1) ?? null
          const base = previous === null ? some() : (expected.get(previous) as Files)
          const files: Files = new Map([...base, [`f${i}`, randomBytes(9000 + i)]])
          try {
            if (what === 'backup') expected.set(await takeSnapshot(vault, previous, files), files)
            else if (what === 'die' || what === 'stall') {
              const writer = await vault.begin(previous)
              for (const [path, bytes] of files) await writer.write(whole(path, bytes))
              if (what === 'stall') stalled.push({number: writer.number, commit: () => writer.commit({}).then(() => expected.set(writer.number, files))})
            } else if (what === 'delete' && expected.size > 0) {
              const n = [...expected.keys()][i % expected.size] as number
              expected.delete(n)
              await vault.delete(n)
            } else if (what === 'collect') await vault.collect()
            else if (what === 'wait') own.clock.time += (i + 1) * 20_000
            // those that stalled go on where they were, some time
            if (i % 3 === 0) await stalled.shift()?.commit()
          } catch (error) {
            assert.ok(['REPOSITORY_BUSY', 'LEASE_LOST', 'REPOSITORY_DAMAGED'].includes((error as {code: string}).code), String(error))
            // A writer may fail because what it built upon was deleted; nothing that counts may be touched by it.
            if ((error as {code: string}).code === 'REPOSITORY_DAMAGED') assert.match((error as Error).message, /is gone|is not in the repository/)
          }
          assert.deepEqual((await (vaults[0] as Vault).snapshots()).map(({number}) => number), [...expected.keys()].sort((a, b) => a - b))
        }
        for (const {commit} of stalled) await commit().catch((error: {code: string}) => assert.ok(['LEASE_LOST', 'REPOSITORY_DAMAGED'].includes(error.code)))
        const vault = vaults[0] as Vault
        for (const [n, files] of expected) {
          assertSameFiles(await contentsOf(vault, n), files)
          assert.deepEqual((await vault.verify(n)).damages, [])
        }
        for (let day = 0; day < 3; day++) {
          own.clock.time += 30 * hour
          assert.equal((await vault.collect()).because, null)
        }
        assert.deepEqual(await packsThere(own.store, own.keys.incarnation), await packsNeeded(vault))
        for (const [n, files] of expected) assertSameFiles(await contentsOf(vault, n), files)
      } finally {
        own.dispose()
      }
    }), {numRuns: runs})
  })

  it('lose nothing to a collection that does not know that its lease has run out', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(40), fc.array(fc.nat(8), {minLength: 3, maxLength: 3}), fc.boolean(), async (start, gaps, deletes) => {
      const own = await makePlace('sessions-lease')
      try {
        const vault = own.vault({packBytes: 16 * 1024})
        const files = some()
        const base = await takeSnapshot(vault, await takeSnapshot(vault, null, some()), files)
        const kept = new Map<number, Files>([[base, files]])
        await (await own.vault({owner: 'site_dead'}).begin(base)).abort('at random')
        // For this one the lease of the collection has always run out.
        const other = own.vault({owner: 'site_other', packBytes: 16 * 1024, clock: {now: () => own.clock.time + 3_600_000}})
        const more: Files = new Map([...files, ['more', randomBytes(40_000)]])
        let writer: Awaited<ReturnType<typeof other.begin>> | undefined
        let failed = false
        const attempt = async (work: () => Promise<void>) => {
          if (!failed) await work().catch((error: {code: string}) => {
            assert.ok(['LEASE_LOST', 'REPOSITORY_DAMAGED', 'BACKUP_NOT_FOUND'].includes(error.code), String(error))
            failed = true
          })
        }
        const steps: (() => Promise<void>)[] = [
          () => attempt(async () => { writer = await other.begin(base) }),
          () => attempt(async () => { for (const [path, bytes] of more) await writer?.write(whole(path, bytes)) }),
          async () => {
            if (!deletes) return
            kept.delete(base)
            await vault.delete(base)
          },
          () => attempt(async () => {
            const snapshot = await writer?.commit({})
            if (snapshot) kept.set(snapshot.number, more)
          }),
        ]
        const due = [start]
        for (const gap of gaps) due.push((due.at(-1) as number) + gap)
        let calls = 0
        const interrupted = async () => {
          while (steps.length > 0 && (due[due.length - steps.length] as number) <= calls) await steps.shift()?.()
          calls++
        }
        const store = {...own.store}
        for (const name of ['list', 'get', 'stat', 'delete', 'putIfAbsent', 'put', 'barrier'] as const) {
          const call = own.store[name] as (...args: never[]) => Promise<never>
          ;(store as unknown as Record<string, unknown>)[name] = async (...args: never[]) => {
            await interrupted()
            return call(...args)
          }
        }
        await own.vault({store, owner: 'site_cleaner'}).collect()
        calls = 1000
        await interrupted()
        for (const [n, expected] of kept) {
          assert.deepEqual((await vault.verify(n)).damages, [])
          assertSameFiles(await contentsOf(vault, n), expected)
        }
        assert.deepEqual((await vault.snapshots()).map(({number}) => number).filter((n) => n >= base), [...kept.keys()])
      } finally {
        own.dispose()
      }
    }), {numRuns: 120})
  })

  it('and collections run at once, each call of theirs at any moment of the other', async () => {
    const clock = {now: () => Date.now()}
    const slow = (store: ObjectStore): ObjectStore => {
      const pause = () => new Promise<void>((resolve) => (Math.random() < 0.5 ? setImmediate(resolve) : setTimeout(resolve, Math.random() * 4)))
      const wrap = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
        await pause()
        const result = await call(...args)
        await pause()
        return result
      }
      return {
        ...store, put: wrap(store.put), putIfAbsent: wrap(store.putIfAbsent), get: wrap(store.get), list: wrap(store.list), stat: wrap(store.stat), delete: wrap(store.delete),
      }
    }
    // Longer than any pause here: who outlives a lease of its own has been tried above.
    const choices = {clock, leaseMs: 20_000, graceMs: 3000, packBytes: 16 * 1024}
    const writer = place.vault({...choices, owner: 'site_writer', store: slow(place.another())})
    const cleaner = place.vault({...choices, owner: 'site_cleaner', store: slow(place.another())})
    const expected = new Map<number, Files>()
    const until = Date.now() + 6000
    let aborted = 0
    let deleted = 0
    let swept = 0

    async function write(): Promise<void> {
      let files = some(100_000)
      while (Date.now() < until) {
        const bytes = Buffer.from(files.get('base/1') as Buffer)
        bytes.set(randomBytes(20), Math.floor(Math.random() * 12) * 8192)
        files = new Map([['base/1', bytes], ['extra', randomBytes(30_000)]])
        const session = await writer.begin([...expected.keys()].at(-1) ?? null).catch((error: {code: string}) => {
          // deleted between our look and now
          assert.ok(['BACKUP_NOT_FOUND', 'REPOSITORY_DAMAGED'].includes(error.code), String(error))
        })
        if (!session) continue
        for (const [path, content] of files) await session.write(whole(path, content))
        if (Math.random() < 0.2) {
          aborted++
          await session.abort('at random')
        } else {
          await session.commit({})
          expected.set(session.number, files)
        }
      }
    }
    async function clean(): Promise<void> {
      while (Date.now() < until) {
        const n = [...expected.keys()][Math.floor(Math.random() * expected.size)]
        if (n !== undefined && (expected.size > 3 || (expected.size > 1 && Math.random() < 0.1))) {
          expected.delete(n)
          await cleaner.delete(n)
          deleted++
        }
        swept += (await cleaner.collect()).packs
      }
    }
    await Promise.all([write(), clean()])
    assert.ok(expected.size > 0 && deleted > 0 && swept > 0, `${expected.size} there, ${deleted} deleted, ${swept} packs swept, ${aborted} aborted`)
    for (const [n, files] of expected) {
      assertSameFiles(await contentsOf(writer, n), files)
      assert.deepEqual((await writer.verify(n)).damages, [])
    }
  })
}

describe('sessions of a repository', function () {
  this.timeout(120_000)
  describeSessions(openDirectory, 60)
})

describe('sessions of a repository, over S3', function () {
  this.timeout(300_000)
  const servers = s3OrSkip()
  let bucket: Awaited<ReturnType<typeof makeBucket>>
  before(async () => {
    bucket = await makeBucket(servers().ceph)
  })
  after(() => bucket?.dispose())
  describeSessions((root) => openS3({...bucket.options, prefix: basename(root)}), realRuns(3, 60))
})

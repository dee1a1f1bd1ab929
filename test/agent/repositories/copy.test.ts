/** A copy of a repository elsewhere, made without any key, at any moment a valid one. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {cpSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {listAll, type ObjectStore} from '../../../src/agent/repositories/repository.js'
import {copyRepository, promoteCopy, type CopyOptions} from '../../../src/agent/repositories/vault/copy.js'
import {openRepository, openVault, removeIncarnation, type Vault} from '../../../src/agent/repositories/vault/index.js'
import {createDataKeys, openDataKeys, rewrapDataKey} from '../../../src/agent/repositories/vault/keys.js'
import {createInlinePool, createPool} from '../../../src/agent/repositories/vault/pool.js'
import {repairObjects} from '../../../src/agent/repositories/vault/repair.js'
import {scrub} from '../../../src/agent/repositories/vault/scrub.js'
import {assertSameFiles, contentsOf, dyingStore, makePlace, masterKey, takeSnapshot, type Files, type Place} from './support.js'

const pool = createInlinePool()
const all: CopyOptions = {pool, mayBegin: true, removeGone: true, checkThere: false}
const some = (): Files => new Map([['base/1', randomBytes(90_000)], ['PG_VERSION', Buffer.from('18\n')]])

async function namesIn(store: ObjectStore): Promise<string[]> {
  const names: string[] = []
  for await (const {name} of listAll(store, '')) names.push(name)
  return names
}

describe('a copy of a repository', function () {
  this.timeout(180_000)
  let place: Place
  let to: ObjectStore
  let vault: Vault
  beforeEach(async () => {
    place = await makePlace('copy')
    to = openDirectory(`${place.root}-copy`)
    vault = place.vault({packBytes: 16 * 1024})
  })
  afterEach(async () => {
    rmSync(`${place.root}-copy`, {recursive: true, force: true})
    place.dispose()
  })

  /** What whoever has the master key finds in a store. */
  async function vaultIn(store: ObjectStore): Promise<Vault> {
    const keys = await openDataKeys(store, await openRepository(store, 'read'), place.keys.incarnation, place.master)
    return openVault({store, keys, pool, clock: place.clock, owner: 'site_other'})
  }

  async function appendLog(segment: number): Promise<void> {
    for (let k = 0; k < 3; k++) {
      await vault.log.append({
        timeline: '00000001', segment: String(segment).padStart(4, '0'), start: k * 500, bytes: randomBytes(500), final: k === 2, at: segment * 10 + k,
        ...(segment === 1 && k === 0 ? {fresh: 'the first'} : {}),
      })
    }
  }

  it('holds the same, is restored from with the master key alone, and is not sent twice', async () => {
    const files = some()
    const one = await takeSnapshot(vault, null, files)
    await takeSnapshot(vault, one, new Map([...files, ['new', randomBytes(20_000)]]))
    await appendLog(1)
    await vault.log.compact('00000001', '0001')
    await appendLog(2)
    await vault.log.putHistory('00000002', 'history')
    const first = await copyRepository(place.store, to, all)
    assert.deepEqual({damages: first.damages, skipped: first.skipped, repaired: first.repaired, removed: first.removed}, {damages: [], skipped: 0, repaired: 0, removed: 0})
    const originals = await namesIn(place.store)
    assert.deepEqual((await namesIn(to)).filter((name) => name !== 'copy'), originals)
    for (const name of originals) assert.ok((await to.get(name)).equals(await place.store.get(name)), name)
    const copy = await vaultIn(to)
    for (const {number} of await copy.snapshots()) assert.deepEqual((await copy.verify(number)).damages, [])
    assertSameFiles(await contentsOf(copy, one), files)
    assert.deepEqual(await copy.log.end(), await vault.log.end())
    assert.deepEqual((await scrub(to, pool)).damages, [])
    // Only leases of sessions, which change in place, are written again.
    const again = await copyRepository(place.store, to, {...all, mayBegin: false})
    assert.equal(again.objects, originals.filter((name) => name.includes('/sessions/')).length)
    const three = await takeSnapshot(vault, one, files)
    const more = await copyRepository(place.store, to, all)
    assert.ok(more.objects < 8, `${more.objects} objects`)
    assertSameFiles(await contentsOf(copy, three), files)
  })

  it('can be made by threads, too', async () => {
    const threads = createPool(2)
    try {
      const n = await takeSnapshot(place.vault(), null, new Map([['f', randomBytes(3_000_000)]]))
      const {damages} = await copyRepository(place.store, to, {...all, pool: threads})
      assert.deepEqual(damages, [])
      assert.deepEqual((await scrub(to, threads)).damages, [])
      assert.deepEqual((await (await vaultIn(to)).verify(n)).damages, [])
    } finally {
      await threads.close()
    }
  })

  it('follows deletions, rotation and destruction of keys, when it is asked to', async () => {
    const files = some()
    const one = await takeSnapshot(vault, null, some())
    const two = await takeSnapshot(vault, one, files)
    const other = await createDataKeys(place.store, place.keys.repositoryId, 'other-incarnation', place.master)
    await takeSnapshot(place.vault({keys: other}), null, some())
    await copyRepository(place.store, to, all)
    const before = await namesIn(to)
    await vault.delete(one)
    await vault.collect()
    await removeIncarnation(place.store, 'other-incarnation')
    const next = masterKey()
    await rewrapDataKey(place.store, place.keys.repositoryId, place.keys.incarnation, place.master, next)
    const kept = await copyRepository(place.store, to, {...all, removeGone: false})
    assert.equal(kept.removed, 0)
    for (const name of before) assert.ok(await to.stat(name), name)
    const removals: string[] = []
    const {removed, damages} = await copyRepository(place.store, {...to, delete: async (name, options) => {
      removals.push(`${name} ${options?.erase === true}`)
      await to.delete(name, options)
    }}, all)
    assert.deepEqual(damages, [])
    assert.equal(removed, removals.length)
    // keys first, erased; then commit points; then the rest
    const order = removals.map((name) => (name.includes('/keys/') ? 0 : name.includes('/snapshots/') ? 1 : 2))
    assert.deepEqual(order, [...order].sort())
    assert.ok(removals.filter((name) => name.includes('/keys/')).every((name) => name.endsWith(' true')))
    assert.deepEqual((await namesIn(to)).filter((name) => name !== 'copy'), await namesIn(place.store))
    const keys = await openDataKeys(to, place.keys.repositoryId, place.keys.incarnation, next)
    const copy = openVault({store: to, keys, pool, clock: place.clock, owner: 'site_other'})
    assertSameFiles(await contentsOf(copy, two), files)
  })

  it('is not taken down with an original whose disk is away', async () => {
    await takeSnapshot(vault, null, some())
    await copyRepository(place.store, to, all)
    const before = await namesIn(to)
    // an empty folder, as a mount point is
    const empty = openDirectory(`${place.root}-copy/../${place.root.split('/').at(-1)}-empty`)
    await empty.prepare()
    try {
      await assert.rejects(copyRepository(empty, to, all), {code: 'REPOSITORY_UNAVAILABLE'})
      // and when it goes while it is listed
      const going: ObjectStore = {...place.store, list: async (prefix, page) => (await place.store.stat('repository')) && prefix === '' && page?.limit === undefined ? {objects: [], more: false} : place.store.list(prefix, page)}
      let stats = 0
      const gone = {...going, stat: async (name: string) => (name === 'repository' && stats++ > 0 ? undefined : place.store.stat(name))}
      await assert.rejects(copyRepository(gone, to, all), {code: 'REPOSITORY_UNAVAILABLE'})
      assert.deepEqual(await namesIn(to), before)
      // A target whose disk is away is not begun anew below its mount point.
      await assert.rejects(copyRepository(place.store, empty, {...all, mayBegin: false}), {code: 'REPOSITORY_UNAVAILABLE'})
      assert.deepEqual(await namesIn(empty), [])
    } finally {
      rmSync(empty.where, {recursive: true})
    }
  })

  it('takes nothing that has rotted, and puts right what rots in it', async () => {
    const n = await takeSnapshot(vault, null, some())
    const packs = (await namesIn(place.store)).filter((name) => name.includes('/packs/'))
    const [bad, fine] = packs as [string, string]
    const flip = (root: string, name: string) => {
      const bytes = readFileSync(join(root, name))
      bytes[100] = (bytes[100] as number) ^ 1
      writeFileSync(join(root, name), bytes)
    }
    const sound = readFileSync(join(place.root, bad))
    flip(place.root, bad)
    const copied = await copyRepository(place.store, to, all)
    assert.deepEqual(copied.damages, [{object: bad, because: 'it does not hash to its name'}])
    assert.equal(await to.stat(bad), undefined)
    writeFileSync(join(place.root, bad), sound)
    assert.deepEqual((await copyRepository(place.store, to, all)).damages, [])
    flip(to.where, fine)
    assert.equal((await copyRepository(place.store, to, all)).repaired, 0)
    assert.deepEqual((await scrub(to, pool)).damages.map(({object}) => object), [fine])
    assert.equal((await copyRepository(place.store, to, {...all, checkThere: true})).repaired, 1)
    assert.deepEqual((await scrub(to, pool)).damages, [])
    // and the other way round
    flip(place.root, fine)
    const damaged = (await vault.verify(n)).damages.map(({object}) => object)
    assert.deepEqual(await repairObjects(place.store, to, [...damaged, bad, `${place.keys.incarnation}/trees/00000099`], pool), {
      repaired: [fine], left: [{object: `${place.keys.incarnation}/trees/00000099`, because: 'the other one is no better: it is not there'}],
    })
    assert.deepEqual((await vault.verify(n)).damages, [])
    const stranger = await makePlace('copy-stranger')
    await assert.rejects(repairObjects(place.store, stranger.store, damaged, pool), {code: 'REPOSITORY_REFUSED'})
    stranger.dispose()
  })

  it('is written by its copier alone, until it is made a repository of its own', async () => {
    const files = some()
    const n = await takeSnapshot(vault, null, files)
    await copyRepository(place.store, to, all)
    await assert.rejects(openRepository(to), {code: 'REPOSITORY_REFUSED', message: /is a copy/})
    assert.equal(await openRepository(to, 'read'), place.keys.repositoryId)
    const second = openDirectory(`${place.root}-copy/second`)
    await assert.rejects(copyRepository(place.store, place.store, all), {code: 'REPOSITORY_REFUSED', message: /a repository of its own/})
    await openRepository(second)
    await assert.rejects(copyRepository(place.store, second, all), {code: 'REPOSITORY_REFUSED', message: /holds the repository/})
    await promoteCopy(to)
    await promoteCopy(to)
    assert.equal(await openRepository(to), place.keys.repositoryId)
    const own = await vaultIn(to)
    const two = await takeSnapshot(own, n, files)
    await assert.rejects(copyRepository(place.store, to, all), {code: 'REPOSITORY_REFUSED', message: /a repository of its own/})
    assertSameFiles(await contentsOf(own, two), files)
  })

  it('is not made where other things are', async () => {
    await to.prepare()
    await to.put('holiday/pictures', Buffer.from('x'))
    await assert.rejects(copyRepository(place.store, to, all), {code: 'REPOSITORY_REFUSED', message: /holds other things: holiday\/pictures/})
    assert.deepEqual(await namesIn(to), ['holiday/pictures'])
  })

  it('is a valid repository whenever its copier dies, and is finished by the next', async () => {
    const files = [some(), some(), some()]
    const one = await takeSnapshot(vault, null, files[0] as Files)
    await takeSnapshot(vault, one, files[1] as Files)
    await appendLog(1)
    const stale = `${place.root}-stale`
    try {
      await copyRepository(place.store, openDirectory(stale), all)
      await takeSnapshot(vault, null, files[2] as Files)
      await vault.delete(one)
      await vault.collect()
      await vault.log.compact('00000001', '0001')
      const expected = (await namesIn(place.store)).filter((name) => !name.includes('/sweeps/'))
      for (const from of ['nothing', 'an older copy']) {
        for (let point = 0, died = true; died; point += 3) {
          rmSync(to.where, {recursive: true, force: true})
          if (from === 'an older copy') cpSync(stale, to.where, {recursive: true})
          died = await copyRepository(place.store, dyingStore(openDirectory(to.where), point), all).then(() => false, () => true)
          const store = openDirectory(to.where)
          if (died && (await store.stat('repository').catch(() => undefined)) !== undefined) {
            await assert.rejects(openRepository(store), {code: 'REPOSITORY_REFUSED'})
            const copy = await vaultIn(store).catch((error: {code: string}) => assert.equal(error.code, 'KEY_UNAVAILABLE'))
            for (const {number} of copy ? await copy.snapshots() : []) {
              assertSameFiles(await contentsOf(copy as Vault, number), files[number - 1] as Files)
              assert.deepEqual((await (copy as Vault).verify(number)).damages, [])
            }
            if (copy && from === 'an older copy') assert.equal((await copy.log.end())?.offset, 1500)
          }
          await copyRepository(place.store, openDirectory(to.where), all)
          const there = (await namesIn(openDirectory(to.where))).filter((name) => name !== 'copy' && !name.includes('/checks/'))
          assert.deepEqual(there, expected)
          assert.ok(point < 600)
        }
      }
    } finally {
      rmSync(stale, {recursive: true, force: true})
    }
  })

  it('has whole snapshots alone, whatever is written, deleted and collected while it is made', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.constantFrom('backup', 'delete', 'collect', 'log', 'wait'), {minLength: 3, maxLength: 12}), fc.infiniteStream(fc.nat(5)), async (acts, pauses) => {
      const own = await makePlace('copy-busy')
      const target = openDirectory(`${own.root}-copy`)
      try {
        const busy = own.vault({packBytes: 16 * 1024})
        const expected = new Map<number, Files>()
        const steps = [...acts]
        let segment = 1
        const act = async () => {
          const what = steps.shift()
          const files: Files = new Map([['base/1', randomBytes(30_000)], ['base/2', randomBytes(9000)]])
          if (what === 'backup') expected.set(await takeSnapshot(busy, [...expected.keys()].at(-1) ?? null, files), files)
          else if (what === 'delete' && expected.size > 0) {
            const n = [...expected.keys()][0] as number
            await busy.delete(n)
            expected.delete(n)
          } else if (what === 'collect') await busy.collect()
          else if (what === 'wait') own.clock.time += 90_000_000
          else if (what === 'log') {
            await busy.log.append({timeline: '1', segment: String(segment).padStart(4, '0'), start: 0, bytes: randomBytes(100), final: true, at: 1, ...(segment === 1 ? {fresh: 'the first'} : {})})
            await busy.log.compact('1', String(segment++).padStart(4, '0'))
          }
        }
        for (let i = 0; i < acts.length / 3; i++) await act()
        // Between any two calls of the copier something happens in the original.
        const source: ObjectStore = {...own.store}
        let turn = Promise.resolve()
        for (const name of ['get', 'list', 'stat'] as const) {
          const call = own.store[name] as (...args: never[]) => Promise<never>
          let left = pauses.next().value as number
          ;(source as unknown as Record<string, unknown>)[name] = async (...args: never[]) => {
            if (left-- <= 0) {
              left = pauses.next().value as number
              await (turn = turn.then(act))
            }
            return call(...args)
          }
        }
        const seen = new Map<number, Files>()
        for (let round = 0; round < 3; round++) {
          for (const [n, files] of expected) seen.set(n, files)
          await copyRepository(source, target, {...all, removeGone: round > 0})
          for (const [n, files] of expected) seen.set(n, files)
          const keys = await openDataKeys(target, own.keys.repositoryId, own.keys.incarnation, own.master)
          const copy = openVault({store: target, keys, pool, clock: own.clock, owner: 'site_other'})
          for (const {number} of await copy.snapshots()) {
            assert.deepEqual((await copy.verify(number)).damages, [])
            const files = seen.get(number)
            if (files) assertSameFiles(await contentsOf(copy, number), files)
          }
        }
        while (steps.length > 0) await act()
        await copyRepository(own.store, target, all)
        const copy = openVault({store: target, keys: own.keys, pool, clock: own.clock, owner: 'site_other'})
        assert.deepEqual((await copy.snapshots()).map(({number}) => number), [...expected.keys()].sort((a, b) => a - b))
        for (const [n, files] of expected) assertSameFiles(await contentsOf(copy, n), files)
      } finally {
        rmSync(target.where, {recursive: true, force: true})
        own.dispose()
      }
    }), {numRuns: 40})
  })
})

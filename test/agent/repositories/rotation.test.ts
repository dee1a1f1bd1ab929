/** Another master key for a repository of several incarnations. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {listAll} from '../../../src/agent/repositories/repository.js'
import {openRepository, openVault} from '../../../src/agent/repositories/vault/index.js'
import {createDataKeys, deriveKeys, destroyDataKey, openDataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {createInlinePool} from '../../../src/agent/repositories/vault/pool.js'
import {openDataKeysByAny, restoreDataKey, rotateMasterKey} from '../../../src/agent/repositories/vault/rotation.js'
import {assertSameFiles, contentsOf, dyingStore, makePlace, masterKey, takeSnapshot, type Place} from './support.js'

const others = ['incarnation-b', 'incarnation-c', 'incarnation-d']

async function keyNames({store}: Place): Promise<string[]> {
  const names: string[] = []
  for await (const {name} of listAll(store, '')) if (name.includes('/keys/')) names.push(name)
  return names
}

describe('rotation of the master key', () => {
  let place: Place
  let id: string
  beforeEach(async () => {
    place = await makePlace('rotation')
    id = await openRepository(place.store)
    for (const incarnation of others) await createDataKeys(place.store, id, incarnation, place.master)
  })
  afterEach(() => place.dispose())
  const all = () => [place.keys.incarnation, ...others].sort()

  it('wraps the data key of every incarnation anew, asks each master key once, and touches nothing else', async () => {
    const files = new Map([['f', randomBytes(50_000)]])
    const n = await takeSnapshot(place.vault(), null, files)
    await destroyDataKey(place.store, 'incarnation-d')
    await place.store.put('incarnation-d/packs/00000001/left', Buffer.from('not swept yet'))
    const written: string[] = []
    const store = {...place.store, put: async () => assert.fail('put'), putIfAbsent: (name: string, content: Uint8Array) => {
      written.push(name)
      return place.store.putIfAbsent(name, content)
    }} as unknown as Place['store']
    let asked = 0
    const next = masterKey()
    const counted = {where: 'counted', load: () => {
      asked++
      return next.load()
    }}
    const alive = all().filter((incarnation) => incarnation !== 'incarnation-d')
    assert.deepEqual(await rotateMasterKey(store, id, place.master, counted), {rewrapped: alive, already: [], failed: []})
    assert.equal(asked, 1)
    assert.deepEqual(written, alive.map((incarnation) => `${incarnation}/keys/00000002`))
    assert.deepEqual(await keyNames(place), written)
    assert.deepEqual(await rotateMasterKey(store, id, place.master, counted), {rewrapped: [], already: alive, failed: []})
    for (const incarnation of alive) {
      await openDataKeys(place.store, id, incarnation, next)
      await assert.rejects(openDataKeys(place.store, id, incarnation, place.master), {code: 'KEY_UNAVAILABLE'})
    }
    assertSameFiles(await contentsOf(place.vault({keys: await openDataKeys(place.store, id, place.keys.incarnation, next)}), n), files)
  })

  it('leaves an incarnation as it is that neither key opens, says so, and goes on', async () => {
    const stranger = masterKey()
    await createDataKeys(place.store, id, 'incarnation-x', stranger)
    await place.store.put('incarnation-c/keys/00000001', randomBytes(108))
    const next = masterKey()
    const {rewrapped, failed} = await rotateMasterKey(place.store, id, place.master, next)
    assert.deepEqual(rewrapped, [place.keys.incarnation, 'incarnation-b', 'incarnation-d'].sort())
    assert.deepEqual(failed.map(({incarnation}) => incarnation), ['incarnation-c', 'incarnation-x'])
    assert.match(failed[0]?.because ?? '', /incarnation-c\/keys\/00000001.*is damaged/)
    assert.match(failed[1]?.because ?? '', /is wrapped by the master key/)
    await openDataKeys(place.store, id, 'incarnation-x', stranger)
  })

  it('that dies at any point leaves every incarnation open to one of the two, and is finished by the next', async () => {
    for (let point = 0; ; point++) {
      const own = await makePlace('rotation-dies')
      try {
        const repository = await openRepository(own.store)
        const data = new Map([[own.keys.incarnation, own.keys.data]])
        for (const incarnation of others) data.set(incarnation, (await createDataKeys(own.store, repository, incarnation, own.master)).data)
        const next = masterKey()
        const died = await rotateMasterKey(dyingStore(own.store, point), repository, own.master, next).then(() => false, () => true)
        for (const [incarnation, bytes] of data) {
          assert.ok((await openDataKeysByAny(own.store, repository, incarnation, [next, own.master])).data.equals(bytes))
          assert.ok((await openDataKeysByAny(own.store, repository, incarnation, [own.master, next])).data.equals(bytes))
        }
        assert.deepEqual((await rotateMasterKey(own.store, repository, own.master, next)).failed, [])
        for (const [incarnation, bytes] of data) assert.ok((await openDataKeys(own.store, repository, incarnation, next)).data.equals(bytes))
        assert.equal((await keyNames(own)).length, data.size)
        if (!died) {
          assert.ok(point > 20, `${point} points`)
          return
        }
      } finally {
        own.dispose()
      }
    }
  })

  it('needs both keys, and does nothing without', async () => {
    const gone = {where: 'a KMS', load: async () => { throw Object.assign(new Error('gone'), {code: 'KEY_UNAVAILABLE'}) }}
    const before = await keyNames(place)
    await assert.rejects(rotateMasterKey(place.store, id, place.master, gone), {code: 'KEY_UNAVAILABLE'})
    await assert.rejects(rotateMasterKey(place.store, id, gone, masterKey()), {code: 'KEY_UNAVAILABLE'})
    assert.deepEqual(await keyNames(place), before)
    await assert.rejects(openDataKeysByAny(place.store, id, 'incarnation-b', []), {code: 'KEY_UNAVAILABLE'})
    await assert.rejects(openDataKeysByAny(place.store, id, 'incarnation-b', [masterKey(), masterKey()]), {code: 'KEY_UNAVAILABLE'})
  })

  it('can be done without when the data key was exported: it is brought back under a new one', async () => {
    const files = new Map([['f', randomBytes(50_000)]])
    const n = await takeSnapshot(place.vault(), null, files)
    const exported = place.keys.data.toString('hex')
    await place.store.put(`${place.keys.incarnation}/keys/00000001`, randomBytes(108))
    const next = masterKey()
    await assert.rejects(openDataKeys(place.store, id, place.keys.incarnation, next), {code: 'REPOSITORY_DAMAGED'})
    const keys = deriveKeys(Buffer.from(exported, 'hex'), id, place.keys.incarnation)
    assert.equal(await restoreDataKey(place.store, keys, next), true)
    assert.equal(await restoreDataKey(place.store, keys, next), false)
    const opened = await openDataKeys(place.store, id, place.keys.incarnation, next)
    assertSameFiles(await contentsOf(openVault({store: place.store, keys: opened, pool: createInlinePool(), clock: place.clock, owner: 'site_test'}), n), files)
    await assert.rejects(restoreDataKey(place.store, deriveKeys(randomBytes(32), id, place.keys.incarnation), next), {code: 'REPOSITORY_REFUSED'})
  })
})

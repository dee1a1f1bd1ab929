import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {listAll} from '../../../src/agent/repositories/repository.js'
import {createDataKeys, destroyDataKey, openDataKeys, rewrapDataKey} from '../../../src/agent/repositories/vault/keys.js'
import {incarnations, openRepository} from '../../../src/agent/repositories/vault/index.js'
import {masterKeyFromCommand, masterKeyFromEnvironment, masterKeyFromFile} from '../../../src/agent/repositories/vault/master-key.js'
import {assertSameFiles, contentsOf, makePlace, masterKey, takeSnapshot, type Place} from './support.js'

describe('keys of a repository', function () {
  this.timeout(60_000)
  let place: Place
  let id: string
  beforeEach(async () => {
    place = await makePlace('keys')
    id = await openRepository(place.store)
  })
  afterEach(() => place.dispose())
  const keyFiles = () => readdirSync(join(place.root, place.keys.incarnation, 'keys'))

  it('are the same whenever they are opened, and others for each incarnation', async () => {
    const again = await createDataKeys(place.store, id, place.keys.incarnation, place.master)
    assert.ok(again.data.equals(place.keys.data))
    const other = await createDataKeys(place.store, id, 'another-incarnation', place.master)
    for (const key of ['data', 'id', 'page', 'pack', 'object'] as const) assert.ok(!other[key].equals(place.keys[key]))
    assert.equal(new Set([again.data, again.id, again.page, again.pack, again.object].map((key) => key.toString('hex'))).size, 5)
    assert.deepEqual(await incarnations(place.store), ['another-incarnation', place.keys.incarnation].sort())
  })

  it('of a new incarnation are one, though several make it at once', async () => {
    const made = await Promise.all(Array.from({length: 6}, () => createDataKeys(place.store, id, 'made-by-many', place.master)))
    assert.equal(new Set(made.map(({data}) => data.toString('hex'))).size, 1)
  })

  it('are not opened by another master key, in another repository, or for another incarnation', async () => {
    await assert.rejects(openDataKeys(place.store, id, place.keys.incarnation, masterKey()), (error: Error & {code: string}) => {
      assert.equal(error.code, 'KEY_UNAVAILABLE')
      assert.match(error.message, /is wrapped by the master key [0-9a-f]{16}, and this one is [0-9a-f]{16}/)
      return true
    })
    await assert.rejects(openDataKeys(place.store, '00000000-0000-4000-8000-000000000000', place.keys.incarnation, place.master), {code: 'REPOSITORY_DAMAGED'})
    await place.store.put('stolen-incarnation/keys/00000001', await place.store.get(`${place.keys.incarnation}/keys/00000001`))
    await assert.rejects(openDataKeys(place.store, id, 'stolen-incarnation', place.master), {code: 'REPOSITORY_DAMAGED'})
  })

  it('are wrapped anew when the master key changes, and nothing else is written', async () => {
    const files = new Map([['f', randomBytes(50_000)]])
    const n = await takeSnapshot(place.vault(), null, files)
    const before = await namesOf(place)
    const next = masterKey()
    await rewrapDataKey(place.store, id, place.keys.incarnation, place.master, next)
    await assert.rejects(openDataKeys(place.store, id, place.keys.incarnation, place.master), {code: 'KEY_UNAVAILABLE'})
    const keys = await openDataKeys(place.store, id, place.keys.incarnation, next)
    assertSameFiles(await contentsOf(place.vault({keys}), n), files)
    assert.deepEqual(keyFiles(), ['00000002'])
    assert.deepEqual((await namesOf(place)).filter((name) => !name.includes('/keys/')), before.filter((name) => !name.includes('/keys/')))
    // once more, as after a crash that nobody remembers
    assert.equal(await rewrapDataKey(place.store, id, place.keys.incarnation, place.master, next), false)
    assert.deepEqual(keyFiles(), ['00000002'])
    assert.ok((await openDataKeys(place.store, id, place.keys.incarnation, next)).data.equals(place.keys.data))
  })

  it('are never lost by a rotation that dies at any point', async () => {
    for (let point = 0; point < 12; point++) {
      const own = await makePlace('keys-rotation')
      try {
        const repository = await openRepository(own.store)
        const next = masterKey()
        let calls = 0
        const dying = Object.fromEntries(Object.entries(own.store).map(([name, value]) => [name, typeof value !== 'function' ? value : (...args: never[]) => {
          if (calls++ === point) throw new Error('killed')
          return (value as (...a: never[]) => unknown)(...args)
        }])) as unknown as typeof own.store
        const ended = await rewrapDataKey(dying, repository, own.keys.incarnation, own.master, next).then(() => true, () => false)
        const opened = await openDataKeys(own.store, repository, own.keys.incarnation, next).catch(() => openDataKeys(own.store, repository, own.keys.incarnation, own.master))
        assert.ok(opened.data.equals(own.keys.data))
        if (!ended) await rewrapDataKey(own.store, repository, own.keys.incarnation, own.master, next)
        assert.ok((await openDataKeys(own.store, repository, own.keys.incarnation, next)).data.equals(own.keys.data))
        assert.equal(readdirSync(join(own.root, own.keys.incarnation, 'keys')).length, 1)
      } finally {
        own.dispose()
      }
    }
  })

  it('that are destroyed leave nothing readable', async () => {
    await takeSnapshot(place.vault(), null, new Map([['f', randomBytes(50_000)]]))
    await destroyDataKey(place.store, place.keys.incarnation)
    await destroyDataKey(place.store, place.keys.incarnation)
    await assert.rejects(openDataKeys(place.store, id, place.keys.incarnation, place.master), {code: 'KEY_UNAVAILABLE'})
  })

  // Feature: enterprise-dbaas-platform, Property 14: Backup Encryption Completeness
  it('are needed for everything: no name, text, size or page of what was backed up is in any object', async () => {
    await fc.assert(fc.asyncProperty(fc.stringMatching(/^[a-z]{12,20}$/), fc.constantFrom('raw', 'gzip', 'brotli'), async (marker, codec) => {
      const own = await makePlace('keys-secret')
      try {
        const vault = own.vault({codec})
        const page = Buffer.alloc(8192, `${marker} `)
        const files = new Map([[`base/${marker}`, Buffer.concat([page, randomBytes(8192), page])], [marker, Buffer.from(marker)]])
        const one = await takeSnapshot(vault, null, files, {label: marker})
        await takeSnapshot(vault, one, new Map([...files, [`${marker}2`, page]]), {label: marker})
        for (let i = 0; i < 2; i++) await vault.log.append({timeline: '1', segment: '1', start: i * page.length, bytes: page, final: i === 1, at: 1, note: marker, ...(i === 0 ? {fresh: marker} : {})})
        await vault.log.compact('1', '1')
        await vault.log.putHistory('2', marker)
        await vault.verify(one)
        await vault.begin(one)
        const noise: Buffer[] = []
        for (const name of await namesOf(own)) {
          assert.ok(!name.includes(marker), name)
          const bytes = readFileSync(join(own.root, name))
          assert.ok(!bytes.includes(marker), `${name} has the marker in it`)
          assert.ok(!bytes.includes(own.keys.data) && !bytes.includes(await own.master.load()), `${name} has a key in it`)
          if (name.includes('/packs/')) noise.push(bytes.subarray(8, -32))
        }
        // Ciphertext looks like noise: each byte as often as any other.
        const counts = new Array<number>(256).fill(0)
        for (const bytes of noise) for (const byte of bytes) counts[byte]!++
        const expected = noise.reduce((sum, bytes) => sum + bytes.length, 0) / 256
        const chi = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
        assert.ok(chi < 400, `chi square ${chi} of 255`)
      } finally {
        own.dispose()
      }
    }), {numRuns: 100})
  })

  it('come from a file, an environment variable or a command, raw, in hexadecimal or base64', async () => {
    const key = randomBytes(32)
    const path = join(place.root, 'master')
    for (const text of [key, Buffer.from(key.toString('hex') + '\n'), Buffer.from(` ${key.toString('base64')}\n`)]) {
      writeFileSync(path, text)
      assert.ok((await masterKeyFromFile(path).load()).equals(key))
      assert.ok((await masterKeyFromCommand(['cat', path]).load()).equals(key))
      if (text !== key) assert.ok((await masterKeyFromEnvironment('KEY', {KEY: text.toString()}).load()).equals(key))
    }
    // A password, half a key, a file that a crash has left empty of content: none of them is a key.
    for (const text of ['correct horse battery staple one', randomBytes(16).toString('hex'), Buffer.alloc(32), '0'.repeat(64)]) {
      writeFileSync(path, text)
      await assert.rejects(masterKeyFromFile(path).load(), {code: 'KEY_UNAVAILABLE', message: /not 32 bytes|nothing but zeros/})
    }
    writeFileSync(path, 'too short')
    const failing = [
      [masterKeyFromFile(path), /not 32 bytes/], [masterKeyFromFile(`${path}.gone`), /ENOENT/],
      [masterKeyFromEnvironment('KEY', {}), /KEY.*is not set/], [masterKeyFromCommand(['false']), /the command false: it failed/],
      [masterKeyFromCommand(['sh', '-c', 'echo no such key in the KMS >&2; exit 3']), /no such key in the KMS/], [masterKeyFromCommand(['no-such-program']), /ENOENT/],
      [masterKeyFromCommand(['sleep', '5'], 50), /did not end within 50 ms/],
    ] as const
    for (const [master, message] of failing) await assert.rejects(master.load(), {code: 'KEY_UNAVAILABLE', message})
  })
})

async function namesOf({store}: Place): Promise<string[]> {
  const names: string[] = []
  for await (const {name} of listAll(store, '')) names.push(name)
  return names
}

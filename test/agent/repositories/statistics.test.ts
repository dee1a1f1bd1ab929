import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {readdirSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {createDataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {storeStatistics} from '../../../src/agent/repositories/vault/statistics.js'
import {makePlace, takeSnapshot, whole, type Place} from './support.js'

const bytesBelow = (root: string, folder: string): number => readdirSync(join(root, folder), {recursive: true, withFileTypes: true})
  .filter((entry) => entry.isFile() && !entry.name.startsWith('.') && !entry.parentPath.includes('/.'))
  .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)

describe('statistics of a repository', () => {
  let place: Place
  beforeEach(async () => {
    place = await makePlace('statistics')
  })
  afterEach(() => place.dispose())

  it('say how much each snapshot needs, and how much its deletion would free', async () => {
    const vault = place.vault({packBytes: 32 * 1024})
    const base = randomBytes(400_000)
    const one = await takeSnapshot(vault, null, new Map([['base', base], ['only in one', randomBytes(100_000)]]))
    const two = await takeSnapshot(vault, one, new Map([['base', base], ['only in two', randomBytes(50_000)]]))
    const open = await place.vault({packBytes: 32 * 1024}).begin(two)
    await open.write(whole('not committed', randomBytes(64_000)))
    // It is stored in the background.
    while ((await vault.statistics()).unneededBytes === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    const {snapshots, packBytes, unneededBytes} = await vault.statistics()
    assert.deepEqual(snapshots.map(({number, bytes}) => ({number, bytes})), [{number: one, bytes: 500_000}, {number: two, bytes: 450_000}])
    const [a, b] = snapshots as [(typeof snapshots)[number], (typeof snapshots)[number]]
    assert.equal(packBytes, bytesBelow(place.root, `${place.keys.incarnation}/packs`))
    assert.ok(unneededBytes > 32_000 && unneededBytes < 70_000, `${unneededBytes}`)
    assert.ok(a.writtenBytes > 500_000 && a.writtenBytes < 520_000 && a.neededBytes === a.writtenBytes, JSON.stringify(a))
    assert.ok(b.writtenBytes > 50_000 && b.writtenBytes < 60_000, JSON.stringify(b))
    assert.ok(b.neededBytes > 450_000 && b.neededBytes < a.neededBytes, JSON.stringify(b))
    assert.ok(a.ownBytes >= 100_000 - 32_768 && a.ownBytes < 180_000 && b.ownBytes === b.writtenBytes, JSON.stringify([a, b]))
    await open.abort('enough')
    // What it says it would free is what is freed.
    const treesAndPacks = () => bytesBelow(place.root, `${place.keys.incarnation}/packs`) + bytesBelow(place.root, `${place.keys.incarnation}/trees`)
    place.clock.time += 48 * 3_600_000
    await vault.collect()
    const before = treesAndPacks()
    await vault.delete(one)
    await vault.collect()
    assert.equal(before - treesAndPacks(), a.ownBytes)
    assert.deepEqual((await vault.statistics()).unneededBytes, 0)
  })

  it('of the log and of every incarnation add up to what lies there, and need no key', async () => {
    const vault = place.vault()
    await takeSnapshot(vault, null, new Map([['f', randomBytes(100_000)]]))
    for (let segment = 1; segment <= 3; segment++) {
      for (let k = 0; k < 2; k++) {
        await vault.log.append({timeline: '1', segment: `${segment}`, start: k * 1000, bytes: randomBytes(1000), final: k === 1, at: 1, ...(segment + k === 1 ? {fresh: 'the first'} : {})})
      }
      if (segment === 2) await vault.log.compact('1', '2')
    }
    const keys = await createDataKeys(place.store, place.keys.repositoryId, 'another-incarnation', place.master)
    await takeSnapshot(place.vault({keys}), null, new Map([['f', randomBytes(30_000)]]))
    const {logBytes, logSegments} = await vault.statistics()
    assert.equal(logSegments, 3)
    assert.equal(logBytes, bytesBelow(place.root, `${place.keys.incarnation}/log`))
    const {bytes, objects, incarnations} = await storeStatistics(place.store)
    assert.equal(bytes, bytesBelow(place.root, ''))
    assert.deepEqual(incarnations.map(({incarnation}) => incarnation), [place.keys.incarnation, 'another-incarnation'].sort())
    for (const one of incarnations) {
      assert.equal(one.bytes, bytesBelow(place.root, one.incarnation))
      assert.equal(one.packs.bytes, bytesBelow(place.root, `${one.incarnation}/packs`))
      assert.equal(one.log.bytes, one.incarnation === place.keys.incarnation ? logBytes : 0)
    }
    // and the one object that is of none
    assert.equal(objects, incarnations.reduce((sum, one) => sum + one.objects, 1))
  })
})

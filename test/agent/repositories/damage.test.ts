/** Nothing in a repository can change without being found: by itself, by a disk, by somebody without the key. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {cpSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {listAll, type ObjectStore} from '../../../src/agent/repositories/repository.js'
import {openDataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {openRepository, openVault} from '../../../src/agent/repositories/vault/index.js'
import {createInlinePool} from '../../../src/agent/repositories/vault/pool.js'
import {scrub} from '../../../src/agent/repositories/vault/scrub.js'
import {assertSameFiles, contentsOf, makePlace, takeSnapshot, type Files, type Place} from './support.js'

const random = (bytes: number) => Buffer.concat([randomBytes(bytes / 2), Buffer.alloc(bytes / 2, 'text ')])

interface Filled {
  readonly place: Place
  readonly snapshots: readonly {readonly n: number; readonly files: Files}[]
  /** The bytes of the log, segment after segment. */
  readonly log: Buffer
}

/** Two snapshots of several packs; a log of a whole segment, one in slices, one that has not ended; an open session. */
async function fill(place: Place): Promise<Filled> {
  const vault = place.vault({packBytes: 16 * 1024})
  const first: Files = new Map([['base/1', random(400_000)], ['base/2', random(20_000)], ['PG_VERSION', Buffer.from('18\n')]])
  const changed = Buffer.from(first.get('base/1') as Buffer)
  changed.set(randomBytes(100), 8192 * 7)
  changed.set(randomBytes(100), 8192 * 20)
  const second: Files = new Map([...first, ['base/1', changed], ['base/3', random(50_000)]])
  const one = await takeSnapshot(vault, null, first)
  const two = await takeSnapshot(vault, one, second)
  await vault.verify(two)
  const parts: Buffer[] = []
  for (const [i, segment] of ['0000', '0001', '0002', '0003'].entries()) {
    for (let k = 0, start = 0; k < 4; k++) {
      const bytes = random(2000)
      parts.push(bytes)
      const final = k === 3 && i < 3
      await vault.log.append({timeline: '00000001', segment, start, bytes, final, at: i * 4 + k, ...(parts.length === 1 ? {fresh: 'the first'} : {})})
      start += bytes.length
    }
  }
  await vault.log.compact('00000001', '0000')
  await vault.log.compact('00000001', '0001')
  await vault.log.putHistory('00000002', '1\t0/3000000\tno recovery target specified\n')
  await vault.begin(null)
  return {place, snapshots: [{n: one, files: first}, {n: two, files: second}], log: Buffer.concat(parts)}
}

/** Everything that a reader would find wrong. */
async function problems({place, snapshots, log}: Filled, store: ObjectStore): Promise<string[]> {
  const found: string[] = []
  const attempt = async (what: string, work: () => Promise<unknown>) => {
    await work().catch((error: Error & {code?: string}) => {
      if (error.code !== 'REPOSITORY_DAMAGED' && error.code !== 'KEY_UNAVAILABLE' && error.code !== 'BACKUP_NOT_FOUND' && error.code !== 'REPOSITORY_NEWER') throw error
      found.push(`${what}: ${error.message}`)
    })
  }
  await attempt('keys', async () => openDataKeys(store, await openRepository(store), place.keys.incarnation, place.master))
  const vault = openVault({store, keys: place.keys, pool: createInlinePool(), clock: place.clock, owner: 'site_test'})
  await attempt('snapshots', () => vault.snapshots())
  for (const {n, files} of snapshots) {
    for (const {object, because} of (await vault.verify(n)).damages) found.push(`verify ${n}: ${object} ${because}`)
    // Whatever was done to it: what is given out is right, or an error.
    await attempt(`restore ${n}`, async () => assertSameFiles(await contentsOf(vault, n), files))
  }
  const check = await vault.log.check()
  for (const {object, because} of check.damages) found.push(`log: ${object} ${because}`)
  if (check.damages.length === 0) {
    const bytes: Uint8Array[] = []
    for await (const {timeline, segment} of vault.log.segments()) bytes.push((await vault.log.read(timeline, segment)).bytes)
    if (!Buffer.concat(bytes).equals(log)) found.push('log: it is another one, and no link tells')
  }
  await attempt('history', () => vault.log.history('00000002'))
  return found
}

const pool = createInlinePool()
const kinds = ['packs', 'snapshots', 'trees', 'keys', 'sessions', 'checks', 'log', 'history', 'repository'] as const
type Kind = (typeof kinds)[number]

describe('damage of a repository', function () {
  this.timeout(300_000)
  let filled: Filled
  let names: Map<Kind, string[]>
  before(async () => {
    filled = await fill(await makePlace('damage'))
    names = new Map(kinds.map((kind) => [kind, []]))
    for await (const {name} of listAll(filled.place.store, '')) names.get((name.split('/')[1] ?? 'repository') as Kind)?.push(name)
    for (const kind of kinds) assert.ok((names.get(kind) as string[]).length > 0, kind)
    assert.ok((names.get('packs') as string[]).length > 3)
    assert.deepEqual(await problems(filled, filled.place.store), [])
    assert.deepEqual((await scrub(filled.place.store, pool)).damages, [])
  })
  after(() => filled.place.dispose())

  const pathOf = (name: string) => join(filled.place.root, name)
  /** With the object changed; then it is put back, and verifications made meanwhile are removed. */
  async function changed<T>(changes: ReadonlyMap<string, Buffer | null>, work: () => Promise<T>): Promise<T> {
    const originals = new Map([...changes.keys()].map((name) => [name, readFileSync(pathOf(name))]))
    for (const [name, bytes] of changes) bytes === null ? rmSync(pathOf(name)) : writeFileSync(pathOf(name), bytes)
    try {
      return await work()
    } finally {
      for (const [name, bytes] of originals) writeFileSync(pathOf(name), bytes)
      for await (const {name} of listAll(filled.place.store, `${filled.place.keys.incarnation}/checks/`)) if (!names.get('checks')?.includes(name)) rmSync(pathOf(name))
    }
  }
  const anObject = fc.tuple(fc.constantFrom(...kinds), fc.nat()).map(([kind, i]) => ({kind, i}))
  const nameOf = ({kind, i}: {kind: Kind; i: number}) => {
    const list = names.get(kind) as string[]
    return list[i % list.length] as string
  }
  /** Leases and records of verifications decide nothing that matters when they are damaged; that they are is found by the scrub. */
  const matters = (name: string) => !/\/(sessions|checks)\//.test(name)

  // Feature: enterprise-dbaas-platform, Property 15: Backup Integrity Verification
  it('is found, whichever bit of whichever object is flipped', async () => {
    await fc.assert(fc.asyncProperty(anObject, fc.double({min: 0, max: 1, noNaN: true, maxExcluded: true}), fc.nat(7), async (object, where, bit) => {
      const name = nameOf(object)
      const bytes = readFileSync(pathOf(name))
      const at = Math.floor(where * bytes.length)
      bytes[at] = (bytes[at] as number) ^ (1 << bit)
      await changed(new Map([[name, bytes]]), async () => {
        if (matters(name)) assert.notDeepEqual(await problems(filled, filled.place.store), [], `${name} at ${at}`)
        // without a key, too: a repository's own description is known by whoever opens it
        if (object.kind !== 'repository') assert.deepEqual((await scrub(filled.place.store, pool)).damages.map((damage) => damage.object), [name])
      })
    }), {numRuns: 250})
  })

  it('is found when an object is cut off, made longer, or emptied', async () => {
    await fc.assert(fc.asyncProperty(anObject, fc.double({min: 0, max: 1.5, noNaN: true}), async (object, share) => {
      const name = nameOf(object)
      const bytes = readFileSync(pathOf(name))
      const length = Math.floor(share * bytes.length)
      fc.pre(length !== bytes.length)
      await changed(new Map([[name, Buffer.concat([bytes, Buffer.alloc(bytes.length)]).subarray(0, length)]]), async () => {
        if (matters(name)) assert.notDeepEqual(await problems(filled, filled.place.store), [], name)
        if (object.kind !== 'repository') assert.deepEqual((await scrub(filled.place.store, pool)).damages.map((damage) => damage.object), [name])
      })
    }), {numRuns: 100})
  })

  it('is found when two objects of a kind are swapped', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom('packs', 'snapshots', 'trees', 'log'), fc.nat(), fc.nat(), async (kind, i, j) => {
      const [a, b] = [nameOf({kind: kind as Kind, i}), nameOf({kind: kind as Kind, i: j})]
      fc.pre(a !== b)
      await changed(new Map([[a, readFileSync(pathOf(b))], [b, readFileSync(pathOf(a))]]), async () => {
        assert.notDeepEqual(await problems(filled, filled.place.store), [], `${a} and ${b}`)
      })
    }), {numRuns: 100})
  })

  it('is found when an object is missing', async () => {
    const last = (names.get('log') as string[]).at(-1)
    for (const kind of ['packs', 'trees', 'keys', 'log'] as const) {
      for (const name of names.get(kind) as string[]) {
        // The end of the log is what the caller has been told; a shorter archive is a valid one. The first is what a snapshot needs.
        if (name === last) continue
        await changed(new Map([[name, null]]), async () => {
          assert.notDeepEqual(await problems(filled, filled.place.store), [], name)
        })
      }
    }
    await changed(new Map([[nameOf({kind: 'log', i: 0}), null]]), async () => {
      const {damages} = await filled.place.vault().log.check({timeline: '00000001', segment: '0000'})
      assert.equal(damages.length, 1)
    })
  })

  it('is found when an object is replaced by one of the same name out of a fork of the repository', async () => {
    const fork = await makePlace('damage-fork')
    try {
      cpSync(filled.place.root, fork.root, {recursive: true})
      // What was appended in the fork begins at the same place of the same segment, under the same key.
      const store = openDirectory(fork.root)
      const inc = filled.place.keys.incarnation
      for (const name of names.get('log') as string[]) if (/0002\/0+[246]000$/.test(name) || name.includes('/0003/')) rmSync(join(fork.root, name))
      const vault = openVault({store, keys: filled.place.keys, pool: createInlinePool(), clock: filled.place.clock, owner: 'site_test'})
      const slice = await vault.log.append({timeline: '00000001', segment: '0002', start: 2000, bytes: randomBytes(2000), final: false, at: 1})
        .catch((error: Error) => assert.fail(error.message))
      assert.equal(slice.offset, 4000)
      const name = `${inc}/log/00000001/0002/000000002000`
      await changed(new Map([[name, readFileSync(join(fork.root, name))]]), async () => {
        const found = await problems(filled, filled.place.store)
        assert.ok(found.some((problem) => /does not follow/.test(problem)), found.join('\n'))
      })
    } finally {
      fork.dispose()
    }
  })
})

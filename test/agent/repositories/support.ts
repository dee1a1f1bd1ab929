/** Vaults for tests: on folders of their own, with a clock that can be set. */
import {randomBytes, randomUUID} from 'node:crypto'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {openS3, type S3Options} from '../../../src/agent/repositories/s3/index.js'
import type {ObjectStore} from '../../../src/agent/repositories/repository.js'
import {createDataKeys, type DataKeys} from '../../../src/agent/repositories/vault/keys.js'
import {openRepository, openVault, type Vault, type VaultChoices} from '../../../src/agent/repositories/vault/index.js'
import type {MasterKey} from '../../../src/agent/repositories/vault/master-key.js'
import {createInlinePool} from '../../../src/agent/repositories/vault/pool.js'
import type {FileInput} from '../../../src/agent/repositories/vault/writer.js'
import type {TreeFile} from '../../../src/agent/repositories/vault/tree.js'
import {temporaryFolder} from '../../support/temporary.js'

/** A folder by its path, a bucket by its options in JSON: so that another process can open the same. */
export const openStore = (where: string): ObjectStore => (where.startsWith('{') ? openS3(JSON.parse(where) as S3Options) : openDirectory(where))

export interface Place {
  readonly root: string
  readonly store: ObjectStore
  readonly keys: DataKeys
  readonly master: MasterKey
  readonly clock: {time: number; now(): number}
  /** The same store, as another process opens it. */
  another(): ObjectStore
  vault(choices?: Partial<VaultChoices>): Vault
  dispose(): void
}

export const masterKey = (bytes = randomBytes(32)): MasterKey => ({where: 'a test', load: async () => bytes})

export async function makePlace(name: string, make: (root: string) => ObjectStore = openDirectory): Promise<Place> {
  const {path: root, dispose} = temporaryFolder(name)
  const store = make(root)
  const master = masterKey()
  const keys = await createDataKeys(store, await openRepository(store), randomUUID(), master)
  const clock = {time: Date.UTC(2026, 10, 23), now: () => clock.time}
  const pool = createInlinePool()
  return {
    root, store, keys, master, clock, dispose, another: () => make(root),
    vault: (choices = {}) => openVault({store, keys, pool, clock, owner: 'site_test', ...choices}),
  }
}

/** The store, as a process sees it that is killed at its call number `point` (from 0 on): that one and all after it fail. */
export function dyingStore(store: ObjectStore, point: number): ObjectStore {
  let calls = 0
  return Object.fromEntries(Object.entries(store).map(([name, value]) => [name, typeof value !== 'function' ? value : async (...args: never[]) => {
    if (calls++ >= point) throw new Error('killed')
    return (value as (...a: never[]) => unknown)(...args)
  }])) as unknown as ObjectStore
}

/** What a snapshot should hold. */
export type Files = ReadonlyMap<string, Buffer>

export const whole = (path: string, bytes: Buffer, pageSize = 8192): FileInput => ({path, pageSize, content: {kind: 'whole', bytes: [bytes]}})

export async function takeSnapshot(vault: Vault, previous: number | null, files: Files | Iterable<FileInput>, meta: Record<string, unknown> = {}): Promise<number> {
  const writer = await vault.begin(previous)
  try {
    if (files instanceof Map) for (const [path, bytes] of files) await writer.write(whole(path, bytes))
    else for (const file of files as Iterable<FileInput>) await writer.write(file)
    return (await writer.commit(meta)).number
  } catch (error) {
    await writer.abort('the test failed')
    throw error
  }
}

/** Everything of the snapshot, read by `restore`. */
export async function contentsOf(vault: Vault, n: number): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const open = new Set<string>()
  await vault.restore(await vault.tree(n), {
    async begin({path, length}: TreeFile) {
      files.set(path, Buffer.alloc(length))
      open.add(path)
    },
    async write({path}, offset, bytes) {
      if (!open.has(path)) throw new Error(`${path} is written after its end`)
      ;(files.get(path) as Buffer).set(bytes, offset)
    },
    async end({path}) {
      open.delete(path)
    },
  })
  if (open.size > 0) throw new Error('a file has no end')
  return files
}

export function assertSameFiles(actual: Files, expected: Files): void {
  const names = (files: Files) => [...files.keys()].sort().join(' ')
  if (names(actual) !== names(expected)) throw new Error(`files are ${names(actual)} instead of ${names(expected)}`)
  for (const [path, bytes] of expected) {
    const found = actual.get(path) as Buffer
    if (found.equals(bytes)) continue
    const at = bytes.findIndex((byte, i) => byte !== found[i])
    throw new Error(`${path} (${found.length} bytes for ${bytes.length}) differs at byte ${at}`)
  }
}

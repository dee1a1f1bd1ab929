/**
 * The vault: what a repository holds of one incarnation of an instance. Snapshots of its files, each complete by itself,
 * and the archive of its log. All of it encrypted, authenticated, and verified when read. docs/repository-format.md.
 */
import {randomUUID} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import type {Clock} from '../../../core/time.js'
import type {ObjectStore} from '../repository.js'
import {bestCodec, type Codec} from './codec.js'
import {createContext, readCommit, readSnapshot, readTree, type Snapshot} from './context.js'
import {damaged, formatName, formatVersion, objects} from './format.js'
import {collect, deleteSnapshot, type Collected} from './gc.js'
import type {DataKeys} from './keys.js'
import {openLogArchive, type Log} from './log.js'
import type {Pool} from './pool.js'
import {readFile, restore, type Restored, type Sink} from './reader.js'
import {vaultStatistics, type VaultStatistics} from './statistics.js'
import type {Tree, TreeFile} from './tree.js'
import {verifications, verifySnapshot, type Verification} from './verify.js'
import {beginSnapshot, type SnapshotWriter} from './writer.js'

export interface Vault {
  /** Those that count, the oldest first. Throws REPOSITORY_DAMAGED when a manifest is not what was written. */
  snapshots(): Promise<Snapshot[]>
  snapshot(n: number): Promise<Snapshot>
  /** Its files and what they consist of: about 50 bytes of memory for each MiB of the database. */
  tree(n: number): Promise<Tree>
  /** `previous`: the number of the snapshot to compare with; null: everything is stored but what is known already. Throws REPOSITORY_BUSY. */
  begin(previous: number | null): Promise<SnapshotWriter>
  restore(tree: Tree, sink: Sink, wanted?: (file: TreeFile) => boolean): Promise<Restored>
  /** One file, in order. */
  read(tree: Tree, path: string): AsyncGenerator<Uint8Array>
  /** Reads all of it back; `skipVerifiedAfter` (milliseconds since the epoch): but packs that were verified later. */
  verify(n: number, skipVerifiedAfter?: number): Promise<Verification>
  verifications(): Promise<Verification[]>
  /** Objects that its restore needs and that are not there; they are looked for, not read. */
  missing(n: number): Promise<string[]>
  /** It does not count any more; `collect` makes room. Idempotent. */
  delete(n: number): Promise<void>
  collect(): Promise<Collected>
  /** What is stored, and for which snapshot: one listing, and every manifest. */
  statistics(): Promise<VaultStatistics>
  readonly log: Log
}

export interface VaultChoices {
  readonly store: ObjectStore
  readonly keys: DataKeys
  readonly pool: Pool
  readonly clock: Clock
  /** Who writes: the id of the site. An open session of the same owner is taken over at once. */
  readonly owner: string
  readonly codec?: Codec
  readonly packBytes?: number
  readonly cache?: ObjectStore | null
  readonly leaseMs?: number
  readonly graceMs?: number
}

/** A pack of 16 MiB is one request to a bucket, and what a writer holds in memory is a few of them. */
const lookedForAtOnce = 16
const defaults = {packBytes: 16 * 1024 * 1024, cache: null, leaseMs: 60_000, graceMs: 24 * 3_600_000} as const

export function openVault(choices: VaultChoices): Vault {
  const context = createContext({...defaults, codec: bestCodec(), ...choices})
  return {
    async snapshots() {
      const found: Snapshot[] = []
      for (const n of await context.numbers('snapshots/')) {
        const commit = await readCommit(context, n)
        if (commit?.kind === 'snapshot') found.push(commit)
      }
      return found
    },
    snapshot: (n) => readSnapshot(context, n),
    tree: async (n) => readTree(context, await readSnapshot(context, n)),
    begin: (previous) => beginSnapshot(context, previous),
    restore: (tree, sink, wanted) => restore(context, tree, sink, wanted),
    read: (tree, path) => readFile(context, tree, path),
    verify: (n, skipVerifiedAfter) => verifySnapshot(context, n, skipVerifiedAfter),
    verifications: () => verifications(context),
    async missing(n) {
      const {packs} = await readTree(context, await readSnapshot(context, n))
      const absent: string[] = []
      for (let i = 0; i < packs.length; i += lookedForAtOnce) {
        await Promise.all(packs.slice(i, i + lookedForAtOnce).map(async ({session, name}) => {
          const object = context.at(objects.pack(session, name))
          if ((await context.store.stat(object)) === undefined) absent.push(object)
        }))
      }
      return absent
    },
    delete: (n) => deleteSnapshot(context, n),
    collect: () => collect(context),
    statistics: () => vaultStatistics(context),
    log: openLogArchive(context),
  }
}

export type Access = 'read' | 'write'

/**
 * The id of the repository; everything in it is bound to it. To write, one is made where there is none and `expected` is
 * null; to read, nothing is written. `expected`: the id that it had before, when there was one before. Throws
 * REPOSITORY_UNAVAILABLE (it is not there), REPOSITORY_REFUSED (it is another one, or a copy), REPOSITORY_NEWER, REPOSITORY_DAMAGED.
 */
export async function openRepository(store: ObjectStore, access: Access = 'write', expected: string | null = null): Promise<string> {
  const isNew = access === 'write' && expected === null
  // Only then: it would make the folder below a mount point whose disk is away.
  if (isNew) await store.prepare()
  if ((await store.stat(objects.repository)) === undefined) {
    if (!isNew) {
      throw new DbaasError('REPOSITORY_UNAVAILABLE', `there is no repository in ${store.where}`, {
        details: {repository: store.where}, suggestions: ['check that its disk is mounted, or its settings'],
      })
    }
    const fresh = Buffer.from(JSON.stringify({format: formatName, version: formatVersion, id: randomUUID()}) + '\n')
    await store.putIfAbsent(objects.repository, fresh)
    await store.barrier()
  }
  const id = parseRepository(await store.get(objects.repository))
  if (expected !== null && id !== expected) {
    throw new DbaasError('REPOSITORY_REFUSED', `in ${store.where} is another repository: ${id}, and not ${expected}`, {details: {repository: store.where}})
  }
  if (access === 'write' && (await store.stat(objects.copy)) !== undefined) {
    throw new DbaasError('REPOSITORY_REFUSED', `the repository in ${store.where} is a copy, which may only be read`, {
      details: {repository: store.where}, suggestions: ['dbaas repositories add NAME LOCATION --promote, where its original is lost: it is copied to no more'],
    })
  }
  if (access === 'write' && !isNew) await store.prepare()
  return id
}

function parseRepository(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  const found = /^\{"format":"([^"]*)","version":(\d+),"id":"([0-9a-f-]{36})"\}\n$/.exec(text)
  if (!found || found[1] !== formatName) throw damaged(objects.repository, 'it does not describe a repository')
  if (Number(found[2]) !== formatVersion) {
    throw new DbaasError('REPOSITORY_NEWER', `the repository has format ${found[2]}, and this version of dbaas knows ${formatVersion}`, {
      suggestions: ['upgrade dbaas'],
    })
  }
  return found[3] as string
}

export {incarnations, removeIncarnation} from './incarnations.js'

/**
 * The vault: what a repository holds of one incarnation of an instance. Snapshots of its files, each complete by itself,
 * and the archive of its log. All of it encrypted, authenticated, and verified when read. docs/repository-format.md.
 */
import {randomUUID} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import type {Clock} from '../../../core/time.js'
import {listAll, type ObjectStore} from '../repository.js'
import {bestCodec, type Codec} from './codec.js'
import {createContext, readCommit, readSnapshot, readTree, type Snapshot} from './context.js'
import {damaged, formatName, formatVersion, objects} from './format.js'
import {collect, deleteSnapshot, type Collected} from './gc.js'
import {destroyDataKey, type DataKeys} from './keys.js'
import {openLogArchive, type Log} from './log.js'
import type {Pool} from './pool.js'
import {readFile, restore, type Restored, type Sink} from './reader.js'
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
  /** It does not count any more; `collect` makes room. Idempotent. */
  delete(n: number): Promise<void>
  collect(): Promise<Collected>
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
    delete: (n) => deleteSnapshot(context, n),
    collect: () => collect(context),
    log: openLogArchive(context),
  }
}

/**
 * The id of the repository: of the one that is there, or of a new one. Everything in it is bound to it. Throws
 * REPOSITORY_NEWER, REPOSITORY_DAMAGED.
 */
export async function openRepository(store: ObjectStore): Promise<string> {
  await store.prepare()
  const fresh = Buffer.from(JSON.stringify({format: formatName, version: formatVersion, id: randomUUID()}) + '\n')
  if ((await store.stat(objects.repository)) === undefined) {
    await store.putIfAbsent(objects.repository, fresh)
    await store.barrier()
  }
  return parseRepository(await store.get(objects.repository))
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

/** Everything of the incarnation goes, its key first: from then on the rest is noise. Needs no key. Idempotent. */
export async function removeIncarnation(store: ObjectStore, incarnation: string): Promise<number> {
  await destroyDataKey(store, incarnation)
  let removed = 0
  for await (const {name} of listAll(store, `${incarnation}/`)) {
    await store.delete(name)
    removed++
  }
  await store.barrier()
  return removed
}

/** Incarnations that have something in the repository, by their ids. */
export async function incarnations(store: ObjectStore): Promise<string[]> {
  const found: string[] = []
  for (let after: string | undefined; ; ) {
    const {objects: page} = await store.list('', {limit: 1, ...(after === undefined ? {} : {after})})
    const name = page[0]?.name
    if (name === undefined) return found
    const [id, ...rest] = name.split('/') as [string]
    if (rest.length > 0) found.push(id)
    // behind everything that is below it
    after = rest.length > 0 ? `${id}/~` : name
  }
}

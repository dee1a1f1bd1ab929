/** How much a repository holds, and for what. */
import {listAll, type ObjectStore} from '../repository.js'
import {readCommit, type Context, type Snapshot} from './context.js'
import {objects} from './format.js'

export interface Amount {
  readonly objects: number
  /** As they are stored. */
  readonly bytes: number
}

export interface IncarnationStatistics extends Amount {
  readonly incarnation: string
  readonly packs: Amount
  readonly log: Amount
}

/** Of all incarnations; needs no key. One listing of everything. */
export async function storeStatistics(store: ObjectStore): Promise<Amount & {readonly incarnations: readonly IncarnationStatistics[]}> {
  const found = new Map<string, Map<string, {objects: number; bytes: number}>>()
  const count = (amounts: Map<string, {objects: number; bytes: number}>, key: string, size: number) => {
    const amount = amounts.get(key) ?? {objects: 0, bytes: 0}
    amounts.set(key, {objects: amount.objects + 1, bytes: amount.bytes + size})
  }
  const all = new Map<string, {objects: number; bytes: number}>()
  for await (const {name, size} of listAll(store, '')) {
    count(all, '', size)
    const [incarnation, folder] = name.split('/') as [string, string?]
    if (folder === undefined) continue
    const own = found.get(incarnation) ?? new Map<string, {objects: number; bytes: number}>()
    found.set(incarnation, own)
    count(own, '', size)
    count(own, folder, size)
  }
  const none: Amount = {objects: 0, bytes: 0}
  return {
    ...(all.get('') ?? none),
    incarnations: [...found].map(([incarnation, own]) => ({
      incarnation, ...(own.get('') as Amount), packs: own.get('packs') ?? none, log: own.get('log') ?? none,
    })),
  }
}

export interface SnapshotStatistics {
  readonly number: number
  /** Of the files. */
  readonly bytes: number
  /** What was written for it when it was made. */
  readonly writtenBytes: number
  /** Everything that it needs, shared with others or not. */
  readonly neededBytes: number
  /** What no other snapshot needs: so much room its deletion would make. */
  readonly ownBytes: number
}

export interface VaultStatistics {
  readonly snapshots: readonly SnapshotStatistics[]
  /** Packs that are there. */
  readonly packBytes: number
  /** Packs that no snapshot needs: of a session that runs, or was given up lately; or garbage, for `collect`. */
  readonly unneededBytes: number
  readonly logBytes: number
  readonly logSegments: number
}

/** Of one incarnation. Throws REPOSITORY_DAMAGED when a manifest cannot be read. */
export async function vaultStatistics(context: Context): Promise<VaultStatistics> {
  const snapshots: Snapshot[] = []
  for (const n of await context.numbers('snapshots/')) {
    const commit = await readCommit(context, n)
    if (commit?.kind === 'snapshot') snapshots.push(commit)
  }
  const users = new Map<string, number>()
  const packsOf = (snapshot: Snapshot) => snapshot.packs.map(([session, name]) => objects.pack(session, name))
  for (const snapshot of snapshots) for (const pack of packsOf(snapshot)) users.set(pack, (users.get(pack) ?? 0) + 1)
  const sizes = new Map<string, number>()
  const sums = {packBytes: 0, unneededBytes: 0, logBytes: 0, logSegments: 0}
  for await (const {name, size} of listAll(context.store, context.at('packs/'))) {
    const pack = name.slice(context.at('').length)
    sums.packBytes += size
    if (users.has(pack)) sizes.set(pack, size)
    else sums.unneededBytes += size
  }
  let segment = ''
  for await (const {name, size} of listAll(context.store, context.at('log/'))) {
    sums.logBytes += size
    const folder = name.slice(0, name.lastIndexOf('/'))
    if (folder !== segment) sums.logSegments++
    segment = folder
  }
  const total = (packs: readonly string[]) => packs.reduce((sum, pack) => sum + (sizes.get(pack) ?? 0), 0)
  return {
    snapshots: snapshots.map((snapshot) => {
      const packs = packsOf(snapshot)
      const {number, bytes, storedBytes, tree} = snapshot
      return {
        number, bytes, writtenBytes: storedBytes, neededBytes: total(packs) + tree.bytes, ownBytes: total(packs.filter((pack) => users.get(pack) === 1)) + tree.bytes,
      }
    }),
    ...sums,
  }
}

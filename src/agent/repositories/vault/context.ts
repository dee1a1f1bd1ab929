/** What every part of the vault works with, for one incarnation. */
import {DbaasError} from '../../../core/errors.js'
import type {Clock} from '../../../core/time.js'
import type {Content, ObjectStore} from '../repository.js'
import type {Codec} from './codec.js'
import {damaged, objects} from './format.js'
import type {DataKeys} from './keys.js'
import {watchLeases, type LeaseWatch} from './leases.js'
import type {Pool} from './pool.js'
import {openObject, sealObject} from './sealed.js'
import type {KeyText} from './tasks.js'
import {decodeTree, type Tree} from './tree.js'

export interface VaultOptions {
  readonly store: ObjectStore
  readonly keys: DataKeys
  readonly pool: Pool
  readonly clock: Clock
  /** Who writes, in words that are the same after a restart of it and are nobody else's: the site's id. */
  readonly owner: string
  readonly codec: Codec
  /** A pack is closed when it holds as many bytes. */
  readonly packBytes: number
  /** Where indexes of packs are kept so that they need not be fetched again: sealed as they are. */
  readonly cache: ObjectStore | null
  /** How long a lease holds without being renewed, and how long what a crashed session left is kept for its successor. */
  readonly leaseMs: number
  readonly graceMs: number
}

export interface Context extends VaultOptions {
  readonly keyText: KeyText
  readonly leases: LeaseWatch
  /** The full name of an object of this incarnation. */
  at(name: string): string
  /** Seals JSON as that object. */
  seal(name: string, value: unknown): Content
  open(name: string, sealed: Buffer): unknown
  /** Undefined when absent. */
  read(name: string): Promise<unknown>
  /** Numbers of the objects below a folder (`sessions/`), ascending. */
  numbers(folder: string): Promise<number[]>
}

export function createContext(options: VaultOptions): Context {
  const {store, keys} = options
  const at = (name: string) => `${keys.incarnation}/${name}`
  const open = (name: string, sealed: Buffer): unknown => {
    const plain = openObject(keys.object, keys.incarnation, name, sealed)
    try {
      return JSON.parse(Buffer.from(plain).toString('utf8'))
    } catch (cause) {
      throw damaged(at(name), 'it is not JSON', cause)
    }
  }
  return {
    ...options,
    leases: watchLeases(options.clock, options.leaseMs),
    keyText: {incarnation: keys.incarnation, repositoryId: keys.repositoryId, data: keys.data.toString('hex')},
    at,
    open,
    seal: (name, value) => sealObject(keys.object, keys.incarnation, name, Buffer.from(JSON.stringify(value)), options.codec),
    async read(name) {
      const sealed = await getIfThere(store, at(name))
      return sealed === undefined ? undefined : open(name, sealed)
    },
    async numbers(folder) {
      const found: number[] = []
      for (let after: string | undefined; ; ) {
        const {objects: page, more} = await store.list(at(folder), after === undefined ? {} : {after})
        for (const {name} of page) {
          const text = name.slice(at(folder).length)
          if (/^\d{8,15}$/.test(text)) found.push(Number(text))
        }
        after = page.at(-1)?.name
        if (!more || after === undefined) return found
      }
    },
  }
}

export async function getIfThere(store: ObjectStore, name: string): Promise<Buffer | undefined> {
  try {
    return await store.get(name)
  } catch (error) {
    if (error instanceof DbaasError && error.code === 'REPOSITORY_DAMAGED' && error.details['object'] === name) return undefined
    throw error
  }
}

/** A snapshot as its commit point tells it. */
export interface Snapshot {
  readonly kind: 'snapshot'
  readonly number: number
  /** The one it was compared with. It does not need it. */
  readonly previous: number | null
  /** Milliseconds since the epoch, by the clock of who wrote it. */
  readonly startedAt: number
  readonly committedAt: number
  /** Session and name of every pack that it needs. */
  readonly packs: readonly (readonly [session: number, name: string])[]
  readonly tree: {readonly sha256: string; readonly bytes: number}
  readonly files: number
  /** Of the files. */
  readonly bytes: number
  /** Written for it: packs and tree. */
  readonly storedBytes: number
  /** What the caller wants to know again: label, positions, version of the engine. */
  readonly meta: Readonly<Record<string, unknown>>
}

/** In the place of a snapshot that can never be: its session was given up, or taken over. */
export interface Tombstone {
  readonly kind: 'tombstone'
  readonly number: number
  readonly at: number
  readonly because: string
}

export type Commit = Snapshot | Tombstone

/** Undefined when there is none (yet). Throws REPOSITORY_DAMAGED. */
export async function readCommit(context: Context, n: number): Promise<Commit | undefined> {
  const commit = (await context.read(objects.snapshot(n))) as Commit | undefined
  if (commit !== undefined && commit.number !== n) throw damaged(context.at(objects.snapshot(n)), `it is number ${commit.number}`)
  return commit
}

export async function readSnapshot(context: Context, n: number): Promise<Snapshot> {
  const commit = await readCommit(context, n)
  if (commit?.kind === 'snapshot') return commit
  throw new DbaasError('BACKUP_NOT_FOUND', `there is no snapshot ${n} of ${context.keys.incarnation}`, {details: {snapshot: String(n)}})
}

export async function readTree(context: Context, snapshot: Snapshot): Promise<Tree> {
  const name = objects.tree(snapshot.number)
  const sealed = await getIfThere(context.store, context.at(name))
  if (sealed === undefined) {
    // Deleted since its manifest was read, or damaged.
    await readSnapshot(context, snapshot.number)
    throw damaged(context.at(name), 'it is gone')
  }
  const {answer: {sha256}} = await context.pool.run({kind: 'hash', content: sealed})
  if (sha256 !== snapshot.tree.sha256) throw damaged(context.at(name), 'it is not the one that the snapshot was committed with')
  const {answer: {plain}} = await context.pool.run({kind: 'unseal', keys: context.keyText, name, sealed})
  return decodeTree(plain)
}

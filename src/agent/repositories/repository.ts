/**
 * The promise of a repository kind (a folder, an S3 bucket), documented here and only here: a place for objects, which
 * are named byte strings that are written whole and read in parts. It knows nothing of backups, keys or engines.
 *
 * Every method is idempotent. Foreign errors leave as DbaasError: REPOSITORY_UNAVAILABLE (does not answer; worth
 * another try), REPOSITORY_REFUSED (credentials, permissions, a missing ability), DISK_FULL, REPOSITORY_DAMAGED (an
 * object that should be there is not). A method that failed may have had its effect or not; it never had half of it.
 */
import {DbaasError} from '../../core/errors.js'

/** One byte string, or the parts of one in order. Not changed by the callee; the caller leaves it alone until the promise settles. */
export type Content = Uint8Array | readonly Uint8Array[]

/** Bytes from `offset` on, or the `last` so many. */
export type Range = {readonly offset: number; readonly length: number} | {readonly last: number}

export interface ObjectFacts {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Milliseconds since the epoch by the clock of the store, which may not be ours. */
  readonly modifiedAt: number
}

export interface Listing {
  /** In the order of their names, compared as bytes. */
  readonly objects: readonly ObjectFacts[]
  /** Whether there is more after the last of them. */
  readonly more: boolean
}

export interface PutOptions {
  /** A small object that must be written so that room can be made: it may use what the store keeps free for when it is full. */
  readonly urgent?: boolean
}

export interface ObjectStore {
  readonly kind: string
  /** Where it is, for a person. Never a secret. */
  readonly where: string

  /** Makes what the store itself needs (its folder) if absent, and proves that it can do what is promised here. */
  prepare(): Promise<void>

  /** Writes or replaces the object: a reader, and a crash, see all of the old or all of the new. Durable after the next `barrier`. */
  put(name: string, content: Content, options?: PutOptions): Promise<void>
  /**
   * Writes the object unless one of that name is there: true when ours is now there, false when another was. Of any
   * number of callers in any number of processes exactly one is told true. A crash leaves all of it or nothing. After
   * an error the object may be there; ask `get`. Durable after the next `barrier`, and so is the other one after false.
   */
  putIfAbsent(name: string, content: Content, options?: PutOptions): Promise<boolean>
  /** Everything that `put`, `putIfAbsent` and `delete` have promised before the call survives a power cut after it. */
  barrier(): Promise<void>

  /** The object, or a part of it: shorter where the object ends, empty past its end. Absent: REPOSITORY_DAMAGED, `details.object`. */
  get(name: string, range?: Range): Promise<Buffer>
  /** Undefined when absent. */
  stat(name: string): Promise<ObjectFacts | undefined>
  /** Objects whose names begin with `prefix` (any text, '' for all) and come after `after`; at most `limit` (1000). */
  list(prefix: string, page?: {readonly after?: string; readonly limit?: number}): Promise<Listing>

  /** Absent: nothing happens. `erase`: where the store can, the bytes are overwritten first (best effort on plain volumes). */
  delete(name: string, options?: {readonly erase?: boolean}): Promise<void>
  /** Removes what unfinished writes of dead processes left and that is older than so many milliseconds; says how many. Keeps room for what is urgent. */
  tidy(olderThanMs: number): Promise<number>
}

const part = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

export const isNamePart = (text: string): boolean => part.test(text)

/** Names are parts joined by `/`: portable to every file system and bucket, and none leads out of a folder. */
export function assertObjectName(name: string): void {
  const parts = name.split('/')
  if (name.length > 500 || parts.length > 8 || !parts.every((text) => part.test(text))) {
    throw new DbaasError('INTERNAL', `"${name}" is not the name of an object`)
  }
}

export const partsOf = (content: Content): readonly Uint8Array[] => (content instanceof Uint8Array ? [content] : content)

export const lengthOf = (content: Content): number => partsOf(content).reduce((sum, bytes) => sum + bytes.length, 0)

export const missing = (store: string, name: string, cause?: unknown): DbaasError =>
  new DbaasError('REPOSITORY_DAMAGED', `the object ${name} is not in the repository ${store}`, {details: {object: name, repository: store}, cause})

/** Every object below the prefix, page by page, in order. */
export async function* listAll(store: ObjectStore, prefix: string, after?: string): AsyncGenerator<ObjectFacts> {
  for (let last = after; ; ) {
    const {objects, more} = await store.list(prefix, last === undefined ? {} : {after: last})
    yield* objects
    last = objects.at(-1)?.name
    if (!more || last === undefined) return
  }
}

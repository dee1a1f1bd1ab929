/**
 * What sessions have left that never committed: a backup that starts again after a crash need not store it again.
 * The packs of a session stay for the grace period after its tombstone; they are used in its first half only, so that
 * none is removed that has just been found.
 */
import {count} from './bitmap.js'
import {readCommit, type Context} from './context.js'
import {listAll} from '../repository.js'
import type {Footers} from './footers.js'
import {objects} from './format.js'
import {isRecent} from './leases.js'
import type {BlobRef, PackRef} from './tree.js'

export interface Orphan {
  readonly pack: PackRef
  readonly blob: Omit<BlobRef, 'pack'>
}

/** Page sets that are remembered at most: about 100 bytes each. */
const limit = 200_000

/** Numbers of the sessions whose packs may be used again. */
export async function reusableSessions(context: Context): Promise<number[]> {
  const found: number[] = []
  for (const n of (await context.numbers('snapshots/')).slice(-8)) {
    const commit = await readCommit(context, n).catch(() => undefined)
    if (commit?.kind === 'tombstone' && isRecent(commit.at, context.clock.now(), context.graceMs / 2)) found.push(n)
  }
  return found
}

/** Page sets of those sessions, by id (latin1). A pack that cannot be read is left out. */
export async function orphansOf(context: Context, footers: Footers, sessions: readonly number[]): Promise<Map<string, Orphan>> {
  const found = new Map<string, Orphan>()
  for (const session of sessions) {
    for await (const {name: object} of listAll(context.store, context.at(`${objects.pack(session, '')}`))) {
      const name = object.split('/').at(-1) as string
      try {
        const footer = await footers.of({session, name})
        const salt = footer.salt.toString('hex')
        for (const {id, offset, length, listed} of footer.entries()) {
          if (found.size >= limit) return found
          // A copy of the id: it would keep all of the footer in memory.
          found.set(id.toString('latin1'), {pack: {session, name, salt}, blob: {id: Buffer.from(id), offset, length, pages: count(listed)}})
        }
      } catch {
        continue
      }
    }
  }
  return found
}

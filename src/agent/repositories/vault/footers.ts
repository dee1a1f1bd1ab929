/** Footers of packs, for the hashes of pages that are in them. The last used are kept, so many bytes of them. */
import {DbaasError} from '../../../core/errors.js'
import {getIfThere, type Context} from './context.js'
import {damaged, objects} from './format.js'
import {openFooter, type Entry, type Footer} from './packs.js'
import type {PackRef} from './tree.js'

export interface Footers {
  /** Entries of the pack by their offset. Throws REPOSITORY_DAMAGED. */
  of(pack: Pick<PackRef, 'session' | 'name'>): Promise<ReadonlyMap<number, Entry>>
  salt(pack: Pick<PackRef, 'session' | 'name'>): Promise<Buffer>
  /** Keeps the index of a pack that was just written in the cache of this machine. */
  keep(name: string, index: Buffer): Promise<void>
}

const firstTry = 256 * 1024

interface Kept {
  readonly salt: Buffer
  readonly entries: ReadonlyMap<number, Entry>
  readonly bytes: number
}

export function createFooters(context: Context, limitBytes = 32 * 1024 * 1024): Footers {
  const kept = new Map<string, Promise<Kept>>()
  const sizes = new Map<string, number>()
  const cacheName = (name: string) => context.at(`footers/${name}`)

  async function load({session, name}: Pick<PackRef, 'session' | 'name'>): Promise<Kept> {
    const cached = context.cache === null ? undefined : await getIfThere(context.cache, cacheName(name)).catch(() => undefined)
    if (cached) {
      // A damaged cache is no damage: the pack has the same bytes.
      const footer = attempt(() => openFooter(context.keys, cached))
      if (footer && typeof footer !== 'number') return {...asMap(footer), bytes: cached.length}
    }
    const object = context.at(objects.pack(session, name))
    try {
      let tail = await context.store.get(object, {last: firstTry})
      let footer = openFooter(context.keys, tail)
      if (typeof footer === 'number') {
        tail = await context.store.get(object, {last: footer})
        footer = openFooter(context.keys, tail)
      }
      if (typeof footer === 'number') throw new Error('its footer is longer than it is')
      return {...asMap(footer), bytes: tail.length}
    } catch (cause) {
      if (cause instanceof DbaasError) throw cause
      throw damaged(object, (cause as Error).message, cause)
    }
  }

  function get(pack: Pick<PackRef, 'session' | 'name'>): Promise<Kept> {
    const found = kept.get(pack.name) ?? load(pack)
    // Moved to the end: what was not used for longest goes first.
    kept.delete(pack.name)
    kept.set(pack.name, found)
    found.then(
      ({bytes}) => {
        sizes.set(pack.name, bytes)
        let sum = 0
        for (const size of sizes.values()) sum += size
        for (const name of kept.keys()) {
          if (sum <= limitBytes || name === pack.name) break
          sum -= sizes.get(name) ?? 0
          sizes.delete(name)
          kept.delete(name)
        }
      },
      () => kept.delete(pack.name),
    )
    return found
  }

  return {
    of: async (pack) => (await get(pack)).entries,
    salt: async (pack) => (await get(pack)).salt,
    async keep(name, index) {
      // Best effort: without it the pack is asked.
      await context.cache?.put(cacheName(name), index).catch(() => undefined)
    },
  }
}

const asMap = ({salt, entries}: Footer) => ({salt, entries: new Map(entries.map((entry) => [entry.offset, entry]))})

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}

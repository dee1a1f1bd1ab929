/** Footers of packs, for the hashes of pages that are in them. The last used are kept, so many bytes of them. */
import {DbaasError} from '../../../core/errors.js'
import {getIfThere, type Context} from './context.js'
import {damaged, objects} from './format.js'
import {openFooter, type Footer} from './packs.js'
import type {PackRef} from './tree.js'

export interface Footers {
  /** Throws REPOSITORY_DAMAGED. */
  of(pack: Pick<PackRef, 'session' | 'name'>): Promise<Footer>
  /** Keeps the index of a pack that was just written in the cache of this machine. */
  keep(name: string, index: Buffer): Promise<void>
}

const firstTry = 256 * 1024

export function createFooters(context: Context, limitBytes = 32 * 1024 * 1024): Footers {
  const kept = new Map<string, Promise<Footer>>()
  const sizes = new Map<string, number>()
  let keptBytes = 0
  const cacheName = (name: string) => context.at(`footers/${name}`)

  async function load({session, name}: Pick<PackRef, 'session' | 'name'>): Promise<Footer> {
    const cached = context.cache === null ? undefined : await getIfThere(context.cache, cacheName(name)).catch(() => undefined)
    if (cached) {
      // A damaged cache is no damage: the pack has the same bytes.
      const footer = attempt(() => openFooter(context.keys, cached))
      if (footer && typeof footer !== 'number') return footer
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
      return footer
    } catch (cause) {
      if (cause instanceof DbaasError) throw cause
      throw damaged(object, (cause as Error).message, cause)
    }
  }

  function of(pack: Pick<PackRef, 'session' | 'name'>): Promise<Footer> {
    const known = kept.get(pack.name)
    const found = known ?? load(pack)
    // Moved to the end: what was not used for longest goes first.
    kept.delete(pack.name)
    kept.set(pack.name, found)
    if (known === undefined) found.then(({memoryBytes}) => loaded(pack.name, memoryBytes), () => kept.delete(pack.name))
    return found
  }

  function loaded(name: string, bytes: number): void {
    sizes.set(name, bytes)
    keptBytes += bytes
    for (const [oldest, size] of [...kept.keys()].map((key) => [key, sizes.get(key)] as const)) {
      if (keptBytes <= limitBytes || oldest === name) return
      // one that is still on its way
      if (size === undefined) continue
      keptBytes -= size
      sizes.delete(oldest)
      kept.delete(oldest)
    }
  }

  return {
    of,
    async keep(name, index) {
      // Best effort: without it the pack is asked.
      await context.cache?.put(cacheName(name), index).catch(() => undefined)
    },
  }
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}

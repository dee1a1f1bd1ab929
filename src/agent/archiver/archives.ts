/** What the archiver has open: repositories, and the vaults in them. */
import {createHash} from 'node:crypto'
import {existsSync} from 'node:fs'
import {join} from 'node:path'
import {DbaasError} from '../../core/errors.js'
import {openDirectory} from '../repositories/directory/index.js'
import {storeOf} from '../repositories/index.js'
import type {ObjectStore} from '../repositories/repository.js'
import {openRepository, openVault, type Vault} from '../repositories/vault/index.js'
import {createDataKeys, openDataKeys, type DataKeys} from '../repositories/vault/keys.js'
import {masterKeyFromFile, type MasterKey} from '../repositories/vault/master-key.js'
import type {Pool} from '../repositories/vault/pool.js'
import type {ArchivePlace, KeySource, RepositoryPlace} from './archiver.js'
import {masterKeyOf} from './key-source.js'
import type {ThreadData} from './protocol.js'

export interface Archives {
  /** The place alone, whatever is in it. */
  store(place: RepositoryPlace): Promise<ObjectStore>
  /** What it is is looked at again, where that is known: a disk that is away is not one from which all has gone. */
  opened(place: RepositoryPlace): Promise<ObjectStore>
  /** Somebody waits for what it says. */
  hurried(place: RepositoryPlace): Promise<ObjectStore>
  /** The id of the repository; makes it if absent. */
  prepare(place: RepositoryPlace): Promise<string>
  /** `make`: a new incarnation gets its key; else KEY_UNAVAILABLE. */
  vault(archive: ArchivePlace, make?: boolean): Promise<Vault>
  keyOf(source: KeySource): MasterKey
  /** What is known of it is forgotten: its key has gone, or is wrapped by another. */
  forget(archive: ArchivePlace): void
}

/** `ending` ends the programs that keys are asked of. */
export function createArchives(data: ThreadData, pool: Pool, ending?: AbortSignal): Archives {
  const stores = new Map<string, Promise<ObjectStore>>()
  const ids = new Map<string, Promise<string>>()
  const vaults = new Map<string, Promise<Vault>>()
  /** Without what is secret: it is the name of a folder, too. */
  const nameOf = ({kind, location, settings}: RepositoryPlace): string => JSON.stringify([kind, location, settings['endpoint'] ?? null])

  /** A failure is not remembered: the next call tries again. */
  function once<T>(map: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
    const kept = map.get(key)
    if (kept) return kept
    const made = make()
    map.set(key, made)
    made.catch(() => map.delete(key))
    return made
  }

  const store = (place: RepositoryPlace): Promise<ObjectStore> => once(stores, JSON.stringify([place.kind, place.settings]), () => storeOf(place))

  const keyOf = (source: KeySource): MasterKey => masterKeyOf(source, data.environment, ending)

  const idOf = (place: RepositoryPlace): Promise<string> => once(ids, nameOf(place), async () => openRepository(await store(place), place.access, place.id))

  /** While the master key is being changed there are two: new keys are wrapped by the new one, and old ones may be already. */
  async function openKeys(objects: ObjectStore, id: string, incarnation: string, make: boolean): Promise<DataKeys> {
    const nextPath = data.key.kind === 'file' ? `${data.key.path}.next` : null
    const next = nextPath !== null && existsSync(nextPath) ? masterKeyFromFile(nextPath) : null
    const known = next && (await openDataKeys(objects, id, incarnation, next).catch((error: unknown) => {
      if (!(error instanceof DbaasError) || error.code !== 'KEY_UNAVAILABLE') throw error
    }))
    if (known) return known
    const current = keyOf(data.key)
    return openDataKeys(objects, id, incarnation, current).catch((error: unknown) => {
      if (!make || !(error instanceof DbaasError) || error.code !== 'KEY_UNAVAILABLE') throw error
      return createDataKeys(objects, id, incarnation, next ?? current)
    })
  }

  /** Outside of the repository: what is in it can be made anew. */
  function cacheOf(place: RepositoryPlace): ObjectStore {
    return openDirectory(join(data.cache, createHash('sha256').update(nameOf(place)).digest('hex').slice(0, 16)))
  }

  async function prepare(place: RepositoryPlace): Promise<string> {
    ids.delete(nameOf(place))
    return idOf(place)
  }

  return {
    store,
    hurried: (place) => storeOf(place, 'hurried'),
    async opened(place) {
      if (place.id !== null) await prepare(place)
      return store(place)
    },
    keyOf,
    prepare,
    vault: (archive, make = false) => once(vaults, `${nameOf(archive.repository)}/${archive.incarnation}`, async () => {
      const {repository, incarnation} = archive
      const id = await idOf(repository)
      const objects = await store(repository)
      const keys = await openKeys(objects, id, incarnation, make)
      const cache = cacheOf(repository)
      await cache.prepare()
      return openVault({store: objects, keys, pool, clock: {now: () => Date.now()}, owner: data.owner, cache})
    }),
    forget({repository, incarnation}) {
      vaults.delete(`${nameOf(repository)}/${incarnation}`)
    },
  }
}

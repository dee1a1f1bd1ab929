/**
 * Prepared data directories, `<dataRoot>/pool/<key>/<uuid>/data`, and scratch places, `<dataRoot>/scratch/<uuid>`.
 * An entry is made as `.tmp-<uuid>`, synced, then renamed: a name without a dot is always a whole entry.
 */
import {randomUUID} from 'node:crypto'
import {access, readdir, rename, rmdir, stat, statfs} from 'node:fs/promises'
import {join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import type {Host} from '../../../engines/host.js'
import type {ServerCommand} from '../../../engines/engine.js'
import type {DataPool, Placement, Scratch, ScratchPlaces, Software} from '../runtime.js'
import {atEdge, errnoOf} from './errors.js'
import {makeBelow, makeFolder, syncFolder, syncTree} from './files.js'
import type {Belonging} from './membership.js'
import {makePlace, placeIn, removeTree, type Place, type Places} from './places.js'
import {holdFreePort} from './ports.js'
import type {ServiceUser} from './service-user.js'

export interface PoolOptions {
  readonly dataRoot: string
  readonly user: ServiceUser
  readonly places: Places
  hostIn(place: Place, software: Software, options: {port: number; background: boolean}): Host
  serverProgram(engine: string): string
  /** The programs are there when it returns: the bundled ones are put into the store on first use. */
  ensureSoftware(software: Software): Promise<void>
  startIn(place: Place, software: Software, command: ServerCommand): Promise<void>
  /** Kills whatever runs in a place. */
  clear(what: Belonging): Promise<void>
}

const draftPrefix = '.tmp-'

export interface ProcessPool extends DataPool {
  readonly scratch: ScratchPlaces
  tidy(keep: ReadonlySet<string>): Promise<void>
  stop(): Promise<void>
}

export function createPool(options: PoolOptions): ProcessPool {
  const {user, places, hostIn, serverProgram, ensureSoftware, startIn, clear} = options
  const root = join(options.dataRoot, 'pool')
  const scratchRoot = join(options.dataRoot, 'scratch')
  const passage = user.separate ? 0o711 : 0o700
  /** Folders this agent is working in; all others without a final name are what a dead one left. */
  const active = new Map<string, {place: Place; engine: string}>()
  let stopped = false

  const folderOf = (key: string): string => join(root, encodeURIComponent(key).replace(/^\./, '%2E'))

  async function entries(key: string): Promise<string[]> {
    const folder = folderOf(key)
    const found: string[] = []
    for (const name of await names(folder)) {
      if (!name.startsWith('.') && (await access(join(folder, name, 'data')).then(() => true, () => false))) found.push(join(folder, name))
    }
    return found
  }

  const roomBytes = async (): Promise<number> => {
    const disk = await statfs(options.dataRoot)
    return disk.bavail * disk.bsize
  }

  const count = async (key: string): Promise<number> => (await entries(key)).length

  const prepare: DataPool['prepare'] = (key, software, maker) =>
    atEdge(`prepare a data directory for ${key}`, async () => {
      refuseWhenStopped()
      await ensureSoftware(software)
      const folder = folderOf(key)
      const id = randomUUID()
      const place = placeIn(join(folder, `${draftPrefix}${id}`), `pool-${id}`)
      active.set(place.folder, {place, engine: software.engine})
      try {
        await makeBelow(async () => {
          for (const parent of [root, folder]) await makeFolder(parent, passage)
          await makePlace(place, user)
        })
        const host = hostIn(place, software, {port: 0, background: true})
        await maker.make(host)
        await maker.seal(host)
        for (const path of [place.config, place.log, place.tmp]) await removeTree(path)
        await syncTree(place.folder)
        await rename(place.folder, join(folder, id))
        await syncFolder(folder)
      } catch (error) {
        await abandon(place, software.engine)
        await rmdir(folder).catch(() => undefined)
        await rmdir(root).catch(() => undefined)
        throw error
      } finally {
        active.delete(place.folder)
      }
    })

  /** They are sealed when they are prepared: the move takes the mark along. */
  const claim = (key: string, placement: Placement): Promise<boolean> =>
    atEdge(`give ${placement.instanceName} a prepared data directory`, async () => {
      const place = places.of(placement)
      const folder = folderOf(key)
      for (const name of await names(folder)) {
        if (name.startsWith('.')) continue
        const entry = join(folder, name)
        try {
          // one system call decides between two that want the same entry, and refuses a data folder with anything in it
          await rename(join(entry, 'data'), place.data)
        } catch (error) {
          const code = errnoOf(error)
          if (code === 'ENOTEMPTY' || code === 'EEXIST') return false
          if (code === 'ENOENT' && (await isFolder(place.folder))) continue
          throw error
        }
        await syncFolder(place.folder)
        await rmdir(entry).catch(() => undefined)
        return true
      }
      return false
    })

  const tidy = (keep: ReadonlySet<string>): Promise<void> =>
    atEdge('tidy the pool', async () => {
      const kept = new Set([...keep].map(folderOf))
      for (const name of await names(root)) {
        const folder = join(root, name)
        for (const entry of await names(folder)) {
          const path = join(folder, entry)
          if (active.has(path)) continue
          const whole = !entry.startsWith('.') && (await isFolder(join(path, 'data')))
          if (whole && kept.has(folder)) continue
          if (entry.startsWith(draftPrefix)) await abandon(placeIn(path, `pool-${entry.slice(draftPrefix.length)}`), undefined)
          else await removeTree(path)
        }
        await rmdir(folder).catch(() => undefined)
      }
      await rmdir(root).catch(() => undefined)
      for (const name of await names(scratchRoot)) {
        const path = join(scratchRoot, name)
        if (!active.has(path)) await abandon(placeIn(path, `scratch-${name}`), undefined)
      }
      await rmdir(scratchRoot).catch(() => undefined)
    })

  const use: ScratchPlaces['use'] = (software, work) =>
    atEdge(`use a scratch place for ${software.engine} ${software.version}`, async () => {
      refuseWhenStopped()
      await ensureSoftware(software)
      const id = randomUUID()
      const place = placeIn(join(scratchRoot, id), `scratch-${id}`)
      active.set(place.folder, {place, engine: software.engine})
      const hold = await holdFreePort()
      try {
        await makeBelow(async () => {
          await makeFolder(scratchRoot, passage)
          await makePlace(place, user)
        })
        const given: Scratch = {
          host: hostIn(place, software, {port: hold.port, background: false}),
          start: (command) => startIn(place, software, command),
        }
        return await work(given)
      } finally {
        try {
          await abandon(place, software.engine)
          await rmdir(scratchRoot).catch(() => undefined)
        } finally {
          hold.release()
          active.delete(place.folder)
        }
      }
    })

  /** Whatever still runs in it (initdb of an agent that was killed) would go on writing. */
  async function abandon(place: Place, engine: string | undefined): Promise<void> {
    await clear({place, serverProgram: engine === undefined ? '' : serverProgram(engine)})
    await removeTree(place.folder)
  }

  function refuseWhenStopped(): void {
    if (stopped) throw new DbaasError('AGENT_STOPPING', 'the agent is shutting down')
  }

  /** An initdb in the background is not waited for: it is killed, and its own call removes what it made. */
  const stop = async (): Promise<void> => {
    stopped = true
    while (active.size > 0) {
      for (const {place, engine} of active.values()) await clear({place, serverProgram: serverProgram(engine)})
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  return {roomBytes, count, prepare, claim, scratch: {use}, tidy, stop}
}

const names = (folder: string): Promise<string[]> =>
  readdir(folder).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return []
    throw error
  })

const isFolder = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isDirectory() ?? false

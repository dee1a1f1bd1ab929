/**
 * Prepared data directories, as archives in the agent's own files: `<dataRoot>/docker/pool/<key>/<uuid>.tar.gz`. Nothing
 * of them is in Docker. One is made in a scratch place, as a file whose name begins with a dot, synced, then renamed; it
 * is renamed again by whoever takes it, and removed when it is used, or could not be: no two instances are ever given
 * the same one. It holds no mark of a finished directory: what is unpacked has to be sealed first.
 */
import {randomUUID} from 'node:crypto'
import {mkdir, open, readdir, rename, rm, rmdir, statfs} from 'node:fs/promises'
import {join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import type {Host} from '../../../engines/host.js'
import type {DataPool, Placement} from '../runtime.js'
import {saveData, unpackData} from './archives.js'
import type {Client} from './client.js'
import type {Seat} from './host.js'
import type {Images} from './images.js'
import type {ScratchKeeper} from './scratch.js'
import type {Tools} from './tools.js'

export interface DockerPool extends DataPool {
  /** Removes what is not whole, and what is of other keys. */
  tidy(keep: ReadonlySet<string>): Promise<void>
}

const suffix = '.tar.gz'
const draftPrefix = '.draft-'
const takenPrefix = '.taken-'

export function createPool(options: {
  client: Client
  dataRoot: string
  images: Images
  scratch: ScratchKeeper
  tools: Tools
  hostOf(placement: Placement): Host
  seatOf(placement: Placement): Seat
  log(message: string, facts?: Record<string, unknown>): void
}): DockerPool {
  const {client, images, scratch, tools, hostOf, seatOf, log} = options
  const root = join(options.dataRoot, 'docker', 'pool')
  /** Files that this agent is writing or unpacking; all others with a dot are what a dead one left. */
  const active = new Set<string>()

  const folderOf = (key: string): string => join(root, encodeURIComponent(key).replace(/^\./, '%2E'))

  const wholeOnes = async (key: string): Promise<string[]> =>
    (await names(folderOf(key))).filter((name) => !name.startsWith('.') && name.endsWith(suffix))

  /** Only an engine with its socket on this machine: to another one each of them had to be uploaded. */
  async function isNear(): Promise<boolean> {
    return (await client.connection()).transport.kind === 'socket'
  }

  async function roomBytes(): Promise<number> {
    if (!(await isNear())) return 0
    const disk = await statfs(options.dataRoot)
    return disk.bavail * disk.bsize
  }

  const prepare: DataPool['prepare'] = async (key, software, maker) => {
    const {image} = software
    if (!image || !(await images.has(image))) {
      throw new DbaasError('IMAGE_NOT_FOUND', `the image of ${software.engine} ${software.version} is not there`, {
        details: {engine: software.engine, version: software.version}, suggestions: ['docker images'],
      })
    }
    const folder = folderOf(key)
    const id = randomUUID()
    const draft = join(folder, `${draftPrefix}${id}${suffix}`)
    active.add(draft)
    try {
      await scratch.within(software, async (place, host) => {
        await maker.make(host)
        await mkdir(folder, {recursive: true, mode: 0o700})
        await tools.using(place, (container) => saveData(client, container, draft))
      })
      await rename(draft, join(folder, `${id}${suffix}`))
      await syncFolder(folder)
    } catch (error) {
      await rm(draft, {force: true})
      await leave(folder)
      throw error
    } finally {
      active.delete(draft)
    }
  }

  /** One system call decides between two that want the same. */
  async function take(key: string): Promise<string | undefined> {
    for (const name of await wholeOnes(key)) {
      const taken = join(folderOf(key), `${takenPrefix}${name}`)
      active.add(taken)
      try {
        await rename(join(folderOf(key), name), taken)
        return taken
      } catch (error) {
        active.delete(taken)
        if (!isGone(error)) throw error
      }
    }
    return undefined
  }

  const claim: DataPool['claim'] = async (key, placement, maker) => {
    if ((await wholeOnes(key)).length === 0 || !(await isNear())) return false
    const host = hostOf(placement)
    const {image} = placement
    if (image === null || (await host.list(host.paths.data)).length > 0) return false
    const archive = await take(key)
    if (archive === undefined) return false
    try {
      await seatOf(placement).using((container) => unpackData(client, container, image, archive))
      await maker.seal(host)
      return true
    } catch (error) {
      log('a prepared data directory could not be given', {instance: placement.instanceName, error: error instanceof Error ? error.message : String(error)})
      // the caller makes one, in an empty folder; where Docker is away, that says so
      await host.remove(host.paths.data)
      return false
    } finally {
      await rm(archive, {force: true})
      active.delete(archive)
    }
  }

  async function tidy(keep: ReadonlySet<string>): Promise<void> {
    const kept = new Set([...keep].map(folderOf))
    for (const name of await names(root)) {
      const folder = join(root, name)
      for (const entry of await names(folder)) {
        const path = join(folder, entry)
        if (active.has(path) || (kept.has(folder) && !entry.startsWith('.'))) continue
        await rm(path, {recursive: true, force: true})
      }
      await leave(folder)
    }
  }

  /** Empty folders do not stay. */
  async function leave(folder: string): Promise<void> {
    await rmdir(folder).catch(() => undefined)
    await rmdir(root).catch(() => undefined)
  }

  return {roomBytes, count: async (key) => (await wholeOnes(key)).length, prepare, claim, tidy}
}

const isGone = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(String((error as NodeJS.ErrnoException).code))

const names = (folder: string): Promise<string[]> =>
  readdir(folder).catch((error: unknown) => {
    if (isGone(error)) return []
    throw error
  })

/** After a rename: without it, the new name may be gone after a power cut. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

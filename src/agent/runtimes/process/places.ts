/**
 * The folders of nodes: `<dataRoot>/instances/<instance id>/<node id>/`. The place itself belongs to the agent, so
 * that the server's user cannot put a link where one of its folders is expected; what is in it belongs to that user.
 */
import {readdir, readFile, rename, rm, rmdir} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import type {Placement} from '../runtime.js'
import {makeBelow, makeFolder, writeAtomically} from './files.js'
import type {ServiceUser} from './service-user.js'

/** Where something runs: a node's place, a scratch place, or a prepared data directory in the making. */
export interface Place {
  readonly nodeId: string
  readonly folder: string
  readonly data: string
  readonly config: string
  readonly log: string
  readonly tmp: string
  /** What the server writes to its standard output and error. */
  readonly logFile: string
  /** Who the server is: written before it runs, so that it is found whatever becomes of the agent. */
  readonly serverFile: string
}

export function placeIn(folder: string, nodeId: string): Place {
  const log = join(folder, 'log')
  return {
    nodeId, folder, log, data: join(folder, 'data'), config: join(folder, 'config'), tmp: join(folder, 'tmp'),
    logFile: join(log, 'server.log'), serverFile: join(folder, 'server.json'),
  }
}

/** Makes the four folders, each 0700 of the server's user, in a folder that it can only pass through. Parents exist. */
export async function makePlace(place: Place, user: ServiceUser): Promise<void> {
  await makeFolder(place.folder, user.separate ? 0o711 : 0o700)
  for (const path of [place.config, place.log, place.tmp, place.data]) await makeFolder(path, 0o700, user)
}

interface Label {
  readonly siteId: string
  readonly placement: Placement
}

/** A place on disk. `placement` is null when its label is missing or damaged. */
export interface PlaceOnDisk {
  readonly place: Place
  readonly placement: Placement | null
  readonly site: string | null
}

export type Places = ReturnType<typeof createPlaces>

export function createPlaces(options: {dataRoot: string; siteId: string; user: ServiceUser}) {
  const {siteId, user} = options
  const root = join(options.dataRoot, 'instances')
  const passage = user.separate ? 0o711 : 0o700

  const of = ({instanceId, nodeId}: Pick<Placement, 'instanceId' | 'nodeId'>): Place => {
    for (const id of [instanceId, nodeId]) {
      if (!/^[A-Za-z0-9_-]+$/.test(id)) throw new DbaasError('INTERNAL', `"${id}" cannot be the id of a place`)
    }
    return placeIn(join(root, instanceId, nodeId), nodeId)
  }

  /** Idempotent. The label first: a half-made place is then known for what it is. */
  async function make(placement: Placement): Promise<Place> {
    const place = of(placement)
    await makeBelow(async () => {
      for (const folder of [root, dirname(place.folder), place.folder]) await makeFolder(folder, passage)
    })
    await label(placement)
    await makePlace(place, user)
    return place
  }

  /** Writes the label when it says something else; it is enough to rebuild the store from. */
  async function label(placement: Placement): Promise<void> {
    const file = labelFile(of(placement))
    const content = `${JSON.stringify({siteId, placement} satisfies Label, null, 2)}\n`
    const before = await readFile(file, 'utf8').catch(() => undefined)
    if (before !== content) await writeAtomically(file, content, 0o600)
  }

  /** From the folder of another instance: one rename, then the label. Idempotent. */
  async function move(placement: Placement, fromInstance: string): Promise<void> {
    const to = of(placement)
    const from = of({instanceId: fromInstance, nodeId: placement.nodeId})
    await makeBelow(async () => {
      for (const folder of [root, dirname(to.folder)]) await makeFolder(folder, passage)
    })
    await rename(from.folder, to.folder).catch(absent)
    await rmdir(dirname(from.folder)).catch(() => undefined)
    // data that somebody removed has no place that could be labelled
    if ((await readdir(to.folder).catch(absent)) !== undefined) await label(placement)
  }

  /** Everything in it, the label last: a removal that was cut off is still known as that node's. Absent: no error. */
  async function remove(placement: Placement): Promise<void> {
    const place = of(placement)
    const names = await readdir(place.folder).catch(absent)
    for (const name of names ?? []) {
      if (name !== 'place.json') await removeTree(join(place.folder, name))
    }
    await removeTree(place.folder)
    for (const parent of [dirname(place.folder), root]) {
      // not empty: other nodes are there
      await rmdir(parent).catch(() => undefined)
    }
  }

  async function list(): Promise<PlaceOnDisk[]> {
    const found: PlaceOnDisk[] = []
    for (const instanceId of (await readdir(root).catch(absent)) ?? []) {
      for (const nodeId of (await readdir(join(root, instanceId)).catch(absent)) ?? []) {
        const place = placeIn(join(root, instanceId, nodeId), nodeId)
        const label = await readLabel(place)
        const whole = label !== undefined && label.placement.nodeId === nodeId && label.placement.instanceId === instanceId
        found.push({place, site: label?.siteId ?? null, placement: whole ? label.placement : null})
      }
    }
    return found
  }

  return {root, of, make, label, move, remove, list}
}

const labelFile = (place: Place): string => join(place.folder, 'place.json')

async function readLabel(place: Place): Promise<Label | undefined> {
  try {
    const label = JSON.parse(await readFile(labelFile(place), 'utf8')) as Label
    return typeof label.siteId === 'string' && typeof label.placement?.nodeId === 'string' ? label : undefined
  } catch {
    return undefined
  }
}

const absent = (error: NodeJS.ErrnoException): undefined => {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
  return undefined
}

/** Retried: a process that was just killed may have made one last file. */
export const removeTree = (path: string): Promise<void> => rm(path, {recursive: true, force: true, maxRetries: 5, retryDelay: 20})

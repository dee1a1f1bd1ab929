/** The volume of a place, and the file on it that says whose it is. */
import {access, constants} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import type Docker from 'dockerode'
import {DbaasError} from '../../../core/errors.js'
import type {Placement} from '../runtime.js'
import type {Client} from './client.js'
import {getFile, putEntries, removeContainer, type Entry} from './containers.js'
import {refusalOf} from './errors.js'
import {filterBy, labels, parsePlacement, type Labels, type Role} from './labels.js'
import {paths, root, type Place} from './recipe.js'
import type {Session} from './session.js'

export type Volume = Docker.VolumeInspectInfo

/** Who reads the files of a volume has it for moments, not for so long. */
const lookMs = 5000

/** Tools that others make meanwhile are ended so often. */
const mostTools = 9

const hasRole = (marks: Labels, role: Role): boolean => marks[labels.role] === role

/** Two of them, written one after the other in one go: whatever is cut off, one of them is whole. */
const files = ['place.json.new', 'place.json'] as const

const findVolume = (client: Client, name: string): Promise<Volume | undefined> =>
  client.find('look at a volume', (docker, abortSignal) => docker.getVolume(name).inspect({abortSignal} as object))

/** Docker makes the volume of a container where there is none: of a place that was removed a moment ago nothing may come back. Ours have labels. */
export async function isBroughtBack(client: Client, name: string): Promise<boolean> {
  const volume = await findVolume(client, name)
  return volume !== undefined && Object.keys(volume.Labels ?? {}).length === 0
}

/** After the container that brought it back; with one of another agent that came too late, too, it goes with that. */
export async function removeBroughtBack(client: Client, name: string): Promise<void> {
  if (await isBroughtBack(client, name)) await removeUnused(client, name)
}

/** No error when it is not there. Answers with Docker's refusal while a container has it. */
async function removeUnused(client: Client, name: string): Promise<unknown> {
  let refused: unknown
  await client.find(`remove the volume ${name}`, (docker, abortSignal) => docker.getVolume(name).remove({abortSignal} as object).catch((error: unknown) => {
    if (refusalOf(error)?.status !== 409) throw error
    refused = error
  }))
  return refused
}

const holdersOf = (client: Client, name: string): Promise<Docker.ContainerInfo[]> =>
  client.call('list the containers of a volume', (docker, abortSignal) => docker.listContainers({all: true, filters: {volume: [name]}, abortSignal}))

export type Volumes = ReturnType<typeof createVolumes>

export function createVolumes(client: Client) {
  /** What the file of a node says, as far as this agent has written it. */
  const written = new Map<string, string>()

  const find = (name: string): Promise<Volume | undefined> => findVolume(client, name)

  return {
    find,

    /** As this machine sees it; null where the engine is elsewhere, or where we may not look into its folders. */
    async dataFolder(name: string): Promise<string | null> {
      const mountpoint = (await find(name))?.Mountpoint
      const folder = mountpoint && join(mountpoint, relative(root, paths.data))
      return folder && (await access(folder, constants.W_OK).then(() => true, () => false)) ? folder : null
    },

    /** True when it was not there. */
    async ensure(name: string, volumeLabels: Labels): Promise<boolean> {
      if (await find(name)) return false
      await client.call(`make the volume ${name}`, (docker, abortSignal) => docker.createVolume({Name: name, Labels: {...volumeLabels}, abortSignal} as Docker.VolumeCreateOptions))
      return true
    },

    /**
     * With all that is on it. No error when it is not there. `endTool`: who asks for a file of it at this moment makes another
     * tool. Throws INVALID_STATE while a stranger's container uses it.
     */
    async remove(name: string, endTool?: () => Promise<void>): Promise<void> {
      const began = performance.now()
      for (let ended = 0; ; ) {
        const refused = await removeUnused(client, name)
        if (refused === undefined) return
        const holders = await holdersOf(client, name)
        const others = holders.filter(({Labels}) => !hasRole(Labels, 'probe'))
        if (others.length > 0 && endTool && ended < mostTools && others.every(({Labels}) => hasRole(Labels, 'tool'))) {
          await endTool()
          ended++
          continue
        }
        if (others.length > 0) {
          throw new DbaasError('INVALID_STATE', `the volume ${name} is in use by another container`, {
            cause: refused, details: {docker: refusalOf(refused)?.words ?? ''}, suggestions: [`docker ps --all --filter volume=${name}`],
          })
        }
        // somebody lists what there is; or was killed while it did
        if (performance.now() - began > lookMs) for (const {Id} of holders) await removeContainer(client, Id)
        else await pause(20)
      }
    },

    list: async (label: readonly string[]): Promise<Volume[]> =>
      (await client.call('list volumes', (docker, abortSignal) => docker.listVolumes({filters: {label: [...label]}, abortSignal} as object))).Volumes ?? [],

    /** The folders of the server's user, in one that is not its own, so that it cannot put something else in their place. */
    async furnish(place: Place, container: string, placement: Placement | null): Promise<void> {
      const {uid, gid} = place.image
      const folders: Entry[] = ['config', 'log', 'tmp', 'data'].map((name) => ({name, mode: 0o700, uid, gid}))
      await putEntries(client, container, root, [...folders, ...(placement ? labelEntries(placement) : [])])
      if (placement) written.set(place.nodeId, JSON.stringify(placement))
    },

    /** Whether nothing of what `furnish` makes is missing, as its own shell sees it. */
    async isFurnished(placement: Placement, session: Session): Promise<boolean> {
      if (written.get(placement.nodeId) !== JSON.stringify(placement)) return false
      return (await session.run(Object.values(paths).map((_, i) => `[ -w "$${i + 1}" ]`).join(' && '), Object.values(paths))).code === 0
    },

    /** Writes down what has changed; labels of Docker never do. */
    async label(placement: Placement, container: () => Promise<string>): Promise<void> {
      if (written.get(placement.nodeId) === JSON.stringify(placement)) return
      await putEntries(client, await container(), root, labelEntries(placement))
      written.set(placement.nodeId, JSON.stringify(placement))
    },

    forget: (nodeId: string): void => void written.delete(nodeId),

    /** What the file says, read through a container that has the volume at `folder`; the label where that cannot be. */
    async placementIn(nodeId: string, container: string | undefined, label: string | undefined, folder: string = root): Promise<Placement | undefined> {
      if (container !== undefined) {
        for (const file of [...files].reverse()) {
          const placement = parsePlacement(await getFile(client, container, `${folder}/${file}`).catch(() => undefined), nodeId)
          if (placement) return placement
        }
      }
      return parsePlacement(label, nodeId)
    },

    ofNode: (siteId: string, nodeId: string): string[] => filterBy({[labels.site]: siteId, [labels.node]: nodeId}).label,
  }
}

const labelEntries = (placement: Placement): Entry[] =>
  files.map((name) => ({name, content: `${JSON.stringify(placement, null, 2)}\n`, mode: 0o600, uid: 0, gid: 0}))

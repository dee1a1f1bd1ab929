/** What of this site, or of another, really exists: volumes, and servers' containers that have none. */
import type Docker from 'dockerode'
import type {InstanceSize} from '../../../core/instance/sizes.js'
import type {Found, Placement} from '../runtime.js'
import type {Client} from './client.js'
import {inspectContainer, listContainers, removeContainer, type Inspected} from './containers.js'
import {hardened} from './hardening.js'
import {filterBy, labels, labelsOfSite, parsePlacement} from './labels.js'
import {removeBroughtBack, type Volume, type Volumes} from './volumes.js'

interface Node {
  readonly nodeId: string
  readonly siteId: string | null
  volume?: Volume
  container?: Inspected
}

export async function findAll(client: Client, volumes: Volumes, siteId: string): Promise<Found[]> {
  const [containers, found] = await Promise.all([
    listContainers(client, filterBy({[labels.site]: null, [labels.role]: 'server'}).label),
    volumes.list(filterBy({[labels.site]: null, [labels.role]: 'data'}).label),
  ])
  const nodes = new Map<string, Node>()
  const nodeOf = (marks: Readonly<Record<string, string>>, name: string): Node => {
    const nodeId = marks[labels.node] ?? name
    const key = `${marks[labels.site]} ${nodeId}`
    const node = nodes.get(key) ?? {nodeId, siteId: marks[labels.site] ?? null}
    nodes.set(key, node)
    return node
  }
  for (const volume of found) nodeOf(volume.Labels ?? {}, volume.Name).volume = volume
  for (const inspected of await Promise.all(containers.map(({Id}) => inspectContainer(client, Id)))) {
    if (inspected) nodeOf(inspected.Config.Labels, inspected.Name.replace(/^\//, '')).container = inspected
  }
  const all = joined([...nodes.values()])
  const alone = await readAlone(client, volumes, siteId, all.filter((node) => node.volume && !node.container))
  return Promise.all(all.map(async (node): Promise<Found> => {
    const label = (node.volume?.Labels ?? node.container?.Config.Labels)?.[labels.placement]
    const placement = alone.get(node) ?? (await volumes.placementIn(node.nodeId, node.container?.Id, label))
    return {
      placement: placement ? withLimits(placement, node.container) : null, siteId: node.siteId, nodeId: node.nodeId,
      running: node.container?.State.Running ?? false, where: `${whereOf(node)}${node.siteId === siteId ? '' : ` (of ${node.siteId ?? 'no site'})`}`,
    }
  }))
}

/** A node that was adopted: its volume has the label of the site that made it, its container that of the one whose it is. */
function joined(nodes: readonly Node[]): Node[] {
  const homeless = (node: Node): Node | undefined =>
    node.volume && !node.container ? nodes.find((other) => other.nodeId === node.nodeId && other.container && !other.volume) : undefined
  for (const node of nodes) {
    const owner = homeless(node)
    if (owner && node.volume) owner.volume = node.volume
  }
  return nodes.filter((node) => node.container !== undefined || !nodes.some((other) => other !== node && other.nodeId === node.nodeId && other.volume === node.volume))
}

const whereOf = ({volume, container}: Node): string =>
  [...(volume ? [`volume ${volume.Name}`] : []), ...(container ? [`container ${container.Name.replace(/^\//, '')}${volume ? '' : ' without a volume'}`] : [])].join(', ')

/** What holds is what the container has, whatever the file says. */
function withLimits(placement: Placement, container: Inspected | undefined): Placement {
  const {NanoCpus, Memory} = container?.HostConfig ?? {}
  if (!NanoCpus || !Memory) return placement
  const cpu = NanoCpus / 1e9
  const {size} = placement
  if (size.memory_bytes === Memory && Math.abs(size.cpu - cpu) < 1e-6) return placement
  return {...placement, size: {...size, name: 'custom', cpu, memory_bytes: Memory} satisfies InstanceSize}
}

/**
 * Volumes that no container has (it was removed, or has never been started) are read through one that is made for all of
 * them, and never started.
 */
async function readAlone(client: Client, volumes: Volumes, siteId: string, nodes: readonly Node[]): Promise<Map<Node, Placement>> {
  const read = new Map<Node, Placement>()
  if (nodes.length === 0) return read
  const image = await anyImage(client, nodes)
  if (image === undefined) return read
  const folder = (i: number): string => `/volumes/${i}`
  const {id} = await client.call('read the labels of volumes', (docker, abortSignal) => docker.createContainer({
    Image: image, Entrypoint: ['true'], Cmd: [], Labels: labelsOfSite(siteId, 'probe'),
    HostConfig: {
      ...hardened, NetworkMode: 'none',
      Mounts: nodes.map(({volume}, i) => ({Type: 'volume', Source: volume?.Name as string, Target: folder(i), VolumeOptions: {NoCopy: true}}) as Docker.MountSettings),
    },
    abortSignal,
  }))
  try {
    for (const [i, node] of nodes.entries()) {
      const placement = await volumes.placementIn(node.nodeId, id, undefined, folder(i))
      if (placement) read.set(node, placement)
    }
  } finally {
    await removeContainer(client, id)
    // those that were removed after they were listed
    for (const {volume} of nodes) if (volume) await removeBroughtBack(client, volume.Name)
  }
  return read
}

/** That of one of the nodes, as its label has it; they may be gone. */
async function anyImage(client: Client, nodes: readonly Node[]): Promise<string | undefined> {
  const local = new Set((await client.call('list the images', (docker, abortSignal) => docker.listImages({abortSignal} as object))).map((each) => each.Id))
  const pinned = nodes.map((node) => parsePlacement(node.volume?.Labels?.[labels.placement], node.nodeId)?.image?.id)
  return pinned.find((id) => id !== undefined && local.has(id)) ?? [...local][0]
}

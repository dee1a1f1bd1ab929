/** What of this site, or like it, really exists: places on disk, and processes that have none. */
import {join, sep} from 'node:path'
import type {Found} from '../runtime.js'
import type {Membership} from './membership.js'
import {placeIn, type Places} from './places.js'
import type {ProcessInfo} from './processes.js'
import type {Supervisor} from './supervisor.js'

export async function findAll(options: {
  siteId: string
  places: Places
  membership: Membership
  supervisor: Supervisor
  serverProgram: (engine: string) => string
}): Promise<Found[]> {
  const {siteId, places, membership, supervisor, serverProgram} = options
  const onDisk = await places.list()
  const all = membership.look()
  const found: Found[] = onDisk.map(({place, placement, site}) => {
    const what = {place, serverProgram: placement ? serverProgram(placement.engine) : ''}
    const foreign = site !== null && site !== siteId ? ` (of ${site})` : ''
    return {placement, siteId: site, nodeId: place.nodeId, running: supervisor.find(what, null, all) !== undefined, where: `${place.folder}${foreign}`}
  })
  const known = new Set(onDisk.map(({place}) => place.nodeId))
  for (const info of all.byPid.values()) {
    const nodeId = nodeOf(info, places.root)
    // the first process of a node stands for its server; its children would say the same again
    if (nodeId === undefined || known.has(nodeId) || info.role === 'tool' || isTransient(nodeId)) continue
    if (nodeOf(all.byPid.get(info.parent), places.root) === nodeId) continue
    known.add(nodeId)
    const origin = info.site === undefined || info.site === siteId ? 'without a place' : `of ${info.site}`
    found.push({placement: null, siteId: info.site ?? null, nodeId, running: true, where: `process ${info.pid} ${origin}`})
  }
  return found
}

/** By its mark, or by where it works: a backend has overwritten its environment with its title. */
function nodeOf(info: ProcessInfo | undefined, root: string): string | undefined {
  if (info?.node !== undefined) return info.node
  const folder = info?.workingFolder
  if (folder === undefined || !folder.startsWith(root + sep)) return undefined
  const [instanceId, nodeId] = folder.slice(root.length + 1).split(sep)
  if (instanceId === undefined || nodeId === undefined) return undefined
  const {data} = placeIn(join(root, instanceId, nodeId), nodeId)
  return folder === data || folder.startsWith(data + sep) ? nodeId : undefined
}

/** Of the pool and of scratch places, which their own tidying looks after. */
const isTransient = (nodeId: string): boolean => /^(pool|scratch)-/.test(nodeId)

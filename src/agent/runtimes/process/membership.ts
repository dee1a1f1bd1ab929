/**
 * Which processes belong to a place. Process groups do not tell: every PostgreSQL backend starts a session of its own.
 * A process belongs when it is in the node's cgroup, carries its mark in the environment, works in its data folder, or
 * descends from one that does.
 */
import type {Cgroups} from './cgroups.js'
import type {Place} from './places.js'
import {ancestry, snapshot, withDescendants, type ProcessInfo, type Snapshot} from './processes.js'
import type {ServiceUser} from './service-user.js'

export interface Belonging {
  readonly place: Place
  /** Base name of the engine's server program. */
  readonly serverProgram: string
}

export type Membership = ReturnType<typeof createMembership>

export function createMembership(options: {siteId: string; user: ServiceUser; cgroups: Cgroups}) {
  const {siteId, user, cgroups} = options

  const look = (): Snapshot => snapshot(user.uid)

  /** `known` are pids that were members before: their orphans have lost the parent that tied them to the place. */
  function membersOf({place, serverProgram}: Belonging, all: Snapshot, known: Iterable<number> = []): ProcessInfo[] {
    const roots = new Set<number>([...cgroups.members(place.nodeId), ...known])
    for (const info of all.byPid.values()) {
      const marked = info.node === place.nodeId && info.site === siteId
      if (marked || (worksIn(info, place) && isServers(info, serverProgram))) roots.add(info.pid)
    }
    return without(all, withDescendants(all, roots))
  }

  /**
   * When servers share our own user, so does the person at the keyboard, whose shell may well stand in a data folder;
   * then only the engine's own programs are taken for the server's.
   */
  const isServers = (info: ProcessInfo, serverProgram: string): boolean =>
    user.separate || info.executable === serverProgram || info.program === serverProgram

  /**
   * A server that somebody started by hand in the data folder: its program runs there, and nothing of the place is its
   * ancestor. A backend that outlived its postmaster is not one: it has given itself another name, and it is in the
   * cgroup that only what we start gets into.
   */
  function handStarted({place, serverProgram}: Belonging, all: Snapshot): ProcessInfo | undefined {
    let ours: Set<number> | undefined
    for (const info of all.byPid.values()) {
      if (info.program !== serverProgram || !worksIn(info, place) || info.role === 'tool') continue
      ours ??= new Set(cgroups.members(place.nodeId))
      if (ours.has(info.pid)) continue
      const parent = all.byPid.get(info.parent)
      if (parent && (worksIn(parent, place) || parent.node === place.nodeId)) continue
      return info
    }
    return undefined
  }

  /** The tools that this very agent is running now, with what they started. */
  function ownTools(all: Snapshot): Set<number> {
    const tools = [...all.byPid.values()].filter((info) => info.parent === process.pid && info.role === 'tool')
    return withDescendants(all, tools.map((info) => info.pid))
  }

  return {look, membersOf, handStarted, ownTools}
}

export const worksIn = (info: ProcessInfo, place: Place): boolean =>
  info.workingFolder !== undefined && (info.workingFolder === place.data || info.workingFolder.startsWith(`${place.data}/`))

/** Never ourselves, nor what we descend from: a test or a shell started by a database's own program, say. */
function without(all: Snapshot, pids: Set<number>): ProcessInfo[] {
  for (const pid of ancestry(process.pid)) pids.delete(pid)
  return [...pids].flatMap((pid) => all.byPid.get(pid) ?? [])
}

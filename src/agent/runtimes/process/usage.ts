/** What a node takes: from its cgroup where it has one, else from its processes; and its folders. */
import {lstat, readdir} from 'node:fs/promises'
import {join} from 'node:path'
import type {Usage} from '../runtime.js'
import type {Cgroups} from './cgroups.js'
import type {Belonging, Membership} from './membership.js'
import {cpuSecondsOf, memoryOf} from './processes.js'

export async function usageOf(what: Belonging, cgroups: Cgroups, membership: Membership): Promise<Usage> {
  const counted = cgroups.usage(what.place.nodeId)
  let {cpuSeconds, memoryBytes} = counted
  if (cpuSeconds === undefined || memoryBytes === undefined) {
    const pids = membership.membersOf(what, membership.look()).map((info) => info.pid)
    cpuSeconds ??= pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0)
    memoryBytes ??= pids.reduce((sum, pid) => sum + memoryOf(pid), 0)
  }
  return {cpuSeconds, memoryBytes, diskBytes: await diskBytesOf(what.place.folder)}
}

/** Allocated blocks, as du counts. What goes away meanwhile is not counted. */
async function diskBytesOf(folder: string): Promise<number> {
  const entries = await readdir(folder, {withFileTypes: true}).catch(() => [])
  let bytes = 0
  for (const entry of entries) {
    const path = join(folder, entry.name)
    bytes += ((await lstat(path).catch(() => undefined))?.blocks ?? 0) * 512
    if (entry.isDirectory()) bytes += await diskBytesOf(path)
  }
  return bytes
}

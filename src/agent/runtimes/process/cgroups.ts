/**
 * Limits and membership by control groups, v1 and v2, wherever the agent may write them (which needs root, or a
 * container with its own writable hierarchy): `<controller>/dbaas-<site>/<node id>`.
 */
import {appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {join} from 'node:path'
import type {InstanceSize} from '../../../core/instance/sizes.js'
import type {Limit} from '../runtime.js'

type Controller = 'cpu' | 'memory' | 'cpuacct'

/** A mounted hierarchy and the controllers it serves. */
export interface Hierarchy {
  readonly version: 1 | 2
  readonly root: string
  readonly controllers: readonly Controller[]
}

export interface CgroupUsage {
  readonly cpuSeconds: number | undefined
  readonly memoryBytes: number | undefined
}

export type Cgroups = ReturnType<typeof createCgroups>

const periodUs = 100_000

/** Lines of /proc/self/mountinfo (proc(5)) -> the hierarchies with controllers that matter here. */
export function parseMounts(text: string, controllersOf: (root: string) => string): Hierarchy[] {
  const found: Hierarchy[] = []
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ')
    const root = left?.split(' ')[4]?.replace(/\\040/g, ' ')
    const [type, , options] = right?.split(' ') ?? []
    if (!root) continue
    const wanted = (names: readonly string[]) => (['cpu', 'memory', 'cpuacct'] as const).filter((name) => names.includes(name))
    if (type === 'cgroup') {
      const controllers = wanted((options ?? '').split(','))
      if (controllers.length > 0) found.push({version: 1, root, controllers})
    } else if (type === 'cgroup2') {
      const controllers = wanted(controllersOf(root).trim().split(/\s+/))
      if (controllers.length > 0) found.push({version: 2, root, controllers})
    }
  }
  return found
}

function mountedHierarchies(): Hierarchy[] {
  if (process.platform !== 'linux') return []
  try {
    return parseMounts(readFileSync('/proc/self/mountinfo', 'utf8'), (root) => text(join(root, 'cgroup.controllers')) ?? '')
  } catch {
    return []
  }
}

export function createCgroups(siteId: string, hierarchies: readonly Hierarchy[] = mountedHierarchies()) {
  // the tail of an id is its random part
  const siteGroup = `dbaas-${siteId.slice(-12)}`
  const usable: Hierarchy[] = []
  const refusals = new Map<Controller, string>()
  for (const hierarchy of hierarchies) {
    const because = whyNotUsable(hierarchy, siteGroup)
    if (because === undefined) usable.push(hierarchy)
    else for (const controller of hierarchy.controllers) refusals.set(controller, because)
  }

  const withController = (controller: Controller) => usable.find((h) => h.controllers.includes(controller))
  const groupOf = (hierarchy: Hierarchy, nodeId: string) => join(hierarchy.root, siteGroup, nodeId)

  function limit(controller: Controller): Limit {
    const hierarchy = withController(controller)
    if (hierarchy) return {enforced: true, because: `cgroup v${hierarchy.version}`}
    if (process.platform !== 'linux') return {enforced: false, because: `${process.platform} has no cgroups`}
    return {enforced: false, because: refusals.get(controller) ?? `no cgroup hierarchy with the ${controller} controller is mounted`}
  }

  /** Makes the node's groups if absent and writes its limits; for a running server they hold at once. */
  function apply(nodeId: string, size: InstanceSize): void {
    for (const hierarchy of usable) {
      const group = groupOf(hierarchy, nodeId)
      makeGroup(join(hierarchy.root, siteGroup))
      if (hierarchy.version === 2) enable(join(hierarchy.root, siteGroup), hierarchy.controllers)
      makeGroup(group)
      for (const controller of hierarchy.controllers) writeLimit(hierarchy.version, group, controller, size)
    }
  }

  /** Puts the process into the node's groups; what it starts from now on is born in them. */
  function admit(nodeId: string, pid: number): void {
    for (const hierarchy of usable) appendFileSync(join(groupOf(hierarchy, nodeId), 'cgroup.procs'), `${pid}\n`)
  }

  function members(nodeId: string): number[] {
    const hierarchy = usable[0]
    if (!hierarchy) return []
    return (text(join(groupOf(hierarchy, nodeId), 'cgroup.procs')) ?? '').split('\n').filter(Boolean).map(Number)
  }

  function usage(nodeId: string): CgroupUsage {
    const read = (controller: Controller, name: string) => {
      const hierarchy = withController(controller)
      return hierarchy ? text(join(groupOf(hierarchy, nodeId), name)) : undefined
    }
    const flat = (content: string | undefined, key: string) => number(new RegExp(`^${key} (\\d+)`, 'm').exec(content ?? '')?.[1])
    const nanoseconds = number(read('cpuacct', 'cpuacct.usage'))
    const microseconds = flat(read('cpu', 'cpu.stat'), 'usage_usec')
    const used = number(read('memory', 'memory.usage_in_bytes') ?? read('memory', 'memory.current'))
    // file pages nobody touched lately are given back on demand: not part of the working set (as the kubelet counts)
    const stat = read('memory', 'memory.stat')
    const inactive = flat(stat, 'total_inactive_file') ?? flat(stat, 'inactive_file') ?? 0
    return {
      cpuSeconds: nanoseconds !== undefined ? nanoseconds / 1e9 : microseconds !== undefined ? microseconds / 1e6 : undefined,
      memoryBytes: used === undefined ? undefined : Math.max(0, used - inactive),
    }
  }

  /** Removes the node's groups, and the site's with the last of them. All members must be gone. */
  async function remove(nodeId: string): Promise<void> {
    for (const hierarchy of usable) {
      const group = groupOf(hierarchy, nodeId)
      // a process leaves its group a moment after its exit is seen
      for (let attempt = 0; existsSync(group) && attempt < 50; attempt++) {
        if (tryRemove(group)) break
        await sleep(10)
      }
      tryRemove(join(hierarchy.root, siteGroup))
    }
  }

  return {limits: {cpu: limit('cpu'), memory: limit('memory')}, apply, admit, members, usage, remove}
}

function writeLimit(version: 1 | 2, group: string, controller: Controller, size: InstanceSize): void {
  // the kernel refuses a quota below 1 ms
  const quota = Math.max(1000, Math.round(size.cpu * periodUs))
  if (controller === 'cpu') {
    if (version === 2) return writeFileSync(join(group, 'cpu.max'), `${quota} ${periodUs}`)
    writeFileSync(join(group, 'cpu.cfs_period_us'), String(periodUs))
    writeFileSync(join(group, 'cpu.cfs_quota_us'), String(quota))
  } else if (controller === 'memory') {
    // the size's memory is all a server may take: shared buffers and every backend are derived from it, with room left
    writeFileSync(join(group, version === 2 ? 'memory.max' : 'memory.limit_in_bytes'), String(size.memory_bytes))
  }
}

/** Tries for real: permission bits say little about a mount that is read-only or a hierarchy without delegation. */
function whyNotUsable(hierarchy: Hierarchy, siteGroup: string): string | undefined {
  const group = join(hierarchy.root, siteGroup)
  try {
    if (hierarchy.version === 2) enable(hierarchy.root, hierarchy.controllers)
    makeGroup(group)
    if (hierarchy.version === 2) {
      const given = (text(join(group, 'cgroup.controllers')) ?? '').trim().split(/\s+/)
      const missing = hierarchy.controllers.find((controller) => !given.includes(controller))
      if (missing) return `${hierarchy.root} does not pass the ${missing} controller on`
    }
    return undefined
  } catch (error) {
    return `${hierarchy.root} cannot be written: ${(error as NodeJS.ErrnoException).code ?? String(error)}`
  } finally {
    tryRemove(group)
  }
}

/** v2: a group's controllers are its children's only where its parent says so. */
function enable(group: string, controllers: readonly Controller[]): void {
  const file = join(group, 'cgroup.subtree_control')
  const on = (text(file) ?? '').trim().split(/\s+/)
  for (const controller of controllers) if (!on.includes(controller)) writeFileSync(file, `+${controller}`)
}

/** Not `recursive`: Node's loops for ever where the kernel answers ENOENT below an existing folder. */
function makeGroup(group: string): void {
  try {
    mkdirSync(group)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function tryRemove(group: string): boolean {
  try {
    rmdirSync(group)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function number(value: string | undefined): number | undefined {
  const n = Number(value?.trim() || Number.NaN)
  return Number.isFinite(n) ? n : undefined
}

/** What this machine has, as far as we may use it: a container's or a service's own limits are taken into account. */
import {readFileSync} from 'node:fs'
import {statfs} from 'node:fs/promises'
import {availableParallelism, freemem, totalmem} from 'node:os'
import {dirname, join} from 'node:path'
import type {SiteFacts} from '../runtime.js'

export interface OwnLimits {
  /** Cores; undefined where there is no quota. */
  readonly cpus: number | undefined
  readonly memoryBytes: number | undefined
  readonly memoryUsedBytes: number | undefined
}

export async function siteFacts(
  options: {dataRoot: string; limits: SiteFacts['limits']; serverUser: string}, own: OwnLimits = ownLimits(),
): Promise<SiteFacts> {
  const total = totalmem()
  const available = memoryAvailable()
  const left = own.memoryBytes === undefined ? available : own.memoryBytes - (own.memoryUsedBytes ?? 0)
  return {
    platform: `${process.platform}-${process.arch}`,
    cpus: Math.min(availableParallelism(), own.cpus ?? Number.POSITIVE_INFINITY),
    memoryTotalBytes: Math.min(total, own.memoryBytes ?? total),
    memoryAvailableBytes: Math.max(0, Math.min(available, left)),
    diskFreeBytes: await freeBytes(options.dataRoot),
    limits: options.limits,
    serverUser: options.serverUser,
  }
}

/** Bytes that we may still write there. */
export async function freeBytes(folder: string): Promise<number> {
  const {bavail, bsize} = await statfs(folder)
  return bavail * bsize
}

/** What the kernel thinks can be had without swapping; free memory alone leaves out its caches. */
function memoryAvailable(): number {
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo') ?? '')?.[1]
  return kib === undefined ? freemem() : Number(kib) * 1024
}

/** The tightest limits of the agent's own cgroup and those above it, v1 and v2. */
export function ownLimits(procCgroup = read('/proc/self/cgroup') ?? '', root = '/sys/fs/cgroup'): OwnLimits {
  let cpus: number | undefined
  let memoryBytes: number | undefined
  let memoryUsedBytes: number | undefined
  for (const line of procCgroup.split('\n')) {
    const match = /^\d+:([^:]*):(\/.*)$/.exec(line)
    if (!match) continue
    const controllers = (match[1] as string).split(',')
    const bases = match[1] === '' ? [root, join(root, 'unified')] : [join(root, match[1] as string)]
    for (const base of bases) {
      for (const folder of upwards(base, match[2] as string)) {
        if (match[1] === '' || controllers.includes('cpu')) cpus = lower(cpus, quota(folder))
        if (match[1] !== '' && !controllers.includes('memory')) continue
        const limit = bytes(join(folder, 'memory.max')) ?? bytes(join(folder, 'memory.limit_in_bytes'))
        if (limit !== undefined && limit < totalmem() && (memoryBytes === undefined || limit < memoryBytes)) {
          memoryBytes = limit
          memoryUsedBytes = bytes(join(folder, 'memory.current')) ?? bytes(join(folder, 'memory.usage_in_bytes'))
        }
      }
    }
  }
  return {cpus, memoryBytes, memoryUsedBytes}
}

/** In a container the path may name a folder of the outside that is not mounted here; then only its top is there. */
function upwards(base: string, path: string): string[] {
  const folders: string[] = []
  for (let folder = path; ; folder = dirname(folder)) {
    folders.push(join(base, folder))
    if (folder === '/') return folders
  }
}

function quota(folder: string): number | undefined {
  const v2 = /^(\d+) (\d+)/.exec(read(join(folder, 'cpu.max')) ?? '')
  if (v2) return Number(v2[1]) / Number(v2[2])
  const us = Number(read(join(folder, 'cpu.cfs_quota_us')) ?? -1)
  const period = Number(read(join(folder, 'cpu.cfs_period_us')) ?? 0)
  return us > 0 && period > 0 ? us / period : undefined
}

const lower = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/** Undefined for `max` and where there is no such file. */
function bytes(path: string): number | undefined {
  const value = Number(read(path)?.trim() || Number.NaN)
  return Number.isFinite(value) ? value : undefined
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** What this machine knows of itself, where the engine runs on it and not in a virtual machine. */
import {readFileSync} from 'node:fs'
import {statfs} from 'node:fs/promises'
import {hostname, networkInterfaces, release} from 'node:os'
import type {Connection} from './connection.js'

/** The engine's own words on where it runs (`docker info`). */
export interface EngineInfo {
  readonly NCPU: number
  readonly MemTotal: number
  readonly OSType: string
  readonly Architecture: string
  readonly Name: string
  readonly KernelVersion: string
  readonly DockerRootDir: string
  readonly MemoryLimit?: boolean
  readonly CpuCfsQuota?: boolean
  readonly SecurityOptions?: readonly string[]
}

/** Same kernel, same name: Docker Desktop has both of its own, although its socket is here. */
export const isThisMachine = (connection: Connection, info: EngineInfo): boolean =>
  connection.local && process.platform === 'linux' && info.KernelVersion === release() && info.Name === hostname()

/** What the kernel thinks can be had without swapping. */
export function memoryAvailable(): number | undefined {
  try {
    const kib = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  } catch {
    return undefined
  }
}

export const diskFree = (folder: string): Promise<number | undefined> =>
  statfs(folder).then((disk) => disk.bavail * disk.bsize, () => undefined)

export const hasAddress = (address: string): boolean =>
  Object.values(networkInterfaces()).some((all) => all?.some((each) => each.address === address))

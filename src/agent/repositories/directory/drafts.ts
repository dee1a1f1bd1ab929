/** Unfinished writes, and the room that is kept for what is urgent. Names of both begin with a dot, which no object's does. */
import {createHash, randomBytes} from 'node:crypto'
import {readFileSync, readlinkSync} from 'node:fs'
import {appendFile, open, readdir, stat, truncate, unlink} from 'node:fs/promises'
import {join} from 'node:path'
import {partsOf, type Content} from '../repository.js'
import type {Folders} from './folders.js'

export interface Drafts {
  /** Writes and syncs a draft; its path. */
  write(content: Content): Promise<string>
  /** Removes those of processes of this machine that are dead, and those that are older. */
  tidy(olderThanMs: number): Promise<number>
  /** Keeps some room, if there is any. */
  reserve(): Promise<void>
  /** Whether all of it is kept, now or again: what is not urgent may not take the rest. */
  isReserved(): Promise<boolean>
  /** Gives up as much of the room that was kept as so many bytes need. */
  release(bytes: number): Promise<void>
}

const reserveBytes = 256 * 1024

/** Names the machine since its start, and its numbering of processes, where it can be told: others may write here, too. */
function machine(): string {
  try {
    const text = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8') + readlinkSync('/proc/self/ns/pid')
    return createHash('sha256').update(text).digest('hex').slice(0, 12)
  } catch {
    return 'elsewhere'
  }
}

function isDead(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

export function createDrafts(root: string, folders: Folders): Drafts {
  const folder = join(root, '.drafts')
  const reserved = join(root, '.reserve')
  const here = machine()

  let filling: Promise<boolean> | undefined

  /** Whether all of the room is kept. One at a time: several at once would keep too much. */
  function fill(): Promise<boolean> {
    filling ??= (async () => {
      const size = (await stat(reserved).catch(() => undefined))?.size ?? 0
      // Not zeros: they might take no room. What does not fit is left.
      return size >= reserveBytes || appendFile(reserved, Buffer.alloc(reserveBytes - size, 1), {mode: 0o600}).then(() => true, () => false)
    })().finally(() => (filling = undefined))
    return filling
  }

  return {
    async write(content) {
      const path = join(folder, [Date.now(), here, process.pid, randomBytes(8).toString('hex')].join('-'))
      await folders.ensure(folder)
      const file = await open(path, 'wx', 0o600)
      try {
        for (const bytes of partsOf(content)) await file.writeFile(bytes)
        await file.sync()
      } catch (error) {
        await unlink(path).catch(() => undefined)
        throw error
      } finally {
        await file.close()
      }
      return path
    },
    async tidy(olderThanMs) {
      const names = await readdir(folder).catch(() => [])
      const left = names.filter((name) => {
        const [time, where, pid] = name.split('-')
        return Number(time) <= Date.now() - olderThanMs || (where === here && here !== 'elsewhere' && isDead(Number(pid)))
      })
      for (const name of left) await unlink(join(folder, name)).catch(() => undefined)
      return left.length
    },
    async reserve() {
      await fill()
    },
    async isReserved() {
      const size = (await stat(reserved).catch(() => undefined))?.size
      // none was ever made: nobody has prepared the repository
      return size === undefined || size >= reserveBytes || (await fill())
    },
    async release(bytes) {
      const size = (await stat(reserved).catch(() => undefined))?.size ?? 0
      // And a block for the folder.
      await truncate(reserved, Math.max(0, size - 4096 * (Math.ceil(bytes / 4096) + 2))).catch(() => undefined)
    },
  }
}

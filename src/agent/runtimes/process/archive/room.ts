/** Whether the disk has room for what is about to be written. */
import {DbaasError} from '../../../../core/errors.js'
import {formatBytes} from '../../../../core/units.js'
import {freeBytes} from '../facts.js'

/** What is never filled, for the databases that run there. */
const reserveBytes = 256 * 1024 ** 2

/** Asks the disk again every 64 MiB. Throws INSUFFICIENT_DISK. */
export function createRoom(folder: string): (bytes: number) => Promise<void> {
  let known = 0
  return async (bytes) => {
    if (bytes > known) {
      const free = (await freeBytes(folder)) - reserveBytes
      if (bytes > free) {
        throw new DbaasError('INSUFFICIENT_DISK', `${formatBytes(bytes)} are needed at ${folder}, and ${formatBytes(Math.max(0, free))} are free`, {
          details: {needed_bytes: String(bytes), free_bytes: String(Math.max(0, free)), path: folder}, suggestions: ['free some space, then run the command again', 'dbaas engines list'],
        })
      }
      known = Math.max(bytes, Math.min(free, 64 * 1024 ** 2))
    }
    known -= bytes
  }
}

import {spawnSync} from 'node:child_process'
import {closeSync, constants, fstatSync, openSync, statSync} from 'node:fs'

/** O_EXLOCK of macOS and the BSDs: open and flock in one; Node passes it through but has no name for it. */
const openExclusivelyLocked = 0x20

/**
 * The exclusive lock of a folder: its descriptor, or null when another process holds it. It is the kernel's (flock): it
 * ends with the last process that has the descriptor, however that ends, so there is nothing stale to judge, and a
 * successor that inherits the descriptor holds the same lock without a gap.
 */
export function acquireLock(path: string): number | null {
  for (;;) {
    const descriptor = process.platform === 'linux' ? lockByProgram(path) : lockByOpen(path)
    if (descriptor === null) return null
    if (isStillAt(path, descriptor)) return descriptor
    // The folder was removed and made again in between: we locked a file that nobody else will ever look at.
    closeSync(descriptor)
  }
}

/**
 * Node has no flock. But a lock belongs to the open file, not to the process that asked: flock(1) (util-linux, busybox)
 * locks the descriptor it inherits from us, and ends.
 */
function lockByProgram(path: string): number | null {
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
  const result = spawnSync('flock', ['-x', '-n', '3'], {stdio: ['ignore', 'ignore', 'pipe', descriptor]})
  if (result.status === 0) return descriptor
  closeSync(descriptor)
  if (result.status === 1) return null
  throw new Error(`flock(1) of util-linux could not lock ${path}: ${result.error?.message ?? String(result.stderr)}`)
}

function lockByOpen(path: string): number | null {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK | openExclusivelyLocked, 0o600)
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException
    if (code === 'EAGAIN' || code === 'EWOULDBLOCK') return null
    throw error
  }
}

function isStillAt(path: string, descriptor: number): boolean {
  const ours = fstatSync(descriptor)
  const there = statSync(path, {throwIfNoEntry: false})
  return there?.ino === ours.ino && there.dev === ours.dev
}

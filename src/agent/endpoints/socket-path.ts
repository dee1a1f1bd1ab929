import {createHash} from 'node:crypto'
import {lstatSync, mkdirSync} from 'node:fs'
import {join} from 'node:path'
import {DbaasError} from '../../core/errors.js'

/** Bytes that every system accepts in `sun_path` with room to spare: macOS has 104 with the NUL, Linux 108. */
export const socketPathLimitBytes = 100

export interface ShortSocketPathOptions {
  /**
   * Parent of the short folder. `/tmp` and not `os.tmpdir()`: CLI and agent must find the same path although they may
   * run under different TMPDIRs, and macOS' TMPDIR alone takes half of what a socket path may have.
   */
  readonly root?: string
  /** False for who only connects: a folder that is not there is not made. Default true. */
  readonly make?: boolean
}

/**
 * `preferred` when the system can bind it, else a path in a folder of our own under /tmp, named by a hash of
 * `preferred`. The folder is made when absent, and removed at the end by who bound there. It must be a real folder,
 * ours, 0700: in a world-writable place it may have been put there by somebody who waits for our socket.
 * Throws HOME_UNUSABLE.
 */
export function shortSocketPath(preferred: string, options: ShortSocketPathOptions = {}): string {
  if (Buffer.byteLength(preferred) <= socketPathLimitBytes) return preferred
  const hash = createHash('sha256').update(preferred).digest('hex').slice(0, 24)
  const folder = join(options.root ?? '/tmp', `dbaas-${hash}`)
  if (options.make ?? true) {
    try {
      mkdirSync(folder, {mode: 0o700})
    } catch (error) {
      const {code} = error as NodeJS.ErrnoException
      if (code !== 'EEXIST') throw unusable(folder, preferred, 'it cannot be made', error)
    }
  }
  const found = lstatSync(folder, {throwIfNoEntry: false})
  if (!found) return join(folder, 's')
  if (!found.isDirectory()) throw unusable(folder, preferred, 'it is not a folder')
  if (process.getuid && found.uid !== process.getuid()) throw unusable(folder, preferred, 'it belongs to another user')
  if ((found.mode & 0o077) !== 0) throw unusable(folder, preferred, 'other users may enter it')
  return join(folder, 's')
}

function unusable(folder: string, preferred: string, why: string, cause?: unknown): DbaasError {
  const message = `the folder ${folder}, needed because ${preferred} is too long for a socket, cannot be used: ${why}`
  return new DbaasError('HOME_UNUSABLE', message, {
    cause,
    details: {path: folder, preferred},
    suggestions: [`ls -ld ${folder}`, 'export DBAAS_HOME="$HOME/.dbaas"   # any shorter path does'],
  })
}

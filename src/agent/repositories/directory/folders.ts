import {constants} from 'node:fs'
import {chmod, mkdir, open} from 'node:fs/promises'
import {dirname} from 'node:path'

export interface Folders {
  /** Makes the folder and those above it below the root (mode 0700). Throws ENOENT when the root is not there. */
  ensure(path: string): Promise<void>
  /** A name in this folder has come, gone or changed: the next `sync` includes it. */
  changed(path: string): void
  /** Syncs every folder that has changed before the call, each once. */
  sync(): Promise<void>
}

export function createFolders(root: string): Folders {
  let dirty = new Set<string>()
  /** Folders met before by this process: one that is new to it may have been made by one that died before its sync. */
  const met = new Set<string>()
  let last: Promise<void> = Promise.resolve()

  async function ensure(path: string): Promise<void> {
    if (path === root) return
    if (!met.has(path)) await ensure(dirname(path))
    try {
      await mkdir(path, {mode: 0o700})
      // whatever the umask is
      await chmod(path, 0o700)
      dirty.add(dirname(path))
    } catch (error) {
      const {code} = error as NodeJS.ErrnoException
      if (code === 'ENOENT' && met.has(path)) {
        met.delete(path)
        return ensure(path)
      }
      if (code !== 'EEXIST') throw error
      if (!met.has(path)) dirty.add(dirname(path))
    }
    met.add(path)
  }

  async function syncAll(folders: Set<string>): Promise<void> {
    for (const path of folders) {
      try {
        const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
        try {
          await folder.sync()
        } finally {
          await folder.close()
        }
      } catch (error) {
        // Removed meanwhile: that its parent has changed is noted there.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT' && path !== root) continue
        for (const folder of folders) dirty.add(folder)
        throw error
      }
    }
  }

  return {
    ensure,
    changed: (path) => void dirty.add(path),
    // One after the other: a caller whose folders an earlier one has taken along must wait for that one, too.
    sync() {
      const run = last.then(() => {
        const folders = dirty
        dirty = new Set()
        return syncAll(folders)
      })
      last = run.catch(() => undefined)
      return run
    },
  }
}

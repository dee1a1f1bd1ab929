/** Folders and files that belong to the server's user, made without following a link that user might have planted. */
import {randomBytes} from 'node:crypto'
import {constants} from 'node:fs'
import {chmod, lchown, mkdir, open, readdir, rename, unlink} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import type {ServiceUser} from './service-user.js'

/** Makes the folder (not its parents) if absent; its mode and owner are then as given whatever the umask is. */
export async function makeFolder(path: string, mode: number, owner?: ServiceUser): Promise<void> {
  await mkdir(path, {mode}).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await chmod(path, mode)
  if (owner?.separate) await lchown(path, owner.uid, owner.gid)
}

/**
 * Runs `make`, which makes a folder below parents that it makes too. Elsewhere the last child of such a parent may be
 * removed at this moment, and the empty parent with it: then all is made again.
 */
export async function makeBelow(make: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await make()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 5) throw error
    }
  }
}

/** Replaces the file atomically: a reader, and a crash, see the old content or the new, never half of one. */
export async function writeAtomically(path: string, content: string | Uint8Array, mode: number, owner?: ServiceUser): Promise<void> {
  const temporary = `${path}.tmp-${randomBytes(6).toString('hex')}`
  // 'wx' is O_EXCL: a link planted under this name is an error, not a way to another file
  const file = await open(temporary, 'wx', mode)
  try {
    await file.writeFile(content)
    await file.chmod(mode)
    if (owner?.separate) await file.chown(owner.uid, owner.gid)
    await file.sync()
    await file.close()
    await rename(temporary, path)
  } catch (error) {
    await file.close().catch(() => undefined)
    await unlink(temporary).catch(() => undefined)
    throw error
  }
  await syncFolder(dirname(path))
}

/** After a rename: without it, the new name may be gone after a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Every file and folder on disk, whatever the engine synced itself: clean ones cost next to nothing. */
export async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, {withFileTypes: true})) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await syncTree(path)
    else if (entry.isFile()) {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
      try {
        await file.sync()
      } finally {
        await file.close()
      }
    }
  }
  await syncFolder(folder)
}

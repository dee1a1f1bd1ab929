/** Files in the data folder of a node: what is made there belongs to whom the folder belongs to. Nothing is synced: that is done at once, at the end. */
import {constants} from 'node:fs'
import {chmod, chown, lstat, mkdir, open, type FileHandle} from 'node:fs/promises'
import {dirname, join} from 'node:path'

export interface DataFolder {
  /** With those that it is in. One that is there gets the mode. `path`: below the folder, as are all. */
  makeFolder(path: string, mode: number): Promise<void>
  /** An empty file to write to, and the folders that it is in. Never through a link, and never over what is there: throws EEXIST. */
  create(path: string, mode: number): Promise<FileHandle>
}

export async function openDataFolder(folder: string): Promise<DataFolder> {
  const {uid, gid} = await lstat(folder)
  const isOurs = uid === process.getuid?.() && gid === process.getgid?.()
  async function makeFolder(path: string, mode: number): Promise<void> {
    const at = join(folder, path)
    const made = await mkdir(at, {recursive: true, mode: 0o700})
    if (made !== undefined && !isOurs) for (let each = at; each.length >= made.length; each = dirname(each)) await chown(each, uid, gid)
    await chmod(at, mode)
  }
  return {
    makeFolder,
    async create(path, mode) {
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
      const file = await open(join(folder, path), flags, mode).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
        await makeFolder(dirname(path), 0o700)
        return open(join(folder, path), flags, mode)
      })
      try {
        if (!isOurs) await file.chown(uid, gid)
        await file.chmod(mode)
        return file
      } catch (error) {
        await file.close()
        throw error
      }
    },
  }
}

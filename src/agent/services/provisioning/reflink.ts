/** Copies that share their blocks with the original until one of them is written to: XFS, Btrfs, bcachefs, ZFS 2.2. */
import {constants} from 'node:fs'
import {chmod, chown, copyFile, lstat, mkdir, opendir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'

const reflink = constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL

/** Whether what is in one folder can be copied to the other like that. Both are there. */
export async function canReflink(from: string, to: string): Promise<boolean> {
  const probe = join(to, '.reflink')
  for await (const entry of await opendir(from)) {
    if (!entry.isFile()) continue
    const works = await copyFile(join(from, entry.name), probe, reflink).then(() => true, () => false)
    await rm(probe, {force: true})
    return works
  }
  return false
}

/**
 * Copies what is wanted (paths below `from`; folders end with a slash) into `to`, with its modes, for whom `to` belongs to.
 * What vanishes meanwhile is left out. Throws NOT_SUPPORTED for a link, the signal's reason.
 */
export async function reflinkTree(from: string, to: string, wanted: (path: string) => boolean, signal: AbortSignal): Promise<void> {
  const {uid, gid} = await lstat(to)
  const ifThere = async (work: Promise<void>): Promise<void> => work.catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  async function copy(path: string, isFolder: boolean): Promise<void> {
    signal.throwIfAborted()
    const [source, copied] = [join(from, path), join(to, path)]
    const {mode} = await lstat(source)
    if (isFolder) {
      await mkdir(copied, {recursive: true})
      for await (const entry of await opendir(source)) {
        const inside = `${path}${entry.name}${entry.isDirectory() ? '/' : ''}`
        if (!wanted(inside)) continue
        if (!entry.isDirectory() && !entry.isFile()) throw new DbaasError('NOT_SUPPORTED', `${inside} is a link, so the folder cannot be copied by its file system`)
        await ifThere(copy(inside, entry.isDirectory()))
      }
    } else await copyFile(source, copied, reflink)
    await chmod(copied, mode & 0o777)
    await chown(copied, uid, gid)
  }
  await copy('', true)
}

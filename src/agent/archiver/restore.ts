/** A snapshot into a data folder of this machine, verified while it is written. */
import {mkdir, open, chown, chmod, lstat, type FileHandle} from 'node:fs/promises'
import {constants} from 'node:fs'
import {dirname, join, normalize} from 'node:path'
import {DbaasError} from '../../core/errors.js'
import type {EngineBackup} from '../../engines/backup.js'
import type {Vault} from '../repositories/vault/index.js'
import type {TreeFile} from '../repositories/vault/tree.js'
import type {RestoreOrder, RestoredFiles} from './archiver.js'

export interface RestoreProgress {
  readonly progress: (bytes: number, total: number) => void
  readonly signal: AbortSignal
}

/**
 * The folder is there and empty; what is made in it belongs to whom the folder belongs to. Nothing is synced: the engine
 * brings it to disk when it is complete. Throws REPOSITORY_DAMAGED, INTEGRITY_MISMATCH, DISK_FULL, the signal's reason.
 */
export async function restoreFiles(vault: Vault, engine: EngineBackup, {snapshot, base, folder}: RestoreOrder, {progress, signal}: RestoreProgress): Promise<RestoredFiles> {
  const tree = await vault.tree(snapshot)
  const {uid, gid} = await lstat(folder)
  const known = new Set(base.damages.map(({path, page}) => `${path}/${page}`))
  const total = tree.files.reduce((sum, {length}) => sum + length, 0)
  const files = new Map<TreeFile, FileHandle>()
  let written = 0

  const inside = (path: string): string => {
    const clean = normalize(path)
    if (clean.startsWith('..') || clean.startsWith('/')) throw new DbaasError('REPOSITORY_DAMAGED', `the backup has a file outside of its folder: ${path}`)
    return join(folder, clean)
  }
  const isOurs = uid === process.getuid?.() && gid === process.getgid?.()
  const makeFolder = async (path: string, mode: number): Promise<void> => {
    if ((await mkdir(path, {recursive: true})) === undefined) return
    await chmod(path, mode)
    if (!isOurs) await chown(path, uid, gid)
  }

  async function begin(file: TreeFile): Promise<void> {
    signal.throwIfAborted()
    const place = engine.recovery.place(file.path, file.attributes)
    if (!place) return
    const path = inside(place.path)
    // never through a link, and never over what is there
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    const handle = await open(path, flags, place.mode).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      await makeFolder(dirname(path), 0o700)
      return open(path, flags, place.mode)
    })
    files.set(file, handle)
    await handle.truncate(file.length)
    await handle.chmod(place.mode)
    if (!isOurs) await handle.chown(uid, gid)
  }

  try {
    for (const {path, mode} of base.folders) await makeFolder(inside(path), mode)
    const done = await vault.restore(tree, {
      begin,
      async write(file, offset, bytes) {
        signal.throwIfAborted()
        const [damage] = engine.recovery.damagesIn(file.path, offset, bytes, base).filter(({path, page}) => !known.has(`${path}/${page}`))
        if (damage) throw new DbaasError('INTEGRITY_MISMATCH', `a page that was restored is damaged: ${damage.path}, page ${damage.page}: ${damage.because}`)
        for (let at = 0; at < bytes.length; ) at += (await files.get(file)?.write(bytes, at, bytes.length - at, offset + at))?.bytesWritten ?? bytes.length
        progress((written += bytes.length), total)
      },
      async end(file) {
        await files.get(file)?.close()
        files.delete(file)
      },
    }, (file) => engine.recovery.place(file.path, file.attributes) !== undefined)
    return {files: done.files, bytes: done.bytes}
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
      throw new DbaasError('DISK_FULL', `there is no room for the backup: it takes ${total} bytes`, {cause: error, suggestions: ['make room where the data of instances is: dbaas doctor']})
    }
    throw error
  } finally {
    for (const handle of files.values()) await handle.close().catch(() => undefined)
  }
}

/** A snapshot into a data folder of this machine, verified while it is written. */
import type {FileHandle} from 'node:fs/promises'
import {normalize} from 'node:path'
import {DbaasError} from '../../core/errors.js'
import type {EngineBackup} from '../../engines/backup.js'
import {openDataFolder} from '../../engines/data-folder.js'
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
  const into = await openDataFolder(folder)
  const known = new Set(base.damages.map(({path, page}) => `${path}/${page}`))
  const total = tree.files.reduce((sum, {length}) => sum + length, 0)
  const files = new Map<TreeFile, FileHandle>()
  let written = 0

  const inside = (path: string): string => {
    const clean = normalize(path)
    if (clean.startsWith('..') || clean.startsWith('/')) throw new DbaasError('REPOSITORY_DAMAGED', `the backup has a file outside of its folder: ${path}`)
    return clean
  }

  async function begin(file: TreeFile): Promise<void> {
    signal.throwIfAborted()
    const place = engine.recovery.place(file.path, file.attributes)
    if (!place) return
    const handle = await into.create(inside(place.path), place.mode)
    files.set(file, handle)
    await handle.truncate(file.length)
  }

  try {
    for (const {path, mode} of base.folders) await into.makeFolder(inside(path), mode)
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

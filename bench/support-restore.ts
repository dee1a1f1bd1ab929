/** A snapshot into a folder, synced: what benchmarks measure a restore with. */
import {mkdir, open, type FileHandle} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import type {Vault} from '../src/agent/repositories/vault/index.js'
import type {TreeFile} from '../src/agent/repositories/vault/tree.js'

export interface RestoreChoices {
  /** Where a file goes; undefined: nowhere. */
  place?(file: TreeFile): {readonly path: string; readonly mode: number} | undefined
  /** Before a portion is written; throws when it cannot be right. */
  check?(file: TreeFile, offset: number, bytes: Uint8Array): void
}

export async function restoreInto(vault: Vault, n: number, folder: string, {place = ({path}) => ({path, mode: 0o600}), check}: RestoreChoices = {}): Promise<void> {
  const files = new Map<TreeFile, FileHandle>()
  await vault.restore(await vault.tree(n), {
    async begin(file) {
      const to = place(file)
      if (!to) return
      await mkdir(dirname(join(folder, to.path)), {recursive: true, mode: 0o700})
      const handle = await open(join(folder, to.path), 'w', to.mode)
      await handle.truncate(file.length)
      files.set(file, handle)
    },
    async write(file, offset, bytes) {
      check?.(file, offset, bytes)
      await files.get(file)?.write(bytes, 0, bytes.length, offset)
    },
    async end(file) {
      await files.get(file)?.sync()
      await files.get(file)?.close()
      files.delete(file)
    },
  }, (file) => place(file) !== undefined)
}

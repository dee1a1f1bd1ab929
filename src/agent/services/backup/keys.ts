/** The site's master key of repositories: where it comes from, its copy for the safe, and its successor. */
import {createHash, randomBytes} from 'node:crypto'
import {open, readFile, rename, unlink} from 'node:fs/promises'
import {dirname} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import type {KeySource} from '../../archiver/archiver.js'

export interface KeyRing {
  readonly source: KeySource
  /** The key that will take its place. */
  readonly next: KeySource
  /** For a person. */
  readonly where: string
  /** In hexadecimal. Throws KEY_UNAVAILABLE. */
  export(): Promise<string>
  /** Tells keys apart, and tells nothing of them. */
  id(): Promise<string>
  /** Throws INVALID_STATE when the key is not ours to change. */
  assertRotatable(): void
  /** `key`: that one, 32 bytes, instead of a new one. Throws INVALID_STATE when a change to another one was interrupted. */
  makeNext(key?: Buffer): Promise<void>
  dropNext(): Promise<void>
  switch(): Promise<void>
}

/** `read`: the key as it is now, 32 bytes, however it is kept. */
export function createKeyRing(source: KeySource, read: () => Promise<Buffer>): KeyRing {
  const path = source.kind === 'file' ? source.path : null
  const nextPath = `${path}.next`
  const where = source.kind === 'file' ? `the file ${source.path}` : source.kind === 'environment' ? `the environment variable ${source.variable}` : `the command ${source.argv[0]}`

  function assertRotatable(): string {
    if (path !== null) return path
    throw new DbaasError('INVALID_STATE', `the master key comes from ${where}, where dbaas cannot change it`, {
      details: {key: where}, suggestions: ['keep the key in its file, without DBAAS_BACKUP_KEY and DBAAS_BACKUP_KEY_COMMAND, to rotate it with dbaas'],
    })
  }

  async function syncFolder(file: string): Promise<void> {
    const folder = await open(dirname(file), 'r')
    await folder.sync().finally(() => folder.close())
  }

  return {
    source, where,
    next: {kind: 'file', path: nextPath},
    export: async () => (await read()).toString('hex'),
    id: async () => createHash('sha256').update('dbaas master key of repositories').update(await read()).digest('hex').slice(0, 16),
    assertRotatable: () => void assertRotatable(),
    async makeNext(wanted) {
      assertRotatable()
      // one that is there is of a rotation that was interrupted: some data keys may be wrapped by it
      const there = await readFile(nextPath).catch(() => undefined)
      if (there?.length === 32) {
        if (wanted === undefined || wanted.equals(there)) return
        throw new DbaasError('INVALID_STATE', 'a change of the master key was interrupted', {suggestions: ['dbaas keys rotate ends it, then import yours']})
      }
      const temporary = `${nextPath}.new`
      const file = await open(temporary, 'w', 0o600)
      try {
        await file.writeFile(wanted ?? randomBytes(32))
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, nextPath)
      await syncFolder(nextPath)
    },
    async dropNext() {
      await unlink(nextPath).catch(() => undefined)
    },
    async switch() {
      const own = assertRotatable()
      await rename(nextPath, own).catch((error: NodeJS.ErrnoException) => {
        // done before, by an agent that died then
        if (error.code !== 'ENOENT') throw error
      })
      await syncFolder(own)
    },
  }
}

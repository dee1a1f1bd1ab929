/** A plain folder as the place of backups: what the repository does with pages, done the simplest way. */
import {cpSync, existsSync, mkdirSync, readFileSync} from 'node:fs'
import {open} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import type {BackupFile, BaseBackup, BaseBackupMethod, BaseBackupSink} from '../../../../src/engines/backup.js'

export interface FolderSink extends BaseBackupSink {
  readonly path: string
  readonly methods: BaseBackupMethod[]
  /** Paths in the order they came, with how they came and how many pages. */
  readonly came: {path: string; kind: BackupFile['content']['kind']; pages: number}[]
}

/** Writes files as they are; changes go onto what `previous` has. */
export function folderSink(path: string, previous?: string): FolderSink {
  const methods: BaseBackupMethod[] = []
  const came: FolderSink['came'] = []
  mkdirSync(path, {recursive: true})
  return {
    path, methods, came,
    progress() {},
    begin: (method) => void methods.push(method),
    async write({path: name, content, attributes, pageSize}) {
      const to = join(path, name)
      mkdirSync(dirname(to), {recursive: true})
      if (content.kind === 'changed') cpSync(join(previous as string, name), to)
      const file = await open(to, content.kind === 'changed' ? 'r+' : 'w', attributes['mode'] as number)
      let pages = 0
      try {
        if (content.kind === 'whole') {
          let size = 0
          for await (const bytes of content.bytes) {
            await file.write(bytes)
            size += bytes.length
            pages += Math.ceil(bytes.length / pageSize)
            if (bytes.length % pageSize !== 0 && size !== content.size) throw new Error(`${name} comes in parts of pages`)
          }
          if (size !== content.size) throw new Error(`${name} has ${size} bytes and was said to have ${content.size}`)
        } else {
          await file.truncate(content.length)
          for await (const {page, bytes} of content.pages) {
            await file.write(bytes, 0, bytes.length, page * pageSize)
            pages++
          }
        }
      } finally {
        await file.close()
      }
      came.push({path: name, kind: content.kind, pages})
    },
  }
}

/** The folders that hold no file. */
export function makeFolders(path: string, {folders}: BaseBackup): void {
  for (const {path: name, mode} of folders) if (!existsSync(join(path, name))) mkdirSync(join(path, name), {mode})
}

export const previousIn = (path: string, backup: BaseBackup) => ({backup, read: (name: string) => [readFileSync(join(path, name))]})

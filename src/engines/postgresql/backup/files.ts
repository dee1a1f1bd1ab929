/**
 * The files of a base backup as they come out of the archives: what is sent on, what is noted, and that it was what the
 * server's manifest says.
 */
import {createHash, type Hash} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import {changedFile, readChanges, type ChangesHeader} from './changes.js'
import {roomBytes, type ReceiverEvent} from './events.js'
import {formatManifest, type Manifest, manifestPath, parseManifest} from './manifest.js'
import type {TarEntry, TarHandler} from './tar.js'

export interface FilesOutput {
  emit(event: ReceiverEvent): void
  /** A room to fill; it goes with the event `bytes`. */
  room(): ArrayBuffer
}

interface Open {
  readonly path: string
  /** As the server calls it. */
  readonly listed: string
  readonly mode: number
  readonly size: number
  readonly hash: Hash
  /** Undefined for a file that comes whole. */
  readonly header: ChangesHeader | undefined
  /** The file is kept here instead of sent on, for it is to be changed. */
  readonly kept: Buffer[] | undefined
  length: number
}

export interface FilesSummary {
  readonly manifest: Manifest
  readonly files: number
  readonly bytes: number
}

export interface Files {
  /** For the archive of a tablespace, or of the data folder (''). */
  archive(folder: string): TarHandler
  readonly folders: readonly {readonly path: string; readonly mode: number}[]
  /** The server's manifest, whole. Compares, and sends the one that belongs to the files as they are now. Throws INTEGRITY_MISMATCH. */
  finish(manifest: Buffer): FilesSummary
}

const labelPath = 'backup_label'

/**
 * The label of an incremental backup names the one before; a server does not start on it, for it takes the data for
 * incomplete (xlogrecovery.c, read_backup_label). Ours is complete.
 */
const completeLabel = (label: Buffer): Buffer => Buffer.from(label.toString('latin1').replace(/^INCREMENTAL FROM (?:LSN|TLI): .*\n/gm, ''), 'latin1')

export function createFiles(output: FilesOutput): Files {
  const folders: {path: string; mode: number}[] = []
  const received = new Map<string, {size: number; sha256: string; path: string; length: number; rewritten: string | null}>()
  let open: Open | undefined
  let room: ArrayBuffer | undefined
  let filled = 0
  let bytes = 0

  function flush(): void {
    if (room === undefined || filled === 0) return
    open?.hash.update(new Uint8Array(room, 0, filled))
    output.emit({kind: 'bytes', room, length: filled})
    room = undefined
    filled = 0
  }
  function fill(content: Buffer): void {
    for (let at = 0; at < content.length; ) {
      room ??= output.room()
      const copied = content.copy(new Uint8Array(room), filled, at)
      at += copied
      filled += copied
      if (filled === roomBytes) flush()
    }
  }
  function sendWhole(path: string, mode: number, content: Buffer): void {
    output.emit({kind: 'file', path, mode, size: content.length})
    fill(content)
    flush()
    output.emit({kind: 'end'})
    bytes += content.length
  }

  function begin(folder: string, entry: TarEntry): void {
    const path = `${folder}${entry.path}`
    if (entry.kind !== 'file') {
      // The link to a tablespace, too: when restored, its content lies in the data folder.
      folders.push({path, mode: entry.kind === 'link' ? 0o700 : entry.mode})
      return
    }
    const changed = changedFile(path)
    const {mode, size} = entry
    const isLabel = path === labelPath
    open = {
      path: changed ?? path, listed: path, mode, size, hash: createHash('sha256'), kept: isLabel ? [] : undefined, length: size,
      header: changed === undefined ? undefined : readChanges(changed, size),
    }
    if (changed === undefined && !isLabel) output.emit({kind: 'file', path, mode, size})
  }

  function content(chunk: Buffer): void {
    const file = open as Open
    if (file.kept) {
      file.kept.push(Buffer.from(chunk))
      file.hash.update(chunk)
      return
    }
    let at = 0
    if (file.header && !file.header.changes) {
      const changes = file.header.push(chunk)
      at = file.header.taken
      file.hash.update(chunk.subarray(0, at))
      if (!changes) return
      file.length = changes.length
      output.emit({kind: 'changes', path: file.path, mode: file.mode, ...changes})
    }
    if (at < chunk.length) fill(chunk.subarray(at))
  }

  function end(): void {
    if (open === undefined) return
    flush()
    const {path, listed, mode, size, hash, kept, header, length} = open
    if (header && header.changes === undefined) throw new DbaasError('INTEGRITY_MISMATCH', `the changes of ${path} end in their list`)
    open = undefined
    let rewritten: string | null = null
    let restored = length
    if (kept) {
      const label = completeLabel(Buffer.concat(kept))
      rewritten = createHash('sha256').update(label).digest('hex')
      restored = label.length
      sendWhole(path, mode, label)
    } else {
      output.emit({kind: 'end'})
      bytes += length
    }
    received.set(listed, {size, sha256: hash.digest('hex'), path, length: restored, rewritten})
  }

  function compare({files}: Manifest): void {
    const differs = (path: string, because: string): DbaasError =>
      new DbaasError('INTEGRITY_MISMATCH', `the file ${path} of the base backup ${because}`, {details: {path}, suggestions: ['dbaas backup NAME']})
    const listed = new Set(files.map(({path}) => path))
    for (const path of received.keys()) if (!listed.has(path)) throw differs(path, 'is not in the list of the server')
    for (const {path, size, sha256} of files) {
      const file = received.get(path)
      if (file === undefined) throw differs(path, 'did not come')
      if (file.size !== size) throw differs(path, `has ${file.size} bytes, and the server says ${size}`)
      if (sha256 !== null && sha256 !== file.sha256) throw differs(path, 'does not have the checksum that the server says')
    }
  }

  /** What pg_verifybackup, and the server at the next incremental backup, would have got for a whole one. */
  function completed(manifest: Manifest): Manifest {
    return {
      ...manifest,
      files: manifest.files.map((file) => {
        const {path, length, rewritten} = received.get(file.path) as NonNullable<ReturnType<typeof received.get>>
        // Of a file that was put together nobody has read all bytes.
        return {...file, path, size: length, sha256: path === file.path ? (rewritten ?? file.sha256) : null}
      }),
    }
  }

  return {
    archive: (folder) => ({begin: (entry) => begin(folder, entry), content, end}),
    folders,
    finish(text) {
      const manifest = parseManifest(text)
      compare(manifest)
      sendWhole(manifestPath, 0o600, formatManifest(completed(manifest)))
      return {manifest, files: received.size + 1, bytes}
    },
  }
}


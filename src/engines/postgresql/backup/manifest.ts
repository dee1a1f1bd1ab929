/**
 * The server's list of the files of a backup, with a checksum each (PostgreSQL documentation, 71 "Backup Manifest
 * Format"). It is kept with the backup: the server wants it back for the next incremental one, and pg_verifybackup reads it.
 */
import {createHash} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import {formatLsn, parseLsn} from './lsn.js'

/** Its name in a backup. */
export const manifestPath = 'backup_manifest'

export interface ManifestFile {
  readonly path: string
  readonly size: number
  readonly modified: string
  /** Hexadecimal; null when the server was asked for none, or the file was put together by us. */
  readonly sha256: string | null
}

export interface Manifest {
  /** 2 from PostgreSQL 17 on. */
  readonly version: number
  /** Decimal; null below version 2. */
  readonly system: string | null
  readonly files: readonly ManifestFile[]
  readonly ranges: readonly {readonly timeline: number; readonly start: number; readonly end: number}[]
}

interface Raw {
  'PostgreSQL-Backup-Manifest-Version': number
  Files: {Path?: string; 'Encoded-Path'?: string; Size: number; 'Last-Modified': string; 'Checksum-Algorithm'?: string; Checksum?: string}[]
  'WAL-Ranges': {Timeline: number; 'Start-LSN': string; 'End-LSN': string}[]
  'Manifest-Checksum': string
}

const wrong = (because: string, cause?: unknown): DbaasError => new DbaasError('INTEGRITY_MISMATCH', `the server's list of files is damaged: ${because}`, {cause})

const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

/** Throws INTEGRITY_MISMATCH, also when its own checksum is wrong. */
export function parseManifest(bytes: Buffer): Manifest {
  // The checksum is of everything before its own line.
  const at = bytes.lastIndexOf('\n', bytes.length - 2) + 1
  let raw: Raw
  try {
    raw = JSON.parse(bytes.toString('utf8')) as Raw
  } catch (error) {
    throw wrong('it is no JSON', error)
  }
  if (at === 0 || raw['Manifest-Checksum'] !== sha256(bytes.subarray(0, at))) throw wrong('it does not have the checksum that it says')
  return {
    version: raw['PostgreSQL-Backup-Manifest-Version'],
    // A number of 64 bits, which JSON's would bend.
    system: /"System-Identifier": (\d+)/.exec(bytes.toString('latin1', 0, Math.min(at, 300)))?.[1] ?? null,
    files: raw.Files.map((file) => {
      const algorithm = file['Checksum-Algorithm']
      if (algorithm !== undefined && algorithm !== 'SHA256') throw wrong(`a checksum is ${algorithm}`)
      return {
        path: file.Path ?? Buffer.from(file['Encoded-Path'] ?? '', 'hex').toString('utf8'),
        size: file.Size, modified: file['Last-Modified'], sha256: file.Checksum ?? null,
      }
    }),
    ranges: raw['WAL-Ranges'].map((range) => ({timeline: range.Timeline, start: parseLsn(range['Start-LSN']), end: parseLsn(range['End-LSN'])})),
  }
}

/** In the server's own layout, a line a file (src/backend/backup/backup_manifest.c). */
export function formatManifest({version, system, files, ranges}: Manifest): Buffer {
  const file = ({path, size, modified, sha256: sum}: ManifestFile): string =>
    `{ "Path": ${JSON.stringify(path)}, "Size": ${size}, "Last-Modified": ${JSON.stringify(modified)}${sum === null ? '' : `, "Checksum-Algorithm": "SHA256", "Checksum": "${sum}"`} }`
  const range = ({timeline, start, end}: Manifest['ranges'][number]): string => `{ "Timeline": ${timeline}, "Start-LSN": "${formatLsn(start)}", "End-LSN": "${formatLsn(end)}" }`
  const text =
    `{ "PostgreSQL-Backup-Manifest-Version": ${version},\n` +
    (system === null ? '' : `"System-Identifier": ${system},\n`) +
    `"Files": [\n${files.map(file).join(',\n')}\n],\n"WAL-Ranges": [\n${ranges.map(range).join(',\n')}\n],\n`
  return Buffer.from(`${text}"Manifest-Checksum": "${sha256(text)}"}\n`)
}

/**
 * What the server is told that the backup before had. Not the visibility maps, so that they come whole: a bit that is cleared
 * in one is not in the log for itself, so the server does not know that the page changed, and a map that still says
 * "visible to all" gives wrong answers (pgsql-hackers, March 2026: "Why clearing the VM doesn't require registering vm
 * buffer in wal record"). Throws INTEGRITY_MISMATCH.
 */
export function offeredManifest(kept: Buffer): Buffer {
  const manifest = parseManifest(kept)
  return formatManifest({...manifest, files: manifest.files.filter(({path}) => !/_vm(?:\.\d+)?$/.test(path))})
}

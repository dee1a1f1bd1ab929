/**
 * The files of an incremental backup that hold changed blocks alone: src/backend/backup/basebackup_incremental.c and
 * src/bin/pg_combinebackup/reconstruct.c. Little-endian: magic, count, truncation block length, the numbers of the blocks;
 * filled up to a whole block when there are any; then the blocks. What is not listed is as in the backup before, below the
 * truncation block length; above it, up to the last block listed, it is zeros.
 */
import {DbaasError} from '../../../core/errors.js'
import {blocksPerFile, pageBytes} from './page-checksum.js'

const magic = 0xd3ae1f0d
const fixedBytes = 12
const prefix = 'INCREMENTAL.'

/** The file that it is about; undefined for a file that is what its name says. */
export function changedFile(path: string): string | undefined {
  const at = path.lastIndexOf('/') + 1
  return path.startsWith(prefix, at) ? path.slice(0, at) + path.slice(at + prefix.length) : undefined
}

export interface Changes {
  /** Bytes of the file as it is now. */
  readonly length: number
  /** Ascending. */
  readonly blocks: Uint32Array
  /** Not listed, but zeros whatever was there; ascending. */
  readonly zeros: readonly number[]
}

export interface ChangesHeader {
  /** Takes what belongs to the header; undefined until all of it is there. */
  push(bytes: Buffer): Changes | undefined
  /** How much of the last portion was taken. */
  readonly taken: number
  readonly changes: Changes | undefined
}

const wrong = (path: string, because: string): DbaasError => new DbaasError('INTEGRITY_MISMATCH', `the changes of ${path} are damaged: ${because}`)

/** `size`: of the whole incremental file. */
export function readChanges(path: string, size: number): ChangesHeader {
  let header = Buffer.alloc(fixedBytes)
  let filled = 0
  let changes: Changes | undefined
  let fixed = false
  let at = 0

  function parse(): void {
    const count = header.readUInt32LE(4)
    if (!fixed) {
      if (header.readUInt32LE(0) !== magic) throw wrong(path, 'they do not begin as such')
      if (count > blocksPerFile) throw wrong(path, `they are of ${count} blocks`)
      fixed = true
      const listed = fixedBytes + 4 * count
      const length = count === 0 ? fixedBytes : Math.ceil(listed / pageBytes) * pageBytes
      if (size !== length + count * pageBytes) throw wrong(path, `they have ${size} bytes for ${count} blocks`)
      const whole = Buffer.alloc(length)
      header.copy(whole)
      header = whole
      if (filled < length) return
    }
    changes = changesOf(path, count, header)
  }

  return {
    push(bytes) {
      at = 0
      while (changes === undefined && at < bytes.length) {
        const copied = bytes.copy(header, filled, at)
        at += copied
        filled += copied
        if (filled === header.length) parse()
      }
      return changes
    },
    get taken() {
      return at
    },
    get changes() {
      return changes
    },
  }
}

function changesOf(path: string, count: number, header: Buffer): Changes {
  const kept = header.readUInt32LE(8)
  const blocks = new Uint32Array(count)
  for (let i = 0; i < count; i++) {
    const block = header.readUInt32LE(fixedBytes + 4 * i)
    if (block >= blocksPerFile || (i > 0 && block <= (blocks[i - 1] as number))) throw wrong(path, 'their blocks are out of order')
    blocks[i] = block
  }
  const length = Math.max(kept, count === 0 ? 0 : (blocks[count - 1] as number) + 1)
  const listed = new Set(blocks)
  const zeros: number[] = []
  for (let block = kept; block < length; block++) if (!listed.has(block)) zeros.push(block)
  return {length: length * pageBytes, blocks, zeros}
}

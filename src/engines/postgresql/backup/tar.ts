/**
 * Reads the archives of a base backup, which are ustar as src/port/tar.c writes it: names below 100 bytes, sizes from
 * 8 GiB on in base 256. A push parser: portions come as they come, and content is handed on without a copy.
 */
import {DbaasError} from '../../../core/errors.js'

export interface TarEntry {
  readonly path: string
  readonly kind: 'file' | 'folder' | 'link'
  readonly size: number
  readonly mode: number
  /** Of a link. */
  readonly target: string
}

export interface TarHandler {
  begin(entry: TarEntry): void
  /** Content of the entry that began last; valid during the call only. */
  content(bytes: Buffer): void
  end(): void
}

const blockBytes = 512

const wrong = (because: string): DbaasError => new DbaasError('INTEGRITY_MISMATCH', `the server's archive is damaged: ${because}`)

const text = (header: Buffer, at: number, length: number): string => {
  const end = header.indexOf(0, at)
  return header.toString('utf8', at, end === -1 || end > at + length ? at + length : end)
}

function number(header: Buffer, at: number, length: number): number {
  // Base 256 (GNU, star): the first bit says so, the rest is big-endian.
  if (((header[at] as number) & 0x80) !== 0) {
    let value = 0
    for (let i = 1; i < length; i++) value = value * 256 + (header[at + i] as number)
    return value
  }
  const value = Number.parseInt(text(header, at, length).trim() || '0', 8)
  if (!Number.isSafeInteger(value)) throw wrong('a number in a header is none')
  return value
}

const kinds: Readonly<Record<string, TarEntry['kind']>> = {'0': 'file', '\0': 'file', '5': 'folder', '2': 'link'}

/** Undefined: a block of zeros, which ends an archive. */
function parseHeader(header: Buffer): TarEntry | undefined {
  if (header.every((byte) => byte === 0)) return undefined
  // The checksum counts its own eight bytes as spaces.
  let sum = 8 * 32
  for (let i = 0; i < blockBytes; i++) if (i < 148 || i >= 156) sum += header[i] as number
  if (sum !== number(header, 148, 8)) throw wrong('the checksum of a header is wrong')
  const kind = kinds[String.fromCharCode(header[156] as number)]
  if (kind === undefined) throw wrong(`an entry is of the kind ${header[156]}`)
  const prefix = text(header, 345, 155)
  const path = (prefix === '' ? '' : `${prefix}/`) + text(header, 0, 100)
  if (path === '' || path.startsWith('/') || path.split('/').includes('..')) throw wrong('an entry has no proper name')
  return {
    path: path.replace(/^(?:\.\/)+|\/+$/g, ''), kind, size: kind === 'file' ? number(header, 124, 12) : 0, mode: number(header, 100, 8) & 0o7777,
    target: kind === 'link' ? text(header, 157, 100) : '',
  }
}

export interface TarReader {
  push(bytes: Buffer): void
  /** The archive ends here. Throws INTEGRITY_MISMATCH in the middle of an entry. */
  finish(): void
}

export function createTarReader(handler: TarHandler): TarReader {
  const header = Buffer.alloc(blockBytes)
  let headerBytes = 0
  let open = false
  let left = 0
  let padding = 0

  function begin(): void {
    headerBytes = 0
    const entry = parseHeader(header)
    if (entry === undefined) return
    handler.begin(entry)
    left = entry.size
    padding = (blockBytes - (entry.size % blockBytes)) % blockBytes
    open = true
    if (left === 0) end()
  }
  function end(): void {
    open = false
    handler.end()
  }

  return {
    push(bytes) {
      for (let at = 0; at < bytes.length; ) {
        if (open) {
          const part = bytes.subarray(at, at + left)
          handler.content(part)
          at += part.length
          left -= part.length
          if (left === 0) end()
        } else if (padding > 0) {
          const skipped = Math.min(padding, bytes.length - at)
          at += skipped
          padding -= skipped
        } else {
          const copied = bytes.copy(header, headerBytes, at, at + blockBytes - headerBytes)
          at += copied
          headerBytes += copied
          if (headerBytes === blockBytes) begin()
        }
      }
    },
    finish() {
      if (open || padding > 0 || headerBytes > 0) throw wrong('it ends in the middle of a file')
    },
  }
}

/**
 * The tree of a snapshot: its files, and for each of their extents the page sets that it consists of. Complete by
 * itself: what it refers to lies in packs, and in no other tree.
 */
import {DbaasError} from '../../../core/errors.js'
import {extentBytes, idBytes} from './format.js'
import {isPageSize} from './pages.js'

export interface PackRef {
  /** Number of the session that wrote it. */
  readonly session: number
  readonly name: string
  /** Hexadecimal. */
  readonly salt: string
}

export interface TreeFile {
  readonly path: string
  readonly pageSize: number
  /** Bytes. */
  readonly length: number
  /** What the caller wants to know again: mode, owner, time, whatever. */
  readonly attributes: Readonly<Record<string, unknown>>
  /** Number of its first extent; it has `ceil(length / extentBytes)`. */
  readonly firstExtent: number
}

export interface BlobRef {
  readonly id: Buffer
  readonly pack: number
  readonly offset: number
  readonly length: number
  /** Pages that it lists. */
  readonly pages: number
}

export interface Tree {
  readonly files: readonly TreeFile[]
  readonly packs: readonly PackRef[]
  readonly blobs: number
  blob(n: number): BlobRef
  /** Numbers of the page sets of an extent, from the lowest to the uppermost; none: it is all zeros. */
  extent(n: number): Uint32Array
  readonly byPath: ReadonlyMap<string, TreeFile>
}

/** id, pack, offset, length (uint32 LE each), pages (uint16 LE), 0 (uint16). */
const blobRow = idBytes + 4 + 4 + 4 + 2 + 2

export const extentsOf = (length: number): number => Math.ceil(length / extentBytes)

interface Header {
  readonly files: readonly {path: string; page_size: number; length: number; attributes: Record<string, unknown>}[]
  readonly packs: readonly (readonly [session: number, name: string, salt: string])[]
  readonly blobs: number
}

/** Length of the header (uint32 LE), the header (JSON), rows of page sets, then for each extent a count (uint16 LE) and numbers (uint32 LE). */
export function encodeTree(
  files: readonly Omit<TreeFile, 'firstExtent'>[], packs: readonly PackRef[], blobs: readonly BlobRef[], extents: Iterable<ArrayLike<number>>,
): Buffer[] {
  const header: Header = {
    files: files.map(({path, pageSize, length, attributes}) => ({path, page_size: pageSize, length, attributes})),
    packs: packs.map(({session, name, salt}) => [session, name, salt]),
    blobs: blobs.length,
  }
  const json = Buffer.from(JSON.stringify(header))
  const size = Buffer.alloc(4)
  size.writeUInt32LE(json.length)
  const rows = Buffer.alloc(blobs.length * blobRow)
  blobs.forEach(({id, pack, offset, length, pages}, n) => {
    const at = n * blobRow
    rows.set(id, at)
    rows.writeUInt32LE(pack, at + 32)
    rows.writeUInt32LE(offset, at + 36)
    rows.writeUInt32LE(length, at + 40)
    rows.writeUInt16LE(pages, at + 44)
  })
  return [size, json, rows, ...encodeExtents(extents)]
}

function* encodeExtents(extents: Iterable<ArrayLike<number>>): Generator<Buffer> {
  let block = Buffer.alloc(256 * 1024)
  let at = 0
  for (const refs of extents) {
    if (at + 2 + refs.length * 4 > block.length) {
      yield block.subarray(0, at)
      block = Buffer.alloc(256 * 1024)
      at = 0
    }
    at = block.writeUInt16LE(refs.length, at)
    for (let i = 0; i < refs.length; i++) at = block.writeUInt32LE(refs[i] as number, at)
  }
  yield block.subarray(0, at)
}

/** Throws a plain Error when it does not add up: it was authenticated, so that would be a bug, or a newer format. */
export function decodeTree(plain: Uint8Array): Tree {
  const bytes = Buffer.from(plain.buffer, plain.byteOffset, plain.length)
  let at = 4 + bytes.readUInt32LE(0)
  const header = JSON.parse(bytes.toString('utf8', 4, at)) as Header
  const rows = bytes.subarray(at, at += header.blobs * blobRow)
  let extents = 0
  const files = header.files.map(({path, page_size, length, attributes}): TreeFile => {
    if (!isPageSize(page_size)) throw new Error(`${path} has pages of ${page_size} bytes`)
    const file = {path, pageSize: page_size, length, attributes, firstExtent: extents}
    extents += extentsOf(length)
    return file
  })
  const starts = new Uint32Array(extents + 1)
  const refs = new Uint32Array((bytes.length - at - 2 * extents) / 4)
  for (let n = 0, k = 0; n < extents; n++) {
    const count = bytes.readUInt16LE(at)
    at += 2
    for (let i = 0; i < count; i++, at += 4) refs[k++] = bytes.readUInt32LE(at)
    starts[n + 1] = k
  }
  if (at !== bytes.length) throw new Error('its extents do not add up')
  return {
    files, packs: header.packs.map(([session, name, salt]) => ({session, name, salt})), blobs: header.blobs,
    blob(n) {
      const row = n * blobRow
      if (row + blobRow > rows.length) throw new DbaasError('REPOSITORY_DAMAGED', `a tree refers to the page set ${n} of ${header.blobs}`)
      return {
        id: rows.subarray(row, row + 32), pack: rows.readUInt32LE(row + 32), offset: rows.readUInt32LE(row + 36), length: rows.readUInt32LE(row + 40),
        pages: rows.readUInt16LE(row + 44),
      }
    },
    extent: (n) => refs.subarray(starts[n], starts[n + 1]),
    byPath: new Map(files.map((file) => [file.path, file])),
  }
}

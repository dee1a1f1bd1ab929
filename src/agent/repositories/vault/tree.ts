/**
 * The tree of a snapshot: its files, and for each of their extents the page sets that it consists of. Complete by
 * itself: what it refers to lies in packs, and in no other tree.
 */
import {DbaasError} from '../../../core/errors.js'
import {extentBytes, idBytes} from './format.js'
import {isPageSize} from './pages.js'
import {takeTurns} from './turns.js'

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

/** One line of the header each; lines and not one JSON, so that they can be read and written in turns. */
interface Counts {
  readonly packs: number
  readonly files: number
  readonly blobs: number
}
type PackLine = readonly [session: number, name: string, salt: string]
interface FileLine {
  readonly path: string
  readonly page_size: number
  readonly length: number
  readonly attributes: Record<string, unknown>
}

/** Length of the header (uint32 LE), the header (lines of JSON), rows of page sets, then for each extent a count (uint16 LE) and numbers (uint32 LE). */
export async function encodeTree(
  files: readonly Omit<TreeFile, 'firstExtent'>[], packs: readonly PackRef[], blobs: readonly BlobRef[], extents: Iterable<ArrayLike<number>>,
): Promise<Buffer[]> {
  const header = await encodeLines(files, packs, blobs.length)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(header.reduce((sum, {length}) => sum + length, 0))
  const rows = Buffer.alloc(blobs.length * blobRow)
  const turns = takeTurns()
  for (const [n, {id, pack, offset, length, pages}] of blobs.entries()) {
    const at = n * blobRow
    rows.set(id, at)
    rows.writeUInt32LE(pack, at + 32)
    rows.writeUInt32LE(offset, at + 36)
    rows.writeUInt32LE(length, at + 40)
    rows.writeUInt16LE(pages, at + 44)
    if (n % 256 === 0 && turns.isOver) await turns.next()
  }
  const encoded: Buffer[] = []
  for (const block of encodeExtents(extents)) {
    encoded.push(block)
    if (turns.isOver) await turns.next()
  }
  return [size, ...header, rows, ...encoded]
}

async function encodeLines(files: readonly Omit<TreeFile, 'firstExtent'>[], packs: readonly PackRef[], blobs: number): Promise<Buffer[]> {
  const found: Buffer[] = []
  let lines: string[] = [JSON.stringify({packs: packs.length, files: files.length, blobs} satisfies Counts)]
  const turns = takeTurns()
  const add = async (line: PackLine | FileLine) => {
    lines.push(JSON.stringify(line))
    if (lines.length < 256) return
    found.push(Buffer.from(`${lines.join('\n')}\n`))
    lines = []
    if (turns.isOver) await turns.next()
  }
  for (const {session, name, salt} of packs) await add([session, name, salt])
  for (const {path, pageSize, length, attributes} of files) await add({path, page_size: pageSize, length, attributes})
  return [...found, Buffer.from(lines.map((line) => `${line}\n`).join(''))]
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
export async function decodeTree(plain: Uint8Array): Promise<Tree> {
  const bytes = Buffer.from(plain.buffer, plain.byteOffset, plain.length)
  let at = 4 + bytes.readUInt32LE(0)
  const {counts, packs, files, extents} = await decodeLines(bytes.subarray(4, at))
  const rows = bytes.subarray(at, at += counts.blobs * blobRow)
  const starts = new Uint32Array(extents + 1)
  const refs = new Uint32Array((bytes.length - at - 2 * extents) / 4)
  const turns = takeTurns()
  for (let n = 0, k = 0; n < extents; n++) {
    const count = bytes.readUInt16LE(at)
    at += 2
    for (let i = 0; i < count; i++, at += 4) refs[k++] = bytes.readUInt32LE(at)
    starts[n + 1] = k
    if (n % 4096 === 0 && turns.isOver) await turns.next()
  }
  if (at !== bytes.length) throw new Error('its extents do not add up')
  return {
    files, packs, blobs: counts.blobs,
    blob(n) {
      const row = n * blobRow
      if (row + blobRow > rows.length) throw new DbaasError('REPOSITORY_DAMAGED', `a tree refers to the page set ${n} of ${counts.blobs}`)
      return {
        id: rows.subarray(row, row + 32), pack: rows.readUInt32LE(row + 32), offset: rows.readUInt32LE(row + 36), length: rows.readUInt32LE(row + 40),
        pages: rows.readUInt16LE(row + 44),
      }
    },
    extent: (n) => refs.subarray(starts[n], starts[n + 1]),
    byPath: new Map(files.map((file) => [file.path, file])),
  }
}

async function decodeLines(header: Buffer): Promise<{counts: Counts; packs: PackRef[]; files: TreeFile[]; extents: number}> {
  let at = 0
  const line = (): unknown => {
    const end = header.indexOf(10, at)
    const text = header.toString('utf8', at, end === -1 ? header.length : end)
    at = end === -1 ? header.length : end + 1
    return JSON.parse(text)
  }
  const counts = line() as Counts
  const packs: PackRef[] = []
  const files: TreeFile[] = []
  let extents = 0
  const turns = takeTurns()
  for (let n = 0; n < counts.packs + counts.files; n++) {
    if (n < counts.packs) {
      const [session, name, salt] = line() as PackLine
      packs.push({session, name, salt})
    } else {
      const {path, page_size: pageSize, length, attributes} = line() as FileLine
      if (!isPageSize(pageSize)) throw new Error(`${path} has pages of ${pageSize} bytes`)
      files.push({path, pageSize, length, attributes, firstExtent: extents})
      extents += extentsOf(length)
    }
    if (n % 256 === 0 && turns.isOver) await turns.next()
  }
  if (at !== header.length) throw new Error('its header does not add up')
  return {counts, packs, files, extents}
}

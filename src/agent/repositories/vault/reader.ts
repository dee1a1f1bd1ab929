/** Reads a snapshot back: in parallel, in bounded memory, every page set checked (tag, place, pages, id) before it is used. */
import {DbaasError} from '../../../core/errors.js'
import type {Context} from './context.js'
import {extentBytes} from './format.js'
import {createGate} from './gate.js'
import {ownMemory} from './pool.js'
import {fetchBlobs} from './ranges.js'
import type {Extent, SealedBlob} from './tasks.js'
import {extentsOf, type BlobRef, type Tree, type TreeFile} from './tree.js'

/** Where a restore goes. Calls for different files and places may overlap; an error of any ends the restore. */
export interface Sink {
  /** Before its content: make it, that long, all zeros. One at a time, in the order of the snapshot; those that are empty or all zeros last. */
  begin(file: TreeFile): Promise<void>
  /** What is all zeros does not come. */
  write(file: TreeFile, offset: number, bytes: Uint8Array): Promise<void>
  /** All of it was written. */
  end(file: TreeFile): Promise<void>
}

export interface Restored {
  readonly files: number
  readonly bytes: number
}

interface Piece {
  readonly file: TreeFile
  readonly offset: number
  readonly length: number
  readonly blobs: readonly BlobRef[]
}

/** Extents that are fetched and opened together: so many, of so many bytes at most. */
const batchExtents = 32
const batchBytes = 16 * extentBytes

function countPieces(tree: Tree, file: TreeFile): number {
  let n = 0
  for (let i = 0; i < extentsOf(file.length); i++) if (tree.extent(file.firstExtent + i).length > 0) n++
  return n
}

function* piecesOf(tree: Tree, file: TreeFile): Generator<Piece> {
  for (let i = 0; i < extentsOf(file.length); i++) {
    const refs = [...tree.extent(file.firstExtent + i)]
    if (refs.length === 0) continue
    const offset = i * extentBytes
    yield {file, offset, length: Math.min(extentBytes, file.length - offset), blobs: refs.map((n) => tree.blob(n))}
  }
}

function* batchesOf(pieces: Iterable<Piece>): Generator<Piece[]> {
  let batch: Piece[] = []
  let bytes = 0
  for (const piece of pieces) {
    if (batch.length > 0 && (batch.length === batchExtents || bytes + piece.length > batchBytes)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(piece)
    bytes += piece.length
  }
  if (batch.length > 0) yield batch
}

/** The contents of the pieces. Throws REPOSITORY_DAMAGED. */
async function open(context: Context, tree: Tree, batch: readonly Piece[]): Promise<readonly Uint8Array[]> {
  const fetched = await fetchBlobs(context, tree, batch.flatMap(({blobs}) => blobs))
  let at = 0
  const extents = batch.map(({file, length, blobs}): Extent => {
    const sealed: SealedBlob[] = fetched.blobs.slice(at, at += blobs.length)
    return {pageSize: file.pageSize, length, blobs: sealed}
  })
  // A short range (a pack that was cut off) shows as a page set that does not open.
  const {answer} = await context.pool.run({kind: 'assemble', keys: context.keyText, ranges: fetched.ranges, extents}, ownMemory(fetched.ranges))
  return answer.extents
}

/**
 * Memory: so many batches as there are threads and one, each with what is fetched for it and what it holds. When it throws,
 * nothing of it runs any more: the sink is called no more.
 */
export async function restore(context: Context, tree: Tree, sink: Sink, wanted: (file: TreeFile) => boolean = () => true): Promise<Restored> {
  const files = tree.files.filter(wanted)
  const begun = new Set<TreeFile>()
  const left = new Map<TreeFile, number>()
  const gate = createGate(context.pool.size + 1)
  let bytes = 0
  function* pieces(): Generator<Piece> {
    for (const file of files) {
      left.set(file, countPieces(tree, file))
      yield* piecesOf(tree, file)
    }
  }
  try {
    for (const batch of batchesOf(pieces())) {
      await gate.ready()
      for (const {file} of batch) {
        if (begun.has(file)) continue
        begun.add(file)
        await sink.begin(file)
      }
      gate.start(async () => {
        const contents = await open(context, tree, batch)
        for (const [i, {file, offset}] of batch.entries()) {
          await sink.write(file, offset, contents[i] as Uint8Array)
          left.set(file, (left.get(file) as number) - 1)
          if (left.get(file) === 0) await sink.end(file)
        }
      })
    }
  } finally {
    // An error is thrown when the others have ended, too: who removes what was written must be alone.
    await gate.done()
  }
  // those without any content
  for (const file of files) {
    bytes += file.length
    if (begun.has(file)) continue
    await sink.begin(file)
    await sink.end(file)
  }
  return {files: files.length, bytes}
}

/** One file, from its beginning to its end, in portions of at most 1 MiB; two batches ahead of who reads. Throws BACKUP_NOT_FOUND. */
export async function* readFile(context: Context, tree: Tree, path: string): AsyncGenerator<Uint8Array> {
  const file = tree.byPath.get(path)
  if (!file) throw new DbaasError('BACKUP_NOT_FOUND', `there is no file ${path} in the snapshot`, {details: {path}})
  const batches = batchesOf(piecesOf(tree, file))
  const ahead: Promise<readonly (readonly [Piece, Uint8Array])[]>[] = []
  const more = () => {
    const next = batches.next()
    if (next.done) return
    const batch = next.value
    const opened = open(context, tree, batch).then((contents) => batch.map((piece, i) => [piece, contents[i] as Uint8Array] as const))
    opened.catch(() => undefined)
    ahead.push(opened)
  }
  more()
  more()
  let at = 0
  for (let opened = ahead.shift(); opened; opened = ahead.shift()) {
    const contents = await opened
    more()
    for (const [{offset}, bytes] of contents) {
      yield* zeros(offset - at)
      yield bytes
      at = offset + bytes.length
    }
  }
  yield* zeros(file.length - at)
}

function* zeros(n: number): Generator<Uint8Array> {
  for (let left = n; left > 0; left -= extentBytes) yield new Uint8Array(Math.min(left, extentBytes))
}

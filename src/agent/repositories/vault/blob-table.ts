/** The page sets and packs that a snapshot in the making refers to, numbered as they come. */
import type {BlobRef, PackRef, Tree} from './tree.js'

export interface BlobTable {
  /** One of the previous snapshot's, by its number there. */
  fromPrevious(n: number): number
  /** One that a thread has stored in one of its packs, which may not be closed yet. */
  fromThread(thread: number, pack: number, blob: {id: Uint8Array; offset: number; length: number; pages: number}): number
  /** One of a pack that a session left which never committed. */
  fromOrphan(pack: PackRef, blob: {id: Buffer; offset: number; length: number; pages: number}): number
  /** A thread's pack has got its name. */
  named(thread: number, pack: number, ref: PackRef): void
  readonly blobs: readonly BlobRef[]
  /** Throws when one has no name yet. */
  packs(): PackRef[]
}

export function createBlobTable(previous: Tree | undefined): BlobTable {
  const blobs: BlobRef[] = []
  const packs: (PackRef | undefined)[] = []
  const packNumbers = new Map<string, number>()
  const previousNumbers = new Int32Array(previous?.blobs ?? 0).fill(-1)
  const threadBlobs = new Map<string, number>()

  function packNumber(key: string, ref?: PackRef): number {
    const found = packNumbers.get(key)
    if (found !== undefined) return found
    packs.push(ref)
    packNumbers.set(key, packs.length - 1)
    return packs.length - 1
  }

  function add(blob: BlobRef): number {
    blobs.push(blob)
    return blobs.length - 1
  }

  return {
    blobs,
    fromPrevious(n) {
      const known = previousNumbers[n] as number
      if (known >= 0) return known
      const tree = previous as Tree
      const blob = tree.blob(n)
      const ref = tree.packs[blob.pack] as PackRef
      const number = add({...blob, pack: packNumber(ref.name, ref)})
      previousNumbers[n] = number
      return number
    },
    fromThread(thread, pack, {id, offset, length, pages}) {
      const key = `${thread}/${pack}/${offset}`
      const known = threadBlobs.get(key)
      if (known !== undefined) return known
      const number = add({id: Buffer.from(id), pack: packNumber(`${thread}/${pack}`), offset, length, pages})
      threadBlobs.set(key, number)
      return number
    },
    fromOrphan(ref, blob) {
      const key = `${ref.name}/${blob.offset}`
      const known = threadBlobs.get(key)
      if (known !== undefined) return known
      const number = add({...blob, pack: packNumber(ref.name, ref)})
      threadBlobs.set(key, number)
      return number
    },
    named(thread, pack, ref) {
      const number = packNumbers.get(`${thread}/${pack}`)
      if (number !== undefined) packs[number] = ref
    },
    packs() {
      return packs.map((ref) => {
        if (ref === undefined) throw new Error('a pack has no name yet')
        return ref
      })
    },
  }
}

/** Page sets are fetched in runs: those that lie next to each other in a pack by one request. */
import type {Context} from './context.js'
import {objects} from './format.js'
import type {SealedBlob} from './tasks.js'
import type {BlobRef, PackRef, Tree} from './tree.js'

export interface Fetched {
  readonly ranges: readonly Uint8Array[]
  /** In the order that they were asked for. */
  readonly blobs: readonly SealedBlob[]
}

/** Bytes between two page sets that are read for nothing rather than asked around, and the longest run. */
const gapBytes = 64 * 1024
const runBytes = 8 * 1024 * 1024

interface Run {
  readonly pack: number
  readonly from: number
  to: number
  readonly members: number[]
}

function plan(wanted: readonly BlobRef[]): Run[] {
  const order = wanted.map((_, i) => i).sort((a, b) => {
    const [x, y] = [wanted[a] as BlobRef, wanted[b] as BlobRef]
    return x.pack - y.pack || x.offset - y.offset
  })
  const runs: Run[] = []
  for (const i of order) {
    const {pack, offset, length} = wanted[i] as BlobRef
    const last = runs.at(-1)
    if (last && last.pack === pack && offset - last.to <= gapBytes && offset + length - last.from <= runBytes) {
      last.to = Math.max(last.to, offset + length)
      last.members.push(i)
    } else runs.push({pack, from: offset, to: offset + length, members: [i]})
  }
  return runs
}

/** Requests are made in parallel; together they are as large as what is wanted, and gaps. */
export async function fetchBlobs(context: Context, tree: Tree, wanted: readonly BlobRef[]): Promise<Fetched> {
  const runs = plan(wanted)
  const blobs: SealedBlob[] = []
  const ranges = await Promise.all(runs.map(async ({pack, from, to, members}, range) => {
    const {session, name, salt} = tree.packs[pack] as PackRef
    for (const i of members) {
      const {id, offset, length} = wanted[i] as BlobRef
      blobs[i] = {id: Uint8Array.from(id), salt: Buffer.from(salt, 'hex'), offset, range, at: offset - from, length}
    }
    return context.store.get(context.at(objects.pack(session, name)), {offset: from, length: to - from})
  }))
  return {ranges, blobs}
}

/** Writes one snapshot: files come one after the other, their extents go to the threads, packs into the store, the manifest last. */
import {DbaasError} from '../../../core/errors.js'
import {lengthOf, listAll} from '../repository.js'
import {createBlobTable} from './blob-table.js'
import {readSnapshot, readTree, type Context, type Snapshot} from './context.js'
import {createFooters} from './footers.js'
import {damaged, idBytes, objects} from './format.js'
import {createGate} from './gate.js'
import {cutChanged, cutWhole, type ExtentInput} from './extents.js'
import {orphansOf, reusableSessions, type Orphan} from './orphans.js'
import {isPageSize, overlay, type PageSet} from './pages.js'
import {fetchBlobs} from './ranges.js'
import {beginSession} from './sessions.js'
import {mergeNeeded} from './store-extent.js'
import type {Outcome, PackDone, StoreExtent, Stored} from './tasks.js'
import {count} from './bitmap.js'
import {encodeTree, extentsOf, type BlobRef, type PackRef, type Tree, type TreeFile} from './tree.js'

export interface FileInput {
  /** Any text; unique in the snapshot. */
  readonly path: string
  /** Of the engine: pages of so many bytes are compared and stored. A power of two from 4096 to 65536. */
  readonly pageSize: number
  readonly attributes?: Readonly<Record<string, unknown>>
  readonly content:
    /** All of it, in any portions: its pages are compared with the previous snapshot's. */
    | {readonly kind: 'whole'; readonly bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>}
    /**
     * The file is in the previous snapshot and has `length` bytes now. These pages (whole, ascending, the last one may
     * be cut by the end) changed; of the others, those that were there are as before, those beyond are zero.
     */
    | {readonly kind: 'changed'; readonly length: number; readonly pages: AsyncIterable<ChangedPage> | Iterable<ChangedPage>}
}

export interface ChangedPage {
  readonly page: number
  readonly bytes: Uint8Array
}

export interface SnapshotWriter {
  readonly number: number
  /** One at a time. Says how long the file is. Throws the first error of the snapshot; then `abort` it. */
  write(file: FileInput): Promise<number>
  /** Throws LEASE_LOST when somebody has taken over: then nothing counts. */
  commit(meta: Readonly<Record<string, unknown>>): Promise<Snapshot>
  /** What was stored stays for a while, so that the next one need not store it again. Idempotent; not after a commit. */
  abort(because: string): Promise<void>
}

/** Ids of the previous snapshot that new content is compared with at most: a copied file is stored once. */
const knownLimit = 200_000

/** `previous`: number of the snapshot to compare with, null for none. Throws REPOSITORY_BUSY. */
export async function beginSnapshot(context: Context, previousNumber: number | null): Promise<SnapshotWriter> {
  const session = await beginSession(context, {previous: previousNumber, reuses: await reusableSessions(context)})
  try {
    const previous = previousNumber === null ? undefined : await readTree(context, await readSnapshot(context, previousNumber))
    const footers = createFooters(context)
    const orphans = await orphansOf(context, footers, session.reuses)
    return await startWriter(context, session, previous, footers, orphans)
  } catch (error) {
    await session.giveUp('it did not begin').catch(() => undefined)
    throw error
  }
}

async function startWriter(
  context: Context, session: Awaited<ReturnType<typeof beginSession>>, previous: Tree | undefined, footers: ReturnType<typeof createFooters>,
  orphans: ReadonlyMap<string, Orphan>,
): Promise<SnapshotWriter> {
  const {pool, store} = context
  const thread = `${context.keys.incarnation}/${session.number}`
  const table = createBlobTable(previous)
  const known: readonly (Orphan | number)[] = [...orphans.values(), ...Array(Math.min(previous?.blobs ?? 0, knownLimit)).keys()]
  const ids = Buffer.alloc(known.length * idBytes)
  for (const [i, one] of known.entries()) ids.set(typeof one === 'number' ? (previous as Tree).blob(one).id : one.blob.id, i * idBytes)
  await pool.all({kind: 'open', session: thread, keys: context.keyText, codec: context.codec, packBytes: context.packBytes, known: ids})

  const tasks = createGate(2 * pool.size + 1)
  const uploads = createGate(pool.size + 1)
  const files: Omit<TreeFile, 'firstExtent'>[] = []
  const extents: number[][] = []
  const paths = new Set<string>()
  const spare: ArrayBufferLike[] = []
  let storedBytes = 0
  let bytes = 0

  function upload(from: number, done: PackDone): void {
    const name = objects.pack(session.number, done.name)
    table.named(from, done.pack, {session: session.number, name: done.name, salt: Buffer.from(done.salt).toString('hex')})
    storedBytes += done.bytes
    uploads.start(async () => {
      await footers.keep(done.name, Buffer.from(done.index))
      await store.put(context.at(name), done.content)
      pool.reuse(from, (done.content[0] as Uint8Array).buffer)
    })
  }

  function numberOf(from: number, stored: Stored): number {
    if (!('known' in stored)) return table.fromThread(from, stored.pack, stored)
    const found = known[stored.known] as Orphan | number
    return typeof found === 'number' ? table.fromPrevious(found) : table.fromOrphan(found.pack, found.blob)
  }

  function refsOf(from: number, outcome: Outcome, before: readonly number[]): number[] {
    if (outcome.kind === 'same') return before.map(table.fromPrevious)
    if (outcome.kind === 'zero') return []
    const below = outcome.kind === 'delta' ? before : outcome.kind === 'merged' ? before.slice(0, 1) : []
    return [...below.map(table.fromPrevious), numberOf(from, outcome.stored)]
  }

  /** What the extent consists of in the previous snapshot, by hash. */
  async function beforeOf(refs: readonly BlobRef[], pageSize: number): Promise<StoreExtent['before']> {
    const sets = await Promise.all(refs.map(async ({pack, offset, id}): Promise<PageSet> => {
      const ref = (previous as Tree).packs[pack] as PackRef
      const entry = (await footers.of(ref)).at(offset)
      if (!entry || !entry.id.equals(id) || entry.pageSize !== pageSize) throw damaged(context.at(objects.pack(ref.session, ref.name)), 'its footer does not know a page set')
      return entry
    }))
    return overlay(sets, pageSize)
  }

  async function storeExtent(at: number, old: TreeFile | undefined, input: ExtentInput): Promise<void> {
    const {pageSize} = input
    const before = old && input.index < extentsOf(old.length) ? [...(previous as Tree).extent(old.firstExtent + input.index)] : []
    const refs = before.map((n) => (previous as Tree).blob(n))
    const deltaPages = refs.slice(1).reduce((sum, {pages}) => sum + pages, 0)
    const {content} = input
    let request: StoreExtent
    const common = {kind: 'store', session: thread, pageSize, pages: input.pages, depth: refs.length, deltaPages} as const
    if (content.kind === 'whole') request = {...common, before: old === undefined ? null : await beforeOf(refs, pageSize), content}
    else {
      const need = mergeNeeded(pageSize, refs.length, deltaPages, count(content.given))
      const merge = need === undefined ? null : {all: need === 'all', ...(await fetchBlobs(context, previous as Tree, need === 'all' ? refs : refs.slice(1)))}
      request = {...common, before: content.zeroed === null ? null : await beforeOf(refs, pageSize), content: {...content, merge}}
    }
    const {thread: from, answer} = await pool.run(request, [content.bytes.buffer])
    if (spare.length < 4) spare.push(answer.spare.buffer)
    extents[at] = refsOf(from, answer.outcome, before)
    for (const done of answer.packs) {
      await uploads.ready()
      upload(from, done)
    }
  }

  /** Once another has taken over, what this one builds upon may be collected: that is no damage. */
  async function explain(error: unknown): Promise<never> {
    await session.look().catch(() => undefined)
    session.assertHeld()
    throw error
  }

  async function writeFile({path, pageSize, attributes = {}, content}: FileInput): Promise<number> {
    if (!isPageSize(pageSize)) throw new DbaasError('INTERNAL', `${pageSize} is no size of a page`)
    if (paths.has(path)) throw new DbaasError('INTERNAL', `the file ${path} is in the snapshot already`)
    paths.add(path)
    const found = previous?.byPath.get(path)
    const old = found?.pageSize === pageSize ? found : undefined
    if (content.kind === 'changed' && old === undefined) {
      throw new DbaasError('INTERNAL', `the file ${path} is not in the previous snapshot, so it must be given whole`)
    }
    const first = extents.length
    const room = () => Buffer.from(spare.pop() ?? new ArrayBuffer(1024 * 1024))
    const inputs = content.kind === 'whole' ? cutWhole(content.bytes, pageSize, room) : cutChanged(content, pageSize, old as TreeFile, room)
    let length = 0
    for await (const input of inputs) {
      if (input.kind === 'end') {
        length = input.length
        continue
      }
      const at = first + input.index
      extents[at] = []
      if (input.kind === 'as before') {
        extents[at] = [...(previous as Tree).extent((old as TreeFile).firstExtent + input.index)].map(table.fromPrevious)
      } else if (input.kind === 'extent') {
        await tasks.ready()
        tasks.start(() => storeExtent(at, old, input))
      }
    }
    await tasks.ready()
    session.assertHeld()
    files.push({path, pageSize, length, attributes})
    bytes += length
    return length
  }

  async function commit(meta: Readonly<Record<string, unknown>>): Promise<Snapshot> {
    await tasks.done().catch(explain)
    for (const {thread: from, answer} of await pool.all({kind: 'finish', session: thread})) for (const done of answer.packs) upload(from, done)
    await uploads.done()
    const packs = table.packs()
    const tree = await encodeTree(files, packs, table.blobs, extents)
    const name = objects.tree(session.number)
    const {answer: {sealed}} = await pool.run({kind: 'seal', keys: context.keyText, name, parts: tree, codec: context.codec})
    const {answer: {sha256}} = await pool.run({kind: 'hash', content: sealed})
    await store.put(context.at(name), sealed)
    await store.barrier()
    await assertThere(context, packs).catch(explain)
    session.assertHeld()
    const snapshot: Snapshot = {
      kind: 'snapshot', number: session.number, previous: session.previous, startedAt: session.startedAt, committedAt: context.clock.now(),
      packs: packs.map(({session: n, name: pack}) => [n, pack]),
      tree: {sha256, bytes: sealed.length},
      files: files.length, bytes, storedBytes: storedBytes + lengthOf(sealed), meta,
    }
    await session.commit(context.seal(objects.snapshot(session.number), snapshot))
    return snapshot
  }

  return {
    number: session.number,
    write: (file) => writeFile(file).catch(explain),
    commit,
    async abort(because) {
      await tasks.done().catch(() => undefined)
      await pool.all({kind: 'forget', session: thread}).catch(() => undefined)
      await uploads.done().catch(() => undefined)
      await session.giveUp(because)
    },
  }
}

/** The last look before it counts: what was built upon must not have gone meanwhile. */
async function assertThere(context: Context, packs: readonly PackRef[]): Promise<void> {
  const wanted = new Set(packs.map(({session, name}) => context.at(objects.pack(session, name))))
  for (const session of new Set(packs.map((pack) => pack.session))) {
    for await (const {name} of listAll(context.store, context.at(objects.pack(session, '')))) wanted.delete(name)
  }
  for (const name of wanted) throw damaged(name, 'it is gone')
}

/**
 * A copy of a repository in another store (`--copy-to`): in another region, on another disk. Object by object, as they are,
 * so no key is needed and none can be had from it; with the master key it is restored from like the original.
 */
import {DbaasError} from '../../../core/errors.js'
import {listAll, type ObjectFacts, type ObjectStore} from '../repository.js'
import {getIfThere} from './context.js'
import {formatName, formatVersion, objects} from './format.js'
import {createGate} from './gate.js'
import {incarnations} from './incarnations.js'
import {openRepository} from './index.js'
import {ownMemory, type Pool} from './pool.js'
import type {Damage} from './verify.js'

export interface CopyOptions {
  readonly pool: Pool
  /** Whether the copy may be begun. False: it was before, and where there is none, its disk is away. */
  readonly mayBegin: boolean
  /** What the original has no more goes from the copy, too, keys first. Without, the copy keeps all that it ever got. */
  readonly removeGone: boolean
  /** Reads what the copy has already, too, and puts right what has rotted. Without, an object of the same name and size counts as there. */
  readonly checkThere: boolean
}

export interface Copied {
  /** Written: objects that were missing, and those that were put right. */
  readonly objects: number
  readonly bytes: number
  readonly repaired: number
  /** Were there. */
  readonly skipped: number
  readonly removed: number
  /** Objects of the original that are not what was written: they are not copied. */
  readonly damages: readonly Damage[]
}

/** At once; each is in memory as a whole. */
const parallel = 4

const mark = (id: string): Buffer => Buffer.from(JSON.stringify({format: `${formatName}-copy`, version: formatVersion, of: id}) + '\n')

/**
 * Makes the copy, or brings it up to date. Idempotent: what is there is not sent again, and after a crash it goes on. At
 * any moment the copy is a valid repository, of some moment before: a snapshot's commit point comes after all it needs
 * and goes before it. Writers and collections of the original go on meanwhile. Throws REPOSITORY_REFUSED when `to` holds
 * something else, or has become a repository of its own; what the stores throw.
 */
export async function copyRepository(from: ObjectStore, to: ObjectStore, options: CopyOptions): Promise<Copied> {
  const id = await openRepository(from, 'read')
  await prepareCopy(to, id, await from.get(objects.repository), options.mayBegin)
  const copier = createCopier(from, to, options)
  try {
    // Before anything else is listed: whatever these need was there before them, and stays while they do.
    const commits: string[] = []
    for (const incarnation of await incarnations(from)) for await (const {name} of listAll(from, `${incarnation}/snapshots/`)) commits.push(name)
    const gone: string[] = []
    for await (const {name, source, target} of both(listAll(from, ''), listAll(to, ''))) {
      if (!name.includes('/') || isOf(name, 'sweeps')) continue
      if (source === undefined) gone.push(name)
      else if (!isOf(name, 'snapshots')) await copier.copy(name, source.size, target?.size)
    }
    await copier.settle()
    for (const name of commits) await copier.copy(name, (await from.stat(name))?.size, (await to.stat(name))?.size)
    await copier.settle()
    if (options.removeGone) {
      // An original whose disk went away meanwhile has lost nothing.
      await openRepository(from, 'read', id)
      await copier.remove(gone)
    }
    return copier.copied()
  } finally {
    await copier.stop()
  }
}

/** The copy is there, and nothing in it yet; the id of the two. Idempotent. Throws REPOSITORY_REFUSED when `to` holds something else. */
export async function beginCopy(from: ObjectStore, to: ObjectStore): Promise<string> {
  const id = await openRepository(from, 'read')
  await prepareCopy(to, id, await from.get(objects.repository), true)
  return id
}

/** From now on it is a repository of its own, to be written; nothing is copied into it any more. Idempotent. */
export async function promoteCopy(store: ObjectStore): Promise<void> {
  await openRepository(store, 'read')
  await store.prepare()
  await store.delete(objects.copy)
  await store.barrier()
}

/** The mark first: there is no moment at which it could be taken for a repository of its own. */
async function prepareCopy(to: ObjectStore, id: string, description: Buffer, mayBegin: boolean): Promise<void> {
  const refuse = (because: string) => {
    throw new DbaasError('REPOSITORY_REFUSED', `${to.where} cannot become the copy: ${because}`, {
      details: {repository: to.where}, suggestions: ['copy into a place of its own, with nothing in it'],
    })
  }
  if (!mayBegin) await openRepository(to, 'read', id)
  await to.prepare()
  const isMarked = (await to.stat(objects.copy)) !== undefined
  if ((await to.stat(objects.repository)) !== undefined) {
    const there = await openRepository(to, 'read')
    if (there !== id) refuse(`it holds the repository ${there}`)
    if (!isMarked) refuse('it is a repository of its own')
    return
  }
  const [first] = (await to.list('', {limit: 1})).objects
  if (first && !isMarked) refuse(`it holds other things: ${first.name}`)
  await to.put(objects.copy, mark(id))
  await to.barrier()
  await to.putIfAbsent(objects.repository, description)
  await to.barrier()
}

const isOf = (name: string, folder: string): boolean => name.split('/')[1] === folder

function createCopier(from: ObjectStore, to: ObjectStore, {pool, checkThere}: CopyOptions) {
  const sums = {objects: 0, bytes: 0, repaired: 0, skipped: 0, removed: 0}
  const damages: Damage[] = []
  let gate = createGate(parallel)

  async function whyDamaged(name: string, content: Buffer): Promise<{because: string | undefined; content: Uint8Array}> {
    const {answer} = await pool.run({kind: 'intact', name, content}, ownMemory([content]))
    return {because: answer.because, content: answer.content}
  }

  async function isThere(name: string): Promise<boolean> {
    if (!checkThere) return true
    const content = await getIfThere(to, name)
    return content !== undefined && (await whyDamaged(name, content)).because === undefined
  }

  async function copyOne(name: string, sameSize: boolean): Promise<void> {
    // A session's lease is the one thing that changes in place.
    if (sameSize && !isOf(name, 'sessions') && (await isThere(name))) return void sums.skipped++
    const read = await getIfThere(from, name)
    // It went meanwhile.
    if (read === undefined) return
    const {because, content} = await whyDamaged(name, read)
    if (because !== undefined) return void damages.push({object: name, because})
    await to.put(name, content)
    sums.objects++
    sums.bytes += content.length
    if (sameSize && !isOf(name, 'sessions')) sums.repaired++
  }

  return {
    /** Sizes: undefined when it is not there. */
    async copy(name: string, size: number | undefined, sizeThere: number | undefined): Promise<void> {
      if (size === undefined) return
      await gate.ready()
      gate.start(() => copyOne(name, size === sizeThere))
    },
    /** All of it is durable. */
    async settle(): Promise<void> {
      const running = gate
      gate = createGate(parallel)
      await running.done()
      await to.barrier()
    },
    /** Nothing of it runs any more. */
    stop: () => gate.done().catch(() => undefined),
    /** Keys, then commit points, then what they needed, each durably before the next. */
    async remove(names: readonly string[]): Promise<void> {
      const rest = names.filter((name) => !isOf(name, 'keys') && !isOf(name, 'snapshots'))
      for (const some of [names.filter((name) => isOf(name, 'keys')), names.filter((name) => isOf(name, 'snapshots')), rest]) {
        for (const name of some) {
          if ((await from.stat(name)) !== undefined) continue
          await to.delete(name, {erase: isOf(name, 'keys')})
          sums.removed++
        }
        await to.barrier()
      }
    },
    copied: (): Copied => ({...sums, damages: damages.sort((a, b) => (a.object < b.object ? -1 : 1))}),
  }
}

/** Two listings side by side, by name. */
async function* both(
  sources: AsyncGenerator<ObjectFacts>, targets: AsyncGenerator<ObjectFacts>,
): AsyncGenerator<{name: string; source: ObjectFacts | undefined; target: ObjectFacts | undefined}> {
  const next = async (listing: AsyncGenerator<ObjectFacts>) => ((await listing.next()) as IteratorResult<ObjectFacts, undefined>).value
  let [source, target] = [await next(sources), await next(targets)]
  while (source || target) {
    const name = source && (!target || source.name <= target.name) ? source.name : (target as ObjectFacts).name
    const [hasSource, hasTarget] = [source?.name === name, target?.name === name]
    yield {name, source: hasSource ? source : undefined, target: hasTarget ? target : undefined}
    if (hasSource) source = await next(sources)
    if (hasTarget) target = await next(targets)
  }
}

/** Proof that what was written is there: by reading all of it back. */
import {DbaasError} from '../../../core/errors.js'
import {listAll} from '../repository.js'
import {readSnapshot, readTree, type Context} from './context.js'
import {objects} from './format.js'
import {createGate} from './gate.js'
import {ownMemory} from './pool.js'
import type {ExpectedBlob} from './tasks.js'
import type {PackRef, Tree} from './tree.js'

export interface Damage {
  readonly object: string
  readonly because: string
}

/** What was verified and when; kept in the repository, sealed. */
export interface Verification {
  readonly snapshot: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly packs: number
  /** Packs that were verified lately and not read again. */
  readonly skipped: number
  readonly pageSets: number
  readonly pages: number
  /** Read. */
  readonly bytes: number
  readonly damages: readonly Damage[]
  /** Session and name of the packs that were read and are what was written. */
  readonly verified: readonly (readonly [session: number, name: string])[]
  /** False: this could not be kept, because there was no room or it may only be read. */
  readonly recorded: boolean
}

const keptChecks = 50

/**
 * Reads the manifest, the tree and every pack of the snapshot, whole: its hash is its name, its footer and all page sets
 * of the snapshot open, every page hashes to what was noted when it was read from the database. Damage is an answer,
 * not an error. `skipVerifiedAfter` (milliseconds since the epoch): packs that were verified later are not read.
 */
export async function verifySnapshot(context: Context, n: number, skipVerifiedAfter = Number.POSITIVE_INFINITY): Promise<Verification> {
  const at = context.clock.now()
  const damages: Damage[] = []
  const verified: (readonly [number, string])[] = []
  const sums = {pageSets: 0, pages: 0, bytes: 0, skipped: 0}
  let tree: Tree | undefined
  try {
    tree = await readTree(context, await readSnapshot(context, n))
  } catch (error) {
    damages.push(damageOf(error, context.at(objects.snapshot(n))))
  }
  const known = tree === undefined ? new Set<string>() : await verifiedSince(context, skipVerifiedAfter)
  const gate = createGate(context.pool.size + 1)
  for (const [ref, blobs] of tree === undefined ? [] : blobsByPack(tree)) {
    if (known.has(ref.name)) {
      sums.skipped++
      continue
    }
    await gate.ready()
    gate.start(async () => {
      const object = context.at(objects.pack(ref.session, ref.name))
      try {
        const content = await context.store.get(object)
        sums.bytes += content.length
        const request = {kind: 'verify', keys: context.keyText, name: ref.name, content, salt: Buffer.from(ref.salt, 'hex'), blobs} as const
        const {answer} = await context.pool.run(request, ownMemory([content]))
        sums.pageSets += answer.blobs
        sums.pages += answer.pages
        if (answer.because === undefined) verified.push([ref.session, ref.name])
        else damages.push({object, because: answer.because})
      } catch (error) {
        damages.push(damageOf(error, object))
      }
    })
  }
  await gate.done()
  const verification: Verification = {snapshot: n, at, packs: verified.length, ...sums, damages, verified, recorded: true}
  return {...verification, recorded: await record(context, verification)}
}

/** A full disk does not make a verification worth nothing. */
async function record(context: Context, verification: Verification): Promise<boolean> {
  const name = objects.check(verification.at, verification.snapshot)
  try {
    await context.store.putIfAbsent(context.at(name), context.seal(name, verification))
    await context.store.barrier()
    return true
  } catch (error) {
    // nor does a repository that may only be read
    if (error instanceof DbaasError && (error.code === 'DISK_FULL' || error.code === 'REPOSITORY_REFUSED')) return false
    throw error
  }
}

/** What is damaged is an answer; that the repository does not answer is an error. */
function damageOf(error: unknown, object: string): Damage {
  if (!(error instanceof DbaasError) || (error.code !== 'REPOSITORY_DAMAGED' && error.code !== 'BACKUP_NOT_FOUND')) throw error
  return {object: error.details['object'] ?? object, because: error.message}
}

function blobsByPack(tree: Tree): Map<PackRef, ExpectedBlob[]> {
  const found = new Map<PackRef, ExpectedBlob[]>(tree.packs.map((ref) => [ref, []]))
  for (let n = 0; n < tree.blobs; n++) {
    const {id, pack, offset, length} = tree.blob(n)
    found.get(tree.packs[pack] as PackRef)?.push({id: Uint8Array.from(id), offset, length})
  }
  return found
}

/** The verifications that were kept, the newest first. One that is damaged counts as none. */
export async function verifications(context: Context): Promise<Verification[]> {
  const found: Verification[] = []
  for await (const {name} of listAll(context.store, context.at('checks/'))) {
    const check = await context.read(name.slice(context.at('').length)).catch((error: unknown) => void damageOf(error, name))
    if (check) found.push(check as Verification)
  }
  return found.reverse()
}

async function verifiedSince(context: Context, since: number): Promise<Set<string>> {
  if (since === Number.POSITIVE_INFINITY) return new Set()
  // From the future: by a clock that was wrong, and of no known age.
  const recent = (await verifications(context)).filter(({at}) => at >= since && at <= context.clock.now())
  // One that was found damaged later is not known to be good.
  const damaged = new Set(recent.flatMap(({damages}) => damages.map(({object}) => object.split('/').at(-1))))
  return new Set(recent.flatMap(({verified}) => verified.map(([, name]) => name)).filter((name) => !damaged.has(name)))
}

/** Removes verifications but the newest so many. */
export async function trimVerifications(context: Context, keep = keptChecks): Promise<number> {
  const names: string[] = []
  for await (const {name} of listAll(context.store, context.at('checks/'))) names.push(name)
  const old = names.slice(0, Math.max(0, names.length - keep))
  for (const name of old) await context.store.delete(name)
  return old.length
}

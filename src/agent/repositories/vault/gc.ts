/**
 * Removes what nothing needs: mark (the packs of every snapshot), sweep (the others). It runs beside writers: see
 * `awaitSweeps` in sessions.ts for how the two see each other. Nothing is ever rewritten in place.
 */
import {DbaasError} from '../../../core/errors.js'
import {listAll} from '../repository.js'
import {readCommit, type Commit, type Context} from './context.js'
import {objects, packOf} from './format.js'
import {isRecent, keepRenewed} from './leases.js'
import {bury, openSessions, readSweep, sessionRecords, type SessionRecord, type SweepRecord} from './sessions.js'
import {tidyLog} from './log-format.js'
import {trimVerifications} from './verify.js'

export interface Collected {
  readonly packs: number
  readonly bytes: number
  readonly others: number
  /** Why packs that nothing needs were left where they are; null when none were. */
  readonly because: string | null
}

/** How long a tombstone stays: longer than anything sleeps that might still try to commit there. */
const tombstoneMs = 7 * 86_400_000

/**
 * The snapshot does not count from here on; `collect` removes what it alone needed. Idempotent. A running session that
 * builds upon it goes on: its packs stay until that one has ended.
 */
export async function deleteSnapshot(context: Context, n: number): Promise<void> {
  const {store} = context
  const name = objects.session(n)
  // A tombstone stays: without it, its session could still commit. One that cannot be read may go: nobody can use it.
  const commit = await readCommit(context, n).catch((error: unknown) => {
    if (!(error instanceof DbaasError) || error.code !== 'REPOSITORY_DAMAGED') throw error
  })
  if (commit?.kind === 'tombstone') return
  // The session first, or its number would look like one that is still open.
  const session = (await context.read(name).catch(() => undefined)) as SessionRecord | undefined
  if ((await store.stat(context.at(name))) !== undefined && session?.closed !== 'committed') {
    const record: SessionRecord = {...(session ?? unknownSession(n)), closed: 'committed'}
    await store.put(context.at(name), context.seal(name, record), {urgent: true})
    await store.barrier()
  }
  await store.delete(context.at(objects.snapshot(n)))
  await store.barrier()
  await store.delete(context.at(objects.tree(n)))
}

const unknownSession = (number: number): SessionRecord =>
  ({number, owner: '', startedAt: 0, expiresAt: 0, previous: null, reuses: [], closed: 'committed'})

interface View {
  readonly open: readonly SessionRecord[]
  readonly commits: ReadonlyMap<number, Commit>
  /** Commit points that cannot be read: whatever they need is not known. */
  readonly unreadable: readonly number[]
  /** Number of the newest session at the beginning: what is of a newer one is left alone. */
  readonly newest: number
}

/**
 * What it takes for granted must hold to its end, even if its lease runs out unnoticed (a machine that sleeps between two
 * calls): so the order of these looks matters, and nothing that began after the first of them is touched.
 *
 * 1. Sessions, with what they say. Those that begin later have higher numbers: `newest`.
 * 2. Commit points. One that commits after this look was open at the first, and so it is here.
 * 3. Sessions again: one that began in between may build upon a snapshot that was deleted before the second look; it
 *    was there before that deletion, so it is seen now.
 */
async function observe(context: Context): Promise<View> {
  const first = await sessionRecords(context)
  const newest = [...first.keys()].reduce((most, n) => Math.max(most, n), 0)
  for (const session of await openSessions(context)) {
    // Long past its lease: nobody comes back for it. From its tombstone on, its packs have the grace period.
    if (session.expiresAt + context.graceMs < context.clock.now()) await bury(context, session.number, 'its writer was gone')
  }
  const commits = new Map<number, Commit>()
  const unreadable: number[] = []
  for (const n of await context.numbers('snapshots/')) {
    try {
      const commit = await readCommit(context, n)
      if (commit) commits.set(n, commit)
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'REPOSITORY_DAMAGED') throw error
      unreadable.push(n)
    }
  }
  const later = [...(await sessionRecords(context)).values()].filter(({number}) => number > newest)
  const open = [...[...first.values()].filter(({closed}) => closed === null), ...later].filter(({number}) => !commits.has(number) && !unreadable.includes(number))
  return {open, commits, unreadable, newest}
}

function whyKeepAll({open, commits, unreadable}: View): string | null {
  if (unreadable.length > 0) return `the manifest of snapshot ${unreadable[0]} cannot be read, so what it needs is not known`
  const blind = open.find(({owner}) => owner === '')
  if (blind) return `the lease of session ${blind.number} cannot be read, so what it builds upon is not known`
  const orphaned = open.find(({previous}) => previous !== null && commits.get(previous)?.kind !== 'snapshot')
  return orphaned ? `session ${orphaned.number} builds upon snapshot ${orphaned.previous}, which was deleted meanwhile` : null
}

/** Throws REPOSITORY_BUSY when another owner's sweep is running. */
export async function collect(context: Context): Promise<Collected> {
  // What may be removed at any time, first: on a full disk the lease may need the room.
  const early = (await tidyLog(context)) + (await context.store.tidy(context.graceMs)) + (await trimVerifications(context))
  const sweep = await beginSweep(context).catch(async (error: unknown) => {
    if (!(error instanceof DbaasError) || error.code !== 'DISK_FULL') throw error
    await trimVerifications(context, 0)
    return beginSweep(context)
  })
  try {
    const view = await observe(context)
    const collected = await sweepPacks(context, view, sweep.assertHeld)
    const others = early + (await sweepOthers(context, view, sweep.assertHeld))
    await context.store.barrier()
    await context.store.tidy(context.graceMs)
    return {...collected, others}
  } finally {
    await sweep.end()
  }
}

async function beginSweep(context: Context): Promise<{assertHeld(): void; end(): Promise<void>}> {
  const {store, clock, owner, leaseMs} = context
  const record = (): SweepRecord => ({owner, expiresAt: clock.now() + leaseMs})
  let k = clock.now()
  for (;; k++) if (await store.putIfAbsent(context.at(objects.sweep(k)), context.seal(objects.sweep(k), record()), {urgent: true})) break
  const name = objects.sweep(k)
  for (const other of await context.numbers('sweeps/')) {
    if (other === k) continue
    const found = await readSweep(context, other)
    if (found !== undefined && found.owner !== owner && !context.leases.hasRunOut(objects.sweep(other), found.expiresAt)) {
      await store.delete(context.at(name))
      throw new DbaasError('REPOSITORY_BUSY', `${found.owner} removes old objects from the repository`, {details: {owner: found.owner}})
    }
    await store.delete(context.at(objects.sweep(other)))
  }
  const lease = keepRenewed(clock, leaseMs, () => store.put(context.at(name), context.seal(name, record()), {urgent: true}))
  return {
    assertHeld() {
      if (lease.hasLapsed() || !lease.heldFor(leaseMs / 2)) throw new DbaasError('LEASE_LOST', 'removing old objects took a break that was too long; it will be done again')
    },
    async end() {
      await lease.stop()
      await store.delete(context.at(name))
    },
  }
}

async function sweepPacks(context: Context, view: View, assertHeld: () => void): Promise<{packs: number; bytes: number; because: string | null}> {
  const because = whyKeepAll(view)
  const needed = new Set<string>()
  for (const commit of view.commits.values()) if (commit.kind === 'snapshot') for (const [session, name] of commit.packs) needed.add(objects.pack(session, name))
  const spared = new Set(view.open.flatMap(({number, reuses}) => [number, ...reuses]))
  const sums = {packs: 0, bytes: 0}
  const kept = new Set<string>()
  for await (const {name, size} of listAll(context.store, context.at('packs/'))) {
    const own = name.slice(context.at('').length)
    const session = packOf(name)?.session
    if (session === undefined) continue
    const commit = view.commits.get(session)
    const inGrace = commit?.kind === 'tombstone' && isRecent(commit.at, context.clock.now(), context.graceMs)
    if (because !== null || needed.has(own) || spared.has(session) || session > view.newest || inGrace) {
      kept.add(own.split('/').at(-1) as string)
      continue
    }
    assertHeld()
    await context.store.delete(name)
    sums.packs++
    sums.bytes += size
  }
  if (context.cache !== null) {
    for await (const {name} of listAll(context.cache, context.at('footers/'))) {
      if (!kept.has(name.split('/').at(-1) as string)) await context.cache.delete(name)
    }
  }
  return {...sums, because}
}

/** Trees without a snapshot; sessions that are closed, but the newest, whose number must not be given again; old tombstones. */
async function sweepOthers(context: Context, view: View, assertHeld: () => void): Promise<number> {
  let removed = 0
  const remove = async (name: string) => {
    assertHeld()
    await context.store.delete(context.at(name))
    removed++
  }
  const open = new Set(view.open.map(({number}) => number))
  for (const n of await context.numbers('trees/')) {
    const wanted = view.commits.get(n)?.kind === 'snapshot' || view.unreadable.includes(n) || open.has(n) || n > view.newest
    if (!wanted) await remove(objects.tree(n))
  }
  for (const n of await context.numbers('sessions/')) if (!open.has(n) && n < view.newest) await remove(objects.session(n))
  await context.store.barrier()
  for (const [n, commit] of view.commits) {
    if (commit.kind === 'tombstone' && n < view.newest && commit.at < context.clock.now() - tombstoneMs) await remove(objects.snapshot(n))
  }
  return removed
}

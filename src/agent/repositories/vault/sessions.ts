/**
 * Who may write snapshots of an incarnation: one session at a time. A session is a number that nobody had before
 * (`sessions/N`, put if absent). It ends by its one commit point, `snapshots/N`, put if absent: the snapshot, or a
 * tombstone that whoever takes over puts there first. So it is decided once, atomically and without a clock, whether a
 * snapshot counts: a writer that was thought dead and wakes up finds its place taken. Leases and their times only say
 * when it is polite to take over.
 */
import {setTimeout as delay} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import type {Content} from '../repository.js'
import {getIfThere, readCommit, type Context, type Tombstone} from './context.js'
import {damaged, objects} from './format.js'
import {keepRenewed} from './leases.js'

export interface SessionRecord {
  readonly number: number
  readonly owner: string
  readonly startedAt: number
  readonly expiresAt: number
  /** Its packs stay while the session is open. */
  readonly previous: number | null
  /** Given-up sessions whose packs it may use. */
  readonly reuses: readonly number[]
  /** Null while it is open. */
  readonly closed: 'committed' | 'given up' | null
}

export interface SweepRecord {
  readonly owner: string
  readonly expiresAt: number
}

export interface Session extends SessionRecord {
  /** Throws LEASE_LOST when another session has taken over, or the lease was not renewed for as long as packs of the dead are kept. */
  assertHeld(): void
  /** Looks whether another session has taken over. */
  look(): Promise<void>
  /** Puts the snapshot at the commit point, durably. Throws LEASE_LOST when a tombstone is there. */
  commit(content: Content): Promise<void>
  giveUp(because: string): Promise<void>
}

/** Nobody gets there; a name beyond it was put there by somebody else, and would leave no numbers. */
const lastNumber = 99_999_999_999

const lost = (n: number, because: string) => new DbaasError('LEASE_LOST', `session ${n} of the repository does not count any more: ${because}`)

/** What the sessions that are there say, by number. One that cannot be read counts as open until its lease would have ended. */
export async function sessionRecords(context: Context): Promise<Map<number, SessionRecord>> {
  const found = new Map<number, SessionRecord>()
  for (const number of await context.numbers('sessions/')) {
    const record = await readSession(context, number)
    if (record !== undefined) found.set(number, record)
  }
  return found
}

/** The sessions that are open: no commit point, not closed. A record that cannot be read counts as open until its lease would have ended. */
export async function openSessions(context: Context): Promise<SessionRecord[]> {
  const sessions = await context.numbers('sessions/')
  const commits = new Set(await context.numbers('snapshots/'))
  const open: SessionRecord[] = []
  for (const number of sessions) {
    if (commits.has(number)) continue
    const record = await readSession(context, number)
    if (record !== undefined && record.closed === null) open.push(record)
  }
  return open
}

async function readSession(context: Context, number: number): Promise<SessionRecord | undefined> {
  const name = objects.session(number)
  try {
    return (await context.read(name)) as SessionRecord | undefined
  } catch (error) {
    if (!isDamage(error)) throw error
    const facts = await context.store.stat(context.at(name))
    return facts && {number, owner: '', startedAt: 0, expiresAt: facts.modifiedAt + context.leaseMs, previous: null, reuses: [], closed: null}
  }
}

/** Makes sure that session n never commits, or finds that it has. Idempotent. */
export async function bury(context: Context, n: number, because: string): Promise<'committed' | 'buried'> {
  const name = objects.snapshot(n)
  const tombstone: Tombstone = {kind: 'tombstone', number: n, at: context.clock.now(), because}
  await context.store.putIfAbsent(context.at(name), context.seal(name, tombstone), {urgent: true})
  await context.store.barrier()
  return (await readCommit(context, n))?.kind === 'snapshot' ? 'committed' : 'buried'
}

/**
 * Begins a session. Throws REPOSITORY_BUSY while another owner's lease holds. An open session of the same owner is one
 * that it left when it crashed, and is taken over at once.
 */
export async function beginSession(context: Context, wanted: {readonly previous: number | null; readonly reuses: readonly number[]}): Promise<Session> {
  for (;;) {
    for (const open of await openSessions(context)) {
      if (open.owner !== context.owner && !context.leases.hasRunOut(objects.session(open.number), open.expiresAt)) {
        throw new DbaasError('REPOSITORY_BUSY', `${open.owner || 'another writer'} is writing a backup of ${context.keys.incarnation}`, {
          details: {owner: open.owner, session: String(open.number)},
        })
      }
      await bury(context, open.number, `taken over by ${context.owner}`)
    }
    const used = [...(await context.numbers('sessions/')), ...(await context.numbers('snapshots/'))]
    const now = context.clock.now()
    const number = used.reduce((most, n) => Math.max(most, n), 0) + 1
    if (number > lastNumber) throw damaged(context.at(objects.session(number - 1)), 'no session has such a number')
    const record: SessionRecord = {number, owner: context.owner, startedAt: now, expiresAt: now + context.leaseMs, ...wanted, closed: null}
    const name = objects.session(number)
    if (!(await context.store.putIfAbsent(context.at(name), context.seal(name, record)))) continue
    await context.store.barrier()
    await awaitSweeps(context)
    return hold(context, record)
  }
}

/**
 * A sweep first says that it runs, then looks for sessions; a session first says that it is there, then looks for
 * sweeps. So one of the two sees the other: the sweep spares what the session builds on, or the session waits.
 */
async function awaitSweeps(context: Context): Promise<void> {
  for (const until = performance.now() + 2 * context.leaseMs; ; await delay(100)) {
    const running: SweepRecord[] = []
    for (const k of await context.numbers('sweeps/')) {
      const sweep = await readSweep(context, k)
      if (sweep !== undefined && !context.leases.hasRunOut(objects.sweep(k), sweep.expiresAt)) running.push(sweep)
    }
    if (running.length === 0) return
    if (performance.now() > until) throw new DbaasError('REPOSITORY_BUSY', `${running[0]?.owner} removes old objects from the repository`)
  }
}

/** Undefined when it has ended. One that cannot be read runs until its lease would have ended. */
export async function readSweep(context: Context, k: number): Promise<SweepRecord | undefined> {
  try {
    return (await context.read(objects.sweep(k))) as SweepRecord | undefined
  } catch (error) {
    if (!isDamage(error)) throw error
    const facts = await context.store.stat(context.at(objects.sweep(k)))
    return facts && {owner: '', expiresAt: facts.modifiedAt + context.leaseMs}
  }
}

const isDamage = (error: unknown) => error instanceof DbaasError && error.code === 'REPOSITORY_DAMAGED'

function hold(context: Context, record: SessionRecord): Session {
  const {number} = record
  const name = objects.session(number)
  let taken = false
  const put = (change: Partial<SessionRecord>) => context.store.put(context.at(name), context.seal(name, {...record, ...change}), {urgent: true})
  const look = async () => {
    taken ||= (await context.store.stat(context.at(objects.snapshot(number)))) !== undefined
  }
  const lease = keepRenewed(context.clock, context.leaseMs, async () => {
    await look()
    if (!taken) await put({expiresAt: context.clock.now() + context.leaseMs})
  })
  const assertHeld = () => {
    if (taken) throw lost(number, 'another session has taken over')
    if (!lease.heldFor(context.graceMs)) throw lost(number, 'its lease was not renewed for too long')
  }

  /** True when ours is there. An answer that got lost is asked for; where there is none, it is settled by a tombstone. */
  async function settle(content: Content): Promise<boolean> {
    const commitName = context.at(objects.snapshot(number))
    try {
      return await context.store.putIfAbsent(commitName, content)
    } catch (error) {
      const there = await getIfThere(context.store, commitName)
      if (there === undefined && (await bury(context, number, 'its commit failed')) === 'buried') throw error
      return (await readCommit(context, number))?.kind === 'snapshot'
    }
  }

  return {
    ...record,
    assertHeld,
    look,
    async commit(content) {
      assertHeld()
      const ours = await settle(content)
      await context.store.barrier()
      await lease.stop()
      if (!ours) throw lost(number, 'another session has taken over')
      // Says the same as the commit point, so that the session stays closed when the snapshot is deleted one day. Deleting sees to it, too.
      await put({closed: 'committed'}).catch(() => undefined)
    },
    async giveUp(because) {
      await lease.stop()
      if ((await bury(context, number, because)) === 'buried') await put({closed: 'given up'})
    },
  }
}

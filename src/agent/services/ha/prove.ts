/** What a session that has been there for long does not show of a primary: that a new one gets in, and that its disk takes writes and has room. */
import {budgets, type Evidence} from '../../../core/ha/diagnose.js'
import {DbaasError} from '../../../core/errors.js'
import type {NodeId} from '../../../core/ha/state.js'
import type {NodeReplication} from '../../../engines/replication.js'
import type {SubjectServers} from '../subject.js'
import {replicationOf, type Member} from './members.js'

/** One after the other: how many, and when the first was begun. */
interface Failures {
  readonly count: number
  readonly since: number
}

export type Proof = Pick<Evidence, 'failedConnects' | 'unservedMs' | 'failedWrites' | 'stalledMs' | 'fullMs' | 'roomy'>

const none: Failures = {count: 0, since: 0}
const onMore = ({count, since}: Failures, began: number): Failures => ({count: count + 1, since: count === 0 ? began : since})

/** A server that refuses is one that answers: it may have no place left, and a certificate that has expired is expired everywhere. */
const isSilence = (error: unknown): boolean => error instanceof DbaasError && error.code === 'DATABASE_UNAVAILABLE' && error.details?.['sqlstate'] === undefined

/** Of one server at a time, that of the primary. Its tries run beside the looks, which never wait for them. */
export function createProofs(servers: Pick<SubjectServers, 'admin'>, now: () => number = () => performance.now()) {
  /** Of which start of which node all of this is. */
  let of = ''
  let controller = new AbortController()
  let connects = none
  let writes = none
  let isTrying = false
  let triedAt = Number.NEGATIVE_INFINITY
  let flushed: bigint | null = null
  /** When the log last moved, or was last asked to. */
  let movedAt = 0
  let room = none
  let roomAskedAt = Number.NEGATIVE_INFINITY
  let roomy: readonly NodeId[] = []

  function begin(next: string): void {
    controller.abort()
    controller = new AbortController()
    of = next
    connects = none
    writes = none
    isTrying = false
    triedAt = Number.NEGATIVE_INFINITY
    flushed = null
    room = none
    roomAskedAt = Number.NEGATIVE_INFINITY
    roomy = []
  }

  async function resultOf(attempt: () => Promise<unknown>): Promise<'works' | 'refused' | 'silent'> {
    try {
      await attempt()
      return 'works'
    } catch (error) {
      return isSilence(error) ? 'silent' : 'refused'
    }
  }

  /** A write that hangs takes a session with it until the disk goes on: so few once it is known. */
  const writeAfterMs = (): number =>
    (writes.count === 0 ? budgets.quietLogMs : writes.count < budgets.stalledProbes ? budgets.probeEveryMs : budgets.holdMs / 2)

  const hasRoom = async ({subject: {engine, host}}: Member, signal: AbortSignal): Promise<boolean | undefined> =>
    replicationOf(engine).hasRoom(host, await servers.admin(), {timeoutMs: budgets.writeTimeoutMs, signal}).catch(() => undefined)

  /** Of the others only where it matters. No answer changes nothing. */
  async function askForRoom(primary: Member, others: readonly Member[], signal: AbortSignal): Promise<void> {
    const began = now()
    if (room.count === 0 && began - roomAskedAt < budgets.roomEveryMs) return
    roomAskedAt = began
    const has = await hasRoom(primary, signal)
    const answers = has === false ? await Promise.all(others.map((other) => hasRoom(other, signal))) : []
    if (signal.aborted || has === undefined) return
    room = has ? none : onMore(room, began)
    roomy = others.filter((_, i) => answers[i] === true).map(({id}) => id)
  }

  async function attempt(member: Member, others: readonly Member[], signal: AbortSignal): Promise<void> {
    const {engine, host} = member.subject
    const replication = replicationOf(engine)
    const admin = await servers.admin()
    const began = now()
    const entry = await resultOf(async () => {
      const session = await replication.probe(host, admin, {timeoutMs: budgets.connectTimeoutMs, signal})
      void session.close().catch(() => undefined)
    })
    if (signal.aborted) return
    connects = entry === 'silent' ? onMore(connects, began) : none
    if (entry === 'works') await askForRoom(member, others, signal)
    if (signal.aborted) return
    // a write proves nothing where no session is to be had; and it moves the log, so only one that does not move by itself is asked
    if (entry !== 'works' || now() - movedAt < writeAfterMs()) return
    const wrote = now()
    const result = await resultOf(() => replication.probeWrite(host, admin, {timeoutMs: budgets.writeTimeoutMs, signal}))
    if (signal.aborted) return
    if (result !== 'refused') writes = result === 'silent' ? onMore(writes, wrote) : none
    movedAt = now()
  }

  function tend(member: Member, seen: NodeReplication, others: readonly Member[]): void {
    const next = `${member.id} ${seen.startedAt}`
    if (next !== of) begin(next)
    if (flushed !== seen.flushed) {
      flushed = seen.flushed
      movedAt = now()
      writes = none
    }
    if (isTrying || now() - triedAt < budgets.connectEveryMs) return
    isTrying = true
    triedAt = now()
    const {signal} = controller
    void attempt(member, others, signal).catch(() => undefined).finally(() => {
      if (!signal.aborted) isTrying = false
    })
  }

  return {
    /** What has been found; and begins what is due. `seen`: what a primary has just said of itself; null: nothing. `runs`: its process does. */
    look(member: Member | undefined, seen: NodeReplication | null, runs: boolean, others: readonly Member[] = []): Proof {
      if (!member || member.busy || !runs) begin('')
      else if (seen?.role === 'primary') tend(member, seen, others)
      const at = now()
      return {
        failedConnects: connects.count, unservedMs: connects.count === 0 ? 0 : at - connects.since,
        failedWrites: writes.count, stalledMs: writes.count === 0 ? 0 : at - writes.since,
        fullMs: room.count === 0 ? 0 : at - room.since, roomy,
      }
    },
    close: () => begin(''),
  }
}

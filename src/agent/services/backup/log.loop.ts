/**
 * Follows the log of every instance that is protected and runs. A stream that breaks is opened again, later and later; a
 * server that shuts down in order is followed to its last byte; what was lost is said, and the line begins anew.
 */
import {setTimeout as pause} from 'node:timers/promises'
import type {LogRecord, LogState} from '../../../core/backup/backup.js'
import {graces} from '../../../core/backup/protection.js'
import {createSpells} from '../../../core/backup/spells.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {backoffMs} from '../../../core/workflow/backoff.js'
import type {LogStatus} from '../../../engines/backup.js'
import {holdOf} from '../subject.js'
import {backupOf, createBackupKind, serverOf, type BackupParts} from './parts.js'

const everyMs = 1000
/** What is live is written down so often, for the next agent. */
const keepMs = 15_000
const longestDelayMs = 5000
/** A server that shuts down sends its last bytes within so long, or they come with its next start. */
const drainMs = 10_000
/** What the server keeps for us is looked at so often: until it drops that, there is time to do something. */
const observeMs = 5000

export interface Followers {
  start(): void
  /** Looks at once, instead of at its next turn. */
  poke(): void
  /** The server of that instance was started: what broke while there was none is over, and it is asked at once. */
  started(instanceId: string): void
  /** What is true now of the log of that incarnation, newer than the store's. */
  live(incarnation: string): LogRecord | undefined
  /** After an orderly shutdown: resolves when the last of the log is archived, or cannot be for now. */
  drained(instanceId: string): Promise<void>
  /** Ends the stream, wherever it is. */
  end(instanceId: string): Promise<void>
  /** As `end`, of what is followed in that incarnation: an instance may have another by now. */
  endOf(incarnation: string): Promise<void>
  /** The agent ends; the servers keep the log for the next one. */
  stop(): Promise<void>
}

interface Follower {
  readonly incarnation: string
  readonly controller: AbortController
  /** No further attempt after this one. */
  last: boolean
  wake: () => void
  ended: Promise<void>
}

export function createFollowers(parts: BackupParts): Followers {
  const {context, archiver, repositories} = parts
  const {store, clock} = context
  const followers = new Map<string, Follower>()
  const live = new Map<string, LogRecord>()
  const written = new Map<string, number>()
  const observed = new Map<string, number>()
  const spells = createSpells(graces.logMs)
  /** Streams that broke, and have stored nothing since. */
  const ailing = new Set<string>()
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let looking: Promise<void> | undefined
  let again = false

  async function look(): Promise<void> {
    const {wanted, off, there} = await store.read('platform', async (tx) => {
      const enabled = new Map((await tx.policies.list()).map((p) => [p.instanceId, p.enabled]))
      const all = await tx.instances.list()
      const open = new Set((await tx.operations.open()).filter((o) => o.kind === createBackupKind).map((o) => o.instanceId))
      const serves = (i: InstanceRecord): boolean => ['running', 'degraded', 'maintenance'].includes(i.status) || (i.status === 'deleting' && open.has(i.id))
      const running = all.filter((i) => i.wanted === 'running' && serves(i))
      const held = new Set((await tx.logs.list()).filter((log) => log.state !== 'released').map((log) => log.id))
      return {
        wanted: running.filter((i) => enabled.get(i.id)), off: running.filter((i) => enabled.get(i.id) === false && held.has(i.incarnation)),
        // one that is being stopped is followed to its last byte
        there: new Set(all.filter((i) => enabled.get(i.id)).map((i) => i.incarnation)),
      }
    })
    for (const follower of followers.values()) {
      if (!there.has(follower.incarnation)) follower.controller.abort(new DbaasError('OPERATION_CANCELLED', 'it is no longer followed'))
    }
    for (const instance of wanted) {
      if (!stopped && !followers.has(instance.id) && context.engines.get(instance.engine).backup) begin(instance)
    }
    for (const instance of wanted) {
      const {incarnation} = instance
      if (stopped || !live.has(incarnation) || performance.now() - (observed.get(incarnation) ?? Number.NEGATIVE_INFINITY) < observeMs) continue
      observed.set(incarnation, Number.POSITIVE_INFINITY)
      // a server that does not answer is for others to notice
      void observe(instance).catch(() => undefined).finally(() => observed.set(incarnation, performance.now()))
    }
    for (const instance of off) if (!stopped && !followers.has(instance.id)) await release(instance)
  }

  /** Warns while nothing is lost yet. */
  async function observe(instance: InstanceRecord): Promise<void> {
    const {engine, host} = await parts.load(instance.id)
    const hold = await backupOf(engine).log.observeHold(host, await parts.admin(), holdOf(instance.incarnation))
    const before = live.get(instance.incarnation)
    if (!before) return
    // nobody reads it now, so no stream ends by it: it is told at once, not when the repository works again
    if (hold.state === 'lost' && before.state !== 'following') return say(instance, 'gap', hold.because)
    const risk = hold.state === 'at-risk' ? hold.because : null
    live.set(instance.incarnation, {...before, risk})
    // the words change with every byte; that it is so is told once
    if ((before.risk ?? null) !== null || risk === null) return
    await store.transact('platform', (tx) => tx.event({
      id: context.newId('event'), tenantId: instance.tenantId, type: 'backup.log_at_risk', subject: instance.id,
      payload: {because: risk, held_bytes: hold.heldBytes, spare_bytes: hold.spareBytes}, at: clock.now(),
    }))
    context.log('a log may be lost soon', {instance: instance.id, because: risk})
  }

  /** Nobody reads it any more: a server that still kept it would fill its disk. */
  async function release(instance: InstanceRecord): Promise<void> {
    const {engine, host} = await parts.load(instance.id)
    await backupOf(engine).log.release(host, await parts.admin(), holdOf(instance.incarnation))
    await say(instance, 'released', 'backups are off')
  }

  function poke(): void {
    if (stopped) return
    if (looking) {
      again = true
      return
    }
    looking = look()
      .catch((error: unknown) => context.log('looking for logs to follow failed', {error: String(error)}))
      .finally(() => {
        looking = undefined
        if (again) {
          again = false
          poke()
        }
      })
  }

  function begin(instance: InstanceRecord): void {
    const follower: Follower = {incarnation: instance.incarnation, controller: new AbortController(), last: false, wake: () => undefined, ended: Promise.resolve()}
    followers.set(instance.id, follower)
    follower.ended = run(instance, follower)
      .catch((error: unknown) => context.log('following a log failed', {instance: instance.id, error: String(error)}))
      .finally(() => followers.delete(instance.id))
  }

  async function run(instance: InstanceRecord, follower: Follower): Promise<void> {
    const {signal} = follower.controller
    for (let attempt = 1; !signal.aborted; attempt++) {
      const began = performance.now()
      try {
        const end = await followOnce(instance, signal)
        if (end === 'asked') return
        if (end === 'shutdown') return
        // the line begins anew at once; what was written before the next backup is at risk
        if (end === 'gap' && attempt === 1) continue
      } catch (error) {
        const {message} = DbaasError.from(error)
        ailing.add(instance.incarnation)
        await say(instance, 'broken', message)
      }
      if (follower.last || signal.aborted) return
      if (performance.now() - began > 60_000) attempt = 1
      await Promise.race([pause(backoffMs(attempt, Math.random(), 200, longestDelayMs)), new Promise<void>((resolve) => (follower.wake = resolve))])
      if (follower.last) return
    }
  }

  async function followOnce(instance: InstanceRecord, signal: AbortSignal): Promise<'asked' | 'gap' | 'shutdown'> {
    const {incarnation} = instance
    const subject = await parts.load(instance.id)
    const {history, log} = await store.read('platform', async (tx) => ({history: await tx.histories.get(incarnation), log: await tx.logs.get(incarnation)}))
    if (!history) throw new DbaasError('INVALID_STATE', `${instance.name} has no history to archive`)
    // it was erased, or soon will be: nothing may come into it any more; and what serves now may be of another incarnation
    if (history.endedAt !== null || subject.instance.incarnation !== incarnation) return 'asked'
    if (!live.has(incarnation)) live.set(incarnation, log ?? newLog(instance))
    await parts.prepare(subject)
    const engineLog = backupOf(subject.engine).log
    // what takes its place knows nothing of what it has lost
    const held = await engineLog.observeHold(subject.host, await parts.admin(), holdOf(incarnation))
    if (held.state === 'lost') await say(instance, 'gap', held.because)
    await engineLog.hold(subject.host, await parts.admin(), holdOf(incarnation))
    const archive = await repositories.place(history.repository, incarnation)
    const server = await serverOf(parts, subject)
    const end = await repositories.through(history.repository, () => archiver.follow({
      archive, engine: instance.engine, server, hold: holdOf(incarnation), system: history.system, fresh: held.state === 'lost' || log?.state === 'gap',
    }, {signal, status: (status) => void noteStatus(instance, status, history.repository).catch((error: unknown) => context.log('noting a log failed', {error: String(error)}))}))
    if (end.kind === 'gap') await say(instance, 'gap', end.because)
    else if (end.kind === 'shutdown') await say(instance, 'ended', null)
    else await say(instance, 'waiting', 'the agent does not follow it')
    return end.kind
  }

  const newLog = (instance: InstanceRecord): LogRecord => ({
    id: instance.incarnation, tenantId: instance.tenantId, instanceId: instance.id, state: 'waiting', because: null, since: clock.now(), timeline: null,
    position: null, durableAt: null, lagBytes: null, lagSeconds: null, line: 1, updatedAt: clock.now(),
  })

  /** A few times a second: in memory, and now and then in the store. */
  async function noteStatus(instance: InstanceRecord, status: LogStatus, repository: string): Promise<void> {
    const {incarnation} = instance
    const before = live.get(incarnation) ?? newLog(instance)
    // what it stores says that the repository works again: a stream that goes on has no end that would
    if (before.position !== status.durable && ailing.delete(incarnation)) {
      void repositories.through(repository, async () => undefined).catch((error: unknown) => context.log('noting a repository failed', {error: String(error)}))
    }
    const now = clock.now()
    spells.ended(incarnation, now)
    const fresh: LogRecord = {
      ...before, timeline: status.timeline, position: status.durable, durableAt: status.durableAt ?? before.durableAt, lagBytes: status.lagBytes,
      lagSeconds: status.lagSeconds, updatedAt: now, ...(before.state === 'following' ? {} : {state: 'following', because: null, since: now}),
    }
    live.set(incarnation, fresh)
    if (before.state === 'following' && now - (written.get(incarnation) ?? 0) < keepMs) return
    written.set(incarnation, now)
    await store.transact('platform', (tx) => tx.logs.put(fresh))
  }

  async function say(instance: InstanceRecord, state: LogState, because: string | null): Promise<void> {
    const {incarnation} = instance
    const before = live.get(incarnation) ?? (await store.read('platform', (tx) => tx.logs.get(incarnation))) ?? newLog(instance)
    if (before.state === state && before.because === because) return
    // a gap is one until the log is followed again, whatever else goes wrong meanwhile
    if (before.state === 'gap' && (state === 'gap' || state === 'broken')) return
    const now = clock.now()
    // stored before the line begins anew: what was backed up before must never be thought to reach across
    const fresh: LogRecord = {
      ...before, state, because, updatedAt: now, ...(state === 'gap' ? {risk: null} : {}), line: before.line + (state === 'gap' ? 1 : 0), since: before.state === state ? before.since : state === 'broken' ? spells.began(incarnation, now) : now,
    }
    live.set(incarnation, fresh)
    written.set(incarnation, now)
    await store.transact('platform', async (tx) => {
      // the last of a deleted instance comes too late
      if ((await tx.histories.get(incarnation)) === undefined) return
      await tx.logs.put(fresh)
      if (state !== 'gap') return
      await tx.event({
        id: context.newId('event'), tenantId: instance.tenantId, type: 'backup.log_gap', subject: instance.id, payload: {because, line: fresh.line}, at: now,
      })
    })
    if (state === 'gap' || state === 'broken') context.log(state === 'gap' ? 'a log has a gap' : 'a log is not followed', {instance: instance.id, because})
  }

  async function begun(instanceId: string): Promise<void> {
    const instance = await store.read('platform', (tx) => tx.instances.find(instanceId))
    if (!instance) return
    const {incarnation} = instance
    const before = live.get(incarnation) ?? (await store.read('platform', (tx) => tx.logs.get(incarnation)))
    if (before?.state === 'broken' || before?.state === 'ended') {
      spells.forget(incarnation)
      await say(instance, 'waiting', 'its server was only now started')
    }
    followers.get(instanceId)?.wake()
    poke()
  }

  async function end(instanceId: string): Promise<void> {
    const follower = followers.get(instanceId)
    if (!follower) return
    follower.last = true
    follower.controller.abort(new DbaasError('OPERATION_CANCELLED', 'it is no longer followed'))
    follower.wake()
    await follower.ended
  }

  return {
    start() {
      timer = setInterval(poke, everyMs)
      timer.unref()
      poke()
    },
    poke,
    started(instanceId) {
      void begun(instanceId).catch((error: unknown) => context.log('noting a start failed', {instance: instanceId, error: String(error)}))
    },
    live: (incarnation) => live.get(incarnation),
    async drained(instanceId) {
      const follower = followers.get(instanceId)
      if (!follower) return
      follower.last = true
      follower.wake()
      const timeout = new Promise<'late'>((resolve) => setTimeout(() => resolve('late'), drainMs).unref())
      if ((await Promise.race([follower.ended, timeout])) === 'late') await end(instanceId)
    },
    end,
    async endOf(incarnation) {
      for (const [instanceId, follower] of followers) if (follower.incarnation === incarnation) await end(instanceId)
    },
    async stop() {
      stopped = true
      if (timer) clearInterval(timer)
      await looking
      await Promise.allSettled([...followers.keys()].map(end))
    },
  }
}

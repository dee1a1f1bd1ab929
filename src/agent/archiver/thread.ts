/** The archiver thread: takes calls, works on all of them at once. */
import {existsSync} from 'node:fs'
import {parentPort, workerData} from 'node:worker_threads'
import {isLogNeeded} from '../../core/backup/retention.js'
import {DbaasError} from '../../core/errors.js'
import type {EngineBackup} from '../../engines/backup.js'
import {findEngine} from '../../engines/index.js'
import {describeRepository} from '../repositories/index.js'
import {beginCopy, copyRepository, promoteCopy} from '../repositories/vault/copy.js'
import {incarnations, openRepository, removeIncarnation} from '../repositories/vault/index.js'
import {destroyDataKey, rewrapDataKey} from '../repositories/vault/keys.js'
import type {LogEnd} from '../repositories/vault/log.js'
import {createPool} from '../repositories/vault/pool.js'
import type {ArchivePlace, LogPosition, RepositoryPlace} from './archiver.js'
import {createArchives} from './archives.js'
import {follow} from './follow.js'
import {logArchiveOf} from './log-archive.js'
import type {Answer, CallName, Calls, FromThread, ThreadData, ToThread} from './protocol.js'
import {restoreFiles} from './restore.js'
import {find, list, removeUnknown, take} from './take.js'
import {createTurns, createUses} from './turns.js'

interface Call {
  readonly controller: AbortController
  readonly event: (event: unknown) => void
  bytesPerSecond: number | null
}

const data = workerData as ThreadData
const pool = createPool(data.threads)
const ending = new AbortController()
const archives = createArchives(data, pool, ending.signal)
const calls = new Map<number, Call>()
/** Base backups at once: more would only take the disk from each other and from the servers. */
const turns = createTurns(2)
/** One at a time of an incarnation: the next one would take over the session of a copy that is only on its way out. */
const turnsOf = new Map<string, ReturnType<typeof createTurns>>()

function turnsOfIncarnation({incarnation}: ArchivePlace): ReturnType<typeof createTurns> {
  const own = turnsOf.get(incarnation) ?? createTurns(1)
  turnsOf.set(incarnation, own)
  return own
}

const uses = createUses()

/** What a call works on, if that is an incarnation: here, as it may be in two repositories on its way from one to the other. */
function subjectOf(name: CallName, [first]: readonly unknown[]): string | undefined {
  if (name === 'rewrap') return undefined
  const asked = first as {readonly archive?: ArchivePlace} & Partial<ArchivePlace>
  const {incarnation, repository} = asked.archive ?? asked
  return incarnation && repository && `${repository.kind} ${repository.location} ${incarnation}`
}

function backupOf(name: string): EngineBackup {
  const {backup, title} = findEngine(name)
  if (!backup) throw new DbaasError('NOT_SUPPORTED', `${title} cannot be backed up yet`, {details: {engine: name}})
  return backup
}

function positionOf(engine: EngineBackup, end: Pick<LogEnd, 'timeline' | 'segment' | 'offset' | 'mark'> | null): LogPosition | null {
  return end && {timeline: end.timeline, position: engine.log.positionOf(end.segment, end.offset), at: end.mark?.at ?? null}
}

/** The default one is made by the first backup: of an engine without any there is nothing to erase. */
const wasNeverMade = ({id, kind, location}: RepositoryPlace): boolean => id === null && kind === 'directory' && !existsSync(location)

const methods: {[Name in CallName]: (call: Call, ...args: Calls[Name]) => Promise<Answer<Name>>} = {
  describe: (_, asked) => describeRepository(asked),
  prepare: async (_, place) => ({id: await openRepository(await archives.hurried(place), place.access, place.id)}),
  beginCopy: async (_, from, to) => ({id: await beginCopy(await archives.hurried(from), await archives.hurried(to))}),
  async copy(_, from, to) {
    const {objects, bytes, removed, damages} = await copyRepository(await archives.store(from), await archives.store(to), {
      pool, mayBegin: false, removeGone: true, checkThere: false,
    })
    return {objects, bytes, removed, damages}
  },
  promote: async (_, place) => promoteCopy(await archives.store(place)),
  incarnations: async (_, place) => (wasNeverMade(place) ? [] : incarnations(await archives.opened(place))),
  list: async (_, archive) => list(await archives.vault(archive), backupOf),
  find: async (_, archive, backupId) => find(await archives.vault(archive, true), backupOf, backupId),
  take: (call, order) => turnsOfIncarnation(order.archive)(call.controller.signal, () => turns(call.controller.signal, async () => {
    const vault = await archives.vault(order.archive, true)
    // whoever asked twice gets what the first one took
    return (await find(vault, backupOf, order.about.backupId)) ?? take(vault, backupOf(order.engine), order, {
      progress: (received, total) => call.event({received, total}), limit: () => call.bytesPerSecond, signal: call.controller.signal,
    })
  })),
  async verify(_, archive, snapshot) {
    const {at, packs, pages, bytes, damages} = await (await archives.vault(archive)).verify(snapshot)
    return {at, packs, pages, bytes, damages}
  },
  remove: async (_, archive, snapshot) => (await archives.vault(archive)).delete(snapshot),
  async collect(_, archive, log, known) {
    const vault = await archives.vault(archive)
    if (known) await removeUnknown(vault, known)
    const segments = await vault.log.prune((segment) => isLogNeeded({log}, segment))
    const {packs, bytes} = await vault.collect()
    return {packs, bytes, segments}
  },
  logEnd: async (_, archive, engine) => positionOf(backupOf(engine), await (await archives.vault(archive, true)).log.end()),
  async checkLog(_, archive, engine, from) {
    const {until, bytes, damages} = await (await archives.vault(archive)).log.check(from)
    return {until: positionOf(backupOf(engine), until), bytes, damages}
  },
  follow: async (call, order) => follow(await archives.vault(order.archive, true), backupOf(order.engine), order, {
    status: call.event, signal: call.controller.signal, log: () => undefined,
  }),
  async plan(_, {archive, engine, backups, target, completeUntil}) {
    const log = logArchiveOf(await archives.vault(archive), completeUntil)
    for (let attempt = 1; ; attempt++) {
      try {
        return await backupOf(engine).recovery.plan(backups, log, target)
      } catch (error) {
        // a segment that no backup needs any more was pruned after it was listed
        if (attempt === 3 || !(error instanceof DbaasError && error.code === 'BACKUP_NOT_FOUND')) throw error
      }
    }
  },
  missing: async (_, archive, snapshot) => (await archives.vault(archive)).missing(snapshot),
  restore: async (call, order) => {
    let told = 0
    return restoreFiles(await archives.vault(order.archive), backupOf(order.engine), order, {
      progress(bytes, total) {
        if (performance.now() - told < 100) return
        told = performance.now()
        call.event({bytes, total})
      },
      signal: call.controller.signal,
    })
  },
  logSegment: async (_, archive, timeline, segment) => logArchiveOf(await archives.vault(archive), null).read(timeline, segment),
  logHistory: async (_, archive, timeline) => (await (await archives.vault(archive)).log.history(timeline)) ?? null,
  async shred(_, archive) {
    archives.forget(archive)
    if (wasNeverMade(archive.repository)) return
    await destroyDataKey(await archives.opened(archive.repository), archive.incarnation)
  },
  async erase(_, archive) {
    archives.forget(archive)
    if (wasNeverMade(archive.repository)) return 0
    return removeIncarnation(await archives.opened(archive.repository), archive.incarnation)
  },
  async rewrap(_, archive, from, to) {
    const id = await archives.prepare(archive.repository)
    return rewrapDataKey(await archives.store(archive.repository), id, archive.incarnation, archives.keyOf(from), archives.keyOf(to))
  },
}

const port = parentPort
if (port) {
  const say = (message: FromThread): void => port.postMessage(message)
  port.on('message', (message: ToThread) => {
    if (message.kind === 'end-programs') return ending.abort()
    const {id} = message
    if (message.kind === 'stop') return calls.get(id)?.controller.abort(new DbaasError('OPERATION_CANCELLED', message.because))
    if (message.kind === 'limit') {
      const limited = calls.get(id)
      if (limited) limited.bytesPerSecond = message.bytesPerSecond
      return undefined
    }
    const {name, args} = message
    const call: Call = {
      controller: new AbortController(), event: (event) => say({kind: 'event', id, event}),
      bytesPerSecond: name === 'take' ? (args as Calls['take'])[1] : null,
    }
    calls.set(id, call)
    const work = methods[name] as (call: Call, ...args: unknown[]) => Promise<unknown>
    const run = async () => work(call, ...args)
    const subject = subjectOf(name, args)
    const inTurn = (): Promise<unknown> => {
      if (subject === undefined) return run()
      if (name === 'shred' || name === 'erase') return uses.remove(subject, new DbaasError('BACKUP_NOT_FOUND', 'its backups are being erased'), run)
      return uses.use(subject, call.controller, run)
    }
    void inTurn().then(
      (answer) => say({kind: 'answer', id, answer}),
      (error: unknown) => say({kind: 'failed', id, error: DbaasError.from(error).toDetail()}),
    ).finally(() => calls.delete(id))
    return undefined
  })
}

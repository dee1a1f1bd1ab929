/** Receives a base backup: one session, from the connection to the manifest. Runs in a thread of its own. */
import {DbaasError} from '../../../core/errors.js'
import type {BackupDamage, BaseBackup, BaseBackupMethod} from '../../backup.js'
import {commandError, isServerError, sqlstateOf} from '../errors.js'
import {can} from '../versions.js'
import {baseBackupCommand, readBaseBackup} from './base-backup-command.js'
import type {ReceiveOrder, ReceiverEvent} from './events.js'
import {roomBytes, rooms} from './events.js'
import {createFiles} from './files.js'
import {formatLsn, parseLsn, timelineName} from './lsn.js'
import {offeredManifest} from './manifest.js'
import {serverTime} from './replication-messages.js'
import {openSession, type Session} from './session.js'
import {createTarReader, type TarReader} from './tar.js'
import {createThrottle} from './throttle.js'

export interface Receiver {
  readonly ended: Promise<void>
  /** A room came back. */
  room(room: ArrayBuffer): void
  limit(bytesPerSecond: number | null): void
  stop(): void
}

/** What a server says about a page, at most five times a file (src/backend/backup/basebackup.c). */
const damage = /^checksum verification failed in file "(?:\.\/)?([^"]+)", block (\d+): (.*)$/
const furtherDamage = /^further checksum verification failures in file "(?:\.\/)?([^"]+)" will not be reported/
/** data_corrupted: at the very end, when all was sent. */
const corrupted = 'XX001'

/** A server that was sending, and sends nothing for so long, hangs. */
const silenceMs = 60_000

export function receive(order: ReceiveOrder, emit: (event: ReceiverEvent, transfer?: ArrayBuffer) => void): Receiver {
  let session: Session | undefined
  let stopped = false
  const free: ArrayBuffer[] = []
  let under = 0
  const throttle = createThrottle({pause: () => session?.pause(), resume: () => session?.resume()}, order.bytesPerSecond)
  const damages: BackupDamage[] = []

  const output = {
    emit: (event: ReceiverEvent) => {
      if (event.kind !== 'bytes') return emit(event)
      under++
      throttle.full(under >= rooms)
      return emit(event, event.room)
    },
    room: () => free.pop() ?? new ArrayBuffer(roomBytes),
  }

  async function run(): Promise<void> {
    session = await openSession(order.server, 'dbaas backup')
    try {
      if (stopped) throw new DbaasError('INTERNAL', 'stopped')
      session.onNotice(({message}) => {
        const page = damage.exec(message)
        const further = furtherDamage.exec(message)
        if (page) damages.push({path: page[1] as string, page: Number(page[2]), because: page[3] as string})
        else if (further) damages.push({path: further[1] as string, page: -1, because: 'more of its pages are damaged'})
      })
      const system = (await session.rows('IDENTIFY_SYSTEM'))[0]?.['systemid'] as string
      const because = whyNotChanges(order, system, await isSummarizing(session, order.server.version)) ?? (await offerPrevious(session, order))
      const method: BaseBackupMethod = because === undefined
        ? {kind: 'changes', because: `what changed since ${order.previous?.end}`}
        : {kind: 'whole', because}
      const backup = await take(session, method, system).catch((error: unknown) => {
        // The server judges what it was offered when it begins, before it sends anything.
        if (method.kind === 'whole' || !isServerError(error) || begun) throw error
        return take(session as Session, {kind: 'whole', because: `the server cannot send changes alone: ${error.message}`}, system)
      })
      emit({kind: 'done', backup})
    } catch (error) {
      throw isServerError(error) ? commandError(error, session.where) : error
    } finally {
      throttle.stop()
      await session.close()
    }
  }

  let begun = false

  async function take(from: Session, method: BaseBackupMethod, system: string): Promise<BaseBackup> {
    const files = createFiles(output)
    const manifest: Buffer[] = []
    let reader: TarReader | undefined
    let received = 0
    let total = 0
    let reported = 0
    let heard = performance.now()
    let start: {lsn: string; timeline: string} | undefined
    let end: {lsn: string; timeline: string} | undefined
    const conversation = readBaseBackup(order.server.version, {
      start(place, totalBytes) {
        begun = true
        start = place
        total = totalBytes
        emit({kind: 'method', method})
      },
      archive(tablespace) {
        reader?.finish()
        reader = createTarReader(files.archive(tablespace === null ? '' : `pg_tblspc/${tablespace}/`))
      },
      manifest() {
        reader?.finish()
        reader = undefined
      },
      data(bytes) {
        heard = performance.now()
        received += bytes.length
        throttle.spend(bytes.length)
        if (reader) reader.push(bytes)
        else manifest.push(Buffer.from(bytes))
        if (received - reported < 4 * roomBytes) return
        reported = received
        emit({kind: 'progress', received, total: Math.max(total, received)})
      },
      done(place) {
        end = place
      },
    })
    const listening = setInterval(() => {
      if (throttle.isHolding || start === undefined) heard = performance.now()
      else if (performance.now() - heard > silenceMs) from.destroy(new DbaasError('DATABASE_UNAVAILABLE', `the server at ${from.where} sends nothing any more`, {suggestions: ['dbaas list']}))
    }, 1000)
    try {
      await from.converse(baseBackupCommand(order.server.version, {label: order.label, pace: order.pace, incremental: method.kind === 'changes'}), conversation)
    } catch (error) {
      if (sqlstateOf(error) !== corrupted || end === undefined) throw error
    } finally {
      clearInterval(listening)
    }
    if (start === undefined || end === undefined) throw new DbaasError('INTEGRITY_MISMATCH', 'the base backup ended without a position')
    const timeline = Number(start.timeline)
    if (end.timeline !== start.timeline) throw new DbaasError('DATABASE_UNAVAILABLE', 'the server changed its timeline during the base backup', {suggestions: ['dbaas backup NAME']})
    const {files: count, bytes} = files.finish(Buffer.concat(manifest))
    emit({kind: 'progress', received, total: received})
    return {
      version: order.server.version, system, timeline: timelineName(timeline), start: formatLsn(parseLsn(start.lsn)), end: formatLsn(parseLsn(end.lsn)),
      consistentAt: await serverTime(from, timeline, parseLsn(end.lsn)), method, files: count, bytes, receivedBytes: received, folders: files.folders, damages,
    }
  }

  return {
    ended: run(),
    room(room) {
      under--
      if (free.length < rooms) free.push(room)
      throttle.full(under >= rooms)
    },
    limit: throttle.limit,
    stop() {
      stopped = true
      const because = new DbaasError('INTERNAL', 'stopped')
      // it may wait for a checkpoint, and would look at the connection in minutes
      session?.cancel().then(() => session?.destroy(because), () => session?.destroy(because))
    },
  }
}

/** Why the server is not asked for changes alone, or undefined. */
function whyNotChanges({server, previous}: ReceiveOrder, system: string, isSummarized: boolean): string | undefined {
  if (!can(server.version, 'incremental-backup')) return `PostgreSQL ${server.version} cannot say which pages changed`
  if (previous === null) return 'there is no backup before it'
  if (previous.system !== system) return 'the backup before it is of other data'
  return isSummarized ? undefined : 'the server does not note which pages change (summarize_wal)'
}

const isSummarizing = async (session: Session, version: string): Promise<boolean> =>
  can(version, 'incremental-backup') && Object.values((await session.rows('SHOW summarize_wal'))[0] ?? {})[0] === 'on'

/** Hands the manifest of the backup before over. Says why the server does not take it. */
async function offerPrevious(session: Session, {previous}: ReceiveOrder): Promise<string | undefined> {
  try {
    const manifest = offeredManifest(Buffer.from(previous?.manifest ?? []))
    await session.converse('UPLOAD_MANIFEST', {
      copyIn() {
        for (let at = 0; at < manifest.length; at += 64 * 1024) session.send(manifest.subarray(at, at + 64 * 1024))
        session.endCopy()
      },
    })
    return undefined
  } catch (error) {
    if (isServerError(error)) return `the server does not take the list of the backup before: ${error.message}`
    if (error instanceof DbaasError && error.code === 'INTEGRITY_MISMATCH') return 'the list of the backup before cannot be read'
    throw error
  }
}

/**
 * A process that does the work of backups as the agent does it, and nothing else, so that its memory and its time can be
 * measured: the archiver with its threads, bundled as it is shipped. Ordered by messages of the benchmark.
 */
import {mkdir} from 'node:fs/promises'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import type {ArchivePlace, BackupOrder, LogOrder, TakenBackup} from '../src/agent/archiver/archiver.js'
import {createArchives} from '../src/agent/archiver/archives.js'
import {createArchiver} from '../src/agent/archiver/control.js'
import type {ThreadData} from '../src/agent/archiver/protocol.js'
import {createPool} from '../src/agent/repositories/vault/pool.js'
import type {BaseBackup, LogStatus} from '../src/engines/backup.js'
import {findEngine} from '../src/engines/index.js'
import {restoreInto} from './support-restore.js'

export type Order =
  | {readonly kind: 'take'; readonly order: BackupOrder; readonly bytesPerSecond: number | null}
  | {readonly kind: 'limit'; readonly bytesPerSecond: number | null}
  | {readonly kind: 'follow'; readonly order: LogOrder}
  | {readonly kind: 'restore'; readonly archive: ArchivePlace; readonly engine: string; readonly snapshot: number; readonly base: BaseBackup; readonly folder: string}
  | {readonly kind: 'end'}

export interface Used {
  readonly seconds: number
  readonly cpuSeconds: number
  /** The most that the process had since it began. */
  readonly peakRssBytes: number
}

export type Report =
  | {readonly kind: 'ready'}
  /** The first bytes of a backup have come. */
  | {readonly kind: 'flowing'}
  | {readonly kind: 'received'; readonly bytes: number}
  | {readonly kind: 'taken'; readonly taken: TakenBackup; readonly used: Used}
  | {readonly kind: 'restored'; readonly used: Used}
  | {readonly kind: 'status'; readonly status: LogStatus}
  | {readonly kind: 'ended'; readonly peakRssBytes: number}
  | {readonly kind: 'failed'; readonly because: string}

const say = (report: Report): void => void process.send?.(report)
const peakRssBytes = (): number => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024

async function used(work: () => Promise<unknown>): Promise<Used> {
  const [began, cpu] = [performance.now(), process.cpuUsage()]
  await work()
  const {user, system} = process.cpuUsage(cpu)
  return {seconds: (performance.now() - began) / 1000, cpuSeconds: (user + system) / 1e6, peakRssBytes: peakRssBytes()}
}

function start(data: ThreadData): void {
  const archiver = createArchiver(data)
  const following = new AbortController()
  const never = new AbortController().signal
  let limit: number | null = null

  async function restore({archive, engine, snapshot, base, folder}: Extract<Order, {kind: 'restore'}>): Promise<void> {
    const pool = createPool(data.threads)
    const {backup} = findEngine(engine)
    if (!backup) throw new Error(`${engine} has no backups`)
    try {
      const vault = await createArchives(data, pool).vault(archive)
      await mkdir(folder, {recursive: true, mode: 0o700})
      for (const {path, mode} of base.folders) await mkdir(join(folder, path), {recursive: true, mode})
      await restoreInto(vault, snapshot, folder, {
        place: ({path, attributes}) => backup.recovery.place(path, attributes),
        check({path}, offset, bytes) {
          const [damage] = backup.recovery.damagesIn(path, offset, bytes, base)
          if (damage) throw new Error(`${path}, page ${damage.page}: ${damage.because}`)
        },
      })
    } finally {
      await pool.close()
    }
  }

  async function obey(order: Order): Promise<void> {
    if (order.kind === 'limit') limit = order.bytesPerSecond
    else if (order.kind === 'take') {
      limit = order.bytesPerSecond
      await archiver.prepare(order.order.archive.repository)
      let taken: TakenBackup | undefined
      const usage = await used(async () => {
        let flows = false
        const progress = (received: number): void => {
          if (received > 0 && !flows) say({kind: 'flowing'})
          say({kind: 'received', bytes: received})
          flows ||= received > 0
        }
        taken = await archiver.take(order.order, {progress, limit: () => limit, signal: never})
      })
      say({kind: 'taken', taken: taken as TakenBackup, used: usage})
    } else if (order.kind === 'follow') {
      await archiver.prepare(order.order.archive.repository)
      await archiver.follow(order.order, {status: (status) => say({kind: 'status', status}), signal: following.signal})
    } else if (order.kind === 'restore') say({kind: 'restored', used: await used(() => restore(order))})
    else {
      following.abort()
      await archiver.close()
      say({kind: 'ended', peakRssBytes: peakRssBytes()})
      process.disconnect()
    }
  }
  process.on('message', (order: Order) => void obey(order).catch((error: unknown) => say({kind: 'failed', because: String((error as Error).stack ?? error)})))
  say({kind: 'ready'})
}

start(JSON.parse(process.argv[2] as string) as ThreadData)

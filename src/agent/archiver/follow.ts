/** The log of a server into the archive, slice by slice. */
import {setTimeout as pause} from 'node:timers/promises'
import type {EngineBackup, LogEnd, LogSlice, LogStatus} from '../../engines/backup.js'
import type {Vault} from '../repositories/vault/index.js'
import type {LogOrder} from './archiver.js'

/**
 * What a person could lose is what was committed within it (RPO). A folder takes it twice a second; a bucket is paid for by
 * the request, and every one takes its time: with it, five seconds are kept.
 */
const flushOf = (kind: string) => (kind === 'directory' ? {milliseconds: 500, bytes: 4 * 1024 ** 2} : {milliseconds: 3000, bytes: 8 * 1024 ** 2})
const statusMs = 200

export interface FollowProgress {
  readonly status: (status: LogStatus) => void
  readonly signal: AbortSignal
  readonly log: (message: string) => void
}

export async function follow(vault: Vault, engine: EngineBackup, order: LogOrder, {status, signal, log}: FollowProgress): Promise<LogEnd> {
  const {server, hold, system} = order
  const end = await vault.log.end()
  const compactor = createCompactor(vault, log)
  // segments that ended when nobody was there to put their slices together
  const {timeline, segment} = end ?? {timeline: '', segment: ''}
  compactor.all((other) => other.timeline !== timeline || other.segment !== segment)
  let told = 0
  let latest: LogStatus | undefined
  /** Why the line begins anew, as long as nothing of it is archived. */
  let fresh: string | undefined
  /** A line cannot begin within a segment that another has begun, nor before it. */
  const isTaken = (slice: LogSlice): boolean => end !== null && (slice.timeline < end.timeline || (slice.timeline === end.timeline && slice.segment <= end.segment))
  try {
    const from = order.fresh ? null : end
    return await engine.log.follow(server, {hold, system: from === null ? null : system, from, flush: flushOf(order.archive.repository.kind)}, {
      async append(slice) {
        fresh = slice.fresh ?? fresh
        if (fresh !== undefined && isTaken(slice)) return
        await vault.log.append(fresh === undefined || slice.fresh !== undefined ? slice : {...slice, fresh})
        fresh = undefined
        if (slice.final) compactor.one(slice.timeline, slice.segment)
      },
      putHistory: (timeline, content) => vault.log.putHistory(timeline, content),
      status(now) {
        latest = now
        if (performance.now() - told < statusMs) return
        told = performance.now()
        status(now)
      },
    }, signal)
  } finally {
    if (latest) status(latest)
    await compactor.done()
  }
}

/** Puts the slices of ended segments together, one segment after the other, behind the stream. A failure costs only room. */
function createCompactor(vault: Vault, log: (message: string) => void) {
  let queue: Promise<void> = Promise.resolve()
  let ended = false
  const compact = async (timeline: string, segment: string): Promise<void> => {
    if (ended) return
    await vault.log.compact(timeline, segment).catch((error: unknown) => log(`a segment of the log was not put together: ${String((error as Error).message)}`))
  }
  return {
    one(timeline: string, segment: string): void {
      queue = queue.then(() => compact(timeline, segment))
    },
    all(wanted: (segment: {timeline: string; segment: string}) => boolean): void {
      queue = queue.then(async () => {
        for await (const {timeline, segment, slices, whole} of vault.log.segments()) {
          if (ended) return
          if (!whole && slices.length > 0 && wanted({timeline, segment})) {
            await compact(timeline, segment)
            await pause(1)
          }
        }
      }).catch((error: unknown) => log(`segments of the log were not looked through: ${String((error as Error).message)}`))
    },
    /** What is queued can wait for the next one. */
    async done(): Promise<void> {
      ended = true
      await queue
    },
  }
}

/** One timeline of the log as it is streamed: received, sliced, made durable, acknowledged. */
import {DbaasError} from '../../../core/errors.js'
import type {LogRequest, LogSink} from '../../backup.js'
import {formatLsn, segmentName, timelineName} from './lsn.js'
import {createProgress} from './progress.js'
import {createServerMessages, standbyStatus} from './replication-messages.js'
import type {Session} from './session.js'
import {createSlices} from './slices.js'

export interface StreamOptions {
  readonly timeline: number
  readonly start: number
  readonly fresh: string | undefined
  /** Everything committed by then was in the archive before: milliseconds since 1970; 0 when nothing is known. */
  readonly at: number
  /** Nothing is written on a timeline that was left: its end says nothing of what was committed since. */
  readonly isCurrent: boolean
  /** The server had nothing more when it was asked. */
  readonly isCaughtUp: boolean
  readonly flush: LogRequest['flush']
  readonly sink: LogSink
  readonly signal: AbortSignal
}

/** How it ended, up to where all is durable. */
export interface Streamed {
  readonly kind: 'timeline' | 'asked' | 'shutdown' | 'stalled'
  readonly lsn: number
  readonly at: number
}

/** How often the server is asked for a sign of life, and so for its clock. */
const askMs = 500
/** A server that says nothing for so long hangs. */
const silenceMs = 30_000
/**
 * A sink that takes nothing for so long does not keep the connection: a server that drops what a reader holds waits for
 * that reader to end, and one that cannot get its last words out never ends (checkpoints stop; so does a shutdown).
 */
const stallMs = 10_000
/** A stream that has not come so far by then lags. */
const graceMs = 10_000
/** What may wait for the sink; then the server is held back. */
const waitingBytes = (flushBytes: number): number => Math.max(4 * 1024 * 1024, 2 * flushBytes)

const endsConnection = (kind: Streamed['kind'] | undefined): boolean => kind === 'shutdown' || kind === 'stalled'

/** Throws what the sink throws, the server's error, DATABASE_UNAVAILABLE. */
export async function streamTimeline(session: Session, command: string, options: StreamOptions): Promise<Streamed> {
  const {timeline, start, isCurrent, flush, sink, signal} = options
  const slices = createSlices(start)
  const progress = createProgress(options.isCaughtUp)
  const most = waitingBytes(flush.bytes)
  let durable = start
  let at = options.at
  /** The server has told where it is: until then only what an earlier stream knew is known, and that grows old while nobody listens. */
  let isKnown = false
  const knownBy = performance.now() + graceMs
  let fresh = options.fresh
  let open = false
  /**
   * The server has shown that it has what comes after `start`. Until then nothing is acknowledged: it takes a hold back to
   * whatever is (walsender.c, PhysicalConfirmReceivedLocation), also to log that it has removed, and the hold is lost by it.
   */
  let isServed = false
  /** The first sign of life may come before it has looked. */
  let signs = 0
  let paused = false
  let urgent = false
  let isAsked = false
  let heard = performance.now()
  let end: Streamed['kind'] | undefined
  let wake = (): void => {}

  function reply(ask: boolean): void {
    if (!open) return
    // One question at a time: two that arrive together are answered together, and the second answer is worth nothing.
    session.send(standbyStatus({received: slices.end, durable: isServed ? durable : null}, ask && !isAsked))
    isAsked ||= ask
  }
  function hold(): void {
    const pause = slices.waiting > (paused ? most / 2 : most)
    if (pause === paused) return
    paused = pause
    heard = performance.now()
    if (pause) session.pause()
    else session.resume()
  }
  function tell(): void {
    if (sink.status === undefined) return
    const now = progress.now()
    const durableAt = at === 0 ? null : at
    sink.status({
      timeline: timelineName(timeline), durable: formatLsn(durable), server: formatLsn(Math.max(progress.serverEnd, slices.end)), durableAt,
      lagBytes: Math.max(progress.serverEnd, slices.end) - durable,
      lagSeconds: durableAt === null || now === undefined || !(isKnown || performance.now() > knownBy) ? null : Math.max(0, now - durableAt) / 1000,
    })
  }
  function advance(to: number): void {
    isKnown ||= to > at
    at = Math.max(at, to)
  }
  function ending(kind: Streamed['kind']): void {
    end ??= kind
    wake()
  }

  const conversation = session.converse(command, {
    copyBoth() {
      open = true
      reply(true)
    },
    copyPart: createServerMessages({
      begin(message) {
        heard = performance.now()
        isServed ||= message.kind === 'log' || ++signs > 1
        if (message.kind === 'alive') isAsked = false
        else if (message.start !== slices.end && end !== 'asked') throw new DbaasError('INTEGRITY_MISMATCH', `the log goes on at ${formatLsn(message.start)}, and should at ${formatLsn(slices.end)}`)
      },
      data(bytes) {
        if (end !== 'asked') slices.push(bytes)
      },
      end(message) {
        if (end === 'asked') return
        if (isCurrent) progress.message(message, slices.end)
        if (isCurrent && slices.waiting === 0) advance(progress.completeAt(durable) ?? 0)
        if (message.replyNow) {
          reply(false)
          // it may be about to shut down, and waits for us to have all
          urgent = true
        }
        hold()
        tell()
        wake()
      },
    }),
    copyDone() {
      if (open && end !== 'asked') session.endCopy()
      open = false
      ending('timeline')
    },
    // Without the end of the copy before it: the server takes leave (walsender.c, WalSndDone).
    complete(tag) {
      if (open && tag.startsWith('COPY')) ending('shutdown')
    },
  })
  const answered = conversation.then(() => undefined, (error: unknown) => error)
  let failure: unknown
  void answered.then((error) => {
    failure = error
    open = false
    wake()
  })

  const isDue = (): boolean => end !== undefined || failure !== undefined || (urgent && slices.waiting > 0) || slices.hasEnd || slices.waiting >= flush.bytes || dueIn() <= 0
  const dueIn = (): number => (slices.since === undefined ? askMs : slices.since + flush.milliseconds - performance.now())
  async function untilDue(): Promise<void> {
    while (!isDue()) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(1, dueIn()))
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
  async function flushSlice(): Promise<boolean> {
    const slice = slices.take()
    if (slice === undefined) return false
    urgent = false
    const to = slice.from + slice.bytes.length
    const complete = Math.max(at, (isCurrent ? progress.completeAt(to) : undefined) ?? 0)
    await sink.append({
      timeline: timelineName(timeline), segment: segmentName(timeline, slice.from), start: slice.from - slice.segmentStart, bytes: slice.bytes, final: slice.isEnd,
      at: complete, ...(fresh === undefined ? {} : {fresh}),
    })
    fresh = undefined
    durable = to
    advance(complete)
    progress.forget(to)
    reply(false)
    hold()
    tell()
    return true
  }

  const asking = setInterval(() => {
    if (paused && end === undefined && performance.now() - heard > stallMs) {
      ending('stalled')
      return session.destroy(new Error('the sink takes nothing'))
    }
    if (!paused && open && performance.now() - heard > silenceMs) return session.destroy(new DbaasError('DATABASE_UNAVAILABLE', `the server at ${session.where} says nothing any more`, {suggestions: ['dbaas list']}))
    reply(true)
    return tell()
  }, askMs)
  const asked = (): void => ending('asked')
  signal.addEventListener('abort', asked)
  if (signal.aborted) asked()
  try {
    for (;;) {
      await untilDue()
      if (await flushSlice()) continue
      if (end === 'asked') break
      // all that came is durable; now it counts how the conversation ends
      if (failure !== undefined && !endsConnection(end)) throw failure
      if (end !== undefined) {
        await answered
        if (failure !== undefined && !endsConnection(end)) throw failure
        break
      }
    }
    if (end === 'asked') await farewell()
    return {kind: end as Streamed['kind'], lsn: durable, at}
  } catch (error) {
    session.destroy(error as Error)
    await answered
    throw error
  } finally {
    clearInterval(asking)
    signal.removeEventListener('abort', asked)
  }

  /** The last acknowledgement is on its way; the server may have much to say before it ends its copy, or nothing. */
  async function farewell(): Promise<void> {
    if (open) session.endCopy()
    session.resume()
    const timer = setTimeout(() => session.destroy(new Error('it is told to end')), 1000)
    await answered
    clearTimeout(timer)
  }
}

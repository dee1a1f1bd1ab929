/**
 * What is known to be complete. A message of the server says how much log it has, and the time at which it was sent; but a
 * commit may slip in between the two. How walsender.c goes about it (WalSndLoop):
 * - It looks how much is flushed, then sends what there is (`w`, with how much is flushed). So all that was flushed when the
 *   message before was sent, is in what this one says.
 * - A sign of life (`k`) says how much was sent, which is all there is only if it was caught up; and it looks again
 *   before the next one, unless it is interrupted in just that moment. So the message before the one before counts.
 */
import type {ServerMessage} from './replication-messages.js'

export interface Progress {
  /** A message came; `received`: the log is there up to here, with what came with it. */
  message(message: ServerMessage, received: number): void
  /** Everything committed by then lies before `end`: milliseconds since 1970, by the server's clock. */
  completeAt(end: number): number | undefined
  /** What lies before `end` is durable. */
  forget(end: number): void
  /** The server has so much, as far as it said. */
  readonly serverEnd: number
  /** The server's clock now, in milliseconds since 1970; undefined until it said something. */
  now(): number | undefined
}

/** `isCaughtUp`: there was nothing to be sent when the stream began. */
export function createProgress(isCaughtUp: boolean): Progress {
  /** Ascending in both. */
  const known: {end: number; at: number}[] = []
  let serverEnd = 0
  let caughtUp = isCaughtUp
  let previous: number | undefined
  let beforePrevious: number | undefined
  let last: {micros: number; arrived: number} | undefined

  return {
    message(message, received) {
      serverEnd = Math.max(serverEnd, message.end, received)
      if (message.kind === 'log') caughtUp = received >= message.end
      const since = message.kind === 'log' ? previous : beforePrevious
      if (since !== undefined && caughtUp && received >= message.end) {
        const newest = known.at(-1)
        const at = Math.max(Math.floor(since / 1000), newest?.at ?? 0)
        if (newest && newest.end >= message.end) newest.at = at
        else known.push({end: message.end, at})
      }
      beforePrevious = previous
      previous = message.micros
      last = {micros: message.micros, arrived: performance.now()}
    },
    completeAt: (end) => known.findLast((one) => one.end <= end)?.at,
    forget(end) {
      // the newest of what is durable stays, to be answered with
      const from = known.findLastIndex((one) => one.end <= end)
      if (from > 0) known.splice(0, from)
    },
    get serverEnd() {
      return serverEnd
    },
    now: () => last && last.micros / 1000 + performance.now() - last.arrived,
  }
}

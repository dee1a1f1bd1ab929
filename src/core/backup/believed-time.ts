/**
 * How late it is, as far as deleting for age is concerned. A clock that jumps years ahead makes everything look old; what
 * is deleted then is gone when somebody sets it right. So time that nobody saw pass counts only after the clock has gone on
 * for a while from there: a machine that slept, or was off, only deletes a little later. Deleting late does no harm.
 */

export interface BelievedTime {
  /** The latest that it is believed to be; milliseconds since the epoch, as all here. */
  readonly at: number
  /** The clock is ahead of that by more than was seen to pass, since then by its own account; null: it is not. */
  readonly doubtedSince: number | null
  /** What the clock said last. */
  readonly seenAt: number
}

/** So much may pass unseen between two looks. */
export const unseenMs = 3_600_000
/** Doubt lasts a tenth of the time that was jumped, an hour at least and a week at most. */
export const doubt = {part: 10, leastMs: 3_600_000, mostMs: 7 * 86_400_000} as const

/** The next state, at each look. When not in doubt, `at` is what the clock says, or a later time that it has said before. */
export function believe(before: BelievedTime | undefined, now: number): BelievedTime {
  if (before === undefined || now <= before.at + unseenMs) {
    // one that goes back was wrong before, or is wrong now: nothing becomes too old by it
    return {at: Math.max(now, before?.at ?? now), doubtedSince: null, seenAt: now}
  }
  // one that jumps again is believed no sooner
  const jumpsAgain = Math.abs(now - before.seenAt) > unseenMs
  const doubtedSince = before.doubtedSince === null || jumpsAgain ? now : before.doubtedSince
  if (now >= doubtedSince + doubtMs(doubtedSince - before.at)) return {at: now, doubtedSince: null, seenAt: now}
  return {at: before.at, doubtedSince, seenAt: now}
}

const doubtMs = (jumped: number): number => Math.min(doubt.mostMs, Math.max(doubt.leastMs, jumped / doubt.part))

/** When it will be believed, if it goes on; null: it is. */
export const believedFrom = ({at, doubtedSince}: BelievedTime): number | null => (doubtedSince === null ? null : doubtedSince + doubtMs(doubtedSince - at))

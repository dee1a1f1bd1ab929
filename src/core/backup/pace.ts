/**
 * How fast a backup may read, so that clients do not notice it: additive increase, multiplicative decrease (Chiu and Jain,
 * 1989), steered by the latency of a small probe. SPEC.md property 11: latency with a backup at most 1.5 times without.
 */
export interface Pace {
  /** Null: no limit. */
  readonly bytesPerSecond: number | null
  /** Of the probe without a backup, milliseconds. */
  readonly usualMs: number
  /** Probes that were slow, one after the other; and that were not. */
  readonly slow: number
  readonly calm: number
}

/** A backup that crawls never ends, and what it needs of the log piles up. */
const floor = 8 * 1024 ** 2
/** Clients are not to notice its first seconds either. */
const start = 16 * 1024 ** 2
const step = 8 * 1024 ** 2
/** Nothing reads faster; above it a limit is none. */
const ceiling = 1024 ** 3
const tolerated = 1.4
/** The noise of a probe of less than a millisecond is larger than itself. */
const noiseMs = 1
const calmProbes = 4

/** `before`: latencies of probes just before the backup began, milliseconds. */
export function beginPace(before: readonly number[]): Pace {
  const sorted = [...before].sort((a, b) => a - b)
  return {bytesPerSecond: start, usualMs: sorted[Math.floor(sorted.length / 2)] ?? 5, slow: 0, calm: 0}
}

/**
 * After each probe; null when it was not answered. `used`: bytes a second that the backup has read since the limit was last
 * changed. A limit that nobody reaches is not raised, or a backup that waits for a checkpoint first would begin without any.
 */
export function adaptPace(pace: Pace, probeMs: number | null, used: number): Pace {
  const isSlow = probeMs === null || probeMs > pace.usualMs * tolerated + noiseMs
  const now = pace.bytesPerSecond ?? ceiling
  if (isSlow) {
    // one slow answer may be a checkpoint of its own; two are ours
    if (pace.slow === 0 && probeMs !== null) return {...pace, slow: 1, calm: 0}
    return {...pace, bytesPerSecond: Math.max(floor, Math.floor(Math.min(now, Math.max(used, floor)) / 2)), slow: 0, calm: 0}
  }
  if (pace.calm + 1 < calmProbes || (pace.bytesPerSecond !== null && used < now / 2)) return {...pace, slow: 0, calm: pace.calm + 1}
  const faster = Math.max(now + step, Math.floor(now * 1.25))
  return {...pace, bytesPerSecond: faster >= ceiling ? null : faster, slow: 0, calm: 0}
}

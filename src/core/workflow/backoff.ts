/**
 * Exponential backoff with full jitter (M. Brooker, "Exponential Backoff and Jitter"): a delay drawn evenly from
 * [base/2, ceiling], where the ceiling doubles with each attempt. `random` is in [0, 1). Milliseconds.
 */
export function backoffMs(attempt: number, random: number, baseMs = 100, capMs = 10_000): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt - 1, 20))
  const floor = Math.min(baseMs / 2, ceiling)
  return Math.round(floor + random * (ceiling - floor))
}

/** Holds a socket back: for a rate, and for a receiver that is full. */
interface Held {
  pause(): void
  resume(): void
}

export interface Throttle {
  /** So many bytes have come. A rate of 0 lets nothing more come until it changes. */
  spend(bytes: number): void
  limit(bytesPerSecond: number | null): void
  /** While it is true nothing more shall come. */
  full(is: boolean): void
  readonly isHolding: boolean
  stop(): void
}

/** What an idle connection may catch up on: so much time of its rate. */
const burstMs = 100

export function createThrottle(held: Held, bytesPerSecond: number | null): Throttle {
  let rate = bytesPerSecond
  let paidUntil = performance.now()
  let timer: NodeJS.Timeout | undefined
  let isFull = false
  let paused = false

  const apply = (): void => {
    const pause = isFull || timer !== undefined
    if (pause === paused) return
    paused = pause
    if (pause) held.pause()
    else held.resume()
  }
  function wait(): void {
    const ahead = paidUntil - performance.now()
    if (timer !== undefined || rate === null || ahead < burstMs) return
    timer = setTimeout(() => {
      timer = undefined
      wait()
      apply()
    }, Math.min(ahead, 1000))
  }

  return {
    spend(bytes) {
      if (rate === null) return
      paidUntil = Math.max(paidUntil, performance.now() - burstMs) + (bytes / rate) * 1000
      wait()
      apply()
    },
    limit(next) {
      if (next === rate) return
      // A debt from a slow rate is not carried into a fast one; a rate of nothing has none.
      const owed = Math.max(0, paidUntil - performance.now())
      paidUntil = performance.now() + (rate === null || next === null || rate === 0 || next === 0 ? 0 : (owed * rate) / next)
      rate = next
      clearTimeout(timer)
      timer = undefined
      wait()
      apply()
    },
    full(is) {
      isFull = is
      apply()
    },
    get isHolding() {
      return paused
    },
    stop() {
      clearTimeout(timer)
      timer = undefined
    },
  }
}

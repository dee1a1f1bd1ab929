/**
 * Leases, of sessions and of sweeps. They say when it is polite to take over, and decide nothing: clocks of several
 * machines differ, are set back, and stand still while a machine sleeps.
 */
import type {Clock} from '../../../core/time.js'

/** Less than so many milliseconds ago, or from now: what is further ahead was written by a clock that was wrong. */
export const isRecent = (at: number, now: number, ms: number): boolean => Math.abs(now - at) < ms

export interface LeaseWatch {
  /** `expiresAt` (milliseconds since the epoch) is what the object of that name says now. */
  hasRunOut(name: string, expiresAt: number): boolean
}

/**
 * A lease has run out when its time has come by our clock, or when we have not seen it renewed for as long as a lease
 * holds: one that was written while a clock was years ahead would bar everybody else for years.
 */
export function watchLeases(clock: Clock, leaseMs: number): LeaseWatch {
  const seen = new Map<string, {readonly expiresAt: number; readonly since: number}>()
  return {
    hasRunOut(name, expiresAt) {
      if (expiresAt <= clock.now()) return true
      const before = seen.get(name)
      if (before?.expiresAt === expiresAt) return performance.now() - before.since > leaseMs
      seen.set(name, {expiresAt, since: performance.now()})
      if (seen.size > 100) seen.delete(seen.keys().next().value as string)
      return false
    },
  }
}

export interface RenewedLease {
  /** Whether less than so many milliseconds have passed since it was renewed. */
  heldFor(ms: number): boolean
  /** Whether it was ever not renewed in time: then somebody may have seen that it had run out, though it is renewed now. */
  hasLapsed(): boolean
  stop(): Promise<void>
}

/** Keeps a lease renewed until it is stopped. `renew` throws to say that it failed. */
export function keepRenewed(clock: Clock, leaseMs: number, renew: () => Promise<void>): RenewedLease {
  let renewed = {steady: performance.now(), wall: clock.now()}
  let stopped = false
  let lapsed = false
  let running: Promise<void> = Promise.resolve()
  const timer = setInterval(() => {
    running = running.then(async () => {
      if (stopped) return
      const at = {steady: performance.now(), wall: clock.now()}
      await renew().then(() => {
        lapsed ||= !heldFor(leaseMs)
        renewed = at
      }, () => undefined)
    })
  }, leaseMs / 3)
  timer.unref()
  // Two clocks: one that no one sets, but that stands still while the machine sleeps, and one that goes on meanwhile.
  const heldFor = (ms: number) => performance.now() - renewed.steady < ms && clock.now() - renewed.wall < ms
  return {
    heldFor,
    hasLapsed: () => lapsed,
    async stop() {
      stopped = true
      clearInterval(timer)
      await running
    },
  }
}

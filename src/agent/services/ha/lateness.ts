/** Whether the agent itself was awake: a timer of its own, and how much too late it came. */
const everyMs = 50
const rememberMs = 10_000

export function createLateness() {
  let late: {at: number; ms: number}[] = []
  let due = performance.now() + everyMs
  const timer = setInterval(() => {
    const now = performance.now()
    late = [...late.filter(({at}) => now - at < rememberMs), ...(now - due > everyMs ? [{at: now, ms: now - due}] : [])]
    due = now + everyMs
  }, everyMs)
  timer.unref()
  return {
    /** The worst since then, by the clock that never jumps; in milliseconds. */
    since(begin: number): number {
      const now = performance.now()
      return Math.max(0, now - due, ...late.filter(({at}) => at >= begin).map(({ms}) => ms))
    },
    stop: () => clearInterval(timer),
  }
}

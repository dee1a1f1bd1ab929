/** Whether the agent itself was awake: a timer of its own, and how much too late it came. */
const everyMs = 50

export function createLateness() {
  let worst = 0
  let due = performance.now() + everyMs
  const timer = setInterval(() => {
    const now = performance.now()
    worst = Math.max(worst, now - due)
    due = now + everyMs
  }, everyMs)
  timer.unref()
  return {
    /** The worst of the last moments, in milliseconds. */
    take(): number {
      const late = Math.max(worst, performance.now() - due)
      worst = 0
      return Math.max(0, late)
    },
    stop: () => clearInterval(timer),
  }
}

/** Work that is done again and again in the background. */
export interface Rounds {
  /** Never overlapping, jittered, and a failure is logged once until it changes. Milliseconds between an end and the next begin. */
  every(name: string, ms: number, work: () => Promise<void>): void
  /** No more begin; waits for those that run. */
  stop(): Promise<void>
}

export function createRounds(log: (message: string, facts?: Record<string, unknown>) => void): Rounds & {stopping(): void} {
  let stopped = false
  const timers = new Set<NodeJS.Timeout>()
  const active = new Set<Promise<void>>()

  function every(name: string, ms: number, work: () => Promise<void>): void {
    let lastFailure = ''
    const again = (): void => {
      if (stopped) return
      const timer = setTimeout(() => {
        timers.delete(timer)
        const run = work().then(
          () => void (lastFailure = ''),
          (error: unknown) => {
            const message = error instanceof Error ? error.message : String(error)
            if (message !== lastFailure) log(`${name} failed`, {error: message})
            lastFailure = message
          },
        ).finally(() => {
          active.delete(run)
          again()
        })
        active.add(run)
      }, ms * (0.9 + 0.2 * Math.random()))
      timer.unref()
      timers.add(timer)
    }
    again()
  }

  const stopping = (): void => {
    stopped = true
    for (const timer of timers) clearTimeout(timer)
  }
  return {
    every,
    stopping,
    async stop() {
      stopping()
      await Promise.allSettled(active)
    },
  }
}

/** Work under way: so much at once, and who would start more waits. */
export interface Gate {
  /** Waits until there is room for one more. Throws the first error of what was started. */
  ready(): Promise<void>
  start(work: () => Promise<void>): void
  /** Waits for all. Throws the first error. */
  done(): Promise<void>
}

export function createGate(limit: number): Gate {
  const running = new Set<Promise<void>>()
  const failed: unknown[] = []
  const check = () => {
    if (failed.length > 0) throw failed[0]
  }
  return {
    async ready() {
      check()
      while (running.size >= limit) await Promise.race(running)
      check()
    },
    start(work) {
      const task = work()
        .catch((error: unknown) => void failed.push(error))
        .finally(() => running.delete(task))
      running.add(task)
    },
    async done() {
      while (running.size > 0) await Promise.all(running)
      check()
    },
  }
}

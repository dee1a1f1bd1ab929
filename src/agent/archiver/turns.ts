/** Who may work when: so many at a time, and who removes something alone. */

/** So many at a time; the others wait, unless their signal comes first. */
export function createTurns(limit: number) {
  let taken = 0
  const waiting: (() => void)[] = []
  return async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
    while (taken >= limit) {
      signal.throwIfAborted()
      await new Promise<void>((resolve) => {
        waiting.push(resolve)
        // one that has gone must not be given a turn that another waits for
        signal.addEventListener('abort', () => {
          const at = waiting.indexOf(resolve)
          if (at >= 0) waiting.splice(at, 1)
          resolve()
        }, {once: true})
      })
    }
    signal.throwIfAborted()
    taken++
    try {
      return await work()
    } finally {
      taken--
      waiting.shift()?.()
    }
  }
}

export interface Uses {
  /** Beside others that use it; not while it is removed. */
  use<T>(name: string, controller: AbortController, work: () => Promise<T>): Promise<T>
  /** Alone: who uses it is told to end by `reason`, and has ended when `work` begins. */
  remove<T>(name: string, reason: Error, work: () => Promise<T>): Promise<T>
}

/**
 * Whoever asked for the end of something does not always wait until it came (a disk may hang): what is on its way out still
 * writes, and would write into what was removed meanwhile.
 */
export function createUses(): Uses {
  const users = new Map<string, Map<AbortController, Promise<unknown>>>()
  const removals = new Map<string, Promise<unknown>>()

  return {
    async use(name, controller, work) {
      for (let removal = removals.get(name); removal; removal = removals.get(name)) await removal
      controller.signal.throwIfAborted()
      const own = users.get(name) ?? new Map<AbortController, Promise<unknown>>()
      users.set(name, own)
      const running = work()
      own.set(controller, running.catch(() => undefined))
      try {
        return await running
      } finally {
        own.delete(controller)
        if (own.size === 0) users.delete(name)
      }
    },
    async remove(name, reason, work) {
      const before = removals.get(name)
      const removal = (async () => {
        await before
        const own = users.get(name) ?? new Map<AbortController, Promise<unknown>>()
        for (const controller of own.keys()) controller.abort(reason)
        await Promise.all(own.values())
        return work()
      })()
      const settled = removal.catch(() => undefined)
      removals.set(name, settled)
      try {
        return await removal
      } finally {
        if (removals.get(name) === settled) removals.delete(name)
      }
    },
  }
}

/** So many at once; who comes later waits in line. */
export interface Slots {
  take(): Promise<void>
  give(): void
}

export function createSlots(limit: number): Slots {
  let free = limit
  const line: (() => void)[] = []
  return {
    take() {
      if (free > 0) {
        free--
        return Promise.resolve()
      }
      return new Promise((go) => line.push(go))
    },
    give() {
      const next = line.shift()
      if (next) next()
      else free++
    },
  }
}

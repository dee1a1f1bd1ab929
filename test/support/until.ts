import {setTimeout as pause} from 'node:timers/promises'

/** Looks again and again until there is something to see, and returns it. Throws when `seconds` have passed. */
export async function until<T>(what: string, look: () => Promise<T | undefined | false>, seconds = 60): Promise<T> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(100)) {
    const found = await look()
    if (found !== undefined && found !== false) return found
  }
  throw new Error(`${what} did not come within ${seconds} s`)
}

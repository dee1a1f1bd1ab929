/** Long work on the agent's own thread: in turns of a few milliseconds, so that its health checks and clients do not wait. */
import {setImmediate} from 'node:timers/promises'

export interface Turns {
  readonly isOver: boolean
  /** Lets others have theirs. */
  next(): Promise<void>
}

export function takeTurns(milliseconds = 5): Turns {
  let began = performance.now()
  return {
    get isOver() {
      return performance.now() - began >= milliseconds
    },
    async next() {
      await setImmediate()
      began = performance.now()
    },
  }
}

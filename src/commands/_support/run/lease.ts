import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from '../../../agent/client/client.js'
import {DbaasError} from '../../../core/errors.js'

const firstPauseMs = 50
const longestPauseMs = 500

export interface Lease {
  /** Lets go. */
  release(): void
}

/**
 * Holds a leased instance: its stream is open, and opened again whenever it ends or the agent is away, until it is let
 * go. `onGone` is told when somebody deleted the instance.
 */
export function holdLease(client: Client, instanceId: string, onGone: () => void): Lease {
  const controller = new AbortController()
  const {signal} = controller
  const hold = async (): Promise<void> => {
    let pauseMs = firstPauseMs
    while (!signal.aborted) {
      try {
        for await (const _ of client.stream('instances.lease', {params: {instance: instanceId}, signal})) pauseMs = firstPauseMs
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof DbaasError && error.code === 'INSTANCE_NOT_FOUND') return onGone()
      }
      await sleep(pauseMs, undefined, {signal}).catch(() => undefined)
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }
  void hold()
  return {release: () => controller.abort()}
}

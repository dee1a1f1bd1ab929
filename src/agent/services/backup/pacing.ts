/** Steers a running backup by the latency of a small question to its server. */
import {setTimeout as pause} from 'node:timers/promises'
import {adaptPace, beginPace, type Pace} from '../../../core/backup/pace.js'
import type {AdminCredentials} from '../../../engines/engine.js'
import type {BackupSubject} from './parts.js'

const everyMs = 250
const before = 5

export interface Pacing {
  readonly limit: () => number | null
  readonly pace: () => Pace
  stop(): Promise<void>
}

export async function steer({engine, host}: Pick<BackupSubject, 'engine' | 'host'>, admin: AdminCredentials): Promise<Pacing> {
  /** Milliseconds; null when it was not answered. */
  async function probe(): Promise<number | null> {
    const began = performance.now()
    const not = await engine.lifecycle.whyNotReady(host, admin).catch((error: unknown) => String(error))
    return not === undefined ? performance.now() - began : null
  }
  const usual: number[] = []
  for (let i = 0; i < before; i++) {
    const ms = await probe()
    if (ms !== null) usual.push(ms)
  }
  let pace = beginPace(usual)
  let stopped = false
  const running = (async () => {
    for (; !stopped; ) {
      await pause(everyMs)
      if (!stopped) pace = adaptPace(pace, await probe())
    }
  })()
  return {
    limit: () => pace.bytesPerSecond,
    pace: () => pace,
    async stop() {
      stopped = true
      await running
    },
  }
}

/** Steers a running backup by the latency of small questions to its server. */
import {setTimeout as pause} from 'node:timers/promises'
import {adaptPace, beginPace} from '../../../core/backup/pace.js'
import type {Asker} from '../../../engines/backup.js'
import type {AdminCredentials} from '../../../engines/engine.js'
import type {BackupSubject} from './parts.js'

const everyMs = 25
/** Before it begins somebody waits for it. */
const hurriedMs = 5
/** One probe is the second slowest of so many: what a backup does to clients shows in their slow answers first. */
const questions = 10
const before = 6
/** An answer that takes longer is none. */
const patienceMs = 2000

export interface Pacing {
  readonly limit: () => number | null
  /** So many bytes have come by now. */
  received(bytes: number): void
  stop(): Promise<void>
}

export async function steer({engine, host}: Pick<BackupSubject, 'engine' | 'host'>, admin: AdminCredentials): Promise<Pacing> {
  let asker: Asker | undefined

  /** Milliseconds; null when it was not answered. */
  async function once(): Promise<number | null> {
    try {
      asker ??= await engine.backup?.asker(host, admin)
      const began = performance.now()
      const answered = await Promise.race([asker?.ask().then(() => true), pause(patienceMs, false, {ref: false})])
      if (answered) return performance.now() - began
    } catch {
      // the session has ended: the next question makes another
    }
    void asker?.close()
    asker = undefined
    return null
  }

  async function probe(pauseMs: number): Promise<number | null> {
    const found: number[] = []
    for (let i = 0; i < questions; i++) {
      const ms = await once()
      if (ms === null) return null
      found.push(ms)
      await pause(pauseMs)
    }
    return found.sort((a, b) => b - a)[1] as number
  }

  const usual: number[] = []
  for (let i = 0; i < before; i++) {
    const ms = await probe(hurriedMs)
    if (ms !== null) usual.push(ms)
  }
  let pace = beginPace(usual)
  let stopped = false
  let received = 0
  /** When the limit was last changed. */
  let since = {at: performance.now(), received}
  const running = (async () => {
    while (!stopped) {
      const ms = await probe(everyMs)
      const before = pace.bytesPerSecond
      if (!stopped) pace = adaptPace(pace, ms, ((received - since.received) / Math.max(1, performance.now() - since.at)) * 1000)
      if (pace.bytesPerSecond !== before) since = {at: performance.now(), received}
      if (ms === null) await pause(everyMs * questions)
    }
    await asker?.close()
  })()
  return {
    limit: () => pace.bytesPerSecond,
    received: (bytes) => void (received = bytes),
    async stop() {
      stopped = true
      await running
    },
  }
}

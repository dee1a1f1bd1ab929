/** An application that writes: one row after the other through the endpoint, connecting anew whenever it has to. */
import {setTimeout as pause} from 'node:timers/promises'
import {connectTo, type TestClient} from './clients.js'
import type {Site} from './site.js'

export interface Writer {
  /** Numbers whose insert was acknowledged, in order. */
  readonly acknowledged: readonly number[]
  /** Every insert, in order, in milliseconds; one without an acknowledgement may have come to pass. */
  readonly attempts: readonly {readonly n: number; readonly sentAt: number; readonly acknowledgedAt: number | null}[]
  /** Ends it, and compares: longest time between two acknowledged writes, and acknowledged rows that are not there. */
  stop(): Promise<{gapMs: number; lost: number[]; failures: number}>
}

export async function startWriter(site: Site, name: string, everyMs = 50): Promise<Writer> {
  const acknowledged: number[] = []
  const times: number[] = []
  const attempts: {n: number; sentAt: number; acknowledgedAt: number | null}[] = []
  let failures = 0
  let stopped = false
  let client: TestClient | undefined = await connectTo(site, name)
  await client.query('create table if not exists writes (n int primary key)')
  await client.query('delete from writes')
  const work = (async () => {
    for (let n = 1; !stopped; n++) {
      const attempt = {n, sentAt: Date.now(), acknowledgedAt: null as number | null}
      attempts.push(attempt)
      try {
        client ??= await connectTo(site, name)
        await client.query(`insert into writes values (${n})`)
        acknowledged.push(n)
        attempt.acknowledgedAt = Date.now()
        times.push(attempt.acknowledgedAt)
      } catch {
        failures++
        void client?.close()
        client = undefined
        await pause(20)
      }
      await pause(everyMs)
    }
  })()
  while (acknowledged.length < 3) await pause(10)
  return {
    acknowledged, attempts,
    async stop() {
      const enough = acknowledged.length + 3
      // what comes after the change counts, too
      for (const until = Date.now() + 40_000; acknowledged.length < enough && Date.now() < until; ) await pause(20)
      stopped = true
      await work
      client ??= await connectTo(site, name)
      const there = new Set((await client.query('select n from writes')).map(([n]) => Number(n)))
      await client.close()
      return {
        gapMs: Math.max(...times.slice(1).map((at, i) => at - (times[i] as number))), failures,
        lost: acknowledged.filter((n) => !there.has(n)),
      }
    },
  }
}

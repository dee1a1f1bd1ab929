/** The applications of a drill: they write one row after the other through the endpoint, connect anew when they must, and remember what was acknowledged. */
import {setTimeout as pause} from 'node:timers/promises'
import type {Acknowledgement} from '../../../core/ha/rehearsal.js'
import type {ClientCredentials} from '../../../engines/engine.js'
import type {EngineJournal, JournalSession} from '../../../engines/replication.js'

/** Enough to measure a gap by, and little beside what a server can do. */
const everyMs = 4
const againMs = 10
const connectMs = 10_000
/** What a writer waits for may never come. */
const patienceMs = 2000

export interface Writers {
  /** In the order that they came. */
  readonly acknowledged: readonly Acknowledgement[]
  /** How many rows of each writer were acknowledged. */
  readonly counts: readonly number[]
  /** Resolves when nothing of them is left; no later than a connection may take. */
  stop(): Promise<void>
}

export function startWriters(journal: EngineJournal, client: ClientCredentials, name: string, count: number): Writers {
  const acknowledged: Acknowledgement[] = []
  const counts = Array.from({length: count}, () => 0)
  const sessions = new Set<JournalSession>()
  let rows = 0
  let going = true

  async function write(writer: number): Promise<void> {
    let session: JournalSession | undefined
    while (going) {
      try {
        session ??= await journal.open(client, name, {timeoutMs: connectMs})
        sessions.add(session)
        const row = ++rows
        // a row of which nobody knows is never sent again: it would be another one
        if (await session.write(row)) {
          acknowledged.push({row, at: performance.now(), server: session.server})
          counts[writer] = (counts[writer] ?? 0) + 1
        }
        await pause(everyMs)
      } catch {
        end(session)
        session = undefined
        await pause(againMs)
      }
    }
    end(session)
  }

  function end(session: JournalSession | undefined): void {
    session?.close()
    if (session) sessions.delete(session)
  }

  const all = Promise.all(counts.map((_, writer) => write(writer)))
  return {
    acknowledged,
    counts,
    async stop() {
      going = false
      const timer = setTimeout(() => [...sessions].forEach(end), patienceMs)
      await all
      clearTimeout(timer)
    },
  }
}

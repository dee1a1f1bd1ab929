/** Moves audit entries from the outbox into the chained log, and what the HTTP layer saw into both. */
import {DbaasError} from '../../../core/errors.js'
import type {Clock} from '../../../core/time.js'
import type {AuditLog, AuditRecord, RequestRecord, Store} from '../../store/store.js'

const batch = 500
const settleMs = 50
/** A flood of reads must not become a flood of memory. */
const maxBuffered = 20_000

export interface Recorder {
  /** Remembers a finished request; written in a batch a moment later. */
  request(record: RequestRecord, audit: AuditRecord): void
  /** Something was put into the outbox. */
  poke(): void
  /** Everything that is known now is in the log when this returns. */
  drain(): Promise<void>
  flushRequests(): Promise<void>
  problem(): string | null
  /** Throws AUDIT_UNAVAILABLE, or DISK_FULL where that is why, while the log cannot be written (DECISIONS.md 3). */
  mayChange(): void
  close(): Promise<void>
}

export function createRecorder(options: {store: Store; auditLog: AuditLog; clock: Clock; log: (message: string, facts?: Record<string, unknown>) => void}): Recorder {
  const {store, auditLog} = options
  let requests: {record: RequestRecord; audit: AuditRecord}[] = []
  let timer: NodeJS.Timeout | undefined
  let turn: Promise<void> = Promise.resolve()
  let problem: DbaasError | null = null
  let closed = false

  const poke = (): void => {
    if (timer || closed) return
    timer = setTimeout(() => {
      timer = undefined
      void drain().catch(() => undefined)
    }, problem === null ? settleMs : 1000)
    timer.unref()
  }

  async function flushRequests(): Promise<void> {
    const seen = requests
    requests = []
    if (seen.length === 0) return
    await store.transact('platform', async (tx) => {
      await tx.requests.insert(seen.map((r) => r.record))
      for (const {audit} of seen) await tx.audit(audit)
    })
  }

  async function drainOnce(): Promise<void> {
    await flushRequests()
    for (;;) {
      const waiting = await store.read('platform', (tx) => tx.outbox.audit(batch))
      const last = waiting.at(-1)
      if (!last) return
      await auditLog.append(waiting.map((w) => w.entry))
      const [head] = await auditLog.list({limit: 1})
      await store.transact('platform', async (tx) => {
        await tx.outbox.removeAudit(last.id)
        if (head) await tx.settings.put('audit.head', `${head.sequence}:${head.hash}`)
      })
    }
  }

  function drain(): Promise<void> {
    const next = turn.then(async () => {
      try {
        await drainOnce()
        problem = null
      } catch (error) {
        const known = DbaasError.from(error)
        if (problem === null) options.log('the audit log cannot be written', {error: known.message})
        problem = known
        poke()
        throw new DbaasError('AUDIT_UNAVAILABLE', `the audit log cannot be written: ${known.message}`, {cause: error, suggestions: ['dbaas doctor']})
      }
    })
    turn = next.catch(() => undefined)
    return next
  }

  return {
    request(record, audit) {
      if (requests.length < maxBuffered) requests.push({record, audit})
      poke()
    },
    poke,
    drain,
    flushRequests,
    problem: () => problem?.message ?? null,
    mayChange() {
      if (problem === null) return
      // The disk is what its owner can do something about; that the audit log is what met it first is chance.
      if (problem.code === 'DISK_FULL') throw new DbaasError('DISK_FULL', problem.message, {cause: problem, details: problem.details, suggestions: problem.suggestions})
      throw new DbaasError('AUDIT_UNAVAILABLE', `nothing may be changed while the audit log cannot be written: ${problem.message}`, {
        suggestions: ['dbaas doctor', 'dbaas agent logs'],
      })
    },
    async close() {
      closed = true
      if (timer) clearTimeout(timer)
      await drain().catch(() => undefined)
    },
  }
}

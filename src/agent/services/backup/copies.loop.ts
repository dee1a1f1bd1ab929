/** Keeps copies of repositories up to date: after each backup, when a history has gone, and regularly for the log. */
import type {RepositoryRecord} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import type {BackupParts} from './parts.js'
import type {RepositoryBook} from './repositories.js'

/** So often for the log. Every round lists both sides, so a long one is followed by a longer rest. */
const everyMs = 60_000
const restPerRound = 10

export interface Copies {
  /** One look at all copies; those that are due are brought up to date, one after the other. */
  run(): Promise<void>
}

export function createCopies({context, archiver}: Pick<BackupParts, 'context' | 'archiver'>, repositories: RepositoryBook): Copies {
  const {store, clock} = context
  /** When the last round of a copy began, how long it took, and what the original held then; milliseconds. */
  const rounds = new Map<string, {at: number; tookMs: number; held: string}>()

  async function held(original: string): Promise<{histories: string; newest: number}> {
    return store.read('platform', async (tx) => ({
      histories: JSON.stringify((await tx.histories.list()).filter((h) => h.repository === original && !h.shredded).map((h) => h.id)),
      newest: Math.max(0, ...(await tx.backups.list()).filter((b) => b.repository === original).map((b) => b.completedAt ?? 0)),
    }))
  }

  async function settle(copy: RepositoryRecord): Promise<void> {
    const original = copy.copyOf as string
    const now = clock.now()
    const {histories, newest} = await held(original)
    const last = rounds.get(copy.name)
    const isRested = last === undefined || now - last.at >= Math.max(everyMs, restPerRound * last.tookMs)
    const isBehind = copy.copyBecause === null && (newest > (copy.copiedAt ?? 0) || (last !== undefined && last.held !== histories))
    if (!isRested && !isBehind) return
    const [from, to] = [await repositories.at(original), await repositories.at(copy.name)]
    const began = performance.now()
    try {
      // what is wrong with the original is not said of its copy
      await repositories.through(original, () => archiver.prepare(from))
      const problem = await repositories.through(copy.name, () => archiver.copy(from, to)).then(
        ({damages: [first, ...more]}) => first && `${first.object} of ${original}${more.length > 0 ? `, and ${more.length} more,` : ''} cannot be copied: ${first.because}`,
        (error: unknown) => DbaasError.from(error).message,
      )
      await note(copy.name, problem ?? null, now)
    } finally {
      rounds.set(copy.name, {at: now, tookMs: performance.now() - began, held: histories})
    }
  }

  async function note(name: string, problem: string | null, began: number): Promise<void> {
    const before = await repositories.get(name)
    await store.transact('platform', async (tx) => {
      await tx.repositories.update(name, {
        copyBecause: problem, copyFailedAt: problem === null ? null : (before.copyFailedAt ?? clock.now()), ...(problem === null ? {copiedAt: began} : {}),
      })
      // that it lasts is told once, whatever the words
      if ((problem === null) === (before.copyBecause === null)) return
      await tx.event({
        id: context.newId('event'), tenantId: before.tenantId, type: problem === null ? 'repository.copy_recovered' : 'repository.copy_failed', subject: name,
        payload: {of: before.copyOf, because: problem ?? before.copyBecause}, at: clock.now(),
      })
    })
  }

  return {
    async run() {
      const failed: unknown[] = []
      for (const copy of (await repositories.list()).filter((r) => r.copyOf !== null)) await settle(copy).catch((error: unknown) => failed.push(error))
      if (failed.length > 0) throw failed[0]
    },
  }
}

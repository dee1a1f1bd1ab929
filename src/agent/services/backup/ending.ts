/** The end of a history: all of its backups and of its log. */
import type {HistoryRecord} from '../../../core/backup/backup.js'
import type {Followers} from './log.loop.js'
import type {BackupParts} from './parts.js'

/** Of a history that has ended, so that nobody begins to follow it. Idempotent; throws what the repository throws. */
export type EndHistory = (history: Pick<HistoryRecord, 'id' | 'repository'>) => Promise<void>

export function createEnding({context, archiver, repositories}: Pick<BackupParts, 'context' | 'archiver' | 'repositories'>, followers: Pick<Followers, 'endOf'>): EndHistory {
  return async ({id, repository}) => {
    await followers.endOf(id)
    const archive = await repositories.place(repository, id)
    // the key first: from then on the rest is noise; its rows go when all of it has gone
    await repositories.through(repository, async () => {
      await archiver.shred(archive)
      await archiver.erase(archive)
    })
    await context.store.transact('platform', async (tx) => {
      for (const backup of await tx.backups.list({incarnation: id})) await tx.backups.remove(backup.id)
      await tx.logs.remove(id)
      await tx.histories.remove(id)
    })
  }
}

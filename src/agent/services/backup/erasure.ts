/** What a delete of an instance does to its backups: all of them go, their keys first, or they are kept by name. */
import {setTimeout as pause} from 'node:timers/promises'
import {isSealed, type BackupRecord, type HistoryRecord} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import {hasEnded} from '../../../core/workflow/operation.js'
import type {Tx} from '../../store/store.js'
import type {KeptBackups} from '../protection.js'
import type {EndHistory} from './ending.js'
import type {Followers} from './log.loop.js'
import type {BackupParts} from './parts.js'

/** What is under way ends within so long, or the delete is tried again. */
const endMs = 60_000

export interface Erasure {
  /** No backup is being taken any more, or only one that does not end. */
  quiet(instanceId: string): Promise<void>
  /** In the transaction of the delete's point of no return. */
  seal(tx: Tx, instanceId: string, kept: KeptBackups): Promise<void>
  /** Keys first, then the rest. */
  erase(instanceId: string): Promise<void>
  /** What a repository that was away still holds of deleted instances. */
  sweep(): Promise<void>
  /** In a transaction: what there is of it is kept, as if it were deleted. */
  leave(tx: Tx, instanceId: string): Promise<void>
  /** In the transaction that ends the delete. */
  forget(tx: Tx, instanceId: string): Promise<void>
}

export function createErasure(parts: BackupParts, followers: Followers, endHistory: EndHistory, cancel: (operationId: string) => Promise<void>): Erasure {
  const {context, archiver, repositories} = parts
  const {store, clock} = context

  const running = async (instanceId: string) => (await store.read('platform', (tx) => tx.operations.openOfInstance(instanceId, 'backup'))).filter((o) => !hasEnded(o.status))

  /** A repository that does not answer holds no delete up: it is asked again until all has gone. */
  async function eraseLater(history: HistoryRecord): Promise<void> {
    await endHistory(history).catch((error: unknown) => {
      if (!(error instanceof DbaasError) || !(error.code.startsWith('REPOSITORY_') || error.code === 'DISK_FULL' || error.code === 'KEY_UNAVAILABLE')) throw error
      context.log('backups could not be erased yet', {incarnation: history.id, error: error.message})
    })
  }

  async function removeEach(history: HistoryRecord, backups: readonly BackupRecord[]): Promise<void> {
    const archive = await repositories.place(history.repository, history.id)
    for (const {snapshot} of backups) if (snapshot !== null) await repositories.through(history.repository, () => archiver.remove(archive, snapshot))
    await store.transact('platform', async (tx) => {
      for (const {id} of backups) await tx.backups.remove(id)
    })
  }

  return {
    async quiet(instanceId) {
      const until = performance.now() + endMs
      for (let open = await running(instanceId); open.length > 0; open = await running(instanceId)) {
        for (const operation of open) if (!operation.cancelRequested && operation.direction === 'forward') await cancel(operation.id)
        if (performance.now() > until) break
        await pause(50)
      }
    },
    async seal(tx, instanceId, kept) {
      const now = clock.now()
      const backups = await tx.backups.list({instanceId})
      for (const history of await tx.histories.list(instanceId)) {
        const own = backups.filter((b) => b.incarnation === history.id)
        const stays = own.filter((b) => b.status === 'completed' && (kept === 'all' || (kept === 'final' && b.trigger === 'final')))
        for (const backup of own) if (!stays.includes(backup)) await tx.backups.update(backup.id, {status: 'deleting'})
        const keeps = stays.length > 0 || (kept === 'all' && isSealed(history, own))
        await tx.histories.update(history.id, {endedAt: history.endedAt ?? now, kept: keeps, shredded: !keeps})
      }
    },
    async erase(instanceId) {
      await followers.end(instanceId)
      const {histories, backups} = await store.read('platform', async (tx) => ({histories: await tx.histories.list(instanceId), backups: await tx.backups.list({instanceId})}))
      for (const history of histories) {
        if (history.shredded) await eraseLater(history)
        else await removeEach(history, backups.filter((b) => b.incarnation === history.id && b.status === 'deleting'))
      }
    },
    async sweep() {
      for (const history of await store.read('platform', (tx) => tx.histories.list())) if (history.shredded) await eraseLater(history)
    },
    async leave(tx, instanceId) {
      for (const {id, endedAt} of await tx.histories.list(instanceId)) {
        const {length} = await tx.backups.list({incarnation: id})
        await tx.logs.remove(id)
        if (length > 0 || endedAt !== null) await tx.histories.update(id, {endedAt: endedAt ?? clock.now(), kept: true})
        else await tx.histories.remove(id)
      }
    },
    async forget(tx, instanceId) {
      // undone before it was ever written to; or kept, or still to be erased
      for (const history of await tx.histories.list(instanceId)) {
        if (history.kept || history.shredded) continue
        await tx.logs.remove(history.id)
        await tx.histories.remove(history.id)
      }
      await tx.policies.remove(instanceId)
      await tx.restoreTests.removeAll(instanceId)
    },
  }
}

/** What is done to a backup that is there: read back, deleted. And the change of the master key. */
import {isSealed} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {EndHistory} from './ending.js'
import type {KeyRing} from './keys.js'
import type {Recognition} from './recognition.js'
import {deleteBackupKind, rotateKeysKind, verifyBackupKind, wholeLog, type BackupParts} from './parts.js'

export interface BackupInput {
  readonly backupId: string
}

export interface RotateInput {
  /** To a key that was there before: some data keys may be wrapped by it, and some by one that is lost. */
  readonly imported?: boolean
}

/** Steps of a change to a key that was there before alone. */
export const importSteps: readonly string[] = ['read-backups']

export function upkeepWorkflows(parts: Pick<BackupParts, 'context' | 'archiver' | 'repositories'>, keys: KeyRing, endHistory: EndHistory, recognition: Pick<Recognition, 'lookAgain'>) {
  const {context, archiver, repositories} = parts
  const {store, clock} = context

  async function load(backupId: string) {
    const backup = await store.read('platform', (tx) => tx.backups.get(backupId))
    if (!backup) throw new DbaasError('BACKUP_NOT_FOUND', `there is no backup ${backupId}`, {details: {backup: backupId}, suggestions: ['dbaas backups list']})
    return {backup, archive: await repositories.place(backup.repository, backup.incarnation)}
  }

  const verify = workflow<BackupInput, Tx>()({
    kind: verifyBackupKind,
    start: 'read-back',
    order: ['read-back', 'read-log'],
    deadlineSeconds: 24 * 3600,
    steps: {
      'read-back': {
        retrySeconds: 300,
        async run({input, signal, progress, commit}) {
          const {backup, archive} = await load(input.backupId)
          progress('reading all of it back')
          const verified = await repositories.through(backup.repository, () => archiver.verify(archive, backup.snapshot as number, signal))
          const now = clock.now()
          const [damage] = verified.damages
          if (!damage) {
            commit((tx) => tx.backups.update(backup.id, {verifiedAt: now, status: 'completed'}))
            return next('read-log')
          }
          // found is found: it is stored now, not with an outcome that is an error
          await store.transact('platform', async (tx) => {
            await tx.backups.update(backup.id, {status: 'damaged', because: damage.because})
            await tx.event({
              id: context.newId('event'), tenantId: backup.tenantId, type: 'backup.damaged', subject: backup.instanceId,
              payload: {backup: backup.id, damages: verified.damages.slice(0, 100).map(({object, because}) => ({object, because}))}, at: now,
            })
          })
          throw new DbaasError('INTEGRITY_MISMATCH', `the backup ${backup.id} is damaged: ${damage.because}`, {
            details: {backup: backup.id, object: damage.object, damages: String(verified.damages.length)},
            suggestions: [`dbaas backup ${backup.instanceName}`, 'check the disk of the repository'],
          })
        },
      },
      'read-log': {
        retrySeconds: 300,
        async run({input, progress, commit}) {
          const {backup, archive} = await load(input.backupId)
          progress('reading the log that it needs')
          const from = {timeline: backup.timeline as string, segment: backup.startSegment as string}
          const before = await store.read('platform', (tx) => tx.logs.get(backup.incarnation))
          const {end, until, damages, bytes} = await repositories.through(backup.repository, async () => {
            const there = await archiver.logEnd(archive, backup.engine)
            return {end: there, ...(await archiver.checkLog(archive, backup.engine, from))}
          })
          const {log} = context.engines.get(backup.engine).backup ?? {}
          const reached = until !== null && log !== undefined && (until.timeline !== backup.timeline || log.compare(until.position, backup.endPosition as string) >= 0)
          if (!reached) {
            throw new DbaasError('INTEGRITY_MISMATCH', `the log that makes the backup ${backup.id} whole is damaged: ${damages[0]?.because ?? 'it is not there'}`, {
              details: {backup: backup.id}, suggestions: [`dbaas backup ${backup.instanceName}`],
            })
          }
          const goesOn = end !== null && (until.timeline > end.timeline || (until.timeline === end.timeline && log.compare(until.position, end.position) >= 0))
          // of one that was found in a repository it is not known until then
          if (backup.line === null && damages.length === 0 && goesOn && before) {
            commit(async (tx) => {
              if ((await tx.logs.get(backup.incarnation))?.line === before.line) await tx.backups.update(backup.id, {line: before.line})
            })
          }
          return done({backup_id: backup.id, verified: true, log_bytes: bytes, log_damages: damages.length})
        },
      },
    },
  })

  const remove = workflow<BackupInput, Tx>()({
    kind: deleteBackupKind,
    start: 'forget',
    order: ['forget', 'erase'],
    deadlineSeconds: 3600,
    pointOfNoReturn: 'erase',
    steps: {
      forget: {
        async run({input, commit}) {
          const {backup} = await load(input.backupId)
          commit((tx) => tx.backups.update(backup.id, {status: 'deleting'}))
          return next('erase')
        },
      },
      erase: {
        retrySeconds: 300,
        async run({input}) {
          const found = await store.read('platform', async (tx) => {
            const backup = await tx.backups.get(input.backupId)
            return backup && {backup, history: await tx.histories.get(backup.incarnation), others: (await tx.backups.list({incarnation: backup.incarnation})).filter((b) => b.id !== backup.id)}
          })
          if (!found) return done({backup_id: input.backupId})
          const {backup, history, others} = found
          // a history that has ended dies with its last backup
          if (others.length === 0 && history && history.endedAt !== null) {
            await endHistory(history)
            return done({backup_id: backup.id})
          }
          const {snapshot} = backup
          if (snapshot !== null) {
            const archive = await repositories.place(backup.repository, backup.incarnation)
            await repositories.through(backup.repository, async () => {
              await archiver.remove(archive, snapshot)
              await archiver.collect(archive, wholeLog, null)
            })
          }
          await store.transact('platform', (tx) => tx.backups.remove(backup.id))
          return done({backup_id: backup.id})
        },
      },
    },
    async onUndone(tx, {input, cancelled}) {
      if (cancelled && (await tx.backups.get(input.backupId))?.status === 'deleting') await tx.backups.update(input.backupId, {status: 'completed'})
    },
  })

  const rotate = workflow<RotateInput, Tx>()({
    kind: rotateKeysKind,
    start: 'make-key',
    order: ['make-key', 'rewrap', 'switch', 'read-backups'],
    deadlineSeconds: 3600,
    // some data keys may be wrapped by the new key already: there is only forward
    pointOfNoReturn: 'rewrap',
    steps: {
      'make-key': {
        async run() {
          await keys.makeNext()
          return next('rewrap')
        },
        async undo() {
          await keys.dropNext()
        },
      },
      rewrap: {
        retrySeconds: 600,
        async run({input, progress, commit}) {
          const unreadable: string[] = []
          const {histories, backups} = await store.read('platform', async (tx) => ({histories: await tx.histories.list(), backups: await tx.backups.list()}))
          for (const [i, history] of histories.entries()) {
            if (history.shredded) continue
            const sealed = isSealed(history, backups)
            progress(`${i + 1} of ${histories.length}`)
            const {repository} = await repositories.place(history.repository, history.id)
            await repositories.through(history.repository, async () => {
              // one that was never written to has no key yet
              if (!(await archiver.incarnations(repository)).includes(history.id)) return
              await archiver.rewrap({repository, incarnation: history.id}, keys.source, keys.next).catch((error: unknown) => {
                if (!(input.imported || sealed) || !(error instanceof DbaasError) || error.code !== 'KEY_UNAVAILABLE') throw error
                unreadable.push(history.instanceName)
              })
            })
          }
          if (unreadable.length > 0) {
            commit((tx) => tx.event({
              id: context.newId('event'), tenantId: 'default', type: 'keys.unreadable', subject: 'keys', payload: {instances: unreadable}, at: clock.now(),
            }))
          }
          if (input.imported) progress(`${histories.length - unreadable.length} of ${histories.length} histories can be read with it${unreadable.length > 0 ? `; not those of ${unreadable.join(', ')}` : ''}`)
          return next('switch')
        },
      },
      switch: {
        async run({input}) {
          await keys.switch()
          return input.imported ? next('read-backups') : done({key_id: await keys.id()})
        },
      },
      // what other keys were needed for
      'read-backups': {
        retrySeconds: 60,
        async run({progress}) {
          const found = await recognition.lookAgain(progress)
          return done({key_id: await keys.id(), backups: found})
        },
      },
    },
  })

  return [verify, remove, rotate]
}

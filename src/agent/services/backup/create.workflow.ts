/**
 * One backup. The snapshot is committed as soon as its files are there, and counts only when the log that makes it whole
 * is archived without a gap, and all of it has been read back. Undone, nothing of it is left.
 */
import {setTimeout as pause} from 'node:timers/promises'
import type {BackupRecord} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import {abort, done, next, wait, workflow} from '../../../core/workflow/workflow.js'
import type {BaseBackup} from '../../../engines/backup.js'
import type {Tx} from '../../store/store.js'
import type {Followers} from './log.loop.js'
import {steer} from './pacing.js'
import {backupOf, createBackupKind, serverOf, wholeLog, type BackupParts} from './parts.js'
import {factsOf} from './take.js'

export interface CreateBackupInput {
  readonly instanceId: string
  readonly backupId: string
  /** The time of the schedule that it serves. */
  readonly serves: number | null
}

/** The stream of the log has so long to begin, and to come to where the backup ends. */
const followSeconds = 120
const logSeconds = 900

export function createBackupWorkflow(parts: BackupParts, followers: Followers) {
  const {context, archiver, repositories} = parts
  const {store, clock} = context

  async function look(input: CreateBackupInput) {
    const subject = await parts.load(input.instanceId)
    const found = await store.read('platform', async (tx) => {
      const backup = await tx.backups.get(input.backupId)
      return {backup, log: backup && (await tx.logs.get(backup.incarnation)), others: backup ? await tx.backups.list({incarnation: backup.incarnation}) : []}
    })
    if (!found.backup) throw new DbaasError('BACKUP_NOT_FOUND', `there is no backup ${input.backupId}`)
    const {backup} = found
    const archive = await repositories.place(backup.repository, backup.incarnation)
    const whyNot = subject.instance.wanted !== 'running' ? `${subject.instance.name} is stopped`
      : subject.instance.incarnation !== backup.incarnation ? `${subject.instance.name} has another history since` : undefined
    return {...found, subject, backup, archive, whyNot, engine: backupOf(subject.engine)}
  }

  /** The newest that counts: what it has need not be stored again. */
  const previousOf = (others: readonly BackupRecord[], backup: BackupRecord) => {
    const newest = others.filter((b) => b.status === 'completed' && b.repository === backup.repository && b.snapshot !== null)
      .sort((a, b) => (b.snapshot as number) - (a.snapshot as number))[0]
    return newest ? {snapshot: newest.snapshot as number, base: newest.base as unknown as BaseBackup} : null
  }

  return workflow<CreateBackupInput, Tx>()({
    kind: createBackupKind,
    start: 'prepare-role',
    order: ['prepare-role', 'hold-log', 'copy', 'await-log', 'verify'],
    deadlineSeconds: 24 * 3600,
    steps: {
      'prepare-role': {
        async run({input}) {
          const {subject, whyNot} = await look(input)
          if (whyNot !== undefined) return abort(whyNot)
          await parts.prepare(subject)
          return next('hold-log')
        },
      },
      'hold-log': {
        retrySeconds: followSeconds,
        async run({input, progress, signal}) {
          followers.poke()
          progress('waiting for the stream of the log')
          for (let i = 0; i < 100; i++) {
            const {log, whyNot} = await look(input)
            if (whyNot !== undefined) return abort(whyNot)
            if (log?.state === 'following') return next('copy')
            signal.throwIfAborted()
            await pause(50)
          }
          const {log, subject} = await look(input)
          throw new DbaasError('DATABASE_UNAVAILABLE', `the log of ${subject.instance.name} is not followed${log?.because ? `: ${log.because}` : ' yet'}`, {
            suggestions: [`dbaas status ${subject.instance.name}`],
          })
        },
      },
      copy: {
        retrySeconds: 300,
        async run({input, progress, signal, commit}) {
          const {subject, backup, archive, others, whyNot} = await look(input)
          if (whyNot !== undefined) return abort(whyNot)
          const taken = await repositories.through(backup.repository, async () => {
            const before = await archiver.find(archive, backup.id)
            if (before) return before
            const pacing = await steer(subject, await parts.admin())
            try {
              return await archiver.take({
                archive, engine: backup.engine, server: await serverOf(parts, subject), pace: backup.trigger === 'schedule' ? 'gently' : 'now',
                previous: previousOf(others, backup), changesOnly: backup.type !== 'full',
                about: {
                  backupId: backup.id, instanceId: backup.instanceId, instanceName: backup.instanceName, engine: backup.engine, label: backup.label,
                  trigger: backup.trigger,
                },
              }, {
                progress(received, total) {
                  pacing.received(received)
                  progress(`${formatBytes(received)} of ${formatBytes(total)} read`)
                },
                limit: pacing.limit, signal,
              })
            } finally {
              await pacing.stop()
            }
          })
          commit((tx) => tx.backups.update(backup.id, factsOf(taken)))
          return next('await-log')
        },
        async undo({input}) {
          const {backup, archive} = await look(input)
          const taken = await archiver.find(archive, backup.id)
          if (taken) await archiver.remove(archive, taken.snapshot)
          await archiver.collect(archive, wholeLog, null)
        },
      },
      'await-log': {
        async run({input, attempt, progress, signal, commit}) {
          const {backup, archive, engine, log, subject} = await look(input)
          const [timeline, end] = [backup.timeline as string, backup.endPosition as string]
          const reached = async (): Promise<boolean> => {
            const now = await repositories.through(backup.repository, () => archiver.logEnd(archive, backup.engine))
            if (now === null) return false
            if (now.timeline !== timeline) return now.timeline > timeline
            progress(`the log is archived up to ${now.position}, and is needed up to ${end}`)
            return engine.log.compare(now.position, end) >= 0
          }
          for (let i = 0; !(await reached()); i++) {
            signal.throwIfAborted()
            if (i === 20) {
              if (attempt > logSeconds / 3) return abort(`the log has not come up to ${end} within ${logSeconds} s${log?.because ? `: ${log.because}` : ''}`)
              return wait(1, `waiting for the log up to ${end}`)
            }
            await pause(100)
          }
          const checked = await archiver.checkLog(archive, backup.engine, {timeline, segment: backup.startSegment as string})
          if (checked.damages.length > 0) return abort(`the log that makes the backup whole has a gap: ${checked.damages[0]?.because}`)
          const line = log?.line
          commit(async (tx) => {
            // one that begins anew at this moment is not the one that was read
            if (line !== undefined && (await tx.logs.get(backup.incarnation))?.line === line) await tx.backups.update(backup.id, {line})
          })
          if (line === undefined) return wait(1, `the log of ${subject.instance.name} is not followed`)
          return next('verify')
        },
      },
      verify: {
        retrySeconds: 300,
        async run({input, progress, signal, commit}) {
          const {backup, archive, log} = await look(input)
          if (backup.line !== log?.line) return abort('the log has lost something while the backup was taken')
          progress('reading all of it back')
          const verified = await repositories.through(backup.repository, () => archiver.verify(archive, backup.snapshot as number, signal))
          if (verified.damages.length > 0) {
            const [first] = verified.damages
            throw new DbaasError('INTEGRITY_MISMATCH', `the backup cannot be read back: ${first?.because}`, {details: {object: first?.object ?? ''}, suggestions: ['check the disk of the repository', 'dbaas repositories check']})
          }
          const base = backup.base as unknown as BaseBackup
          const now = clock.now()
          commit(async (tx) => {
            await tx.backups.update(backup.id, {status: 'completed', completedAt: now, verifiedAt: now})
            await tx.histories.update(backup.incarnation, {system: base.system})
            const policy = await tx.policies.get(backup.instanceId)
            if (policy && input.serves !== null && input.serves > policy.servedAt) await tx.policies.put({...policy, servedAt: input.serves})
            await tx.event({
              id: context.newId('event'), tenantId: backup.tenantId, type: 'backup.completed', subject: backup.instanceId,
              payload: {backup: backup.id, trigger: backup.trigger, bytes: backup.sizeBytes, stored_bytes: backup.storedBytes}, at: now,
            })
            if (base.damages.length > 0) {
              await tx.event({
                id: context.newId('event'), tenantId: backup.tenantId, type: 'backup.damaged_pages', subject: backup.instanceId,
                payload: {backup: backup.id, pages: base.damages.slice(0, 100).map(({path, page, because}) => ({path, page, because}))}, at: now,
              })
            }
          })
          return done({
            backup_id: backup.id, type: backup.type, size_bytes: backup.sizeBytes, stored_bytes: backup.storedBytes, received_bytes: base.receivedBytes,
            files: base.files, damaged_pages: base.damages.length, verified: true,
          })
        },
      },
    },
    async onUndone(tx, {input, tenantId, because, cancelled}) {
      await tx.backups.remove(input.backupId)
      await tx.event({
        id: context.newId('event'), tenantId, type: cancelled ? 'backup.cancelled' : 'backup.failed', subject: input.instanceId,
        payload: {backup: input.backupId, because}, at: clock.now(),
      })
    },
  })
}

/** Where a restore starts and ends: which history, which backup, which log. And the way to what it needs. */
import {setTimeout as pause} from 'node:timers/promises'
import type {Principal} from '../../../core/access/principal.js'
import type {BackupRecord, HistoryRecord} from '../../../core/backup/backup.js'
import {parseTarget, type RestoreTarget} from '../../../core/backup/target.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {isoTime} from '../../../core/time.js'
import type {BaseBackup, LogArchive, RecoveryTarget, RecoveryWindow} from '../../../engines/backup.js'
import type {Recoveries, RestoreChoice} from '../protection.js'
import type {Followers} from './log.loop.js'
import {backupOf, type BackupParts} from './parts.js'
import {newHistory} from './policies.js'

/** "Latest" is everything that was committed when it was asked for; the archive is given so long to have it. */
const catchUpMs = 5000

export function createRecoveries(parts: Pick<BackupParts, 'context' | 'archiver' | 'repositories'>, followers: Pick<Followers, 'live' | 'poke'>): Recoveries {
  const {context, archiver, repositories} = parts
  const {store, clock} = context

  interface Line {
    readonly history: HistoryRecord
    readonly backups: readonly BackupRecord[]
  }

  /** The histories of the instance, the newest first; of a deleted one, those that are kept by its name. */
  async function linesOf(principal: Principal, instance: InstanceRecord | undefined, name: string): Promise<Line[]> {
    return store.read({tenant: principal.tenantId}, async (tx) => {
      const histories = instance ? await tx.histories.list(instance.id) : (await tx.histories.list()).filter((h) => h.kept && (h.instanceName === name || h.instanceId === name))
      const lines: Line[] = []
      // the one that is written to is the first, though it may be older than one that was gone back from
      for (const history of [...histories].sort((a, b) => Number(b.endedAt === null) - Number(a.endedAt === null) || b.beganAt - a.beganAt)) {
        if (history.shredded) continue
        lines.push({history, backups: (await tx.backups.list({incarnation: history.id})).filter((b) => b.status === 'completed' && b.snapshot !== null)})
      }
      return lines
    })
  }

  const durableAt = async (incarnation: string): Promise<number | null> =>
    (followers.live(incarnation) ?? (await store.read('platform', (tx) => tx.logs.get(incarnation))))?.durableAt ?? null

  async function caughtUp(incarnation: string): Promise<void> {
    const [asked, until] = [clock.now(), performance.now() + catchUpMs]
    while (performance.now() < until && ((await durableAt(incarnation)) ?? 0) < asked) {
      if (followers.live(incarnation)?.state === 'released') return
      await pause(50)
    }
  }

  /** What the target means on that line; undefined where it cannot mean anything there. */
  function meaning(target: RestoreTarget, {backups}: Line): {readonly target: RecoveryTarget; readonly from: readonly BackupRecord[]} | undefined {
    if (target.kind !== 'named') return {target, from: backups}
    const labelled = backups.filter((b) => b.label === target.name)
    const backup = backups.find((b) => b.id === target.name) ?? (labelled.length === 1 ? labelled[0] : undefined)
    if (backup) return {target: {kind: 'backup'}, from: [backup]}
    return target.name.startsWith('bak_') ? undefined : {target: {kind: 'name', name: target.name}, from: backups}
  }

  const textOf = (window: RecoveryWindow | undefined): string =>
    window?.from && window.to ? `${isoTime(window.from.micros / 1000)} to ${isoTime(window.to.micros / 1000)}` : 'nothing yet'

  return {
    async choose(principal, instance, name, to) {
      const target = parseTarget(to, clock.now())
      const lines = await linesOf(principal, instance, name)
      if (lines.every(({backups}) => backups.length === 0)) {
        throw new DbaasError('BACKUP_NOT_FOUND', `there is no backup of ${name} to restore`, {
          details: {instance: name}, suggestions: instance ? [`dbaas backup ${name}`, `dbaas status ${name}`] : ['dbaas backups list'],
        })
      }
      // what is the latest of a history that was left is not the latest
      const wanted = target.kind === 'latest' ? lines.slice(0, 1) : lines
      const current = lines[0] as Line
      // what a stopped server wrote is there; one that was only now started is about to be followed
      if (instance?.wanted === 'running' && (target.kind === 'latest' || target.kind === 'time')) await caughtUp(current.history.id)
      let refused: {because: string; window: RecoveryWindow} | undefined
      for (const line of wanted) {
        const meant = meaning(target, line)
        if (!meant || meant.from.length === 0) continue
        const {history} = line
        const archive = await repositories.place(history.repository, history.id)
        backupOf(context.engines.get(history.engine))
        const backups = meant.from.map((b) => b.base as unknown as BaseBackup)
        const completeUntil = await durableAt(history.id)
        const decision = await repositories.through(history.repository, () => archiver.plan({archive, engine: history.engine, backups, target: meant.target, completeUntil}))
        if (decision.possible) {
          const backup = meant.from[decision.plan.backup] as BackupRecord
          return {
            instanceName: history.instanceName, engine: history.engine, repository: history.repository, incarnation: history.id, backupId: backup.id,
            snapshot: backup.snapshot as number, base: backup.base as unknown as BaseBackup, plan: decision.plan,
          }
        }
        refused ??= decision
      }
      throw new DbaasError('TARGET_UNREACHABLE', `${name} cannot be restored to "${to}": ${refused?.because ?? 'nothing that is kept is called so'}. It can be restored to ${textOf(refused?.window)}`, {
        details: {
          target: to, from: refused?.window.from ? isoTime(refused.window.from.micros / 1000) : '', to: refused?.window.to ? isoTime(refused.window.to.micros / 1000) : '',
        },
        suggestions: [`dbaas restore ${name} --to latest --plan`, `dbaas backups list ${name}`],
      })
    },
    async missing(choice) {
      const archive = await repositories.place(choice.repository, choice.incarnation)
      return repositories.through(choice.repository, () => archiver.missing(archive, choice.snapshot))
    },
    async files({repository, incarnation, engine, snapshot, base}, folder, progress, signal) {
      const archive = await repositories.place(repository, incarnation)
      return repositories.through(repository, () => archiver.restore({archive, engine, snapshot, base, folder}, {progress, signal}))
    },
    archive(choice: RestoreChoice): LogArchive {
      const at = () => repositories.place(choice.repository, choice.incarnation)
      return {
        async *segments() {
          yield* choice.plan.segments
        },
        read: async (timeline, segment) => archiver.logSegment(await at(), timeline, segment),
        history: async (timeline) => (await archiver.logHistory(await at(), timeline)) ?? undefined,
      }
    },
    async switched(tx, instance, incarnation) {
      const now = clock.now()
      const leaving = await tx.histories.get(instance.incarnation)
      if (leaving) await tx.histories.update(leaving.id, {endedAt: now})
      const entered = await tx.histories.get(incarnation)
      // it was begun by the instance that it was restored into first
      if (entered && entered.instanceId !== instance.id) await tx.histories.remove(incarnation)
      if (entered && entered.instanceId === instance.id) await tx.histories.update(incarnation, {endedAt: null})
      else await tx.histories.insert(newHistory({...instance, incarnation}, leaving?.repository ?? entered?.repository ?? 'local', now))
    },
  }
}

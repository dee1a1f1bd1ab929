/** Deletes what has had its time, and the log with it; makes room in the repositories. */
import {isSealed, type BackupRecord, type HistoryRecord, type PolicyRecord} from '../../../core/backup/backup.js'
import {believe, believedFrom, type BelievedTime} from '../../../core/backup/believed-time.js'
import {planRetention, type LogRange, type RetainedBackup, type RetentionPolicy} from '../../../core/backup/retention.js'
import {formatDuration, isoTime} from '../../../core/time.js'
import type {EndHistory} from './ending.js'
import {wholeLog, type BackupParts} from './parts.js'

/** Without anything deleted, room is made so often: what crashed writers left. */
const sweepMs = 24 * 3_600_000
/** And for the first time so long after the agent has started. */
const firstSweepMs = 600_000
const believedSetting = 'backups.believed_time'
/** How late it was is written down so often, for the next agent. */
const keepTimeMs = 60_000

export interface Retention {
  /** One round over all histories. */
  run(): Promise<void>
}

export function createRetention(parts: Pick<BackupParts, 'context' | 'archiver' | 'repositories'>, endHistory: EndHistory): Retention {
  const {context, archiver, repositories} = parts
  const {store, clock} = context
  const swept = new Map<string, number>()
  /** Ranges of the log that were needed when it was last pruned. */
  const pruned = new Map<string, string>()

  let time: BelievedTime | undefined
  let written = Number.NEGATIVE_INFINITY

  /** The time by which things are old. Tells once of a clock that is not believed. */
  async function believedNow(): Promise<number> {
    const now = clock.now()
    const kept = time === undefined ? await store.read('platform', (tx) => tx.settings.get(believedSetting)) : undefined
    const before = time ?? (kept === undefined ? undefined : (JSON.parse(kept) as BelievedTime))
    const next = believe(before, now)
    const doubts = next.doubtedSince !== null && next.doubtedSince !== before?.doubtedSince
    if (doubts || next.doubtedSince !== (before?.doubtedSince ?? null) || Math.abs(now - written) >= keepTimeMs) {
      await store.transact('platform', async (tx) => {
        await tx.settings.put(believedSetting, JSON.stringify(next))
        if (!doubts) return
        const because = `the clock went on by ${formatDuration(now - next.at)} that nobody saw pass: no backup expires before ${isoTime(believedFrom(next) as number)}`
        await tx.event({id: context.newId('event'), tenantId: 'default', type: 'backup.clock_doubted', subject: 'backups', payload: {because, was: isoTime(next.at), now: isoTime(now)}, at: now})
      })
      written = now
      if (doubts) context.log('the clock has jumped', {was: isoTime(next.at), now: isoTime(now)})
    }
    time = next
    return next.doubtedSince === null ? now : next.at
  }

  async function settle(history: HistoryRecord, now: number): Promise<void> {
    const {backups, policy} = await store.read('platform', async (tx) => ({
      backups: await tx.backups.list({incarnation: history.id}), policy: await tx.policies.get(history.instanceId),
    }))
    const plan = planRetention(backups.filter(isRetained).map(retained), policyOf(history, policy), now)
    const changed = plan.verdicts.flatMap((verdict) => {
      const backup = backups.find(({id}) => id === verdict.id) as BackupRecord
      const expiresAt = untilEnd(backup, history, policy, verdict.expiresAt)
      const expired = expiresAt !== null && expiresAt <= now
      return expired || expiresAt !== backup.expiresAt ? [{backup, expiresAt, expired, because: verdict.because}] : []
    })
    if (changed.length > 0) {
      await store.transact('platform', async (tx) => {
        for (const {backup, expiresAt, expired, because} of changed) {
          await tx.backups.update(backup.id, {expiresAt, ...(expired ? {status: 'deleting'} : {})})
          if (!expired) continue
          const principal = context.principalOfAgent()
          await tx.event({id: context.newId('event'), tenantId: backup.tenantId, type: 'backup.expired', subject: backup.instanceId, payload: {backup: backup.id, because}, at: clock.now()})
          await tx.audit({
            id: context.newId('audit'), at: clock.now(), tenantId: backup.tenantId, actor: principal.id, source: principal.source, action: 'backup.expire',
            resource: `backup/${backup.id}`, result: 'succeeded', requestId: principal.requestId, details: {because},
          })
        }
      })
    }
    const gone = new Set(changed.filter(({expired}) => expired).map(({backup}) => backup.id))
    const deleting = backups.filter((b) => gone.has(b.id) || b.status === 'deleting')
    const kept = backups.filter((b) => !deleting.includes(b))
    const log = planRetention(kept.filter(isRetained).map(retained), policyOf(history, policy), now).log
    await erase(history, deleting, kept, log)
  }

  async function erase(history: HistoryRecord, deleting: readonly BackupRecord[], kept: readonly BackupRecord[], log: readonly LogRange[]): Promise<void> {
    // nobody knows what is in it: its key may come back
    if (isSealed(history, [...deleting, ...kept])) return
    // a history that has ended dies with its last backup
    if (history.endedAt !== null && kept.length === 0) return endHistory(history)
    const archive = await repositories.place(history.repository, history.id)
    const needed = JSON.stringify(log)
    if (!swept.has(history.id)) swept.set(history.id, clock.now() - sweepMs + firstSweepMs)
    const isStale = clock.now() - (swept.get(history.id) as number) > sweepMs
    const mayPrune = kept.some(isRetained)
    // what is kept may be of another site that is not as lost as was thought: nothing but what is deleted by hand is ours to remove
    if (deleting.length === 0 && history.kept) return
    if (deleting.length === 0 && !isStale && (!mayPrune || pruned.get(history.id) === needed)) return
    const known = history.kept ? null : {at: clock.now(), backups: (await store.read('platform', (tx) => tx.backups.list({incarnation: history.id}))).map((b) => b.id)}
    await repositories.through(history.repository, async () => {
      for (const backup of deleting) if (backup.snapshot !== null) await archiver.remove(archive, backup.snapshot)
      await store.transact('platform', async (tx) => {
        for (const backup of deleting) await tx.backups.remove(backup.id)
      })
      // without any backup it is not known what a running one needs of the log
      await archiver.collect(archive, mayPrune ? log : wholeLog, known)
    })
    swept.set(history.id, clock.now())
    if (mayPrune) pruned.set(history.id, needed)
  }

  return {
    async run() {
      const failed: unknown[] = []
      const now = await believedNow()
      for (const history of await store.read('platform', (tx) => tx.histories.list())) {
        if (history.shredded) continue
        // one repository that is away keeps nobody else's backups from their end
        await settle(history, now).catch((error: unknown) => failed.push(error))
      }
      if (failed.length > 0) throw failed[0]
    },
  }
}

const isRetained = (backup: BackupRecord): boolean => (backup.status === 'completed' || backup.status === 'damaged') && backup.completedAt !== null

const retained = (backup: BackupRecord): RetainedBackup => ({
  id: backup.id, completedAt: backup.completedAt as number, usable: backup.status === 'completed',
  kind: backup.label === null ? {name: 'scheduled'} : {name: 'labelled', keepMs: backup.keepMs},
  logFrom: {timeline: backup.timeline ?? '', segment: backup.startSegment ?? ''}, logTo: {timeline: backup.timeline ?? '', segment: backup.endSegment ?? ''},
})

/** What is kept of a deleted instance is deleted by hand. */
const policyOf = (history: HistoryRecord, policy: PolicyRecord | undefined): RetentionPolicy =>
  history.kept || !policy ? {windowMs: null, keepLast: null} : {windowMs: policy.windowMs, keepLast: policy.keepLast}

/** No newer backup will ever relieve those of a history that has ended: its last moment leaves the window, and they go. */
function untilEnd(backup: BackupRecord, history: HistoryRecord, policy: PolicyRecord | undefined, expiresAt: number | null): number | null {
  if (history.endedAt === null || history.kept || backup.label !== null || !policy || policy.windowMs === null) return expiresAt
  const end = history.endedAt + policy.windowMs
  return expiresAt === null ? end : Math.min(expiresAt, end)
}

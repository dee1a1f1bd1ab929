/**
 * The restore that is tried: the newest backup and its log, or one backup that is named, into a throw-away server, replayed, and checked by the engine's own
 * means. A backup that was never restored is a hope; the receipt says how long it took, and what would have been lost.
 */
import {setTimeout as pause} from 'node:timers/promises'
import {effectiveParameters} from '../../../core/instance/instance.js'
import {DbaasError} from '../../../core/errors.js'
import {isoTime} from '../../../core/time.js'
import {formatBytes} from '../../../core/units.js'
import {done, workflow} from '../../../core/workflow/workflow.js'
import type {CheckReport, Recovered} from '../../../engines/backup.js'
import type {Tx} from '../../store/store.js'
import type {Recoveries, RestoreChoice} from '../protection.js'
import {backupOf, drillKind, type BackupParts} from './parts.js'

export interface DrillInput {
  readonly instanceId: string
  readonly testId: string
  /** Which one is tried, up to its own end; without, the newest with all of the log. */
  readonly backupId?: string
}

/** A server that does nothing for so long has ended, or never will. */
const stalledMs = 5 * 60_000
const readyMs = 120_000
/** Findings that are told; how many there were is told beside. */
const toldFindings = 100

interface Tried {
  readonly choice: RestoreChoice
  readonly restoredMs: number
  readonly rtoMs: number
  readonly bytes: number
  readonly files: number
  readonly recovered: Recovered
  readonly report: CheckReport
  readonly checkMs: number
}

export function createDrillWorkflow(parts: BackupParts, recoveries: Recoveries) {
  const {context} = parts
  const {store, clock} = context

  async function tryIt(input: DrillInput, to: {progress(because: string): void; signal: AbortSignal}): Promise<Tried> {
    const {instance, engine} = await parts.load(input.instanceId)
    const backup = backupOf(engine)
    const principal = {...context.principalOfAgent(), tenantId: instance.tenantId}
    const choice = await recoveries.choose(principal, instance, instance.name, input.backupId ?? 'latest')
    const runtime = context.runtimes.get(instance.runtime)
    const admin = await parts.admin()
    return runtime.scratch.use({engine: instance.engine, version: instance.version, image: instance.image}, async (scratch) => {
      const {host} = scratch
      const began = performance.now()
      const folder = await scratch.dataFolder()
      if (folder === null) throw new DbaasError('NOT_SUPPORTED', `the volumes of ${runtime.name} cannot be reached from this machine, so no restore can be tried there`)
      const {files, bytes} = await recoveries.files(choice, folder, (now, total) => to.progress(`${formatBytes(now)} of ${formatBytes(total)} restored`), to.signal)
      const restoredMs = performance.now() - began
      const archive = recoveries.archive(choice)
      await backup.recovery.configure(host, choice.plan, archive)
      const pair = await context.certificates.issueServer({commonName: instance.name, dns: ['localhost', instance.name], ip: ['127.0.0.1', '::1']})
      await engine.config.write(host, {
        version: instance.version, instanceName: instance.name, values: effectiveParameters(instance.layers), tls: {...pair, clientCa: context.certificates.caCertificate},
      })
      const start = () => scratch.start(engine.lifecycle.command(host, instance.version))
      await start()
      const recovered = await replay(async (signal, progressed) => {
        for (;;) {
          const outcome = await backup.recovery.follow(host, admin, choice.plan, archive, {
            signal,
            progress({phase, position, replayedBytes, totalBytes}) {
              progressed(`${phase}${position ?? ''}`)
              to.progress(phase === 'replaying' ? `${formatBytes(replayedBytes)} of ${formatBytes(totalBytes)} of the log replayed` : phase)
            },
          })
          if (outcome.kind === 'recovered') return outcome.recovered
          await start()
        }
      }, to.signal)
      if ((await backup.recovery.finish(host, admin)).restart) await start()
      for (const until = performance.now() + readyMs; (await engine.lifecycle.whyNotReady(host, admin)) !== undefined; ) {
        to.signal.throwIfAborted()
        if (performance.now() > until) throw new DbaasError('RECOVERY_FAILED', 'the restored server does not answer')
        await pause(50)
      }
      const rtoMs = performance.now() - began
      const checking = performance.now()
      const report = await backup.check(host, admin, {progress: (n, all, what) => to.progress(`${n} of ${all} checked: ${what}`), signal: to.signal})
      return {choice, restoredMs, rtoMs, bytes, files, recovered, report, checkMs: performance.now() - checking}
    })
  }

  /** Ends what makes no progress any more: nobody tells when a throw-away server has died. */
  async function replay<T>(work: (signal: AbortSignal, progressed: (state: string) => void) => Promise<T>, outer: AbortSignal): Promise<T> {
    const stalled = new AbortController()
    let state = ''
    let since = performance.now()
    const timer = setInterval(() => {
      if (performance.now() - since > stalledMs) stalled.abort(new DbaasError('RECOVERY_FAILED', 'the throw-away server makes no progress'))
    }, 1000)
    try {
      return await work(AbortSignal.any([outer, stalled.signal]), (now) => {
        if (now !== state) [state, since] = [now, performance.now()]
      })
    } finally {
      clearInterval(timer)
    }
  }

  const seconds = (ms: number): number => Math.round(ms) / 1000

  return workflow<DrillInput, Tx>()({
    kind: drillKind,
    start: 'restore',
    order: ['restore'],
    deadlineSeconds: 24 * 3600,
    steps: {
      restore: {
        retrySeconds: 0,
        async run({input, signal, progress, commit}) {
          const {instance} = await parts.load(input.instanceId)
          const now = clock.now()
          const record = async (ok: boolean, backupId: string, rtoSeconds: number | null, recoveredTo: number | null, result: object): Promise<(tx: Tx) => Promise<void>> => async (tx) => {
            if (!(await tx.instances.find(instance.id))) return
            await tx.restoreTests.insert({id: input.testId, tenantId: instance.tenantId, instanceId: instance.id, backupId, at: clock.now(), ok, rtoSeconds, recoveredTo, result: result as never})
            await tx.event({
              id: context.newId('event'), tenantId: instance.tenantId, type: ok ? 'restore_test.passed' : 'restore_test.failed', subject: instance.id, payload: result as never, at: clock.now(),
            })
          }
          try {
            const tried = await tryIt(input, {progress, signal})
            const {choice, report, recovered} = tried
            const to = recovered.lastCommitMicros === null ? null : Math.floor(recovered.lastCommitMicros / 1000)
            const ok = report.findings.length === 0
            const archivedAt = await store.read('platform', async (tx) => (await tx.logs.get(choice.incarnation))?.durableAt ?? null)
            const receipt = {
              backup_id: choice.backupId, ok, rto_seconds: seconds(tried.rtoMs), rpo_seconds: archivedAt === null ? null : seconds(Math.max(0, now - archivedAt)),
              recovered_to: to === null ? null : isoTime(to), bytes: tried.bytes, files: tried.files, log_bytes: choice.plan.logBytes,
              phases: [{name: 'files', ms: Math.round(tried.restoredMs)}, {name: 'replay', ms: Math.round(tried.rtoMs - tried.restoredMs)}, {name: 'check', ms: Math.round(tried.checkMs)}],
              databases: report.databases, tables: report.tables, rows: report.rows, indexes: report.indexes, findings: report.findings.slice(0, toldFindings),
              findings_count: report.findings.length, skipped: report.skipped.slice(0, toldFindings),
            }
            const write = await record(ok, choice.backupId, receipt.rto_seconds, to, receipt)
            if (ok) {
              commit(write)
              return done(receipt as never)
            }
            await store.transact('platform', write)
            throw new DbaasError('INTEGRITY_MISMATCH', `the restored server of ${instance.name} is damaged: ${report.findings[0]?.object}: ${report.findings[0]?.because}`, {
              details: {findings: String(report.findings.length)}, suggestions: [`dbaas backup ${instance.name} --type full`, `dbaas drill restore ${instance.name}`],
            })
          } catch (error) {
            signal.throwIfAborted()
            const failed = DbaasError.from(error)
            const known = await store.read('platform', (tx) => tx.restoreTests.last(instance.id))
            // what could not even be begun proves nothing
            const proves = !['AGENT_STOPPING', 'BACKUP_NOT_FOUND', 'NOT_SUPPORTED', 'ENGINE_NOT_INSTALLED', 'RUNTIME_UNAVAILABLE'].includes(failed.code)
            if (proves && known?.id !== input.testId) await store.transact('platform', await record(false, '', null, null, {ok: false, because: failed.message, code: failed.code}))
            throw failed
          }
        },
      },
    },
  })
}

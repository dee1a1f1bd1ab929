/**
 * The loss of the primary that is rehearsed: writers write through the endpoint, a real fault befalls the primary, nobody tells the
 * cluster, and every row that was acknowledged is looked for afterwards. The receipt is kept.
 */
import {setTimeout as pause} from 'node:timers/promises'
import {judgeRehearsal, type Verdict} from '../../../core/ha/rehearsal.js'
import type {FailoverReceipt, PrimaryChange} from '../../../core/ha/receipt.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {formatDuration} from '../../../core/time.js'
import {hasEnded, type OperationRecord} from '../../../core/workflow/operation.js'
import {abort, done, next, wait, workflow, type Outcome} from '../../../core/workflow/workflow.js'
import type {ClientCredentials} from '../../../engines/engine.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Subject, SubjectServers} from '../subject.js'
import {replicationOf} from './members.js'
import {failoverKind} from './record.js'
import type {HighAvailability} from './service.js'
import {startWriters, type Writers} from './writers.js'

export const failoverDrillKind = 'drill.failover'

export interface FailoverDrillInput {
  readonly instanceId: string
  readonly drillId: string
  readonly fault: FailoverReceipt['fault']
  /** It is done on a copy, with as many servers, which goes afterwards. Null: on the instance itself. */
  readonly copy: DrillCopy | null
}

export interface DrillCopy {
  readonly id: string
  readonly name: string
  readonly servers: number
}

/** Provisioning's part of a drill on a copy. Each may be asked again, and then goes on. */
export interface DrillCopies {
  /** Throws what a clone is refused with. */
  check(source: InstanceRecord, copy: DrillCopy): Promise<void>
  make(source: InstanceRecord, copy: DrillCopy): Promise<OperationRecord>
  enlarge(source: InstanceRecord, copy: DrillCopy): Promise<OperationRecord>
  remove(id: string): Promise<void>
}

const writerCount = 4
/** Rows of each writer before the fault, and after all is well again. */
const warmRows = 25
const lastRows = 10
const warmMs = 30_000
const firstWriteMs = 120_000
const wholeMs = 300_000
const servedMs = 30_000
/** A copy in the making is looked at so often. */
const copySeconds = 0.25

export interface FailoverDrillParts {
  readonly context: ServiceContext
  readonly servers: SubjectServers & {clientOf(instance: InstanceRecord): Promise<ClientCredentials>}
  readonly clusters: HighAvailability
  /** Asked for when it is needed: it is put together later. */
  readonly copies: DrillCopies
}

/** Which instance is struck. */
const targetOf = ({copy, instanceId}: FailoverDrillInput): string => copy?.id ?? instanceId

/** Of a drill alone: nothing of a user's has that name. */
const journalOf = ({drillId}: FailoverDrillInput): string => `dbaas_drill_${drillId.slice(-16)}`

export function createFailoverDrill(parts: FailoverDrillParts) {
  const {context, servers, clusters} = parts
  const {store, clock} = context
  /** Operations whose writers this very agent may start: those of another one are gone. */
  const prepared = new Set<string>()

  async function journalFor(input: FailoverDrillInput) {
    const {engine, instance} = await servers.load(targetOf(input))
    const client = await servers.clientOf(instance)
    return {journal: replicationOf(engine).journal, client, name: journalOf(input)}
  }

  async function removeJournal(input: FailoverDrillInput): Promise<void> {
    await clusters.untilServed(targetOf(input), AbortSignal.timeout(servedMs), () => undefined)
    const {journal, client, name} = await journalFor(input)
    await journal.remove(client, name)
  }

  async function strike({runtime, placement, node}: Subject, fault: FailoverDrillInput['fault']): Promise<void> {
    if (fault === 'kill') return runtime.kill(placement, node.runtimeRef)
    return fault === 'hang' ? runtime.faults.hang(placement) : runtime.faults.cut(placement)
  }

  /** What is not done in time has failed, and the message says what. */
  async function until(what: string, signal: AbortSignal, ms: number, isSo: () => boolean): Promise<void> {
    for (const end = performance.now() + ms; !isSo(); await pause(5)) {
      signal.throwIfAborted()
      if (performance.now() > end) throw new DbaasError('OPERATION_FAILED', `${what} within ${formatDuration(ms)}`, {suggestions: ['dbaas status NAME', 'dbaas doctor']})
    }
  }

  async function untilWhole(instanceId: string, signal: AbortSignal, progress: (because: string) => void): Promise<void> {
    const timeout = AbortSignal.timeout(wholeMs)
    try {
      await clusters.untilWhole(instanceId, AbortSignal.any([signal, timeout]), progress)
    } catch (error) {
      if (signal.aborted || !timeout.aborted) throw error
      throw new DbaasError('OPERATION_FAILED', `writes went on, and the instance was not whole again within ${formatDuration(wholeMs)}`, {suggestions: ['dbaas status NAME']})
    }
  }

  interface Seen {
    readonly verdict: Verdict
    readonly from: string
    /** By the clock of the store. */
    readonly struckAt: number
  }

  async function rehearse(input: FailoverDrillInput, writers: Writers, to: {signal: AbortSignal; progress(because: string): void}): Promise<Seen> {
    const {signal, progress} = to
    const {fault} = input
    const instanceId = targetOf(input)
    progress(`${writerCount} writers write through the endpoint`)
    await until('the writers did not begin', signal, warmMs, () => writers.counts.every((count) => count >= warmRows))
    const primary = await servers.load(instanceId)
    const struck = writers.acknowledged.at(-1)?.server
    const [struckAt, at] = [performance.now(), clock.now()]
    progress(`${primary.node.name}: ${fault}`)
    try {
      await strike(primary, fault)
      await until('nobody else acknowledged a write', signal, firstWriteMs, () => {
        const last = writers.acknowledged.at(-1)
        return last !== undefined && last.at > struckAt && last.server !== struck
      })
      progress('writes go on')
      await untilWhole(instanceId, signal, progress)
    } finally {
      if (fault !== 'kill') await primary.runtime.faults.heal(primary.placement)
    }
    const whole = [...writers.counts]
    await until('not all writers went on', signal, warmMs, () => writers.counts.every((count, writer) => count >= (whole[writer] ?? 0) + lastRows))
    await writers.stop()
    progress('what was acknowledged is looked for')
    const {journal, client, name} = await journalFor(input)
    const surviving = await journal.read(client, name, {timeoutMs: 60_000, signal})
    return {verdict: judgeRehearsal({acknowledged: writers.acknowledged, surviving, struckAt}), from: primary.node.name, struckAt: at}
  }

  async function receiptOf(input: FailoverDrillInput, {verdict, from, struckAt}: Seen): Promise<FailoverReceipt> {
    const instanceId = targetOf(input)
    const changes = await store.read('platform', (tx) => tx.operations.list({instanceId, limit: 50}))
    const change = changes.filter(({kind, createdAt, status}) => kind === failoverKind && createdAt >= struckAt && status === 'succeeded').sort((a, b) => a.createdAt - b.createdAt)[0]
    const result = (change?.result ?? {}) as Partial<PrimaryChange>
    const {node} = await servers.load(instanceId)
    const {timeToFirstWriteMs, writeGapMs} = verdict
    if (timeToFirstWriteMs === null || writeGapMs === null) throw new DbaasError('OPERATION_FAILED', 'nobody else acknowledged a write')
    return {
      fault: input.fault, clone: input.copy?.name ?? null, from: result.from ?? from, to: result.to ?? node.name, because: result.because ?? '', phases: result.phases ?? [],
      time_to_first_write_ms: Math.round(timeToFirstWriteMs), write_gap_ms: Math.round(writeGapMs), acknowledged_writes: verdict.acknowledged,
      lost_writes: verdict.lost.length, doubled_writes: verdict.doubled.length, divided_writes: verdict.divided,
      rpo_seconds: Math.round(verdict.lostMs) / 1000, rto_seconds: Math.round(timeToFirstWriteMs) / 1000,
    }
  }

  /** The step goes on when the operation has succeeded, and asks again as long as it has not ended. */
  function after<Step extends string>({status, steps, error}: OperationRecord, {name}: DrillCopy, step: Step): Outcome<Step> {
    if (!hasEnded(status)) return wait(copySeconds, `${name}: ${steps.at(-1)?.name ?? 'about to begin'}`)
    return status === 'succeeded' ? next(step) : abort(`${name}, the copy to drill on, could not be made: ${error?.message ?? status}`)
  }

  return workflow<FailoverDrillInput, Tx>()({
    kind: failoverDrillKind,
    start: 'prepare',
    order: ['copy', 'add-replicas', 'prepare', 'rehearse', 'clean'],
    deadlineSeconds: 900,
    steps: {
      copy: {
        async run({input}) {
          const {copy} = input
          if (copy === null) return next('prepare')
          const {instance} = await servers.load(input.instanceId)
          return after(await parts.copies.make(instance, copy), copy, 'add-replicas')
        },
        async undo({input}) {
          if (input.copy) await parts.copies.remove(input.copy.id)
        },
      },
      'add-replicas': {
        async run({input}) {
          const {copy} = input
          if (copy === null) return next('prepare')
          const {instance} = await servers.load(input.instanceId)
          return after(await parts.copies.enlarge(instance, copy), copy, 'prepare')
        },
      },
      prepare: {
        async run({input, operationId, signal}) {
          const missing = clusters.missing(targetOf(input))
          if (missing !== null) return abort(`a drill begins with an instance that is whole: ${missing}`)
          const {journal, client, name} = await journalFor(input)
          await journal.make(client, name, {signal})
          prepared.add(operationId)
          return next('rehearse')
        },
        undo: async ({input}) => (input.copy ? undefined : removeJournal(input)),
      },
      rehearse: {
        retrySeconds: 0,
        async run({input, operationId, signal, progress, commit}) {
          if (!prepared.delete(operationId)) return abort('the agent ended in the middle of the drill, and its writers with it')
          const {journal, client, name} = await journalFor(input)
          const writers = startWriters(journal, client, name, writerCount)
          try {
            const seen = await rehearse(input, writers, {signal, progress})
            const receipt = await receiptOf(input, seen)
            const {instance} = await servers.load(input.instanceId)
            const ok = receipt.lost_writes + receipt.doubled_writes + receipt.divided_writes === 0
            const at = clock.now()
            commit(async (tx) => {
              await tx.failoverDrills.insert({id: input.drillId, tenantId: instance.tenantId, instanceId: instance.id, at, ok, result: {...receipt} as never})
              await tx.event({
                id: context.newId('event'), tenantId: instance.tenantId, type: ok ? 'failover_drill.passed' : 'failover_drill.failed', subject: instance.id, payload: {...receipt} as never, at,
              })
            })
            return next('clean')
          } finally {
            await writers.stop()
          }
        },
        /** Of all nodes: an agent that has ended has not said which one it struck. */
        async undo({input, operationId}) {
          prepared.delete(operationId)
          const {instance} = await servers.load(targetOf(input))
          const nodes = await store.read('platform', (tx) => tx.nodes.ofInstance(instance.id))
          if (input.fault === 'kill') return
          for (const {runtime, placement} of nodes.map((node) => servers.subjectOf(instance, node))) await runtime.faults.heal(placement)
        },
      },
      clean: {
        async run({input}) {
          await (input.copy ? parts.copies.remove(input.copy.id) : removeJournal(input))
          const drill = await store.read('platform', (tx) => tx.failoverDrills.get(input.drillId))
          const receipt = drill?.result as unknown as FailoverReceipt
          if (drill?.ok) return done(drill.result)
          throw new DbaasError('INTEGRITY_MISMATCH', `of ${receipt.acknowledged_writes} acknowledged writes ${receipt.lost_writes} are lost and ${receipt.doubled_writes} doubled; ${
            receipt.divided_writes} were acknowledged by a primary that was none any more`, {details: {fault: receipt.fault, from: receipt.from, to: receipt.to}, suggestions: ['dbaas status NAME', 'dbaas logs NAME']})
        },
      },
    },
  })
}

/**
 * Durable execution: an operation is stored before it starts, each step's outcome is stored, together with the state
 * it changed, before the next begins. Whatever kills the agent, the next one continues from the last stored outcome:
 * forward, or back through the undos.
 */
import {DbaasError} from '../../core/errors.js'
import type {Json} from '../../core/json.js'
import type {Clock} from '../../core/time.js'
import {backoffMs} from '../../core/workflow/backoff.js'
import {hasEnded, type OperationRecord, type StepRecord} from '../../core/workflow/operation.js'
import type {Outcome, Step, StepContext, Workflow} from '../../core/workflow/workflow.js'
import type {Store, Tx} from '../store/store.js'
import {closeStep, openStep, stepsToUndo} from './steps.js'

export type AnyWorkflow = Workflow<never, Tx, string>

/** Where a test may stop the world. `stored` is after the outcome is durable. */
export interface ProbePoint {
  readonly kind: string
  readonly step: string
  readonly direction: 'forward' | 'undo'
  readonly when: 'before' | 'after' | 'stored'
  readonly operationId: string
}

export interface EngineOptions {
  readonly store: Store
  readonly clock: Clock
  /** Of this run of the agent: leases of any other are void, since the home's lock is ours alone. */
  readonly owner: string
  readonly workflows: readonly AnyWorkflow[]
  /** Kinds of operations that are stored like all, and that others drive. They cannot be cancelled. */
  readonly foreign?: ReadonlySet<string>
  readonly parallelism: number
  readonly random: () => number
  readonly log: (message: string, facts: Record<string, unknown>) => void
  readonly probe?: (point: ProbePoint) => Promise<void>
  /** After an operation's row changed and is committed. */
  readonly changed: (operation: OperationRecord) => void
}

type Patch = Partial<OperationRecord>
type Commit = (tx: Tx) => Promise<void>
type Stop = 'cancel' | 'deadline' | 'shutdown'

const leaseMs = 30_000
const defaultRetrySeconds = 60

/** What its operations queue for; null: nothing. */
const laneOf = ({instanceId, lane}: OperationRecord): string | null => (instanceId === null ? null : `${instanceId}/${lane}`)

export interface WorkflowEngine {
  /** Takes over what an earlier agent left, and begins. */
  start(): Promise<void>
  /** Looks for something to run; called after an operation was inserted. */
  poke(): void
  /** Throws OPERATION_NOT_FOUND, NOT_CANCELLABLE. */
  cancel(operation: OperationRecord): Promise<OperationRecord>
  workflow(kind: string): AnyWorkflow
  /** Operations that are being driven now. */
  running(): number
  /** Interrupts what can be interrupted, waits for the rest of the current steps. Nothing is undone. */
  stop(): Promise<void>
}

export function createWorkflowEngine(options: EngineOptions): WorkflowEngine {
  const {store, clock} = options
  const workflows = new Map(options.workflows.map((w) => [w.kind, w]))
  const active = new Map<string, {controller: AbortController; lane: string | null; ended: Promise<void>}>()
  /** Operations that could not be driven (the store was full, say): left alone for a while, never in a tight loop. */
  const stalled = new Map<string, {times: number; until: number}>()
  let stopping = false
  let wakeTimer: NodeJS.Timeout | undefined
  let scheduling: Promise<void> | undefined
  let again = false

  function workflowOf(kind: string): AnyWorkflow {
    const found = workflows.get(kind)
    if (!found) throw new DbaasError('INTERNAL', `this agent does not know the operation "${kind}"`)
    return found
  }

  /** One pass at a time; a poke during a pass causes one more. */
  function poke(): void {
    if (stopping) return
    if (scheduling) {
      again = true
      return
    }
    scheduling = schedule()
      .catch((error: unknown) => options.log('scheduling failed', {error: String(error)}))
      .finally(() => {
        scheduling = undefined
        if (again) {
          again = false
          poke()
        }
      })
  }

  async function schedule(): Promise<void> {
    const open = await store.read('platform', (tx) => tx.operations.open())
    const now = clock.now()
    const busy = new Set([...active.values()].map((a) => a.lane).filter((lane) => lane !== null))
    let wakeAt = Number.POSITIVE_INFINITY
    for (const operation of open) {
      if (stopping) return
      if (active.has(operation.id) || options.foreign?.has(operation.kind)) continue
      // the oldest open operation of a lane of an instance goes first, also while it waits: they never overtake
      const lane = laneOf(operation)
      if (lane !== null) {
        if (busy.has(lane)) continue
        busy.add(lane)
      }
      if (operation.leaseOwner !== null && operation.leaseOwner !== options.owner && (operation.leaseUntil ?? 0) > now) {
        wakeAt = Math.min(wakeAt, operation.leaseUntil ?? now)
        continue
      }
      const runAt = Math.max(operation.runAt, stalled.get(operation.id)?.until ?? 0)
      if (runAt > now) {
        wakeAt = Math.min(wakeAt, runAt)
        continue
      }
      if (active.size >= options.parallelism) continue
      launch(operation)
    }
    if (wakeTimer) clearTimeout(wakeTimer)
    if (wakeAt < Number.POSITIVE_INFINITY) {
      wakeTimer = setTimeout(poke, Math.min(Math.max(1, wakeAt - now), 60_000))
      wakeTimer.unref()
    }
  }

  function launch(operation: OperationRecord): void {
    const controller = new AbortController()
    const ended = drive(operation, controller)
      .then(() => void stalled.delete(operation.id))
      .catch((error: unknown) => {
        const times = (stalled.get(operation.id)?.times ?? 0) + 1
        stalled.set(operation.id, {times, until: clock.now() + backoffMs(times, options.random(), 500, 10_000)})
        options.log('an operation could not be driven', {operation: operation.id, error: String(error)})
      })
      .finally(() => {
        active.delete(operation.id)
        poke()
      })
    active.set(operation.id, {controller, lane: laneOf(operation), ended})
  }

  /** Stores the new state of the row and the state changes of the step in one transaction. */
  async function save(operation: OperationRecord, patch: Patch, commits: readonly Commit[] = []): Promise<OperationRecord> {
    const whole: Patch = hasEnded(patch.status ?? operation.status) ? patch : {leaseUntil: clock.now() + leaseMs, ...patch}
    const fresh = await store.transact('platform', async (tx) => {
      const current = await tx.operations.get(operation.id)
      if (!current) throw new DbaasError('OPERATION_NOT_FOUND', `the operation ${operation.id} is gone`)
      for (const commit of commits) await commit(tx)
      await tx.operations.update(operation.id, whole)
      return {...current, ...whole}
    })
    options.changed(fresh)
    return fresh
  }

  /** Runs steps until the operation ends, waits, or the agent stops. */
  async function drive(first: OperationRecord, controller: AbortController): Promise<void> {
    const flow = workflowOf(first.kind) as Workflow<unknown, Tx, string>
    const now = clock.now()
    let operation = await save(first, {
      status: 'running', leaseOwner: options.owner, leaseUntil: now + leaseMs,
      ...(first.steps.length === 0 ? {steps: openStep([], first.step, now), stepStartedAt: now} : {}),
    })
    const deadline = setTimeout(() => controller.abort('deadline' satisfies Stop), Math.min(Math.max(0, operation.deadlineAt - now), 2 ** 31 - 1))
    deadline.unref()
    const renewal = setInterval(() => void renew(operation.id), leaseMs / 3)
    renewal.unref()
    try {
      while (!stopping && !hasEnded(operation.status)) {
        const before = operation
        operation = operation.direction === 'forward'
          ? await forward(flow, operation, controller)
          : await backward(flow, operation)
        if (operation === before || (!hasEnded(operation.status) && operation.runAt > clock.now())) return
      }
    } finally {
      clearTimeout(deadline)
      clearInterval(renewal)
    }
  }

  /** A step may take longer than a lease. */
  const renew = (id: string): Promise<void> =>
    store.transact('platform', (tx) => tx.operations.update(id, {leaseUntil: clock.now() + leaseMs}))
      .catch((error: unknown) => options.log('a lease could not be renewed', {operation: id, error: String(error)}))

  function contextOf(operation: OperationRecord, signal: AbortSignal, undoing: string | undefined): {context: StepContext<unknown, Tx>; commits: Commit[]} {
    const commits: Commit[] = []
    return {
      commits,
      context: {
        operationId: operation.id, tenantId: operation.tenantId, instanceId: operation.instanceId, input: operation.input,
        attempt: operation.attempt, signal, undoing,
        progress(because) {
          options.changed({...operation, steps: operation.steps.map((s, i) => (i === operation.steps.length - 1 ? {...s, because} : s))})
        },
        commit: (change) => void commits.push(change),
      },
    }
  }

  const isPast = (flow: Workflow<unknown, Tx, string>, step: string): boolean =>
    flow.pointOfNoReturn !== undefined && flow.order.indexOf(step) >= flow.order.indexOf(flow.pointOfNoReturn)

  async function forward(flow: Workflow<unknown, Tx, string>, operation: OperationRecord, controller: AbortController): Promise<OperationRecord> {
    const name = operation.step
    const step = flow.steps[name] as Step<unknown, Tx, string> | undefined
    if (!step) throw new DbaasError('INTERNAL', `${operation.kind} has no step "${name}"`)
    const past = isPast(flow, name)
    const why = past ? undefined : whyStop(operation, controller)
    if (why) return turnBack(flow, operation, why)
    const point = {kind: operation.kind, step: name, direction: 'forward', operationId: operation.id} as const
    const {context, commits} = contextOf(operation, past ? new AbortController().signal : controller.signal, undefined)
    let outcome: Outcome<string>
    try {
      await options.probe?.({...point, when: 'before'})
      outcome = await step.run(context)
      await options.probe?.({...point, when: 'after'})
    } catch (thrown) {
      return failed(flow, operation, step, thrown, controller, past)
    }
    // a cancel that was accepted during the last step before the point of no return holds: it was told that it would
    const tooLate = outcome.kind === 'next' && !past && isPast(flow, outcome.step) ? whyStop(operation, controller) : undefined
    if (tooLate) return turnBack(flow, operation, tooLate)
    const saved = await settle(flow, operation, outcome, commits)
    await options.probe?.({...point, when: 'stored'})
    return saved
  }

  async function settle(flow: Workflow<unknown, Tx, string>, operation: OperationRecord, outcome: Outcome<string>, commits: readonly Commit[]): Promise<OperationRecord> {
    const now = clock.now()
    switch (outcome.kind) {
      case 'next':
        return save(operation, {
          step: outcome.step, attempt: 1, stepStartedAt: now, runAt: now,
          steps: openStep(closeStep(operation.steps, 'succeeded', now, null), outcome.step, now),
        }, commits)
      case 'wait':
        return save(operation, {
          runAt: now + outcome.seconds * 1000, attempt: operation.attempt + 1,
          steps: operation.steps.map((s, i): StepRecord => (i === operation.steps.length - 1 ? {...s, status: 'waiting', because: outcome.because} : s)),
        }, commits)
      case 'done':
        return finish(flow, operation, {
          status: 'succeeded', result: outcome.result, endedAt: now, leaseOwner: null, leaseUntil: null,
          steps: closeStep(operation.steps, 'succeeded', now, null),
        }, [...commits, async (tx) => {
          await flow.onDone?.(tx, {input: operation.input, instanceId: operation.instanceId, tenantId: operation.tenantId, result: outcome.result})
        }])
      case 'abort':
        return turnBack(flow, operation, {error: new DbaasError('OPERATION_FAILED', outcome.because), cancelled: false})
    }
  }

  interface WhyBack {
    readonly error: DbaasError
    readonly cancelled: boolean
  }

  function whyStop(operation: OperationRecord, controller: AbortController): WhyBack | undefined {
    if (operation.cancelRequested || controller.signal.reason === 'cancel') {
      return {error: new DbaasError('OPERATION_CANCELLED', 'the operation was cancelled'), cancelled: true}
    }
    if (clock.now() >= operation.deadlineAt || controller.signal.reason === 'deadline') {
      const seconds = Math.round((operation.deadlineAt - operation.createdAt) / 1000)
      return {
        error: new DbaasError('DEADLINE_EXCEEDED', `the operation did not finish within ${seconds} s, at step "${operation.step}"`, {
          details: {step: operation.step, deadline_seconds: String(seconds)},
          suggestions: [`dbaas operations show ${operation.id}`, 'dbaas doctor'],
        }),
        cancelled: false,
      }
    }
    return undefined
  }

  async function failed(
    flow: Workflow<unknown, Tx, string>, operation: OperationRecord, step: Step<unknown, Tx, string>, thrown: unknown,
    controller: AbortController, past: boolean,
  ): Promise<OperationRecord> {
    // interrupted, not failed: the row stays as it is, and the next agent runs the step again
    if (stopping) return operation
    const why = past ? undefined : whyStop(await latest(operation), controller)
    if (why) return turnBack(flow, operation, why)
    const error = DbaasError.from(thrown)
    if (error.code === 'INTERNAL') options.log('a step threw', {operation: operation.id, step: operation.step, stack: (thrown as Error)?.stack ?? String(thrown)})
    const now = clock.now()
    const patience = (step.retrySeconds ?? defaultRetrySeconds) * 1000
    const transient = error.row.retry !== 'permanent' || past
    if (transient && now - (operation.stepStartedAt ?? now) < patience) {
      return save(operation, {
        attempt: operation.attempt + 1,
        runAt: now + backoffMs(operation.attempt, options.random()),
        steps: operation.steps.map((s, i): StepRecord => (i === operation.steps.length - 1 ? {...s, status: 'waiting', because: `will try again: ${error.message}`} : s)),
      })
    }
    if (!past) return turnBack(flow, operation, {error, cancelled: false})
    return finish(flow, operation, {
      status: 'failed', error: error.toDetail(), endedAt: now, leaseOwner: null, leaseUntil: null,
      steps: closeStep(operation.steps, 'failed', now, error.message),
    }, [async (tx) => {
      await flow.onUndone?.(tx, {input: operation.input, instanceId: operation.instanceId, tenantId: operation.tenantId, because: error.message, cancelled: false})
    }])
  }

  const latest = async (operation: OperationRecord): Promise<OperationRecord> =>
    (await store.read('platform', (tx) => tx.operations.get(operation.id))) ?? operation

  /** From here on the operation goes back: the step that did not end is undone first, then the finished ones. */
  function turnBack(_flow: Workflow<unknown, Tx, string>, operation: OperationRecord, why: WhyBack): Promise<OperationRecord> {
    const now = clock.now()
    return save(operation, {
      direction: 'undo', attempt: 1, stepStartedAt: now, runAt: now, error: why.error.toDetail(), cancelRequested: why.cancelled,
      steps: closeStep(operation.steps, 'failed', now, why.error.message),
    })
  }

  async function backward(flow: Workflow<unknown, Tx, string>, operation: OperationRecord): Promise<OperationRecord> {
    const now = clock.now()
    const because = operation.error?.message ?? 'it failed'
    const name = stepsToUndo(operation.steps)[0]
    if (name === undefined) {
      return finish(flow, operation, {
        status: operation.cancelRequested ? 'cancelled' : 'failed', endedAt: now, leaseOwner: null, leaseUntil: null,
      }, [async (tx) => {
        await flow.onUndone?.(tx, {
          input: operation.input, instanceId: operation.instanceId, tenantId: operation.tenantId, because, cancelled: operation.cancelRequested,
        })
      }])
    }
    const mark = (status: StepRecord['status'], sentence: string | null): StepRecord[] =>
      operation.steps.map((s) => (s.name === name ? {...s, status, because: sentence ?? s.because} : s))
    const step = flow.steps[name] as Step<unknown, Tx, string>
    const {context, commits} = contextOf({...operation, steps: mark('undoing', null)}, new AbortController().signal, because)
    const point = {kind: operation.kind, step: name, direction: 'undo', operationId: operation.id} as const
    try {
      await options.probe?.({...point, when: 'before'})
      await step.undo?.(context)
      await options.probe?.({...point, when: 'after'})
    } catch (thrown) {
      if (stopping) return operation
      const error = DbaasError.from(thrown)
      options.log('an undo failed', {operation: operation.id, step: name, error: error.message})
      if (now - (operation.stepStartedAt ?? now) < defaultRetrySeconds * 1000) {
        return save(operation, {attempt: operation.attempt + 1, runAt: now + backoffMs(operation.attempt, options.random())})
      }
      // it is said, and the rest is still taken back: a half-undone operation must not stay open for ever
      const failure = operation.error ?? error.toDetail()
      return save(operation, {
        attempt: 1, stepStartedAt: now, steps: mark('undone', `could not be undone: ${error.message}`),
        error: {...failure, details: {...failure.details, [`undo_${name}`]: error.message}},
      })
    }
    const saved = await save(operation, {attempt: 1, stepStartedAt: clock.now(), runAt: now, steps: mark('undone', null)}, commits)
    await options.probe?.({...point, when: 'stored'})
    return saved
  }

  async function finish(_flow: Workflow<unknown, Tx, string>, operation: OperationRecord, patch: Patch, commits: readonly Commit[]): Promise<OperationRecord> {
    return save(operation, patch, [...commits, async (tx) => {
      const status = patch.status as string
      const result: Json = {operation_id: operation.id, kind: operation.kind, status}
      await tx.event({
        id: `${operation.id}:ended`, tenantId: operation.tenantId, type: 'operation.ended', subject: operation.instanceId ?? operation.id,
        payload: result, at: clock.now(),
      })
      await tx.audit({
        id: `${operation.id}:ended`, at: clock.now(), tenantId: operation.tenantId, actor: operation.principalId, source: 'agent',
        action: operation.kind, resource: operation.instanceId ?? operation.id, result: status === 'succeeded' ? 'succeeded' : 'failed',
        requestId: operation.requestId,
        details: {operation_id: operation.id, status, ...(patch.error ?? operation.error ? {error: (patch.error ?? operation.error)?.code ?? ''} : {})},
      })
    }])
  }

  return {
    async start() {
      // the home's lock is ours, so whoever held these leases is dead
      await store.transact('platform', async (tx) => {
        for (const operation of await tx.operations.open()) {
          if (operation.leaseOwner !== null) await tx.operations.update(operation.id, {leaseOwner: null, leaseUntil: null})
        }
      })
      poke()
    },
    poke,
    workflow: workflowOf,
    running: () => active.size,
    async cancel(asked) {
      if (options.foreign?.has(asked.kind) && !hasEnded(asked.status)) {
        throw new DbaasError('NOT_CANCELLABLE', `the operation ${asked.id} cannot be cancelled: it ends as soon as there is a primary`, {
          details: {operation_id: asked.id}, suggestions: [`dbaas operations wait ${asked.id}`],
        })
      }
      const flow = workflowOf(asked.kind)
      const fresh = await store.transact({tenant: asked.tenantId}, async (tx) => {
        const operation = await tx.operations.get(asked.id)
        if (!operation) throw new DbaasError('OPERATION_NOT_FOUND', `there is no operation ${asked.id}`)
        if (hasEnded(operation.status)) {
          throw new DbaasError('NOT_CANCELLABLE', `the operation ${asked.id} has already ended: ${operation.status}`, {
            details: {operation_id: asked.id, status: operation.status}, suggestions: [`dbaas operations show ${asked.id}`],
          })
        }
        if (operation.direction === 'forward' && isPast(flow as Workflow<unknown, Tx, string>, operation.step)) {
          throw new DbaasError('NOT_CANCELLABLE', `the operation ${asked.id} has passed its point of no return (step "${operation.step}")`, {
            details: {operation_id: asked.id, step: operation.step}, suggestions: [`dbaas operations wait ${asked.id}`],
          })
        }
        await tx.operations.update(asked.id, {cancelRequested: true, runAt: Math.min(operation.runAt, clock.now())})
        return {...operation, cancelRequested: true}
      })
      active.get(asked.id)?.controller.abort('cancel' satisfies Stop)
      options.changed(fresh)
      poke()
      return fresh
    },
    async stop() {
      stopping = true
      if (wakeTimer) clearTimeout(wakeTimer)
      await scheduling
      for (const {controller} of active.values()) controller.abort('shutdown' satisfies Stop)
      await Promise.allSettled([...active.values()].map((a) => a.ended))
    },
  }
}

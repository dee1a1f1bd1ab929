/** Mutating verbs: the request, then the operation's steps live until it has ended. */
import type {CallInput, Client, JsonEndpointId} from '../../agent/client/client.js'
import type {ApiBackup, ApiInstance, ApiOperation, ApiPlan, ResponseOf} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import {formatDuration, parseDuration} from '../../core/time.js'

export interface OperationFlags {
  readonly plan?: boolean
  readonly wait: boolean
  readonly timeout?: string | undefined
}

/** Endpoints whose change is an operation that can be planned. */
type StartingId = Exclude<{[Id in JsonEndpointId]: Extract<ResponseOf<Id>, {operation: ApiOperation}> extends never ? never : Id}[JsonEndpointId], 'operations.get' | 'operations.cancel'>

type Started = {readonly plan: ApiPlan} | {readonly operation: ApiOperation; readonly instance?: ApiInstance; readonly backup?: ApiBackup}

/** CLI.md: what a mutating verb prints. */
export type MutationResult =
  | {readonly plan: ApiPlan}
  | {readonly operation: ApiOperation; readonly instance?: ApiInstance; readonly backup?: ApiBackup}

/**
 * Starts the change and, unless told not to, waits. An operation that failed or was cancelled is thrown as its own
 * error. Throws WAIT_TIMED_OUT and INTERRUPTED while the operation goes on; all carry `details.operation_id`.
 */
export async function mutate<Id extends StartingId>(client: Client, id: Id, request: CallInput<Id>, flags: OperationFlags): Promise<MutationResult> {
  const timeoutMs = flags.timeout === undefined ? undefined : parseDuration(flags.timeout)
  const stop = stopSignals(timeoutMs)
  try {
    // A request that was sent is waited for: only its answer tells which operation to come back to.
    const answer = await client.call(id, {...request, idempotencyKey: crypto.randomUUID()}) as Started
    if ('plan' in answer) return {plan: answer.plan}
    if (!flags.wait) return {operation: answer.operation}
    const operation = succeeded(await attend(client, answer.operation, stop))
    if (answer.backup !== undefined) {
      if (operation.kind.endsWith('.delete')) return {operation, backup: answer.backup}
      const {backup} = await client.call('backups.get', {params: {backup: answer.backup.id}})
      return {operation, backup}
    }
    if (answer.instance === undefined) return {operation}
    if (operation.kind.endsWith('.delete')) return {operation, instance: answer.instance}
    const {instance} = await client.call('instances.get', {params: {instance: answer.instance.id}})
    return {operation, instance}
  } finally {
    stop.release()
  }
}

/** Waits for an operation that someone started. Same errors as `mutate`. */
export async function waitFor(client: Client, operation: ApiOperation, timeout: string | undefined): Promise<ApiOperation> {
  return succeeded(await waitForEnd(client, operation, timeout))
}

/** The same, but however it ended: a cancelled operation is what `operations cancel` wants. */
export async function waitForEnd(client: Client, operation: ApiOperation, timeout: string | undefined): Promise<ApiOperation> {
  const stop = stopSignals(timeout === undefined ? undefined : parseDuration(timeout))
  try {
    return await attend(client, operation, stop)
  } finally {
    stop.release()
  }
}

interface Stop {
  readonly signal: AbortSignal
  readonly timeoutMs: number | undefined
  readonly release: () => void
}

/** The first Ctrl-C stops the waiting; the second, as always, the process. */
function stopSignals(timeoutMs: number | undefined): Stop {
  const controller = new AbortController()
  const interrupt = () => {
    process.off('SIGINT', interrupt)
    controller.abort('interrupted')
  }
  process.on('SIGINT', interrupt)
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => controller.abort('timeout'), timeoutMs)
  return {
    signal: controller.signal,
    timeoutMs,
    release: () => {
      process.off('SIGINT', interrupt)
      clearTimeout(timer)
    },
  }
}

async function attend(client: Client, started: ApiOperation, stop: Stop): Promise<ApiOperation> {
  const {openProgress} = await import('./progress.js')
  const progress = await openProgress(process.stderr)
  let last = started
  progress.update(last)
  try {
    if (!stop.signal.aborted && last.ended_at === null) {
      await client.follow(started.id, (operation) => {
        last = operation
        progress.update(operation)
      }, stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) throw error
      })
    }
  } finally {
    progress.close()
  }
  if (last.ended_at === null) throw stoppedWaiting(last, stop)
  return last
}

/** Throws the operation's own error. */
export function succeeded(operation: ApiOperation): ApiOperation {
  if (operation.status !== 'succeeded') throw failureOf(operation)
  return operation
}

function stoppedWaiting(operation: ApiOperation, {signal, timeoutMs}: Stop): DbaasError {
  const details = {operation_id: operation.id}
  const suggestions = [`dbaas operations wait ${operation.id}`, `dbaas operations cancel ${operation.id}`]
  return signal.reason === 'timeout'
    ? new DbaasError('WAIT_TIMED_OUT', `not done after ${formatDuration(timeoutMs ?? 0)}; the operation goes on`, {details, suggestions})
    : new DbaasError('INTERRUPTED', 'stopped waiting; the operation goes on', {details, suggestions})
}

/** The operation's own error, with the id under which its steps can be read. */
function failureOf(operation: ApiOperation): DbaasError {
  const own = operation.error
  const fallback = operation.status === 'cancelled' ? 'OPERATION_CANCELLED' : 'OPERATION_FAILED'
  return DbaasError.fromDetail({
    code: own?.code ?? fallback,
    message: own?.message ?? `${operation.kind} ${operation.status === 'cancelled' ? 'was cancelled' : 'failed'} and was undone`,
    details: {...own?.details, operation_id: operation.id},
    suggestions: [...(own?.suggestions ?? []), `dbaas operations show ${operation.id}`],
  })
}

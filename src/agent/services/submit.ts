import type {Principal} from '../../core/access/principal.js'
import {DbaasError} from '../../core/errors.js'
import type {Json} from '../../core/json.js'
import type {Lane, OperationRecord} from '../../core/workflow/operation.js'
import type {Tx} from '../store/store.js'
import type {ServiceContext} from './context.js'
import type {Idempotency} from './contract.js'

export interface Submission {
  readonly kind: string
  readonly instanceId: string | null
  /** The instance's own by default. */
  readonly lane?: Lane
  /** For the audit log: `instance/demo`. */
  readonly resource: string
  readonly input: Json
  readonly start: string
  readonly deadlineSeconds: number
}

/** The operation that an earlier request with this key started. Throws IDEMPOTENCY_CONFLICT. */
export async function repeated(context: ServiceContext, principal: Principal, idempotency: Idempotency | undefined): Promise<OperationRecord | undefined> {
  if (!idempotency) return undefined
  return context.store.read({tenant: principal.tenantId}, async (tx) => {
    const before = await tx.idempotency.get(principal.id, idempotency.key)
    if (!before) return undefined
    if (before.fingerprint !== idempotency.fingerprint) {
      throw new DbaasError('IDEMPOTENCY_CONFLICT', 'the idempotency key was used before with a different request', {
        details: {operation_id: before.operationId}, suggestions: ['use a new key for a new request'],
      })
    }
    return tx.operations.get(before.operationId)
  })
}

/** Stores the operation, its audit entry and its key in the transaction of the change that it belongs to. */
export async function submit(context: ServiceContext, tx: Tx, principal: Principal, submission: Submission, idempotency: Idempotency | undefined): Promise<OperationRecord> {
  context.mayChange()
  const now = context.clock.now()
  const operation: OperationRecord = {
    id: context.newId('operation'), tenantId: principal.tenantId, kind: submission.kind, instanceId: submission.instanceId, lane: submission.lane ?? 'instance', status: 'pending',
    input: submission.input, step: submission.start, direction: 'forward', attempt: 1, stepStartedAt: null, steps: [], result: null,
    error: null, cancelRequested: false, principalId: principal.id, requestId: principal.requestId,
    deadlineAt: now + submission.deadlineSeconds * 1000, runAt: now, leaseOwner: null, leaseUntil: null, createdAt: now, endedAt: null,
  }
  if (idempotency && (await tx.idempotency.get(principal.id, idempotency.key))) {
    throw new DbaasError('IDEMPOTENCY_CONFLICT', 'a request with this idempotency key is being handled', {suggestions: ['send it again']})
  }
  await tx.operations.insert(operation)
  await tx.audit({
    id: context.newId('audit'), at: now, tenantId: principal.tenantId, actor: principal.id, source: principal.source, action: submission.kind,
    resource: submission.resource, result: 'allowed', requestId: principal.requestId, details: {operation_id: operation.id},
  })
  if (idempotency) {
    await tx.idempotency.put({
      tenantId: principal.tenantId, principalId: principal.id, key: idempotency.key, fingerprint: idempotency.fingerprint,
      operationId: operation.id, at: now,
    })
  }
  return operation
}

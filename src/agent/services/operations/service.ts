/** Operations as people follow them: list, show, live changes, cancel. */
import {authorize} from '../../../core/access/principal.js'
import type {ApiOperation} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import {hasEnded, operationStatuses, type OperationRecord} from '../../../core/workflow/operation.js'
import type {ServiceContext} from '../context.js'
import type {OperationsApi} from '../contract.js'
import {operationView} from '../operation-view.js'
import {checkStatus} from '../statuses.js'

export interface OperationsHub extends OperationsApi {
  /** The workflow engine tells every committed change. */
  changed(operation: OperationRecord): void
}

export function createOperationsService(context: ServiceContext, cancel: (operation: OperationRecord) => Promise<OperationRecord>): OperationsHub {
  const {store} = context
  const followers = new Map<string, Set<(operation: OperationRecord) => void>>()

  async function find(tenant: string, id: string): Promise<OperationRecord> {
    const operation = await store.read({tenant}, (tx) => tx.operations.get(id))
    if (!operation) {
      throw new DbaasError('OPERATION_NOT_FOUND', `there is no operation "${id}"`, {details: {operation_id: id}, suggestions: ['dbaas operations list']})
    }
    return operation
  }

  return {
    changed(operation) {
      for (const follower of followers.get(operation.id) ?? []) follower(operation)
    },
    async list(principal, query) {
      authorize(principal, 'list', 'operation')
      const status = query?.status
      if (status !== undefined) checkStatus(status, operationStatuses)
      return store.read({tenant: principal.tenantId}, async (tx) => {
        let instanceId: string | undefined
        if (query?.instance !== undefined) {
          // a deleted instance is still known by its id
          instanceId = query.instance.startsWith('ins_') ? query.instance : (await tx.instances.find(query.instance))?.id
          if (instanceId === undefined) {
            throw new DbaasError('INSTANCE_NOT_FOUND', `there is no instance "${query.instance}"`, {suggestions: ['dbaas operations list']})
          }
        }
        const records = await tx.operations.list({
          limit: query?.limit ?? 100, ...(instanceId === undefined ? {} : {instanceId}), ...(status === undefined ? {} : {status}),
        })
        return records.map(operationView)
      })
    },
    async get(principal, id) {
      authorize(principal, 'read', `operation/${id}`)
      return operationView(await find(principal.tenantId, id))
    },
    async follow(principal, id, signal) {
      authorize(principal, 'read', `operation/${id}`)
      await find(principal.tenantId, id)
      return changes(principal.tenantId, id, signal)
    },
    async cancel(principal, id) {
      authorize(principal, 'cancel', `operation/${id}`)
      context.mayChange()
      const operation = await find(principal.tenantId, id)
      const cancelled = await cancel(operation)
      await store.transact({tenant: principal.tenantId}, (tx) => tx.audit({
        id: context.newId('audit'), at: context.clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source,
        action: 'operations.cancel', resource: `operation/${id}`, result: 'succeeded', requestId: principal.requestId, details: {},
      }))
      return operationView(cancelled)
    },
  }

  /** Only the newest state waits for a slow reader: what people want is where it is, not each step of the way. */
  async function* changes(tenant: string, id: string, signal: AbortSignal): AsyncIterable<ApiOperation> {
    let latest: OperationRecord | undefined
    let wake: (() => void) | undefined
    const follower = (operation: OperationRecord): void => {
      latest = operation
      wake?.()
    }
    const set = followers.get(id) ?? new Set()
    followers.set(id, set.add(follower))
    const aborted = (): void => wake?.()
    signal.addEventListener('abort', aborted)
    try {
      let current: OperationRecord = await find(tenant, id)
      for (;;) {
        yield operationView(current)
        if (hasEnded(current.status)) return
        while (latest === undefined) {
          if (signal.aborted) return
          await new Promise<void>((resolve) => (wake = resolve))
          wake = undefined
        }
        current = latest
        latest = undefined
      }
    } finally {
      signal.removeEventListener('abort', aborted)
      set.delete(follower)
      if (set.size === 0) followers.delete(id)
    }
  }
}

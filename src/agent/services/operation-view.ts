/** Operations and plans as the API shows them (CLI.md, JSON shapes). Pure. */
import type {ApiOperation, ApiPlan} from '../../core/api/schemas.js'
import {isoTime} from '../../core/time.js'
import type {OperationRecord} from '../../core/workflow/operation.js'

const isoOrNull = (ms: number | null): string | null => (ms === null ? null : isoTime(ms))

export function operationView(operation: OperationRecord): ApiOperation {
  return {
    id: operation.id, kind: operation.kind, status: operation.status, tenant_id: operation.tenantId, instance_id: operation.instanceId,
    steps: operation.steps.map((step) => ({
      name: step.name, status: step.status, started_at: isoTime(step.startedAt), ended_at: isoOrNull(step.endedAt), because: step.because,
    })),
    result: operation.result, error: operation.error, created_at: isoTime(operation.createdAt), ended_at: isoOrNull(operation.endedAt),
  }
}

export const planView = (plan: Omit<Partial<ApiPlan>, 'steps'> & {steps: readonly string[]}): ApiPlan => ({
  impact: 'none', expected_downtime_ms: 0, cost_month_delta: null, reversible: true, ...plan, steps: [...plan.steps],
})

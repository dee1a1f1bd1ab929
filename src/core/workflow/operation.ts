import type {ErrorDetail} from '../errors.js'
import type {Json} from '../json.js'

export const operationStatuses = ['pending', 'running', 'succeeded', 'failed', 'cancelled'] as const
export type OperationStatus = (typeof operationStatuses)[number]
export const hasEnded = (status: OperationStatus): boolean => status !== 'pending' && status !== 'running'

export type StepStatus = 'running' | 'waiting' | 'succeeded' | 'failed' | 'undoing' | 'undone'

export interface StepRecord {
  readonly name: string
  readonly status: StepStatus
  readonly startedAt: number
  readonly endedAt: number | null
  readonly because: string | null
}

/**
 * Operations of one lane of an instance never overtake each other. A backup has a lane of its own: it takes long, and a
 * server must be stopped, scaled and recovered meanwhile. So has a change of primary: what makes it necessary waits for nobody.
 */
export type Lane = 'instance' | 'backup' | 'ha'

/** The durable record of an operation. Never holds SQL text or a secret (DECISIONS.md 4). */
export interface OperationRecord {
  readonly id: string
  readonly tenantId: string
  readonly kind: string
  readonly instanceId: string | null
  readonly lane: Lane
  readonly status: OperationStatus
  readonly input: Json
  /** The step to run next (forward), or being undone. */
  readonly step: string
  readonly direction: 'forward' | 'undo'
  readonly attempt: number
  /** When the current step first ran; bounds its retries. */
  readonly stepStartedAt: number | null
  readonly steps: readonly StepRecord[]
  readonly result: Json
  readonly error: ErrorDetail | null
  readonly cancelRequested: boolean
  readonly principalId: string
  readonly requestId: string
  readonly deadlineAt: number
  /** Not before this time: backoff and `wait`. */
  readonly runAt: number
  readonly leaseOwner: string | null
  readonly leaseUntil: number | null
  readonly createdAt: number
  readonly endedAt: number | null
}

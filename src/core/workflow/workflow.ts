import type {Json} from '../json.js'

/**
 * How a step ends: one of four words, nothing else.
 * - `next`: it is done, go to that step.
 * - `wait`: not yet; run the same step again after so many seconds. The reason is the progress people see.
 * - `done`: the operation has succeeded.
 * - `abort`: the operation is no longer wanted or possible; the finished steps are undone in reverse.
 */
export type Outcome<Step extends string> =
  | {readonly kind: 'next'; readonly step: Step}
  | {readonly kind: 'wait'; readonly seconds: number; readonly because: string}
  | {readonly kind: 'done'; readonly result: Json}
  | {readonly kind: 'abort'; readonly because: string}

export const next = <Step extends string>(step: Step): Outcome<Step> => ({kind: 'next', step})
export const wait = (seconds: number, because: string): Outcome<never> => ({kind: 'wait', seconds, because})
export const done = (result: Json = null): Outcome<never> => ({kind: 'done', result})
export const abort = (because: string): Outcome<never> => ({kind: 'abort', because})

/** What a step is given. `Tx` is the store's transaction; core does not know it. */
export interface StepContext<Input, Tx> {
  readonly operationId: string
  readonly tenantId: string
  readonly instanceId: string | null
  readonly input: Input
  /** 1 on the first run of this step, counted over restarts of the agent. */
  readonly attempt: number
  /** Aborted when the operation is cancelled, passes its deadline, or the agent stops. */
  readonly signal: AbortSignal
  /** Why the operation is being undone; undefined while it goes forward. */
  readonly undoing: string | undefined
  /** Says, while the step runs, what it is waiting for. Shown live. */
  progress(because: string): void
  /**
   * State changes that belong to the outcome of this step: run in the very transaction that stores the outcome, so
   * that either both happened or neither. No I/O inside.
   */
  commit(change: (tx: Tx) => Promise<void>): void
}

export interface Step<Input, Tx, Names extends string> {
  /** Looks first, acts only if needed: it may have run before, wholly or in part. */
  run(context: StepContext<Input, Tx>): Promise<Outcome<Names>>
  /** Takes back what `run` made; also called when `run` stopped half way. Looks first, too. */
  undo?(context: StepContext<Input, Tx>): Promise<void>
  /** How long transient errors of this step are retried. Default 60. */
  readonly retrySeconds?: number
}

export interface Workflow<Input, Tx, Names extends string = string> {
  /** `instance.create`: the operation's kind. */
  readonly kind: string
  readonly start: Names
  readonly steps: Readonly<Record<Names, Step<Input, Tx, Names>>>
  /** Steps in the order people see them; also the order that the plan lists. */
  readonly order: readonly Names[]
  /** Seconds from the operation's creation after which it is undone. */
  readonly deadlineSeconds: number
  /** From this step on the operation can be neither cancelled nor undone: it is driven to its end. */
  readonly pointOfNoReturn?: Names
  /** In the transaction that marks the operation succeeded. */
  onDone?(tx: Tx, context: {input: Input; instanceId: string | null; tenantId: string; result: Json}): Promise<void>
  /** In the transaction that marks the operation failed or cancelled, after every undo. */
  onUndone?(tx: Tx, context: {input: Input; instanceId: string | null; tenantId: string; because: string; cancelled: boolean}): Promise<void>
}

/** `workflow<Input, Tx>()({...})`: step names are inferred from the keys, so a mistyped `next` does not compile. */
export const workflow =
  <Input, Tx>() =>
  <const Names extends string>(definition: Workflow<Input, Tx, Names>): Workflow<Input, Tx, Names> =>
    definition

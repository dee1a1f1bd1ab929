/** What the operations that change the servers of an instance leave as their result, as the API and people see it: names of nodes, milliseconds. */

/** `phases` in the order they were gone through. */
interface PhaseTimes {
  readonly phases: readonly {readonly name: string, readonly ms: number}[]
}

/** `result` of the operation of a failover, a switchover, a promote. */
export interface PrimaryChange extends PhaseTimes {
  /** Names of nodes. The same twice: it was started again in place. */
  readonly from: string
  readonly to: string
  readonly timeline: number
  readonly because: string
  /** From the last write that was acknowledged before to the first one after, as seen through the endpoint; null: it was not measured. */
  readonly write_gap_ms: number | null
  /** Of the old primary's log, that nobody had confirmed and that was given up; null: it has not come back yet. */
  readonly discarded_bytes: number | null
}

/** `result` of the operation of `drills.failover`. The writer writes through the endpoint, one row a transaction, and counts. */
export interface FailoverReceipt extends PhaseTimes {
  readonly fault: 'kill' | 'hang' | 'partition'
  /** Name of the copy it was done on; null: on the instance itself. */
  readonly clone: string | null
  readonly from: string
  readonly to: string
  readonly because: string
  /** From the fault to the first acknowledged write. */
  readonly time_to_first_write_ms: number
  readonly write_gap_ms: number
  readonly acknowledged_writes: number
  /** Acknowledged and not there afterwards: 0, or something is wrong. */
  readonly lost_writes: number
  /** There more than once, or acknowledged by the old primary after the new one had begun to: 0, or something is wrong. */
  readonly doubled_writes: number
  readonly divided_writes: number
  readonly rpo_seconds: number
  readonly rto_seconds: number
}

/**
 * `result` of the operation of a scale, and of adding and removing replicas; with more in it, of a restart and of a change of parameters where servers were
 * started anew. `switchover`: another server is the primary now. The gap is the longest time in which writes were held up.
 */
export interface Scaled extends Partial<PhaseTimes> {
  readonly applied: 'live' | 'restart' | 'switchover' | 'next-start'
  readonly write_gap_ms: number | null
}

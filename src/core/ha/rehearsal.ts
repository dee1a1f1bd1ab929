/** What a rehearsed loss of the primary has shown: what was acknowledged against what is there afterwards. Pure. */

/** A row that the server said is kept. */
export interface Acknowledgement {
  readonly row: number
  /** Milliseconds of a clock that never jumps. */
  readonly at: number
  /** Which start of which server acknowledged it. */
  readonly server: string
}

export interface Rehearsed {
  readonly acknowledged: readonly Acknowledgement[]
  /** Every row that is there afterwards, as often as it is there. */
  readonly surviving: readonly number[]
  /** When the fault began, by the same clock. */
  readonly struckAt: number
}

export interface Verdict {
  readonly acknowledged: number
  /** Acknowledged, and not there. */
  readonly lost: readonly number[]
  /** There more than once. */
  readonly doubled: readonly number[]
  /** Acknowledged by the server that was struck after another one had begun to: two primaries at a time. */
  readonly divided: number
  /** Null: no other server has acknowledged anything. */
  readonly timeToFirstWriteMs: number | null
  readonly writeGapMs: number | null
  /** From the first row that is lost to the fault; 0 when none is. */
  readonly lostMs: number
}

/** The server that was struck is the one that acknowledged the last row before the fault. */
export function judgeRehearsal({acknowledged, surviving, struckAt}: Rehearsed): Verdict {
  const inOrder = [...acknowledged].sort((a, b) => a.at - b.at)
  const struck = inOrder.findLast(({at}) => at <= struckAt)?.server
  const first = inOrder.find(({at, server}) => at > struckAt && server !== struck)
  const old = inOrder.filter(({server}) => server === struck)
  const before = first && old.findLast(({at}) => at <= first.at)
  const times = new Map<number, number>()
  for (const row of surviving) times.set(row, (times.get(row) ?? 0) + 1)
  const lost = inOrder.filter(({row}) => !times.has(row))
  return {
    acknowledged: inOrder.length,
    lost: lost.map(({row}) => row),
    doubled: [...times].filter(([, n]) => n > 1).map(([row]) => row),
    divided: first ? old.filter(({at}) => at > first.at).length : 0,
    timeToFirstWriteMs: first ? first.at - struckAt : null,
    writeGapMs: first && before ? first.at - before.at : null,
    lostMs: lost[0] ? Math.max(0, struckAt - lost[0].at) : 0,
  }
}

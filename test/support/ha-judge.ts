/** What was acknowledged, by whom, and what is there afterwards: however often the primary changed meanwhile. Pure. */

export interface Acknowledged {
  readonly id: string
  /** When the acknowledgement came, in milliseconds of a clock that never jumps. */
  readonly at: number
  /** Who gave it, as that server says itself in the transaction. */
  readonly server: string
  /** The timeline that the row was written on: each primary has one of its own. */
  readonly timeline: number
}

export interface Judgement {
  readonly acknowledged: number
  /** Acknowledged, and not there. */
  readonly lost: readonly string[]
  /** There more than once. */
  readonly doubled: readonly string[]
  /** Acknowledged after a later primary had acknowledged something, or by two servers on one timeline: two primaries at a time. */
  readonly divided: readonly string[]
}

/** Every acknowledged write is judged by itself. `surviving`: all rows, as often as they are there. */
export function judge(acknowledged: readonly Acknowledged[], surviving: readonly string[]): Judgement {
  const times = new Map<string, number>()
  for (const id of surviving) times.set(id, (times.get(id) ?? 0) + 1)
  const owners = new Map<number, string>()
  const divided: string[] = []
  let newest = 0
  for (const {id, server, timeline} of [...acknowledged].sort((a, b) => a.at - b.at)) {
    const owner = owners.get(timeline) ?? server
    owners.set(timeline, owner)
    if (timeline < newest || owner !== server) divided.push(id)
    newest = Math.max(newest, timeline)
  }
  return {
    acknowledged: acknowledged.length, lost: acknowledged.filter(({id}) => !times.has(id)).map(({id}) => id),
    doubled: [...times].filter(([, n]) => n > 1).map(([id]) => id), divided,
  }
}

/**
 * The line of a log: the timelines it went through, oldest first. A promotion begins a new timeline where the log ended, so
 * two logs are the same up to where their lines part; beyond it equal positions mean nothing.
 */
export type Position = bigint

export interface Stretch {
  readonly timeline: number
  /** Where the next timeline begins; null for the last, which goes on. */
  readonly until: Position | null
}

/** Never empty, timelines rising; all but the last stretch end. */
export type Line = readonly Stretch[]

export const timelineOf = (line: Line): number => line.at(-1)?.timeline ?? 0

/** Up to where a log with the line `line` that ends at `position` is the same as one with the line `other`, however long that is. */
export function sharedPosition(line: Line, position: Position, other: Line): Position {
  let shared = 0n
  for (const [i, stretch] of line.entries()) {
    const its = other[i]
    if (its?.timeline !== stretch.timeline) return shared
    const end = least(stretch.until, its.until)
    if (end === null) return position
    shared = end < position ? end : position
    if (stretch.until !== its.until) return shared
  }
  return shared
}

const least = (a: Position | null, b: Position | null): Position | null => (a === null ? b : b === null ? a : a < b ? a : b)

/** Whether a log has nothing that the other line has not: it can stream on from where it ends. */
export const isOnLine = (line: Line, position: Position, other: Line): boolean => sharedPosition(line, position, other) >= position

/** Whether `line` has been through no timeline that `recorded` does not know: it may lag behind, or have a tail of its own on a known timeline. */
export const isKnownTo = (line: Line, recorded: Line): boolean => line.every(({timeline}, i) =>
  recorded[i]?.timeline === timeline && (i === line.length - 1 || recorded[i]?.until === line[i]?.until))

/** Whether `line` goes on from where `recorded` is: the same timelines, then perhaps more. */
export const goesOnFrom = (line: Line, recorded: Line): boolean => recorded.every(({timeline, until}, i) =>
  line[i]?.timeline === timeline && (until === null || line[i]?.until === until))

/** Histories of timelines: where each left the one before. Format: src/backend/access/transam/timeline.c. */
import {parseLsn} from './lsn.js'

/** A stretch of log that one timeline wrote. */
export interface Stretch {
  readonly timeline: number
  readonly begin: number
  /** Exclusive; infinite for the timeline itself. */
  readonly end: number
}

interface Parent {
  readonly timeline: number
  readonly end: number
  /** Why it was left, in the server's words. */
  readonly because: string
}

/** The lines of `0000000N.history`: `1<tab>0/3000148<tab>before transaction 741`; the oldest ancestor first. */
export function parseHistory(content: string): Parent[] {
  return content.split('\n').flatMap((line) => {
    const found = /^\s*(\d+)\s+([0-9A-F]+\/[0-9A-F]+)\s*(.*)$/i.exec(line)
    return found ? [{timeline: Number(found[1]), end: parseLsn(found[2] as string), because: (found[3] as string).trim()}] : []
  })
}

/** All that led to the timeline, the oldest first. `content`: its history; a first timeline has none. */
export function stretchesOf(timeline: number, content: string | undefined): Stretch[] {
  let begin = 0
  const stretches: Stretch[] = []
  for (const parent of content === undefined ? [] : parseHistory(content)) {
    stretches.push({timeline: parent.timeline, begin, end: parent.end})
    begin = parent.end
  }
  return [...stretches, {timeline, begin, end: Number.POSITIVE_INFINITY}]
}

/** Finds in a run of the log where a recovery would stop. */
import type {LogRun} from './log-runs.js'
import {createWalReader, pushInTurns, type WalReader} from './wal.js'
import {walEvents, type WalEvent} from './wal-events.js'

type Transaction = Extract<WalEvent, {kind: 'transaction'}>

export interface Stop {
  /** The record that it stops at: before it, or after. */
  readonly record: {readonly start: number; readonly end: number}
  /** The log is replayed up to here: PostgreSQL's EndRecPtr of the last record. */
  readonly position: number
  readonly event: WalEvent | undefined
}

export interface RunEnd {
  /** End of the last record that is whole. */
  readonly position: number
  readonly lastStart: number
  /** Everything committed by then lies before the end: milliseconds since 1970. */
  readonly completeUntil: number
}

/** A record as `find` sees it; most have no event. */
type Test = (record: {readonly start: number; readonly end: number}, event: WalEvent | undefined) => 'before' | 'after' | undefined

export interface LogSearch {
  /** The first record from `from` on (a place in the run) that the test says to stop at; undefined: none does. */
  find(from: number, test: Test): Promise<Stop | undefined>
  /** As `find`, for tests that only say `before` to transactions that ended after a time: does not read all. */
  findTime(from: number, isLater: (micros: number) => boolean): Promise<Stop | undefined>
  end(): Promise<RunEnd>
  /** The last commit that is replayed up to there: begins before the position, and not before `from`. */
  lastCommit(from: number, position: number): Promise<Transaction | undefined>
}

export function createSearch(run: LogRun): LogSearch {
  const last = run.segments.length - 1
  const startOf = (index: number): number => (run.segments[index] as {start: number}).start
  /** Newest and latest end of a transaction in a segment; undefined: none ends there. */
  const latest = new Map<number, number | undefined>()

  /** Reads segments one after the other until `more` says no. */
  async function readFrom(index: number, from: number, tell: Parameters<typeof walEvents>[0], more: (reader: WalReader, index: number) => boolean): Promise<WalReader> {
    const reader = createWalReader(from, walEvents(tell))
    for (let at = index; at <= last; at++) {
      await pushInTurns(reader, startOf(at), (await run.read(at)).bytes)
      if (reader.isEnded || !more(reader, at)) break
    }
    return reader
  }

  async function find(from: number, test: Test): Promise<Stop | undefined> {
    const index = run.indexOf(from)
    if (index === undefined) return undefined
    let stop: Stop | undefined
    let before = from
    // One segment earlier, so that the end of the record before the first is known.
    await readFrom(Math.max(0, index - 1), 0, (record, event) => {
      if (stop !== undefined) return
      const where = record.start >= from ? test(record, event) : undefined
      if (where !== undefined) stop = {record, position: where === 'before' ? before : record.end, event}
      before = record.end
    }, () => stop === undefined)
    return stop
  }

  async function latestIn(index: number): Promise<number | undefined> {
    if (latest.has(index)) return latest.get(index)
    let found: number | undefined
    // The last record may end in the next segment; it counts there, where the server sees it whole.
    await readFrom(index, startOf(index), (_, event) => {
      if (event?.kind === 'transaction') found = Math.max(found ?? 0, event.micros)
    }, () => false)
    latest.set(index, found)
    return found
  }

  async function findTime(from: number, isLater: (micros: number) => boolean): Promise<Stop | undefined> {
    const first = run.indexOf(from)
    if (first === undefined) return undefined
    // The first segment in which a transaction ended later, by halves; those without any are stepped over.
    let low = first
    let high = last + 1
    while (low < high) {
      const middle = (low + high) >> 1
      let probe = middle
      while (probe < high && (await latestIn(probe)) === undefined) probe++
      if (probe < high && !isLater((await latestIn(probe)) as number)) low = probe + 1
      else high = middle
    }
    // A transaction takes its time before it writes its record, so some end out of order: a little earlier to be sure.
    const start = Math.max(first, low - 2)
    return find(Math.max(from, startOf(Math.min(start, last))), (_, event) => (event?.kind === 'transaction' && isLater(event.micros) ? 'before' : undefined))
  }

  async function end(): Promise<RunEnd> {
    const {marks} = await run.read(last)
    for (let index = last; index >= 0; index--) {
      const reader = await readFrom(index, startOf(index), () => {}, () => true)
      if (reader.lastEnd === undefined || reader.lastStart === undefined) continue
      return {position: reader.lastEnd, lastStart: reader.lastStart, completeUntil: marks.at(-1)?.at ?? 0}
    }
    return {position: startOf(0), lastStart: startOf(0), completeUntil: 0}
  }

  async function lastCommit(from: number, position: number): Promise<Transaction | undefined> {
    const lowest = run.indexOf(from) ?? 0
    for (let index = run.indexOf(position) ?? last; index >= lowest; index--) {
      let found: Transaction | undefined
      await readFrom(index, Math.max(from, startOf(index)), (record, event) => {
        if (record.end <= position && event?.kind === 'transaction' && event.isCommitted) found = event
      }, (reader, at) => at === index && (reader.lastEnd ?? 0) < position)
      if (found) return found
    }
    return undefined
  }

  return {find, findTime, end, lastCommit}
}

/** Decides where a recovery starts and where it will end, from backups and the log itself. */
import {DbaasError} from '../../../core/errors.js'
import type {BaseBackup, LogArchive, RecoveryDecision, RecoveryMoment, RecoveryPlan, RecoveryTarget, RecoveryWindow} from '../../backup.js'
import {formatLsn, parseLsn, parseTimeline} from './lsn.js'
import {openRuns, type LogRun} from './log-runs.js'
import {createSearch, type LogSearch, type RunEnd, type Stop} from './log-search.js'

interface Candidate {
  /** Its place in what was given. */
  readonly index: number
  readonly backup: BaseBackup
  readonly start: number
  readonly end: number
}

interface Context {
  readonly run: LogRun
  readonly search: LogSearch
  readonly end: RunEnd
  readonly completeUntil: number
  /** Those that the run makes whole, the newest first. */
  readonly candidates: readonly Candidate[]
}

async function contextsOf(backups: readonly BaseBackup[], archive: LogArchive, timeline: string | undefined): Promise<Context[]> {
  const contexts: Context[] = []
  for (const run of await openRuns(archive, timeline)) {
    const search = createSearch(run)
    const end = await search.end()
    const known = run.isNewest ? (archive.completeUntil ?? 0) : 0
    const candidates = backups.map((backup, index) => ({index, backup, start: parseLsn(backup.start), end: parseLsn(backup.end)}))
      .filter((candidate) => fits(candidate, run, end)).sort((a, b) => b.end - a.end)
    contexts.push({run, search, end, completeUntil: Math.max(end.completeUntil, known), candidates})
  }
  return contexts
}

/** The backup is of a timeline on the way, from before that was left, and its own log is there. */
function fits({backup, start, end}: Candidate, run: LogRun, runEnd: RunEnd): boolean {
  const stretch = run.stretches.find(({timeline}) => timeline === parseTimeline(backup.timeline))
  return stretch !== undefined && end <= stretch.end && run.indexOf(start) !== undefined && end <= runEnd.position
}

const moment = (timeline: string, lsn: number, milliseconds: number): RecoveryMoment => ({micros: milliseconds * 1000, timeline, position: formatLsn(lsn)})

function windowOf({run, end, completeUntil, candidates}: Context): RecoveryWindow {
  const oldest = candidates.at(-1)
  if (!oldest) return {from: null, to: null}
  return {
    from: moment(oldest.backup.timeline, oldest.end, oldest.backup.consistentAt),
    to: moment(run.segments.at(-1)?.timeline ?? '', end.position, Math.max(completeUntil, oldest.backup.consistentAt)),
  }
}

/** As EngineRecovery.window promises: of the newest run that has a backup. */
export async function recoveryWindow(backups: readonly BaseBackup[], archive: LogArchive, timeline?: string): Promise<RecoveryWindow> {
  const context = (await contextsOf(backups, archive, timeline)).find(({candidates}) => candidates.length > 0)
  return context ? windowOf(context) : {from: null, to: null}
}

/** Where it stops; a sentence when it cannot; undefined: not in this part of the log. */
type Found = {readonly stop: Stop | 'end'; readonly because: string} | {readonly impossible: string}

/** As EngineRecovery.plan promises. */
export async function planRecovery(backups: readonly BaseBackup[], archive: LogArchive, target: RecoveryTarget): Promise<RecoveryDecision> {
  const contexts = (await contextsOf(backups, archive, target.timeline)).filter(({candidates}) => candidates.length > 0)
  const none: RecoveryWindow = {from: null, to: null}
  let impossible = backups.length === 0 ? 'there is no backup' : 'the log of no backup is there from its start to its end'
  for (const [i, context] of contexts.entries()) {
    for (const candidate of context.candidates) {
      const found = await resolve(context, candidate, target)
      if ('impossible' in found) {
        if (i === 0) impossible = found.impossible
        continue
      }
      return {possible: true, plan: await planOf(context, candidate, target, found)}
    }
  }
  return {possible: false, because: impossible, window: contexts[0] ? windowOf(contexts[0]) : none}
}

const iso = (micros: number): string => {
  const rest = String(Math.abs(micros % 1000)).padStart(3, '0')
  return `${new Date(Math.floor(micros / 1000)).toISOString().slice(0, -1)}${rest === '000' ? '' : rest}Z`
}

async function resolve(context: Context, candidate: Candidate, target: RecoveryTarget): Promise<Found> {
  const {search, end} = context
  const {start} = candidate
  const tooEarly = (what: string): Found => ({impossible: `${what} is before the earliest moment that the backups can be recovered to`})
  /** A stop in the log counts when the copy is whole by then. */
  const at = (stop: Stop, because: string): Found => (stop.position < candidate.end ? tooEarly(because) : {stop, because})

  switch (target.kind) {
    case 'latest':
      return {stop: 'end', because: 'the end of the log'}
    case 'backup': {
      // the record that ends the backup; the server stops after it
      const stop = await search.find(start, (record) => (record.end >= candidate.end ? 'after' : undefined))
      return stop ? at(stop, 'the end of the backup') : {impossible: 'the log ends before the backup does'}
    }
    case 'time': {
      // the copy has everything up to its end: what was committed between that time and its end could not be left out
      if (target.micros < candidate.backup.consistentAt * 1000) return tooEarly(iso(target.micros))
      const inclusive = target.inclusive ?? true
      const stop = await search.findTime(start, (micros) => (inclusive ? micros > target.micros : micros >= target.micros))
      if (stop) return at(stop, `${iso(target.micros)}`)
      if (target.micros <= context.completeUntil * 1000) return {stop: 'end', because: `${iso(target.micros)}; nothing was committed since`}
      return {impossible: `${iso(target.micros)} is after the end of the log, which is complete up to ${iso(context.completeUntil * 1000)}`}
    }
    case 'position': {
      const position = parseLsn(target.position)
      if (position > end.position) return {impossible: `${target.position} is after the end of the log, which is ${formatLsn(end.position)}`}
      if (position < candidate.end) return tooEarly(target.position)
      const stop = await search.find(Math.max(start, position), () => (target.inclusive === true ? 'after' : 'before'))
      return stop ? at(stop, target.position) : {stop: 'end', because: `${target.position}, the end of the log`}
    }
    case 'transaction': {
      const xid = parseXid(target.id)
      const stop = await search.find(start, (_, event) => (event?.kind === 'transaction' && event.xid === xid ? ((target.inclusive ?? true) ? 'after' : 'before') : undefined))
      if (!stop) return {impossible: `the log has no end of the transaction ${target.id}: it was not committed, wrote nothing, or is of another time`}
      const how = stop.event?.kind === 'transaction' && !stop.event.isCommitted ? ', which was rolled back' : ''
      return at(stop, `the end of the transaction ${target.id}${how}`)
    }
    case 'name': {
      const stop = await search.find(start, (_, event) => (event?.kind === 'name' && event.name === target.name ? 'after' : undefined))
      return stop ? at(stop, `the point "${target.name}"`) : {impossible: `the log has no point of the name "${target.name}"`}
    }
  }
}

/** Full ids have the epoch in their upper half, and the log has not. */
function parseXid(id: string): number {
  if (/^\d{1,19}$/.test(id) && BigInt(id) > 2n) return Number(BigInt.asUintN(32, BigInt(id)))
  throw new DbaasError('INVALID_REQUEST', `"${id}" is no transaction id`, {suggestions: ['a transaction id is a whole number: what pg_current_xact_id() answers']})
}

async function planOf(context: Context, {index, backup, start}: Candidate, target: RecoveryTarget, {stop, because}: Exclude<Found, {impossible: string}>): Promise<RecoveryPlan> {
  const {run, search, end} = context
  const position = stop === 'end' ? end.position : stop.position
  // The record that it stops at must be there whole, so that the server sees it.
  const until = stop === 'end' ? end.position : stop.record.end
  const first = run.indexOf(start) as number
  const last = run.indexOf(until - 1) as number
  const segments = run.segments.slice(first, last + 1)
  const commit = await search.lastCommit(start, position)
  return {
    backup: index, target, timeline: (segments.at(-1) as {timeline: string}).timeline,
    segments: segments.map(({timeline, segment}) => ({timeline, segment})), logBytes: position - start,
    stop: stop === 'end' ? 'end' : 'target',
    expected: {position: formatLsn(position), lastCommitMicros: commit?.micros ?? null, because},
    engine: {version: backup.version, start: backup.start, end: backup.end, system: backup.system, until: formatLsn(until)},
  }
}

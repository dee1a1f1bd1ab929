/**
 * From what was seen of a primary to what is the matter with it. Hard evidence (its process is gone) counts at once; soft
 * evidence (it does not answer) needs time, a second opinion from the replicas, and an agent that was awake itself.
 * All times are milliseconds of a clock that never jumps.
 */
import {votesNeeded} from './elect.js'
import type {HaState, NodeId} from './state.js'

export const budgets = {
  /** A primary is asked at least so often, and given so long to answer. */
  probeEveryMs: 1000,
  probeTimeoutMs: 1000,
  /** Silent for so long, and after so many questions, with all voters that answer having lost it too: it hangs. In all 2.5 to 3 s. */
  hungAfterMs: 2000,
  hungAfterProbes: 2,
  /** A replica that heard from its primary within it still has it. */
  freshMs: 2000,
  /** Replicas stream, but no client gets in: a matter of the path, or of a server that lets nobody in. */
  unreachableMs: 8000,
  unreachableProbes: 3,
  /** A new session is tried so often, and given so long. */
  connectEveryMs: 2000,
  connectTimeoutMs: 2000,
  /** Nothing can be written, though it answers. */
  stalledMs: 6000,
  stalledProbes: 3,
  writeTimeoutMs: 2000,
  /** A log that has not moved for so long is moved, to see that it can be. */
  quietLogMs: 5000,
  /** Whether the disk has room is asked so often; once it has none, with each new session. */
  roomEveryMs: 5000,
  /** "The database system is starting up". */
  startingMs: 30_000,
  /** The agent's own round came so much too late: it says nothing about others. */
  agentLateMs: 250,
  /** Soft evidence flaps: after so many failovers for it within the window, it must last for as long as `holdMs`. */
  softFailovers: 2,
  softWindowMs: 300_000,
  holdMs: 30_000,
} as const

export const diagnoses = [
  'healthy', 'degraded', 'blocked', 'suspect', 'discarded', 'primary-dead', 'primary-hung', 'unreachable-but-streaming', 'write-stalled', 'no-quorum',
  'two-primaries', 'cold-start',
] as const

export interface Diagnosis {
  readonly kind: (typeof diagnoses)[number]
  /** Another shall become primary, or this one be started again: whoever holds all that was acknowledged. */
  readonly failover: boolean
  /** The reason is soft: it counts for what flaps. */
  readonly soft: boolean
  readonly because: string
  /** Who would not have the same trouble; wins among equals. */
  readonly preferred?: NodeId
}

export interface ReplicaEvidence {
  readonly answers: boolean
  /** It has a connection to the primary, and heard from it so long ago. Null: it has none. */
  readonly silentMs: number | null
  /** The primary says that it streams; false while the primary does not answer. */
  readonly streams: boolean
}

export interface Evidence {
  readonly state: Pick<HaState, 'primary' | 'voters' | 'k' | 'wanted'>
  readonly process: 'running' | 'exited' | 'unreachable'
  /** Questions without an answer, one after the other; 0 when the last was answered. And since when. */
  readonly failedProbes: number
  readonly failingMs: number
  /** It answers, but is in recovery. */
  readonly inRecovery: boolean
  /** It says that it is starting, and since when; null: it does not. */
  readonly startingMs: number | null
  /** Sessions that were tried anew and not to be had, one after the other, and since when. A refusal is an answer. */
  readonly failedConnects: number
  readonly unservedMs: number
  /** Small writes that failed, one after the other, and since when. Made so that they wait for no replica. */
  readonly failedWrites: number
  readonly stalledMs: number
  /** For how long its disk has had no room; 0: it has. And the other nodes that do have some, asked only then. */
  readonly fullMs: number
  readonly roomy: readonly NodeId[]
  readonly replicas: Readonly<Record<NodeId, ReplicaEvidence>>
  /** Nodes that are not in recovery, the primary or not. */
  readonly outOfRecovery: readonly NodeId[]
  /** No process of the cluster runs. */
  readonly allExited: boolean
  /** How much later than it should this round began. */
  readonly agentLateMs: number
  /** When failovers for soft reasons were begun, milliseconds ago. */
  readonly softFailoversAgoMs: readonly number[]
}

const calm = (kind: Diagnosis['kind'], because: string): Diagnosis => ({kind, failover: false, soft: false, because})
const hard = (kind: Diagnosis['kind'], because: string): Diagnosis => ({kind, failover: true, soft: false, because})

export function diagnose(evidence: Evidence): Diagnosis {
  const {state: {primary}, agentLateMs} = evidence
  if (evidence.allExited) return hard('cold-start', 'no node runs')
  if (evidence.process === 'exited') return hard('primary-dead', `the process of ${primary} is gone`)
  if (agentLateMs > budgets.agentLateMs) return calm('discarded', `this round came ${Math.round(agentLateMs)} ms late: what did not answer in time may have been us`)
  const other = evidence.outOfRecovery.find((id) => id !== primary)
  if (other) return calm('two-primaries', `${other} is out of recovery, and ${primary} is the primary`)
  if (evidence.startingMs !== null) return diagnoseStart(evidence, evidence.startingMs)
  if (evidence.failedProbes > 0) return diagnoseSilence(evidence)
  if (evidence.inRecovery) return hard('cold-start', `${primary} came up as a standby, as every node does`)
  if (evidence.failedWrites >= budgets.stalledProbes && evidence.stalledMs >= budgets.stalledMs) {
    return soft(evidence, evidence.stalledMs, 'write-stalled', `${primary} answers, but nothing could be written for ${seconds(evidence.stalledMs)}`)
  }
  return diagnoseDisk(evidence) ?? diagnoseDoor(evidence) ?? diagnoseReplicas(evidence)
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const diagnoseStart = ({state: {primary}}: Evidence, ms: number): Diagnosis => (ms < budgets.startingMs
  ? calm('suspect', `${primary} is starting for ${seconds(ms)}`) : hard('primary-dead', `${primary} is starting for ${seconds(ms)} and does not get there`))

function diagnoseSilence(evidence: Evidence): Diagnosis {
  const {state, failedProbes, failingMs} = evidence
  const replicas = Object.values(evidence.replicas)
  if (replicas.length > 0 && replicas.every(({answers}) => !answers)) return calm('discarded', 'no node answers: more likely it is this agent, or its network')
  const silence = `${state.primary} has not answered for ${seconds(failingMs)}`
  if (failedProbes < budgets.hungAfterProbes || failingMs < budgets.hungAfterMs) return calm('suspect', silence)
  const voters = state.voters.filter((id) => evidence.replicas[id]?.answers)
  const fresh = voters.filter((id) => (evidence.replicas[id]?.silentMs ?? Infinity) <= budgets.freshMs)
  if (state.voters.length === 0 || voters.length < votesNeeded(state)) {
    return calm('no-quorum', `${silence}, and ${voters.length} of the ${votesNeeded(state)} voters that a failover needs answer`)
  }
  if (fresh.length === 0) return soft(evidence, failingMs, 'primary-hung', `${silence}, and ${voters.join(' and ')} hear nothing from it either`)
  const streaming = `${silence}, but ${fresh.join(' and ')} hear from it`
  if (failingMs < budgets.unreachableMs) return calm('unreachable-but-streaming', streaming)
  return soft(evidence, failingMs, 'unreachable-but-streaming', `${streaming}; no client gets in`)
}

/** Sessions that were there live on, and new ones are not to be had. Undefined: they are. */
function diagnoseDoor(evidence: Evidence): Diagnosis | undefined {
  const {state, failedConnects, unservedMs} = evidence
  if (failedConnects < budgets.unreachableProbes) return undefined
  const shut = `${state.primary} answers, but has let no new client in for ${seconds(unservedMs)}`
  if (unservedMs < budgets.unreachableMs) return calm('suspect', shut)
  const voters = state.voters.filter((id) => evidence.replicas[id]?.answers)
  if (state.voters.length === 0 || voters.length < votesNeeded(state)) {
    return calm('no-quorum', `${shut}, and ${voters.length} of the ${votesNeeded(state)} voters that a failover needs answer`)
  }
  return soft(evidence, unservedMs, 'unreachable-but-streaming', shut)
}

/**
 * What is there can be read, and even the log may go on for a while in files that it has: so it is the room that is asked for. Where no other
 * has any, another primary would be no better off. Undefined: there is room.
 */
function diagnoseDisk(evidence: Evidence): Diagnosis | undefined {
  const {state, fullMs} = evidence
  if (fullMs < budgets.stalledMs) return undefined
  const full = `the disk of ${state.primary} has been full for ${seconds(fullMs)}`
  const voters = state.voters.filter((id) => evidence.replicas[id]?.answers)
  const preferred = voters.find((id) => evidence.roomy.includes(id))
  if (preferred === undefined) return calm('write-stalled', `${full}, and no voter has room`)
  if (voters.length < votesNeeded(state)) return calm('no-quorum', `${full}, and ${voters.length} of the ${votesNeeded(state)} voters that a failover needs answer`)
  return {...soft(evidence, fullMs, 'write-stalled', `${full}, and ${preferred} has room`), preferred}
}

/** Wanted for a soft reason, unless it has been too often: then it must last. */
function soft({softFailoversAgoMs}: Evidence, lastsMs: number, kind: Diagnosis['kind'], because: string): Diagnosis {
  const recent = softFailoversAgoMs.filter((ago) => ago < budgets.softWindowMs).length
  if (recent < budgets.softFailovers || lastsMs >= budgets.holdMs) return {kind, failover: true, soft: true, because}
  return {kind, failover: false, soft: true, because: `${because}; after ${recent} failovers within ${seconds(budgets.softWindowMs)} it must last for ${seconds(budgets.holdMs)}`}
}

function diagnoseReplicas({state, replicas}: Evidence): Diagnosis {
  const live = state.voters.filter((id) => replicas[id]?.streams)
  if (state.k > 0 && live.length < state.k) return calm('blocked', `commits wait: ${live.length} of ${state.k} voters that must confirm stream`)
  if (live.length < state.wanted.voters || state.voters.length < state.wanted.voters) return calm('degraded', `${live.length} of ${state.wanted.voters} wanted voters stream`)
  return calm('healthy', `${state.primary} answers, ${live.length} voters stream`)
}

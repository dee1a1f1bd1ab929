/**
 * How the primary changes: one path for a crash, a hang, a person's wish, a drill, and a start of everything from nothing.
 * The phase is stored before its work is done, and all of its work can be done again, so that an agent that dies anywhere is
 * followed by one that goes on. Killed in `stop`, `fence` or `arm` it may also give up (`abort`), never later.
 *
 * Why nothing is lost: until `promote` the voters heard have confirmed nothing since their positions were read (elect.ts), and
 * only an abort, which is stored itself, lets them follow again. From `promote` on the recorded voters stay the old ones: until
 * the new set is proven to hold the promotion the chosen may be the only node with an acknowledged write.
 */
import {couldBeHeard, elect, votesNeeded, type Election} from './elect.js'
import {tendFollowers} from './followers.js'
import {isOnLine, timelineOf} from './line.js'
import {barrier} from './quorum.js'
import {allSafeguards, type Safeguards} from './safeguards.js'
import {changed, describeSet, sameSet, sortedNames, withNode, type HaOperation, type HaState, type NodeId, type Phase, type SyncSet} from './state.js'
import type {Action, ClusterView, Decision, NodeView} from './view.js'

/** An orderly end may take so long; then it is a failover. */
export const stopBudgetMs = 10_000

/** Voters that run and have not all been heard after so long: whoever does not run is started, too. */
const revokeBudgetMs = 5000

/** A primary that shall be started where it is has so long, its end included; then whoever can takes over. */
export const inPlaceBudgetMs = 20_000

/**
 * A switchover to the primary itself: it ends in order, and is started where it is. Its voters are left alone meanwhile, so none of them is
 * heard: nobody else can be chosen as long as there is hope of it.
 */
const waitsForOld = ({kind, preferred, old, startedAt}: HaOperation, view: ClusterView): boolean =>
  kind === 'switchover' && preferred === old && view.nodes[old]?.process !== 'unreachable' && view.now - startedAt < inPlaceBudgetMs

export interface OperationRequest {
  readonly kind: HaOperation['kind']
  readonly because: string
  readonly preferred?: NodeId | null
  readonly forced?: boolean
  readonly allowDataLoss?: boolean
}

/** The state with which an operation begins; what ran is replaced. */
export function beginOperation(state: HaState, request: OperationRequest, now: number): HaState {
  const before = state.operation
  const operation: HaOperation = {
    unproven: before !== null && (before.unproven || before.phase === 'promote' || before.phase === 'prove'),
    kind: request.kind, phase: request.kind === 'switchover' ? 'stop' : 'fence', startedAt: now, phaseAt: now, old: state.primary,
    preferred: request.preferred ?? null, chosen: null, timeline: null, forced: request.forced ?? false, allowDataLoss: request.allowDataLoss ?? false,
    snapshot: {voters: state.voters, k: state.k, timeline: timelineOf(state.line)}, because: request.because,
  }
  return changed(state, {operation})
}

const persist = (state: HaState, because: string): Decision => ({actions: [{kind: 'persist', state}], because})
const wait = (because: string): Decision => ({actions: [], because})

function toPhase(state: HaState, operation: HaOperation, phase: Phase, now: number, because: string, changes: Partial<HaState> = {}, more: Partial<HaOperation> = {}): Decision {
  return persist(changed(state, {...changes, operation: {...operation, ...more, phase, phaseAt: now, because}}), because)
}

export function decideOperation(state: HaState, operation: HaOperation, view: ClusterView, rules: Safeguards = allSafeguards): Decision {
  switch (operation.phase) {
    case 'stop': return decideStop(state, operation, view)
    case 'fence': return decideFence(state, operation, view, rules)
    case 'arm': return decideArm(state, operation, view, rules)
    case 'promote': return decidePromote(state, operation, view)
    case 'prove': return decideProve(state, operation, view, rules)
    case 'open': return decideOpen(state, view)
    case 'abort': return decideAbort(state, operation, view)
  }
}

const serves = (node: NodeView | undefined): boolean => node?.process === 'running' && node.server !== null && !node.server.inRecovery

/** The old primary is well after all, and nobody insists. */
const mayAbort = (operation: HaOperation, view: ClusterView): boolean =>
  !operation.forced && !operation.unproven && !operation.allowDataLoss && operation.kind === 'failover' && serves(view.nodes[operation.old]) && isWell(view)

const isWell = ({diagnosis: {kind}}: ClusterView): boolean => kind === 'healthy' || kind === 'degraded' || kind === 'blocked'

function decideStop(state: HaState, operation: HaOperation, view: ClusterView): Decision {
  const old = view.nodes[operation.old]
  if (view.gate !== null) return {actions: [{kind: 'close-gate'}], because: 'the endpoint holds new clients while the primary changes'}
  if (old?.process !== 'running') return toPhase(state, operation, 'fence', view.now, `${operation.old} has ended`)
  const target = operation.preferred
  if (target && view.nodes[target]?.server == null && serves(old)) return toPhase(state, operation, 'abort', view.now, `${target} does not answer any more`)
  if (view.now - operation.phaseAt > stopBudgetMs) return toPhase(state, operation, 'fence', view.now, `${operation.old} did not end within ${stopBudgetMs / 1000} s`)
  return {actions: [{kind: 'stop', node: operation.old}], because: `${operation.old} ends in order, its replicas receive the last of its log`}
}

/** I3: dead, or at least only a standby; or beyond reach, and then it is the voters that give it nothing any more. */
const isFenced = (old: NodeView | undefined): boolean => old === undefined || old.process !== 'running' || old.server?.inRecovery === true

function decideFence(state: HaState, operation: HaOperation, view: ClusterView, rules: Safeguards): Decision {
  const {old} = operation
  if (mayAbort(operation, view)) return toPhase(state, operation, 'abort', view.now, `${old} answers again: ${view.diagnosis.because}`)
  const isReady = view.gate === null && (isFenced(view.nodes[old]) || !rules.fence)
  const election = elect(state, view.nodes, operation, rules)
  if (isReady && election.chosen !== null) return toPhase(state, operation, 'arm', view.now, election.because, {}, {chosen: election.chosen})
  const actions = fenceAndRevoke(state, operation, view, rules)
  return {actions, because: actions.length > 0 ? describeFence(operation, actions) : whyWaiting(election)}
}

const describeFence = ({old, because}: HaOperation, actions: readonly Action[]): string =>
  `${because}: ${[...new Set(actions.map(({kind}) => kind))].join(', ')} before anybody follows ${old}`

const whyWaiting = (election: Election): string => (election.chosen === null ? `NO QUORUM: ${election.because}` : `${election.chosen} will follow as soon as the old primary is fenced`)

function fenceAndRevoke(state: HaState, operation: HaOperation, view: ClusterView, rules: Safeguards): Action[] {
  const {old, allowDataLoss, phaseAt} = operation
  const isInPlace = waitsForOld(operation, view)
  const actions: Action[] = view.gate === null ? [] : [{kind: 'close-gate'}]
  const first = view.nodes[old]
  if (!isFenced(first) && rules.fence) actions.push({kind: 'fence', node: old})
  const isVoter = (id: NodeId): boolean => !isInPlace && (allowDataLoss || state.voters.includes(id))
  const isShort = isInPlace || couldBeHeard(state, view.nodes).length < votesNeeded(state) || view.now - phaseAt > revokeBudgetMs
  for (const [id, node] of Object.entries(view.nodes)) {
    if (node.busy || node.process === 'unreachable' || (state.nodes[id]?.rejoin && rules.distrust)) continue
    // the old primary holds all that was ever acknowledged, so it can go on itself; voters that do not run are asked too. Only where
    // those that run are too few: starting takes what the failover needs
    if (isShort && node.process === 'exited' && (id === old || isVoter(id))) actions.push({kind: 'start', node: id, follows: null})
    const {server} = node
    if (server?.inRecovery && !server.revoked && (id === old || isVoter(id))) actions.push({kind: 'revoke', node: id})
  }
  return actions
}

/**
 * Whom the chosen waits for (I4, I7). Old voters that answer, where k do; else all of them and one outsider that may help out: a
 * write that the new set confirms before it is recorded then still lies on k of the old voters, of whom the chosen is one.
 */
export function setFor(state: HaState, chosen: NodeId, view: ClusterView, rules: Safeguards = allSafeguards): SyncSet | null {
  const {k} = state
  if (k === 0) return null
  const answers = (id: NodeId): boolean => view.nodes[id]?.server?.inRecovery === true && !state.nodes[id]?.rejoin
  const voters = state.voters.filter((id) => id !== chosen)
  if (!rules.outsiders) return {k, names: sortedNames(Object.keys(state.nodes).filter((id) => id !== chosen))}
  const live = voters.filter(answers)
  if (live.length >= k) return {k, names: sortedNames(live)}
  // in place the chosen is no voter itself, and its voters alone are k at least
  if (!state.voters.includes(chosen)) return {k, names: sortedNames(voters)}
  const others = Object.keys(state.nodes).filter((id) => id !== chosen && !voters.includes(id))
  const rank = (id: NodeId): number => (state.nodes[id]?.mayVote ? 4 : 0) + (view.streams[id]?.lostMs === null ? 2 : answers(id) ? 1 : 0)
  const outsider = others.sort((a, b) => rank(b) - rank(a) || (state.nodes[b]?.priority ?? 0) - (state.nodes[a]?.priority ?? 0) || a.localeCompare(b))[0]
  return {k, names: sortedNames([...voters, ...(outsider ? [outsider] : [])])}
}

function decideArm(state: HaState, operation: HaOperation, view: ClusterView, rules: Safeguards): Decision {
  const {old} = operation
  const chosen = operation.chosen!
  const node = view.nodes[chosen]
  if (mayAbort(operation, view)) return toPhase(state, operation, 'abort', view.now, `${old} answers again: ${view.diagnosis.because}`, {}, {chosen: null})
  const server = node?.server
  if (node?.process !== 'running' || !server?.inRecovery || (!server.revoked && rules.revocation)) {
    return toPhase(state, operation, 'fence', view.now, `${chosen}, which was chosen, is lost or not as it was`, {}, {chosen: null})
  }
  const again: Action[] = view.gate === null ? [] : [{kind: 'close-gate'}]
  if (chosen !== old && !isFenced(view.nodes[old]) && rules.fence) again.push({kind: 'fence', node: old})
  if (again.length > 0) return {actions: again, because: `${old} is back, and must not be`}
  // without a quorum nothing that was promised can be kept: the promise ends with the promotion, and is made anew afterwards
  const isLossy = operation.allowDataLoss && elect(state, view.nodes, {}, rules).chosen === null
  const promised: Pick<HaState, 'voters' | 'k'> = isLossy ? {voters: [], k: 0} : {voters: state.voters, k: state.k}
  const set = setFor({...state, ...promised}, chosen, view, rules)
  if (rules.arm && !sameSet(server.set, set)) return {actions: [{kind: 'set', node: chosen, set}], because: `${chosen} will wait for ${describeSet(set)} from its first commit on`}
  // a number that a promotion may have used already is never used again, even when nobody saw it succeed
  const seen = Object.values(view.nodes).map((other) => (other.server ? timelineOf(other.server.line) : 0))
  const timeline = Math.max(state.highestTimeline, ...seen) + 1
  const first = view.nodes[old]
  const unfenced = chosen !== old && first?.process !== 'exited' && first?.server?.inRecovery !== true
  const nodes = withNode(state, old, {unfenced})
  const voters = rules['old-voters'] ? promised.voters : set?.names ?? []
  return toPhase(state, operation, 'promote', view.now, `${chosen} becomes primary on timeline ${timeline}; from here on there is no way back`,
    {primary: chosen, line: server.line, highestTimeline: timeline, voters, k: promised.k, nodes}, {timeline})
}

function decidePromote(state: HaState, operation: HaOperation, view: ClusterView): Decision {
  const chosen = state.primary
  const timeline = operation.timeline!
  const server = view.nodes[chosen]?.server
  if (!server) return wait(`${chosen} does not answer: ${view.diagnosis.because}`)
  const {line} = server
  if (!server.inRecovery && timelineOf(line) === timeline) return toPhase(state, operation, 'prove', view.now, `${chosen} is on timeline ${timeline}`, {line})
  // it has left recovery on another number, or left it and was started again: its line is nobody's plan
  if (!server.inRecovery || timelineOf(line) >= timeline) {
    return persist(beginOperation(state, {...again(operation), because: `${chosen} is on timeline ${timelineOf(line)} instead of ${timeline}`}, view.now), 'begin again')
  }
  return {actions: [{kind: 'promote', node: chosen, timeline}, ...followEarly(state, view)], because: `${chosen} leaves recovery on timeline ${timeline}`}
}

/** Who can follow the chosen does so already, so that the new set holds the promotion as soon as it has happened: there is no way back from it. */
function followEarly(state: HaState, view: ClusterView): Action[] {
  const chosen = view.nodes[state.primary]?.server
  return Object.entries(view.nodes).flatMap(([node, {server, busy}]): Action[] =>
    (node !== state.primary && server?.inRecovery && server.revoked && !busy && chosen && !state.nodes[node]?.rejoin && isOnLine(server.line, server.position, chosen.line) && server.position <= chosen.position
      ? [{kind: 'repoint', node, to: state.primary}] : []))
}

const again = ({kind, preferred, forced, allowDataLoss}: HaOperation): Omit<OperationRequest, 'because'> =>
  ({kind: kind === 'switchover' ? 'failover' : kind, preferred, forced, allowDataLoss})

function decideProve(state: HaState, operation: HaOperation, view: ClusterView, rules: Safeguards): Decision {
  const server = view.nodes[state.primary]?.server
  if (!server || server.inRecovery) return wait(`${state.primary} does not answer: ${view.diagnosis.because}`)
  const {set} = server
  const wish = setFor(state, state.primary, view, rules)
  const proven = proveSet(state, set, view, rules)
  if (!server.settled) return {actions: [{kind: 'set', node: state.primary, set}], because: `another set than that in force (${describeSet(set)}) was written and not loaded`}
  if (proven === true) {
    return toPhase(state, operation, 'open', view.now, `${describeSet(set)} hold all that ${state.primary} has`, {voters: set?.names ?? [], k: set?.k ?? 0})
  }
  const followers = tendFollowers(state, view)
  if (followers?.actions[0]?.kind === 'persist') return followers
  const actions: Action[] = [...(followers?.actions ?? [])]
  const live = set === null ? 0 : set.names.filter((id) => view.streams[id]?.lostMs === null).length
  // those that must confirm are gone: others may, as long as the old voters still cover what was confirmed
  if (!sameSet(set, wish) && (set === null || live < set.k)) actions.push({kind: 'set', node: state.primary, set: wish})
  else if (proven === undefined) actions.push({kind: 'mark', node: state.primary, key: keyOf(state, set)})
  const waiting = `${describeSet(set)} must hold all that ${state.primary} has, before anybody is let in`
  return {actions, because: live < (set?.k ?? 0) ? `BLOCKED: ${waiting}; ${live} of them stream` : waiting}
}

const keyOf = ({primary, epoch}: HaState, set: SyncSet | null): string => `prove:${primary}:${epoch}:${describeSet(set)}`

function proveSet(state: HaState, set: SyncSet | null, view: ClusterView, rules: Safeguards): boolean | undefined {
  if (!rules.barrier || state.k === 0) return true
  return set === null || set.k < state.k ? false : barrier(view, keyOf(state, set), set)
}

function decideOpen(state: HaState, view: ClusterView): Decision {
  const {primary} = state
  if (!serves(view.nodes[primary])) return wait(`${primary} does not answer: ${view.diagnosis.because}`)
  if (view.gate !== primary) return {actions: [{kind: 'open', node: primary}], because: `${primary} serves`}
  return persist(changed(state, {operation: null}), `${primary} is the primary`)
}

/** Voters follow the old primary again, then clients do. */
function decideAbort(state: HaState, operation: HaOperation, view: ClusterView): Decision {
  const {old} = operation
  if (!serves(view.nodes[old])) return toPhase(state, operation, 'fence', view.now, `${old} is lost again`, {}, {kind: 'failover', chosen: null})
  const back = state.voters.filter((id) => view.nodes[id]?.server?.inRecovery && view.nodes[id]?.server?.follows !== old && !state.nodes[id]?.rejoin)
  if (back.length > 0) return {actions: back.map((node): Action => ({kind: 'repoint', node, to: old})), because: `${back.join(' and ')} follow ${old} again`}
  if (view.gate !== old) return {actions: [{kind: 'open', node: old}], because: `${old} goes on`}
  return persist(changed(state, {operation: null}), `${old} stays the primary: ${operation.because}`)
}

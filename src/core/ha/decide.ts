/** What is to be done next for a cluster: `f(state, view) -> decision`. Asked again after each of its actions, by whoever can do them. */
import {tendFollowers, strays} from './followers.js'
import {timelineOf} from './line.js'
import {beginOperation, decideOperation, type OperationRequest} from './operation.js'
import {planQuorum, type QuorumStep} from './quorum.js'
import {allSafeguards, type Safeguards} from './safeguards.js'
import {changed, isPastReturn, type HaState, type NodeId} from './state.js'
import type {Action, ClusterView, Decision} from './view.js'

/**
 * With an operation its next actions, without one what keeps the cluster as it is wanted. It does not matter whether the agent has
 * just started: zero primaries (nodes boot as standbys) begin a failover that may choose the old primary itself; one is tended;
 * of two the recorded one stays, and the other is fenced.
 */
export function decide(state: HaState, view: ClusterView, rules: Safeguards = allSafeguards): Decision {
  const {operation} = state
  const stray = rules.fence ? strays(state, view) : []
  if (stray.length > 0) return {actions: stray.map((node): Action => ({kind: 'fence', node})), because: `${stray.join(' and ')} took itself for the primary, which is ${state.primary}`}
  const isLost = view.diagnosis.failover && !isComingUp(state, view)
  if (operation && !(isLost && isPastReturn(operation.phase))) return decideOperation(state, operation, view, rules)
  if (isLost) {
    const request = {kind: 'failover' as const, because: view.diagnosis.because, allowDataLoss: operation?.allowDataLoss ?? false, preferred: view.diagnosis.preferred ?? null}
    return {actions: [{kind: 'persist', state: beginOperation(state, request, view.now)}], because: view.diagnosis.because}
  }
  return tend(state, view, rules)
}

/** Just chosen, and in recovery still: that is no loss. */
const isComingUp = ({operation, primary}: HaState, {nodes}: ClusterView): boolean =>
  operation?.phase === 'promote' && nodes[primary]?.process === 'running' && nodes[primary]?.server?.inRecovery === true

function tend(state: HaState, view: ClusterView, rules: Safeguards): Decision {
  const {primary} = state
  const server = view.nodes[primary]?.server
  if (!server || server.inRecovery) return {actions: [], because: view.diagnosis.because}
  if (view.gate !== primary) return {actions: [{kind: 'open', node: primary}], because: `${primary} serves`}
  const step = planQuorum({
    state, set: server.set, settled: server.settled, position: server.position, timelineBegan: server.line.at(-2)?.until ?? 0n, streams: view.streams, mark: view.mark,
  }, rules)
  const followers = tendFollowers(state, view)
  const quorum = toAction(state, step)
  if (quorum?.kind === 'persist') return {actions: [quorum], because: step.because}
  if (followers?.actions[0]?.kind === 'persist') return followers
  const because = [step.because, followers?.because].filter(Boolean).join('; ')
  return {actions: [...(quorum ? [quorum] : []), ...(followers?.actions ?? [])], because}
}

function toAction(state: HaState, step: QuorumStep): Action | undefined {
  switch (step.kind) {
    case 'persist': return {kind: 'persist', state: changed(state, {voters: step.voters, k: step.k})}
    case 'set': return {kind: 'set', node: state.primary, set: step.set}
    case 'mark': return {kind: 'mark', node: state.primary, key: step.key}
    case 'wait': case 'none': return undefined
  }
}

/** A target further behind would keep clients waiting. */
export const switchoverLagBytes = 1024n * 1024n

export type Request = Omit<OperationRequest, 'because'>

/**
 * Why what a person asks for cannot begin, as a sentence; null: `beginOperation` may. `force` skips the health checks and nothing
 * else: it makes nobody primary who was not a voter. `allowDataLoss` is what overrides the quorum.
 */
export function whyNot(state: HaState, view: ClusterView, {kind, preferred, allowDataLoss}: Request, force = false): string | null {
  if (state.operation && !(allowDataLoss && state.operation.phase === 'fence')) return `a ${state.operation.kind} is under way: ${state.operation.because}`
  if (state.voters.length === 0 && !allowDataLoss) return `no replica is known to hold every acknowledged write; ${state.primary} is the only one that does`
  if (preferred === state.primary) return `${preferred} is the primary`
  const candidates = preferred ? [preferred] : state.voters
  const reasons = candidates.map((id) => whyNotTarget(state, view, id, {allowDataLoss: allowDataLoss ?? false, isHealthAsked: !force && kind === 'switchover'}))
  return reasons.includes(null) ? null : reasons.join('; ')
}

function whyNotTarget(state: HaState, view: ClusterView, id: NodeId, {allowDataLoss, isHealthAsked}: {allowDataLoss: boolean, isHealthAsked: boolean}): string | null {
  const node = state.nodes[id]
  if (!node) return `there is no node ${id}`
  if (!node.mayVote) return `${id} may never be the primary`
  if (node.rejoin) return `${id} is being made anew`
  if (!allowDataLoss && !state.voters.includes(id)) return `${id} is not a voter: it may lack acknowledged writes`
  const server = view.nodes[id]?.server
  if (!server) return `${id} does not answer`
  const primary = view.nodes[state.primary]?.server
  if (!isHealthAsked) return null
  if (!primary) return `${state.primary} does not answer: that is a failover`
  if (!server.streaming || timelineOf(server.line) !== timelineOf(primary.line)) return `${id} does not stream from ${state.primary}`
  const lag = primary.position - server.replayed
  return lag > switchoverLagBytes ? `${id} has ${lag} bytes of log still to replay` : null
}

/**
 * Who may become primary. R + W > N (Gifford, "Weighted Voting", 1979; Patroni `quorum.py` keeps the same inequality; Raft's
 * election restriction): an acknowledged write lies on k of the voters V. Of V, |V| - k + 1 that confirm nothing to the old
 * primary any more are heard; whatever was acknowledged lies on one of them at least, and therefore on the most advanced.
 */
import {goesOnFrom, isKnownTo, sharedPosition, type Position} from './line.js'
import {allSafeguards, type Safeguards} from './safeguards.js'
import type {HaState, NodeId} from './state.js'
import type {NodeView, ServerView} from './view.js'

export type Election =
  | {readonly chosen: NodeId, readonly heard: readonly NodeId[], readonly because: string}
  /** `because` is a sentence that names what is missing. `missing`: who could make the difference. */
  | {readonly chosen: null, readonly missing: readonly NodeId[], readonly because: string}

export interface ElectionOptions {
  readonly preferred?: NodeId | null
  readonly allowDataLoss?: boolean
}

export const votesNeeded = ({voters, k}: Pick<HaState, 'voters' | 'k'>, rules: Safeguards = allSafeguards): number =>
  Math.max(1, voters.length - k + 1 - (rules.coverage ? 0 : 1))

interface Vote {
  readonly id: NodeId
  /** Up to where its log is the recorded one. */
  readonly shared: Position
  readonly server: ServerView
}

export function elect(state: HaState, nodes: Readonly<Record<NodeId, NodeView>>, options: ElectionOptions = {}, rules: Safeguards = allSafeguards): Election {
  const silent = (id: NodeId): string | null => whySilent(state, id, nodes[id], rules)
  const electorate = options.allowDataLoss ? Object.keys(state.nodes) : state.voters
  const votes = electorate.filter((id) => id !== state.primary && silent(id) === null).map((id) => voteOf(state, id, nodes[id]!.server!, rules))
  const needed = options.allowDataLoss ? 1 : votesNeeded(state, rules)
  if (electorate.length > 0 && votes.length >= needed) {
    const best = mostAdvanced(state, votes.filter(({id}) => state.nodes[id]?.mayVote !== false || !options.allowDataLoss), options.preferred ?? null, rules)
    if (best) return {chosen: best.id, heard: votes.map(({id}) => id), because: whyChosen(best, votes, state, options)}
  }
  const inPlace = whySilent(state, state.primary, nodes[state.primary], rules)
  if (inPlace === null) {
    return {chosen: state.primary, heard: [state.primary], because: `${state.primary} was the primary and holds all that was ever acknowledged: it goes on in place`}
  }
  const missing = state.voters.filter((id) => silent(id) !== null)
  const others = missing.map((id) => `${id} ${silent(id)}`).join(', ')
  const because = state.voters.length === 0
    ? `no replica is known to hold every acknowledged write, and ${state.primary}, which does, ${inPlace}`
    : `${votes.length} of the ${needed} voters that are needed answer: ${[others, `${state.primary} ${inPlace}`].filter(Boolean).join(', ')}`
  return {chosen: null, missing: [...missing, state.primary], because}
}

/** Voters that only have to be revoked. */
export const couldBeHeard = (state: HaState, nodes: Readonly<Record<NodeId, NodeView>>): NodeId[] =>
  state.voters.filter((id) => id !== state.primary && whySilent(state, id, nodes[id], {...allSafeguards, revocation: false}) === null)

/** Why a node is not heard: null, or the end of a sentence. */
function whySilent(state: HaState, id: NodeId, view: NodeView | undefined, rules: Safeguards): string | null {
  const server = view?.server
  if (!view || !server) return view?.process === 'exited' ? 'does not run' : 'does not answer'
  if (state.nodes[id]?.rejoin && rules.distrust) return 'is being made anew'
  if (server.systemId !== state.systemId) return 'holds another database'
  if (!server.inRecovery) return 'is not a standby'
  if (!server.revoked && rules.revocation) return 'still confirms, or has not read its log to the end'
  // the recorded primary may have begun a timeline that nobody could record any more; a voter that has was promoted by somebody else
  const known = id === state.primary ? goesOnFrom(server.line, state.line) : isKnownTo(server.line, state.line)
  return known || !rules.line ? null : 'has a history of its own'
}

const voteOf = (state: HaState, id: NodeId, server: ServerView, rules: Safeguards): Vote =>
  ({id, server, shared: rules.line ? sharedPosition(server.line, server.position, state.line) : server.position})

function mostAdvanced(state: HaState, votes: readonly Vote[], preferred: NodeId | null, rules: Safeguards): Vote | undefined {
  const gap = ({server}: Vote): bigint => server.position - server.replayed
  const compare = (a: Vote, b: Vote): number =>
    (rules['most-advanced'] ? sign(b.shared - a.shared) : sign(a.shared - b.shared))
    || Number(b.id === preferred) - Number(a.id === preferred)
    // the longer tail was confirmed by fewer than k: nothing is owed, but less is thrown away
    || sign(b.server.position - a.server.position)
    || (state.nodes[b.id]?.priority ?? 0) - (state.nodes[a.id]?.priority ?? 0)
    || sign(gap(a) - gap(b)) || a.id.localeCompare(b.id)
  return [...votes].sort(compare)[0]
}

const sign = (difference: bigint): number => (difference > 0n ? 1 : difference < 0n ? -1 : 0)

function whyChosen(best: Vote, votes: readonly Vote[], state: HaState, {preferred, allowDataLoss}: ElectionOptions): string {
  const rank = votes.length === 1 ? 'is the only one that was heard' : votes.every(({shared}) => shared === best.shared)
    ? `has everything, as all ${votes.length} that were heard have` : `has the most of ${votes.length} that were heard`
  const instead = preferred && preferred !== best.id ? `; ${preferred} was asked for and is not` : ''
  const quorum = allowDataLoss && votes.length < votesNeeded(state) ? ', and the loss of acknowledged writes was allowed' : ` (needed: ${votesNeeded(state)})`
  return `${best.id} ${rank}${quorum}${instead}`
}

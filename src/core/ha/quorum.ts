/**
 * How voters and the synchronous set change, one step at a time, so that whoever dies between two steps leaves a state in which
 * every acknowledged write lies on k of the recorded voters. After Patroni's `QuorumStateResolver` and Raft's joint consensus:
 * the record is never narrower than what is in force (I1: S ⊆ V, k recorded <= k in force), and shrinks only when those that
 * stay have flushed all that is there.
 */
import type {Position} from './line.js'
import {allSafeguards, type Safeguards} from './safeguards.js'
import {describeSet, sameNames, sameSet, sortedNames, type HaState, type NodeId, type SyncSet} from './state.js'
import type {Mark, Stream} from './view.js'

export interface QuorumView {
  readonly state: Pick<HaState, 'primary' | 'epoch' | 'k' | 'voters' | 'wanted' | 'nodes'>
  /** In force at the primary. */
  readonly set: SyncSet | null
  /** Its file says the same. */
  readonly settled: boolean
  readonly position: Position
  /** Where the primary's timeline begins: a replica before it is not on it. */
  readonly timelineBegan: Position
  readonly streams: Readonly<Record<NodeId, Stream>>
  readonly mark: Mark | null
}

export type QuorumStep =
  | {readonly kind: 'persist', readonly voters: readonly NodeId[], readonly k: number, readonly because: string}
  | {readonly kind: 'set', readonly set: SyncSet | null, readonly because: string}
  /** Read the primary's position now, keep it under `key`. */
  | {readonly kind: 'mark', readonly key: string, readonly because: string}
  | {readonly kind: 'wait', readonly because: string}
  | {readonly kind: 'none', readonly because: string}

/** A replica that has not streamed for so long votes no longer, where enough others do: a second failure then still finds a quorum. */
export const deadAfterMs = 3000
/** A replica further behind does not begin to vote: commits would wait for it. */
export const newVoterLagBytes = 16n * 1024n * 1024n

const streams = (view: Pick<QuorumView, 'streams'>, id: NodeId): boolean => view.streams[id]?.lostMs === null
const streaming = (view: Pick<QuorumView, 'streams'>, names: readonly NodeId[]): NodeId[] => names.filter((id) => streams(view, id))

/** Whether `k` of `names` have flushed the marked position. Undefined: no position is marked under the key. */
export function barrier(view: Pick<QuorumView, 'mark' | 'streams'>, key: string, {k, names}: SyncSet): boolean | undefined {
  const {mark} = view
  if (mark?.key !== key) return undefined
  return streaming(view, names).filter((id) => view.streams[id]!.flushed >= mark.position).length >= k
}

/** Who shall vote: those who do and live, filled up with the best of the rest. Fewer than k live: the dead keep their vote, and commits wait. */
export function chooseVoters(view: QuorumView): NodeId[] {
  const {voters, wanted, nodes, primary} = view.state
  if (wanted.k === 0 || wanted.voters === 0) return []
  const able = Object.keys(nodes).filter((id) => id !== primary && nodes[id]?.mayVote && !nodes[id]?.rejoin)
  const living = voters.filter((id) => able.includes(id) && (view.streams[id]?.lostMs ?? (streams(view, id) ? 0 : Infinity)) <= deadAfterMs)
  const byRank = (a: NodeId, b: NodeId): number => (nodes[b]?.priority ?? 0) - (nodes[a]?.priority ?? 0) || a.localeCompare(b)
  const fresh = able.filter((id) => !voters.includes(id) && isReady(view, id)).sort(byRank)
  const chosen = [...living.sort(byRank), ...fresh].slice(0, wanted.voters)
  const rest = voters.filter((id) => !chosen.includes(id))
  const kept = streaming(view, chosen).length >= wanted.k ? [] : rest
  return sortedNames([...chosen, ...kept])
}

function isReady(view: QuorumView, id: NodeId): boolean {
  const stream = view.streams[id]
  return stream !== undefined && stream.lostMs === null && stream.flushed >= view.timelineBegan && view.position - stream.flushed < newVoterLagBytes
}

/** The next step towards what is wanted. Each is safe to be the last that ever happens, and to be taken again. */
export function planQuorum(view: QuorumView, rules: Safeguards = allSafeguards): QuorumStep {
  const {state, set} = view
  if (!view.settled) return {kind: 'set', set, because: `another set than that in force (${describeSet(set)}) was written and not loaded`}
  const target = chooseVoters(view)
  if (state.k === 0 || state.voters.length === 0) return planFirst(view, target, rules)
  if (state.wanted.k === 0) return {kind: 'persist', voters: [], k: 0, because: 'no confirmation is wanted any more: it is no longer promised, then no longer waited for'}
  if (!rules.strict && streaming(view, state.voters).length < state.k) {
    return set === null ? {kind: 'none', because: 'commits wait for nobody'} : {kind: 'set', set: null, because: 'replicas are away'}
  }
  if (set === null || set.k < state.k || set.names.length < set.k || !set.names.every((id) => state.voters.includes(id))) {
    if (rules.strict && rules['voters-before-set'] && rules['lower-first']) {
      return {kind: 'persist', voters: [], k: 0, because: `${describeSet(set)} was set by somebody else: what was acknowledged meanwhile may lie on no voter`}
    }
  }
  const force = set ?? {k: state.k, names: []}
  return planCount(view, force, rules) ?? planHalfDone(view, force, target, rules) ?? planLeave(view, force, target, rules) ?? planJoin(view, force, target, rules)
    ?? planRaise(view, force, rules) ?? atRest(view, force, target)
}

const keyOf = ({state}: QuorumView, set: SyncSet): string => `${state.primary}:${state.epoch}:${set.k}:${sortedNames(set.names).join(',')}`

/** Waits until k of the set have flushed what the primary had when the set was in force; undefined when they have. */
function waitFor(view: QuorumView, set: SyncSet, because: string): QuorumStep | undefined {
  const key = keyOf(view, set)
  const passed = barrier(view, key, set)
  if (passed) return undefined
  return passed === undefined ? {kind: 'mark', key, because} : {kind: 'wait', because}
}

/** Nobody votes yet: in force, then proven, then recorded. Recorded earlier, a failover would trust a replica that holds nothing. */
function planFirst(view: QuorumView, target: readonly NodeId[], rules: Safeguards): QuorumStep {
  const {wanted} = view.state
  if (wanted.k === 0) return view.set === null ? {kind: 'none', because: 'no confirmation is wanted'} : {kind: 'set', set: null, because: 'no confirmation is wanted'}
  if (target.length < wanted.k) return {kind: 'wait', because: `${target.length} of ${wanted.k} replicas that shall confirm stream yet`}
  const set = {k: wanted.k, names: target}
  const persist: QuorumStep = {kind: 'persist', voters: target, k: wanted.k, because: `${target.join(' and ')} hold everything: from now on they vote`}
  if (!rules['first-barrier']) return persist
  const isThere = view.set !== null && view.set.k >= wanted.k && view.set.names.length >= view.set.k && view.set.names.every((id) => target.includes(id))
  if (!isThere) return {kind: 'set', set, because: `commits shall wait for ${describeSet(set)}`}
  return waitFor(view, view.set!, `${describeSet(view.set)} must hold all that is there before it votes`) ?? {...persist, voters: sortedNames(view.set!.names), k: view.set!.k}
}

/** A change of k that is half done, and k down: recorded first, for failovers must count on the lower one before commits do. */
function planCount(view: QuorumView, set: SyncSet, rules: Safeguards): QuorumStep | undefined {
  const {k, voters, wanted} = view.state
  if (k > wanted.k) {
    if (!rules['lower-first'] && set.k > wanted.k) return {kind: 'set', set: {...set, k: wanted.k}, because: `${wanted.k} shall confirm`}
    return {kind: 'persist', voters, k: wanted.k, because: `${wanted.k} shall confirm instead of ${k}: a failover must ask more voters before commits ask fewer`}
  }
  if (set.k <= k || set.k < wanted.k) return undefined
  if (wanted.k === k) return {kind: 'set', set: {...set, k}, because: `${k} confirm`}
  return waitFor(view, set, `${set.k} of ${set.names.join(', ')} must hold everything before failovers count on it`)
    ?? {kind: 'persist', voters, k: set.k, because: `${set.k} voters hold everything`}
}

/** Voters that are not in force: new ones get in, former ones are forgotten once the others hold everything. */
function planHalfDone(view: QuorumView, set: SyncSet, target: readonly NodeId[], rules: Safeguards): QuorumStep | undefined {
  const {k, voters} = view.state
  const idle = voters.filter((id) => !set.names.includes(id))
  if (idle.length === 0) return undefined
  const joining = idle.filter((id) => target.includes(id))
  if (joining.length > 0) {
    const names = sortedNames([...set.names, ...joining])
    return {kind: 'set', set: {...set, names}, because: `${joining.join(' and ')} may confirm now`}
  }
  const left = sortedNames(set.names)
  const because = `${idle.join(' and ')} may hold the only copy until ${describeSet(set)} hold everything`
  return (rules['removal-barrier'] ? waitFor(view, set, because) : undefined)
    ?? {kind: 'persist', voters: left, k, because: `${idle.join(' and ')} confirm nothing any more, and ${left.join(' and ')} hold everything`}
}

function planLeave(view: QuorumView, set: SyncSet, target: readonly NodeId[], rules: Safeguards): QuorumStep | undefined {
  const leaving = set.names.find((id) => !target.includes(id))
  if (leaving === undefined) return undefined
  const names = set.names.filter((id) => id !== leaving)
  if (rules.strict && (names.length < set.k || streaming(view, names).length < set.k)) return undefined
  return {kind: 'set', set: {...set, names}, because: view.state.nodes[leaving]?.mayVote ? `${leaving} streams no more, ${names.join(' and ')} suffice` : `${leaving} shall vote no more`}
}

function planJoin(view: QuorumView, set: SyncSet, target: readonly NodeId[], rules: Safeguards): QuorumStep | undefined {
  const joining = target.find((id) => !view.state.voters.includes(id))
  if (joining === undefined) return undefined
  if (!rules['voters-before-set'] && !set.names.includes(joining)) return {kind: 'set', set: {...set, names: sortedNames([...set.names, joining])}, because: `${joining} may confirm`}
  return {kind: 'persist', voters: sortedNames([...view.state.voters, joining]), k: view.state.k, because: `${joining} streams: recorded as a voter before it may confirm`}
}

function planRaise(view: QuorumView, set: SyncSet, rules: Safeguards): QuorumStep | undefined {
  const {k, voters, wanted} = view.state
  if (wanted.k <= k || streaming(view, set.names).length < wanted.k) return undefined
  if (!rules['raise-barrier']) return {kind: 'persist', voters, k: wanted.k, because: `${wanted.k} shall confirm`}
  return {kind: 'set', set: {...set, k: wanted.k}, because: `${wanted.k} shall confirm instead of ${k}`}
}

function atRest(view: QuorumView, set: SyncSet, target: readonly NodeId[]): QuorumStep {
  const live = streaming(view, set.names)
  if (live.length < set.k) {
    const away = set.names.filter((id) => !live.includes(id)).join(' and ')
    return {kind: 'wait', because: `BLOCKED: commits wait, ${live.length} of ${set.k} that must confirm stream (${away} away)`}
  }
  const {wanted} = view.state
  if (target.length < wanted.voters || set.k < wanted.k) return {kind: 'wait', because: `${live.length} of ${wanted.voters} wanted voters stream; commits are confirmed by ${describeSet(set)}`}
  return sameSet(set, {k: wanted.k, names: target}) && sameNames(target, view.state.voters)
    ? {kind: 'none', because: `each commit is confirmed by ${describeSet(set)}`} : {kind: 'wait', because: `commits are confirmed by ${describeSet(set)} until others can`}
}

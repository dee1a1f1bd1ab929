/**
 * In which order the servers of a cluster are started anew, one at a time: `f(what is true) -> the next move`. Asked again after each
 * move, and after whatever else happened meanwhile (a failover, another agent): it depends on nothing that was done before.
 *
 * Replicas first, then the primary's place is handed over to one of them, and the old primary, a replica by then, is last. Settings
 * that a standby must have at least as large as its primary turn that round where they are lowered: a standby cannot go below what its log says,
 * and a promoted one therefore neither. Then the primary itself goes first, in place, and its replicas follow when they have read of it.
 */
import type {NodeId} from './state.js'

export interface RollNode {
  readonly id: NodeId
  readonly isPrimary: boolean
  /** It confirms commits, or may: it can take over. */
  readonly isVoter: boolean
  /** `raised`: it was started anew, but had to keep something larger than wanted for the sake of the log. */
  readonly state: 'pending' | 'raised' | 'done'
}

export interface RollView {
  readonly nodes: readonly RollNode[]
  /** Of what standbys need as large as their primary has it: whether the change raises or lowers any. */
  readonly order: {readonly raises: boolean, readonly lowers: boolean}
  /** Why nothing may be moved now, as a sentence: a change of primary is under way, a replica is away. Null: something may. */
  readonly unrest: string | null
}

export type RollMove =
  | {readonly kind: 'renew', readonly node: NodeId}
  /** A switchover to that one. */
  | {readonly kind: 'hand-over', readonly to: NodeId}
  /** The primary is stopped and started where it is. */
  | {readonly kind: 'in-place'}
  | {readonly kind: 'wait', readonly because: string}
  | {readonly kind: 'done'}

export function nextMove({nodes, order, unrest}: RollView): RollMove {
  if (unrest !== null) return {kind: 'wait', because: unrest}
  const primary = nodes.find(({isPrimary}) => isPrimary)
  if (!primary) return {kind: 'wait', because: 'there is no primary'}
  const replicas = nodes.filter(({isPrimary}) => !isPrimary)
  const lowers = primary.state === 'raised' || order.lowers
  // with nothing raised, replicas before it would only have to be started twice
  if (primary.state !== 'done' && lowers && !order.raises) return {kind: 'in-place'}
  const pending = replicas.filter(({state}) => state === 'pending').sort(byUse)[0]
  if (pending) return {kind: 'renew', node: pending.id}
  if (primary.state !== 'done') {
    const heir = replicas.find(({isVoter, state}) => isVoter && state === 'done')
    return lowers || !heir ? {kind: 'in-place'} : {kind: 'hand-over', to: heir.id}
  }
  const raised = replicas.find(({state}) => state === 'raised')
  return raised ? {kind: 'renew', node: raised.id} : {kind: 'done'}
}

/** Those that only read show first whether the change works; else as they come. */
const byUse = (a: RollNode, b: RollNode): number => Number(a.isVoter) - Number(b.isVoter)

const unchanged = {raises: false, lowers: false}

/** All moves that it takes when nothing comes in between, for a plan. */
export function plannedMoves(view: Omit<RollView, 'unrest'>): RollMove[] {
  const moves: RollMove[] = []
  let now = [...view.nodes]
  let {order} = view
  const become = (id: NodeId, changes: Partial<RollNode>): void => void (now = now.map((node) => (node.id === id ? {...node, ...changes} : node)))
  for (;;) {
    const move = nextMove({nodes: now, order, unrest: null})
    if (move.kind === 'done' || move.kind === 'wait') return moves
    moves.push(move)
    const primary = now.find(({isPrimary}) => isPrimary) as RollNode
    if (move.kind === 'renew') become(move.node, {state: order.lowers ? 'raised' : 'done'})
    else if (move.kind === 'in-place') {
      become(primary.id, {state: 'done'})
      order = unchanged
    } else {
      become(primary.id, {isPrimary: false, isVoter: true, state: 'done'})
      become(move.to, {isPrimary: true, isVoter: false})
    }
  }
}

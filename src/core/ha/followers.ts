/** Bringing every node but the primary to follow it, whatever state it is in. */
import {isOnLine, timelineOf} from './line.js'
import {changed, withNode, type HaState, type NodeId, type Rejoin} from './state.js'
import type {Action, ClusterView, Decision, NodeView, ServerView} from './view.js'

/** Out of recovery without being the primary: an old primary that was out of reach, or one that somebody promoted by hand. */
export const strays = (state: HaState, view: ClusterView): NodeId[] => Object.keys(state.nodes).filter((id) => {
  const node = view.nodes[id]
  return id !== state.primary && node?.process === 'running' && (node.server ? !node.server.inRecovery : state.nodes[id]!.unfenced)
})

/** What the others need, where the primary serves or is about to. Undefined: nothing. */
export function tendFollowers(state: HaState, view: ClusterView): Decision | undefined {
  const primary = view.nodes[state.primary]?.server
  if (!primary || primary.inRecovery) return undefined
  const actions: Action[] = []
  const reasons: string[] = []
  for (const id of Object.keys(state.nodes)) {
    const node = view.nodes[id]
    if (id === state.primary || !node || node.busy || node.process === 'unreachable') continue
    const need = whatItNeeds(state, id, node, primary)
    if (need?.state) return {actions: [{kind: 'persist', state: need.state}], because: need.because}
    if (need?.action) {
      actions.push(need.action)
      reasons.push(need.because)
    }
  }
  return actions.length > 0 ? {actions, because: reasons.join('; ')} : undefined
}

interface Need {
  readonly because: string
  readonly action?: Action
  readonly state?: HaState
}

function whatItNeeds(state: HaState, id: NodeId, node: NodeView, primary: ServerView): Need | undefined {
  const {server} = node
  const rejoin = state.nodes[id]?.rejoin ?? null
  if (server && !server.inRecovery) return undefined
  const hasEnded = node.process === 'exited' || server?.inRecovery === true
  if (state.nodes[id]?.unfenced && hasEnded) return {state: changed(state, {nodes: withNode(state, id, {unfenced: false})}), because: `${id} takes itself for the primary no more`}
  if (rejoin && node.stamp !== rejoin.stamp) {
    const {how, stamp} = rejoin
    return {action: {kind: 'rejoin', node: id, from: state.primary, how, stamp}, because: `${id} is made anew from ${state.primary} (${how})`}
  }
  const diverged = server ? !isOnLine(server.line, server.position, primary.line) || server.systemId !== state.systemId : false
  if (diverged || node.cannotFollow) return {state: changed(state, {nodes: withNode(state, id, {rejoin: planRejoin(state, server, primary)})}), because: `the log of ${id} is not that of ${state.primary}`}
  if (node.process === 'exited') return {action: {kind: 'start', node: id, follows: state.primary}, because: `${id} does not run`}
  if (!server) return undefined
  if (server.follows !== state.primary) return {action: {kind: 'repoint', node: id, to: state.primary}, because: `${id} follows ${server.follows ?? 'nobody'}`}
  // another primary since may have less than `atLeast`: what it lacks was never acknowledged
  const hasAll = rejoin !== null && (server.position >= rejoin.atLeast || server.position >= primary.position)
  if (rejoin && server.streaming && hasAll && timelineOf(server.line) === timelineOf(primary.line)) {
    return {state: changed(state, {nodes: withNode(state, id, {rejoin: null})}), because: `${id} is whole and streams from ${state.primary}`}
  }
  return undefined
}

/** The same timeline number with another history: going back by timelines would find nothing to do. */
const planRejoin = (state: HaState, server: ServerView | null, primary: ServerView): Rejoin => ({
  how: server && (server.systemId !== state.systemId || timelineOf(server.line) === timelineOf(primary.line)) ? 'rebuild' : 'rewind',
  atLeast: primary.position, stamp: state.epoch + 1,
})

/** Which replicas those who only read are sent to. */
import {budgets} from './diagnose.js'
import type {HaState, NodeId} from './state.js'
import type {ClusterView} from './view.js'

export const readLimits = {
  /** So much log that it has not replayed makes it too old to read from. */
  behindBytes: 128n * 1024n * 1024n,
  /** So long without its primary, though that serves. */
  lostMs: 10_000,
} as const

/**
 * Replicas that answer, and are not too old. While the primary is away nobody gets any newer, and reading goes on. One that has left
 * recovery is none: what reads there could write. Sorted, so that the same answer is the same.
 */
export function readableNodes(state: HaState, view: ClusterView): NodeId[] {
  const primary = view.nodes[state.primary]?.server
  const serves = primary && !primary.inRecovery && state.operation === null
  return Object.keys(state.nodes).sort().filter((id) => {
    const node = view.nodes[id]
    if (id === state.primary || state.operation?.chosen === id || state.nodes[id]?.rejoin || !node || node.process !== 'running' || node.busy || node.cannotFollow) return false
    if (!node.server?.inRecovery) return false
    if (!serves) return true
    const lost = view.streams[id]?.lostMs
    return (lost === null || (lost !== undefined && lost < readLimits.lostMs)) && primary.position - node.server.replayed < readLimits.behindBytes
  })
}

/** Questions that a node did not answer, one after the other, and since when. */
export interface Silence {
  readonly probes: number
  readonly ms: number
}

/**
 * Replicas that run and have been silent for as long as a primary is that hangs: who reads from one waits for nothing, and is better sent to another.
 * Nothing is said in a round of which the agent was late.
 */
export const hungReaders = (state: HaState, view: ClusterView, silenceOf: (id: NodeId) => Silence | undefined): NodeId[] =>
  (view.diagnosis.kind === 'discarded' ? [] : Object.keys(state.nodes).sort().filter((id) => {
    const node = view.nodes[id]
    const silence = silenceOf(id)
    return id !== state.primary && node !== undefined && node.process !== 'exited' && !node.busy && node.server === null && silence !== undefined
      && silence.probes >= budgets.hungAfterProbes && silence.ms >= budgets.hungAfterMs
  }))

/** The servers of an instance beside its primary, as the workflows that bring a whole instance up make them and take them back. */
import type {StepContext} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Servers} from './servers.js'

/** Copies those that have no data, and starts all of them. Their refs are stored with the outcome of the step. */
export async function startReplicas(context: ServiceContext, servers: Servers, instanceId: string, {signal, progress, commit}: Pick<StepContext<unknown, Tx>, 'signal' | 'progress' | 'commit'>): Promise<void> {
  const [primary, ...replicas] = await servers.all(instanceId)
  if (!primary) return
  const refs = await context.clusters.makeReplicas(primary, replicas, signal, progress)
  commit(async (tx) => {
    for (const [id, runtimeRef] of refs) await tx.nodes.update(id, {runtimeRef, status: 'running', statusReason: null, updatedAt: context.clock.now()})
  })
}

export async function killReplicas(servers: Servers, instanceId: string): Promise<void> {
  for (const {runtime, placement, node} of (await servers.all(instanceId)).filter((each) => each.node.role !== 'primary')) await runtime.kill(placement, node.runtimeRef)
}

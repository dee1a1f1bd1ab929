/**
 * More replicas of an instance that runs, or fewer, or other confirmations. New ones are copied and stream before the cluster counts on them; those
 * that go vote no more before they end. An instance of one server becomes a cluster by its first, and is one no more without its last.
 */
import type {HaState, NodeId} from '../../../core/ha/state.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {forgetNode, type SubjectServers} from '../subject.js'
import {replicationOf, type Making} from './members.js'
import type {HighAvailability} from './service.js'

export interface ReplicasInput {
  readonly instanceId: string
  readonly added: readonly NodeId[]
  readonly removed: readonly NodeId[]
  readonly wanted: HaState['wanted']
  /** Before it; null: it was no cluster. */
  readonly was: HaState['wanted'] | null
}

export const replicasKind = 'instance.replicas'

export function replicasWorkflow(context: ServiceContext, servers: SubjectServers, making: Making, clusters: HighAvailability, started: (instanceId: string) => void) {
  const {store, clock} = context

  /** Ends their servers, and removes their places and rows. Idempotent. */
  async function remove(instanceId: string, nodes: readonly NodeId[], commit: (change: (tx: Tx) => Promise<void>) => void): Promise<void> {
    const gone = (await servers.all(instanceId)).filter(({node}) => nodes.includes(node.id))
    for (const {runtime, placement} of gone) await runtime.remove(placement)
    commit(async (tx) => {
      for (const {node} of gone) await forgetNode(tx, node.id)
    })
  }

  return workflow<ReplicasInput, Tx>()({
    kind: replicasKind,
    start: 'prepare-primary',
    order: ['prepare-primary', 'add-replicas', 'enrol', 'retire', 'remove-replicas', 'await-replicas'],
    deadlineSeconds: 24 * 3600,
    pointOfNoReturn: 'remove-replicas',
    steps: {
      'prepare-primary': {
        async run({input}) {
          const {instance, engine, host, node} = await servers.load(input.instanceId)
          if (input.added.length === 0) return next('retire')
          if (clusters.owns(instance.id)) return next('add-replicas')
          const layers = {...instance.layers, size: {...instance.layers.size, ...replicationOf(engine).parameters(instance.size, instance.version)}}
          await store.transact('platform', (tx) => tx.instances.update(instance.id, {layers, updatedAt: clock.now()}))
          const fresh = servers.subjectOf({...instance, layers}, node)
          // its server runs: the files that make it a primary say what it is
          await making.prepareFirst(fresh)
          await engine.lifecycle.reload(host, await servers.admin())
          return next('add-replicas')
        },
      },
      'add-replicas': {
        retrySeconds: 600,
        async run({input, signal, progress, commit}) {
          const all = await servers.all(input.instanceId)
          const primary = await servers.load(input.instanceId)
          const refs = await making.makeReplicas(primary, all.filter(({node}) => input.added.includes(node.id)), signal, progress)
          commit(async (tx) => {
            for (const [id, runtimeRef] of refs) await tx.nodes.update(id, {runtimeRef, status: 'running', statusReason: null, updatedAt: clock.now()})
          })
          return next('enrol')
        },
        undo: ({input, commit}) => remove(input.instanceId, input.added, commit),
      },
      enrol: {
        async run({input, signal}) {
          const primary = await servers.load(input.instanceId)
          if (clusters.owns(input.instanceId)) await clusters.reshape(input.instanceId, input.added, input.wanted, signal)
          else await clusters.begin(primary, input.added, input.wanted)
          return next(input.removed.length > 0 ? 'retire' : 'await-replicas')
        },
        async undo({input, signal, progress}) {
          const state = clusters.watch(input.instanceId)?.cluster.state
          const added = input.added.filter((id) => state?.nodes[id])
          if (added.length === 0) return
          const left = Object.keys(state?.nodes ?? {}).length - 1 - added.length
          await clusters.retire(input.instanceId, added, left === 0 ? {k: 0, voters: 0} : {k: Math.min(input.wanted.k, left), voters: Math.min(input.wanted.voters, left)}, signal, progress)
          await clusters.expel(input.instanceId, added, signal)
        },
      },
      retire: {
        async run({input, signal, progress}) {
          if (clusters.owns(input.instanceId)) await clusters.retire(input.instanceId, input.removed, input.wanted, signal, progress)
          return next(input.removed.length > 0 ? 'remove-replicas' : 'await-replicas')
        },
        async undo({input, signal}) {
          if (input.was && clusters.owns(input.instanceId)) await clusters.reinstate(input.instanceId, input.removed, input.was, signal)
        },
      },
      'remove-replicas': {
        async run({input, signal, commit}) {
          await clusters.expel(input.instanceId, input.removed, signal)
          await remove(input.instanceId, input.removed, commit)
          return next('await-replicas')
        },
      },
      'await-replicas': {
        async run({input, signal, progress}) {
          if (clusters.owns(input.instanceId)) await clusters.untilWhole(input.instanceId, signal, progress)
          // one server is looked after as all of one server are
          else started(input.instanceId)
          return done({write_gap_ms: 0, applied: 'live', replicas: (await servers.all(input.instanceId)).length - 1})
        },
      },
    },
    async onUndone(tx, {input}) {
      // those that were never copied
      const nodes = await tx.nodes.ofInstance(input.instanceId)
      for (const {id} of nodes.filter((node) => input.added.includes(node.id))) await forgetNode(tx, id)
    },
  })
}

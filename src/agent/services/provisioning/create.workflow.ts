/**
 * A new instance. Its rows (instance, node, ports, password) were written with the operation itself; every step looks
 * for what it would make. Undone, nothing is left but the operation with its error.
 */
import {effectiveParameters} from '../../../core/instance/instance.js'
import type {HaState} from '../../../core/ha/state.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {forgetNode} from '../subject.js'
import type {Catalogues} from './catalogues.js'
import {makerOf, poolKeyOf, rememberUse} from './prepared.js'
import {killReplicas, startReplicas} from './replicas.js'
import type {Servers} from './servers.js'

export interface CreateInput {
  readonly instanceId: string
  /** The user asked for this very port, so another will not do. */
  readonly portIsFixed: boolean
  /** The parameters could not be judged when they were asked for: the image was not there yet. */
  readonly unchecked: boolean
  /** With replicas: how many of them shall confirm, and how many may. Null: there is one server. */
  readonly wanted: HaState['wanted'] | null
}

/** Steps of an instance with replicas alone. */
export const replicaSteps: readonly string[] = ['add-replicas', 'await-replicas']

export const createKind = 'instance.create'

export function createWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void, catalogues: Catalogues) {
  return workflow<CreateInput, Tx>()({
    kind: createKind,
    start: 'prepare-software',
    order: ['prepare-software', 'place-node', 'initialise', 'configure', 'start-server', 'await-ready', 'create-access', 'verify', 'add-replicas', 'publish-endpoint', 'await-replicas'],
    deadlineSeconds: 300,
    steps: {
      'prepare-software': {
        async run({input, progress, signal, commit}) {
          const subject = await servers.load(input.instanceId)
          const {instance, runtime, engine} = subject
          const found = await servers.softwareOf(subject, progress, signal)
          if (input.unchecked) {
            progress('checking the parameters that were asked for')
            const {template, user} = instance.layers
            await catalogues.check(engine, runtime, found, {...template, ...user}, effectiveParameters(instance.layers))
          }
          commit(async (tx) => {
            await tx.instances.update(instance.id, {version: found.version, image: found.image})
            await rememberUse(tx, instance.runtime, {engine: instance.engine, version: found.version, image: found.image}, context.clock.now())
          })
          return next('place-node')
        },
      },
      'place-node': {
        async run({input}) {
          const {runtime, placement} = await servers.load(input.instanceId)
          await runtime.place(placement)
          return next('initialise')
        },
        async undo({input}) {
          for (const {runtime, placement} of await servers.all(input.instanceId)) await runtime.remove(placement)
        },
      },
      initialise: {
        async run({input, progress, signal}) {
          const subject = await servers.load(input.instanceId)
          const {engine, runtime, placement, host, instance} = subject
          // the certificate is made meanwhile; the next step finds it
          const certificate = servers.settingsOf(subject)
          certificate.catch(() => undefined)
          if (await engine.lifecycle.isInitialised(host)) return next('configure')
          if (await runtime.pool?.claim(poolKeyOf(engine, instance), placement, makerOf(engine, instance.version))) return next('configure')
          signal.throwIfAborted()
          progress(runtime.pool ? 'making a data directory: none was prepared' : 'making a data directory')
          await host.remove(host.paths.data)
          await runtime.place(placement)
          await engine.lifecycle.initialise(host, instance.version)
          await certificate
          return next('configure')
        },
      },
      configure: {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          await subject.engine.config.write(subject.host, await servers.settingsOf(subject))
          return next('start-server')
        },
      },
      'start-server': {
        async run({input, commit}) {
          const subject = await servers.load(input.instanceId)
          if (input.wanted && (await servers.observe(subject)).state !== 'running') await context.clusters.prepareFirst(subject)
          const {ref} = await servers.launch(subject)
          commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'starting', updatedAt: context.clock.now()}))
          return next('await-ready')
        },
        async undo({input}) {
          const {runtime, placement, node} = await servers.load(input.instanceId)
          await runtime.kill(placement, node.runtimeRef)
        },
      },
      'await-ready': {
        async run({input, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await servers.load(input.instanceId), signal, progress, commit)
          if (!ready) return next('configure')
          return next('create-access')
        },
      },
      'create-access': {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          const {engine, host, instance} = subject
          // somebody killed it meanwhile: asking it again and again would not bring it back
          if ((await servers.observe(subject)).state !== 'running') return next('start-server')
          const {database, username, password} = await servers.clientOf(instance)
          await engine.access.grantApplication(host, await servers.admin(), {database, username, password})
          return next('verify')
        },
      },
      verify: {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          const {engine, host, instance} = subject
          if ((await servers.observe(subject)).state !== 'running') return next('start-server')
          const asked = effectiveParameters(instance.layers)
          await engine.config.verify(host, await servers.admin(), asked)
          return next(input.wanted ? 'add-replicas' : 'publish-endpoint')
        },
      },
      'add-replicas': {
        async run({input, ...step}) {
          await startReplicas(context, servers, input.instanceId, step)
          return next('publish-endpoint')
        },
        undo: ({input}) => killReplicas(servers, input.instanceId),
      },
      'publish-endpoint': {
        async run({input, commit}) {
          const subject = await servers.load(input.instanceId)
          if (!(await servers.publishedOrMoved(subject, input.portIsFixed, commit))) return next('publish-endpoint')
          const {tlsVersion} = await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
          if (input.wanted) return next('await-replicas')
          started(subject.instance.id)
          return done({endpoint: `${subject.instance.endpointHost}:${subject.instance.endpointPort}`, tls_version: tlsVersion})
        },
        async undo({input}) {
          await context.endpoints.remove(input.instanceId)
        },
      },
      'await-replicas': {
        async run({input, signal, progress}) {
          const [primary, ...replicas] = await servers.all(input.instanceId)
          if (primary && input.wanted) await context.clusters.begin(primary, replicas.map(({node}) => node.id), input.wanted)
          await context.clusters.untilWhole(input.instanceId, signal, progress)
          const {instance} = await servers.load(input.instanceId)
          started(instance.id)
          return done({endpoint: `${instance.endpointHost}:${instance.endpointPort}`, replicas: replicas.length, confirmations: input.wanted?.k ?? 0})
        },
        async undo({input}) {
          await context.clusters.forget(input.instanceId)
        },
      },
    },
    async onDone(tx, {input, tenantId}) {
      const now = context.clock.now()
      for (const node of await tx.nodes.ofInstance(input.instanceId)) await tx.nodes.update(node.id, {status: 'running', statusReason: null, updatedAt: now})
      await tx.instances.update(input.instanceId, {status: 'running', statusReason: null, updatedAt: now})
      await tx.event({
        id: context.newId('event'), tenantId, type: 'instance.created', subject: input.instanceId, payload: {}, at: now,
      })
    },
    async onUndone(tx, {input}) {
      await forgetInstance(context, tx, input.instanceId)
    },
  })
}

/** Removes every row of an instance; its operations and audit entries stay. */
export async function forgetInstance(context: Pick<ServiceContext, 'protection'>, tx: Tx, instanceId: string): Promise<void> {
  await context.protection.forget(tx, instanceId)
  await tx.clusters.remove(instanceId)
  for (const {id} of await tx.nodes.ofInstance(instanceId)) await forgetNode(tx, id)
  await tx.secrets.removeAll(instanceId)
  await tx.ports.release(instanceId)
  await tx.instances.remove(instanceId)
}

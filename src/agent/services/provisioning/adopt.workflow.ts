/**
 * An instance that another site made, and whose agent and store are gone: its data is kept, its servers are started anew
 * with certificates of this site and a new password, and its backups are found again. Undone, only the rows go: the data is never touched.
 *
 * Of several servers nobody knows any more which one was the primary. Whoever has the newest timeline, and of that the most log,
 * has all that any of them has acknowledged; it is promoted, and the others are made its replicas, whatever they have beyond it.
 */
import {isSealed} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import {wantedOf} from '../../../core/ha/state.js'
import {effectiveParameters} from '../../../core/instance/instance.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {forgetInstance} from './create.workflow.js'
import {releaseFormerHolds, type Subject} from '../subject.js'
import {killReplicas, startReplicas} from './replicas.js'
import type {Servers} from './servers.js'

export interface AdoptInput {
  readonly instanceId: string
  readonly fromSite: string
}

export const adoptKind = 'instance.adopt'

/** What an instance of one server does not need. */
export const stepsOfSeveral: readonly string[] = ['choose-primary', 'add-replicas', 'await-primary']

export function adoptWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  /** For whoever asked: what is known of its backups. */
  const backupsOf = (instanceId: string) => context.store.read('platform', async (tx) => {
    const backups = await tx.backups.list({instanceId})
    const sealed = (await tx.histories.list(instanceId)).some((history) => isSealed(history, backups))
    return {backups: backups.length, backups_sealed: sealed}
  })

  const hasReplicas = async (instanceId: string): Promise<boolean> => (await servers.all(instanceId)).length > 1

  /** Whose data go furthest; of those alone that are whole: others are copied anew. None of them runs. Throws DATA_GONE, INTEGRITY_MISMATCH. */
  async function furthest(all: readonly Subject[], progress: (because: string) => void): Promise<Subject> {
    const found = []
    for (const subject of all) {
      const {engine: {lifecycle, replication}, host} = subject
      if (replication && (await lifecycle.isInitialised(host))) found.push({subject, data: await replication.readData(host)})
    }
    const [first] = found.sort(({data: a}, {data: b}) => b.timeline - a.timeline || Number(b.position - a.position))
    const {name} = (all[0] as Subject).instance
    if (!first) throw new DbaasError('DATA_GONE', `the data of ${name} is gone: none of its ${all.length} servers has them whole`, {suggestions: ['dbaas restore NAME --into NEW']})
    const foreign = found.find(({data}) => data.system !== first.data.system)
    if (foreign) {
      throw new DbaasError('INTEGRITY_MISMATCH', `the data of ${foreign.subject.node.name} and of ${first.subject.node.name} are not of one database`, {
        details: {instance: name, node: foreign.subject.node.name}, suggestions: ['move one of their folders away, then adopt again'],
      })
    }
    progress(`${first.subject.node.name} has the most of it: ${first.subject.engine.replication?.formatPosition(first.data.position)} on timeline ${first.data.timeline}`)
    return first.subject
  }

  return workflow<AdoptInput, Tx>()({
    kind: adoptKind,
    start: 'take-over',
    order: ['take-over', 'find-backups', 'choose-primary', 'configure', 'start-server', 'await-ready', 'promote', 'create-access', 'verify', 'add-replicas', 'publish-endpoint', 'await-primary'],
    deadlineSeconds: 300,
    steps: {
      'take-over': {
        async run({input}) {
          const all = await servers.all(input.instanceId)
          for (const {runtime, placement} of all) await runtime.adopt(placement, input.fromSite)
          return next('find-backups')
        },
      },
      // before it is written down with its place which history it has from here on
      'find-backups': {
        retrySeconds: 60,
        async run({input, progress, commit}) {
          const {instance} = await servers.load(input.instanceId)
          const recognised = await context.protection.recognise(instance, progress)
          commit((tx) => context.protection.enter(tx, instance, recognised))
          return next((await hasReplicas(input.instanceId)) ? 'choose-primary' : 'configure')
        },
      },
      'choose-primary': {
        async run({input, progress, commit}) {
          const all = await servers.all(input.instanceId)
          for (const {runtime, placement} of all) await runtime.place(placement)
          const {node: {id}} = await furthest(all, progress)
          commit(async (tx) => {
            for (const {node} of all) await tx.nodes.update(node.id, {role: node.id === id ? 'primary' : 'replica', updatedAt: context.clock.now()})
          })
          return next('configure')
        },
      },
      configure: {
        async run({input}) {
          await servers.prepare(await servers.load(input.instanceId))
          return next('start-server')
        },
      },
      'start-server': {
        async run({input, commit}) {
          const subject = await servers.load(input.instanceId)
          if ((await hasReplicas(input.instanceId)) && (await servers.observe(subject)).state !== 'running') {
            // nobody else is there yet to confirm anything
            await context.clusters.prepareFirst(subject)
            await subject.engine.replication?.prepareBoot(subject.host, {role: 'standby', upstream: null})
          }
          const {ref} = await servers.launch(subject)
          commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'starting', updatedAt: context.clock.now()}))
          return next('await-ready')
        },
        async undo({input}) {
          await servers.halt(await servers.load(input.instanceId), () => undefined)
        },
      },
      'await-ready': {
        async run({input, signal, progress, commit}) {
          const ready = await servers.readyOrMoved(await servers.load(input.instanceId), signal, progress, commit)
          return next(ready ? 'promote' : 'configure')
        },
      },
      promote: {
        async run({input, progress}) {
          const {engine: {replication}, host} = await servers.load(input.instanceId)
          const admin = await servers.admin()
          if (replication && (await replication.observe(host, admin)).role === 'standby') {
            progress('it was a standby when it ended, and becomes primary')
            // those that it waited for then are not there
            await replication.setSynchronous(host, admin, {k: 0, names: []})
            await replication.promote(host, admin)
            await replication.afterPromotion(host, admin)
          }
          return next('create-access')
        },
      },
      'create-access': {
        async run({input}) {
          const {engine, host, instance} = await servers.load(input.instanceId)
          const {database, username, password} = await servers.clientOf(instance)
          const admin = await servers.admin()
          await engine.access.grantApplication(host, admin, {database, username, password})
          await releaseFormerHolds(context.store, {instance, engine, host}, admin)
          return next('verify')
        },
      },
      verify: {
        async run({input}) {
          const {engine, host, instance} = await servers.load(input.instanceId)
          await engine.config.verify(host, await servers.admin(), effectiveParameters(instance.layers))
          return next((await hasReplicas(input.instanceId)) ? 'add-replicas' : 'publish-endpoint')
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
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          await servers.route(subject, 'open')
          const {tlsVersion} = await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
          if (await hasReplicas(input.instanceId)) return next('await-primary')
          started(subject.instance.id)
          return done({endpoint: `${subject.instance.endpointHost}:${subject.instance.endpointPort}`, tls_version: tlsVersion, ...(await backupsOf(input.instanceId))})
        },
        async undo({input}) {
          await context.endpoints.remove(input.instanceId)
        },
      },
      // what it takes to make the others whole is for the cluster, however long it is
      'await-primary': {
        async run({input, signal, progress}) {
          const [primary, ...replicas] = (await servers.all(input.instanceId)) as [Subject, ...Subject[]]
          await context.clusters.begin(primary, replicas.map(({node}) => node.id), wantedOf(replicas.length))
          await context.clusters.untilServed(input.instanceId, signal, progress)
          started(input.instanceId)
          const {instance} = primary
          return done({endpoint: `${instance.endpointHost}:${instance.endpointPort}`, primary: primary.node.name, replicas: replicas.length, ...(await backupsOf(input.instanceId))})
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
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.adopted', subject: input.instanceId, payload: {from_site: input.fromSite}, at: now})
    },
    async onUndone(tx, {input}) {
      await context.protection.leave(tx, input.instanceId)
      await forgetInstance(context, tx, input.instanceId)
    },
  })
}

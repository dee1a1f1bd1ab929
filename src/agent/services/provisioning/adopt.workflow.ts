/**
 * An instance that another site made, and whose agent and store are gone: its data is kept, its server is started anew
 * with a certificate of this site and a new password. Undone, only the rows go: the data is never touched.
 */
import {effectiveParameters} from '../../../core/instance/instance.js'
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {forgetInstance} from './create.workflow.js'
import type {Servers} from './servers.js'

export interface AdoptInput {
  readonly instanceId: string
  readonly fromSite: string
}

export const adoptKind = 'instance.adopt'

export function adoptWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  return workflow<AdoptInput, Tx>()({
    kind: adoptKind,
    start: 'take-over',
    order: ['take-over', 'configure', 'start-server', 'await-ready', 'create-access', 'verify', 'publish-endpoint'],
    deadlineSeconds: 300,
    steps: {
      'take-over': {
        async run({input}) {
          const {runtime, placement} = await servers.load(input.instanceId)
          await runtime.adopt(placement, input.fromSite)
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
          return next(ready ? 'create-access' : 'configure')
        },
      },
      'create-access': {
        async run({input}) {
          const {engine, host, instance} = await servers.load(input.instanceId)
          const {database, username, password} = await servers.clientOf(instance)
          await engine.access.grantApplication(host, await servers.admin(), {database, username, password})
          return next('verify')
        },
      },
      verify: {
        async run({input}) {
          const {engine, host, instance} = await servers.load(input.instanceId)
          await engine.config.verify(host, await servers.admin(), effectiveParameters(instance.layers))
          return next('publish-endpoint')
        },
      },
      'publish-endpoint': {
        async run({input}) {
          const subject = await servers.load(input.instanceId)
          await servers.route(subject, 'open')
          const {tlsVersion} = await subject.engine.access.probe(await servers.clientOf(subject.instance), 10_000)
          started(subject.instance.id)
          return done({endpoint: `${subject.instance.endpointHost}:${subject.instance.endpointPort}`, tls_version: tlsVersion})
        },
        async undo({input}) {
          await context.endpoints.remove(input.instanceId)
        },
      },
    },
    async onDone(tx, {input, tenantId}) {
      const now = context.clock.now()
      for (const node of await tx.nodes.ofInstance(input.instanceId)) await tx.nodes.update(node.id, {status: 'running', statusReason: null, updatedAt: now})
      await tx.instances.update(input.instanceId, {status: 'running', statusReason: null, updatedAt: now})
      await tx.event({id: context.newId('event'), tenantId, type: 'instance.adopted', subject: input.instanceId, payload: {from_site: input.fromSite}, at: now})
    },
    onUndone: (tx, {input}) => forgetInstance(context, tx, input.instanceId),
  })
}

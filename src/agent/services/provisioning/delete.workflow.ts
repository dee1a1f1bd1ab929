/**
 * Deletion. Until `shred` it can be cancelled and the database goes on; from there it is driven to its end: keys and
 * passwords go first, so that what a killed agent leaves behind is of no use to anyone.
 */
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {KeptBackups} from '../protection.js'
import {forgetInstance} from './create.workflow.js'
import type {Servers} from './servers.js'

export interface DeleteInput {
  readonly instanceId: string
  /** What to go back to when it is cancelled. */
  readonly before: 'running' | 'stopped' | 'failed' | 'degraded'
  readonly keep: KeptBackups
}

export const deleteKind = 'instance.delete'

export function deleteWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  return workflow<DeleteInput, Tx>()({
    kind: deleteKind,
    start: 'close-endpoint',
    order: ['final-backup', 'close-endpoint', 'end-backups', 'stop-server', 'shred', 'erase'],
    // a last backup takes as long as any
    deadlineSeconds: 24 * 3600,
    pointOfNoReturn: 'shred',
    steps: {
      'final-backup': {
        async run({input, operationId, progress, signal}) {
          const {instance} = await servers.load(input.instanceId)
          await context.protection.finalBackup(instance, operationId, progress, signal)
          return next('close-endpoint')
        },
      },
      'close-endpoint': {
        async run({input}) {
          await context.clusters.suspend(input.instanceId)
          await context.endpoints.remove(input.instanceId)
          return next('end-backups')
        },
        async undo({input, signal, progress}) {
          if (!context.clusters.owns(input.instanceId)) {
            // an agent that was killed after the server served again did not open it for its successor
            if (input.before === 'running' || input.before === 'degraded') await servers.route(await servers.load(input.instanceId), 'open')
            return
          }
          if (input.before === 'stopped') return
          await servers.route(await servers.load(input.instanceId), 'hold')
          await context.clusters.resume(input.instanceId, false)
          await context.clusters.untilServed(input.instanceId, signal, progress)
        },
      },
      'end-backups': {
        async run({input}) {
          await context.protection.quiet(input.instanceId)
          return next('stop-server')
        },
      },
      'stop-server': {
        async run({input, progress}) {
          await context.clusters.suspend(input.instanceId)
          await servers.haltAll(input.instanceId, progress)
          return next('shred')
        },
        async undo({input, signal, progress, commit}) {
          const subject = await servers.load(input.instanceId)
          if (input.before !== 'running' && input.before !== 'degraded') return
          // a cluster is brought back by the undo of the step before
          if (context.clusters.owns(input.instanceId)) return
          await servers.serve(subject, {signal, progress, commit})
          started(input.instanceId)
        },
      },
      shred: {
        async run({input, commit}) {
          const subject = await servers.load(input.instanceId)
          commit(async (tx) => {
            for (const node of await tx.nodes.ofInstance(subject.instance.id)) await tx.secrets.removeAll(node.id)
            await tx.secrets.removeAll(subject.instance.id)
            await context.protection.seal(tx, subject.instance.id, input.keep)
          })
          return next('erase')
        },
      },
      erase: {
        retrySeconds: 300,
        async run({input}) {
          await context.clusters.forget(input.instanceId)
          // the keys go first: from then on what is left of its backups is noise
          await context.protection.erase(input.instanceId)
          for (const {runtime, placement} of await servers.all(input.instanceId)) await runtime.remove(placement)
          return done()
        },
      },
    },
    async onDone(tx, {input, tenantId}) {
      await forgetInstance(context, tx, input.instanceId)
      await tx.event({
        id: context.newId('event'), tenantId, type: 'instance.deleted', subject: input.instanceId, payload: {}, at: context.clock.now(),
      })
    },
    async onUndone(tx, {input, because, cancelled}) {
      const status = cancelled ? input.before : 'failed'
      await tx.instances.update(input.instanceId, {status, statusReason: cancelled ? null : because, updatedAt: context.clock.now()})
    },
  })
}

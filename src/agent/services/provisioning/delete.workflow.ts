/**
 * Deletion. Until `shred` it can be cancelled and the database goes on; from there it is driven to its end: keys and
 * passwords go first, so that what a killed agent leaves behind is of no use to anyone.
 */
import {done, next, workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {forgetInstance} from './create.workflow.js'
import type {Servers} from './servers.js'

export interface DeleteInput {
  readonly instanceId: string
  /** What to go back to when it is cancelled. */
  readonly before: 'running' | 'stopped' | 'failed' | 'degraded'
}

export const deleteKind = 'instance.delete'

export function deleteWorkflow(context: ServiceContext, servers: Servers, started: (instanceId: string) => void) {
  return workflow<DeleteInput, Tx>()({
    kind: deleteKind,
    start: 'close-endpoint',
    order: ['close-endpoint', 'stop-server', 'shred', 'erase'],
    deadlineSeconds: 600,
    pointOfNoReturn: 'shred',
    steps: {
      'close-endpoint': {
        async run({input}) {
          await context.endpoints.remove(input.instanceId)
          return next('stop-server')
        },
      },
      'stop-server': {
        async run({input, progress}) {
          await servers.halt(await servers.load(input.instanceId), progress)
          return next('shred')
        },
        async undo({input, signal, progress, commit}) {
          const subject = await servers.load(input.instanceId)
          if (input.before !== 'running' && input.before !== 'degraded') return
          await servers.serve(subject, {signal, progress, commit})
          started(input.instanceId)
        },
      },
      shred: {
        async run({input, commit}) {
          const subject = await servers.load(input.instanceId)
          commit(async (tx) => {
            await tx.secrets.removeAll(subject.node.id)
            await tx.secrets.removeAll(subject.instance.id)
          })
          return next('erase')
        },
      },
      erase: {
        retrySeconds: 300,
        async run({input}) {
          const {runtime, placement} = await servers.load(input.instanceId)
          await runtime.remove(placement)
          return done()
        },
      },
    },
    async onDone(tx, {input, tenantId}) {
      await forgetInstance(tx, input.instanceId)
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

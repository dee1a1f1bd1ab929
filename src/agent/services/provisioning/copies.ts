/** Copies of an instance that serve one purpose and then go, whatever became of them: those of drills. */
import {setTimeout as pause} from 'node:timers/promises'
import type {Principal} from '../../../core/access/principal.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {ServiceContext} from '../context.js'
import type {HighAvailabilityApi} from '../contract.js'
import {forgetInstance} from './create.workflow.js'
import {restoreKind} from './restore.workflow.js'
import type {Restoring} from './restoring.js'
import type {Servers} from './servers.js'

/** What is under way on a copy ends within so long once it is cancelled, or its removal is tried again. */
const endMs = 20_000

export type Copies = ReturnType<typeof createCopies>

export function createCopies({context, servers, restoring, scale, scaleKind, cancel}: {
  context: ServiceContext; servers: Servers; restoring: Pick<Restoring, 'copy'>; scale: HighAvailabilityApi['scale']; scaleKind: string
  cancel(operation: OperationRecord): Promise<unknown>
}) {
  const {store, clock} = context
  const ofAgent = ({tenantId}: InstanceRecord): Principal => ({...context.principalOfAgent(), tenantId})
  const allOf = (id: string) => store.read('platform', (tx) => tx.operations.list({instanceId: id, limit: 1000}))

  /** The operation of that kind that made the copy what it is; begun if nobody has. */
  async function only(id: string, wanted: string, begin: () => Promise<unknown>): Promise<OperationRecord> {
    for (let isBegun = false; ; isBegun = true) {
      const found = (await allOf(id)).find(({kind}) => kind === wanted)
      if (found) return found
      if (isBegun) throw new DbaasError('INTERNAL', 'an operation was begun, and is not there')
      await begin()
    }
  }

  return {
    /** Throws what a clone is refused with. */
    async check(source: InstanceRecord, copy: {readonly id: string; readonly name: string; readonly servers: number}): Promise<void> {
      await restoring.copy(ofAgent(source), source, {...copy, backup: false}, true)
    },
    /** One server, with the data of now, and without backups. Once for each id. */
    make: (source: InstanceRecord, copy: {readonly id: string; readonly name: string; readonly servers: number}): Promise<OperationRecord> =>
      only(copy.id, restoreKind, () => restoring.copy(ofAgent(source), source, {...copy, backup: false}, false)),
    /** With replicas that confirm. Once for each id. */
    enlarge: (source: InstanceRecord, {id, servers: count}: {readonly id: string; readonly servers: number}): Promise<OperationRecord> =>
      only(id, scaleKind, () => scale(ofAgent(source), id, {high_availability: true, replicas: count - 1}, undefined)),
    /** Whatever there is of it, and what is being done to it. Nothing when it is not there. */
    async remove(id: string): Promise<void> {
      const until = performance.now() + endMs
      for (let open = await openOf(id); open.length > 0; open = await openOf(id)) {
        for (const operation of open) if (!operation.cancelRequested && operation.direction === 'forward') await cancel(operation).catch(() => undefined)
        if (performance.now() > until) throw new DbaasError('OPERATION_FAILED', `${open[0]?.kind} of the copy does not end`, {suggestions: ['dbaas operations list']})
        await pause(50)
      }
      // what ends now was meant to
      const there = await store.transact('platform', async (tx) => {
        const instance = await tx.instances.find(id)
        if (instance) await tx.instances.update(id, {status: 'deleting', wanted: 'stopped', updatedAt: clock.now()})
        return instance !== undefined
      })
      if (!there) return
      await context.clusters.forget(id)
      await context.endpoints.remove(id)
      for (const {runtime, placement} of await servers.all(id)) await runtime.remove(placement)
      await store.transact('platform', (tx) => forgetInstance(context, tx, id))
    },
  }

  async function openOf(id: string): Promise<OperationRecord[]> {
    return store.read('platform', (tx) => tx.operations.openOfInstance(id))
  }
}

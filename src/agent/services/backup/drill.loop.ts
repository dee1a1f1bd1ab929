/** Tries a restore of every protected instance once a week, each at a time of its own. */
import type {Principal} from '../../../core/access/principal.js'
import {jitterOf} from '../../../core/backup/schedule.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Idempotency} from '../contract.js'
import {submit} from '../submit.js'
import type {DrillInput} from './drill.workflow.js'
import {drillKind, type BackupParts} from './parts.js'

const weekMs = 7 * 86_400_000
const spreadMs = 86_400_000
/** One that failed is tried again after so long, so that what was mended shows. */
const againMs = 86_400_000

export function submitDrill(
  context: ServiceContext, tx: Tx, principal: Principal, instance: InstanceRecord, deadlineSeconds: number, idempotency?: Idempotency, backupId?: string,
): Promise<OperationRecord> {
  const input: DrillInput = {instanceId: instance.id, testId: context.newId('event'), ...(backupId === undefined ? {} : {backupId})}
  return submit(context, tx, principal, {
    kind: drillKind, instanceId: instance.id, lane: 'backup', resource: `instance/${instance.name}`, input: {...input}, start: 'restore', deadlineSeconds,
  }, idempotency)
}

export function createDrills({context}: Pick<BackupParts, 'context'>, deadlineSeconds: number) {
  const {store, clock} = context
  return {
    /** One round: at most one is begun, so that a site of many instances is not busy with nothing else. */
    async run(): Promise<void> {
      const due = await store.read('platform', async (tx) => {
        if ((await tx.operations.open()).some((o) => o.kind === drillKind)) return undefined
        for (const policy of await tx.policies.list()) {
          const instance = policy.enabled ? await tx.instances.find(policy.instanceId) : undefined
          if (!instance || instance.wanted !== 'running' || !['running', 'degraded'].includes(instance.status) || !context.engines.get(instance.engine).backup) continue
          if (!(await tx.backups.list({incarnation: instance.incarnation})).some((b) => b.status === 'completed')) continue
          const last = await tx.restoreTests.last(instance.id)
          const tried = (await tx.operations.list({instanceId: instance.id, limit: 50})).find((o) => o.kind === drillKind)?.createdAt ?? 0
          const dueAt = last?.ok === false ? last.at + againMs : (last?.at ?? policy.enabledAt) + weekMs + jitterOf(instance.id, spreadMs)
          if (clock.now() >= dueAt && clock.now() - tried >= againMs) return instance
        }
        return undefined
      })
      if (!due) return
      const principal: Principal = {...context.principalOfAgent(), tenantId: due.tenantId}
      await store.transact('platform', (tx) => submitDrill(context, tx, principal, due, deadlineSeconds))
      context.poke()
    },
  }
}

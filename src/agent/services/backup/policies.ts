/** What is promised for an instance: made with it, changed by its owner. */
import type {HistoryRecord, PolicyRecord} from '../../../core/backup/backup.js'
import {defaultPolicy} from '../../../core/backup/schedule.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import {localRepository} from './repositories.js'

/** In the transaction that makes the instance: protected from its first minute, unless its owner says otherwise. */
export async function enrol(context: ServiceContext, tx: Tx, instance: InstanceRecord, {enabled, repository = localRepository, windowMs = defaultPolicy.windowMs}: {enabled: boolean; repository?: string | undefined; windowMs?: number}): Promise<void> {
  const now = context.clock.now()
  const off = instance.leased ? 'it lives as long as the command that made it' : enabled ? null : 'backups are off by request'
  const policy: PolicyRecord = {
    ...defaultPolicy, windowMs, instanceId: instance.id, tenantId: instance.tenantId, enabled: off === null, because: off, repository,
    enabledAt: now, servedAt: now, updatedAt: now,
  }
  await tx.policies.put(policy)
  if ((await tx.histories.get(instance.incarnation)) === undefined) await tx.histories.insert(newHistory(instance, policy.repository, now))
}

export const newHistory = (instance: Pick<InstanceRecord, 'id' | 'tenantId' | 'name' | 'engine' | 'incarnation'>, repository: string, now: number): HistoryRecord => ({
  id: instance.incarnation, tenantId: instance.tenantId, instanceId: instance.id, instanceName: instance.name, engine: instance.engine, repository,
  system: null, beganAt: now, endedAt: null, kept: false, shredded: false,
})

/** What is true of an instance's backups: for its status, and for those who are to be alerted. */
import type {ApiInstance} from '../../../core/api/schemas.js'
import {diagnoseProtection, type Protection} from '../../../core/backup/protection.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {ServiceContext} from '../context.js'
import type {Followers} from './log.loop.js'
import {protectionView} from './views.js'

export interface ProtectionBook {
  of(instance: InstanceRecord): Promise<{readonly backup: ApiInstance['backup']; readonly broken: string | null}>
  /** Tells of promises that are broken, and of those that are kept again: one event each. */
  watch(): Promise<void>
}

export function createProtection(context: ServiceContext, followers: Pick<Followers, 'live'>): ProtectionBook {
  const {store, clock} = context
  const told = new Map<string, string>()

  async function diagnose(instance: InstanceRecord): Promise<Protection> {
    const engine = context.engines.get(instance.engine)
    const found = await store.read('platform', async (tx) => {
      const policy = await tx.policies.get(instance.id)
      return {
        policy, backups: await tx.backups.list({incarnation: instance.incarnation}), log: await tx.logs.get(instance.incarnation),
        repository: policy && (await tx.repositories.get(policy.repository)),
        copies: policy ? (await tx.repositories.list()).filter((r) => r.copyOf === policy.repository) : [], lastRestoreTest: await tx.restoreTests.last(instance.id),
      }
    })
    return diagnoseProtection({
      ...found, instanceId: instance.id, running: instance.wanted === 'running', supported: engine.backup !== undefined, engine: engine.title,
      log: followers.live(instance.incarnation) ?? found.log,
    }, clock.now())
  }

  return {
    async of(instance) {
      const found = await diagnose(instance)
      return {backup: protectionView(found), broken: found.broken ? `not protected as promised: ${found.reason}` : null}
    },
    async watch() {
      const instances = (await store.read('platform', (tx) => tx.instances.list())).filter((i) => i.status !== 'provisioning' && i.status !== 'deleting')
      for (const instance of instances) {
        const {broken, reason} = await diagnose(instance)
        const problem = broken ? (reason ?? '') : ''
        // the words change with every second that something lasts; that it lasts is told once
        if ((problem === '') === ((told.get(instance.id) ?? '') === '')) continue
        told.set(instance.id, problem)
        await store.transact('platform', (tx) => tx.event({
          id: context.newId('event'), tenantId: instance.tenantId, type: broken ? 'backup.promise_broken' : 'backup.promise_kept', subject: instance.id,
          payload: {because: reason}, at: clock.now(),
        }))
      }
    },
  }
}

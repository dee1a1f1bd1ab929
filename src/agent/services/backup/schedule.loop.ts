/** Takes the backups that are due: the first one of an instance, the scheduled ones, and the one that heals a gap. */
import type {Principal} from '../../../core/access/principal.js'
import {onLine} from '../../../core/backup/protection.js'
import {decideBackup} from '../../../core/backup/schedule.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {Tx} from '../../store/store.js'
import type {BackupParts} from './parts.js'
import {createBackupKind} from './parts.js'
import {enrol} from './policies.js'
import {submitBackup} from './take.js'

/** Operations that are looked at to know how often the last ones failed. */
const lastOperations = 20

export function createScheduler(parts: Pick<BackupParts, 'context'>, deadlineSeconds: number) {
  const {context} = parts
  const {store, clock} = context

  /** Instances of before there were backups. */
  async function enrolMissing(): Promise<void> {
    const missing = await store.read('platform', async (tx) => {
      const known = new Set((await tx.policies.list()).map((p) => p.instanceId))
      return (await tx.instances.list()).filter((i) => !known.has(i.id) && i.status !== 'deleting' && i.status !== 'provisioning')
    })
    for (const instance of missing) {
      await store.transact('platform', async (tx) => {
        if ((await tx.instances.find(instance.id)) && (await tx.policies.get(instance.id)) === undefined) await enrol(context, tx, instance, {enabled: true})
      })
    }
  }

  async function failuresOf(tx: Pick<Tx, 'operations'>, instanceId: string): Promise<{count: number; lastAt: number}> {
    const taken = (await tx.operations.list({instanceId, limit: lastOperations})).filter((o) => o.kind === createBackupKind)
    const good = taken.findIndex((o) => o.status === 'succeeded')
    const failed = (good === -1 ? taken : taken.slice(0, good)).filter((o) => o.status === 'failed')
    return {count: failed.length, lastAt: failed[0]?.endedAt ?? 0}
  }

  async function decide(tx: Pick<Tx, 'operations' | 'policies' | 'backups' | 'logs'>, instance: InstanceRecord) {
    const policy = await tx.policies.get(instance.id)
    if (!policy) return undefined
    const [backups, log] = [await tx.backups.list({incarnation: instance.incarnation}), await tx.logs.get(instance.incarnation)]
    const good = backups.some((b) => b.status === 'completed')
    const reaching = onLine(backups, log).length > 0
    const view = {
      policy, instanceId: instance.id, protected: good, gap: good && log !== undefined && !reaching,
      busy: (await tx.operations.openOfInstance(instance.id, 'backup')).some((o) => o.kind === createBackupKind), failures: {count: 0, lastAt: 0},
    }
    const decision = decideBackup(view, clock.now())
    // how often it failed only matters when there is something to do
    return decision.kind === 'rest' ? decision : decideBackup({...view, failures: await failuresOf(tx, instance.id)}, clock.now())
  }

  async function take(instance: InstanceRecord): Promise<void> {
    const principal: Principal = {...context.principalOfAgent(), tenantId: instance.tenantId}
    await store.transact('platform', async (tx) => {
      const now = await tx.instances.find(instance.id)
      if (!now || now.wanted !== 'running' || now.incarnation !== instance.incarnation) return
      const decision = await decide(tx, now)
      if (decision?.kind !== 'take') return
      context.log('a backup is due', {instance: instance.name, trigger: decision.trigger, because: decision.because})
      await submitBackup(context, tx, principal, now, {trigger: decision.trigger, type: decision.type, label: null, keepMs: null, serves: decision.serves}, deadlineSeconds)
    })
    context.poke()
  }

  return {
    /** One round. */
    async run(): Promise<void> {
      await enrolMissing()
      const due = await store.read('platform', async (tx) => {
        const found: InstanceRecord[] = []
        for (const instance of await tx.instances.list()) {
          if (instance.wanted !== 'running' || !['running', 'degraded', 'maintenance'].includes(instance.status)) continue
          if (context.engines.get(instance.engine).backup && (await decide(tx as Tx, instance))?.kind === 'take') found.push(instance)
        }
        return found
      })
      for (const instance of due) await take(instance)
    },
  }
}

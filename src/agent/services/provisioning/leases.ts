/**
 * Instances that live as long as somebody holds them (`dbaas run`): a stream that is open is a holder. Holders are of
 * this run of the agent; the grace lets them come back to the next one, or over a broken connection.
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {ServiceContext} from '../context.js'

export const leaseGraceMs = 5000
/** Between two lines of the stream, which tell both ends that the other is there. */
const beatMs = 5000

export interface Leases {
  /** Yields a line now and then, as long as the instance is there. */
  hold(instanceId: string, signal: AbortSignal): AsyncIterable<string>
  /** Those of them that nobody has held for the grace, with the time since. */
  abandoned(instances: readonly InstanceRecord[]): {instance: InstanceRecord; forMs: number}[]
}

export function createLeases({store, clock}: Pick<ServiceContext, 'store' | 'clock'>): Leases {
  const holders = new Map<string, number>()
  const releasedAt = new Map<string, number>()
  /** When first asked: from then on a holder of before the restart could have come back. */
  let began: number | undefined

  return {
    async *hold(instanceId, signal) {
      holders.set(instanceId, (holders.get(instanceId) ?? 0) + 1)
      try {
        while (!signal.aborted && (await store.read('platform', (tx) => tx.instances.find(instanceId)))) {
          yield 'held'
          await sleep(beatMs, undefined, {signal, ref: false}).catch(() => undefined)
        }
      } finally {
        const left = (holders.get(instanceId) ?? 1) - 1
        if (left > 0) holders.set(instanceId, left)
        else {
          holders.delete(instanceId)
          releasedAt.set(instanceId, clock.now())
        }
      }
    },
    abandoned(instances) {
      const now = clock.now()
      const since = (began ??= now)
      const there = new Set(instances.map(({id}) => id))
      for (const id of releasedAt.keys()) if (!there.has(id)) releasedAt.delete(id)
      return instances.filter(({leased, id}) => leased && !holders.has(id))
        .map((instance) => ({instance, forMs: now - Math.max(since, instance.createdAt, releasedAt.get(instance.id) ?? 0)}))
        .filter(({forMs}) => forMs > leaseGraceMs)
    },
  }
}

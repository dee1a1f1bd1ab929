/** What happens by itself: expiry, the end of leases, prepared data directories, catalogues, logs within bounds, old rows removed. */
import type {Principal} from '../../../core/access/principal.js'
import type {DataPool, Runtime, Software} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import type {InstancesApi, OperationsApi} from '../contract.js'
import type {Catalogues} from './catalogues.js'
import {createKind} from './create.workflow.js'
import type {Leases} from './leases.js'
import {isSoftwareGone, makerOf, poolKeyOf, type Prepared} from './prepared.js'
import type {Servers} from './servers.js'

const day = 86_400_000
const expiryEveryMs = 1000
const leasesEveryMs = 1000
/** An end that failed is tried again after so long. */
const endAgainMs = 60_000
const poolEveryMs = 1000
/** A preparation that failed is tried again after so long. */
const prepareAgainMs = 60_000
const logsEveryMs = 60_000
const rowsEveryMs = 3_600_000
const keepRequestsMs = 7 * day
const keepEventsMs = 7 * day
const keepKeysMs = day
/** The pool is filled only when nobody has asked for anything for so long. */
const quietMs = 1500
/** Left free when the pool is filled: it must never be what fills a disk. */
const poolHeadroomBytes = 2 * 1024 ** 3

export interface UpkeepOptions {
  readonly context: ServiceContext
  readonly instances: Pick<InstancesApi, 'delete'>
  readonly operations: Pick<OperationsApi, 'cancel'>
  readonly leases: Leases
  readonly servers: Servers
  readonly catalogues: Catalogues
  readonly prepared: Prepared
  readonly poolSize: number
  /** Operations that run now. */
  readonly busy: () => number
  readonly lastRequestAt: () => number
}

export interface Upkeep {
  start(): void
  stop(): Promise<void>
}

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const {context} = options
  const {store, clock} = context
  let stopped = false
  const timers = new Set<NodeJS.Timeout>()
  const active = new Set<Promise<void>>()

  /** Never overlapping, jittered, and a failure is logged once until it changes. */
  function every(name: string, ms: number, work: () => Promise<void>): void {
    let lastFailure = ''
    const again = (): void => {
      if (stopped) return
      const timer = setTimeout(() => {
        timers.delete(timer)
        const run = work().then(
          () => void (lastFailure = ''),
          (error: unknown) => {
            const message = error instanceof Error ? error.message : String(error)
            if (message !== lastFailure) context.log(`${name} failed`, {error: message})
            lastFailure = message
          },
        ).finally(() => {
          active.delete(run)
          again()
        })
        active.add(run)
      }, ms * (0.9 + 0.2 * Math.random()))
      timer.unref()
      timers.add(timer)
    }
    again()
  }

  async function expire(): Promise<void> {
    const now = clock.now()
    const due = (await store.read('platform', (tx) => tx.instances.list()))
      .filter((i) => i.expiresAt !== null && i.expiresAt <= now && !i.protected && i.status !== 'deleting' && i.status !== 'provisioning')
    for (const instance of due) {
      const principal: Principal = {...context.principalOfAgent(), tenantId: instance.tenantId}
      await options.instances.delete(principal, instance.id, {}, {key: `expire:${instance.id}:${instance.expiresAt}`, fingerprint: 'expire'})
    }
  }

  async function endLeases(): Promise<void> {
    const all = await store.read('platform', (tx) => tx.instances.list())
    for (const {instance, forMs} of options.leases.abandoned(all)) {
      if (instance.status === 'deleting') continue
      const principal: Principal = {...context.principalOfAgent(), tenantId: instance.tenantId}
      const making = (await store.read('platform', (tx) => tx.operations.openOfInstance(instance.id))).find((o) => o.kind === createKind)
      if (making === undefined) {
        const key = `lease:${instance.id}:${Math.floor(forMs / endAgainMs)}`
        await options.instances.delete(principal, instance.id, {}, {key, fingerprint: 'lease'})
      } else if (!making.cancelRequested) await options.operations.cancel(principal, making.id)
    }
  }

  const quiet = (): boolean => options.busy() === 0 && clock.now() - options.lastRequestAt() > quietMs

  async function fillPool(): Promise<void> {
    for (const name of context.runtimes.names) {
      const runtime = context.runtimes.get(name)
      if (!runtime.pool) continue
      for (const software of await options.prepared.wanted(name)) await fillFor(runtime, runtime.pool, software)
    }
  }

  /** When a preparation that failed is tried again, and why it failed: it must not take the machine, nor stop the others. */
  const refused = new Map<string, {until: number; because: string}>()

  async function fillFor(runtime: Runtime, pool: DataPool, software: Software): Promise<void> {
    const engine = context.engines.get(software.engine)
    const key = poolKeyOf(engine, software)
    const id = `${runtime.name} ${key}`
    if ((refused.get(id)?.until ?? 0) > clock.now()) return
    try {
      while (!stopped && quiet() && (await pool.count(key)) < options.poolSize) {
        // where they are kept is asked first: it may say that none would be worth it
        if ((await pool.roomBytes()) < poolHeadroomBytes || (await runtime.facts()).diskFreeBytes < poolHeadroomBytes) break
        await pool.prepare(key, software, makerOf(engine, software.version))
      }
      // elsewhere a catalogue is read when somebody asks for it
      if (!stopped && quiet() && runtime.name === context.runtimes.default) await options.catalogues.of(engine, runtime, software)
      refused.delete(id)
    } catch (error) {
      if (stopped) return
      const because = error instanceof Error ? error.message : String(error)
      if (because !== refused.get(id)?.because && !isSoftwareGone(error)) context.log('preparing a data directory failed', {runtime: runtime.name, key, error: because})
      refused.set(id, {until: clock.now() + prepareAgainMs, because})
    }
  }

  async function trimLogs(): Promise<void> {
    for (const instance of await store.read('platform', (tx) => tx.instances.list())) {
      const subject = await options.servers.load(instance.id)
      await subject.runtime.trimLogs(subject.placement)
    }
  }

  async function expireRows(): Promise<void> {
    const now = clock.now()
    await store.transact('platform', async (tx) => {
      await tx.requests.expire(now - keepRequestsMs)
      await tx.idempotency.expire(now - keepKeysMs)
      await tx.outbox.expireEvents(now - keepEventsMs)
    })
  }

  return {
    start() {
      every('expiry', expiryEveryMs, expire)
      every('ending leases', leasesEveryMs, endLeases)
      every('preparing data directories', poolEveryMs, fillPool)
      every('trimming logs', logsEveryMs, trimLogs)
      every('removing old rows', rowsEveryMs, expireRows)
    },
    async stop() {
      stopped = true
      for (const timer of timers) clearTimeout(timer)
      await Promise.all(context.runtimes.names.map((name) => context.runtimes.get(name).stopBackground()))
      await Promise.allSettled(active)
    },
  }
}

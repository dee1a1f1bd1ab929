/**
 * Two instances exchange their nodes: name, id, endpoint and password stay with the one, and the other keeps the state
 * that was left. It is how a restore in place ends, and how a new major version begins; to undo either is to exchange again.
 * Of an instance with replicas it is the primary that is exchanged; the replicas stay, and are made those of the new one.
 */
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord, NodeRecord} from '../../../core/instance/instance.js'
import {next, type Step} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Servers} from './servers.js'

export interface ExchangeInput {
  /** The other one: it has the data that is gone over to. */
  readonly instanceId: string
  /** The one that stays. */
  readonly inPlaceOf: string | null
  readonly entering: string
  /** What the other instance is called when all is done. */
  readonly keptAs: string | null
}

export const exchangeOrder = ['stop-servers', 'exchange', 'move-data', 'start-server', 'await-ready', 'open-endpoint'] as const
type Names = (typeof exchangeOrder)[number]

interface Both {
  readonly one: InstanceRecord
  readonly other: InstanceRecord
  readonly leaving: NodeRecord
  readonly entering: NodeRecord
  readonly exchanged: boolean
}

/** `software`: the version, and the parameters that depend on it, go along with the data. */
export function createExchange(context: ServiceContext, servers: Servers, options: {readonly software: boolean}) {
  const {store, clock} = context

  /** Both nodes with the instance that they belong to before the exchange, whatever the store says now. The one that leaves is the primary. */
  async function both(input: ExchangeInput): Promise<Both> {
    return store.read('platform', async (tx) => {
      const [one, other] = [await tx.instances.find(input.inPlaceOf as string), await tx.instances.find(input.instanceId)]
      const nodes = [...(await tx.nodes.ofInstance(input.inPlaceOf as string)), ...(await tx.nodes.ofInstance(input.instanceId))]
      const entering = nodes.find((n) => n.id === input.entering)
      const leaving = nodes.find((n) => n.role === 'primary' && n.instanceId !== entering?.instanceId)
      if (!one || !other || !leaving || !entering) throw new DbaasError('INSTANCE_NOT_FOUND', 'one of the two states is gone')
      return {one, other, leaving, entering, exchanged: leaving.instanceId === other.id}
    })
  }

  const softwareOf = ({version, image, imageAsked, layers}: InstanceRecord) => (options.software ? {version, image, imageAsked, layers} : {})

  async function exchange(tx: Tx, {one, other, leaving, entering}: Both): Promise<void> {
    const now = clock.now()
    const stopped = {status: 'stopped', statusReason: null, runtimeRef: null, updatedAt: now} as const
    for (const node of [leaving, entering]) await tx.nodes.remove(node.id)
    // each takes the other's place, and its name
    const to = (node: NodeRecord, {instanceId, name}: NodeRecord): NodeRecord => ({...node, ...stopped, instanceId, name, wanted: instanceId === one.id ? one.wanted : 'stopped'})
    await tx.nodes.insert(to(leaving, entering))
    await tx.nodes.insert(to(entering, leaving))
    // their certificates name the instance
    for (const node of [leaving, entering]) await tx.secrets.removeAll(node.id)
    await tx.instances.update(one.id, {incarnation: other.incarnation, ...softwareOf(other), updatedAt: now})
    await tx.instances.update(other.id, {incarnation: one.incarnation, ...softwareOf(one), updatedAt: now})
    await context.protection.recoveries.switched(tx, one, other.incarnation)
  }

  /** The folders of both go where the store says that they belong. */
  async function move(input: ExchangeInput): Promise<void> {
    const {one, other, leaving, entering, exchanged} = await both(input)
    const [first, second] = exchanged ? [other, one] : [one, other]
    for (const [instance, node, from] of [[first, leaving, second], [second, entering, first]] as const) {
      const {runtime, placement} = servers.subjectOf(instance, node)
      await runtime.reassign(placement, from.id)
    }
  }

  async function haltAll(instanceId: string, progress: (because: string) => void): Promise<void> {
    await context.clusters.suspend(instanceId)
    await servers.haltAll(instanceId, progress)
  }

  async function haltNode(instance: InstanceRecord, node: NodeRecord, progress: (because: string) => void): Promise<void> {
    await servers.halt(servers.subjectOf(instance, node), progress)
  }

  const steps = {
    'stop-servers': {
      async run({input, progress}) {
        const {one, other, entering} = await both(input)
        await haltAll(one.id, progress)
        await haltNode(other, entering, progress)
        return next('exchange')
      },
    },
    exchange: {
      async run({input, commit}) {
        const now = await both(input)
        if (!now.exchanged) commit((tx) => exchange(tx, now))
        return next('move-data')
      },
      async undo({input, progress}) {
        const now = await both(input)
        if (now.exchanged) {
          await haltAll(now.one.id, progress)
          await store.transact('platform', (tx) => exchange(tx, now))
        }
        await move(input)
      },
    },
    'move-data': {
      async run({input}) {
        await move(input)
        const {one, other, leaving} = await both(input)
        const kept = servers.subjectOf(other, leaving)
        // what is kept is one server, which waits for nobody
        if (context.clusters.owns(one.id) && (await kept.engine.lifecycle.isInitialised(kept.host))) await context.clusters.prepareFirst(kept)
        return next('start-server')
      },
    },
    'start-server': {
      async run({input, commit}) {
        const subject = await servers.load(input.inPlaceOf as string)
        await servers.prepare(subject)
        if (context.clusters.owns(subject.instance.id) && (await servers.observe(subject)).state !== 'running') await context.clusters.prepareFirst(subject)
        const {ref} = await servers.launch(subject)
        commit((tx) => tx.nodes.update(subject.node.id, {runtimeRef: ref, status: 'starting', wanted: 'running', updatedAt: clock.now()}))
        return next('await-ready')
      },
    },
    'await-ready': {
      async run({input, signal, progress, commit}) {
        const ready = await servers.readyOrMoved(await servers.load(input.inPlaceOf as string), signal, progress, commit)
        return next(ready ? 'open-endpoint' : 'start-server')
      },
    },
  } as const satisfies Partial<Record<Names, Step<ExchangeInput, Tx, Names>>>

  /** In the transaction that ends it well: the one serves, the other is kept. */
  async function settled(tx: Tx, input: ExchangeInput, because: (name: string) => string): Promise<void> {
    const now = clock.now()
    const id = input.inPlaceOf as string
    const primary = {status: 'running', statusReason: null} as const
    for (const node of await tx.nodes.ofInstance(id)) await tx.nodes.update(node.id, {...(node.role === 'primary' ? primary : {}), wanted: 'running', updatedAt: now})
    // a cluster says itself what it is
    await tx.instances.update(id, {...(context.clusters.owns(id) && (await tx.instances.find(id))?.status === 'degraded' ? {} : primary), wanted: 'running', updatedAt: now})
    await tx.instances.update(input.instanceId, {
      status: 'stopped', wanted: 'stopped', updatedAt: now, ...(input.keptAs === null ? {} : {name: input.keptAs}),
      statusReason: because((await tx.instances.find(id))?.name ?? id),
    })
  }

  /** In the transaction that ends it badly: what is true of the one that stays. */
  async function stayed(tx: Tx, inPlaceOf: string, because: string): Promise<void> {
    const now = clock.now()
    const one = await tx.instances.find(inPlaceOf)
    if (!one) return
    const node = (await tx.nodes.ofInstance(one.id)).find(({role}) => role === 'primary')
    const runs = one.wanted === 'stopped' || node?.status === 'running'
    if (runs) await tx.instances.update(one.id, {status: one.wanted === 'stopped' ? 'stopped' : 'running', statusReason: null, updatedAt: now})
    else await tx.instances.update(one.id, {status: 'failed', statusReason: because, updatedAt: now})
  }

  return {steps, settled, stayed}
}

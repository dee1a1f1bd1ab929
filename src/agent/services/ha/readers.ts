/**
 * The second address of each instance with replicas, which leads to those that can be read from. It has a port of its own, kept with the
 * others. And requests to cancel: none reaches a primary whose commits wait for replicas that are away.
 */
import {hungReaders, readableNodes, type Silence} from '../../../core/ha/readers.js'
import type {HaState, NodeId} from '../../../core/ha/state.js'
import type {ClusterView} from '../../../core/ha/view.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {Runtime} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import type {Subject} from '../subject.js'

const ownerOf = (instanceId: string): string => `${instanceId}/readers`

interface Entry {
  port: number | null
  /** What the endpoint process was told last; undefined: nothing yet, or it did not work. */
  told: string | undefined
  primary: NodeId | null
  cancels: 'pass' | 'drop' | undefined
  /** Replicas that hang, and whose sessions were cut for it. */
  readonly cut: Set<NodeId>
  turn: Promise<void>
}

export function createReaders({context, freePort}: {context: ServiceContext; freePort: (runtime: Runtime) => Promise<number>}) {
  const {store, endpoints} = context
  const entries = new Map<string, Entry>()

  function entryOf(instanceId: string): Entry {
    const known = entries.get(instanceId)
    if (known) return known
    const made: Entry = {port: null, told: undefined, primary: null, cancels: undefined, cut: new Set(), turn: Promise.resolve()}
    entries.set(instanceId, made)
    return made
  }

  async function reserve(instance: InstanceRecord, runtime: Runtime): Promise<number> {
    for (let attempt = 0; ; attempt++) {
      const port = await freePort(runtime)
      try {
        await store.transact('platform', async (tx) => {
          await tx.ports.release(ownerOf(instance.id))
          await tx.ports.reserve({tenantId: instance.tenantId, port, ownerId: ownerOf(instance.id)})
        })
        return port
      } catch (error) {
        // somebody else may have seen the same one free
        if (attempt >= 20 || !(error instanceof DbaasError) || error.code !== 'PORT_IN_USE') throw error
      }
    }
  }

  async function tell(entry: Entry, primary: Subject, targets: readonly Subject[], replaced: Subject | undefined): Promise<void> {
    const {instance, engine: {wire}, runtime} = primary
    entry.port ??= await reserve(instance, runtime)
    const tellOf = async (port: number): Promise<void> => endpoints.setReaders(instance.id, {
      listen: {host: instance.endpointHost, port}, targets: targets.map(({host}) => host.address()), allow: [],
      refusal: wire.refusal(`no replica of ${instance.name} is healthy`, `use the primary: dbaas url ${instance.name}`),
      ...(wire.cancel === null ? {} : {cancel: {...wire.cancel, mode: 'pass'}}),
    })
    try {
      await tellOf(entry.port)
    } catch (error) {
      if (!(error instanceof DbaasError) || error.code !== 'PORT_IN_USE') throw error
      entry.port = await reserve(instance, runtime)
      await tellOf(entry.port)
    }
    // who read from what is the primary now could write
    if (replaced) await endpoints.closeReaders(instance.id, replaced.host.address())
  }

  function tellCancels(entry: Entry, {instance, engine: {wire}}: Subject, state: HaState, {diagnosis: {kind}, gate}: ClusterView): void {
    const mode = state.wanted.k === 0 || (state.operation === null && (kind === 'healthy' || kind === 'degraded')) ? 'pass' : 'drop'
    // a route comes into being with its first opening
    if (wire.cancel === null || gate === null || entry.cancels === mode) return
    const cancel = {...wire.cancel, mode} as const
    entry.cancels = mode
    entry.turn = entry.turn.then(() => endpoints.setCancels(instance.id, cancel)).catch((error: unknown) => {
      entry.cancels = undefined
      context.log('cancel requests could not be set', {instance: instance.id, error: String(error)})
    })
  }

  /** Who reads from a replica that hangs connects anew, and is sent to another. */
  function cutHung(entry: Entry, state: HaState, view: ClusterView, subjectOf: (id: NodeId) => Subject | undefined, silenceOf: (id: NodeId) => Silence | undefined): void {
    for (const id of entry.cut) if (view.nodes[id]?.server) entry.cut.delete(id)
    for (const id of hungReaders(state, view, silenceOf)) {
      const subject = subjectOf(id)
      if (!subject || entry.cut.has(id)) continue
      entry.cut.add(id)
      entry.turn = entry.turn.then(async () => {
        const closed = await endpoints.closeReaders(subject.instance.id, subject.host.address())
        if (closed > 0) context.log('those who read from a replica that hangs were cut off', {instance: subject.instance.id, node: id, sessions: closed})
      }).catch((error: unknown) => {
        entry.cut.delete(id)
        context.log('readers could not be cut off', {instance: subject.instance.id, error: String(error)})
      })
    }
  }

  return {
    async load(): Promise<void> {
      for (const {ownerId, port} of await store.read('platform', (tx) => tx.ports.list())) {
        if (ownerId.endsWith('/readers')) entryOf(ownerId.slice(0, -'/readers'.length)).port = port
      }
    },
    portOf: (instanceId: string): number | null => entries.get(instanceId)?.port ?? null,
    /** After each round. Nobody waits for it; what did not work is done in the next round. */
    looked(state: HaState, view: ClusterView, subjectOf: (id: NodeId) => Subject | undefined, silenceOf: (id: NodeId) => Silence | undefined): void {
      const primary = subjectOf(state.primary)
      if (!primary) return
      const entry = entryOf(primary.instance.id)
      const targets = readableNodes(state, view).map(subjectOf).filter((subject) => subject !== undefined)
      const said = `${state.primary}: ${targets.map(({host}) => `${host.address().host}:${host.address().port}`).join(' ')}`
      tellCancels(entry, primary, state, view)
      cutHung(entry, state, view, subjectOf, silenceOf)
      if (entry.told === said) return
      entry.told = said
      const replaced = entry.primary !== null && entry.primary !== state.primary ? primary : undefined
      entry.primary = state.primary
      entry.turn = entry.turn.then(() => tell(entry, primary, targets, replaced)).catch((error: unknown) => {
        entry.told = undefined
        context.log('readers could not be told', {instance: primary.instance.id, error: String(error)})
      })
    },
    /** The instance is stopped: nobody listens there. Its port stays its own. */
    async close(instanceId: string): Promise<void> {
      const entry = entries.get(instanceId)
      if (!entry) return
      await entry.turn
      entry.told = undefined
      await endpoints.setReaders(instanceId, null)
    },
    /** The port is anybody's again. */
    async forget(instanceId: string): Promise<void> {
      await entries.get(instanceId)?.turn
      entries.delete(instanceId)
      await endpoints.setReaders(instanceId, null)
      await store.transact('platform', (tx) => tx.ports.release(ownerOf(instanceId)))
    },
  }
}

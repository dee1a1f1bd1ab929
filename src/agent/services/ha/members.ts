/** The servers of one cluster, with what this agent knows of each beside the store: what it did to it, and so what must be in force. */
import type {Readable} from 'node:stream'
import type {NodeId} from '../../../core/ha/state.js'
import {DbaasError} from '../../../core/errors.js'
import {effectiveParameters, type ParameterValues} from '../../../core/instance/instance.js'
import {formatBytes} from '../../../core/units.js'
import type {EngineReplication, Source, Upstream} from '../../../engines/replication.js'
import type {Engine} from '../../../engines/engine.js'
import type {Placement, Runtime} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import type {Subject, SubjectServers} from '../subject.js'

/**
 * Facts in memory alone. An agent that has just started has done nothing yet: what it cannot know is taken for undone, and done again,
 * which costs some milliseconds.
 */
export interface Member {
  readonly id: NodeId
  subject: Subject
  /** It is being started or made anew. */
  busy: boolean
  /** A start found that its files are not the primary's, or not whole. */
  cannotFollow: boolean
  /** We made it follow nobody, and nothing of ours has changed that since. */
  detached: boolean
  /** The synchronous set in its file is the one in force. */
  settled: boolean
  /** Of the server that this is known of; null: of whichever answers next. */
  startedAt: number | null
  /** Its processes were killed after it had ended: nothing of it is left. */
  provenDead: boolean
  /** Why its server did not come up when that was last tried, and when that was begun (milliseconds since the epoch); null: it did. */
  failure: {readonly error: Error; readonly begunAt: number} | null
  /** Ends what is being done to it. */
  controller: AbortController
}

export const newMember = (subject: Subject): Member => ({
  id: subject.node.id, subject, busy: false, cannotFollow: false, detached: false, settled: false, startedAt: null, provenDead: false, failure: null, controller: new AbortController(),
})

/** Throws NOT_SUPPORTED. */
export function replicationOf(engine: Engine): EngineReplication {
  if (engine.replication) return engine.replication
  throw new DbaasError('NOT_SUPPORTED', `${engine.title} cannot have replicas yet`, {details: {engine: engine.name}, suggestions: ['leave --ha and --replicas away']})
}

export type Making = ReturnType<typeof createMaking>

async function unpack(runtime: Runtime, placement: Placement, archive: Readable, signal: AbortSignal): Promise<void> {
  if (runtime.unpack) return runtime.unpack(placement, archive, signal)
  throw new DbaasError('NOT_SUPPORTED', `the data of ${placement.nodeName} cannot be written from here`, {suggestions: ['dbaas doctor']})
}

/** How nodes come to be, and are started: as standbys, always; but for the very first start of a new instance's first node. */
export function createMaking(context: ServiceContext, servers: SubjectServers) {
  const sourceOf = async ({host, instance}: Subject): Promise<Source> => ({host, admin: await servers.admin(), version: instance.version})

  /** Where it is dialled may be another place after each of its starts. Throws DATABASE_UNAVAILABLE where nobody can. */
  async function upstreamOf(subject: Subject, of: Subject): Promise<Upstream> {
    const now = await servers.observe(of)
    const address = now.state === 'running' ? now.peerAddress : null
    if (address !== null) return {address, name: subject.node.id}
    const because = now.state === 'running' ? now.impairment ?? 'it has no address' : 'it does not run'
    throw new DbaasError('DATABASE_UNAVAILABLE', `${subject.node.name} cannot follow ${of.node.name}: ${because}`, {suggestions: [`dbaas status ${subject.instance.name}`]})
  }

  /** Its own way into its peers, and its settings. */
  async function configure(subject: Subject, values?: ParameterValues): Promise<void> {
    const {engine, host} = subject
    const replication = replicationOf(engine)
    await engine.config.write(host, await servers.settingsOf(subject, values))
    await replication.provide(host, await context.certificates.admin(replication.username))
  }

  /** Before the first start of the first node, whatever its data were part of before. */
  async function prepareFirst(subject: Subject): Promise<void> {
    await configure(subject)
    await replicationOf(subject.engine).prepareBoot(subject.host, {role: 'primary', alone: true})
  }

  /** What replicas need of the one that they are copied from. */
  async function prepareSource(source: Subject, names: readonly NodeId[]): Promise<void> {
    const replication = replicationOf(source.engine)
    const admin = await servers.admin()
    await replication.prepare(source.host, admin)
    await replication.keepLogFor(source.host, admin, names.filter((name) => name !== source.node.id).map((name) => ({name, position: null})))
  }

  /** The data of the node, from a running one. */
  async function copy(subject: Subject, source: Subject, signal: AbortSignal, progress: (received: number, total: number) => void): Promise<void> {
    const {runtime, placement, host, engine, instance} = subject
    await runtime.place(placement)
    const into = (await runtime.dataFolder(placement)) ?? ((archive: Readable) => unpack(runtime, placement, archive, signal))
    await replicationOf(engine).copy(await sourceOf(source), host, into, {version: instance.version, limit: {bytesPerSecond: () => null}, progress, signal})
  }

  /**
   * As a standby. Resolves with the ref when the process is there. `lowers`: it is the primary that ended in order and goes on itself, so it may
   * have less than its log says; any other has at least as much as its log, and its upstream, ask of a standby.
   */
  async function boot(subject: Subject, of: Subject | null, lowers = false, signal?: AbortSignal): Promise<string> {
    const {engine, host, runtime, placement, node, instance} = subject
    const replication = replicationOf(engine)
    await runtime.kill(placement, node.runtimeRef)
    await engine.lifecycle.clearStale(host)
    await runtime.limit(placement)
    const wanted = effectiveParameters(instance.layers)
    await configure(subject)
    const needed = (): Promise<ParameterValues> => replication.standbyValues(host, wanted, instance.version, of?.host ?? null)
    if (lowers && (await needed()) !== wanted) await replication.lowerLimits(host, signal)
    const values = await needed()
    if (values !== wanted) await configure(subject, values)
    await replication.prepareBoot(host, {role: 'standby', upstream: of && (await upstreamOf(subject, of))})
    const {ref} = await runtime.start(placement, engine.lifecycle.command(host, instance.version))
    return ref
  }

  /** One that is there is not made anew, and one that runs is not started. */
  async function makeReplica(subject: Subject, primary: Subject, signal: AbortSignal, progress: (received: number, total: number) => void): Promise<string> {
    const {runtime, placement, node, host, engine} = subject
    const now = await runtime.observe(placement, node.runtimeRef)
    if (now.state === 'running') return now.ref
    await runtime.place(placement)
    if (!(await engine.lifecycle.isInitialised(host))) await copy(subject, primary, signal, progress)
    return boot(subject, primary)
  }

  async function makeReplicas(primary: Subject, replicas: readonly Subject[], signal: AbortSignal, progress: (because: string) => void): Promise<ReadonlyMap<NodeId, string>> {
    await prepareSource(primary, replicas.map(({node}) => node.id))
    const received = new Map<NodeId, number>()
    const refs = new Map<NodeId, string>()
    const failed = new AbortController()
    // whoever undoes this removes what the others would still be writing to, so all have ended
    const made = await Promise.allSettled(replicas.map(async (subject) => {
      refs.set(subject.node.id, await makeReplica(subject, primary, AbortSignal.any([signal, failed.signal]), (bytes) => {
        received.set(subject.node.id, bytes)
        progress(`${formatBytes([...received.values()].reduce((sum, each) => sum + each, 0))} copied to ${replicas.length} ${replicas.length === 1 ? 'replica' : 'replicas'}`)
      }).catch((error: unknown) => {
        failed.abort(error)
        throw error
      }))
    }))
    if (made.some(({status}) => status === 'rejected')) throw failed.signal.reason
    return refs
  }

  return {makeReplicas, sourceOf, upstreamOf, configure, prepareFirst, prepareSource, copy, boot}
}

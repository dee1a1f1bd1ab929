/** One look at all nodes of a cluster: what the runtime says of their processes, what the servers say of themselves. */
import {budgets, type Evidence, type ReplicaEvidence} from '../../../core/ha/diagnose.js'
import type {Line} from '../../../core/ha/line.js'
import type {HaState, NodeId, SyncSet} from '../../../core/ha/state.js'
import type {NodeView, ServerView, Stream} from '../../../core/ha/view.js'
import type {NodeReplication, ReplicationProbe, SynchronousSet} from '../../../engines/replication.js'
import type {SubjectServers} from '../subject.js'
import {replicationOf, type Making, type Member} from './members.js'
import {createProofs} from './prove.js'

/** Never seen to stream. */
const neverMs = 1e12

export interface Look {
  readonly member: Member
  readonly process: NodeView['process']
  /** It was being started or made anew when it was looked at: nothing of it was seen, though that may be over by now. */
  readonly busy: boolean
  readonly seen: NodeReplication | null
  readonly line: Line | null
  readonly failure: string | null
  /** Why it cannot serve although its process runs. */
  readonly impairment: string | null
  /** None of its peers can dial it. */
  readonly isCut: boolean
}

interface Silence {
  probes: number
  since: number
}

export type Observer = ReturnType<typeof createObserver>

/** `changed`: a server has ended, or a connection to it. */
export function createObserver(servers: SubjectServers, making: Making, changed: (id: NodeId) => void) {
  const probes = new Map<NodeId, ReplicationProbe>()
  const watches = new Map<NodeId, {ref: string; unwatch: () => void}>()
  const lines = new Map<string, Line>()
  const silences = new Map<NodeId, Silence>()
  const startings = new Map<NodeId, number>()
  const answers = new Map<NodeId, number>()
  /** When its process was seen to end; of one that runs, nothing. */
  const ends = new Map<NodeId, number>()
  const streamedAt = new Map<NodeId, number>()
  const stamps = new Map<NodeId, number | null>()
  /** Where its peers dial each, or last did: one that has ended is still known by it, until another one is there. */
  const peers = new Map<NodeId, string>()
  const proofs = createProofs(servers)

  function notePeer(id: NodeId, address: {host: string; port: number} | null): void {
    if (address === null) return
    const at = peerKey(address)
    for (const [other, known] of peers) if (other !== id && known === at) peers.delete(other)
    peers.set(id, at)
  }

  function watch({id, subject: {runtime, placement}}: Member, ref: string): void {
    if (watches.get(id)?.ref === ref) return
    watches.get(id)?.unwatch()
    watches.set(id, {ref, unwatch: runtime.watch(placement, ref, () => {
      watches.delete(id)
      ends.set(id, performance.now())
      changed(id)
    })})
  }

  async function processOf(member: Member): Promise<Pick<Look, 'process' | 'impairment' | 'isCut'>> {
    const {subject: {runtime, placement, node}} = member
    try {
      const now = await runtime.observe(placement, node.runtimeRef)
      if (now.state === 'running') {
        member.provenDead = false
        ends.delete(member.id)
        notePeer(member.id, now.peerAddress)
        watch(member, now.ref)
        return {process: 'running', impairment: now.impairment, isCut: now.peerAddress === null}
      }
      // a server that ended may have left processes, which still have sessions and a disk to write to
      if (!member.provenDead && now.state === 'stopped') await runtime.kill(placement, node.runtimeRef)
      member.provenDead = true
      return {process: 'exited', impairment: null, isCut: false}
    } catch {
      return {process: 'unreachable', impairment: null, isCut: false}
    }
  }

  async function ask(member: Member): Promise<{seen: NodeReplication; line: Line}> {
    const {id, subject: {host, engine}} = member
    const replication = replicationOf(engine)
    const admin = await servers.admin()
    const timing = {timeoutMs: budgets.probeTimeoutMs}
    let probe = probes.get(id)
    if (!probe) {
      const made = await replication.probe(host, admin, timing)
      probe = made
      probes.set(id, made)
      void made.ended.then(() => {
        if (probes.get(id) !== made) return
        probes.delete(id)
        changed(id)
      })
    }
    try {
      const seen = await probe.observe(timing)
      return {seen, line: await lineOf(member, seen)}
    } catch (error) {
      if (probes.get(id) === probe) probes.delete(id)
      void probe.close().catch(() => undefined)
      throw error
    }
  }

  async function lineOf({id, subject}: Member, {timeline, startedAt, role}: NodeReplication): Promise<Line> {
    if (timeline === 1) return [{timeline, until: null}]
    const key = `${id} ${timeline} ${startedAt} ${role}`
    const known = lines.get(key)
    if (known) return known
    const {parents, timeline: current} = await replicationOf(subject.engine).history(await making.sourceOf(subject), {timeoutMs: budgets.probeTimeoutMs})
    const line: Line = [...parents.filter((parent) => parent.timeline < timeline).map((parent) => ({timeline: parent.timeline, until: parent.end})), {timeline, until: null}]
    // it may have gone on since it was asked
    if (current === timeline) lines.set(key, line)
    return line
  }

  async function lookAt(member: Member): Promise<Look> {
    const {id} = member
    if (member.busy) return {member, process: 'exited', busy: true, seen: null, line: null, failure: null, impairment: null, isCut: false}
    const asked = performance.now()
    const now = await processOf(member)
    if (now.process === 'exited') {
      silences.delete(id)
      startings.delete(id)
      return {member, ...now, busy: false, seen: null, line: null, failure: null}
    }
    try {
      const {seen, line} = await ask(member)
      silences.delete(id)
      startings.delete(id)
      answers.set(id, performance.now())
      if (member.startedAt !== null && member.startedAt !== seen.startedAt) Object.assign(member, {detached: false, settled: false})
      member.startedAt = seen.startedAt
      // what answers runs, also where the runtime cannot say so
      return {member, ...now, process: 'running', busy: false, seen, line, failure: null}
    } catch (error) {
      const failure = (error as Error).message
      const silence = silences.get(id) ?? {probes: 0, since: asked}
      silences.set(id, {...silence, probes: silence.probes + 1})
      if (/starting up|not yet accepting/i.test(failure)) startings.set(id, startings.get(id) ?? asked)
      else startings.delete(id)
      return {member, ...now, busy: false, seen: null, line: null, failure}
    }
  }

  /** Written when its files were whole; read once, for only we write it. */
  async function stampOf({id, subject: {host}}: Member): Promise<number | null> {
    const known = stamps.get(id)
    if (known !== undefined) return known
    try {
      const text = (await host.read(stampFile(host)))?.toString('utf8')
      const stamp = text === undefined || !/^\d+$/.test(text) ? null : Number(text)
      stamps.set(id, stamp)
      return stamp
    } catch {
      return null
    }
  }

  return {
    async look(members: readonly Member[]): Promise<Map<NodeId, Look>> {
      return new Map(await Promise.all(members.map(async (member) => [member.id, await lookAt(member)] as const)))
    },
    stampOf,
    stampChanged: (id: NodeId) => void stamps.delete(id),
    /** It did not answer when it was last asked. */
    isSilent: (id: NodeId) => silences.has(id),
    silenceOf(id: NodeId): {probes: number; ms: number} | undefined {
      const silence = silences.get(id)
      return silence && {probes: silence.probes, ms: performance.now() - silence.since}
    },
    endedAt: (id: NodeId) => ends.get(id),
    lastAnswer: (id: NodeId) => answers.get(id),
    async viewOf(state: HaState, looks: ReadonlyMap<NodeId, Look>): Promise<Record<NodeId, NodeView>> {
      const lost = new Set(looks.get(state.primary)?.seen?.kept.filter(({isLost}) => isLost).map(({name}) => name))
      const views = [...looks.values()].map(async ({member, process, busy, seen, line}): Promise<[NodeId, NodeView]> => [member.id, {
        process, server: seen && line && serverView(member, seen, line, peers), stamp: await stampOf(member), busy: busy || member.busy,
        cannotFollow: member.cannotFollow || (member.id !== state.primary && lost.has(member.id)),
      }])
      return Object.fromEntries(await Promise.all(views))
    },
    streamsOf(state: HaState, looks: ReadonlyMap<NodeId, Look>): Record<NodeId, Stream> {
      const now = performance.now()
      const primary = looks.get(state.primary)?.seen
      if (!primary || primary.role !== 'primary') return {}
      const streams: Record<NodeId, Stream> = {}
      for (const id of Object.keys(state.nodes)) {
        if (id === state.primary) continue
        const receiver = primary.receivers.find(({name, state: how}) => name === id && how === 'streaming')
        if (receiver) streamedAt.set(id, now)
        streams[id] = {flushed: receiver?.flushed ?? 0n, lostMs: receiver ? null : now - (streamedAt.get(id) ?? now - neverMs)}
      }
      return streams
    },
    evidenceOf(state: HaState, looks: ReadonlyMap<NodeId, Look>, agentLateMs: number, softFailoversAgoMs: readonly number[]): Evidence {
      const now = performance.now()
      const first = looks.get(state.primary)
      const silence = silences.get(state.primary)
      const starting = startings.get(state.primary)
      const others = [...looks.values()].filter(({member}) => member.id !== state.primary)
      const replicas = Object.fromEntries(others.map(({member, seen}): [NodeId, ReplicaEvidence] => [member.id, {
        answers: seen !== null, silentMs: seen?.standby?.receiving?.silentMs ?? null,
        streams: first?.seen?.receivers.some(({name, state: how}) => name === member.id && how === 'streaming') ?? false,
      }]))
      return {
        state, process: first?.process ?? 'unreachable', failedProbes: silence?.probes ?? 0, failingMs: silence ? now - silence.since : 0,
        inRecovery: first?.seen?.role === 'standby', startingMs: starting === undefined ? null : now - starting, replicas,
        ...proofs.look(first?.member, first?.seen ?? null, first?.process === 'running', others.filter(({seen}) => seen !== null).map(({member}) => member)),
        outOfRecovery: [...looks.values()].filter(({seen}) => seen?.role === 'primary').map(({member}) => member.id),
        allExited: [...looks.values()].every(({process}) => process === 'exited'), agentLateMs, softFailoversAgoMs,
      }
    },
    forget(id: NodeId): void {
      const probe = probes.get(id)
      probes.delete(id)
      void probe?.close().catch(() => undefined)
      watches.get(id)?.unwatch()
      watches.delete(id)
    },
    close(): void {
      proofs.close()
      for (const {unwatch} of watches.values()) unwatch()
      watches.clear()
      const all = [...probes.values()]
      probes.clear()
      for (const probe of all) void probe.close().catch(() => undefined)
    },
  }
}

/** Beside the data, not in it: no copy brings another's along. */
export const stampFile = (host: {readonly paths: {readonly config: string}}): string => `${host.paths.config}/rejoined`

const setOf = (synchronous: SynchronousSet | null): SyncSet | null =>
  (synchronous === null || synchronous.names.length === 0 ? null : {k: synchronous.k, names: [...synchronous.names].sort()})

const peerKey = ({host, port}: {readonly host: string; readonly port: number}): string => `${host}:${port}`

function serverView(member: Member, seen: NodeReplication, line: Line, peers: ReadonlyMap<NodeId, string>): ServerView {
  const {standby} = seen
  const follows = standby?.follows ?? null
  const of = follows && [...peers].find(([, at]) => at === peerKey(follows))?.[0]
  return {
    systemId: seen.system, inRecovery: standby !== null, line, position: seen.flushed, replayed: seen.replayed, follows: of ?? (follows && peerKey(follows)),
    streaming: standby?.receiving?.status === 'streaming', revoked: member.detached && standby !== null && follows === null && standby.receiving === null,
    set: setOf(seen.synchronous), settled: member.settled,
  }
}

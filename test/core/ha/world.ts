/**
 * A small world of servers for the policy to rule: logs, streams, synchronous commits, crashes, hangs, cuts, an agent that dies.
 * It behaves as PostgreSQL does where that matters: what is flushed survives a crash, also what nobody confirmed; a promotion
 * begins a timeline; a standby streams when the timelines allow it, whatever is in the files; a set is in force after a while.
 */
import {decide, whyNot, type Request} from '../../../src/core/ha/decide.js'
import {isOnLine, timelineOf, type Line} from '../../../src/core/ha/line.js'
import {beginOperation} from '../../../src/core/ha/operation.js'
import {allSafeguards, type Safeguards} from '../../../src/core/ha/safeguards.js'
import {beginHa, changed, decodeState, encodeState, legalPhases, sameNames, sameSet, type HaState, type NodeId, type SyncSet} from '../../../src/core/ha/state.js'
import type {Action, ClusterView, NodeView, ServerView, Stream} from '../../../src/core/ha/view.js'

/** An id is unique for ever; a promotion is an entry too. */
interface Entry {
  readonly id: number
  readonly timeline: number
}

interface Process {
  recovery: boolean
  /** Nothing goes on at all. */
  hung: boolean
  /** It answers no question, but goes on. */
  deaf: boolean
  inForce: SyncSet | null
  /** What each standby told of its position. */
  known: Map<NodeId, number>
  /** Commits that wait: their ids, and where they end in the log. */
  waiting: {readonly id: number, readonly end: number}[]
}

interface Server {
  log: readonly Entry[]
  /** False: its files are half a copy. */
  whole: boolean
  stamp: number | null
  follows: NodeId | null
  /** In its files; in force after a reload, or when it comes up. */
  set: SyncSet | null
  /** It served before: of interest to a world in which nodes boot as what they were. */
  wasPrimary: boolean
  process: Process | null
  /** The agent cannot reach it, nor its runtime. */
  cut: boolean
  /** It was when the agent last looked. */
  wasCut: boolean
}

/** How the world itself may be worse than promised: what the policy counts on without seeing it. */
export const worldFaults = ['fences-nothing', 'boots-as-it-was', 'set-not-in-force', 'gate-stays-open'] as const
export type WorldFault = (typeof worldFaults)[number]

export interface WorldOptions {
  readonly nodes: number
  readonly wanted: HaState['wanted']
  readonly rules?: Safeguards
  readonly fault?: WorldFault
  /** Check also what only may lead to harm: coverage, sets, strictness. */
  readonly strict?: boolean
}

export class Violation extends Error {
  constructor(readonly kind: 'lost' | 'two-primaries' | 'unfenced' | 'corrupt' | 'coverage' | 'set' | 'record' | 'stuck', message: string) {
    super(`${kind}: ${message}`)
  }
}

export const kinds = ['agent', 'half', 'work', 'commit', 'write', 'stream', 'reload', 'kill', 'spoil', 'hang', 'deafen', 'cut', 'unlink', 'crash-agent', 'panic', 'wish', 'request'] as const
/** What happens, to whom (modulo), and how. What is not possible does not happen. */
export type Happening = readonly [kind: (typeof kinds)[number], who: number, how: number]

export class World {
  readonly ids: readonly NodeId[]
  readonly servers = new Map<NodeId, Server>()
  readonly unlinked = new Set<string>()
  readonly acknowledged = new Set<number>()
  /** What happened, for a person who reads a failure. */
  readonly story: (() => string)[] = []
  gate: NodeId | null = null
  mark: ClusterView['mark'] = null
  queue: Action[] = []
  panic = false
  now = 0
  nextId = 1
  because = ''
  private lastView: ClusterView | null = null
  private readonly rules: Safeguards

  constructor(readonly options: WorldOptions) {
    this.ids = ['a', 'b', 'c', 'd'].slice(0, options.nodes)
    this.rules = options.rules ?? allSafeguards
    const first = [{id: 0, timeline: 1}]
    for (const id of this.ids) {
      this.servers.set(id, {log: first, whole: true, stamp: null, follows: id === 'a' ? null : 'a', set: null, wasPrimary: id === 'a', cut: false, wasCut: false, process: started(id !== 'a')})
    }
    this.state = beginHa({systemId: 's', primary: 'a', line: [{timeline: 1, until: null}], nodes: this.ids, wanted: options.wanted})
  }

  /** What an agent that starts now reads. */
  state: HaState

  happen([kind, who, how]: Happening): void {
    const id = this.ids[who % this.ids.length]!
    const server = this.servers.get(id)!
    const process = server.process
    this.story.push(() => `${kind} ${id} ${how}`)
    switch (kind) {
      case 'agent': this.agentStep(how, true); break
      case 'half': this.agentStep(how, false); break
      case 'work': for (let i = 0; i <= how; i++) this.round(); break
      case 'commit': if (this.gate) this.commitThroughGate(this.gate); break
      case 'write': this.commit(id); break
      case 'stream': this.stream(id, how + 1); break
      case 'reload': if (process && !process.hung) this.enforce(id); break
      case 'kill': server.process = null; break
      case 'spoil': this.spoil(id, server); break
      case 'hang': if (process) process.hung = !process.hung; break
      case 'deafen': if (process) process.deaf = !process.deaf; break
      case 'cut': server.cut = !server.cut; break
      case 'unlink': toggle(this.unlinked, linkOf(id, this.ids[how % this.ids.length]!)); break
      case 'crash-agent': this.queue = []; this.mark = null; break
      case 'panic': this.panic = !this.panic; break
      case 'wish': this.wish(who, how); break
      case 'request': this.request(id, how); break
    }
    if (this.options.strict) this.checkRecord()
  }

  tell(): string {
    return [...this.story.map((line) => line()).filter((line, i, all) => line !== all[i - 1]).slice(-120), JSON.stringify(encodeState(this.state))].join('\n')
  }

  /** Another world that is as this one, and goes its own way. */
  copy(): World {
    const other = new World(this.options)
    for (const [id, server] of this.servers) {
      const {process} = server
      other.servers.set(id, {...server, process: process && {...process, known: new Map(process.known), waiting: [...process.waiting]}})
    }
    for (const link of this.unlinked) other.unlinked.add(link)
    for (const id of this.acknowledged) other.acknowledged.add(id)
    other.story.push(...this.story)
    const {state, gate, mark, queue, panic, now, nextId, lastView} = this
    return Object.assign(other, {state, gate, mark, queue: [...queue], panic, now, nextId, lastView})
  }

  /** The same for worlds that can only go on in the same way: without the numbers that only count. */
  fingerprint(): string {
    const {state, gate, mark, queue, panic} = this
    const {epoch: _, operation, ...rest} = state
    const servers = [...this.servers].map(([id, server]) => [id, server, [...server.process?.known ?? []]])
    const plain = (key: string, value: unknown): unknown => (['startedAt', 'phaseAt', 'because', 'epoch', 'stamp'].includes(key) ? undefined : typeof value === 'bigint' ? String(value) : value)
    return JSON.stringify([rest, operation, gate, mark && [mark.position, mark.key.replace(/:\d+:/, ':')], queue, panic, servers, [...this.unlinked], [...this.acknowledged]], plain)
  }

  // --- servers ---

  lineOf({log}: Server): Line {
    const known = lines.get(log)
    if (known) return known
    const line: {timeline: number, until: bigint | null}[] = []
    for (const [i, {timeline}] of log.entries()) {
      if (line.at(-1)?.timeline === timeline) continue
      if (line.length > 0) line[line.length - 1]!.until = BigInt(i)
      line.push({timeline, until: null})
    }
    lines.set(log, line)
    return line
  }

  isConnected(id: NodeId): boolean {
    const server = this.servers.get(id)!
    if (!server.process || server.process.hung || !server.process.recovery || server.follows === null) return false
    const upstream = this.servers.get(server.follows)!
    if (!upstream.process || upstream.process.hung || this.unlinked.has(linkOf(id, server.follows))) return false
    return upstream.log.length >= server.log.length && isOnLine(this.lineOf(server), BigInt(server.log.length), this.lineOf(upstream))
  }

  private stream(id: NodeId, count: number): void {
    if (!this.isConnected(id)) return
    const server = this.servers.get(id)!
    const upstream = this.servers.get(server.follows!)!
    if (server.log.some((entry, i) => entry.id !== upstream.log[i]?.id)) throw new Violation('corrupt', `${id} streams from ${server.follows} what does not go on from its own log`)
    server.log = upstream.log.slice(0, Math.min(upstream.log.length, server.log.length + count))
    if (upstream.process!.recovery) return
    upstream.process!.known.set(id, server.log.length)
    this.acknowledge(server.follows!)
  }

  private commit(id: NodeId): void {
    const server = this.servers.get(id)!
    const {process} = server
    if (!process || process.hung || process.recovery || server.log.length > 40) return
    const entry = {id: this.nextId++, timeline: timelineOf(this.lineOf(server))}
    server.log = [...server.log, entry]
    process.waiting.push({id: entry.id, end: server.log.length})
    this.acknowledge(id)
  }

  private commitThroughGate(id: NodeId): void {
    const {primary} = this.state
    if (id !== primary && this.servers.get(id)!.process?.recovery === false) throw new Violation('unfenced', `the endpoint leads to ${id} while ${primary} is the primary`)
    this.commit(id)
  }

  /** A disk is lost. Not that of the only node that must have everything: nobody could help then. */
  private spoil(id: NodeId, server: Server): void {
    if (id === this.state.primary || this.state.operation) return
    Object.assign(server, {process: null, whole: false, log: server.log.slice(0, 1)})
  }

  private acknowledge(id: NodeId): void {
    const server = this.servers.get(id)!
    const process = server.process!
    const set = process.inForce
    const isConfirmed = (end: number): boolean => set === null
      || set.names.filter((name) => (process.known.get(name) ?? 0) >= end && this.servers.get(name)?.follows === id && this.isConnected(name)).length >= set.k
    const confirmed = process.waiting.filter(({end}) => isConfirmed(end))
    if (confirmed.length === 0) return
    process.waiting = process.waiting.filter((commit) => !confirmed.includes(commit))
    const {primary, k, voters} = this.state
    if (id !== primary) throw new Violation('two-primaries', `${id} acknowledges a write while ${primary} is the primary`)
    this.checkNothingLost(id, 'acknowledges')
    // before anybody votes nothing is promised
    if (k > 0 && voters.length > 0) for (const commit of confirmed) this.acknowledged.add(commit.id)
  }

  private checkNothingLost(id: NodeId, does: string): void {
    const has = new Set(this.servers.get(id)!.log.map((entry) => entry.id))
    for (const acknowledged of this.acknowledged) if (!has.has(acknowledged)) throw new Violation('lost', `${id} ${does} and lacks the acknowledged write ${acknowledged}`)
  }

  private enforce(id: NodeId): void {
    const server = this.servers.get(id)!
    server.process!.inForce = server.set
    if (!server.process!.recovery) this.acknowledge(id)
  }

  // --- the agent ---

  private agentStep(how: number, isWhole: boolean): void {
    if (this.queue.length === 0) {
      this.queue = [...this.think()]
      return
    }
    const [action] = this.queue.splice(how % this.queue.length, 1)
    this.execute(action!, isWhole, how)
    // the same view may be used once more after something was stored
    if (action!.kind === 'persist' && how % 2 === 1 && this.lastView) this.queue = [...decide(this.state, {...this.lastView, now: this.now}, this.rules).actions]
  }

  private think(): readonly Action[] {
    this.now += 500
    this.lastView = this.observe()
    const {actions, because} = decide(this.state, this.lastView, this.rules)
    this.because = because
    this.story.push(() => `  ${because}: ${actions.map(describe).join(', ') || 'nothing'}`)
    return actions
  }

  /** Everything that is decided is done, and everybody streams. Returns whether nothing was left to do. */
  round(): boolean {
    for (const action of this.queue.splice(0)) this.execute(action, true, 0)
    const actions = this.think()
    for (const action of actions) this.execute(action, true, 0)
    for (const id of this.ids) this.stream(id, 100)
    return actions.length === 0
  }

  observe(): ClusterView {
    const {primary} = this.state
    const nodes: Record<NodeId, NodeView> = {}
    for (const [id, server] of this.servers) {
      server.wasCut = server.cut
      const fenced = this.options.fault === 'fences-nothing' && id !== primary
      const process = server.cut ? 'unreachable' : server.process && !(fenced && !server.process.recovery) ? 'running' : 'exited'
      nodes[id] = {process, server: process === 'running' ? this.observeServer(id, server) : null, stamp: server.cut ? null : server.stamp, busy: false, cannotFollow: !server.whole}
    }
    if (this.options.fault === 'fences-nothing' && this.state.operation && nodes[primary]!.server?.inRecovery === false && !isPast(this.state)) {
      nodes[primary] = {...nodes[primary]!, process: 'exited', server: null}
    }
    const first = this.servers.get(primary)!
    const answers = nodes[primary]!.server !== null && !first.process!.recovery
    const streams: Record<NodeId, Stream> = {}
    if (answers) {
      for (const id of this.ids) {
        const isConnected = this.servers.get(id)!.follows === primary && this.isConnected(id)
        if (id !== primary) streams[id] = {flushed: BigInt(first.process!.known.get(id) ?? 0), lostMs: isConnected ? null : 5000}
      }
    }
    return {now: this.now, nodes, gate: this.options.fault === 'gate-stays-open' && isClosing(this.state) ? null : this.gate, streams, mark: this.mark, diagnosis: this.diagnose(primary, nodes[primary]!)}
  }

  private observeServer(id: NodeId, server: Server): ServerView | null {
    const process = server.process!
    if (process.hung || process.deaf) return null
    const position = BigInt(server.log.length)
    const inFiles = process.recovery || this.options.fault === 'set-not-in-force'
    return {
      systemId: 's', inRecovery: process.recovery, line: this.lineOf(server), position, replayed: position, follows: server.follows,
      streaming: this.isConnected(id), revoked: server.follows === null, set: inFiles ? server.set : process.inForce,
      settled: inFiles || sameSet(server.set, process.inForce),
    }
  }

  /** True, or the fear of an agent that sees ghosts: nothing may be lost for it. */
  private diagnose(primary: NodeId, {process, server}: NodeView): ClusterView['diagnosis'] {
    if (process === 'exited') return {kind: 'primary-dead', failover: true, soft: false, because: `the process of ${primary} is gone`}
    if (this.panic) return {kind: 'primary-hung', failover: true, soft: true, because: `${primary} seems to hang`}
    if (server === null) return {kind: 'suspect', failover: false, soft: true, because: `${primary} does not answer`}
    if (server.inRecovery) return {kind: 'cold-start', failover: true, soft: false, because: `${primary} came up as a standby`}
    return {kind: 'healthy', failover: false, soft: false, because: `${primary} answers`}
  }

  private execute(action: Action, isWhole: boolean, how: number): void {
    if (action.kind === 'persist') return this.persist(action.state)
    if (action.kind === 'close-gate') {
      if (this.options.fault !== 'gate-stays-open') this.gate = null
      return
    }
    const {node: id} = action
    const server = this.servers.get(id)!
    if (action.kind === 'open') return this.open(id)
    if (server.cut) return
    const process = server.process
    const answers = process !== null && !process.hung && !process.deaf
    switch (action.kind) {
      case 'stop':
        if (!answers) return
        if (!process.recovery) for (const other of this.ids) if (isWhole && this.servers.get(other)!.follows === id) this.stream(other, 100)
        server.process = null
        return
      case 'fence': if (this.options.fault !== 'fences-nothing') server.process = null; return
      case 'revoke': if (answers && process.recovery) server.follows = null; return
      case 'repoint': if (answers && process.recovery) server.follows = action.to; return
      case 'set':
        if (!answers) return
        server.set = action.set
        if (isWhole && this.options.fault !== 'set-not-in-force') this.enforce(id)
        return
      case 'mark': if (answers && !process.recovery) this.mark = {key: action.key, position: BigInt(server.log.length)}; return
      case 'start':
        if (process || !server.whole) return
        server.follows = action.follows
        // one that shall go on where it is may write into its log what it has from now on, before it comes up
        if (isInPlace(this.state, id) && how % 2 === 1) server.log = [...server.log, {id: this.nextId++, timeline: timelineOf(this.lineOf(server))}]
        server.process = started(!(this.options.fault === 'boots-as-it-was' && server.wasPrimary))
        server.process.inForce = server.set
        return
      case 'promote': if (answers) this.promote(id, server, action.timeline); return
      case 'rejoin': this.rejoin(server, action, isWhole, how); return
    }
  }

  private promote(id: NodeId, server: Server, timeline: number): void {
    const process = server.process!
    if (!process.recovery || timelineOf(this.lineOf(server)) >= timeline) return
    server.log = [...server.log, {id: this.nextId++, timeline}]
    Object.assign(process, {...started(false), inForce: server.set})
    server.follows = null
    server.wasPrimary = true
  }

  private rejoin(server: Server, {from, stamp}: Extract<Action, {kind: 'rejoin'}>, isWhole: boolean, how: number): void {
    const source = this.servers.get(from)!
    server.process = null
    Object.assign(server, {whole: false, log: server.log.slice(0, how % 2 === 0 ? 1 : server.log.length)})
    if (!isWhole || !source.process || source.process.hung || source.process.recovery) return
    // the files are whole, but the log may have to be streamed from where the copy begins
    const log = source.log.slice(0, how >= 2 ? 1 : source.log.length)
    Object.assign(server, {whole: true, log, stamp, follows: from, process: started(true), wasPrimary: false})
  }

  private persist(state: HaState): void {
    const before = this.state
    if (state.epoch !== before.epoch + 1) throw new Violation('record', `epoch ${state.epoch} after ${before.epoch}`)
    if (state.highestTimeline < before.highestTimeline) throw new Violation('record', 'a timeline is used again')
    if (state.operation?.phase === 'prove' && before.operation?.phase === 'promote' && timelineOf(state.line) !== before.highestTimeline) throw new Violation('record', 'not the timeline that was planned')
    const from = before.operation?.phase
    const to = state.operation?.phase ?? null
    if (from && from !== to && !legalPhases[from].includes(to)) throw new Violation('record', `from ${from} to ${to}`)
    this.state = decodeState(JSON.parse(JSON.stringify(encodeState(state))))
  }

  private open(id: NodeId): void {
    const {process, log} = this.servers.get(id)!
    if (!process || process.hung || process.recovery) return
    this.checkNothingLost(id, 'is opened')
    for (const [other, server] of this.servers) {
      if (other !== id && server.process?.recovery === false && !server.wasCut && !server.cut) throw new Violation('unfenced', `${other} takes writes while ${id} is opened`)
    }
    this.gate = id
    // whoever is let in sees all but what waits, and may rely on it
    const waits = new Set(process.waiting.map((commit) => commit.id))
    if (this.state.k > 0) for (const entry of log) if (!waits.has(entry.id)) this.acknowledged.add(entry.id)
  }

  // --- people ---

  private wish(who: number, how: number): void {
    if (this.queue.length > 0) return
    const {state} = this
    const most = this.ids.length - 1
    const id = this.ids[who % this.ids.length]!
    const voting = this.ids.filter((other) => state.nodes[other]!.mayVote || other === id)
    if (how === 0) {
      const nodes = {...state.nodes, [id]: {...state.nodes[id]!, mayVote: !state.nodes[id]!.mayVote || voting.length <= this.ids.length - 1}}
      return this.persist(changed(state, {nodes}))
    }
    const k = Math.min(1 + (who % 2), most)
    this.persist(changed(state, {wanted: {k, voters: Math.min(most, Math.max(k, how))}}))
  }

  private request(id: NodeId, how: number): void {
    if (this.queue.length > 0) return
    const request: Request = {kind: how % 2 === 0 ? 'switchover' : 'failover', preferred: how >= 2 ? id : null, forced: true}
    const view = this.observe()
    // what a change that is lowered asks for, and no person can
    const isInPlace = request.kind === 'switchover' && id === this.state.primary && how >= 2
    if (isInPlace && this.state.operation === null && view.nodes[id]?.server?.inRecovery === false) {
      return this.persist(beginOperation(this.state, {...request, because: 'it shall be started where it is'}, this.now))
    }
    if (whyNot(this.state, view, request) === null) this.persist(beginOperation(this.state, {...request, because: 'somebody asked for it'}, this.now))
  }

  // --- what must be ---

  private checkRecord(): void {
    const {state} = this
    if (state.k === 0) return
    const distrusted = state.voters.filter((id) => state.nodes[id]?.rejoin || !this.servers.get(id)!.whole)
    const trusted = state.voters.filter((id) => !distrusted.includes(id)).map((id) => new Set(this.servers.get(id)!.log.map((entry) => entry.id)))
    for (const id of this.acknowledged) {
      const holders = trusted.filter((has) => has.has(id)).length
      if (holders < state.k - distrusted.length) throw new Violation('coverage', `the acknowledged write ${id} lies on ${holders} of ${state.voters.join(', ')}, not on ${state.k}`)
    }
    const process = this.servers.get(state.primary)!.process
    if (state.operation || !process || process.recovery) return
    const set = process.inForce
    if (set === null || set.names.length < set.k) throw new Violation('set', `${state.primary} waits for nobody`)
    if (set.k < state.k || !set.names.every((id) => state.voters.includes(id))) throw new Violation('set', `any ${set.k} of ${set.names.join()} is in force, any ${state.k} of ${state.voters.join()} is recorded`)
  }

  heal(): void {
    this.unlinked.clear()
    this.panic = false
    for (const server of this.servers.values()) {
      server.cut = false
      if (server.process) Object.assign(server.process, {hung: false, deaf: false})
    }
  }

  isHealthy(): boolean {
    const {state} = this
    const primary = this.servers.get(state.primary)!
    const most = Math.min(state.wanted.voters, this.ids.filter((id) => id !== state.primary && state.nodes[id]!.mayVote).length)
    const set = primary.process?.inForce ?? null
    const follow = this.ids.every((id) => id === state.primary || (this.isConnected(id) && this.servers.get(id)!.follows === state.primary && !state.nodes[id]!.rejoin
      && this.servers.get(id)!.log.length === primary.log.length))
    return state.operation === null && this.gate === state.primary && primary.process?.recovery === false && follow
      && (most < state.wanted.k || (state.k === state.wanted.k && state.voters.length === most && set !== null && set.k === state.k && sameNames(set.names, state.voters)))
  }

  /** Faults end, and after some rounds all is as it is wanted and a client's write is acknowledged. Throws when it is not. */
  settle(rounds = 60): number {
    this.heal()
    for (let i = 0; i < rounds; i++) {
      if (this.isHealthy()) {
        this.commitAndSee()
        return i
      }
      this.round()
      if (this.options.strict) this.checkRecord()
    }
    throw new Violation('stuck', `after ${rounds} rounds: ${this.because}`)
  }

  private commitAndSee(): void {
    const {k, primary} = this.state
    const id = this.nextId
    this.commit(primary)
    for (const other of this.ids) this.stream(other, 100)
    if (k > 0 && id !== this.nextId && !this.acknowledged.has(id)) throw new Violation('stuck', `${primary} does not acknowledge`)
    for (const other of this.ids) this.checkNothingLost(other, 'is in step')
  }
}

const lines = new WeakMap<readonly Entry[], Line>()
const started = (recovery: boolean): Process => ({recovery, hung: false, deaf: false, inForce: null, known: new Map(), waiting: []})
const isPast = ({operation}: HaState): boolean => operation !== null && ['promote', 'prove', 'open'].includes(operation.phase)
const isClosing = ({operation}: HaState): boolean => operation !== null && operation.phase !== 'open' && operation.phase !== 'abort'
const linkOf = (a: NodeId, b: NodeId): string => [a, b].sort().join('-')
const toggle = (set: Set<string>, key: string): void => {
  if (!set.delete(key)) set.add(key)
}
const describe = (action: Action): string => (action.kind === 'persist'
  ? `persist(${action.state.epoch} ${action.state.primary} any ${action.state.k} of ${action.state.voters.join()} ${action.state.operation?.phase ?? '-'})`
  : Object.values(action).map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value))).join(' '))

const isInPlace = ({operation, primary}: HaState, id: NodeId): boolean =>
  operation?.kind === 'switchover' && operation.phase === 'fence' && operation.preferred === id && operation.old === id && primary === id

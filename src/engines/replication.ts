/**
 * The promise of an engine's replication, documented here and only here: the moves of high availability on one node each. What is
 * moved when, and why that loses nothing, is the caller's affair (research: invariants, phases); nothing here decides.
 *
 * Words. A node is one server with its data. The primary takes writes; a standby receives the log and replays it. A position is a
 * count of bytes of log since the beginning of all log; `flushed` is what is on the node's disk, `replayed` what its readers see. A
 * timeline is one history of the data (see backup.ts): positions of two timelines compare only up to where the newer left the older.
 * The synchronous set are the names of standbys of which `k` must have flushed a commit before it is acknowledged.
 *
 * Node names: `[a-z_][a-z0-9_]{0,57}`; a node's id is one. Two addresses: `host.address()` is the agent's way, an Upstream has the
 * address that the peers dial.
 *
 * Every method is idempotent, works on a connection of its own, and ends within its `timeoutMs` (each has a default), also on a server that
 * hangs. Foreign errors leave as DbaasError: DATABASE_UNAVAILABLE (not reached, broke, or what was waited for did not happen in time:
 * `details.waited_for`), INVALID_STATE (not in this role, or data that must not be used), NOT_SUPPORTED, SQL_ERROR.
 */
import type {Readable} from 'node:stream'
import type {InstanceSize} from '../core/instance/sizes.js'
import type {ParameterValues} from '../core/instance/instance.js'
import type {AdminCredentials, ClientCredentials} from './engine.js'
import type {Host} from './host.js'

export interface EngineReplication {
  /** The role that nodes are to each other: it may replicate and read files, nothing more. The caller has a client certificate made for that name. */
  readonly username: string

  // ------------------------------------------------------------ what a node needs

  /**
   * Parameters of a node that has, or may have, standbys: on top of what the size gives, below what the owner asks for. What must hold is
   * not among them: it is written where the owner cannot override it.
   */
  parameters(size: InstanceSize, version: string): ParameterValues
  /** On the primary, before the first standby: makes the role, or sets it right. Waits for no standby. On a standby it does nothing. */
  prepare(host: Host, admin: AdminCredentials, timing?: Timing): Promise<void>
  /** Writes the node's own way into its peers: certificate and key of `username`. Needs no server and no reload. True when something changed. */
  provide(host: Host, credentials: AdminCredentials): Promise<boolean>
  /**
   * Before every start of a node's server, without exception: a node comes up as a standby unless it is told to be the primary
   * that the caller has recorded. Throws INVALID_STATE for data that a rewind or a copy left unfinished.
   */
  prepareBoot(host: Host, boot: Boot): Promise<void>

  /** A position as people read it: `0/3000060`. Pure. */
  formatPosition(position: bigint): string

  // ------------------------------------------------------------ what a node says

  /** A connection that stays, to ask again and again; it needs none of the clients' connections. */
  probe(host: Host, admin: AdminCredentials, timing?: Timing): Promise<ReplicationProbe>
  /** The same, once. */
  observe(host: Host, admin: AdminCredentials, timing?: Timing): Promise<NodeReplication>
  /**
   * Writes a few bytes to the log and flushes them, as a transaction that waits for no standby: that the disk takes writes. Touches
   * no table. It moves the log (a little, each time), so it is for when nothing else does. Throws INVALID_STATE on a standby.
   */
  probeWrite(host: Host, admin: AdminCredentials, timing?: Timing): Promise<{readonly position: bigint; readonly milliseconds: number}>
  /**
   * Whether the disk of its data takes another megabyte, by the server's own word; on a standby, too. Costs no log, and leaves nothing. Throws
   * DATABASE_UNAVAILABLE.
   */
  hasRoom(host: Host, admin: AdminCredentials, timing?: Timing): Promise<boolean>

  // ------------------------------------------------------------ the synchronous set

  /**
   * Resolves when it is in force, in every session that commits from now on and for every standby that is connected. An empty list
   * clears it, and then whoever waits for a standby is acknowledged with one copy: shrinking is the caller's responsibility. On a
   * standby it is prepared for the promotion. Throws INVALID_REQUEST for a `k` that the names cannot give.
   */
  setSynchronous(host: Host, admin: AdminCredentials, set: SynchronousSet, timing?: Timing): Promise<void>
  /**
   * Waits until at least `k` of the names have flushed up to the position; by default up to what the primary has flushed when it is called.
   * Returns the position and who had it. Throws DATABASE_UNAVAILABLE when it is not so in time.
   */
  barrier(host: Host, admin: AdminCredentials, set: SynchronousSet & {readonly position?: bigint}, timing?: Timing): Promise<{readonly position: bigint; readonly names: readonly string[]}>

  // ------------------------------------------------------------ moves

  /** A standby receives from that peer from now on; without a restart. Does not wait until it streams. */
  follow(host: Host, admin: AdminCredentials, upstream: Upstream, timing?: Timing): Promise<void>
  /**
   * Revokes: a standby receives from nobody any more, now and after a restart. Resolves when that is so and its position is final. What it
   * has received and not replayed is replayed meanwhile; readers that are in the way are cancelled.
   */
  detach(host: Host, admin: AdminCredentials, timing?: Timing): Promise<Detached>
  /**
   * A standby becomes primary on a new timeline. Readers that hold its replay up are ended. A primary stays what it is. `onto`: exactly
   * that number, greater than its own; none between is ever used. Throws INVALID_STATE where it cannot be that.
   */
  promote(host: Host, admin: AdminCredentials, timing?: Timing & {readonly onto?: number}): Promise<{readonly timeline: number; readonly position: bigint}>
  /**
   * Off the critical path: writes down for everybody that looks at its files (a rewind) that the primary is on its timeline,
   * and takes back what `detach` set. Slow: a checkpoint.
   */
  afterPromotion(host: Host, admin: AdminCredentials, timing?: Timing): Promise<void>
  /**
   * On every node, again and again: the log that its peers have not got is kept for them, on a standby too, so that they can follow it once
   * it is promoted. `position`: what the peer is known to have flushed, null when nothing is known. Peers that are not listed are given up.
   */
  keepLogFor(host: Host, admin: AdminCredentials, peers: readonly {readonly name: string; readonly position: bigint | null}[], timing?: Timing): Promise<void>

  // ------------------------------------------------------------ data

  /**
   * Makes the data of a new standby out of those of a running node, over the engine's own protocol, verified, and on disk when
   * it resolves. `into` is `host.paths.data` as this machine sees it, or a way to have an archive unpacked there; what is in it is removed first.
   * The log from its beginning on must be kept by the source (`keepLogFor` first, with the new node's name). Not usable before it has
   * resolved: `isInitialised` says so.
   */
  copy(source: Source, host: Host, into: string | Unpack, options: CopyOptions): Promise<CopyReport>
  /** What the data of a node say whose server does not run. Throws DATA_GONE, INTEGRITY_MISMATCH. */
  readData(host: Host): Promise<NodeData>
  /** How far the log goes of a server that was stopped in order: whoever has flushed it has everything. Throws INVALID_STATE when it was not. */
  shutdownPosition(host: Host): Promise<{readonly timeline: number; readonly position: bigint}>
  /** What it takes for a node whose server does not run to follow that one. */
  assessRejoin(host: Host, source: Source, timing?: Timing): Promise<Rejoin>
  /** Pure: how a place relates to a history. `ahead`: bytes that the history does not have, beyond where it left the place's timeline. */
  divergence(place: {readonly timeline: number; readonly position: bigint}, history: History): {readonly kind: 'within'} | {readonly kind: 'ahead'; readonly bytes: bigint} | {readonly kind: 'foreign'}
  /** The history of a running node. */
  history(source: Source, timing?: Timing): Promise<History>
  /**
   * Takes the data back to where the upstream's history left theirs. The server does not run; the upstream has had
   * `afterPromotion`. Slots are not in what it brings; assess again afterwards. Data that it leaves unfinished are never started: only a copy
   * heals them, and `assessRejoin` says so. Throws NOT_SUPPORTED, INVALID_STATE, COMMAND_FAILED.
   */
  rewind(host: Host, upstream: Upstream, options: {readonly version: string; readonly timeoutSeconds?: number; readonly signal?: AbortSignal}): Promise<void>

  // ------------------------------------------------------------ settings that the log depends on

  /** Of the settings that a standby must have at least as large as its primary: whether `then` raises or lowers any against what this primary runs with. */
  limitsChange(host: Host, then: ParameterValues): Promise<{readonly raises: boolean; readonly lowers: boolean}>
  /** `values`, with those of them raised that a start as a standby needs larger: for the log that the node has, and for what its upstream sends. */
  standbyValues(host: Host, values: ParameterValues, version: string, upstream: Host | null): Promise<ParameterValues>
  /**
   * Lowers what the log says to what the node's configuration says, so that it can be a standby with that. Writes log: only for the data of the
   * recorded primary, stopped in order, that goes on itself. Afterwards it is booted (`prepareBoot`). Throws COMMAND_FAILED.
   */
  lowerLimits(host: Host, signal?: AbortSignal): Promise<void>

  /** What a drill writes, so that it can be counted. */
  readonly journal: EngineJournal
}

/**
 * Rows that are written as an application writes them: as its role, through the endpoint. `name` is what they are in, of which nothing else
 * is: as the name of a node, and no user's. Throws DATABASE_UNAVAILABLE, SQL_ERROR.
 */
export interface EngineJournal {
  /** Makes it, empty. */
  make(client: ClientCredentials, name: string, timing?: Timing): Promise<void>
  /** A session that stays. `timeoutMs` is for the connection alone. */
  open(client: ClientCredentials, name: string, timing?: Timing): Promise<JournalSession>
  /** Every row, as often as it is there. */
  read(client: ClientCredentials, name: string, timing?: Timing): Promise<readonly number[]>
  /** No error when it is not there. */
  remove(client: ClientCredentials, name: string, timing?: Timing): Promise<void>
}

export interface JournalSession {
  /** Which start of which server it speaks with: another one has another text. */
  readonly server: string
  /**
   * One row, in a transaction of its own, for as long as it takes. False: it is there, and the server said that it may not be on as many
   * disks as was promised, so nobody may count on it. Throws DATABASE_UNAVAILABLE when the connection ends, and then it may be there or not.
   */
  write(row: number): Promise<boolean>
  /** Ends it at once, and whatever it waits for. */
  close(): void
}

export interface Timing {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** Where a standby receives from, and as whom. */
export interface Upstream {
  readonly address: {readonly host: string; readonly port: number}
  /** The standby's own name. */
  readonly name: string
}

/** A running node, as the agent reaches it. */
export interface Source {
  readonly host: Host
  readonly admin: AdminCredentials
  readonly version: string
}

export type Boot =
  /** `alone`: no commit waits for a standby any more, whatever its data were part of before. */
  | {readonly role: 'primary'; readonly alone?: boolean}
  /** Null: it receives from nobody, and waits at the end of its log. */
  | {readonly role: 'standby'; readonly upstream: Upstream | null}

export interface SynchronousSet {
  readonly k: number
  readonly names: readonly string[]
}

export interface ReplicationProbe {
  /** Throws DATABASE_UNAVAILABLE; after that the probe is of no use. One question at a time. */
  observe(timing?: Timing): Promise<NodeReplication>
  /** Resolves with the reason when the connection ends, however it does: the first that is seen of a crash. */
  readonly ended: Promise<Error>
  close(): Promise<void>
}

export interface NodeReplication {
  readonly role: 'primary' | 'standby'
  /** Which data it is of: two that differ never belong together. */
  readonly system: string
  /** Of what it has flushed last. */
  readonly timeline: number
  /** Milliseconds since the epoch, by its own clock. */
  readonly startedAt: number
  readonly flushed: bigint
  readonly replayed: bigint
  /** In force when somebody commits now; on a standby, when it is promoted. Null: something that dbaas has not written. */
  readonly synchronous: SynchronousSet | null
  /** Of a standby. */
  readonly standby: StandbyState | null
  /** Those that receive from it. */
  readonly receivers: readonly ReceiverState[]
  /**
   * Sessions whose commit waits for standbys. `longestMs`: since the same probe has first seen one that still waits; 0 when it has not.
   */
  readonly waiting: {readonly sessions: number; readonly longestMs: number}
  /** Log that is kept for peers, by name. `lost`: what the peer had not got is gone. */
  readonly kept: readonly {readonly name: string; readonly isActive: boolean; readonly isLost: boolean; readonly bytes: bigint}[]
}

export interface StandbyState {
  /**
   * It has read all the log that it has on disk, so `flushed` is all it has. Before that, after a restart, `flushed` may be too low; once it has
   * been true it stays exact as long as the server runs.
   */
  readonly isExact: boolean
  /** Whom its configuration in force tells it to receive from, as it dials; null: nobody. */
  readonly follows: {readonly host: string; readonly port: number} | null
  /** From whom it receives; null when from nobody. */
  readonly receiving: {
    readonly host: string
    readonly port: number
    /** `streaming`, `starting`, … in the engine's words. */
    readonly status: string
    /** Since the sender was last heard. Null: never. */
    readonly silentMs: number | null
  } | null
  /** How old what its readers see may be: 0 when it has replayed all that the sender has and was just heard. Null: not known. */
  readonly staleMs: number | null
}

export interface ReceiverState {
  readonly name: string
  /** `streaming`, `catchup`, … in the engine's words. */
  readonly state: string
  readonly isSynchronous: boolean
  readonly flushed: bigint | null
  readonly replayed: bigint | null
  /** What it has not flushed, of what the sender has. Null: not known. */
  readonly lagBytes: bigint | null
  /** How much later than here its readers saw the last commit; null when it is up to date or not known. */
  readonly replayLagMs: number | null
  /** Since it was last heard. */
  readonly silentMs: number | null
}

export interface Detached {
  readonly system: string
  readonly timeline: number
  /** Final. */
  readonly flushed: bigint
  readonly replayed: bigint
}

/** The way that the data of a node have come. */
export interface History {
  readonly system: string
  readonly timeline: number
  /** Where each older timeline was left, the oldest first. */
  readonly parents: readonly {readonly timeline: number; readonly end: bigint}[]
}

export interface NodeData {
  readonly system: string
  /** It was stopped in order, as a primary or as a standby; or it was killed, or never stopped. */
  readonly state: 'stopped' | 'stopped-standby' | 'crashed'
  /** How far the log on its disk goes; never too low. */
  readonly timeline: number
  readonly position: bigint
}

export interface Rejoin {
  /** `none`: it can follow as it is. */
  readonly kind: 'none' | 'rewind' | 'copy'
  readonly because: string
  /** Log that only this node has, and that will be discarded; 0 for none, null where it cannot be said. */
  readonly discardedBytes: bigint | null
}

/** Takes a tar and unpacks it as it comes, as the server's user; resolves when all of it is there. */
export type Unpack = (archive: Readable) => Promise<void>

export interface CopyOptions {
  readonly version: string
  /** Read again and again while it runs: bytes a second, null for no limit. */
  readonly limit: {bytesPerSecond(): number | null}
  progress(receivedBytes: number, totalBytes: number): void
  readonly signal: AbortSignal
}

export interface CopyReport {
  readonly files: number
  readonly bytes: number
  /** It can serve once it has replayed up to there. */
  readonly timeline: number
  readonly position: bigint
}

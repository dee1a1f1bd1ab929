/**
 * The promise of an engine's backups, documented here and only here. The engine reads the server and says what the
 * bytes are; where they are kept is the caller's affair: sinks receive, and hold the server back by answering late.
 *
 * Words. A base backup is a copy of the server's files, taken while it serves; by itself it is torn, and only the log
 * makes it whole. The log is the engine's own record of every change (WAL, binlog): a line of segments, which are files.
 * A position is a place in it, as text that only the engine can order. A timeline is one history of the data: a new one
 * begins with every promotion, and its history says where it left the older ones. A recovery target is the moment that
 * a recovery ends at.
 *
 * Foreign errors leave as DbaasError: DATABASE_UNAVAILABLE (the connection failed or broke: try again),
 * INTEGRITY_MISMATCH (bytes are not what the server says they are), NOT_SUPPORTED, and what a sink throws as it is.
 * Whatever takes a signal ends with the signal's reason; but EngineLog.follow ends in peace.
 */
import type {AdminCredentials} from './engine.js'
import type {Host} from './host.js'

export interface EngineBackup {
  /** The role that reads: it may replicate, and nothing more. The caller has a client certificate made for that name. */
  readonly username: string
  /** Makes the role, or sets it right. The server lets it in by certificate alone. Idempotent. */
  prepare(host: Host, admin: AdminCredentials): Promise<void>
  /** A session for small questions: how long one takes tells what clients feel. Throws DATABASE_UNAVAILABLE. */
  asker(host: Host, admin: AdminCredentials): Promise<Asker>
  readonly base: EngineBaseBackup
  readonly log: EngineLog
  readonly recovery: EngineRecovery
  /**
   * Fills the data folder of `target`, whose server has never run, with a copy of the running `source`, of everything that was
   * committed before; the server needs nothing but a start. Throws NOT_SUPPORTED where it cannot be copied like that; then
   * what `target` has is worth nothing.
   */
  cloneFiles?(source: Host, target: Host, admin: AdminCredentials, copy: FileCopy): Promise<void>
  /**
   * Reads everything and runs the engine's own checks: for a restored server that nobody uses. A finding is an answer,
   * not an error. Needs a server that can be written to.
   */
  check(host: Host, admin: AdminCredentials, options: CheckOptions): Promise<CheckReport>
}

/**
 * Copies what is wanted of the source's data folder as it is at that moment, without reading it. Asked by path below that
 * folder; a folder's path ends with a slash, and one that is not wanted is not looked into. What vanishes meanwhile is left out.
 */
export type FileCopy = (wanted: (path: string) => boolean) => Promise<void>

export interface Asker {
  /** One round to the server, which works out an answer. Throws when the session has ended. */
  ask(): Promise<void>
  /** Never throws. */
  close(): Promise<void>
}

/** A server as the reader sees it: plain data, that can be sent to a thread. */
export interface BackupServer {
  readonly address: {readonly host: string; readonly port: number}
  /** Of EngineBackup.username. */
  readonly credentials: AdminCredentials
  readonly version: string
}

/** A place in the log. `position` is opaque; places are ordered by EngineLog.compare. */
export interface LogPlace {
  readonly timeline: string
  readonly position: string
}

// ---------------------------------------------------------------- base backup

export interface EngineBaseBackup {
  /**
   * Takes one. Files come to the sink one after the other, each read to its end before the next; a file that the sink
   * leaves unread is skipped. When it resolves, every byte was compared with the server's own checksums, and the last file
   * was written; it is good only when the log from `start` to `end` has been kept, too. Throws INTEGRITY_MISMATCH.
   */
  take(server: BackupServer, request: BaseBackupRequest, sink: BaseBackupSink, signal: AbortSignal): Promise<BaseBackup>
}

export interface BaseBackupRequest {
  /** Shown in the server's log and activity. ASCII, at most 60 characters. */
  readonly label: string
  /** `now` lets the server write what is in memory at once; `gently` over minutes, so that clients do not notice. */
  readonly pace: 'now' | 'gently'
  /** Read again and again while it runs: bytes a second, null for no limit. */
  readonly limit: {bytesPerSecond(): number | null}
  /** What an earlier backup of the same server had: then, where the server can, only changed pages are sent. */
  readonly previous: PreviousBackup | null
}

export interface PreviousBackup {
  readonly backup: BaseBackup
  /** A file of it, as it was given to the sink. */
  read(path: string): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

export interface BaseBackupSink {
  /** How far it is: bytes received, and how many the server expects in all (it may grow). */
  progress(receivedBytes: number, totalBytes: number): void
  /** Before the first file: whether all will come, or changes against `previous` alone. */
  begin(method: BaseBackupMethod): Promise<void> | void
  write(file: BackupFile): Promise<unknown>
}

export interface BackupFile {
  /** Relative to the data folder, with `/`; unique. */
  readonly path: string
  /** Pages of so many bytes change independently of each other. */
  readonly pageSize: number
  /** What the engine wants to know again when it is restored; JSON. */
  readonly attributes: Readonly<Record<string, unknown>>
  readonly content:
    /** All of it, `size` bytes; portions are of whole pages, but for the last. A portion is valid until the next is asked for; so are pages. */
    | {readonly kind: 'whole'; readonly size: number; readonly bytes: AsyncIterable<Uint8Array>}
    /**
     * The file is in the previous backup and has `length` bytes now. These pages changed (whole, ascending, the last one
     * may be cut by the end); of the others, those that were there are as before, those beyond are zero.
     */
    | {readonly kind: 'changed'; readonly length: number; readonly pages: AsyncIterable<{readonly page: number; readonly bytes: Uint8Array}>}
}

export interface BaseBackupMethod {
  readonly kind: 'whole' | 'changes'
  /** One sentence: why not changes alone, or since when. */
  readonly because: string
}

/** What is known of a backup beside its files. JSON: it is stored with them and given back. */
export interface BaseBackup {
  readonly version: string
  /** Which data it is of: backups and logs of another never fit. */
  readonly system: string
  readonly timeline: string
  /** The log is needed from here, … */
  readonly start: string
  /** … and to here at least: before that the copy is torn. */
  readonly end: string
  /** Milliseconds since the epoch, by the server's clock: the earliest time it can be recovered to. */
  readonly consistentAt: number
  readonly method: BaseBackupMethod
  readonly files: number
  /** Of the files as they are when restored; and what came over the wire. */
  readonly bytes: number
  readonly receivedBytes: number
  /** Folders to be made, the outer ones first: a restored copy needs the empty ones, too. Permission bits. */
  readonly folders: readonly {readonly path: string; readonly mode: number}[]
  /** Pages whose checksum is wrong on the server. They are in the backup as they are. */
  readonly damages: readonly BackupDamage[]
}

export interface BackupDamage {
  readonly path: string
  readonly page: number
  readonly because: string
}

// ---------------------------------------------------------------- log

export interface EngineLog {
  /** Below zero, zero, above: as positions of one history are ordered. */
  compare(a: string, b: string): number
  /** Bytes of log between two positions; negative when `to` comes first. */
  distance(from: string, to: string): number
  /** The position of that byte of a segment. */
  positionOf(segment: string, offset: number): string
  /** The segment of the timeline that a position lies in. */
  segmentOf(place: LogPlace): string
  /** Whether a segment may be needed to recover from there on: false only when it never is. */
  isNeeded(segment: {readonly timeline: string; readonly segment: string}, from: LogPlace): boolean

  /** Makes the server keep its log for us from now on. Idempotent: one that is there, and not lost, stays. The name: `[a-z0-9_]{1,63}`. */
  hold(host: Host, admin: AdminCredentials, name: string): Promise<void>
  /** The server need keep nothing for us any more. No error when there is none. */
  release(host: Host, admin: AdminCredentials, name: string): Promise<void>
  observeHold(host: Host, admin: AdminCredentials, name: string): Promise<LogHold>

  /**
   * Follows the log until the signal, or until it ends by itself. Slices are portions of segments that follow each other
   * without a gap; only what the sink has acknowledged is given up by the server. Throws DATABASE_UNAVAILABLE when the
   * connection breaks: then call it again with the new `from`.
   */
  follow(server: BackupServer, request: LogRequest, sink: LogSink, signal: AbortSignal): Promise<LogEnd>
  /** A named point that can be recovered to. The name: at most 63 bytes. */
  mark(host: Host, admin: AdminCredentials, name: string): Promise<LogPlace>
}

export interface LogHold {
  /** `at-risk`: the server will drop it if it grows; `lost`: what we had not read is gone, a new base backup is due. */
  readonly state: 'kept' | 'at-risk' | 'lost' | 'absent'
  readonly because: string
  /** Log that the server keeps for us, in bytes, and how much more until it is lost; null where there is no bound. */
  readonly heldBytes: number
  readonly spareBytes: number | null
}

export interface LogRequest {
  /** Name of the hold. */
  readonly hold: string
  /** The data that the archive is of (BaseBackup.system); null when nothing is known yet. Another's log is refused (`gap`). */
  readonly system: string | null
  /**
   * Where the archive ends, and what its last slice said of the time. Null: the line begins (anew), with the oldest that the
   * hold keeps; its first slice is `fresh`.
   */
  readonly from: {
    readonly timeline: string; readonly segment: string; readonly offset: number; readonly final: boolean; readonly mark: {readonly at: number} | null
  } | null
  /** A slice is handed over when so much time has passed or so many bytes have come, whichever is first. */
  readonly flush: {readonly milliseconds: number; readonly bytes: number}
}

export interface LogSink {
  /** Resolves when it is durable. One at a time, in order. */
  append(slice: LogSlice): Promise<unknown>
  /** Where a timeline left the older ones; comes before its first slice. Durable when it resolves. Idempotent. */
  putHistory(timeline: string, content: string): Promise<unknown>
  /** After every message and every acknowledgement; cheap to ignore. */
  status?(status: LogStatus): void
}

export interface LogSlice {
  readonly timeline: string
  /** Names of segments sort as text in the order of the log, within a timeline; timelines sort, too. */
  readonly segment: string
  /** Where in the segment it begins, in bytes. */
  readonly start: number
  readonly bytes: Uint8Array
  /** The segment ends with it, be it full or not. Such a slice may be empty. */
  readonly final: boolean
  /** Milliseconds since the epoch, by the server's clock: everything committed by then is in it or before it. */
  readonly at: number
  /** Why the line begins anew here, with bytes missing before it. */
  readonly fresh?: string
}

export interface LogStatus {
  readonly timeline: string
  /** Up to here the sink has it durably; up to here the server has written. */
  readonly durable: string
  readonly server: string
  /** Everything committed by then is durable; milliseconds since the epoch, by the server's clock. Null: not known yet. */
  readonly durableAt: number | null
  /** What would be lost if the server were gone now; null: not known yet. */
  readonly lagBytes: number
  readonly lagSeconds: number | null
}

export type LogEnd =
  /** The signal: what had come is durable. */
  | {readonly kind: 'asked'}
  /** The server shut down in order, and all it has written is durable. */
  | {readonly kind: 'shutdown'}
  /**
   * What comes next in the archive is not to be had any more: the hold was lost, the log belongs to other data, or it went
   * another way. It heals by a new hold, a line that begins anew (`from: null`), and a base backup after that.
   */
  | {readonly kind: 'gap'; readonly because: string}

// ---------------------------------------------------------------- recovery

/** What the log archive must answer to plan and to feed a recovery. */
export interface LogArchive {
  /** By timeline, then by segment, as text. `whole`: it is known to have ended, so that need not be looked up. */
  segments(): AsyncIterable<{readonly timeline: string; readonly segment: string; readonly whole?: boolean}>
  /**
   * Everything committed by then is known to be in it: LogStatus.durableAt, which goes on when nothing is written. Milliseconds since the
   * epoch; absent or null: only what its marks say is known.
   */
  readonly completeUntil?: number | null
  read(timeline: string, segment: string): Promise<ArchivedSegment>
  history(timeline: string): Promise<string | undefined>
}

export interface ArchivedSegment {
  readonly bytes: Uint8Array
  readonly final: boolean
  /** What was committed by `at` (milliseconds since the epoch) lies before `end`; ascending. */
  readonly marks: readonly {readonly end: number; readonly at: number}[]
  /** Why the line begins anew with it, or null. */
  readonly fresh: string | null
}

export type RecoveryTarget = (
  /** Everything that is in the archive. */
  | {readonly kind: 'latest'}
  /** Microseconds since the epoch. Inclusive: what was committed at that very moment is there. */
  | {readonly kind: 'time'; readonly micros: number}
  /** Inclusive: with the record that begins there; else with everything before, which is what a position seen by a client means. */
  | {readonly kind: 'position'; readonly position: string}
  /** Inclusive: with that transaction; else the moment before its end. */
  | {readonly kind: 'transaction'; readonly id: string}
  | {readonly kind: 'name'; readonly name: string}
  /** As early as the backup can be. */
  | {readonly kind: 'backup'}
) & {
  /** By default true, for a position false. */
  readonly inclusive?: boolean
  /** The history to follow; by default the newest in the archive. */
  readonly timeline?: string
}

/** Bounds of what can be recovered, microseconds since the epoch and positions. Null: nothing can. */
export interface RecoveryWindow {
  readonly from: RecoveryMoment | null
  readonly to: RecoveryMoment | null
}

export interface RecoveryMoment {
  readonly micros: number
  readonly timeline: string
  readonly position: string
}

/** JSON: it is stored with the operation. */
export interface RecoveryPlan {
  /** Index of the backup to start from, in what was given. */
  readonly backup: number
  readonly target: RecoveryTarget
  /** The history to follow. */
  readonly timeline: string
  /** What is read of the archive, in order. */
  readonly segments: readonly {readonly timeline: string; readonly segment: string}[]
  readonly logBytes: number
  /**
   * Where it ends, as read in the log itself: `target` when the server will find it, `end` when the log ends first, and
   * that is what was asked for.
   */
  readonly stop: 'target' | 'end'
  readonly expected: {
    /** The log is replayed up to here, exclusively. */
    readonly position: string
    /** The last transaction that is in; null when none is in the log that is replayed. */
    readonly lastCommitMicros: number | null
    /** `before transaction 741, which was committed at …`. */
    readonly because: string
  }
  /** The engine's own notes. */
  readonly engine: Readonly<Record<string, unknown>>
}

export type RecoveryDecision =
  | {readonly possible: true; readonly plan: RecoveryPlan}
  | {readonly possible: false; readonly because: string; readonly window: RecoveryWindow}

export interface RecoveryProgress {
  readonly phase: 'starting' | 'replaying' | 'promoting' | 'promoted'
  /** Replayed up to here; null as long as the server cannot be asked. */
  readonly position: string | null
  readonly replayedBytes: number
  readonly totalBytes: number
}

export type RecoveryOutcome =
  | {readonly kind: 'recovered'; readonly recovered: Recovered}
  | {readonly kind: 'restart'; readonly because: string}

export interface Recovered {
  /** The new history, and the exact place at which it left the old one. */
  readonly timeline: string
  readonly from: LogPlace
  /** The last transaction that is in; null when the log that was replayed has none. Microseconds since the epoch. */
  readonly lastCommitMicros: number | null
  /** In the server's own words. */
  readonly because: string
}

export interface EngineRecovery {
  /** The bounds of what can be recovered from these backups and that archive. */
  window(backups: readonly BaseBackup[], archive: LogArchive, timeline?: string): Promise<RecoveryWindow>
  /**
   * Decides where to start and where it will end, by reading the log: nothing is touched. A target that cannot be reached
   * is an answer. Throws what the archive throws (a damaged segment).
   */
  plan(backups: readonly BaseBackup[], archive: LogArchive, target: RecoveryTarget): Promise<RecoveryDecision>
  /** Where a file of the backup goes, relative to the data folder, and its permission bits; undefined: nowhere. */
  place(path: string, attributes: Readonly<Record<string, unknown>>): {readonly path: string; readonly mode: number} | undefined
  /** When all files are in `host.paths.data`, before the start: what makes the server recover. Idempotent. */
  configure(host: Host, plan: RecoveryPlan, archive: LogArchive): Promise<void>
  /**
   * Gives the started server the log as it needs it, and resolves when it has been promoted at the target, and nowhere else;
   * or when it must be started anew first, and then this called again. May be called again after a crash of anybody. Waits for
   * a server that does not answer: the signal is for the caller, who sees it end. Throws RECOVERY_FAILED when it ended elsewhere.
   */
  follow(host: Host, admin: AdminCredentials, plan: RecoveryPlan, archive: LogArchive, options: RecoveryOptions): Promise<RecoveryOutcome>
  /** Takes away what `configure` and `follow` left. Says whether the server must be restarted to be as configured. Idempotent. */
  finish(host: Host, admin: AdminCredentials): Promise<{readonly restart: boolean}>
  /** Pages in a portion of a file of the backup (from a multiple of its pages on) that cannot be what was written. */
  damagesIn(path: string, offset: number, bytes: Uint8Array, backup: BaseBackup): readonly BackupDamage[]
}

export interface RecoveryOptions {
  progress(progress: RecoveryProgress): void
  readonly signal: AbortSignal
  /** Log that may lie in the target ahead of what is replayed, in bytes. */
  readonly aheadBytes?: number
}

// ---------------------------------------------------------------- checks

export interface CheckOptions {
  progress(done: number, total: number, what: string): void
  readonly signal: AbortSignal
}

export interface CheckReport {
  readonly databases: number
  readonly tables: number
  readonly rows: number
  readonly indexes: number
  readonly findings: readonly {readonly object: string; readonly because: string}[]
  /** What could not be checked, and why. */
  readonly skipped: readonly {readonly object: string; readonly because: string}[]
}

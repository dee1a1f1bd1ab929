/**
 * The promise of the archiver: a thread of its own in which engines and repositories meet, so that backups and the log
 * go by the agent's main thread. What crosses is plain data. It decides nothing and keeps nothing but what is open: when
 * the thread dies, what was under way fails with INTERNAL and the next call starts another.
 *
 * Every method is idempotent. Errors are those of repositories (REPOSITORY_UNAVAILABLE, KEY_UNAVAILABLE, DISK_FULL, …) and
 * of engines' backups (DATABASE_UNAVAILABLE, INTEGRITY_MISMATCH, NOT_SUPPORTED).
 */
import type {LogPoint, LogRange} from '../../core/backup/retention.js'
import type {ArchivedSegment, BackupServer, BaseBackup, LogEnd, LogStatus, RecoveryDecision, RecoveryTarget} from '../../engines/backup.js'

export interface Archiver {
  /** A repository as a person asks for it, checked; nothing is asked of the place. Throws INVALID_REQUEST, REPOSITORY_REFUSED. */
  describe(asked: AskedRepository): Promise<DescribedRepository>
  /** Opens a repository, made if absent; its id. */
  prepare(repository: RepositoryPlace): Promise<{readonly id: string}>
  /** Makes `to` the beginning of a copy of `from`; nothing is copied yet. Throws REPOSITORY_REFUSED when something else is there. */
  beginCopy(from: RepositoryPlace, to: RepositoryPlace): Promise<{readonly id: string}>
  /** Brings a copy that was begun up to date; what the original has no more goes from it, too. */
  copy(from: RepositoryPlace, to: RepositoryPlace): Promise<CopiedObjects>
  /** Makes a copy a repository of its own: nothing is copied into it any more. Idempotent. Throws REPOSITORY_UNAVAILABLE when there is none. */
  promote(copy: RepositoryPlace): Promise<void>
  /** The incarnations that have something in it. */
  incarnations(repository: RepositoryPlace): Promise<readonly string[]>

  /** All that was committed, oldest first. Throws KEY_UNAVAILABLE, REPOSITORY_DAMAGED. */
  list(archive: ArchivePlace): Promise<readonly KeptSnapshot[]>
  /** The snapshot of that backup, if it was committed. */
  find(archive: ArchivePlace, backupId: string): Promise<TakenBackup | undefined>
  /** A base backup into a new snapshot, committed. The log that makes it whole is another matter. */
  take(order: BackupOrder, options: TakeOptions): Promise<TakenBackup>
  /** Reads all of it back. Damage is an answer. */
  verify(archive: ArchivePlace, snapshot: number, signal?: AbortSignal): Promise<Verified>
  /** It does not count any more. */
  remove(archive: ArchivePlace, snapshot: number): Promise<void>
  /** Makes room: what no snapshot needs, and of the log what lies in none of the ranges. `known`: snapshots of other backups go, too. */
  collect(archive: ArchivePlace, log: readonly LogRange[], known: KnownBackups | null): Promise<Collected>

  /** Where the archive of the log ends; null when it is empty. */
  logEnd(archive: ArchivePlace, engine: string): Promise<LogPosition | null>
  /** Reads the log from that segment on: up to where all of it is there and follows each other. */
  checkLog(archive: ArchivePlace, engine: string, from: LogPoint): Promise<LogChecked>
  /** Follows the log until it ends. Throws DATABASE_UNAVAILABLE and what the repository throws: then call it again. */
  follow(order: LogOrder, options: FollowOptions): Promise<LogEnd>

  /** Where a recovery to the target begins and ends: reads the log that it needs, touches nothing. */
  plan(order: PlanOrder): Promise<RecoveryDecision>
  /** Objects that a restore of the snapshot needs, and that are not there. Looks, and does not read them. */
  missing(archive: ArchivePlace, snapshot: number): Promise<readonly string[]>
  /** All files of a snapshot into an empty folder of this machine. */
  restore(order: RestoreOrder, options: RestoreOptions): Promise<RestoredFiles>
  /** What a recovery asks of the log. */
  logSegment(archive: ArchivePlace, timeline: string, segment: string): Promise<ArchivedSegment>
  logHistory(archive: ArchivePlace, timeline: string): Promise<string | null>

  /** From here on nothing of it can be read by anybody. */
  shred(archive: ArchivePlace): Promise<void>
  /** Removes everything of it; how many objects. */
  erase(archive: ArchivePlace): Promise<number>
  /** Wraps the data key by another master key; whether there was anything to do. */
  rewrap(archive: ArchivePlace, from: KeySource, to: KeySource): Promise<boolean>
  /** The agent is about to end: programs that calls wait for must not outlive it. The calls fail. */
  endPrograms(): void
  close(): Promise<void>
}

/** Every backup that there was at that moment (milliseconds since the epoch); what was committed later is not spoken of. */
export interface KnownBackups {
  readonly backups: readonly string[]
  readonly at: number
}

export interface RepositoryPlace {
  readonly kind: string
  readonly location: string
  /** As its kind names them, secrets in the clear. */
  readonly settings: Readonly<Record<string, string | boolean>>
  /** What `prepare` has answered before: another one is never taken for it. Null: it is made where there is none. */
  readonly id: string | null
  /** A copy is written by `copy` alone. */
  readonly access: 'read' | 'write'
}

export interface AskedRepository {
  /** Undefined: the location says it. */
  readonly kind?: string | undefined
  readonly location: string
  readonly settings: Readonly<Record<string, string | boolean>>
  /** All settings that it has, when it is to be changed: they stay where no other is asked for. */
  readonly before?: Readonly<Record<string, string | boolean>>
}

/** Its secrets apart, which are to be sealed. */
export interface DescribedRepository {
  readonly kind: string
  readonly location: string
  readonly settings: Readonly<Record<string, string | boolean>>
  readonly secrets: Readonly<Record<string, string>>
}

export interface CopiedObjects {
  readonly objects: number
  readonly bytes: number
  readonly removed: number
  /** Objects of the original that are not what was written: they are not copied. */
  readonly damages: readonly {readonly object: string; readonly because: string}[]
}

export interface ArchivePlace {
  readonly repository: RepositoryPlace
  readonly incarnation: string
}

/** Where the site's master key of repositories comes from. */
export type KeySource =
  | {readonly kind: 'file'; readonly path: string}
  | {readonly kind: 'environment'; readonly variable: string}
  | {readonly kind: 'command'; readonly argv: readonly [program: string, ...rest: string[]]}

export interface BackupOrder {
  readonly archive: ArchivePlace
  readonly engine: string
  readonly server: BackupServer
  readonly pace: 'now' | 'gently'
  /** What an earlier backup has need not be stored again; with `changesOnly` it need not even be sent, where the server can. */
  readonly previous: {readonly snapshot: number; readonly base: BaseBackup} | null
  readonly changesOnly: boolean
  /** Kept with the snapshot, so that a store that was lost can be rebuilt. */
  readonly about: BackupAbout
}

export interface BackupAbout {
  readonly backupId: string
  readonly instanceId: string
  readonly instanceName: string
  readonly engine: string
  readonly label: string | null
  readonly trigger: string
}

export interface TakeOptions {
  /** Bytes received, and how many are expected. */
  progress(receivedBytes: number, totalBytes: number): void
  /** Asked again and again: bytes a second, null for no limit. */
  readonly limit: () => number | null
  readonly signal: AbortSignal
}

export interface TakenBackup {
  readonly snapshot: number
  readonly base: BaseBackup
  readonly storedBytes: number
  /** SHA-256 of the list of its files, in hexadecimal. */
  readonly sha256: string
  readonly first: LogPoint
  readonly last: LogPoint
}

/** As the repository has it, whoever took it. */
export interface KeptSnapshot extends TakenBackup {
  readonly about: BackupAbout
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly committedAt: number
}

export interface Verified {
  readonly at: number
  readonly packs: number
  readonly pages: number
  readonly bytes: number
  readonly damages: readonly {readonly object: string; readonly because: string}[]
}

export interface Collected {
  readonly bytes: number
  readonly packs: number
  readonly segments: number
}

export interface LogPosition {
  readonly timeline: string
  readonly position: string
  /** Everything committed by then is in it; milliseconds since the epoch. */
  readonly at: number | null
}

export interface LogChecked {
  readonly until: LogPosition | null
  readonly bytes: number
  readonly damages: readonly {readonly object: string; readonly because: string}[]
}

export interface LogOrder {
  readonly archive: ArchivePlace
  readonly engine: string
  readonly server: BackupServer
  /** Name of what makes the server keep its log for us. */
  readonly hold: string
  /** Which data the archive is of; null when it is not known. */
  readonly system: string | null
  /** True: the line begins anew, whatever the archive ends with. */
  readonly fresh: boolean
}

export interface PlanOrder {
  readonly archive: ArchivePlace
  readonly engine: string
  readonly backups: readonly BaseBackup[]
  readonly target: RecoveryTarget
  /** Everything committed by then is known to be archived; milliseconds since the epoch, null: not known. */
  readonly completeUntil: number | null
}

export interface RestoreOrder {
  readonly archive: ArchivePlace
  readonly engine: string
  readonly snapshot: number
  readonly base: BaseBackup
  /** An empty folder; who owns it owns what is made in it. */
  readonly folder: string
}

export interface RestoreOptions {
  progress(bytes: number, total: number): void
  readonly signal: AbortSignal
}

export interface RestoredFiles {
  readonly files: number
  readonly bytes: number
}

export interface FollowOptions {
  /** A few times a second at most. */
  status(status: LogStatus): void
  readonly signal: AbortSignal
}

/** What the lives of instances need of their backups; the backup service gives it. */
import type {ApiInstance} from '../../core/api/schemas.js'
import type {InstanceRecord} from '../../core/instance/instance.js'
import type {Principal} from '../../core/access/principal.js'
import type {BaseBackup, LogArchive, RecoveryPlan} from '../../engines/backup.js'
import type {KeptSnapshot} from '../archiver/archiver.js'
import type {Tx} from '../store/store.js'

/** Which backups outlive their instance. */
export type KeptBackups = 'all' | 'final' | 'none'

/** A restore that was decided on: JSON, it is the input of its operation. */
export interface RestoreChoice {
  /** The instance, which may be deleted. */
  readonly instanceName: string
  readonly engine: string
  readonly repository: string
  readonly incarnation: string
  readonly backupId: string
  readonly snapshot: number
  readonly base: BaseBackup
  readonly plan: RecoveryPlan
}

/** What restores need of the backups. */
export interface Recoveries {
  /** Throws BACKUP_NOT_FOUND (there is nothing of that name), INVALID_REQUEST, TARGET_UNREACHABLE with the window. */
  choose(principal: Principal, instance: InstanceRecord | undefined, name: string, to: string, signal?: AbortSignal): Promise<RestoreChoice>
  /** Objects that it needs and that are not there. */
  missing(choice: RestoreChoice): Promise<readonly string[]>
  /** Into an empty folder of this machine. */
  files(choice: RestoreChoice, folder: string, progress: (bytes: number, total: number) => void, signal: AbortSignal): Promise<{readonly files: number; readonly bytes: number}>
  archive(choice: RestoreChoice): LogArchive
  /** In the transaction in which an instance goes over to other data: from `instance.incarnation` to `incarnation`. */
  switched(tx: Tx, instance: InstanceRecord, incarnation: string): Promise<void>
}

/** What repositories hold of an instance whose store was lost. */
export interface Recognised {
  /** Of the history that is written to. */
  readonly present: RecognisedHistory | null
  /** Those that were gone back from. */
  readonly former: readonly RecognisedHistory[]
  /** It is there, and cannot be read: most often, the master key of this site is not the one that it was written with. */
  readonly sealed: {readonly repository: string; readonly because: string} | null
}

export interface RecognisedHistory {
  readonly incarnation: string
  readonly repository: string
  /** Oldest first. */
  readonly snapshots: readonly KeptSnapshot[]
}

export interface InstanceProtection {
  readonly recoveries: Recoveries
  /** Throws REPOSITORY_NOT_FOUND, INVALID_REQUEST when backups cannot be kept in the repository of that name. */
  checkRepository(name: string): Promise<void>
  /** In the transaction that makes the instance. `repository`: a name that was checked; undefined: the default. */
  enrol(tx: Tx, instance: InstanceRecord, options: {enabled: boolean; repository?: string | undefined}): Promise<void>
  /** Of an instance that a lost site made. Reads only; repositories that do not answer hold nothing up. */
  recognise(instance: InstanceRecord, progress: (because: string) => void): Promise<Recognised>
  /** In a transaction: protects it with what was recognised. It has a new incarnation where the key of the present one is not here: what was stays, for when its key is put back. */
  enter(tx: Tx, instance: InstanceRecord, recognised: Recognised): Promise<void>
  /** In a transaction: `enter`, undone. Its backups are kept, as those of one that is deleted. */
  leave(tx: Tx, instanceId: string): Promise<void>
  /** `broken`: why the instance is degraded, or null. */
  of(instance: InstanceRecord): Promise<{readonly backup: ApiInstance['backup']; readonly broken: string | null}>
  /** Its server is there, or is there again. */
  started(instanceId: string): void
  /** Its server has shut down in order: resolves when the last of its log is archived, or cannot be for now. */
  drained(instanceId: string): Promise<void>
  /** Takes a last backup, once for each `key`; resolves with its id. Throws what it failed with. */
  finalBackup(instance: InstanceRecord, key: string, progress: (because: string) => void, signal: AbortSignal): Promise<string>
  /** Ends the backups of the instance that are being taken or wait to be. */
  quiet(instanceId: string): Promise<void>
  /** In the transaction of a delete's point of no return. */
  seal(tx: Tx, instanceId: string, kept: KeptBackups): Promise<void>
  /** Removes what was sealed from the repositories, keys first. */
  erase(instanceId: string): Promise<void>
  /** In the transaction in which the rows of the instance go. */
  forget(tx: Tx, instanceId: string): Promise<void>
}

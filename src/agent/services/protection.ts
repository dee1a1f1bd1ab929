/** What the lives of instances need of their backups; the backup service gives it. */
import type {ApiInstance} from '../../core/api/schemas.js'
import type {InstanceRecord} from '../../core/instance/instance.js'
import type {Tx} from '../store/store.js'

/** Which backups outlive their instance. */
export type KeptBackups = 'all' | 'final' | 'none'

export interface InstanceProtection {
  /** Throws REPOSITORY_NOT_FOUND, INVALID_REQUEST when backups cannot be kept in the repository of that name. */
  checkRepository(name: string): Promise<void>
  /** In the transaction that makes the instance. `repository`: a name that was checked; undefined: the default. */
  enrol(tx: Tx, instance: InstanceRecord, options: {enabled: boolean; repository?: string | undefined}): Promise<void>
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

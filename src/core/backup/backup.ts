/** What the store keeps of backups. Times in milliseconds since the epoch. */
import type {Json} from '../json.js'

/** `deleting` counts no more: its objects are being removed. One that failed leaves no record but its operation. */
export const backupStatuses = ['running', 'completed', 'damaged', 'deleting'] as const
export type BackupStatus = (typeof backupStatuses)[number]

export type BackupType = 'full' | 'incremental'

/** Why it was taken. */
export type BackupTrigger = 'first' | 'schedule' | 'request' | 'final' | 'gap'

export interface BackupRecord {
  readonly id: string
  readonly tenantId: string
  readonly instanceId: string
  /** The name when it was taken: backups that are kept outlive the instance. */
  readonly instanceName: string
  readonly engine: string
  readonly incarnation: string
  /** Name of the repository. */
  readonly repository: string
  /** The line of the log that it lies on, and can be recovered along; null until that is proven. */
  readonly line: number | null
  readonly trigger: BackupTrigger
  /** Null until it is known. `incremental`: the server sent changes alone. Each is complete by itself. */
  readonly type: BackupType | null
  readonly status: BackupStatus
  /** Why it is of this type, or in this status. */
  readonly because: string | null
  readonly label: string | null
  /** Of a labelled one: how long it is kept, null for ever. */
  readonly keepMs: number | null
  /** Number of its snapshot in the repository. */
  readonly snapshot: number | null
  /** Of its files as they are when restored; and what was written for it. */
  readonly sizeBytes: number | null
  readonly storedBytes: number | null
  readonly encrypted: boolean
  /** `sha256:HEX` of the list of its files, which has the hash of every page. */
  readonly checksum: string | null
  /** The log is needed from `start` to `end` at least, on that timeline. The engine's words. */
  readonly timeline: string | null
  readonly startPosition: string | null
  readonly endPosition: string | null
  /** The same as segments of the log. */
  readonly startSegment: string | null
  readonly endSegment: string | null
  /** The earliest moment it can be recovered to. */
  readonly consistentAt: number | null
  /** What the engine wants to know again: a `BaseBackup`. */
  readonly base: Json
  readonly verifiedAt: number | null
  readonly createdAt: number
  readonly completedAt: number | null
  readonly expiresAt: number | null
}

/** One history of an instance's data. */
export interface HistoryRecord {
  /** The incarnation. */
  readonly id: string
  readonly tenantId: string
  readonly instanceId: string
  readonly instanceName: string
  readonly engine: string
  readonly repository: string
  /** Which data it is, in the engine's words; null until its log was first followed. */
  readonly system: string | null
  readonly beganAt: number
  /** Null while it is the one that is written to. */
  readonly endedAt: number | null
  /** The instance is deleted, its backups are kept on purpose: they are deleted by hand alone. */
  readonly kept: boolean
  /** Its data key is destroyed; what is left of it is being removed. */
  readonly shredded: boolean
}

/** It lies in a repository, and no key here has opened it: nothing is known of what is in it. `backups`: its own at least. */
export const isSealed = (history: HistoryRecord, backups: readonly BackupRecord[]): boolean =>
  history.kept && history.endedAt !== null && !backups.some(({incarnation}) => incarnation === history.id)

export const logStates = ['waiting', 'following', 'ended', 'broken', 'gap', 'released'] as const
export type LogState = (typeof logStates)[number]

/** How far the log of an incarnation is kept. */
export interface LogRecord {
  /** The incarnation. */
  readonly id: string
  readonly tenantId: string
  readonly instanceId: string
  /** `ended`: the server shut down, and all it wrote is there. `gap`: what came next is lost; a new base backup heals it. `released`: backups are off. */
  readonly state: LogState
  readonly because: string | null
  /** Since when it is in that state. */
  readonly since: number
  readonly timeline: string | null
  readonly position: string | null
  /** Everything committed by then is kept. */
  readonly durableAt: number | null
  readonly lagBytes: number | null
  readonly lagSeconds: number | null
  /** Which line of the archive it writes: one more each time that it begins anew with bytes missing before it. */
  readonly line: number
  readonly updatedAt: number
  /** Not stored: why the server may soon drop what was not read yet; absent or null: it will not. */
  readonly risk?: string | null
}

/** What was promised for an instance. */
export interface PolicyRecord {
  readonly instanceId: string
  readonly tenantId: string
  readonly enabled: boolean
  /** Why not. */
  readonly because: string | null
  readonly repository: string
  readonly cron: string
  readonly backupType: BackupType
  /** A scheduled backup begins up to so much later, always as much for one instance. */
  readonly jitterMs: number
  /** See `RetentionPolicy`. */
  readonly windowMs: number | null
  readonly keepLast: number | null
  /** Since when it is enabled. */
  readonly enabledAt: number
  /** The last time of the schedule that was answered by a backup. */
  readonly servedAt: number
  readonly updatedAt: number
}

export const repositoryStatuses = ['unknown', 'ok', 'unavailable'] as const

export interface RepositoryRecord {
  readonly name: string
  readonly tenantId: string
  readonly kind: string
  /** Where it is: a path, a URL without credentials. */
  readonly location: string
  /** As its kind names them, but those that are secret: they are sealed. */
  readonly settings: Readonly<Record<string, string | boolean>>
  /** What it says of itself; null: it has never been opened. From then on nothing else is taken for it. */
  readonly repositoryId: string | null
  /** Name of the repository that it is kept a copy of: then it is written by copying alone. */
  readonly copyOf: string | null
  /** All that the original had then is in it. */
  readonly copiedAt: number | null
  /** Why the last copying failed, and since when they fail. */
  readonly copyBecause: string | null
  readonly copyFailedAt: number | null
  readonly status: (typeof repositoryStatuses)[number]
  readonly because: string | null
  readonly checkedAt: number | null
  readonly createdAt: number
}

/** A restore that was tried, with the time it took. */
export interface RestoreTestRecord {
  readonly id: string
  readonly tenantId: string
  readonly instanceId: string
  readonly backupId: string
  readonly at: number
  readonly ok: boolean
  readonly rtoSeconds: number | null
  readonly recoveredTo: number | null
  /** The receipt. */
  readonly result: Json
}

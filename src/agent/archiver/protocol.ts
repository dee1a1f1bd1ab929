/** What passes between the agent and its archiver thread. */
import type {ErrorDetail} from '../../core/errors.js'
import type {Archiver, BackupOrder, KeySource, LogOrder, RestoreOrder} from './archiver.js'

type Plain = Omit<Archiver, 'take' | 'follow' | 'verify' | 'restore' | 'endPrograms' | 'close'>
/** Each method with the arguments that can be sent; those with more to them have a form of their own. */
export type Calls = {[Name in keyof Plain]: Parameters<Plain[Name]>} & {
  verify: [archive: Parameters<Archiver['verify']>[0], snapshot: number]
  take: [order: BackupOrder, bytesPerSecond: number | null]
  follow: [order: LogOrder]
  restore: [order: RestoreOrder]
}
export type CallName = keyof Calls
export type Answer<Name extends CallName> = Awaited<ReturnType<Archiver[Name]>>

export type ToThread =
  | {readonly kind: 'call'; readonly id: number; readonly name: CallName; readonly args: readonly unknown[]}
  /** The call shall end; `because` is the message of the signal's reason. */
  | {readonly kind: 'stop'; readonly id: number; readonly because: string}
  | {readonly kind: 'limit'; readonly id: number; readonly bytesPerSecond: number | null}
  | {readonly kind: 'end-programs'}

export type FromThread =
  | {readonly kind: 'answer'; readonly id: number; readonly answer: unknown}
  | {readonly kind: 'failed'; readonly id: number; readonly error: ErrorDetail}
  | {readonly kind: 'event'; readonly id: number; readonly event: unknown}

export interface ThreadData {
  readonly key: KeySource
  /** Who writes: the id of the site. */
  readonly owner: string
  /** Folder in which indexes of packs are kept. */
  readonly cache: string
  readonly threads: number
  readonly environment: Readonly<Record<string, string | undefined>>
}

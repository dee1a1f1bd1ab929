/** What the thread that receives a base backup and its owner tell each other. */
import type {ErrorDetail} from '../../../core/errors.js'
import type {BackupServer, BaseBackup, BaseBackupMethod} from '../../backup.js'

/** Portions of files travel in rooms of so many bytes, which are sent back and used again. */
export const roomBytes = 256 * 1024
/** Rooms on their way; then the server is held back. */
export const rooms = 16

export interface ReceiveOrder {
  readonly server: BackupServer
  readonly label: string
  readonly pace: 'now' | 'gently'
  readonly bytesPerSecond: number | null
  readonly previous: {readonly system: string; readonly end: string; readonly manifest: Uint8Array} | null
}

export type ReceiverEvent =
  | {readonly kind: 'method'; readonly method: BaseBackupMethod}
  | {readonly kind: 'progress'; readonly received: number; readonly total: number}
  | {readonly kind: 'file'; readonly path: string; readonly mode: number; readonly size: number}
  /** `blocks` come; `zeros` are to be made. Both ascending. */
  | {readonly kind: 'changes'; readonly path: string; readonly mode: number; readonly length: number; readonly blocks: Uint32Array; readonly zeros: readonly number[]}
  | {readonly kind: 'bytes'; readonly room: ArrayBuffer; readonly length: number}
  | {readonly kind: 'end'}
  | {readonly kind: 'done'; readonly backup: BaseBackup}
  | {readonly kind: 'failed'; readonly error: ErrorDetail}

export type ToReceiver =
  | {readonly kind: 'room'; readonly room: ArrayBuffer}
  | {readonly kind: 'limit'; readonly bytesPerSecond: number | null}
  | {readonly kind: 'stop'}

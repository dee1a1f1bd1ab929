/** A base backup into a snapshot. */
import type {BackupServer, BaseBackup, EngineBackup} from '../../engines/backup.js'
import type {Snapshot} from '../repositories/vault/context.js'
import type {Vault} from '../repositories/vault/index.js'
import type {BackupAbout, BackupOrder, KeptSnapshot, KnownBackups, TakenBackup} from './archiver.js'

interface Meta {
  readonly about: BackupAbout
  readonly base: BaseBackup
}

export interface TakeProgress {
  readonly progress: (received: number, total: number) => void
  readonly limit: () => number | null
  readonly signal: AbortSignal
}

export async function take(vault: Vault, engine: EngineBackup, order: BackupOrder, {progress, limit, signal}: TakeProgress): Promise<TakenBackup> {
  const previous = order.previous && (await isThere(vault, order.previous.snapshot)) ? order.previous : null
  const writer = await vault.begin(previous?.snapshot ?? null)
  try {
    const tree = previous && order.changesOnly ? await vault.tree(previous.snapshot) : undefined
    const server: BackupServer = order.server
    const base = await engine.base.take(server, {
      label: labelOf(order.about), pace: order.pace, limit: {bytesPerSecond: limit},
      previous: previous && tree ? {backup: previous.base, read: (path) => vault.read(tree, path)} : null,
    }, {progress, begin: () => undefined, write: (file) => writer.write(file)}, signal)
    signal.throwIfAborted()
    return takenOf(engine, await writer.commit({about: order.about, base} satisfies Meta as unknown as Record<string, unknown>))
  } catch (error) {
    await writer.abort(String((error as Error).message)).catch(() => undefined)
    throw error
  }
}

/** ASCII, at most 60 characters: it is shown in the server's log. */
const labelOf = ({backupId}: BackupAbout): string => `dbaas ${backupId}`

const isThere = async (vault: Vault, n: number): Promise<boolean> => vault.snapshot(n).then(() => true, (error: {code?: string}) => {
  if (error.code === 'BACKUP_NOT_FOUND') return false
  throw error
})

function takenOf(engine: EngineBackup, snapshot: Snapshot): TakenBackup {
  const {base} = snapshot.meta as unknown as Meta
  const {timeline, start, end} = base
  const at = (position: string) => ({timeline, segment: engine.log.segmentOf({timeline, position})})
  return {snapshot: snapshot.number, base, storedBytes: snapshot.storedBytes, sha256: snapshot.tree.sha256, first: at(start), last: at(end)}
}

/** Snapshots of backups, whoever took them, oldest first. */
export async function list(vault: Vault, engineOf: (name: string) => EngineBackup): Promise<KeptSnapshot[]> {
  return (await vault.snapshots()).map((snapshot) => {
    const {about} = snapshot.meta as unknown as Meta
    return {...takenOf(engineOf(about.engine), snapshot), about, startedAt: snapshot.startedAt, committedAt: snapshot.committedAt}
  })
}

/** The snapshot of a backup that was committed before the one who ordered it died. */
export async function find(vault: Vault, engineOf: (name: string) => EngineBackup, backupId: string): Promise<TakenBackup | undefined> {
  for (const snapshot of (await vault.snapshots()).reverse()) {
    const {about} = snapshot.meta as unknown as Meta
    if (about.backupId === backupId) return takenOf(engineOf(about.engine), snapshot)
  }
  return undefined
}

/** Snapshots that nobody knows of any more: their backup was given up while the repository did not answer. */
export async function removeUnknown(vault: Vault, {backups, at}: KnownBackups): Promise<void> {
  for (const snapshot of await vault.snapshots()) {
    const {about} = snapshot.meta as unknown as Meta
    if (snapshot.committedAt < at && !backups.includes(about.backupId)) await vault.delete(snapshot.number)
  }
}

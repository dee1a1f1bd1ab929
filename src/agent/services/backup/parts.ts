/** What the parts of the backup service share. */
import {setTimeout as pause} from 'node:timers/promises'
import type {LogRange} from '../../../core/backup/retention.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {DbaasError} from '../../../core/errors.js'
import type {BackupServer, EngineBackup} from '../../../engines/backup.js'
import type {AdminCredentials, Engine} from '../../../engines/engine.js'
import type {Host} from '../../../engines/host.js'
import type {ArchivePlace, Archiver} from '../../archiver/archiver.js'
import type {ServiceContext} from '../context.js'

export const createBackupKind = 'backup.create'
export const verifyBackupKind = 'backup.verify'
export const deleteBackupKind = 'backup.delete'
export const drillKind = 'drill.restore'
export const rotateKeysKind = 'keys.rotate'

/** An instance with the way to its server. */
export interface BackupSubject {
  readonly instance: InstanceRecord
  readonly engine: Engine
  readonly host: Host
}

export interface BackupParts {
  readonly context: ServiceContext
  readonly archiver: Archiver
  readonly repositories: Repositories
  /** Throws INSTANCE_NOT_FOUND. */
  load(instanceId: string): Promise<BackupSubject>
  /** The agent's own way into every server. */
  admin(): Promise<AdminCredentials>
  /** Makes the role that reads: for all who ask at the same time, once. */
  prepare(subject: BackupSubject): Promise<void>
}

export interface Repositories {
  /** Makes the default one, if it is not there. Throws REPOSITORY_NOT_FOUND. */
  place(name: string, incarnation: string): Promise<ArchivePlace>
  /** Runs what works in the repository, and notes whether it answered. */
  through<T>(name: string, work: () => Promise<T>): Promise<T>
}

/** Throws NOT_SUPPORTED. */
export function backupOf(engine: Engine): EngineBackup {
  if (engine.backup) return engine.backup
  throw new DbaasError('NOT_SUPPORTED', `${engine.title} cannot be backed up yet`, {
    details: {engine: engine.name}, suggestions: ['dump it with its own tools for the time being'],
  })
}

/** Two at once would change the same row of the server's catalogue, and one of them would fail; so would one whose agent was killed just now. */
export function createPreparing(admin: () => Promise<AdminCredentials>): BackupParts['prepare'] {
  const running = new Map<string, Promise<void>>()
  return ({instance, engine, host}) => {
    const known = running.get(instance.id)
    if (known) return known
    const once = async (): Promise<void> => backupOf(engine).prepare(host, await admin())
    const begun = once().catch(async (error: unknown) => {
      if (error instanceof DbaasError && error.code !== 'INTERNAL' && error.code !== 'SQL_ERROR') throw error
      await pause(200)
      return once()
    }).finally(() => running.delete(instance.id))
    running.set(instance.id, begun)
    return begun
  }
}

export async function serverOf({context}: Pick<BackupParts, 'context'>, {instance, engine, host}: BackupSubject): Promise<BackupServer> {
  const credentials = await context.certificates.admin(backupOf(engine).username)
  return {address: host.address(), credentials, version: instance.version}
}

/** Of the log, everything stays. */
export const wholeLog: readonly LogRange[] = [{from: {timeline: '', segment: ''}, to: null}]

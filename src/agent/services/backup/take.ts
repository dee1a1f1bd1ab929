/** The begin of a backup: its record and its operation, in one transaction. */
import {setTimeout as pause} from 'node:timers/promises'
import type {Principal} from '../../../core/access/principal.js'
import type {BackupRecord, BackupTrigger, BackupType} from '../../../core/backup/backup.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {hasEnded, type OperationRecord} from '../../../core/workflow/operation.js'
import type {TakenBackup} from '../../archiver/archiver.js'
import type {Tx} from '../../store/store.js'
import type {ServiceContext} from '../context.js'
import type {Idempotency} from '../contract.js'
import {repeated, submit} from '../submit.js'
import type {CreateBackupInput} from './create.workflow.js'
import {createBackupKind} from './parts.js'

/** What a snapshot says of the backup that it is. */
export const factsOf = ({snapshot, base, storedBytes, sha256, first, last}: TakenBackup) => ({
  snapshot, type: base.method.kind === 'changes' ? 'incremental' : 'full', because: base.method.because, sizeBytes: base.bytes, storedBytes,
  checksum: `sha256:${sha256}`, timeline: base.timeline, startPosition: base.start, endPosition: base.end, startSegment: first.segment, endSegment: last.segment,
  consistentAt: base.consistentAt, base: base as never,
} as const satisfies Partial<BackupRecord>)

export interface BackupRequest {
  readonly trigger: BackupTrigger
  readonly type: BackupType
  readonly label: string | null
  readonly keepMs: number | null
  readonly serves: number | null
}

export async function submitBackup(
  context: ServiceContext, tx: Tx, principal: Principal, instance: InstanceRecord, request: BackupRequest, deadlineSeconds: number, idempotency?: Idempotency,
): Promise<{operation: OperationRecord; backup: BackupRecord}> {
  const history = await tx.histories.get(instance.incarnation)
  if (!history) throw new DbaasError('INVALID_STATE', `${instance.name} is not protected yet`, {suggestions: [`dbaas status ${instance.name}`]})
  const backup: BackupRecord = {
    id: context.newId('backup'), tenantId: instance.tenantId, instanceId: instance.id, instanceName: instance.name, engine: instance.engine,
    incarnation: instance.incarnation, repository: history.repository, line: null, trigger: request.trigger, type: request.type === 'full' ? 'full' : null,
    status: 'running', because: null, label: request.label, keepMs: request.keepMs, snapshot: null, sizeBytes: null, storedBytes: null, encrypted: true,
    checksum: null, timeline: null, startPosition: null, endPosition: null, startSegment: null, endSegment: null, consistentAt: null, base: null,
    verifiedAt: null, createdAt: context.clock.now(), completedAt: null, expiresAt: null,
  }
  await tx.backups.insert(backup)
  const input: CreateBackupInput = {instanceId: instance.id, backupId: backup.id, serves: request.serves}
  const operation = await submit(context, tx, principal, {
    kind: createBackupKind, instanceId: instance.id, lane: 'backup', resource: `instance/${instance.name}`, input: {...input}, start: 'prepare-role', deadlineSeconds,
  }, idempotency)
  return {operation, backup}
}

/** How often it is looked whether it has ended. */
const everyMs = 200

/** The last backup of an instance that is being deleted: one for each `key`, whoever asks again. Throws what it failed with. */
export async function takeFinal(
  context: ServiceContext, instance: InstanceRecord, key: string, deadlineSeconds: number, progress: (because: string) => void, signal: AbortSignal,
): Promise<string> {
  const principal: Principal = {...context.principalOfAgent(), tenantId: instance.tenantId}
  const idempotency: Idempotency = {key: `final:${key}`, fingerprint: 'final'}
  const started = (await repeated(context, principal, idempotency)) ?? (await context.store.transact('platform', (tx) =>
    submitBackup(context, tx, principal, instance, {trigger: 'final', type: 'incremental', label: null, keepMs: null, serves: null}, deadlineSeconds, idempotency))).operation
  context.poke()
  for (;;) {
    const operation = await context.store.read('platform', (tx) => tx.operations.get(started.id))
    if (!operation) throw new DbaasError('OPERATION_NOT_FOUND', `the operation ${started.id} is gone`)
    if (operation.status === 'succeeded') return (operation.input as unknown as CreateBackupInput).backupId
    if (hasEnded(operation.status)) {
      throw operation.error ? DbaasError.fromDetail(operation.error) : new DbaasError('OPERATION_FAILED', 'the last backup was cancelled')
    }
    progress(`the last backup: ${operation.steps.at(-1)?.name ?? 'waiting for its turn'}`)
    signal.throwIfAborted()
    await pause(everyMs)
  }
}

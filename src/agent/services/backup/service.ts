/** The door of backups: one method for each endpoint; all work is in the workflows and loops. */
import {authorize, type Principal} from '../../../core/access/principal.js'
import type {ApiInstance, BodyOf, QueryOf} from '../../../core/api/schemas.js'
import type {BackupRecord, PolicyRecord} from '../../../core/backup/backup.js'
import {parseCron} from '../../../core/backup/cron.js'
import {whyNotAPoint} from '../../../core/backup/target.js'
import {DbaasError} from '../../../core/errors.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import {nearest} from '../../../core/nearest.js'
import {isoTime} from '../../../core/time.js'
import type {OperationRecord} from '../../../core/workflow/operation.js'
import type {LogPlace} from '../../../engines/backup.js'
import type {AdminCredentials} from '../../../engines/engine.js'
import type {Host} from '../../../engines/host.js'
import type {Workflow} from '../../../core/workflow/workflow.js'
import type {ReadTx, Tx} from '../../store/store.js'
import type {BackupsApi, Idempotency, Planned, StartedBackup, StartedBare} from '../contract.js'
import {operationView, planView} from '../operation-view.js'
import {repeated, submit} from '../submit.js'
import type {CreateBackupInput} from './create.workflow.js'
import {submitDrill} from './drill.loop.js'
import type {KeyRing} from './keys.js'
import type {Followers} from './log.loop.js'
import {backupOf, createBackupKind, deleteBackupKind, drillKind, rotateKeysKind, verifyBackupKind} from './parts.js'
import {createRepositoryService, type RepositoryServiceOptions} from './repository-service.js'
import {submitBackup} from './take.js'
import {importSteps, type RotateInput} from './upkeep.workflows.js'
import {backupView, scheduleView} from './views.js'

export interface BackupServiceOptions extends RepositoryServiceOptions {
  readonly followers: Pick<Followers, 'poke' | 'end'>
  readonly keys: KeyRing
  /** Throws INSTANCE_NOT_FOUND, with the nearest name. */
  readonly find: (principal: Principal, ref: string) => Promise<InstanceRecord>
  readonly view: (instance: InstanceRecord) => Promise<ApiInstance>
  readonly mark: (instance: InstanceRecord, work: (host: Host, admin: AdminCredentials) => Promise<LogPlace>) => Promise<LogPlace>
  /** Steps of a kind, for its plan. */
  readonly workflow: (kind: string) => Pick<Workflow<never, Tx>, 'order' | 'deadlineSeconds'>
}

export function createBackupService(options: BackupServiceOptions): BackupsApi {
  const {context, keys} = options
  const {store, clock} = context
  const scopeOf = (principal: Principal) => ({tenant: principal.tenantId})

  const view = async (backup: BackupRecord) => {
    const history = await store.read('platform', (tx) => tx.histories.get(backup.incarnation))
    return backupView(backup, history?.kept ?? false)
  }

  /** By id; by label, where one backup alone has it. Throws BACKUP_NOT_FOUND with the nearest label. */
  async function findBackup(principal: Principal, ref: string): Promise<BackupRecord> {
    const all = await store.read(scopeOf(principal), (tx) => tx.backups.list())
    const labelled = all.filter((b) => b.label === ref)
    const found = all.find((b) => b.id === ref) ?? (labelled.length === 1 ? labelled[0] : undefined)
    if (found) return found
    if (labelled.length > 1) {
      throw new DbaasError('INVALID_REQUEST', `${labelled.length} backups have the label "${ref}"`, {details: {label: ref}, suggestions: labelled.map((b) => b.id)})
    }
    const near = nearest(ref, all.flatMap((b) => (b.label === null ? [] : [b.label])))
    throw new DbaasError('BACKUP_NOT_FOUND', `there is no backup "${ref}"`, {
      details: {backup: ref}, suggestions: [...(near ? [`did you mean ${near}?`] : []), 'dbaas backups list'],
    })
  }

  function refuseUnready(instance: InstanceRecord): void {
    backupOf(context.engines.get(instance.engine))
    if (instance.wanted === 'running' && !['deleting', 'provisioning', 'failed'].includes(instance.status)) return
    throw new DbaasError('INVALID_STATE', `${instance.name} is ${instance.status}, so it cannot be backed up`, {
      details: {instance: instance.name, status: instance.status}, suggestions: [`dbaas ${instance.wanted === 'stopped' ? 'start' : 'status'} ${instance.name}`],
    })
  }

  async function policyOf(instance: InstanceRecord): Promise<PolicyRecord> {
    const policy = await store.read('platform', (tx) => tx.policies.get(instance.id))
    if (policy) return policy
    throw new DbaasError('INVALID_STATE', `backups of ${instance.name} have not begun`, {suggestions: [`dbaas status ${instance.name}`]})
  }

  /** What was taken stays where it is, so an instance whose backups lie in one repository does not go to another: its window would be cut in silence. */
  async function refuseMove(tx: ReadTx, instance: InstanceRecord, from: string): Promise<void> {
    const {length} = (await tx.backups.list({incarnation: instance.incarnation})).filter((b) => b.repository === from)
    if (length === 0) return
    throw new DbaasError('INVALID_STATE', `there ${length === 1 ? 'is 1 backup' : `are ${length} backups`} in ${from} of ${instance.name}, which would not come along`, {
      details: {instance: instance.name, repository: from},
      suggestions: [`dbaas repositories add NAME LOCATION --copy-of ${from} keeps all of them in a second place, too`, `dbaas backups schedule ${instance.name} --off, delete its backups, then choose another`],
    })
  }

  /** Log without a backup is of no use: nothing stays behind. A stream that still goes there ends, and begins anew where it belongs. */
  async function leave(instance: InstanceRecord, from: string): Promise<void> {
    await options.followers.end(instance.id)
    const archive = await options.repositories.place(from, instance.incarnation)
    await options.repositories.through(from, async () => {
      if (!(await options.archiver.incarnations(archive.repository)).includes(instance.incarnation)) return
      await options.archiver.shred(archive)
      await options.archiver.erase(archive)
    }).catch((error: unknown) => context.log('log without a backup could not be removed', {instance: instance.id, repository: from, error: String(error)}))
  }

  async function refuseRotation(tx: ReadTx): Promise<void> {
    const open = (await tx.operations.open()).find((o) => o.kind === rotateKeysKind)
    if (open) throw new DbaasError('INVALID_STATE', 'the master key is being changed', {details: {operation_id: open.id}, suggestions: [`dbaas operations wait ${open.id}`]})
  }

  async function changeKey(principal: Principal, input: RotateInput, idempotency: Idempotency | undefined): Promise<StartedBare> {
    const flow = options.workflow(rotateKeysKind)
    const operation = await store.transact(scopeOf(principal), async (tx) => {
      await refuseRotation(tx)
      return submit(context, tx, principal, {
        kind: rotateKeysKind, instanceId: null, resource: 'keys', input: {...input}, start: flow.order[0] as string, deadlineSeconds: flow.deadlineSeconds,
      }, idempotency)
    })
    context.poke()
    return {operation: operationView(operation)}
  }

  const again = async (principal: Principal, operation: OperationRecord): Promise<StartedBackup> => ({
    operation: operationView(operation), backup: await view(await findBackup(principal, (operation.input as unknown as CreateBackupInput).backupId)),
  })

  /** Something is done to a backup that is there. */
  async function onBackup(
    principal: Principal, ref: string, action: string, kind: string, {plan}: {plan?: boolean}, idempotency: Idempotency | undefined, reversible: boolean,
  ): Promise<StartedBackup | Planned> {
    authorize(principal, action, `backup/${ref}`)
    const before = await repeated(context, principal, idempotency)
    if (before && kind !== deleteBackupKind) return again(principal, before)
    const backup = await findBackup(principal, ref)
    if (before) return {operation: operationView(before), backup: await view(backup)}
    if (backup.status === 'running' || backup.status === 'deleting') {
      throw new DbaasError('INVALID_STATE', `the backup ${backup.id} is ${backup.status === 'running' ? 'being taken' : 'being deleted'}`, {
        details: {backup: backup.id, status: backup.status}, suggestions: [`dbaas operations list --instance ${backup.instanceName}`],
      })
    }
    if (kind === verifyBackupKind && backup.snapshot === null) {
      throw new DbaasError('INVALID_STATE', `the backup ${backup.id} is not there: ${backup.because ?? 'nothing of it is kept'}`, {
        details: {backup: backup.id, status: backup.status}, suggestions: [`dbaas backup ${backup.instanceName}`, `dbaas backups delete ${backup.id}`],
      })
    }
    const flow = options.workflow(kind)
    if (plan) return {plan: planView({steps: flow.order, reversible})}
    const operation = await store.transact(scopeOf(principal), (tx) => submit(context, tx, principal, {
      kind, instanceId: backup.instanceId, lane: 'backup', resource: `backup/${backup.id}`, input: {backupId: backup.id}, start: flow.order[0] as string,
      deadlineSeconds: flow.deadlineSeconds,
    }, idempotency))
    context.poke()
    return {operation: operationView(operation), backup: await view(backup)}
  }

  /** Reads all that a verification reads, and more: the restore writes nothing that it has not verified. */
  async function restoreTest(principal: Principal, ref: string, plan: boolean, idempotency: Idempotency | undefined): Promise<StartedBackup | Planned> {
    authorize(principal, 'verify', `backup/${ref}`)
    const before = await repeated(context, principal, idempotency)
    if (before) return again(principal, before)
    const backup = await findBackup(principal, ref)
    const instance = await store.read(scopeOf(principal), (tx) => tx.instances.find(backup.instanceId))
    if (!instance || backup.status !== 'completed') {
      throw new DbaasError('INVALID_STATE', instance ? `the backup ${backup.id} is ${backup.status}: there is nothing to restore` : `${backup.instanceName}, of which the backup ${backup.id} is, is deleted`, {
        details: {backup: backup.id}, suggestions: [instance ? `dbaas backups list ${backup.instanceName}` : `dbaas restore ${backup.instanceName} --to ${backup.id} --into NEW`],
      })
    }
    const flow = options.workflow(drillKind)
    if (plan) return {plan: planView({steps: flow.order, impact: 'none', expected_downtime_ms: 0, reversible: true})}
    const operation = await store.transact(scopeOf(principal), (tx) => submitDrill(context, tx, principal, instance, flow.deadlineSeconds, idempotency, backup.id))
    context.poke()
    return {operation: operationView(operation), backup: await view(backup)}
  }

  async function audit(tx: Tx, principal: Principal, action: string, resource: string, details: Readonly<Record<string, string>>): Promise<void> {
    await tx.audit({
      id: context.newId('audit'), at: clock.now(), tenantId: principal.tenantId, actor: principal.id, source: principal.source, action, resource,
      result: 'succeeded', requestId: principal.requestId, details,
    })
  }

  return {
    async list(principal, query: QueryOf<'backups.list'>) {
      authorize(principal, 'list', 'backup')
      const ref = query?.instance
      const all = await store.read(scopeOf(principal), (tx) => tx.backups.list())
      // backups that are kept answer to the name of what they are of
      const own = ref === undefined ? all : all.filter((b) => b.instanceId === ref || b.instanceName === ref)
      if (ref !== undefined && own.length === 0) await options.find(principal, ref)
      return Promise.all([...own].reverse().map(view))
    },
    async get(principal, ref) {
      authorize(principal, 'read', `backup/${ref}`)
      return view(await findBackup(principal, ref))
    },
    async create(principal, ref, body: BodyOf<'backups.create'>, idempotency) {
      authorize(principal, 'backup', `instance/${ref}`)
      const before = await repeated(context, principal, idempotency)
      if (before) return again(principal, before)
      const instance = await options.find(principal, ref)
      refuseUnready(instance)
      const policy = await policyOf(instance)
      if (!policy.enabled) {
        throw new DbaasError('INVALID_STATE', `${instance.name} is not protected: ${policy.because ?? 'backups are off'}`, {
          details: {instance: instance.name}, suggestions: [`dbaas backups schedule ${instance.name} --on`],
        })
      }
      if (body.keep_seconds !== undefined && body.label === undefined) {
        throw new DbaasError('INVALID_REQUEST', 'only a backup with a label has a time of its own; the others follow the schedule', {
          suggestions: [`dbaas backup ${instance.name} --label NAME --keep 30d`, `dbaas backups schedule ${instance.name} --keep 7d`],
        })
      }
      const flow = options.workflow(createBackupKind)
      if (body.plan) return {plan: planView({steps: flow.order, impact: 'none', expected_downtime_ms: 0, reversible: true})}
      const started = await store.transact(scopeOf(principal), (tx) => submitBackup(context, tx, principal, instance, {
        trigger: 'request', type: body.type ?? policy.backupType, label: body.label ?? null,
        keepMs: body.keep_seconds === undefined ? null : body.keep_seconds * 1000, serves: null,
      }, flow.deadlineSeconds, idempotency))
      context.poke()
      return {operation: operationView(started.operation), backup: backupView(started.backup, false)}
    },
    verify: (principal, ref, body, idempotency) =>
      body.restore_test ? restoreTest(principal, ref, body.plan ?? false, idempotency) : onBackup(principal, ref, 'verify', verifyBackupKind, body, idempotency, true),
    delete: (principal, ref, plan, idempotency) => onBackup(principal, ref, 'delete', deleteBackupKind, plan, idempotency, false),
    async point(principal, ref, {name}) {
      authorize(principal, 'backup', `instance/${ref}`)
      context.mayChange()
      const because = whyNotAPoint(name)
      if (because !== undefined) {
        throw new DbaasError('INVALID_REQUEST', `"${name}" cannot name a point: ${because}`, {details: {name}, suggestions: ['use letters, digits, "-", "_" and ".", beginning with a letter: before-migration']})
      }
      const instance = await options.find(principal, ref)
      const engine = backupOf(context.engines.get(instance.engine))
      refuseUnready(instance)
      const {enabled, because: off} = await policyOf(instance)
      if (!enabled) throw new DbaasError('INVALID_STATE', `${instance.name} is not protected: ${off ?? 'backups are off'}`, {suggestions: [`dbaas backups schedule ${instance.name} --on`]})
      const place = await options.mark(instance, (host, admin) => engine.log.mark(host, admin, name))
      const now = clock.now()
      await store.transact(scopeOf(principal), async (tx) => {
        await tx.event({id: context.newId('event'), tenantId: instance.tenantId, type: 'backup.point', subject: instance.id, payload: {name, ...place}, at: now})
        await audit(tx, principal, 'points.create', `instance/${instance.name}`, {name, position: place.position})
      })
      return {name, ...place, created_at: isoTime(now)}
    },
    async drill(principal, ref, {plan}, idempotency) {
      authorize(principal, 'drill', `instance/${ref}`)
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before), instance: await options.view(await options.find(principal, before.instanceId ?? ref))}
      const instance = await options.find(principal, ref)
      backupOf(context.engines.get(instance.engine))
      const flow = options.workflow(drillKind)
      if (plan) return {plan: planView({steps: flow.order, impact: 'none', expected_downtime_ms: 0, reversible: true})}
      const operation = await store.transact(scopeOf(principal), (tx) => submitDrill(context, tx, principal, instance, flow.deadlineSeconds, idempotency))
      context.poke()
      return {operation: operationView(operation), instance: await options.view(instance)}
    },
    async schedule(principal, ref) {
      authorize(principal, 'read', `instance/${ref}`)
      return scheduleView(await policyOf(await options.find(principal, ref)), clock.now())
    },
    async setSchedule(principal, ref, body: BodyOf<'schedules.set'>) {
      authorize(principal, 'update', `instance/${ref}`)
      context.mayChange()
      const instance = await options.find(principal, ref)
      const policy = await policyOf(instance)
      if (body.enabled) backupOf(context.engines.get(instance.engine))
      if (body.enabled && instance.leased) {
        throw new DbaasError('INVALID_STATE', `${instance.name} lives as long as its lease: it cannot be protected`, {suggestions: ['dbaas create NAME makes one that stays']})
      }
      if (body.cron_expression !== undefined) parseCron(body.cron_expression)
      const now = clock.now()
      const enabled = body.enabled ?? policy.enabled
      const changed: PolicyRecord = {
        ...policy, enabled, because: enabled ? null : (body.enabled === false ? 'backups are off by request' : policy.because),
        cron: body.cron_expression?.trim() ?? policy.cron, backupType: body.backup_type ?? policy.backupType,
        windowMs: body.retention_seconds === undefined ? policy.windowMs : body.retention_seconds === null ? null : body.retention_seconds * 1000,
        keepLast: body.keep_last === undefined ? policy.keepLast : body.keep_last,
        repository: body.repository ?? policy.repository,
        jitterMs: body.jitter_seconds === undefined ? policy.jitterMs : body.jitter_seconds * 1000,
        enabledAt: enabled && !policy.enabled ? now : policy.enabledAt,
        // what was due before the schedule was what it is now is not missed
        servedAt: body.cron_expression !== undefined || (enabled && !policy.enabled) ? now : policy.servedAt, updatedAt: now,
      }
      const move = changed.repository === policy.repository ? null : {from: policy.repository, to: (await options.repositories.own(changed.repository)).name}
      if (move) await store.read('platform', (tx) => refuseMove(tx, instance, move.from))
      if (body.plan) return {plan: planView({steps: ['update'], impact: 'none', expected_downtime_ms: 0})}
      await store.transact(scopeOf(principal), async (tx) => {
        if (move) {
          await refuseMove(tx, instance, move.from)
          await tx.histories.update(instance.incarnation, {repository: move.to})
        }
        await tx.policies.put(changed)
        await audit(tx, principal, 'schedules.set', `instance/${instance.name}`, {
          enabled: String(changed.enabled), cron: changed.cron, window_ms: String(changed.windowMs), keep_last: String(changed.keepLast), repository: changed.repository,
        })
      })
      if (move) await leave(instance, move.from)
      options.followers.poke()
      return {schedule: scheduleView(changed, now)}
    },
    ...createRepositoryService(options),
    async exportKeys(principal) {
      authorize(principal, 'export', 'keys')
      context.mayChange()
      const key = {id: await keys.id(), key: await keys.export(), source: keys.where}
      await store.transact(scopeOf(principal), (tx) => audit(tx, principal, 'keys.export', 'keys', {key_id: key.id}))
      return [key]
    },
    async importKey(principal, body: BodyOf<'keys.import'>, idempotency) {
      authorize(principal, 'import', 'keys')
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before)}
      keys.assertRotatable()
      const key = Buffer.from(body.key, 'hex')
      // nor would the reader of key files take them: they are what a crash leaves, and a password
      if (key.every((byte) => byte === 0) || key.every((byte) => byte > 31 && byte < 127)) throw new DbaasError('INVALID_REQUEST', 'a key is 32 random bytes, and these are not', {suggestions: ['dbaas keys export prints one as it must be']})
      const flow = options.workflow(rotateKeysKind)
      if (body.plan) return {plan: planView({steps: flow.order, impact: 'none', expected_downtime_ms: 0, reversible: false})}
      await store.read('platform', refuseRotation)
      // never in the input of the operation, which everybody may read
      await keys.makeNext(key)
      return changeKey(principal, {imported: true}, idempotency)
    },
    async rotateKeys(principal, {plan}, idempotency) {
      authorize(principal, 'rotate', 'keys')
      const before = await repeated(context, principal, idempotency)
      if (before) return {operation: operationView(before)}
      keys.assertRotatable()
      const flow = options.workflow(rotateKeysKind)
      if (plan) return {plan: planView({steps: flow.order.filter((step) => !importSteps.includes(step)), impact: 'none', expected_downtime_ms: 0, reversible: false})}
      return changeKey(principal, {}, idempotency)
    },
  }
}

/** The backup service, put together: its workflows, its loops, its door, and what it is to the lives of instances. */
import type {Principal} from '../../../core/access/principal.js'
import type {ApiInstance} from '../../../core/api/schemas.js'
import type {InstanceRecord} from '../../../core/instance/instance.js'
import type {Workflow} from '../../../core/workflow/workflow.js'
import type {Tx} from '../../store/store.js'
import type {BackupsApi} from '../contract.js'
import type {InstanceProtection} from '../protection.js'
import {createRounds} from '../rounds.js'
import {createCopies} from './copies.loop.js'
import {createBackupWorkflow} from './create.workflow.js'
import {createDrills} from './drill.loop.js'
import {createDrillWorkflow} from './drill.workflow.js'
import {createEnding} from './ending.js'
import {createErasure} from './erasure.js'
import type {KeyRing} from './keys.js'
import {createFollowers} from './log.loop.js'
import {createBackupKind, createPreparing, drillKind, type BackupParts} from './parts.js'
import {enrol} from './policies.js'
import {createProtection} from './protection.js'
import {createRecognition} from './recognition.js'
import {createRecoveries} from './recoveries.js'
import {createRepositories} from './repositories.js'
import {createRetention} from './retention.loop.js'
import {createScheduler} from './schedule.loop.js'
import {createBackupService} from './service.js'
import {takeFinal} from './take.js'
import {upkeepWorkflows} from './upkeep.workflows.js'

export interface BackupsOptions extends Omit<BackupParts, 'repositories' | 'prepare'> {
  /** Folder of the default repository. */
  readonly localPath: string
  readonly keys: KeyRing
  readonly find: (principal: Principal, ref: string) => Promise<InstanceRecord>
  readonly view: (instance: InstanceRecord) => Promise<ApiInstance>
  readonly workflow: (kind: string) => Pick<Workflow<never, Tx>, 'order' | 'deadlineSeconds'>
  readonly cancel: (operationId: string) => Promise<void>
}

const scheduleEveryMs = 1000
/** An expired backup is gone within a minute. */
const retentionEveryMs = 10_000
const drillEveryMs = 60_000
const watchEveryMs = 5000
const copiesEveryMs = 5000

export function assembleBackups(options: BackupsOptions) {
  const {context, archiver, keys, find, workflow} = options
  const repositories = createRepositories(context, archiver, options.localPath)
  const parts: BackupParts = {context, archiver, repositories, load: options.load, admin: options.admin, prepare: createPreparing(options.admin)}
  const followers = createFollowers(parts)
  const endHistory = createEnding(parts, followers)
  const erasure = createErasure(parts, followers, endHistory, options.cancel)
  const protection = createProtection(context, followers)
  const rounds = createRounds(context.log)
  const deadline = (): number => workflow(createBackupKind).deadlineSeconds
  const retention = createRetention(parts, endHistory)
  const copies = createCopies(parts, repositories)

  const recognition = createRecognition(parts, repositories)
  const recoveries = createRecoveries(parts, followers)
  const guard: InstanceProtection = {
    recoveries,
    checkRepository: async (name) => void (await repositories.own(name)),
    enrol: (tx, instance, wanted) => enrol(context, tx, instance, wanted),
    recognise: recognition.look,
    enter: recognition.enter,
    leave: erasure.leave,
    of: protection.of,
    started: followers.started,
    drained: followers.drained,
    finalBackup: (instance, key, progress, signal) => takeFinal(context, instance, key, deadline(), progress, signal),
    quiet: erasure.quiet,
    seal: erasure.seal,
    erase: erasure.erase,
    forget: erasure.forget,
  }
  const service: BackupsApi = createBackupService({context, archiver, repositories, recognition, followers, keys, find, view: options.view, workflow,
    mark: async (instance, work) => work((await options.load(instance.id)).host, await options.admin()),
  })
  return {
    workflows: [createBackupWorkflow(parts, followers), createDrillWorkflow(parts, recoveries), ...upkeepWorkflows(parts, keys, endHistory, recognition)],
    protection: guard,
    service,
    start(): void {
      const scheduler = createScheduler(parts, deadline())
      const drills = createDrills(parts, workflow(drillKind).deadlineSeconds)
      followers.start()
      rounds.every('taking backups that are due', scheduleEveryMs, () => scheduler.run())
      rounds.every('deleting backups that have had their time', retentionEveryMs, async () => {
        await erasure.sweep()
        await retention.run()
      })
      rounds.every('trying restores', drillEveryMs, () => drills.run())
      rounds.every('copying repositories', copiesEveryMs, () => copies.run())
      rounds.every('watching over backups', watchEveryMs, () => protection.watch())
    },
    /** The servers keep the log for the next agent. */
    async stop(): Promise<void> {
      rounds.stopping()
      await followers.stop()
      await rounds.stop()
    },
  }
}

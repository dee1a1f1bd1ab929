/**
 * The backup service with a real store and a real workflow engine, a clock that the test turns, an archiver that keeps
 * everything in memory, and servers that are only thought of: for rules about time. Real servers are in test/e2e.
 */
import {randomBytes} from 'node:crypto'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import type {Archiver, BackupOrder, KeptSnapshot, TakenBackup} from '../../../../src/agent/archiver/archiver.js'
import {createBackupWorkflow} from '../../../../src/agent/services/backup/create.workflow.js'
import {createEnding} from '../../../../src/agent/services/backup/ending.js'
import {createErasure, type Erasure} from '../../../../src/agent/services/backup/erasure.js'
import {createKeyRing} from '../../../../src/agent/services/backup/keys.js'
import type {Followers} from '../../../../src/agent/services/backup/log.loop.js'
import type {BackupParts} from '../../../../src/agent/services/backup/parts.js'
import {enrol} from '../../../../src/agent/services/backup/policies.js'
import {createRecognition, type Recognition} from '../../../../src/agent/services/backup/recognition.js'
import {createRepositories} from '../../../../src/agent/services/backup/repositories.js'
import {createRetention, type Retention} from '../../../../src/agent/services/backup/retention.loop.js'
import {createScheduler} from '../../../../src/agent/services/backup/schedule.loop.js'
import {upkeepWorkflows} from '../../../../src/agent/services/backup/upkeep.workflows.js'
import type {ServiceContext} from '../../../../src/agent/services/context.js'
import {createVault} from '../../../../src/agent/store/secrets.js'
import {openSqliteStore} from '../../../../src/agent/store/sqlite/store.js'
import type {Store} from '../../../../src/agent/store/store.js'
import {createWorkflowEngine, type AnyWorkflow, type WorkflowEngine} from '../../../../src/agent/workflow/engine.js'
import type {BackupRecord, PolicyRecord} from '../../../../src/core/backup/backup.js'
import {isLogNeeded, type LogRange} from '../../../../src/core/backup/retention.js'
import {DbaasError} from '../../../../src/core/errors.js'
import {makeId} from '../../../../src/core/ids.js'
import type {InstanceRecord} from '../../../../src/core/instance/instance.js'
import {sizes} from '../../../../src/core/instance/sizes.js'
import type {Engine} from '../../../../src/engines/engine.js'
import {temporaryFolder} from '../../../support/temporary.js'

const minute = 60_000
/** A segment of the log for each ten minutes. */
const segmentMs = 10 * minute
const segmentAt = (at: number): string => String(Math.floor(at / segmentMs)).padStart(12, '0')

export interface Site {
  readonly store: Store
  /** Types of all events. */
  events(): string[]
  now: number
  readonly archive: {readonly snapshots: Map<number, TakenBackup & {backupId: string}>; segments: string[]; readonly shredded: Set<string>; readonly erased: Set<string>}
  /** Thrown by everything that the archiver is asked, while it is set. */
  away: DbaasError | undefined
  /** What the archiver finds damaged. */
  readonly damaged: Set<number>
  /** What the repository has of incarnations, as one finds it whose store was lost. */
  readonly held: Map<string, readonly KeptSnapshot[] | DbaasError>
  readonly recognition: Recognition
  readonly retention: Retention
  /** That of an agent started anew. */
  nextRetention(): Retention
  readonly erasure: Erasure
  add(name: string, policy?: Partial<PolicyRecord>): Promise<InstanceRecord>
  /** One round of the scheduler, and of what it began. */
  tick(): Promise<void>
  backups(): Promise<BackupRecord[]>
  dispose(): Promise<void>
}

export async function siteInMemory(start: number): Promise<Site> {
  const folder = temporaryFolder('backup-service')
  const store = openSqliteStore(join(folder.path, 'metadata.db'), () => createVault(randomBytes(32)))
  const snapshots: Site['archive']['snapshots'] = new Map()
  const archive = {snapshots, segments: [] as string[], shredded: new Set<string>(), erased: new Set<string>()}
  let last = 0
  const answer = <T>(make: () => T): Promise<T> => (site.away ? Promise.reject(site.away) : Promise.resolve().then(make))
  const position = (at: number): string => String(at)

  function take({about}: BackupOrder): TakenBackup {
    const [from, to] = [site.now, site.now + minute]
    const base = {
      version: '18.4', system: '1', timeline: '00000001', start: position(from), end: position(to), consistentAt: to, method: {kind: 'whole', because: 'a test'} as const,
      files: 1, bytes: 1000, receivedBytes: 1000, folders: [], damages: [],
    }
    const taken = {
      snapshot: ++last, base, storedBytes: 100, sha256: '0'.repeat(64), first: {timeline: '00000001', segment: segmentAt(from)}, last: {timeline: '00000001', segment: segmentAt(to)},
    }
    snapshots.set(taken.snapshot, {...taken, backupId: about.backupId})
    return taken
  }
  const refuse = async (): Promise<never> => {
    throw new Error('nothing is restored here')
  }
  const archiver: Archiver = {
    describe: ({kind = 'directory', location}) => answer(() => ({kind, location, settings: {path: location}, secrets: {}})), prepare: () => answer(() => ({id: 'x'})), beginCopy: () => answer(() => ({id: 'x'})), copy: () => answer(() => ({objects: 0, bytes: 0, removed: 0, damages: []})), promote: () => answer(() => undefined), incarnations: () => answer(() => [...site.held.keys()]),
    list: ({incarnation}) => answer(() => {
      const held = site.held.get(incarnation)
      if (held instanceof DbaasError) throw held
      return held ?? []
    }),
    find: (_, backupId) => answer(() => [...snapshots.values()].find((s) => s.backupId === backupId)),
    take: (order) => answer(() => take(order)),
    verify: (_, n) => answer(() => ({at: site.now, packs: 1, pages: 1, bytes: 100, damages: site.damaged.has(n) ? [{object: `snapshots/${n}`, because: 'a bit is flipped'}] : []})),
    remove: (_, n) => answer(() => void snapshots.delete(n)),
    collect: (_, log: readonly LogRange[], known) => answer(() => {
      for (const [n, {backupId}] of snapshots) if (known && !known.backups.includes(backupId)) snapshots.delete(n)
      const before = archive.segments.length
      archive.segments = archive.segments.filter((segment) => isLogNeeded({log}, {timeline: '00000001', segment}))
      return {bytes: 0, packs: 0, segments: before - archive.segments.length}
    }),
    logEnd: () => answer(() => ({timeline: '00000001', position: position(site.now + 2 * minute), at: site.now})),
    checkLog: () => answer(() => ({until: {timeline: '00000001', position: position(site.now + 2 * minute), at: site.now}, bytes: 1, damages: []})),
    follow: () => new Promise(() => undefined),
    shred: ({incarnation}) => answer(() => void archive.shredded.add(incarnation)),
    erase: ({incarnation}) => answer(() => { archive.erased.add(incarnation); return 1 }),
    plan: refuse, missing: refuse, restore: refuse, logSegment: refuse, logHistory: refuse,
    rewrap: async () => true, endPrograms: () => undefined, close: async () => undefined,
  }
  const engine = {
    name: 'thought', title: 'Thought', lifecycle: {whyNotReady: async () => undefined},
    backup: {username: 'reader', prepare: async () => undefined, log: {compare: (a: string, b: string) => Number(a) - Number(b)}},
  } as unknown as Engine
  const context = {
    store, clock: {now: () => site.now}, newId: (kind: 'event') => makeId(kind, site.now, randomBytes(16)), log: () => undefined,
    engines: {names: ['thought'], get: () => engine}, certificates: {admin: async () => ({username: 'reader', ca: '', certificate: '', key: ''})},
    mayChange: () => undefined, poke: () => workflows.poke(),
    principalOfAgent: () => ({id: 'agent', tenantId: 'default', roles: ['platform_admin'], source: 'agent', requestId: 'req'}),
  } as unknown as ServiceContext
  const repositories = createRepositories(context, archiver, join(folder.path, 'repository'))
  const parts: BackupParts = {
    context, archiver, repositories, prepare: async () => undefined, admin: async () => ({username: 'admin', ca: '', certificate: '', key: ''}),
    async load(id) {
      const instance = await store.read('platform', (tx) => tx.instances.find(id))
      if (!instance) throw new DbaasError('INSTANCE_NOT_FOUND', id)
      return {instance, engine, host: {address: () => ({host: '127.0.0.1', port: 1})} as never}
    },
  }
  const followers: Followers = {
    start: () => undefined, started: () => undefined, poke: () => undefined, live: () => undefined, drained: async () => undefined, end: async () => undefined, endOf: async () => undefined, stop: async () => undefined,
  }
  const endHistory = createEnding(parts, followers)
  const flows = [createBackupWorkflow(parts, followers), ...upkeepWorkflows(parts, createKeyRing({kind: 'file', path: join(folder.path, 'key')}, async () => Buffer.alloc(32, 1)), endHistory, {lookAgain: async () => 0})]
  const workflows: WorkflowEngine = createWorkflowEngine({
    store, clock: context.clock, owner: 'test', workflows: flows as unknown as AnyWorkflow[], parallelism: 8, random: () => 0.9, log: () => undefined, changed: () => undefined,
  })
  const scheduler = createScheduler(parts, 86_400)

  async function settled(): Promise<void> {
    for (let i = 0; i < 2000; i++) {
      const open = await store.read('platform', (tx) => tx.operations.open())
      if (open.length === 0) return
      // what waits is woken by the clock, which stands still
      if (open.every((o) => o.runAt > site.now)) site.now = Math.min(...open.map((o) => o.runAt))
      workflows.poke()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    throw new Error('an operation does not end')
  }

  let made = 0
  const site: Site = {
    store, now: start, archive, away: undefined, damaged: new Set(), held: new Map(), recognition: createRecognition(parts, repositories), retention: createRetention(parts, endHistory), nextRetention: () => createRetention(parts, endHistory),
    erasure: createErasure(parts, followers, endHistory, async () => undefined),
    async add(name, policy = {}) {
      const id = `ins_${++made}`
      const instance: InstanceRecord = {
        id, tenantId: 'default', name, engine: 'thought', version: '18.4', runtime: 'process', image: null, imageAsked: null, publishAddress: '127.0.0.1', leased: false,
        status: 'running', statusReason: null, wanted: 'running', size: sizes.micro, template: null, layers: {size: {}, template: {}, user: {}}, endpointHost: '127.0.0.1',
        endpointPort: 1000 + made, database: 'app', username: 'app', incarnation: `incarnation-${made}`, protected: false, expiresAt: null, createdAt: site.now, updatedAt: site.now,
      }
      await store.transact('platform', async (tx) => {
        await tx.instances.insert(instance)
        await enrol(context, tx, instance, {enabled: true})
        const own = await tx.policies.get(id)
        await tx.policies.put({...(own as PolicyRecord), ...policy})
        await tx.logs.put({
          id: instance.incarnation, tenantId: 'default', instanceId: id, state: 'following', because: null, since: site.now, timeline: '00000001', position: '0',
          durableAt: site.now, lagBytes: 0, lagSeconds: 0, line: 1, updatedAt: site.now,
        })
      })
      return instance
    },
    async tick() {
      await scheduler.run()
      await settled()
    },
    events() {
      const database = new Database(join(folder.path, 'metadata.db'), {readonly: true})
      try {
        return database.prepare('SELECT type FROM events').pluck().all() as string[]
      } finally {
        database.close()
      }
    },
    backups: () => store.read('platform', (tx) => tx.backups.list()),
    async dispose() {
      await workflows.stop()
      await store.close()
      folder.dispose()
    },
  }
  return site
}

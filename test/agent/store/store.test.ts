import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {existsSync, readFileSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import fc from 'fast-check'
import type {BackupRecord, HistoryRecord, LogRecord, PolicyRecord, RepositoryRecord} from '../../../src/core/backup/backup.js'
import {defaultPolicy} from '../../../src/core/backup/schedule.js'
import type {InstanceRecord} from '../../../src/core/instance/instance.js'
import {sizes} from '../../../src/core/instance/sizes.js'
import {DbaasError} from '../../../src/core/errors.js'
import {createVault, loadMasterKey} from '../../../src/agent/store/secrets.js'
import {takeLock} from '../../../src/agent/store/sqlite/lock.js'
import {openSqliteStore} from '../../../src/agent/store/sqlite/store.js'
import type {Store} from '../../../src/agent/store/store.js'
import {temporaryFolder} from '../../support/temporary.js'

const instance = (patch: Partial<InstanceRecord>): InstanceRecord => ({
  id: 'ins_1', tenantId: 'default', name: 'demo', engine: 'postgresql', version: '18.4', runtime: 'process', status: 'running',
  image: null, imageAsked: null, publishAddress: '127.0.0.1', leased: false,
  statusReason: null, wanted: 'running', size: sizes.small, template: null, layers: {size: {}, template: {}, user: {a: 'b'}},
  endpointHost: '127.0.0.1', endpointPort: 15432, database: 'app', username: 'app', incarnation: 'x', protected: false,
  expiresAt: null, createdAt: 1, updatedAt: 1, ...patch,
})

describe('store on SQLite', () => {
  const folder = temporaryFolder('store')
  const file = join(folder.path, 'metadata.db')
  const key = randomBytes(32)
  let store: Store
  before(() => (store = openSqliteStore(file, () => createVault(key))))
  after(async () => {
    await store.close()
    folder.dispose()
  })

  it('gives back what was put in, and nothing of a transaction that threw', async () => {
    await store.transact('platform', (tx) => tx.instances.insert(instance({})))
    assert.deepEqual(await store.read('platform', (tx) => tx.instances.find('demo')), instance({}))
    await assert.rejects(store.transact('platform', async (tx) => {
      await tx.instances.update('ins_1', {status: 'stopped', protected: true})
      throw new Error('no')
    }), /no/)
    assert.equal((await store.read('platform', (tx) => tx.instances.find('ins_1')))?.status, 'running')
  })

  it('refuses a second instance of the same name for the same tenant, and allows it for another', async () => {
    await assert.rejects(store.transact('platform', (tx) => tx.instances.insert(instance({id: 'ins_2'}))),
      (error: unknown) => error instanceof DbaasError && error.code === 'NAME_IN_USE')
    await store.transact('platform', (tx) => tx.instances.insert(instance({id: 'ins_3', tenantId: 'other'})))
  })

  it('shows a tenant nothing of another one, and lets it change nothing there', async () => {
    assert.equal(await store.read({tenant: 'default'}, (tx) => tx.instances.find('ins_3')), undefined)
    await store.transact({tenant: 'default'}, async (tx) => {
      await tx.instances.update('ins_3', {status: 'failed'})
      await tx.instances.remove('ins_3')
    })
    assert.equal((await store.read('platform', (tx) => tx.instances.find('ins_3')))?.status, 'running')
    await assert.rejects(store.transact({tenant: 'default'}, (tx) => tx.instances.insert(instance({id: 'ins_4', name: 'x', tenantId: 'other'}))),
      (error: unknown) => error instanceof DbaasError && error.code === 'FORBIDDEN')
  })

  it('serialises writers: a hundred increments of one value lose none', async () => {
    await store.transact('platform', (tx) => tx.settings.put('n', '0'))
    await Promise.all(Array.from({length: 100}, () => store.transact('platform', async (tx) => {
      const n = Number(await tx.settings.get('n'))
      await Promise.resolve()
      await tx.settings.put('n', String(n + 1))
    })))
    assert.equal(await store.read('platform', (tx) => tx.settings.get('n')), '100')
  })

  it('shows readers only what is committed', async () => {
    let seen: string | undefined
    await store.transact('platform', async (tx) => {
      await tx.settings.put('half', 'written')
      seen = await store.read('platform', (other) => other.settings.get('half'))
    })
    assert.equal(seen, undefined)
  })

  it('keeps secrets sealed in the file, and opens them for their owner only', async () => {
    await store.transact('platform', (tx) => tx.secrets.put('default', 'ins_1', 'password', 'correct horse battery'))
    assert.equal(await store.read({tenant: 'default'}, (tx) => tx.secrets.get('ins_1', 'password')), 'correct horse battery')
    assert.equal(await store.read({tenant: 'other'}, (tx) => tx.secrets.get('ins_1', 'password')), undefined)
    const bytes = Buffer.concat([readFileSync(file), existsSync(`${file}-wal`) ? readFileSync(`${file}-wal`) : Buffer.alloc(0)])
    assert.equal(bytes.includes('correct horse'), false)
  })

  it('reserves a port once', async () => {
    await store.transact('platform', (tx) => tx.ports.reserve({tenantId: 'default', port: 1, ownerId: 'a'}))
    await store.transact('platform', (tx) => tx.ports.reserve({tenantId: 'default', port: 1, ownerId: 'a'}))
    await assert.rejects(store.transact('platform', (tx) => tx.ports.reserve({tenantId: 'default', port: 1, ownerId: 'b'})),
      (error: unknown) => error instanceof DbaasError && error.code === 'PORT_IN_USE')
  })

  it('is readable by its owner only', () => {
    assert.equal(statSync(file).mode & 0o777, 0o600)
  })

  it('keeps backups, histories, policies, logs and repositories, and shows a tenant its own alone', async () => {
    const history = (id: string, tenantId: string): HistoryRecord => ({
      id, tenantId, instanceId: `ins_${id}`, instanceName: id, engine: 'postgresql', repository: 'local', system: null, beganAt: 1, endedAt: null, kept: false, shredded: false,
    })
    const backup = (id: string, incarnation: string, tenantId: string): BackupRecord => ({
      id, tenantId, instanceId: `ins_${incarnation}`, instanceName: incarnation, engine: 'postgresql', incarnation, repository: 'local', line: null, trigger: 'first', type: null,
      status: 'running', because: null, label: null, keepMs: null, snapshot: null, sizeBytes: null, storedBytes: null, encrypted: true, checksum: null,
      timeline: null, startPosition: null, endPosition: null, startSegment: null, endSegment: null, consistentAt: null, base: null, verifiedAt: null,
      createdAt: 1, completedAt: null, expiresAt: null,
    })
    const log: LogRecord = {
      id: 'here', tenantId: 'default', instanceId: 'ins_here', state: 'following', because: null, since: 1, timeline: '1', position: '0/1', durableAt: 2, lagBytes: 3,
      lagSeconds: 0.25, line: 1, updatedAt: 4,
    }
    const policy: PolicyRecord = {...defaultPolicy, instanceId: 'ins_here', tenantId: 'default', enabled: true, because: null, repository: 'local', enabledAt: 1, servedAt: 1, updatedAt: 1}
    const repository: RepositoryRecord = {name: 'local', tenantId: 'default', kind: 'directory', location: '/r', settings: {path: '/r', flag: true}, repositoryId: null, copyOf: null, copiedAt: null, copyBecause: null, copyFailedAt: null, status: 'unknown', because: null, checkedAt: null, createdAt: 1}
    await store.transact('platform', async (tx) => {
      for (const [id, tenant] of [['here', 'default'], ['there', 'other']] as const) {
        await tx.histories.insert(history(id, tenant))
        await tx.backups.insert(backup(`bak_${id}`, id, tenant))
      }
      await tx.backups.update('bak_here', {status: 'completed', base: {start: '0/1', files: 7}, snapshot: 1})
      await tx.logs.put({...log, state: 'waiting'})
      await tx.logs.put(log)
      await tx.policies.put(policy)
      await tx.repositories.insert(repository)
      await tx.repositories.update('local', {status: 'ok', checkedAt: 9})
      await tx.restoreTests.insert({id: 'a', tenantId: 'default', instanceId: 'ins_here', backupId: 'bak_here', at: 5, ok: true, rtoSeconds: 1.5, recoveredTo: 4, result: {rows: 1}})
    })
    await store.read({tenant: 'default'}, async (tx) => {
      assert.deepEqual(await tx.backups.list(), [{...backup('bak_here', 'here', 'default'), status: 'completed', base: {start: '0/1', files: 7}, snapshot: 1}])
      assert.deepEqual(await tx.backups.list({incarnation: 'there'}), [])
      assert.equal(await tx.backups.get('bak_there'), undefined)
      assert.deepEqual(await tx.histories.list('ins_here'), [history('here', 'default')])
      assert.deepEqual(await tx.logs.get('here'), log)
      assert.deepEqual(await tx.policies.get('ins_here'), policy)
      assert.deepEqual(await tx.repositories.list(), [{...repository, status: 'ok', checkedAt: 9}])
      assert.equal((await tx.restoreTests.last('ins_here'))?.rtoSeconds, 1.5)
    })
    await assert.rejects(store.transact('platform', (tx) => tx.repositories.insert(repository)), {code: 'NAME_IN_USE'})
    await assert.rejects(store.transact({tenant: 'default'}, (tx) => tx.backups.insert(backup('bak_x', 'there', 'other'))), {code: 'FORBIDDEN'})
    // a backup without its history would have no key
    await assert.rejects(store.transact('platform', (tx) => tx.histories.remove('here')))
  })
})

describe('a state file that cannot be used', () => {
  const folder = temporaryFolder('badstore')
  after(() => folder.dispose())
  const open = (name: string) => openSqliteStore(join(folder.path, name), () => createVault(randomBytes(32)))
  const codeOf = async (work: () => Store): Promise<string> => {
    try {
      await work().close()
      return 'opened'
    } catch (error) {
      return error instanceof DbaasError ? error.code : String(error)
    }
  }

  it('is refused when it is no database', async () => {
    writeFileSync(join(folder.path, 'text.db'), 'this is not a database, whatever it is called'.repeat(200))
    assert.equal(await codeOf(() => open('text.db')), 'STORE_CORRUPT')
  })

  it('is refused when it belongs to another program', async () => {
    const other = new Database(join(folder.path, 'other.db'))
    other.exec('CREATE TABLE t (x)')
    other.close()
    assert.equal(await codeOf(() => open('other.db')), 'STORE_CORRUPT')
  })

  it('is refused when a newer version wrote it, and left as it was', async () => {
    await open('newer.db').close()
    const newer = new Database(join(folder.path, 'newer.db'))
    newer.pragma('user_version = 999')
    newer.close()
    assert.equal(await codeOf(() => open('newer.db')), 'STORE_NEWER')
    const again = new Database(join(folder.path, 'newer.db'), {readonly: true})
    assert.equal(again.pragma('user_version', {simple: true}), 999)
    again.close()
  })

  it('is refused when a page of it is damaged', async () => {
    const store = open('damaged.db')
    for (let i = 0; i < 200; i++) await store.transact('platform', (tx) => tx.settings.put(`k${i}`, 'v'.repeat(200)))
    await store.close()
    const path = join(folder.path, 'damaged.db')
    const bytes = readFileSync(path)
    bytes.fill(0xaa, 4096 * 3, 4096 * 20)
    writeFileSync(path, bytes)
    assert.equal(await codeOf(() => open('damaged.db')), 'STORE_CORRUPT')
  })
})

describe('secrets', () => {
  it('open only with the same key, tenant, owner and name, whole', () => {
    fc.assert(fc.property(fc.string(), fc.string(), fc.string(), fc.string(), fc.nat(), (tenant, owner, name, value, flip) => {
      const vault = createVault(randomBytes(32))
      const sealed = vault.seal(tenant, owner, name, value)
      assert.equal(vault.open(tenant, owner, name, sealed), value)
      assert.throws(() => vault.open(tenant, owner, `${name}x`, sealed))
      assert.throws(() => vault.open(tenant, `${owner}x`, name, sealed))
      assert.throws(() => createVault(randomBytes(32)).open(tenant, owner, name, sealed))
      const broken = Buffer.from(sealed)
      const at = flip % broken.length
      broken[at] = (broken[at] as number) ^ 1
      assert.throws(() => vault.open(tenant, owner, name, broken))
    }), {numRuns: 100})
  })

  it('have a key file of mode 0600, which is not made anew when secrets exist already', () => {
    const folder = temporaryFolder('key')
    try {
      const file = join(folder.path, 'keys', 'master.key')
      const key = loadMasterKey(file, false)
      assert.equal(key.length, 32)
      assert.equal(statSync(file).mode & 0o777, 0o600)
      assert.deepEqual(loadMasterKey(file, true), key)
      assert.throws(() => loadMasterKey(join(folder.path, 'elsewhere.key'), true), (e: unknown) => e instanceof DbaasError && e.code === 'HOME_UNUSABLE')
    } finally {
      folder.dispose()
    }
  })
})

describe('the lock of a home', () => {
  it('is had by one at a time', () => {
    const folder = temporaryFolder('lock')
    try {
      const file = join(folder.path, 'agent.lock')
      const first = takeLock(file)
      assert.ok(first)
      assert.equal(takeLock(file), undefined)
      first.release()
      const second = takeLock(file)
      assert.ok(second)
      second.release()
    } finally {
      folder.dispose()
    }
  })
})

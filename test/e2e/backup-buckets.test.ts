/** Backups of a real server in a bucket of a real gateway, through the whole agent: kept there, through bad days, and copied. */
import assert from 'node:assert/strict'
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import {openDirectory} from '../../src/agent/repositories/directory/index.js'
import {openS3, type S3Options} from '../../src/agent/repositories/s3/index.js'
import {listAll, type ObjectStore} from '../../src/agent/repositories/repository.js'
import type {ApiBackup, ApiInstance, ApiOperation, ApiRepository, BodyOf} from '../../src/core/api/schemas.js'
import {startFaultyProxy, type Fault, type FaultyProxy} from '../agent/repositories/s3/faulty-proxy.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {makeBucket, s3OrSkip} from '../support/s3.js'
import {temporaryFolder} from '../support/temporary.js'
import {until} from '../support/until.js'

describe('backups in a bucket', function () {
  this.timeout(300_000)
  const servers = s3OrSkip()
  let agent: InProcess
  let proxy: FaultyProxy
  let bucket: {options: S3Options; dispose(): Promise<void>}
  const copies = temporaryFolder('copies')
  /** What the agent says; no secret may ever be in it. */
  const said: string[] = []
  before(async () => {
    bucket = await makeBucket(servers().ceph)
    proxy = await startFaultyProxy(servers().ceph.endpoint)
    agent = await startInProcess('backup-buckets', {poolSize: 0, log: (message, facts) => void said.push(`${message} ${JSON.stringify(facts ?? {})}`)})
  })
  after(async () => {
    await agent?.dispose()
    await proxy?.close()
    await bucket?.dispose()
    copies.dispose()
  })

  const add = async (body: BodyOf<'repositories.add'>): Promise<ApiRepository> => {
    const answer = await agent.client.call('repositories.add', {body, idempotencyKey: freshKey()})
    if (!('repository' in answer)) throw new Error('a plan came back')
    return answer.repository
  }
  const repository = async (name: string): Promise<ApiRepository> =>
    (await agent.client.call('repositories.list', {})).repositories.find((r) => r.name === name) as ApiRepository
  const settings = (patch: Record<string, string | boolean> = {}) => ({endpoint: proxy.endpoint, ...servers().ceph.users.owner, ...patch})
  const get = async (name: string): Promise<ApiInstance> => (await agent.client.call('instances.get', {params: {instance: name}})).instance
  const sql = (statement: string) => agent.client.call('instances.sql', {params: {instance: 'demo'}, body: {statement}, idempotencyKey: freshKey()})
  const backup = async (): Promise<ApiBackup> => {
    const answer = await agent.client.call('backups.create', {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()})
    if (!('operation' in answer)) throw new Error('a plan came back')
    const operation = await agent.finish(answer.operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    return (await agent.client.call('backups.get', {params: {backup: answer.backup.id}})).backup
  }
  const verify = async (id: string): Promise<ApiOperation> => {
    const answer = await agent.client.call('backups.verify', {params: {backup: id}, body: {}, idempotencyKey: freshKey()})
    return agent.finish((answer as {operation: ApiOperation}).operation)
  }
  const rows = <T>(query: string, ...values: string[]): T[] => {
    const db = new Database(join(agent.site.home, 'metadata.db'), {readonly: true})
    try {
      return db.prepare(query).all(...values) as T[]
    } finally {
      db.close()
    }
  }
  const incarnation = (): string => rows<{id: string}>("SELECT id FROM histories WHERE instance_name = 'demo'")[0]?.id as string
  const names = async (store: ObjectStore): Promise<string[]> => {
    const found: string[] = []
    for await (const {name} of listAll(store, '')) found.push(name)
    return found
  }
  const original = (): ObjectStore => openS3({...bucket.options, prefix: 'site'})

  it('refuses at once what cannot be one, and keeps nothing of it', async () => {
    const location = `s3://${bucket.options.bucket}/site`
    for (const [body, code, message] of [
      [{settings: settings({secretAccessKey: 'not-the-secret'})}, 'REPOSITORY_REFUSED', /./],
      [{settings: settings({...servers().ceph.users.guest})}, 'REPOSITORY_REFUSED', /./],
      [{settings: settings({endpoint: 'http://127.0.0.1:1'})}, 'REPOSITORY_UNAVAILABLE', /./],
      [{settings: settings({endpoint: 'http://example.org'})}, 'INVALID_REQUEST', /not encrypted/],
      [{settings: settings({regoin: 'x'})}, 'INVALID_REQUEST', /"regoin"/],
      [{settings: settings(), location: 's3://'}, 'INVALID_REQUEST', /not the address of a bucket/],
      [{settings: settings(), location: 'ftp://x/y'}, 'INVALID_REQUEST', /no repository of kind "ftp"/],
      [{settings: settings(), copy_of: 'lokal'}, 'REPOSITORY_NOT_FOUND', /"lokal"/],
    ] as const) {
      await assert.rejects(add({name: 'cloud', location, ...body}), (error: {code: string; message: string}) => {
        assert.equal(error.code, code, `${JSON.stringify(body)} ${error.message} ${said.at(-1)}`)
        assert.match(error.message, message)
        return true
      })
    }
    assert.deepEqual((await agent.client.call('repositories.list', {})).repositories.map((r) => r.name), ['local'])
    assert.deepEqual(rows("SELECT * FROM secrets WHERE owner_id = 'repository:cloud'"), [])
    assert.deepEqual(await names(original()), [])
  })

  it('takes a bucket, and shows nobody its secret', async () => {
    const added = await add({name: 'cloud', location: `s3://${bucket.options.bucket}/site`, settings: settings()})
    assert.deepEqual([added.kind, added.status, added.copy], ['s3', 'ok', null])
    assert.deepEqual(Object.keys(added.settings).sort(), ['accessKeyId', 'bucket', 'endpoint', 'prefix'])
    const checked = await agent.client.call('repositories.check', {params: {repository: 'cloud'}, idempotencyKey: freshKey()})
    assert.equal(checked.repository.status, 'ok')
    await assert.rejects(add({name: 'cloud', location: `s3://${bucket.options.bucket}/other`, settings: settings()}), {code: 'NAME_IN_USE'})
    await assert.rejects(add({name: 'again', location: `s3://${bucket.options.bucket}/site`, settings: settings()}), {code: 'INVALID_REQUEST'})
  })

  it('takes other credentials and another address of it, and keeps the old ones where the new do not lead to it', async () => {
    const update = (body: BodyOf<'repositories.update'>) => agent.client.call('repositories.update', {params: {repository: 'cloud'}, body, idempotencyKey: freshKey()})
    const {owner, guest} = servers().ceph.users
    for (const wrong of [{secretAccessKey: 'not-the-secret'}, {...guest}]) await assert.rejects(update({settings: wrong}), {code: 'REPOSITORY_REFUSED'})
    await assert.rejects(update({settings: {bucket: 'other'}}), {code: 'INVALID_REQUEST'})
    assert.equal((await agent.client.call('repositories.check', {params: {repository: 'cloud'}, idempotencyKey: freshKey()})).repository.status, 'ok')
    for (const endpoint of [servers().ceph.endpoint, proxy.endpoint]) {
      assert.ok('repository' in await update({settings: {...owner, endpoint}}))
      assert.equal((await repository('cloud')).settings['endpoint'], endpoint)
    }
  })

  it('protects an instance there: backup, log within five seconds, read back', async () => {
    await assert.rejects(agent.create({name: 'demo', size: 'micro', repository: 'clud'}), {code: 'REPOSITORY_NOT_FOUND'})
    const operation = await agent.create({name: 'demo', size: 'micro', repository: 'cloud'})
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    const [first] = await until('the first backup', async () => {
      const {backups} = await agent.client.call('backups.list', {query: {instance: 'demo'}})
      return backups[0]?.status === 'completed' ? backups : undefined
    })
    assert.equal(first?.repository, 'cloud')
    await sql('create table t (n int)')
    for (let i = 0; i < 3; i++) {
      await sql(`insert into t select generate_series(1, 1000)`)
      const committed = Date.now()
      await until('the log in the bucket', async () => (Date.parse((await get('demo')).backup.recoverable_to ?? '') >= committed - 1 ? true : undefined), 10)
      const ms = Date.now() - committed
      assert.ok(ms < 5000, `it took ${ms} ms`)
    }
    const second = await backup()
    assert.equal(second.type, 'incremental')
    assert.equal((await verify(second.id)).status, 'succeeded')
    assert.ok((await names(original())).some((name) => name.startsWith(`${incarnation()}/log/`)))
  })

  it('goes on through throttling, failures of the server and connections that end', async () => {
    const faults: Fault[] = [
      {kind: 'status', status: 503, code: 'SlowDown'}, {kind: 'status', status: 500, code: 'InternalError', done: true}, {kind: 'hang-up'}, {kind: 'hang-up', done: true},
      {kind: 'cut-answer'}, {kind: 'status', status: 429}, {kind: 'cut-request'},
    ]
    proxy.forget()
    let bad = 0
    proxy.fault = (_, count) => (count % 3 === 0 ? faults[bad++ % faults.length] : undefined)
    try {
      await sql('insert into t select generate_series(1, 100000)')
      const taken = await backup()
      assert.equal((await verify(taken.id)).status, 'succeeded')
      assert.ok(bad > faults.length, `${bad} faults`)
    } finally {
      proxy.fault = () => undefined
    }
    assert.equal((await get('demo')).backup.last_backup_at !== null, true)
    assert.equal(rows("SELECT * FROM events WHERE type = 'backup.log_gap'").length, 0)
  })

  it('says when the bucket is away, keeps the log for it, and goes on by itself', async () => {
    proxy.fault = () => ({kind: 'status', status: 403, code: 'AccessDenied'})
    try {
      await assert.rejects(agent.client.call('repositories.check', {params: {repository: 'cloud'}, idempotencyKey: freshKey()}), {code: 'REPOSITORY_REFUSED'})
      assert.equal((await repository('cloud')).status, 'unavailable')
      const health = await agent.client.call('health.get', {})
      assert.deepEqual([health.status, health.checks.find((c) => c.name === 'repositories')?.ok], ['degraded', false])
      await sql('insert into t values (-1)')
      assert.match((await get('demo')).backup.reason ?? '', /cloud does not answer/)
    } finally {
      proxy.fault = () => undefined
    }
    const since = Date.now()
    await until('the log that was kept', async () => (Date.parse((await get('demo')).backup.recoverable_to ?? '') >= since ? true : undefined))
    await agent.client.call('repositories.check', {params: {repository: 'cloud'}, idempotencyKey: freshKey()})
    assert.deepEqual([(await repository('cloud')).status, (await get('demo')).status], ['ok', 'running'])
    assert.equal((await agent.client.call('health.get', {})).status, 'ok')
  })

  it('keeps a copy of it, from which the same can be read', async () => {
    mkdirSync(join(copies.path, 'full'))
    writeFileSync(join(copies.path, 'full', 'letters'), 'of somebody')
    await assert.rejects(add({name: 'full', location: join(copies.path, 'full'), copy_of: 'cloud'}), {code: 'REPOSITORY_REFUSED'})
    const added = await add({name: 'second', location: join(copies.path, 'second'), copy_of: 'cloud'})
    assert.deepEqual([added.copy?.of, added.copy?.copied_at], ['cloud', null])
    await until('the first copy', async () => ((await repository('second')).copy?.copied_at == null ? undefined : true))
    const copy = openDirectory(join(copies.path, 'second'))
    const taken = await backup()
    const commit = `${taken.incarnation}/snapshots/`
    await until('the copy of a new backup', async () => {
      const wanted = (await names(original())).filter((name) => name.startsWith(commit))
      const there = await names(copy)
      return wanted.every((name) => there.includes(name)) ? true : undefined
    })
    for (const name of (await names(copy)).filter((each) => each.includes('/packs/'))) assert.ok((await copy.get(name)).equals(await original().get(name)), name)
    const {copy: state} = await repository('second')
    assert.ok(state?.lag_seconds != null && state.lag_seconds < 120 && state.because === null, JSON.stringify(state))
    // it is written by copying alone
    await assert.rejects(agent.create({name: 'wrong', size: 'micro', repository: 'second'}), {code: 'INVALID_REQUEST'})
    await assert.rejects(add({name: 'third', location: join(copies.path, 'third'), copy_of: 'second'}), {code: 'INVALID_REQUEST'})
  })

  it('restores from it into a new instance, which is protected there, too', async () => {
    const answer = await agent.client.call('instances.restore', {params: {instance: 'demo'}, body: {to: 'latest', into: 'back'}, idempotencyKey: freshKey()})
    const operation = await agent.finish((answer as {operation: ApiOperation}).operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    const count = async (name: string) =>
      (await agent.client.call('instances.sql', {params: {instance: name}, body: {statement: 'select count(*), min(n), sum(n) from t'}, idempotencyKey: freshKey()})).rows
    assert.deepEqual(await count('back'), await count('demo'))
    const {schedule} = await agent.client.call('schedules.get', {params: {instance: 'back'}})
    assert.equal(schedule.repository, 'cloud')
    await agent.remove('back')
  })

  it('changes the repository of an instance only where nothing of it is left behind', async () => {
    const set = (instance: string, name: string) => agent.client.call('schedules.set', {params: {instance}, body: {repository: name}, idempotencyKey: freshKey()})
    await assert.rejects(set('demo', 'local'), (error: {code: string; message: string}) => error.code === 'INVALID_STATE' && /backups? in cloud/.test(error.message))
    assert.equal((await agent.create({name: 'plain', size: 'micro', backup: false})).status, 'succeeded')
    assert.equal(((await set('plain', 'cloud')) as {schedule: {repository: string}}).schedule.repository, 'cloud')
    await agent.client.call('schedules.set', {params: {instance: 'plain'}, body: {enabled: true}, idempotencyKey: freshKey()})
    await until('a backup there', async () => ((await get('plain')).backup.last_backup_at === null ? undefined : true))
    const {backups: [first]} = await agent.client.call('backups.list', {query: {instance: 'plain'}})
    assert.equal(first?.repository, 'cloud')
    await agent.remove('plain')
  })

  it('removes what is deleted from the bucket, and from its copy, keys first', async () => {
    const its = incarnation()
    assert.equal((await agent.remove('demo')).status, 'succeeded')
    assert.deepEqual((await names(original())).filter((name) => name.startsWith(its)), [])
    const copy = openDirectory(join(copies.path, 'second'))
    await until('the end of the copy', async () => ((await names(copy)).some((name) => name.startsWith(its)) ? undefined : true))
  })

  it('has said its secret nowhere', () => {
    const {secretAccessKey} = servers().ceph.users.owner
    const files = readdirSync(agent.site.home, {recursive: true, withFileTypes: true}).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name))
    for (const file of files) assert.ok(!readFileSync(file).includes(secretAccessKey), file)
    assert.ok(!said.join('\n').includes(secretAccessKey))
  })
})

/** Backups of real servers: taken, followed, kept, and gone. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {existsSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import type {ApiBackup, ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {DbaasError} from '../../src/core/errors.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {dataRootOf} from '../support/site.js'
import {until} from '../support/until.js'

type Body = Parameters<InProcess['create']>[0]

describe('backups of real servers', function () {
  this.timeout(300_000)
  let agent: InProcess
  before(async () => (agent = await startInProcess('backups', {poolSize: 0})))
  after(() => agent.dispose())

  const get = async (name: string): Promise<ApiInstance> => (await agent.client.call('instances.get', {params: {instance: name}})).instance
  const sql = (name: string, statement: string) => agent.client.call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: freshKey()})
  const list = async (name: string): Promise<ApiBackup[]> => (await agent.client.call('backups.list', {query: {instance: name}})).backups
  const create = async (body: Body): Promise<void> => {
    const operation = await agent.create(body)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
  }
  const protectedNow = (name: string): Promise<ApiInstance> => until(`the first backup of ${name}`, async () => {
    const instance = await get(name)
    return instance.backup.last_backup_at === null ? undefined : instance
  })
  const backup = async (name: string, body: object = {}): Promise<{operation: ApiOperation; backup: ApiBackup}> => {
    const answer = await agent.client.call('backups.create', {params: {instance: name}, body, idempotencyKey: freshKey()})
    if (!('operation' in answer)) throw new Error('a plan came back')
    const operation = await agent.finish(answer.operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    return {operation, backup: (await agent.client.call('backups.get', {params: {backup: answer.backup.id}})).backup}
  }
  const lifecycle = async (id: 'instances.stop' | 'instances.start', name: string): Promise<void> => {
    const answer = await agent.client.call(id, {params: {instance: name}, body: {}, idempotencyKey: freshKey()})
    const operation = await agent.finish((answer as {operation: ApiOperation}).operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
  }
  const rows = <T>(query: string, ...values: string[]): T[] => {
    const db = new Database(join(agent.site.home, 'metadata.db'), {readonly: true})
    try {
      return db.prepare(query).all(...values) as T[]
    } finally {
      db.close()
    }
  }
  const logOf = (incarnation: string) => rows<{state: string; line: number; position: string; lag_bytes: number}>('SELECT * FROM logs WHERE id = ?', incarnation)[0]
  const repositoryFolder = async (): Promise<string> => (await agent.client.call('repositories.list', {})).repositories[0]?.location as string
  const incarnationOf = (name: string): string => rows<{id: string}>('SELECT id FROM histories WHERE instance_name = ?', name)[0]?.id as string

  it('protects a new instance from its first minute, by itself, and says what is true meanwhile', async () => {
    await create({name: 'demo', size: 'micro'})
    const young = await get('demo')
    assert.equal(young.backup.enabled, true)
    if (young.backup.last_backup_at === null) assert.match(young.status_reason ?? '', /not protected yet/)
    const {backup: truth, status, status_reason} = await protectedNow('demo')
    assert.deepEqual([status, status_reason], ['running', null])
    assert.equal(truth.schedule, '0 2 * * *')
    assert.equal(truth.retention_seconds, 7 * 86_400)
    assert.ok(truth.recoverable_from !== null && truth.recoverable_to !== null && truth.recoverable_from <= truth.recoverable_to)
    assert.equal(truth.last_restore_test, null)
    const [first] = await list('demo')
    assert.deepEqual([first?.trigger, first?.status, first?.type, first?.encrypted], ['first', 'completed', 'full', true])
    assert.ok((first?.size_bytes ?? 0) > 10_000_000 && (first?.stored_bytes ?? 0) < 10_000_000)
    assert.match(first?.checksum ?? '', /^sha256:[0-9a-f]{64}$/)
  })

  it('archives what is committed within a moment', async () => {
    await sql('demo', 'create table t (n int)')
    for (let i = 0; i < 5; i++) {
      await sql('demo', `insert into t values (${i})`)
      const committed = Date.now()
      await until('the commit in the archive', async () => (Date.parse((await get('demo')).backup.recoverable_to ?? '') >= committed ? true : undefined), 20)
    }
    const {backup: truth} = await get('demo')
    assert.ok((truth.log_lag_bytes ?? 1e9) < 16 * 1024 ** 2)
  })

  it('takes another one that stores only what has changed, by its label found, verified and deleted', async () => {
    const taken = await backup('demo', {label: 'before-migration', keep_seconds: 3600})
    assert.equal(taken.backup.type, 'incremental')
    assert.ok((taken.backup.stored_bytes ?? 1e9) < 1_000_000, `${taken.backup.stored_bytes} bytes were stored`)
    await until('its expiry', async () => ((await agent.client.call('backups.get', {params: {backup: 'before-migration'}})).backup.expires_at ? true : undefined), 30)
    const shown = (await agent.client.call('backups.get', {params: {backup: 'before-migration'}})).backup
    assert.equal(Date.parse(shown.expires_at as string), Date.parse(shown.completed_at as string) + 3_600_000)
    const verify = await agent.client.call('backups.verify', {params: {backup: 'before-migration'}, body: {}, idempotencyKey: freshKey()})
    assert.equal((await agent.finish((verify as {operation: ApiOperation}).operation)).status, 'succeeded')
    const remove = await agent.client.call('backups.delete', {params: {backup: 'before-migration'}, query: {}, idempotencyKey: freshKey()})
    assert.equal((await agent.finish((remove as {operation: ApiOperation}).operation)).status, 'succeeded')
    await assert.rejects(agent.client.call('backups.get', {params: {backup: 'before-migration'}}), {code: 'BACKUP_NOT_FOUND'})
    assert.equal((await list('demo')).length, 1)
  })

  it('takes two that are asked for at once one after the other, and one that is asked for twice once', async () => {
    const ask = (idempotencyKey: string) => agent.client.call('backups.create', {params: {instance: 'demo'}, body: {}, idempotencyKey})
    const before = (await list('demo')).length
    const [once, key] = [freshKey(), freshKey()]
    const answers = await Promise.all([ask(once), ask(key)]) as {operation: ApiOperation; backup: ApiBackup}[]
    const repeated = await ask(once) as {operation: ApiOperation; backup: ApiBackup}
    assert.deepEqual([repeated.operation.id, repeated.backup.id], [answers[0]?.operation.id, answers[0]?.backup.id])
    const ended = await Promise.all(answers.map(({operation}) => agent.finish(operation)))
    for (const {status, error} of ended) assert.equal(status, 'succeeded', JSON.stringify(error))
    const [first, second] = ended.sort((a, b) => ((a.steps[0]?.started_at ?? '') < (b.steps[0]?.started_at ?? '') ? -1 : 1)) as [ApiOperation, ApiOperation]
    assert.ok((first.ended_at ?? '') <= (second.steps[0]?.started_at ?? ''), `${first.ended_at} and ${second.steps[0]?.started_at}`)
    const taken = (await list('demo')).filter((b) => answers.some((a) => a.backup.id === b.id))
    assert.deepEqual([(await list('demo')).length, taken.map((b) => b.status), new Set(taken.map((b) => b.snapshot)).size], [before + 2, ['completed', 'completed'], 2])
  })

  it('has the last byte of a server that is stopped, and goes on without a gap when it starts again', async () => {
    const incarnation = incarnationOf('demo')
    await sql('demo', 'insert into t select generate_series(1, 1000)')
    await lifecycle('instances.stop', 'demo')
    const ended = logOf(incarnation)
    assert.deepEqual([ended?.state, ended?.line, ended?.lag_bytes], ['ended', 1, 0])
    assert.equal((await get('demo')).backup.reason, null)
    await lifecycle('instances.start', 'demo')
    await until('the log of the started server', async () => (logOf(incarnation)?.state === 'following' ? true : undefined))
    assert.equal(logOf(incarnation)?.line, 1)
    await backup('demo')
    assert.equal((await get('demo')).status, 'running')
  })

  it('notices a log that was lost, says so, and heals it with a new backup', async () => {
    const incarnation = incarnationOf('demo')
    // what a lost slot is: the server has removed what was not read yet
    await lifecycle('instances.stop', 'demo')
    const instances = join(dataRootOf(agent.site.home), 'instances')
    const slot = readdirSync(instances, {recursive: true, encoding: 'utf8'}).find((path) => path.endsWith(join('pg_replslot', `dbaas_${incarnation}`)))
    assert.ok(slot)
    rmSync(join(instances, slot), {recursive: true})
    // far enough that the server has removed it: the archive must end before what it still has
    const folder = join(await repositoryFolder(), incarnation, 'log')
    for (const timeline of readdirSync(folder)) {
      const segments = readdirSync(join(folder, timeline)).sort()
      for (const segment of segments.slice(1)) rmSync(join(folder, timeline, segment), {recursive: true})
    }
    await lifecycle('instances.start', 'demo')
    const healed = await until('the backup that heals the gap', async () => (await list('demo')).find((b) => b.trigger === 'gap' && b.status === 'completed'), 120)
    assert.equal(logOf(incarnation)?.line, 2)
    const {status, backup: truth} = await get('demo')
    assert.equal(status, 'running')
    assert.equal(truth.recoverable_from, healed.recoverable_from)
    assert.ok(rows<{type: string}>("SELECT type FROM events WHERE type = 'backup.log_gap'").length > 0)
  })

  // Feature: enterprise-dbaas-platform, Property 14: Backup Encryption Completeness
  // Iterations: every object of the repository of one instance
  it('leaves nothing readable in the repository, names and sizes of files included', async () => {
    await sql('demo', "create table secrets as select 'marker-of-a-secret-' || n as text from generate_series(1, 5000) n")
    await sql('demo', 'checkpoint').catch(() => undefined)
    await backup('demo')
    const root = await repositoryFolder()
    const files = readdirSync(root, {recursive: true, withFileTypes: true}).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name))
    assert.ok(files.length > 10)
    for (const file of files) {
      const content = readFileSync(file)
      for (const word of ['marker-of-a-secret', 'pg_control', 'base/1', 'PG_VERSION', 'demo']) assert.ok(!content.includes(word), `${file} has ${word}`)
    }
  })

  // Feature: enterprise-dbaas-platform, Property 15: Backup Integrity Verification
  // Iterations: 100 in test/agent/repositories/damage.test.ts, one through the service
  it('finds a flipped bit, and is degraded when it is in the newest', async () => {
    const {backup: taken} = await backup('demo', {type: 'full'})
    const folder = join(await repositoryFolder(), taken.incarnation, 'packs')
    const packs = readdirSync(folder, {recursive: true, withFileTypes: true}).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name))
    const before = new Map(packs.map((pack) => [pack, readFileSync(pack)]))
    for (const [pack, content] of before) {
      const flipped = Buffer.from(content)
      flipped[Math.floor(flipped.length / 2)] = (flipped[Math.floor(flipped.length / 2)] as number) ^ 1
      writeFileSync(pack, flipped)
    }
    const verify = await agent.client.call('backups.verify', {params: {backup: taken.id}, body: {}, idempotencyKey: freshKey()})
    const operation = await agent.finish((verify as {operation: ApiOperation}).operation)
    assert.deepEqual([operation.status, operation.error?.code], ['failed', 'INTEGRITY_MISMATCH'])
    const instance = await get('demo')
    assert.equal(instance.status, 'degraded')
    assert.match(instance.status_reason ?? '', /newest backup .* is damaged/)
    for (const [pack, content] of before) writeFileSync(pack, content)
    const again = await agent.client.call('backups.verify', {params: {backup: taken.id}, body: {}, idempotencyKey: freshKey()})
    assert.equal((await agent.finish((again as {operation: ApiOperation}).operation)).status, 'succeeded')
    assert.equal((await get('demo')).status, 'running')
  })

  it('wraps all keys by a new master key, with which everything can still be read', async () => {
    const file = join(agent.site.home, 'keys', 'backup.key')
    const before = readFileSync(file)
    const {keys: [exported]} = await agent.client.call('keys.export', {idempotencyKey: freshKey()})
    assert.equal(exported?.key, before.toString('hex'))
    const rotate = await agent.client.call('keys.rotate', {body: {}, idempotencyKey: freshKey()})
    const operation = await agent.finish((rotate as {operation: ApiOperation}).operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    assert.notDeepEqual(readFileSync(file), before)
    assert.ok(!existsSync(`${file}.next`))
    const [newest] = await list('demo')
    const verify = await agent.client.call('backups.verify', {params: {backup: newest?.id as string}, body: {}, idempotencyKey: freshKey()})
    assert.equal((await agent.finish((verify as {operation: ApiOperation}).operation)).status, 'succeeded')
    await backup('demo')
  })

  it('puts back a master key that was lost', async () => {
    const file = join(agent.site.home, 'keys', 'backup.key')
    const {keys: [exported]} = await agent.client.call('keys.export', {idempotencyKey: freshKey()})
    const key = exported?.key as string
    const bring = async (wanted: string): Promise<ApiOperation> => {
      const answer = await agent.client.call('keys.import', {body: {key: wanted}, idempotencyKey: freshKey()})
      return agent.finish((answer as {operation: ApiOperation}).operation)
    }
    // the home has another key, or none: what the agent has open is not asked
    rmSync(file)
    assert.equal((await bring(key)).status, 'succeeded')
    assert.equal(readFileSync(file).toString('hex'), key)
    // what the present one opens is wrapped by the imported one, too
    const other = randomBytes(32).toString('hex')
    assert.equal((await bring(other)).status, 'succeeded')
    assert.equal(readFileSync(file).toString('hex'), other)
    assert.equal((await bring(key)).status, 'succeeded')
    // one that opens nothing changes nothing in the repository, and the right one is still the right one
    rmSync(file)
    assert.equal((await bring(randomBytes(32).toString('hex'))).status, 'succeeded')
    assert.equal(rows("SELECT * FROM events WHERE type = 'keys.unreadable'").length, 1)
    assert.equal((await bring(key)).status, 'succeeded')
    for (const bad of ['00', '5a']) await assert.rejects(bring(bad.repeat(32)), {code: 'INVALID_REQUEST'})
    await backup('demo')
    assert.ok(!JSON.stringify(rows('SELECT * FROM operations')).includes(key))
  })

  it('takes none where none is wanted, and lets go of the log when they are turned off', async () => {
    await create({name: 'plain', size: 'micro', backup: false})
    const plain = await get('plain')
    assert.deepEqual([plain.status, plain.backup.enabled, plain.status_reason], ['running', false, 'not protected: backups are off by request'])
    await assert.rejects(agent.client.call('backups.create', {params: {instance: 'plain'}, body: {}, idempotencyKey: freshKey()}), (e) => e instanceof DbaasError && e.code === 'INVALID_STATE' && e.suggestions[0]?.includes('--on'))
    await agent.client.call('schedules.set', {params: {instance: 'plain'}, body: {enabled: true, cron_expression: '@hourly', retention_seconds: 3600}, idempotencyKey: freshKey()})
    await protectedNow('plain')
    await agent.client.call('schedules.set', {params: {instance: 'plain'}, body: {enabled: false}, idempotencyKey: freshKey()})
    await until('the release of the log', async () => (logOf(incarnationOf('plain'))?.state === 'released' ? true : undefined))
    await assert.rejects(agent.client.call('schedules.set', {params: {instance: 'plain'}, body: {cron_expression: '61 * * * *'}, idempotencyKey: freshKey()}), {code: 'INVALID_REQUEST'})
    await agent.remove('plain')
  })

  it('keeps a last backup of what is deleted, by its name; and of another nothing at all', async () => {
    const root = await repositoryFolder()
    const incarnation = incarnationOf('demo')
    const answer = await agent.client.call('instances.delete', {params: {instance: 'demo'}, query: {final_backup: true}, idempotencyKey: freshKey()})
    const operation = await agent.finish((answer as {operation: ApiOperation}).operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    const kept = await list('demo')
    assert.deepEqual(kept.map((b) => [b.trigger, b.kept, b.expires_at]), [['final', true, null]])
    assert.ok(existsSync(join(root, incarnation)))
    const verify = await agent.client.call('backups.verify', {params: {backup: kept[0]?.id as string}, body: {}, idempotencyKey: freshKey()})
    assert.equal((await agent.finish((verify as {operation: ApiOperation}).operation)).status, 'succeeded')
    const remove = await agent.client.call('backups.delete', {params: {backup: kept[0]?.id as string}, query: {}, idempotencyKey: freshKey()})
    assert.equal((await agent.finish((remove as {operation: ApiOperation}).operation)).status, 'succeeded')
    assert.ok(!existsSync(join(root, incarnation)), 'the key dies with the last backup')

    await create({name: 'gone', size: 'micro'})
    await protectedNow('gone')
    const its = incarnationOf('gone')
    assert.ok(existsSync(join(root, its)))
    assert.equal((await agent.remove('gone')).status, 'succeeded')
    assert.ok(!existsSync(join(root, its)))
    for (const table of ['backups', 'histories', 'policies', 'logs']) assert.deepEqual(rows(`SELECT * FROM ${table}`), [], table)
  })
})

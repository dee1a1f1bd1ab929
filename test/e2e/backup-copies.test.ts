/** A copy of a repository whose place is away: told at once, forgiven for its grace, then a broken promise; and made good by itself. */
import assert from 'node:assert/strict'
import {readdirSync, renameSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import type {ApiInstance, ApiOperation, ApiRepository} from '../../src/core/api/schemas.js'
import {graces} from '../../src/core/backup/protection.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {temporaryFolder} from '../support/temporary.js'
import {until} from '../support/until.js'

describe('a copy of a repository', function () {
  this.timeout(300_000)
  const folder = temporaryFolder('copy')
  const [place, elsewhere] = [join(folder.path, 'second'), join(folder.path, 'unmounted')]
  let agent: InProcess
  /** By how much the agent's clock is ahead; it decides when a copy is due, and how long it has failed. */
  let ahead = 0
  const pass = (ms: number): void => void (ahead += ms)
  before(async () => {
    agent = await startInProcess('backup-copies', {poolSize: 0, now: () => Date.now() + ahead})
    assert.equal((await agent.create({name: 'demo', size: 'micro'})).status, 'succeeded')
    // no backup becomes due when the clock is moved
    await agent.client.call('schedules.set', {params: {instance: 'demo'}, body: {cron_expression: '0 0 1 1 *'}, idempotencyKey: freshKey()})
    await until('the first backup', async () => (await get()).backup.last_backup_at !== null)
    await agent.client.call('repositories.add', {body: {name: 'second', location: place, copy_of: 'local'}, idempotencyKey: freshKey()})
    await until('the first copy', async () => (await copy())?.copied_at != null)
  })
  after(async () => {
    await agent?.dispose()
    folder.dispose()
  })

  const get = async (): Promise<ApiInstance> => (await agent.client.call('instances.get', {params: {instance: 'demo'}})).instance
  const copy = async (): Promise<ApiRepository['copy'] | undefined> => (await agent.client.call('repositories.list', {})).repositories.find((r) => r.name === 'second')?.copy
  const health = async () => {
    const {status, checks} = await agent.client.call('health.get', {})
    return {status, message: checks.find((c) => c.name === 'repositories')?.message ?? ''}
  }
  const events = (): string[] => {
    const db = new Database(join(agent.site.home, 'metadata.db'), {readonly: true})
    try {
      return (db.prepare("SELECT type FROM events WHERE type LIKE 'repository.copy%' OR type LIKE 'backup.promise%' ORDER BY rowid").all() as {type: string}[]).map(({type}) => type)
    } finally {
      db.close()
    }
  }
  const backup = async (): Promise<string> => {
    const answer = await agent.client.call('backups.create', {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()})
    const operation = await agent.finish((answer as {operation: ApiOperation}).operation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    return (answer as {backup: {incarnation: string}}).backup.incarnation
  }
  const snapshots = (root: string, incarnation: string): string[] => readdirSync(join(root, incarnation, 'snapshots')).sort()

  it('whose place is away is told of at once, and has its grace', async () => {
    assert.deepEqual([events(), (await health()).status, (await get()).status], [[], 'ok', 'running'])
    renameSync(place, elsewhere)
    pass(61_000)
    await until('that it failed', async () => (await copy())?.because != null)
    assert.deepEqual(events(), ['repository.copy_failed'])
    const {status, message} = await health()
    assert.equal(status, 'degraded')
    assert.match(message, /the copy second of local is not kept up to date: ./)
    // once more, a few minutes later: the same trouble, told once
    const failed = Date.now() + ahead
    pass(graces.copyMs / 2)
    await backup()
    const instance = await get()
    assert.ok(Date.now() + ahead - failed < graces.copyMs)
    assert.equal(instance.status, 'running')
    // it is protected, and what is wrong is said
    assert.match(instance.status_reason ?? '', /^the copy second of its repository is not kept up to date: ./)
    assert.equal(instance.backup.reason, instance.status_reason)
    assert.deepEqual(events(), ['repository.copy_failed'])
  })

  it('whose grace is over makes the instances degraded, and no backup fail', async () => {
    pass(graces.copyMs / 2 + 1000)
    const {status, status_reason} = await get()
    assert.equal(status, 'degraded')
    assert.match(status_reason ?? '', /not protected as promised: the copy second of its repository is not kept up to date: ./)
    await until('that it is told', async () => events().includes('backup.promise_broken'))
    assert.deepEqual(events(), ['repository.copy_failed', 'backup.promise_broken'])
    await backup()
    assert.equal((await get()).status, 'degraded')
    // nothing was made where the place should be
    assert.throws(() => readdirSync(place), {code: 'ENOENT'})
  })

  it('that is back is brought up to date by itself, and all is well', async () => {
    renameSync(elsewhere, place)
    pass(61_000)
    await until('that it is copied', async () => (await copy())?.because === null)
    await until('that it is told', async () => events().length === 4)
    assert.deepEqual(events(), ['repository.copy_failed', 'backup.promise_broken', 'repository.copy_recovered', 'backup.promise_kept'])
    const {status, status_reason, backup: {reason}} = await get()
    assert.deepEqual([status, status_reason, reason, (await health()).status], ['running', null, null, 'ok'])
    const incarnation = await backup()
    const local = (await agent.client.call('repositories.list', {})).repositories.find((r) => r.name === 'local')?.location as string
    await until('the copy of the newest', async () => snapshots(place, incarnation).join() === snapshots(local, incarnation).join())
    assert.ok(snapshots(place, incarnation).length >= 4)
  })

  describe('and its original, as one adds and forgets them', () => {
    const add = (body: {name: string; location: string; copy_of?: string; copy_to?: string}) => agent.client.call('repositories.add', {body, idempotencyKey: freshKey()})
    const remove = (repository: string) => agent.client.call('repositories.remove', {params: {repository}, idempotencyKey: freshKey()})
    const names = async () => (await agent.client.call('repositories.list', {})).repositories.map((each) => [each.name, each.copy?.of ?? null])

    it('are added at once with copy_to, and the copy follows', async () => {
      await add({name: 'nas', location: join(folder.path, 'nas'), copy_to: join(folder.path, 'nas elsewhere')})
      assert.deepEqual(await names(), [['local', null], ['nas', null], ['nas-copy', 'nas'], ['second', 'local']])
      pass(61_000)
      await until('the first copy', async () => (await agent.client.call('repositories.list', {})).repositories.find(({name}) => name === 'nas-copy')?.copy?.copied_at != null)
    })

    it('are not half added when the place of the copy is something else', async () => {
      await assert.rejects(add({name: 'third', location: join(folder.path, 'third'), copy_to: join(folder.path, 'nas')}), {code: 'REPOSITORY_REFUSED'})
      await assert.rejects(add({name: 'third', location: join(folder.path, 'third'), copy_of: 'local', copy_to: join(folder.path, 'fourth')}), {code: 'INVALID_REQUEST'})
      assert.equal((await names()).length, 4)
    })

    it('are forgotten when nothing needs them, and what is in them stays', async () => {
      for (const used of ['local', 'nas']) await assert.rejects(remove(used), {code: 'INVALID_STATE'})
      const incarnation = await backup()
      await remove('second')
      await remove('nas-copy')
      await remove('nas')
      assert.deepEqual(await names(), [['local', null]])
      assert.ok(readdirSync(place).includes(incarnation))
      // and goes on where it was
      await add({name: 'second', location: place, copy_of: 'local'})
      await assert.rejects(remove('local'), {code: 'INVALID_STATE'})
    })

    it('are not changed into what is not the same repository, nor by a setting that there is not', async () => {
      const update = (settings: Record<string, string>) => agent.client.call('repositories.update', {params: {repository: 'second'}, body: {settings}, idempotencyKey: freshKey()})
      await assert.rejects(update({path: folder.path}), {code: 'INVALID_REQUEST'})
      await assert.rejects(update({credentials: 'x'}), {code: 'INVALID_REQUEST'})
      assert.equal((await agent.client.call('repositories.check', {params: {repository: 'second'}, idempotencyKey: freshKey()})).repository.location, place)
    })
  })
})

/** Restores of real servers: into new ones, in place, undone, cloned; to moments that are in the window, and not to others. */
import assert from 'node:assert/strict'
import {setTimeout as pause} from 'node:timers/promises'
import type {ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {until} from '../support/until.js'

interface Receipt {recovered_to: string | null; backup_id: string; kept_as: string | null; bytes: number; write_gap_ms: number}

describe('restores of real servers', function () {
  this.timeout(300_000)
  let agent: InProcess
  after(() => agent.dispose())

  const get = async (name: string): Promise<ApiInstance> => (await agent.client.call('instances.get', {params: {instance: name}})).instance
  const sql = async (name: string, statement: string): Promise<unknown[][]> =>
    (await agent.client.call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: freshKey()})).rows
  const numbers = async (name: string): Promise<number[]> => (await sql(name, 'select n from journal order by n')).map(([n]) => Number(n))
  const protectedNow = (name: string) => until(`the first backup of ${name}`, async () => {
    const instance = await get(name)
    return instance.backup.recoverable_to === null ? undefined : instance
  }, 90)
  async function ended(answer: object): Promise<ApiOperation> {
    assert.ok('operation' in answer, JSON.stringify(answer))
    return agent.finish(answer.operation as ApiOperation)
  }
  async function good(answer: object): Promise<Receipt> {
    const operation = await ended(answer)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    return operation.result as unknown as Receipt
  }
  const restore = (name: string, body: {to?: string; into?: string; plan?: boolean}) =>
    agent.client.call('instances.restore', {params: {instance: name}, body, idempotencyKey: freshKey()})
  const undo = (name: string) => agent.client.call('instances.undo', {params: {instance: name}, body: {}, idempotencyKey: freshKey()})
  const moment = async (): Promise<string> => {
    await pause(50)
    const [[at]] = await sql('demo', "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')") as [[string]]
    await pause(50)
    return at
  }

  let afterTwo: string
  let inPlace: string

  before(async () => {
    agent = await startInProcess('restores', {poolSize: 0})
    const made = await agent.create({name: 'demo', size: 'micro'})
    assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
    await protectedNow('demo')
    await sql('demo', 'create table journal (n int primary key)')
    for (const n of [1, 2]) await sql('demo', `insert into journal values (${n})`)
    afterTwo = await moment()
    await agent.client.call('points.create', {params: {instance: 'demo'}, body: {name: 'two-are-in'}, idempotencyKey: freshKey()})
    for (const n of [3, 4]) await sql('demo', `insert into journal values (${n})`)
  })

  it('plan without touching anything, and say where they would end', async () => {
    const answer = await restore('demo', {to: afterTwo, plan: true})
    assert.ok('plan' in answer)
    assert.equal(answer.plan.recovery?.complete, true)
    assert.equal(answer.plan.impact, 'restart')
    assert.ok((answer.plan.recovery?.estimated_seconds ?? 0) > 0)
    assert.deepEqual((await agent.client.call('instances.list', {})).instances.map((i) => i.name), ['demo'])
  })

  it('refuse what cannot be, before anything is touched, with the window', async () => {
    for (const to of ['2001-01-01T00:00:00Z', '-3650d', 'FFFF/0', 'no-such-point', '4000000000']) {
      await assert.rejects(restore('demo', {to, plan: true}), (error: {code: string; message: string}) => {
        assert.equal(error.code, 'TARGET_UNREACHABLE', `${to}: ${error.message}`)
        assert.match(error.message, /can be restored to \d{4}-/)
        return true
      }, to)
    }
    await assert.rejects(restore('demo', {to: '2026-99-99'}), {code: 'INVALID_REQUEST'})
    for (const name of ['latest', 'bak_1', '1', 'a b', 'ä']) {
      await assert.rejects(agent.client.call('points.create', {params: {instance: 'demo'}, body: {name}, idempotencyKey: freshKey()}), {code: 'INVALID_REQUEST'}, name)
    }
    await assert.rejects(restore('nobody', {}), {code: 'INSTANCE_NOT_FOUND'})
    await assert.rejects(restore('demo', {into: 'No Name'}), {code: 'INVALID_NAME'})
    assert.deepEqual((await agent.client.call('instances.list', {})).instances.map((i) => i.name), ['demo'])
  })

  it('make a new instance of a moment, which is protected by itself', async () => {
    const receipt = await good(await restore('demo', {to: afterTwo, into: 'then'}))
    assert.deepEqual(await numbers('then'), [1, 2])
    assert.deepEqual(await numbers('demo'), [1, 2, 3, 4])
    assert.ok(receipt.bytes > 10_000_000)
    assert.ok(receipt.recovered_to !== null && receipt.recovered_to <= afterTwo)
    await sql('then', 'insert into journal values (100)')
    await protectedNow('then')
  })

  it('clone everything that was committed when they were asked for', async () => {
    await sql('demo', 'insert into journal values (5)')
    await good(await agent.client.call('instances.clone', {params: {instance: 'demo'}, body: {name: 'copy'}, idempotencyKey: freshKey()}))
    assert.deepEqual(await numbers('copy'), [1, 2, 3, 4, 5])
    await assert.rejects(agent.client.call('instances.clone', {params: {instance: 'demo'}, body: {name: 'copy'}, idempotencyKey: freshKey()}), {code: 'NAME_IN_USE'})
  })

  // Feature: enterprise-dbaas-platform, Property 15: Backup Integrity Verification
  // Iterations: one, all tables and indexes of a restored server
  it('are tried on a throw-away server, with a receipt', async () => {
    const drill = await agent.client.call('drills.restore', {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()})
    const receipt = await good(drill) as unknown as {
      ok: boolean; rto_seconds: number; rpo_seconds: number; tables: number; indexes: number; rows: number; findings_count: number
    }
    assert.deepEqual([receipt.ok, receipt.findings_count], [true, 0])
    assert.ok(receipt.rto_seconds > 0 && receipt.rpo_seconds < 60 && receipt.tables > 60 && receipt.indexes > 100 && receipt.rows > 1000, JSON.stringify(receipt))
    const {backup} = await get('demo')
    assert.deepEqual([backup.last_restore_test?.ok, backup.last_restore_test?.rto_seconds], [true, receipt.rto_seconds])
    assert.deepEqual((await agent.client.call('instances.list', {})).instances.map((i) => i.name).sort(), ['copy', 'demo', 'then'])
  })

  it('of one backup are tried when it is verified, if that is asked', async () => {
    const {backups} = await agent.client.call('backups.list', {query: {instance: 'demo'}})
    const oldest = backups.at(-1) as {id: string}
    const verify = (ref: string) => agent.client.call('backups.verify', {params: {backup: ref}, body: {restore_test: true}, idempotencyKey: freshKey()})
    const receipt = await good(await verify(oldest.id)) as unknown as {ok: boolean; backup_id: string; tables: number; phases: {name: string}[]}
    assert.deepEqual([receipt.ok, receipt.backup_id, receipt.tables > 60, receipt.phases.map(({name}) => name)], [true, oldest.id, true, ['files', 'replay', 'check']])
    assert.equal((await get('demo')).backup.last_restore_test?.ok, true)
    await assert.rejects(verify('bak_none'), {code: 'BACKUP_NOT_FOUND'})
  })

  it('in place keep id, name, password and endpoint, and the old state beside', async () => {
    const before = await get('demo')
    const receipt = await good(await restore('demo', {to: 'two-are-in'}))
    inPlace = receipt.kept_as as string
    assert.match(inPlace, /^demo-before-\d{8}t\d{6}z$/)
    const now = await get('demo')
    assert.deepEqual([now.id, now.endpoint, now.status, now.status_reason?.includes('failed') ?? false], [before.id, before.endpoint, 'running', false])
    assert.deepEqual(await numbers('demo'), [1, 2])
    assert.equal((await get(inPlace)).status, 'stopped')
    await sql('demo', 'insert into journal values (200)')
    await until('a backup of the new history', async () => ((await get('demo')).backup.recoverable_to === null ? undefined : true), 90)
  })

  it('in place are undone, and the state that was gone back from is kept, too', async () => {
    const receipt = await good(await undo('demo'))
    assert.deepEqual(await numbers('demo'), [1, 2, 3, 4, 5])
    const other = receipt.kept_as as string
    assert.match(other, /^demo-undone-/)
    assert.equal((await get(other)).status, 'stopped')
    await assert.rejects(get(inPlace), {code: 'INSTANCE_NOT_FOUND'})
    await assert.rejects(undo('demo'), {code: 'INVALID_STATE'})
    // and it is protected again as if nothing had been: what it writes now can be restored
    await sql('demo', 'insert into journal values (6)')
    await until('the log goes on', async () => ((await get('demo')).backup.recoverable_to === null ? undefined : true), 90)
    await good(await restore('demo', {into: 'later'}))
    assert.deepEqual(await numbers('later'), [1, 2, 3, 4, 5, 6])
    const started = await agent.client.call('instances.start', {params: {instance: other}, body: {}, idempotencyKey: freshKey()})
    await good(started)
    assert.deepEqual(await numbers(other), [1, 2, 200])
  })

  it('of a deleted instance go by its name, where its backups were kept', async () => {
    await good(await agent.client.call('instances.delete', {params: {instance: 'later'}, query: {}, idempotencyKey: freshKey()}))
    await assert.rejects(restore('later', {into: 'again'}), {code: 'BACKUP_NOT_FOUND'})
    await good(await agent.client.call('instances.delete', {params: {instance: 'then'}, query: {final_backup: true}, idempotencyKey: freshKey()}))
    await assert.rejects(restore('then', {}), {code: 'INSTANCE_NOT_FOUND'})
    await good(await restore('then', {into: 'again'}))
    assert.deepEqual(await numbers('again'), [1, 2, 100])
  })
})

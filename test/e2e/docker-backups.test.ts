/** Backups of databases in containers: what is restored is written through the volume, and is a database in a container. */
import assert from 'node:assert/strict'
import {setTimeout as pause} from 'node:timers/promises'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import {dockerOrSkip, images} from '../support/docker.js'
import {dockerLeftovers, leftoversOf, siteOf} from '../support/leftovers.js'
import {temporarySite} from '../support/site.js'
import {until} from '../support/until.js'

describe('backups of a database in a container', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(300_000)
  const site = temporarySite('docker-backups', {env: {DBAAS_IMAGE_POSTGRESQL: images.postgresql, DBAAS_POOL_SIZE: '0'}})
  const get = async (name: string): Promise<ApiInstance> => (await site.json('status', name)).instance
  const sql = async (name: string, statement: string): Promise<unknown[][]> => {
    const answer = await site.json('sql', name, statement)
    assert.ok(answer.rows, JSON.stringify(answer))
    return answer.rows
  }
  const numbers = async (name: string): Promise<number[]> => (await sql(name, 'select n from journal order by n')).map(([n]) => Number(n))
  const good = async (...args: string[]) => {
    const answer = await site.json(...args)
    assert.equal(answer.operation?.status, 'succeeded', JSON.stringify(answer))
    return answer.operation.result
  }
  let afterOne: string

  before(async () => {
    const made = await site.run('create', 'shop', '--runtime', 'docker', '--version', '18', '--size', 'micro')
    assert.equal(made.code, 0, made.stderr)
    await until('the first backup', async () => (await get('shop')).backup.recoverable_to !== null, 90)
    await sql('shop', 'create table journal (n int primary key)')
    await sql('shop', 'insert into journal values (1)')
    await pause(50)
    afterOne = (await sql('shop', "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"))[0]?.[0] as string
    await pause(50)
    await sql('shop', 'insert into journal values (2)')
  })
  after(() => site.dispose())

  it('become a database in a container of any moment, which is protected by itself', async () => {
    await good('restore', 'shop', '--to', afterOne, '--into', 'then')
    assert.deepEqual(await numbers('then'), [1])
    const then = await get('then')
    assert.equal(then.runtime, 'docker')
    assert.notEqual(then.nodes[0]?.container, null)
    await until('its first backup', async () => (await get('then')).backup.recoverable_to !== null, 90)
    assert.equal((await site.run('delete', 'then', '--yes')).code, 0)
  })

  it('become a clone, which says that it is a copy', async () => {
    assert.equal((await good('clone', 'shop', 'copy')).method, 'copy')
    assert.deepEqual(await numbers('copy'), [1, 2])
    assert.equal((await site.run('delete', 'copy', '--yes')).code, 0)
  })

  it('are gone back to in place, under the same address, and back again', async () => {
    const before = await get('shop')
    const {kept_as: kept} = await good('restore', 'shop', '--to', afterOne)
    assert.deepEqual(await numbers('shop'), [1])
    const after = await get('shop')
    assert.deepEqual([after.id, after.endpoint], [before.id, before.endpoint])
    await sql('shop', 'insert into journal values (100)')
    await good('restore', 'shop', '--undo')
    assert.deepEqual(await numbers('shop'), [1, 2])
    const others = (await site.json('list')).instances.map((i: ApiInstance) => i.name).filter((name: string) => name !== 'shop')
    assert.equal(others.length, 1, `${kept} became ${others}`)
    assert.equal((await site.run('delete', others[0], '--yes')).code, 0)
  })

  it('are proven in a container that is thrown away', async () => {
    const receipt = await good('drill', 'restore', 'shop')
    assert.ok(receipt.rto_seconds > 0 && receipt.tables >= 1, JSON.stringify(receipt))
    assert.equal((await get('shop')).backup.last_restore_test?.ok, true)
  })

  it('leave nothing when the database is deleted', async () => {
    const id = siteOf(site.home)
    assert.equal((await site.run('delete', 'shop', '--yes')).code, 0)
    assert.deepEqual(leftoversOf(site.home), [])
    assert.deepEqual(dockerLeftovers(id), [])
  })
})

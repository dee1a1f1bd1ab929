import assert from 'node:assert/strict'
import {DbaasError} from '../../../src/core/errors.js'
import {sizes} from '../../../src/core/instance/sizes.js'
import type {AdminCredentials, ClientCredentials} from '../../../src/engines/engine.js'
import type {Host} from '../../../src/engines/host.js'
import {asAdmin} from '../../../src/engines/postgresql/client.js'
import {postgresql} from '../../../src/engines/postgresql/index.js'
import {bundledPrograms} from '../../support/local-host.js'
import {untilReady} from '../conformance.js'
import {postgresqlSubject} from './subject.js'
import type {PostgresqlSubject} from './subject.js'

const {access, config, lifecycle} = postgresql

describe('a query to PostgreSQL', function () {
  this.timeout(60_000)
  let subject: PostgresqlSubject
  let host: Host
  let admin: AdminCredentials
  let app: ClientCredentials
  const ask = (statement: string, options: {timeoutMs?: number; maxRows?: number} = {}) =>
    access.query(app, statement, {timeoutMs: 10_000, maxRows: 10, ...options})

  before(async () => {
    subject = await postgresqlSubject(bundledPrograms)
    admin = await subject.admin()
    host = await subject.place('main')
    await lifecycle.initialise(host, subject.version)
    await config.write(host, {
      version: subject.version,
      instanceName: 'demo',
      values: config.fromSize(sizes.micro, subject.version),
      tls: await subject.tls(),
    })
    const server = await subject.start(host, lifecycle.command(host, subject.version))
    await untilReady(postgresql, host, admin, server)
    await access.grantApplication(host, admin, {database: 'app', username: 'app', password: 'p'})
    app = {...host.address(), database: 'app', username: 'app', password: 'p', ca: admin.ca, serverName: 'localhost'}
  })
  after(async () => {
    await subject?.close()
  })

  it("names the types of columns, built-in and the user's own", async () => {
    await ask("create type mood as enum ('glad', 'sad'); create domain score as int")
    const {columns, rows} = await ask(`select 1 as a, 2::int8 as b, 1.50::numeric as c, now() as d, '{1,2}'::int[] as e,
      'glad'::mood as f, '{glad}'::mood[] as g,
      'NaN'::float8 as h, '{"a": 1}'::jsonb as i, 4294967295::oid as j, '\\x00ff'::bytea as k`)
    assert.deepEqual(
      columns.map(({type}) => type),
      [
        'integer',
        'bigint',
        'numeric',
        'timestamp with time zone',
        'integer[]',
        'mood',
        'mood[]',
        'double precision',
        'jsonb',
        'oid',
        'bytea',
      ],
    )
    const [row] = rows
    assert.deepEqual(
      [row?.[0], row?.[1], row?.[2], row?.[4], row?.[7], row?.[8], row?.[9], row?.[10]],
      [1, '2', '1.50', '{1,2}', 'NaN', '{"a": 1}', 4294967295, '\\x00ff'],
    )
  })

  it('answers what is no select: nothing, a setting, a plan, a transaction, a copy', async () => {
    assert.deepEqual(await ask('  -- nothing'), {columns: [], rows: [], rowCount: 0, command: '', truncated: false})
    assert.deepEqual((await ask('show server_encoding')).rows, [['UTF8']])
    assert.equal((await ask('explain select 1')).command, 'EXPLAIN')
    assert.equal((await ask('begin; create table gone (n int); rollback')).command, 'ROLLBACK')
    assert.deepEqual((await ask('create table kept (n int)')).command, 'CREATE TABLE')
    assert.deepEqual((await ask('select 1 where false')).rows, [])
    const copy = await ask('copy (select generate_series(1, 20)) to stdout', {maxRows: 2})
    assert.deepEqual([copy.rows, copy.rowCount, copy.truncated, copy.command], [[['1'], ['2']], 20, true, 'COPY'])
  })

  it('cannot be fed by a copy, says so, and serves on', async () => {
    for (const text of ['copy kept from stdin', 'select 1; copy kept from stdin']) {
      await assert.rejects(
        ask(text),
        (error: unknown) =>
          error instanceof DbaasError && error.code === 'SQL_ERROR' && /nothing to copy from/.test(error.message),
      )
    }
    assert.deepEqual((await ask('select 1')).rows, [[1]])
  })

  it('bounds the rows of the last of several statements, and lets the others be done', async () => {
    const result = await ask('insert into kept select generate_series(1, 500); select n from kept order by n', {
      maxRows: 3,
    })
    assert.deepEqual([result.rows, result.rowCount, result.truncated], [[[1], [2], [3]], 500, true])
    assert.deepEqual((await ask('select count(*) from kept')).rows, [['500']])
    const returning = await ask('insert into kept select generate_series(1, 500) returning n', {maxRows: 3})
    assert.deepEqual([returning.rows.length, returning.truncated, returning.command], [3, true, 'INSERT'])
    assert.deepEqual((await ask('select count(*) from kept')).rows, [['1000']])
  })

  it('runs several statements as one transaction: an error undoes them all', async () => {
    await assert.rejects(ask('insert into kept values (-1); select 1/0'))
    assert.deepEqual((await ask('select count(*) from kept where n = -1')).rows, [['0']])
  })

  it('tells state, place and hint of an error', async () => {
    await assert.rejects(ask('select nn from kept'), (error: unknown) => {
      assert.ok(error instanceof DbaasError)
      assert.deepEqual([error.details['sqlstate'], error.details['position']], ['42703', '8'])
      assert.match(String(error.details['hint']), /kept\.n/)
      return true
    })
  })

  it('leaves no session behind, not even of a cancelled statement', async () => {
    await assert.rejects(ask('select pg_sleep(60)', {timeoutMs: 200}))
    await assert.rejects(ask('select 1; select pg_sleep(60)', {timeoutMs: 200}))
    for (let left = 1, tries = 0; left > 0; tries++) {
      assert.ok(tries < 100)
      left = await asAdmin(
        host,
        admin,
        async (client) => (await client.query("select from pg_stat_activity where usename = 'app'")).rowCount ?? 0,
      )
    }
  })
})

import assert from 'node:assert/strict'
import {DbaasError} from '../../../src/core/errors.js'
import {asAdmin} from '../../../src/engines/mysql-family/client.js'
import {appServer} from './server.js'
import type {AppServer} from './server.js'
import {family} from './subject.js'

for (const member of family) {
  describe(`a query to ${member.engine.title}`, function () {
    this.timeout(120_000)
    member.needs()
    const {access} = member.engine
    let on: AppServer
    const ask = (statement: string, options: {timeoutMs?: number; maxRows?: number; signal?: AbortSignal} = {}) =>
      access.query(on.app, statement, {timeoutMs: 10_000, maxRows: 10, ...options})

    before(async () => {
      on = await appServer(member, 'p')
    })
    after(async () => {
      await on?.subject.close()
    })

    it('names the types of columns, and prints bytes as the own client does', async () => {
      await ask(`create table kinds (a tinyint, b bigint unsigned, c decimal(9,2), d datetime(3), e json, f enum('glad', 'sad'),
        g set('x', 'y'), h blob, i varbinary(3), j bit(9), k year, l text, m char(3), n double, o time, p date, q mediumint)`)
      await ask(`insert into kinds values (-1, 18446744073709551615, 1.50, '2026-11-23 19:41:14.211', '{"a": 1}', 'glad', 'x,y',
        x'00ff', 'abc', b'101', 2024, 'ä', 'abc', 0.1, '-01:02:03', '2026-11-23', 8388607)`)
      const {columns, rows} = await ask('select * from kinds')
      assert.deepEqual(
        columns.map(({type}) => type),
        ['tinyint', 'bigint unsigned', 'decimal', 'datetime', 'json', 'enum', 'set', 'blob', 'varbinary', 'bit', 'year', 'text',
          'char', 'double', 'time', 'date', 'mediumint'],
      )
      assert.deepEqual(rows, [
        [-1, '18446744073709551615', '1.50', '2026-11-23 19:41:14.211', '{"a": 1}', 'glad', 'x,y', '0x00FF', '0x616263',
          '0x0005', 2024, 'ä', 'abc', 0.1, '-01:02:03', '2026-11-23', 8388607],
      ])
      const bounds = await ask('select 9007199254740991, -9007199254740991, 9007199254740992, 2024e300')
      assert.deepEqual(bounds.rows, [[9007199254740991, -9007199254740991, '9007199254740992', 2024e300]])
    })

    it('answers what is no select: nothing, a setting, a plan, a transaction, a procedure', async () => {
      assert.deepEqual(await ask('  -- nothing'), {columns: [], rows: [], rowCount: 0, command: '', truncated: false})
      assert.deepEqual((await ask("show variables like 'character_set_client'")).rows, [['character_set_client', 'utf8mb4']])
      assert.equal((await ask('explain select 1')).command, 'EXPLAIN')
      assert.equal((await ask('create table kept (n int)')).command, 'CREATE TABLE')
      assert.equal((await ask('start transaction; insert into kept values (7); rollback')).command, 'ROLLBACK')
      assert.deepEqual((await ask('select n from kept')).rows, [])
      assert.equal((await ask('create procedure two() begin select 1; select 2, 3; end')).command, 'CREATE PROCEDURE')
      const called = await ask('select 0; call two()')
      assert.deepEqual([called.command, called.rows], ['CALL', [[2, 3]]])
      await ask('create procedure none() do 1')
      assert.deepEqual((await ask('select 0; call none()')).rows, [])
    })

    it('reads no file of the client, and says so', async () => {
      for (const text of ["load data local infile '/etc/passwd' into table kept", "select 1; load data local infile '/etc/hostname' into table kept"])
        await assert.rejects(ask(text), (error: unknown) => error instanceof DbaasError && error.code === 'SQL_ERROR')
      assert.deepEqual((await ask('select count(*) from kept')).rows, [[0]])
    })

    it('bounds the rows of the last of several statements, and lets the others be done', async () => {
      const numbers = (count: number): string =>
        `with recursive t(n) as (select 1 union all select n + 1 from t where n < ${count}) select n from t`
      const result = await ask(`insert into kept ${numbers(500)}; select n from kept order by n`, {maxRows: 3})
      assert.deepEqual([result.rows, result.rows.length <= result.rowCount, result.truncated], [[[1], [2], [3]], true, true])
      assert.deepEqual((await ask('select count(*) from kept')).rows, [[500]])
      const between = await ask('select n from kept; insert into kept values (501), (502)', {maxRows: 3})
      assert.deepEqual([between.rowCount, between.command, between.truncated], [2, 'INSERT', false])
      const followed = await ask('select a.n from kept a, kept b; insert into kept values (503); select 1', {maxRows: 3})
      assert.deepEqual([followed.rows, followed.truncated], [[[1]], false])
      assert.deepEqual((await ask('select count(*) from kept')).rows, [[503]])
    })

    it('keeps what the statements before a failed one did, unless they are a transaction', async () => {
      await assert.rejects(ask('insert into kept values (-1); select nope'))
      assert.deepEqual((await ask('select count(*) from kept where n = -1')).rows, [[1]])
      await assert.rejects(ask('start transaction; insert into kept values (-2); select nope'))
      assert.deepEqual((await ask('select count(*) from kept where n = -2')).rows, [[0]])
    })

    it('tells state, number and place of an error, and never the whole statement', async () => {
      await assert.rejects(ask('select nn from kept'), (error: unknown) => {
        assert.ok(error instanceof DbaasError)
        assert.deepEqual([error.details['sqlstate'], error.details['errno']], ['42S22', '1054'])
        return true
      })
      await assert.rejects(ask("select 'secret'\n from kept\n wher n = 1 = ="), (error: unknown) => {
        assert.ok(error instanceof DbaasError)
        assert.deepEqual([error.details['sqlstate'], error.details['line']], ['42000', '3'])
        assert.doesNotMatch(JSON.stringify({...error, cause: {...(error.cause as object)}}), /secret/)
        return true
      })
    })

    it('stops a statement of several at the deadline, and runs none after it', async () => {
      const began = Date.now()
      await assert.rejects(
        ask('select 1; select sleep(60); insert into kept values (-9)', {timeoutMs: 300}),
        (error: unknown) => error instanceof DbaasError && error.code === 'SQL_ERROR' && /longer than 300 ms/.test(error.message),
      )
      await assert.rejects(ask('select 1', {signal: AbortSignal.abort()}))
      assert.ok(Date.now() - began < 5000)
      assert.deepEqual((await ask('select count(*) from kept where n = -9')).rows, [[0]])
    })

    it('leaves no session behind, not even of a cancelled statement', async () => {
      await assert.rejects(ask('select sleep(60)', {timeoutMs: 200}))
      await assert.rejects(ask('do sleep(60)', {timeoutMs: 200}))
      for (let left = 1, tries = 0; left > 0; tries++) {
        assert.ok(tries < 100)
        left = (
          await asAdmin(member.dialect, on.host, on.admin, (client) =>
            client.query("select id from information_schema.processlist where user = 'app'"),
          )
        ).length
      }
    })

    it('serves on when a result has what the driver could stumble over', async () => {
      const wide = await ask(`select ${Array.from({length: 300}, (_, n) => `${n} as c${n}`).join(', ')}`)
      assert.equal(wide.columns.length, 300)
      const long = await ask("select repeat('ä', 2000000) as t, '' as e, null as n")
      assert.deepEqual([String(long.rows[0]?.[0]).length, long.rows[0]?.[1], long.rows[0]?.[2]], [2_000_000, '', null])
      const twice = await ask('select 1 as a, 2 as a')
      assert.deepEqual([twice.columns.map(({name}) => name), twice.rows], [['a', 'a'], [[1, 2]]])
    })
  })
}

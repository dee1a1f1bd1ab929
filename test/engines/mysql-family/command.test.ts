import assert from 'node:assert/strict'
import {lastCommand} from '../../../src/engines/mysql-family/command.js'

describe('the command that a text of MySQL ends with', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['', ''],
    [' ; ; -- nothing', ''],
    ['select 1', 'SELECT'],
    ['(select 1) union (select 2)', 'SELECT'],
    ['/* a; b */ # c; d\n-- e; f\ninsert into t values (1)', 'INSERT'],
    ["select ';', \"a;b\", `c;d`, 'it''s; \\'; x'; update t set n = 1", 'UPDATE'],
    ['insert into t select 1; ', 'INSERT'],
    ['with a as (select 1) select * from a', 'SELECT'],
    ['with a as (select 1) delete from t where n in (select * from a)', 'DELETE'],
    ['table t', 'SELECT'],
    ['values row(1)', 'SELECT'],
    ['create temporary table if not exists t (n int)', 'CREATE TABLE'],
    ['drop database x', 'DROP DATABASE'],
    ['truncate t', 'TRUNCATE'],
    ['/*!50000 replace into t values (1) */', 'REPLACE'],
    ['/*M!100000 select 1 */', 'SELECT'],
    ['begin; insert into t values (1); commit', 'COMMIT'],
    ['start transaction; if_table; rollback', 'ROLLBACK'],
    [
      `create definer = \`a\`@\`%\` procedure p() begin declare n int; if n = 1 then select 1; end if;
       case n when 1 then select 2; else begin end; end case; set n = case when 1 then 2 end;
       while n do set n = 0; end while; l: loop leave l; end loop l; repeat set n = 1; until n end repeat; end`,
      'CREATE PROCEDURE',
    ],
    ['create trigger g before insert on t for each row begin set new.n = 1; end; select 1', 'SELECT'],
    ['create procedure p() select 1; call p()', 'CALL'],
    ["create procedure p() begin select if(1, 2, 3), repeat('x', 3); end; select 1", 'SELECT'],
    ['create procedure p() if 1 then select 1; end if;', 'CREATE PROCEDURE'],
  ]
  for (const [text, command] of cases)
    it(`is ${command || 'none'} for ${JSON.stringify(text.slice(0, 50))}`, () => assert.equal(lastCommand(text).command, command))

  it('counts the statements before it', () => {
    assert.equal(lastCommand('').before, 0)
    assert.equal(lastCommand("select 1; select ';'; call p()").before, 2)
  })
})

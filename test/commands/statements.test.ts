import assert from 'node:assert/strict'
import fc from 'fast-check'
import {stateOf, withoutEnd} from '../../src/commands/_support/prompt/statements.js'
import {prompt as mysql} from '../../src/engines/mysql/prompt.js'
import {prompt as postgresql} from '../../src/engines/postgresql/prompt.js'

const {lexis} = postgresql.words
const mysqlLexis = mysql.words.lexis

describe('where a statement ends', () => {
  const cases: readonly (readonly [text: string, state: ReturnType<typeof stateOf>])[] = [
    ['select 1;', 'complete'],
    ['select 1', 'pending'],
    ['', 'pending'],
    ['select 1; select 2', 'pending'],
    ['select 1; -- done', 'complete'],
    ["select ';", 'quoted'],
    ["select ';';", 'complete'],
    ["select 'it''s;", 'quoted'],
    ["select E'a\\';", 'quoted'],
    ["select E'a\\'';", 'complete'],
    ["select 'a\\';", 'complete'],
    ['select "a;', 'quoted'],
    ['select 1 -- ;', 'pending'],
    ['select 1 /* ; */', 'pending'],
    ['select 1 /* /* ; */', 'quoted'],
    ['select 1 /* /* */ */;', 'complete'],
    ['do $$ begin; end', 'quoted'],
    ['do $$ begin; end $$;', 'complete'],
    ['do $a$ $$; $a$;', 'complete'],
    ['do $a$ $$;', 'quoted'],
    ['select $1;', 'complete'],
    ['select a$b$ from c;', 'complete'],
  ]
  for (const [text, state] of cases) it(`${JSON.stringify(text)} is ${state}`, () => assert.equal(stateOf(text, lexis), state))

  it('never ends inside any quoted thing, whatever is in it', () => {
    const inside = fc.string({maxLength: 30})
    const quoted = fc.oneof(
      inside.map((text) => [`'${text.replaceAll("'", "''")}'`, "'"] as const),
      inside.map((text) => [`"${text.replaceAll('"', '""')}"`, '"'] as const),
      inside.map((text) => [`$q$${text.replaceAll('$', '')}$q$`, '$q$'] as const),
      inside.map((text) => [`/*${text.replace(/[*/]/g, '')}*/`, '*/'] as const),
    )
    fc.assert(fc.property(quoted, ([whole, end]) => {
      assert.equal(stateOf(`select ${whole.slice(0, -end.length)};`, lexis), 'quoted')
      assert.equal(stateOf(`select 1 ${whole} ;`, lexis), 'complete')
    }), {numRuns: 500})
  })

  const ofMysql: readonly (readonly [text: string, state: ReturnType<typeof stateOf>, delimiter?: string])[] = [
    ["select 'it\\'s;", 'quoted'],
    ["select 'it\\'s';", 'complete'],
    ['select "a\\";', 'quoted'],
    ['select `a\\`;', 'complete'],
    ['select `a;', 'quoted'],
    ['select 1 # ;', 'pending'],
    ['select 1; # done', 'complete'],
    ['select 1 -- ;', 'pending'],
    ['select 5--2;', 'complete'],
    ['select 1 /* /* ; */;', 'complete'],
    ['/*!40101 set names utf8 */;', 'complete'],
    ['select $$;', 'complete'],
    ['select 1\\G', 'complete'],
    ["select 1 as '\\\\G", 'quoted'],
    ['select 1\\Gx', 'pending'],
    ['begin; select 1; end', 'pending', '//'],
    ['begin; select 1; end//', 'complete', '//'],
    ["select '//", 'quoted', '//'],
  ]
  for (const [text, state, delimiter] of ofMysql) {
    it(`${JSON.stringify(text)} is ${state} to MySQL${delimiter === undefined ? '' : ` with the delimiter ${delimiter}`}`, () =>
      assert.equal(stateOf(text, mysqlLexis, delimiter), state))
  }

  it('is not part of the statement where the server does not know it', () => {
    assert.deepEqual(withoutEnd('select 1;', lexis, ';'), {statement: 'select 1;', vertical: false})
    assert.deepEqual(withoutEnd('select 1\\G', mysqlLexis, ';'), {statement: 'select 1', vertical: true})
    assert.deepEqual(withoutEnd('create procedure p() begin end //\n', mysqlLexis, '//'), {statement: 'create procedure p() begin end ', vertical: false})
  })
})

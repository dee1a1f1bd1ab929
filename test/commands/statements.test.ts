import assert from 'node:assert/strict'
import fc from 'fast-check'
import {leavesTransactionOpen, stateOf} from '../../src/commands/_support/prompt/statements.js'

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
  for (const [text, state] of cases) it(`${JSON.stringify(text)} is ${state}`, () => assert.equal(stateOf(text), state))

  it('never ends inside any quoted thing, whatever is in it', () => {
    const inside = fc.string({maxLength: 30})
    const quoted = fc.oneof(
      inside.map((text) => [`'${text.replaceAll("'", "''")}'`, "'"] as const),
      inside.map((text) => [`"${text.replaceAll('"', '""')}"`, '"'] as const),
      inside.map((text) => [`$q$${text.replaceAll('$', '')}$q$`, '$q$'] as const),
      inside.map((text) => [`/*${text.replace(/[*/]/g, '')}*/`, '*/'] as const),
    )
    fc.assert(fc.property(quoted, ([whole, end]) => {
      assert.equal(stateOf(`select ${whole.slice(0, -end.length)};`), 'quoted')
      assert.equal(stateOf(`select 1 ${whole} ;`), 'complete')
    }), {numRuns: 500})
  })

  it('knows a transaction that would stay open', () => {
    assert.ok(leavesTransactionOpen('begin;'))
    assert.ok(leavesTransactionOpen('START TRANSACTION; insert into t values (1);'))
    assert.ok(!leavesTransactionOpen('begin; insert into t values (1); commit;'))
    assert.ok(!leavesTransactionOpen('do $$ begin null; end $$;'))
  })
})

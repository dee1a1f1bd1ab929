/** What a copy is held against: two servers that have the same, and then differ in one thing. */
import assert from 'node:assert/strict'
import {compare} from '../../../src/engines/postgresql/upgrade/compare.js'
import {findTools, toolHints} from '../../../src/engines/postgresql/upgrade/tools.js'
import {bundledPrograms} from '../../support/local-host.js'
import {testSite, type TestServer, type TestSite} from './backup/server.js'

const contents = [
  'create role someone', "create type public.mood as enum ('sad', 'ok')", 'create table public.t (n int primary key, s text not null, m public.mood default \'ok\')',
  "insert into public.t select g, 'row ' || g from generate_series(1, 1000) g", 'create index t_s on public.t (s)', 'create sequence public.numbers', "select nextval('public.numbers')",
  "create function public.twice(n int) returns int language sql as 'select n * 2'", 'create view public.v as select n from public.t', "comment on table public.t is 'a table'",
  'create table public.short as select generate_series(1, 1000) as n', "select lo_from_bytea(4711, 'large')", 'grant select on public.t to someone', 'create table public.parent (a int, b int)', 'insert into public.parent values (1, 2)',
]

/** One thing that is made otherwise in the copy, how it is told, and how it is put right. */
const changes: readonly (readonly [string, RegExp, string])[] = [
  ["update public.t set s = 'row 8' where n = 7", /the rows of public\.t are not the same/, "update public.t set s = 'row 7' where n = 7"],
  ['delete from public.short where n = 1000', /public\.short has 999 rows instead of 1000/, 'insert into public.short values (1000)'],
  ["select setval('public.numbers', 5)", /the sequence public\.numbers is not where it was/, "select setval('public.numbers', 1)"],
  ['drop index public.t_s', /index public\.t_s is missing/, 'create index t_s on public.t (s)'],
  ['alter table public.t alter s drop not null', /column public\.t\.s is not the same/, 'alter table public.t alter s set not null'],
  ["create or replace function public.twice(n int) returns int language sql as 'select n * 3'", /function body public\.twice\(.*\) is not the same/, "create or replace function public.twice(n int) returns int language sql as 'select n * 2'"],
  ['drop view public.v', /relation public\.v is missing/, 'create view public.v as select n from public.t'],
  ["alter type public.mood add value 'happy'", /labels public\.mood is not the same/, ''],
  ['revoke select on public.t from someone', /relation public\.t is not the same/, 'grant select on public.t to someone'],
  ["alter role someone password 'new'", /role someone is not the same/, 'alter role someone password null'],
  ["select lo_put(4711, 0, 'L')", /large objects is not the same/, "select lo_put(4711, 0, 'l')"],
  ["comment on table public.t is 'another'", /comments pg_class is not the same/, "comment on table public.t is 'a table'"],
  ['create table public.more ()', /relation public\.more was not there before/, 'drop table public.more'],
  ['alter table public.t drop constraint t_pkey', /constraint t_pkey on public\.t is missing/, 'alter table public.t add primary key (n)'],
]

describe('a copy of a server', function () {
  this.timeout(120_000)
  let site: TestSite
  let one: TestServer
  let other: TestServer
  const differences = async (): Promise<readonly string[]> =>
    (await compare(one.host, other.host, one.admin, {progress: () => undefined, signal: new AbortController().signal})).differences

  before(async () => {
    site = await testSite(bundledPrograms)
    ;[one, other] = [await site.server('one'), await site.server('other')]
    for (const server of [one, other]) for (const statement of contents) await server.sql(statement)
    // the order of columns is not what a table says
    await other.sql('drop table public.parent')
    await other.sql('create table public.parent (b int, a int)')
    await other.sql('insert into public.parent values (2, 1)')
  })
  after(() => site.close())

  it('is the same where everything is', async () => {
    const report = await compare(one.host, other.host, one.admin, {progress: () => undefined, signal: new AbortController().signal})
    assert.deepEqual(report.differences, [])
    assert.ok(report.databases >= 3 && report.tables === 3 && report.rows === 2001 && report.objects > 20, JSON.stringify(report))
  })

  it('is not the same where one thing is otherwise, whatever it is, and says which', async () => {
    for (const [make] of changes) await other.sql(make)
    const found = await differences()
    for (const [make, told] of changes) assert.ok(found.some((each) => told.test(each)), `${make}: ${found.join('\n')}`)
    for (const [make, , unmake] of changes) await (unmake === '' ? one.sql(make) : other.sql(unmake))
    assert.deepEqual(await differences(), [])
  })

  it('needs programs that are not older than what is read, and not newer than what is written', async () => {
    const {host} = one
    const between = (from: string, to: string) => findTools(host, {from, to}, ['/nowhere'])
    assert.equal(await between('19.1', '20.2'), undefined)
    const found = await between('14.1', '18.4')
    if (found) {
      const major = Number.parseInt(found.version, 10)
      assert.ok(major >= 14 && major <= 18)
      assert.equal(await between(`${major + 1}.0`, '30.0'), undefined)
      assert.equal(await between('1.0', `${major - 1}.0`), undefined)
    }
    assert.match(toolHints({from: '15.1', to: '18.4'})[0] ?? '', /apt-get install postgresql-client-18$/)
  })
})

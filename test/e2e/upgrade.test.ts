/** Another version of real servers: minor by one restart under a real writer, major by a copy that is compared; both undone; refused where they cannot be. */
import assert from 'node:assert/strict'
import {chmodSync, existsSync, renameSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {ApiInstance, ApiOperation, BodyOf} from '../../src/core/api/schemas.js'
import {engines} from '../../src/engines/index.js'
import {connectTo} from '../support/clients.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {leftoversOf} from '../support/leftovers.js'
import {needOrSkip} from '../support/need.js'
import {dataRootOf} from '../support/site.js'
import {superuser} from '../support/superuser.js'
import {until} from '../support/until.js'
import {startWriter} from '../support/writer.js'

interface Receipt {
  readonly from: string
  readonly to: string
  readonly applied: string
  readonly write_gap_ms: number
  readonly kept_as: string
  readonly tables: number
  readonly rows: number
  readonly objects: number
  readonly endpoint: string
}

/** The bundled version, and the newest before it of the same series that the registry has. */
function twoMinors(): {older: string; newer: string} {
  const known = engines.postgresql.versions.known(`${process.platform}-${process.arch}`)
  for (const {version: newer} of known) {
    const older = known.find(({version}) => version !== newer && version.split('.')[0] === newer.split('.')[0])?.version
    if (older !== undefined) return {older, newer}
  }
  throw new Error('the registry has no two minor versions of one series')
}

function verbs(agent: () => InProcess) {
  const call = async (id: 'instances.upgrade', name: string, body: BodyOf<'instances.upgrade'>) => agent().client.call(id, {params: {instance: name}, body, idempotencyKey: freshKey()})
  const good = async (answer: object): Promise<Receipt> => {
    assert.ok('operation' in answer, JSON.stringify(answer))
    const operation = await agent().finish(answer.operation as ApiOperation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    return operation.result as unknown as Receipt
  }
  return {
    good,
    upgrade: (name: string, version: string) => call('instances.upgrade', name, {version}),
    async plan(name: string, version: string) {
      const answer = await call('instances.upgrade', name, {version, plan: true})
      assert.ok('plan' in answer)
      return answer.plan
    },
    undo: (name: string, body: {plan?: boolean} = {}) => agent().client.call('instances.undo_upgrade', {params: {instance: name}, body, idempotencyKey: freshKey()}),
    get: async (name: string): Promise<ApiInstance> => (await agent().client.call('instances.get', {params: {instance: name}})).instance,
    names: async (): Promise<string[]> => (await agent().client.call('instances.list', {})).instances.map((i) => i.name).sort(),
    sql: async (name: string, statement: string): Promise<unknown[][]> =>
      (await agent().client.call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: freshKey()})).rows,
    async install(version: string) {
      const answer = await agent().client.call('engines.install', {params: {engine: 'postgresql'}, body: {version}, idempotencyKey: freshKey()})
      assert.ok('operation' in answer)
      await good(answer)
    },
  }
}

describe('a minor version', function () {
  this.timeout(300_000)
  const {older, newer} = twoMinors()
  let agent: InProcess
  const {good, upgrade, plan, undo, get, sql, install} = verbs(() => agent)
  const runs = async (): Promise<string> => String((await sql('demo', 'show server_version'))[0]?.[0]).split(' ')[0] as string

  before(async () => {
    agent = await startInProcess('upgrade-minor', {poolSize: 0})
    for (const version of [older, newer]) await install(version)
    const made = await agent.create({name: 'demo', size: 'micro', version: older})
    assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
    await sql('demo', 'create table journal as select generate_series(1, 1000) as n')
  })
  after(() => agent.dispose())

  it('is planned without being changed', async () => {
    const {impact, reversible, upgrade: told, steps} = await plan('demo', newer)
    assert.deepEqual([impact, reversible, told?.from, told?.to, told?.way], ['restart', true, older, newer, 'restart'])
    assert.ok(steps.includes('hold-connections'))
    assert.equal((await get('demo')).version, older)
  })

  it('loses nothing that was acknowledged, and the gap that was measured is the gap that was felt', async () => {
    const writer = await startWriter(agent.site, 'demo')
    const {from, to, applied, write_gap_ms: gap} = await good(await upgrade('demo', newer))
    const {lost, gapMs} = await writer.stop()
    assert.deepEqual([from, to, applied, lost], [older, newer, 'restart', []])
    // the writer also counts its pause, its way and its new connection
    assert.ok(gap > 0 && gap <= gapMs + 100, `${gap} said, ${gapMs} felt`)
    const {version, status} = await get('demo')
    assert.deepEqual([version, status, await runs()], [newer, 'running', newer])
    console.log(`      ${older} to ${newer}: write gap ${gap} ms (felt ${gapMs} ms)`)
  })

  it('that it has already is nothing to do', async () => {
    const {pid} = (await get('demo')).nodes[0] as {pid: number}
    assert.equal((await good(await upgrade('demo', newer))).applied, 'none')
    assert.equal((await get('demo')).nodes[0]?.pid, pid)
    assert.equal((await plan('demo', newer)).impact, 'none')
  })

  it('that is older is refused, with the way back; and there is one', async () => {
    await assert.rejects(upgrade('demo', older), (error: {code: string; suggestions: string[]}) => {
      assert.equal(error.code, 'INVALID_REQUEST')
      assert.ok(error.suggestions.includes('dbaas upgrade demo --undo'), String(error.suggestions))
      return true
    })
    assert.equal((await good(await undo('demo'))).to, older)
    assert.deepEqual([(await get('demo')).version, await runs(), await sql('demo', 'select count(*)::int from journal')], [older, older, [[1000]]])
    await assert.rejects(undo('demo'), {code: 'INVALID_STATE'})
  })

  it('that does not start is taken back, and the old one serves', async () => {
    const program = join(dataRootOf(agent.site.home), 'engines', 'postgresql', newer, 'native', 'bin', 'postgres')
    renameSync(program, `${program}.good`)
    writeFileSync(program, '#!/bin/sh\necho "2026-01-01 00:00:00.000 UTC [1] FATAL:  this program is broken" >&2\nexit 1\n')
    chmodSync(program, 0o755)
    const writer = await startWriter(agent.site, 'demo')
    const answer = await upgrade('demo', newer)
    assert.ok('operation' in answer)
    const {status, error} = await agent.finish(answer.operation)
    renameSync(`${program}.good`, program)
    const {lost} = await writer.stop()
    assert.deepEqual([status, lost], ['failed', []])
    assert.match(error?.message ?? '', /this program is broken/)
    const instance = await get('demo')
    assert.deepEqual([instance.version, instance.status, await runs()], [older, 'running', older])
  })

  it('of a stopped database is that of its next start', async () => {
    const act = async (id: 'instances.stop' | 'instances.start') => good(await agent.client.call(id, {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()}))
    await act('instances.stop')
    assert.equal((await good(await upgrade('demo', newer))).applied, 'next-start')
    await act('instances.start')
    assert.deepEqual([(await get('demo')).version, await runs()], [newer, newer])
  })

  it('that nobody has, or that is not installed, is refused as a create would refuse it', async () => {
    await assert.rejects(upgrade('demo', '18.77'), {code: 'UNKNOWN_VERSION'})
    await assert.rejects(upgrade('nobody', newer), {code: 'INSTANCE_NOT_FOUND'})
    assert.equal((await agent.site.run('upgrade', 'demo')).code, 2)
  })

  it('leaves nothing', async () => {
    await agent.remove('demo')
    assert.deepEqual(leftoversOf(agent.site.home), [])
  })
})

describe('a minor version of several servers', function () {
  this.timeout(300_000)
  const {older, newer} = twoMinors()
  let agent: InProcess
  const {good, upgrade, plan, undo, get, install} = verbs(() => agent)
  const all = async (): Promise<string[]> => Promise.all((await get('demo')).nodes.map(async ({id}) => {
    const {rows} = await agent.client.call('instances.sql', {params: {instance: 'demo'}, body: {statement: 'show server_version', node: id}, idempotencyKey: freshKey()})
    return String(rows[0]?.[0])
  }))

  before(async () => {
    agent = await startInProcess('upgrade-rolling', {poolSize: 0})
    for (const version of [older, newer]) await install(version)
    const made = await agent.create({name: 'demo', size: 'micro', version: older, high_availability: true, backup: false})
    assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
  })
  after(() => agent.dispose())

  it('goes from one to the next, and the primary last, by a switchover; nothing that was acknowledged is lost', async () => {
    const {impact, upgrade: told} = await plan('demo', newer)
    assert.deepEqual([impact, told?.way], ['failover', 'rolling'])
    const primary = (await get('demo')).nodes.find(({role}) => role === 'primary')?.name
    const writer = await startWriter(agent.site, 'demo')
    const {from, to, applied, write_gap_ms: gap} = await good(await upgrade('demo', newer))
    const {lost, gapMs} = await writer.stop()
    assert.deepEqual([from, to, applied, lost], [older, newer, 'rolling', []])
    const now = await get('demo')
    assert.deepEqual([now.version, await all()], [newer, [newer, newer, newer]])
    assert.notEqual(now.nodes.find(({role}) => role === 'primary')?.name, primary)
    console.log(`      ${older} to ${newer} on three servers: write gap ${gap} ms (felt ${gapMs} ms)`)
  })

  it('is gone back from the same way', async () => {
    const writer = await startWriter(agent.site, 'demo')
    assert.equal((await good(await undo('demo'))).applied, 'rolling')
    assert.deepEqual((await writer.stop()).lost, [])
    assert.deepEqual([(await get('demo')).version, await all()], [older, [older, older, older]])
  })

  it('leaves nothing', async () => {
    await agent.remove('demo')
    assert.deepEqual(leftoversOf(agent.site.home), [])
  })
})

const debian15 = '/usr/lib/postgresql/15/bin'
/** Of every kind of thing that a copy must bring along; run in the database of the application, by the superuser. */
const contents = [
  'create extension pg_trgm schema public', 'create extension hstore schema public', 'create extension pgcrypto schema public',
  "create role reader login password 'let me in' valid until '2099-01-01'", 'create role team nologin', 'grant team to reader', "alter role reader set statement_timeout = '17s'",
  'create schema shop authorization app', "create type public.mood as enum ('sad', 'ok', 'happy')", 'create type public.pair as (a int, b text)', 'create domain public.percent as int check (value between 0 and 100)',
  `create table public.kinds (id bigint generated always as identity primary key, i int, n numeric(30, 10), f float8, r real, t text collate "C", b bytea, j jsonb, x xml, ts timestamptz, d date, iv interval,
    ip inet, u uuid, arr int[][], rng int4range, m public.mood, p public.pair, pct public.percent, h public.hstore, v tsvector, bits bit(5), mny money, pt point, up text generated always as (upper(t)) stored)`,
  `insert into public.kinds (i, n, f, r, t, b, j, x, ts, d, iv, ip, u, arr, rng, m, p, pct, h, v, bits, mny, pt)
    select g, g * 1.0000000001, sqrt(g), 1.0 / (1 + g), repeat(md5(g::text), 1 + g % 90), decode(md5(g::text), 'hex'), jsonb_build_object('g', g, 'l', array[g]), '<a>1</a>'::xml,
      '2026-01-01'::timestamptz + g * interval '1 hour 1 microsecond', '2026-01-01'::date + g, g * interval '1 day 3 minutes', ('10.0.0.' || g % 255)::inet, md5(g::text)::uuid, array[[g, 1], [2, 3]], int4range(g, g + 10),
      (enum_range(null::public.mood))[1 + g % 3], row(g, 'ä "quoted" \\ text')::public.pair, g % 101, public.hstore('k', g::text), to_tsvector('english', 'some words ' || g), (g % 32)::bit(5), g::money, point(g, -g)
    from generate_series(1, 2000) g`,
  'create index kinds_trgm on public.kinds using gin (t public.gin_trgm_ops)', 'create unique index kinds_partial on public.kinds (lower(t), i) where i > 10', 'create index kinds_brin on public.kinds using brin (ts)',
  'create table public.orders (id int primary key, kind bigint references public.kinds on delete cascade, total numeric check (total >= 0), unique (kind, total)) with (fillfactor = 70)',
  'insert into public.orders select g, g, g from generate_series(1, 500) g',
  'create table public.events (at date not null, n int) partition by range (at)', "create table public.events_old partition of public.events for values from ('2025-01-01') to ('2026-01-01')",
  'create table public.events_rest partition of public.events default', "insert into public.events select '2025-06-01'::date + g, g from generate_series(1, 400) g", 'create index on public.events (n)',
  'create table public.parent (a int)', 'create table public.child (b int) inherits (public.parent)', 'alter table public.parent add column c int', 'insert into public.child values (1, 2, 3)',
  'create table public.nothing ()', 'insert into public.nothing default values', 'create unlogged table public.fast (n int)', 'insert into public.fast values (1)',
  'create sequence shop.numbers start 100 increment 7 cycle maxvalue 1000', "select nextval('shop.numbers'), nextval('shop.numbers')",
  'create view public.large as select id, t from public.kinds where i > 1000', 'create materialized view public.sums as select m, count(*) from public.kinds group by m', 'create index on public.sums (m)',
  "create function public.twice(n int) returns int language sql immutable as 'select n * 2'",
  "create function public.noted() returns trigger language plpgsql as $$ begin new.total := coalesce(new.total, 0); return new; end $$", 'create procedure public.nothing_done() language sql as $$ select 1 $$',
  'create trigger noted before insert on public.orders for each row execute function public.noted()', 'alter table public.orders enable row level security', 'create policy mine on public.orders for select to reader using (total > 10)',
  "create rule silent as on delete to public.nothing do instead nothing", 'create statistics public.together on i, m from public.kinds', "comment on table public.kinds is 'of every kind'",
  'create aggregate public.product (int) (sfunc = int4mul, stype = int, initcond = 1)', 'create operator public.=== (leftarg = int, rightarg = int, function = int4eq)',
  'create text search configuration public.plain (copy = simple)', 'create publication everything for table public.orders', "create collation public.german (provider = icu, locale = 'de')",
  'grant select on public.kinds to reader', 'grant select (id) on public.orders to team with grant option', 'alter default privileges in schema shop grant select on tables to reader',
  'alter table public.kinds owner to app', 'alter table public.orders owner to app', "alter database app set work_mem = '9MB'", "alter role app in database app set enable_seqscan = on",
  "select lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex')), lo_from_bytea(0, ''), lo_create(815)", 'alter large object 4711 owner to app',
]

describe('a major version', function () {
  this.timeout(300_000)
  needOrSkip(() => (existsSync(join(debian15, 'pg_dump')) && existsSync(join(debian15, 'postgres')) ? undefined : `there is no pg_dump and postgres in ${debian15}: apt-get install postgresql-15`))
  const root = superuser()
  const target = engines.postgresql.versions.default
  let agent: InProcess
  const {good, upgrade, plan, undo, get, names, sql} = verbs(() => agent)
  const protectedNow = (name: string) => until(`the first backup of ${name}`, async () => (await get(name)).backup.recoverable_to !== null, 90)
  const numbers = async (name: string): Promise<number[]> => (await sql(name, 'select n from journal order by n')).map(([n]) => Number(n))
  let source: string
  let before15: string
  let kept: string

  before(async () => {
    agent = await startInProcess('upgrade-major', {poolSize: 0, engines: root.engines})
    const made = await agent.create({name: 'shop', size: 'micro', version: '15'})
    assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
    source = (await get('shop')).version
    for (const statement of contents) await root.sql('shop', statement, 'app').catch((error: Error) => assert.fail(`${statement}: ${error.message}`))
    await root.sql('shop', 'create database second owner app')
    await root.sql('shop', 'create table public.elsewhere as select generate_series(1, 100) as n', 'second')
    await root.sql('shop', 'create table public.admin_notes as select 1 as n')
    await sql('shop', 'create table journal (n int primary key)')
    await sql('shop', 'insert into journal values (1), (2)')
    await protectedNow('shop')
    const archivedAt = Date.now()
    before15 = new Date(archivedAt).toISOString()
    await sql('shop', 'insert into journal values (3)')
    await until('the log', async () => Date.parse((await get('shop')).backup.recoverable_to ?? '') > archivedAt)
  })
  after(() => agent?.dispose())

  it('is planned: the way, how much, with what, for how long, and what would be kept', async () => {
    const {impact, reversible, upgrade: told, steps} = await plan('shop', '18')
    assert.deepEqual([impact, reversible, told?.way, told?.from, told?.to, told?.obstacles], ['restart', true, 'copy', source, target, []])
    assert.match(told?.tools ?? '', /^PostgreSQL 15\./)
    assert.ok((told?.size_bytes ?? 0) > 5_000_000 && (told?.estimated_seconds ?? 0) > 0)
    assert.match(told?.kept_as ?? '', /^shop-before-/)
    assert.ok(steps.includes('compare'))
    assert.deepEqual(await names(), ['shop'])
  })

  it('is refused where something stands in the way, by name, before anything is touched', async () => {
    const refused = async (name: string, make: string, unmake: string): Promise<void> => {
      await root.sql('shop', make, 'app')
      const obstacles = (await plan('shop', '18')).upgrade?.obstacles ?? []
      assert.ok(obstacles.some((each) => each.includes(name)), `${name}: ${obstacles.join()}`)
      await assert.rejects(upgrade('shop', '18'), (error: {code: string; message: string}) => error.code === 'INVALID_STATE' && error.message.includes(name))
      await root.sql('shop', unmake, 'app')
    }
    await refused('the extension adminpack', 'create extension adminpack schema pg_catalog', 'drop extension adminpack')
    await refused('the subscription theirs', "create subscription theirs connection 'host=nowhere' publication p with (connect = false)", 'alter subscription theirs set (slot_name = none); drop subscription theirs')
    await refused('the database shut', 'create database shut allow_connections false', 'drop database shut')
    assert.deepEqual(await names(), ['shop'])
  })

  const configure = async (body: BodyOf<'configuration.update'>) => good(await agent.client.call('configuration.update', {params: {instance: 'shop'}, body, idempotencyKey: freshKey()}))
  const doesNotKnow = (parameter: string) => (error: {code: string; suggestions: string[]}) => {
    assert.deepEqual([error.code, error.suggestions[0]], ['UNKNOWN_PARAMETER', `dbaas config unset shop ${parameter}`])
    return true
  }

  it('is refused for a parameter that it does not have, with the way to take that back', async () => {
    await configure({set: {vacuum_defer_cleanup_age: '10'}})
    await assert.rejects(upgrade('shop', '18'), doesNotKnow('vacuum_defer_cleanup_age'))
    await configure({unset: ['vacuum_defer_cleanup_age']})
  })

  it('that cannot be made anew is taken back: the old one serves as before, and nothing is left', async () => {
    await root.sql('shop', 'create view public.old_ways as select buffers_backend from pg_stat_bgwriter', 'app')
    const writer = await startWriter(agent.site, 'shop')
    const answer = await upgrade('shop', '18')
    assert.ok('operation' in answer)
    const {status, error} = await agent.finish(answer.operation)
    const {lost} = await writer.stop()
    await root.sql('shop', 'drop view public.old_ways', 'app')
    assert.deepEqual([status, error?.code, lost], ['failed', 'COMMAND_FAILED', []])
    assert.match(error?.message ?? '', /pg_restore.*VIEW old_ways: .*buffers_backend/)
    const instance = await get('shop')
    assert.deepEqual([instance.status, instance.status_reason, instance.version, await names()], ['running', null, source, ['shop']])
  })

  it('brings everything along; nothing that was acknowledged is lost; name, endpoint and password stay', async () => {
    const before = await get('shop')
    const writer = await startWriter(agent.site, 'shop')
    const receipt = await good(await upgrade('shop', '18'))
    const {lost, gapMs} = await writer.stop()
    kept = receipt.kept_as
    assert.deepEqual([receipt.from, receipt.to, receipt.applied, lost], [source, target, 'copy', []])
    assert.ok(receipt.tables >= 12 && receipt.rows >= 3000 && receipt.objects > 120, JSON.stringify(receipt))
    assert.ok(receipt.write_gap_ms <= gapMs + 100, `${receipt.write_gap_ms} said, ${gapMs} felt`)
    console.log(`      ${source} to ${target}: write gap ${receipt.write_gap_ms} ms (felt ${gapMs} ms), ${receipt.tables} tables, ${receipt.rows} rows, ${receipt.objects} objects`)
    const now = await get('shop')
    assert.deepEqual([now.id, now.endpoint, now.version, now.status], [before.id, before.endpoint, target, 'running'])
    assert.match(String((await sql('shop', 'show server_version'))[0]?.[0]), /^18/)
    const client = await connectTo(agent.site, 'shop')
    assert.deepEqual(await client.query('select count(*) from public.kinds'), [['2000']])
    await client.close()
    const asked = async (statement: string, database = 'app') => Object.values((await root.sql('shop', statement, database))[0] ?? {})[0]
    assert.deepEqual([await numbers('shop'), await asked('select count(*)::int from public.elsewhere', 'second'), await asked('select n from public.admin_notes', 'postgres')], [[1, 2, 3], 100, 1])
    assert.equal(await asked("select nextval('shop.numbers')::int"), 114)
    assert.equal(await asked("select encode(sha256(lo_get(4711)), 'hex')"), await asked("select encode(sha256(decode(repeat('00ff', 5000), 'hex')), 'hex')"))
    assert.match(String(await asked("select rolpassword from pg_authid where rolname = 'reader'")), /^SCRAM-SHA-256/)
    assert.equal(await asked("select count(*)::int from pg_class where reltuples < 0 and relkind = 'r' and oid >= 16384"), 0, 'the planner knows every table')
    const state = await get(kept)
    assert.deepEqual([state.status, state.version], ['stopped', source])
  })

  it('is backed up anew, and every moment of before can still be restored', async () => {
    const recent = await until('a backup of the new version', async () => {
      const {backups} = await agent.client.call('backups.list', {query: {instance: 'shop'}})
      return backups.length >= 2 && backups.every((b) => b.status === 'completed') ? backups : undefined
    }, 90)
    assert.ok(recent.length >= 2)
    await configure({set: {io_workers: '4'}})
    const answer = await agent.client.call('instances.restore', {params: {instance: 'shop'}, body: {to: before15, into: 'then'}, idempotencyKey: freshKey()})
    await good(answer)
    assert.deepEqual([(await get('then')).version.split('.')[0], await numbers('then')], ['15', [1, 2]])
    await agent.remove('then')
    await assert.rejects(agent.client.call('instances.restore', {params: {instance: 'shop'}, body: {to: before15}, idempotencyKey: freshKey()}), {code: 'INVALID_REQUEST'})
  })

  it('is gone back from, with the state of then; what was written since is kept', async () => {
    await sql('shop', 'insert into journal values (4)')
    await assert.rejects(undo('shop'), doesNotKnow('io_workers'))
    await configure({unset: ['io_workers']})
    const {plan: told} = (await undo('shop', {plan: true})) as {plan: {upgrade?: {way: string; to: string}}}
    assert.deepEqual([told.upgrade?.way, told.upgrade?.to], ['exchange', source])
    const receipt = await good(await undo('shop'))
    assert.deepEqual([receipt.to, receipt.applied], [source, 'exchange'])
    assert.match(receipt.kept_as, /^shop-undone-/)
    const now = await get('shop')
    assert.deepEqual([now.version, now.status, await numbers('shop')], [source, 'running', [1, 2, 3]])
    assert.match(String((await sql('shop', 'show server_version'))[0]?.[0]), /^15/)
    assert.deepEqual([(await get(receipt.kept_as)).version, (await names()).includes(kept)], [target, false])
    await assert.rejects(undo('shop'), {code: 'INVALID_STATE'})
    await until('what is archived goes on', async () => Date.parse((await get('shop')).backup.recoverable_to ?? '') > Date.now() - 5000)
    await agent.remove(receipt.kept_as)
  })

  it('leaves nothing', async () => {
    await agent.remove('shop')
    assert.deepEqual(leftoversOf(agent.site.home), [])
  })
})

describe('a major version of several servers', function () {
  this.timeout(300_000)
  needOrSkip(() => (existsSync(join(debian15, 'pg_dump')) && existsSync(join(debian15, 'postgres')) ? undefined : `there is no pg_dump and postgres in ${debian15}: apt-get install postgresql-15`))
  let agent: InProcess
  const {good, upgrade, undo, get, sql} = verbs(() => agent)
  const whole = () => until('all replicas stream', async () => {
    const instance = await get('demo')
    return instance.status === 'running' && instance.replication?.status === 'healthy' ? instance : undefined
  }, 120)
  const all = async (): Promise<string[]> => Promise.all((await get('demo')).nodes.map(async ({id}) => {
    const ask = async (statement: string) => String((await agent.client.call('instances.sql', {params: {instance: 'demo'}, body: {statement, node: id}, idempotencyKey: freshKey()})).rows[0]?.[0])
    return `${(await ask('show server_version')).split('.')[0]}: ${await ask('select sum(n) from journal')}`
  }))

  before(async () => {
    agent = await startInProcess('upgrade-cluster', {poolSize: 0})
    const made = await agent.create({name: 'demo', size: 'micro', version: '15', high_availability: true, backup: false})
    assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
    await sql('demo', 'create table journal as select generate_series(1, 3) as n')
  })
  after(() => agent?.dispose())

  it('is taken back where it cannot be made: all of them serve as before', async () => {
    await sql('demo', 'create view old_ways as select buffers_backend from pg_stat_bgwriter')
    const answer = await upgrade('demo', '18')
    assert.ok('operation' in answer)
    assert.equal((await agent.finish(answer.operation)).status, 'failed')
    await whole()
    assert.deepEqual(await all(), ['15: 6', '15: 6', '15: 6'])
    await sql('demo', 'drop view old_ways')
  })

  it('comes to the primary by a copy, and its replicas are made anew; nothing that was acknowledged is lost', async () => {
    const writer = await startWriter(agent.site, 'demo')
    const {applied, kept_as: kept, write_gap_ms: gap} = await good(await upgrade('demo', '18'))
    const {lost} = await writer.stop()
    assert.deepEqual([applied, lost, (await get(kept)).nodes.length], ['copy', [], 1])
    await whole()
    assert.deepEqual(await all(), ['18: 6', '18: 6', '18: 6'])
    console.log(`      three servers from 15 to 18: write gap ${gap} ms`)
  })

  it('is gone back from, all of them', async () => {
    await sql('demo', 'insert into journal values (4)')
    const {applied, kept_as: kept} = await good(await undo('demo'))
    assert.equal(applied, 'exchange')
    await whole()
    assert.deepEqual(await all(), ['15: 6', '15: 6', '15: 6'])
    await agent.remove(kept)
  })

  it('leaves nothing', async () => {
    await agent.remove('demo')
    assert.deepEqual(leftoversOf(agent.site.home), [])
  })
})

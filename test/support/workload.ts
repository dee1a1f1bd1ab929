/**
 * Random work on real PostgreSQL tables by several writers at once. What every transaction left behind is recorded, so that
 * the state after any of them is known exactly: a writer's own schema changes with its transactions alone, one after the
 * other, and what writers share are sums, which do not depend on the order.
 */
import {setTimeout as pause} from 'node:timers/promises'
import fc from 'fast-check'
import type pg from 'pg'

const accounts = 4

type Step =
  | {readonly kind: 'insert'; readonly rows: number}
  | {readonly kind: 'update' | 'delete'; readonly every: number}
  | {readonly kind: 'large'; readonly parts: number}
  | {readonly kind: 'truncate' | 'table' | 'no-table' | 'column' | 'no-column' | 'index' | 'no-index' | 'change-large' | 'unlink'}

interface Move {
  readonly from: number
  readonly to: number
  readonly amount: number
}

export interface Work {
  /** `undone`: in a subtransaction that is rolled back. */
  readonly steps: readonly {readonly step: Step; readonly undone: boolean}[]
  readonly move: Move | null
  readonly commits: boolean
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {weight: 6, arbitrary: fc.record({kind: fc.constant('insert' as const), rows: fc.integer({min: 1, max: 12})})},
  {weight: 3, arbitrary: fc.record({kind: fc.constantFrom('update' as const, 'delete' as const), every: fc.integer({min: 2, max: 5})})},
  {weight: 2, arbitrary: fc.record({kind: fc.constant('large' as const), parts: fc.integer({min: 1, max: 200})})},
  {weight: 1, arbitrary: fc.record({kind: fc.constant('truncate' as const)})},
  {weight: 5, arbitrary: fc.record({kind: fc.constantFrom('table', 'no-table', 'column', 'no-column', 'index', 'no-index', 'change-large', 'unlink')})},
)

export const work: fc.Arbitrary<Work> = fc.record({
  steps: fc.array(fc.record({step, undone: fc.integer({min: 0, max: 5}).map((n) => n === 0)}), {minLength: 1, maxLength: 4}),
  move: fc.option(fc.record({from: fc.nat(accounts - 1), to: fc.nat(accounts - 1), amount: fc.integer({min: 1, max: 100})})),
  commits: fc.integer({min: 0, max: 7}).map((n) => n > 0),
})

export interface Committed {
  /** One for each transaction of all writers. */
  readonly id: number
  readonly xid: string
  readonly writer: number
  /** What the writer's own schema holds when it is committed. */
  readonly state: string
  readonly move: Move | null
  /** By the server's clock, in microseconds: before its first statement, and after its commit was acknowledged. */
  readonly began: number
  readonly acknowledged: number
}

const ofWriter = (writer: number): string => `writer_${writer}`

const statementOf = (of: Step, schema: string): string => {
  switch (of.kind) {
    case 'insert': return `insert into ${schema}.items (text) select repeat(md5(random()::text), 1 + (random() * 5)::int) from generate_series(1, ${of.rows})`
    case 'update': return `update ${schema}.items set text = md5(text) where id % ${of.every} = 0`
    case 'delete': return `delete from ${schema}.items where id % ${of.every} = 1`
    case 'truncate': return `truncate ${schema}.items`
    case 'table': return `create table if not exists ${schema}.extra as select n, md5(random()::text) as text from generate_series(1, 100) n`
    case 'no-table': return `drop table if exists ${schema}.extra`
    case 'column': return `alter table ${schema}.items add column if not exists more int default 7`
    case 'no-column': return `alter table ${schema}.items drop column if exists more`
    case 'index': return `create index if not exists items_by_text on ${schema}.items (text)`
    case 'no-index': return `drop index if exists ${schema}.items_by_text`
    case 'large': return `insert into ${schema}.larges select lo_from_bytea(0, decode(repeat(md5(random()::text), ${of.parts}), 'hex'))`
    case 'change-large': return `select lo_put(id, 3, decode(md5(random()::text), 'hex')) from ${schema}.larges`
    case 'unlink': return `with gone as (delete from ${schema}.larges where id = (select min(id) from ${schema}.larges) returning id) select lo_unlink(id) from gone`
  }
}

/** Tables of the work, empty. */
export async function makeTables(client: pg.Client, writers: number): Promise<void> {
  await client.query('create table journal (id int primary key, xid text not null)')
  await client.query(`create table accounts as select n as id, 1000 as balance from generate_series(0, ${accounts - 1}) n`)
  for (let writer = 0; writer < writers; writer++) {
    const schema = ofWriter(writer)
    await client.query(`create schema ${schema}`)
    await client.query(`create table ${schema}.items (id int generated always as identity primary key, text text)`)
    await client.query(`create table ${schema}.larges (id oid)`)
  }
}

/** All that a writer's schema holds: its tables and indexes, each row, each large object. */
export async function stateOf(client: pg.Client, writer: number): Promise<string> {
  const schema = ofWriter(writer)
  const {rows: relations} = await client.query<{name: string; kind: string}>(
    'select relname as name, relkind as kind from pg_class where relnamespace = $1::regnamespace and relkind in (\'r\', \'i\') order by 1', [schema])
  const parts = relations.filter(({kind}) => kind === 'r').map(({name}) => `(select coalesce(string_agg(t::text, e'\\n' order by t::text), '') from ${schema}.${name} t)`)
  const {rows: [found]} = await client.query<unknown[]>({
    text: `select ${parts.join(', ')}, (select coalesce(string_agg(encode(lo_get(id), 'hex'), e'\\n' order by id), '') from ${schema}.larges)`, rowMode: 'array',
  })
  return JSON.stringify([relations.map(({name}) => name), found])
}

/** What all transactions together have left: their ids, and what is in the accounts. */
export async function sharedOf(client: pg.Client): Promise<{ids: number[]; balances: number[]}> {
  const {rows: journal} = await client.query<{id: number}>('select id from journal order by id')
  const {rows: balances} = await client.query<{balance: number}>('select balance from accounts order by id')
  return {ids: journal.map(({id}) => id), balances: balances.map(({balance}) => balance)}
}

export function balancesAfter(committed: readonly Committed[]): number[] {
  const balances = new Array<number>(accounts).fill(1000)
  for (const {move} of committed) {
    if (!move) continue
    balances[move.from] = (balances[move.from] as number) - move.amount
    balances[move.to] = (balances[move.to] as number) + move.amount
  }
  return balances
}

const clockOf = async (client: pg.Client): Promise<number> =>
  Number((await client.query<{at: string}>('select (extract(epoch from clock_timestamp()) * 1000000)::bigint::text as at')).rows[0]?.at)

/** One transaction; undefined when it was rolled back. */
async function run(client: pg.Client, writer: number, id: number, {steps, move, commits}: Work): Promise<Committed | undefined> {
  const began = await clockOf(client)
  await client.query('begin')
  const {rows: [row]} = await client.query<{xid: string}>('insert into journal values ($1, pg_current_xact_id()::text) returning xid', [id])
  for (const {step: of, undone} of steps) {
    if (undone) await client.query('savepoint s')
    await client.query(statementOf(of, ofWriter(writer)))
    if (undone) await client.query('rollback to s')
  }
  const state = await stateOf(client, writer)
  if (move) {
    // the lower one first, so that two writers never wait for each other
    const changes = new Map([[move.from, -move.amount], [move.to, move.from === move.to ? 0 : move.amount]])
    for (const [account, by] of [...changes].sort(([a], [b]) => a - b)) await client.query('update accounts set balance = balance + $2 where id = $1', [account, by])
  }
  await client.query(commits ? 'commit' : 'rollback')
  return commits ? {id, xid: (row as {xid: string}).xid, writer, state, move, began, acknowledged: await clockOf(client)} : undefined
}

/** A writer for each client, each at what `next` gives, until that is told to end. */
export async function writeAll(clients: readonly pg.Client[], next: () => {readonly id: number; readonly work: Work} | undefined, committed: Committed[]): Promise<void> {
  await Promise.all(clients.map(async (client, writer) => {
    for (let one = next(); one; one = next()) {
      const done = await run(client, writer, one.id, one.work)
      if (done) committed.push(done)
      await pause(2)
    }
  }))
}

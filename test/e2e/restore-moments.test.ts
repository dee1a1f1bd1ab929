/** Restores to random moments of random work: what was committed before is there, nothing after is, and nothing is otherwise than it was. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import pg from 'pg'
import type {ApiBackup, ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {formatLsn, parseLsn} from '../../src/engines/postgresql/backup/lsn.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {draws, full, realRuns} from '../support/runs.js'
import {superuser} from '../support/superuser.js'
import {until} from '../support/until.js'
import {balancesAfter, makeTables, sharedOf, stateOf, work, writeAll, type Committed} from '../support/workload.js'

const writers = 3

/** The end of a transaction, as the server itself reads its log. */
interface End {
  readonly xid: string
  readonly start: number
  readonly end: number
  readonly isCommit: boolean
  readonly micros: number
}

/** A history that was written: `inherited` is what the state that it began with had. */
interface History {
  readonly inherited: readonly Committed[]
  readonly committed: Committed[]
  readonly ends: End[]
  read: string
}

interface Target {
  readonly to: string
  readonly expected: readonly Committed[]
  /** Microseconds, of targets that are times. */
  readonly micros?: number
}

const kinds = ['time', 'moment of a commit', 'position', 'edge of a commit', 'transaction'] as const
type Kind = (typeof kinds)[number]
interface Draw {
  readonly at: number
  readonly nudge: number
}
// anywhere, and not mostly at the ends
const draw: fc.Arbitrary<Draw> = fc.noBias(fc.record({at: fc.nat(9999).map((n) => n / 10_000), nudge: fc.integer({min: -1, max: 1})}))

describe('restores to random moments of random work', function () {
  this.timeout(full ? 3_600_000 : 300_000)
  const root = superuser()
  let agent: InProcess
  const initial: string[] = []
  const works = fc.sample(work, {numRuns: 5000, ...draws})
  let started = 0
  let copies = 0
  const first: History = {inherited: [], committed: [], ends: [], read: ''}
  const points = new Map<string, string>()
  let backup: ApiBackup
  let second: History

  const get = async (name: string): Promise<ApiInstance> => (await agent.client.call('instances.get', {params: {instance: name}})).instance
  const protectedNow = (name: string) => until(`a backup of ${name}`, async () => (await get(name)).backup.recoverable_to !== null, 90)
  const finish = async (answer: object): Promise<ApiOperation> => {
    assert.ok('operation' in answer, JSON.stringify(answer))
    const operation = await agent.finish(answer.operation as ApiOperation)
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    return operation
  }
  const restore = async (body: {to: string; into?: string}): Promise<ApiOperation> =>
    finish(await agent.client.call('instances.restore', {params: {instance: 'demo'}, body, idempotencyKey: freshKey()}).catch((error: Error) => assert.fail(`${body.to}: ${error.message}`)))
  async function connected<T>(name: string, use: (clients: pg.Client[]) => Promise<T>, count = 1): Promise<T> {
    const {credentials: {host, port, database, username, password, ca_certificate, tls_server_name}} = await agent.client.call('instances.credentials', {params: {instance: name}})
    const clients = Array.from({length: count}, () => new pg.Client({host, port, database, user: username, password, ssl: {ca: ca_certificate, servername: tls_server_name}}))
    for (const client of clients) client.on('error', () => undefined)
    try {
      await Promise.all(clients.map((client) => client.connect()))
      return await use(clients)
    } finally {
      await Promise.all(clients.map((client) => client.end()))
    }
  }

  const mark = async (name: string): Promise<void> => {
    const {point} = await agent.client.call('points.create', {params: {instance: 'demo'}, body: {name}, idempotencyKey: freshKey()})
    points.set(name, point.position)
  }
  /** From here on the server keeps its log until it was read. */
  const watch = async (): Promise<string> => {
    await root.sql('demo', "select pg_create_physical_replication_slot('witness', true)")
    return String((await root.sql('demo', 'select pg_current_wal_flush_lsn()::text as at'))[0]?.['at'])
  }
  /** So many transactions of all writers together, and `meanwhile`; then what the server says of their order. */
  async function write(history: History, transactions: number, meanwhile: () => Promise<void>): Promise<void> {
    let left = transactions
    await connected('demo', async (clients) => {
      // whatever happens beside them happens in the middle of them
      const half = new Promise<void>((resolve) => {
        const writing = writeAll(clients, () => {
          if (--left < transactions / 2) resolve()
          return left < 0 ? undefined : {id: ++started, work: works[started % works.length] as (typeof works)[number]}
        }, history.committed)
        writing.then(() => undefined, () => resolve())
        written = writing
      })
      await half
      await Promise.all([written, meanwhile()])
    }, writers)
    const now = String((await root.sql('demo', 'select pg_current_wal_flush_lsn()::text as at'))[0]?.['at'])
    const rows = await root.sql('demo', `select xid::text, start_lsn::text as start, end_lsn::text as end, record_type like 'COMMIT%' as commits,
      (extract(epoch from substring(description from '^[^;]+')::timestamptz) * 1000000)::bigint::text as micros
      from pg_get_wal_records_info('${history.read}', '${now}') where resource_manager = 'Transaction' and record_type ~ '^(COMMIT|ABORT)' order by start_lsn`)
    history.ends.push(...rows.map((row) => ({
      xid: String(row['xid']), start: parseLsn(String(row['start'])), end: parseLsn(String(row['end'])), isCommit: row['commits'] === true, micros: Number(row['micros']),
    })))
    history.read = now
    const known = new Set(history.ends.filter(({isCommit}) => isCommit).map(({xid}) => xid))
    for (const {xid} of history.committed) assert.ok(known.has(xid), `the server does not know of the transaction ${xid}`)
  }
  let written: Promise<void>

  /** What must be there, in the order of the log, where that ends before its transaction number `index`. */
  const committedBefore = (history: History, index: number): Committed[] => {
    const by = new Map(history.committed.map((one) => [one.xid, one]))
    return [...history.inherited, ...history.ends.slice(0, index).flatMap(({xid, isCommit}) => (isCommit ? (by.get(xid) ?? []) : []))]
  }
  const beforePosition = (history: History, position: number): Committed[] => {
    const index = history.ends.findIndex(({start}) => start >= position)
    return committedBefore(history, index === -1 ? history.ends.length : index)
  }
  /** As the server judges: it ends before the first transaction that is later. */
  const byTime = (history: History, micros: number): Target => {
    const index = history.ends.findIndex((end) => end.micros > micros)
    const [ms, rest] = [Math.floor(micros / 1000), String(micros % 1000).padStart(3, '0')]
    return {to: new Date(ms).toISOString().replace('Z', `${rest}Z`), expected: committedBefore(history, index === -1 ? history.ends.length : index), micros}
  }
  const ours = (history: History): End[] => {
    const xids = new Set(history.committed.map(({xid}) => xid))
    return history.ends.filter(({xid}) => xids.has(xid))
  }
  function targetOf(history: History, kind: Kind, {at, nudge}: Draw): Target {
    const all = ours(history)
    const [from, last] = [all[0] as End, all.at(-1) as End]
    const one = all[Math.floor(at * all.length)] as End
    switch (kind) {
      case 'time': return byTime(history, Math.round(from.micros + at * (last.micros - from.micros)))
      case 'moment of a commit': return byTime(history, one.micros + nudge)
      case 'position': {
        const position = Math.round(from.start + at * (last.end - from.start))
        return {to: formatLsn(position), expected: beforePosition(history, position)}
      }
      case 'edge of a commit': {
        const position = nudge === 0 ? one.start : nudge < 0 ? one.start + 1 : one.end
        return {to: formatLsn(position), expected: beforePosition(history, position)}
      }
      case 'transaction': return {to: one.xid, expected: committedBefore(history, history.ends.indexOf(one) + 1)}
    }
  }

  /** Every table, row, large object and sum, compared with what is expected. */
  async function compare(name: string, {to, expected, micros}: Target, history: History): Promise<void> {
    await connected(name, async ([client]) => {
      const {ids, balances} = await sharedOf(client as pg.Client)
      assert.deepEqual(ids, expected.map(({id}) => id).sort((a, b) => a - b), to)
      for (let writer = 0; writer < writers; writer++) {
        const last = expected.findLast((one) => one.writer === writer)
        assert.equal(await stateOf(client as pg.Client, writer), last?.state ?? initial[writer], `${to}: the tables of writer ${writer}`)
      }
      assert.deepEqual(balances, balancesAfter(expected), to)
      if (micros === undefined) return
      const there = new Set(ids)
      for (const {id, began, acknowledged} of history.committed) {
        if (acknowledged <= micros) assert.ok(there.has(id), `${to}: the transaction ${id} was acknowledged before`)
        if (began > micros) assert.ok(!there.has(id), `${to}: the transaction ${id} began after`)
      }
    })
  }
  async function proven(target: Target, history: History): Promise<void> {
    const into = `copy-${++copies}`
    await restore({to: target.to, into})
    await compare(into, target, history)
    await agent.remove(into)
  }

  before(async () => {
    agent = await startInProcess('moments', {poolSize: 0, engines: root.engines})
    const made = await agent.create({name: 'demo', size: 'micro'})
    assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
    await protectedNow('demo')
    await root.sql('demo', 'create extension pg_walinspect')
    first.read = await watch()
    await connected('demo', async ([client]) => {
      await makeTables(client as pg.Client, writers)
      for (let writer = 0; writer < writers; writer++) initial.push(await stateOf(client as pg.Client, writer))
    })
    await write(first, 120, () => mark('early'))
    await write(first, 240, async () => {
      const answer = await agent.client.call('backups.create', {params: {instance: 'demo'}, body: {label: 'midst'}, idempotencyKey: freshKey()})
      await finish(answer)
      backup = (await agent.client.call('backups.get', {params: {backup: 'midst'}})).backup
    })
    await write(first, 120, () => mark('late'))
  })
  after(() => agent?.dispose())

  // Feature: enterprise-dbaas-platform, Property 13: Point-in-Time Recovery Capability
  // Iterations: one real restore in place
  it('have in place exactly what was committed by then', async () => {
    const [{at}] = fc.sample(draw, {numRuns: 1, ...draws}) as [Draw]
    // with something before and something after it
    const target = targetOf(first, 'time', {at: 0.2 + at * 0.6, nudge: 0})
    await restore({to: target.to})
    await compare('demo', target, first)
    second = {inherited: target.expected, committed: [], ends: [], read: await watch()}
    await until('a backup of the new history', async () => (await get('demo')).backup.recoverable_to !== null, 90)
    await write(second, 150, () => mark('other'))
  })

  // Feature: enterprise-dbaas-platform, Property 13: Point-in-Time Recovery Capability
  // Iterations: 3 real restores of a history that began with a restore and of the one before it, 25 in test:full
  it('have it also where the history began with a restore, and in the history before that', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(...kinds), draw, draw, async (kind, one, other) => {
      await proven(targetOf(second, kind, one), second)
      await proven(targetOf(first, 'time', other), first)
    }), {numRuns: realRuns(1, 12), endOnFailure: true, ...draws})
    await proven({to: 'latest', expected: committedBefore(second, second.ends.length)}, second)
  })

  // Feature: enterprise-dbaas-platform, Property 13: Point-in-Time Recovery Capability
  // Iterations: 5 real restores to random targets of every kind, 100 in test:full; to points and a backup
  it('have it when the restore was undone and more was written: by any kind of target', async () => {
    await finish(await agent.client.call('instances.undo', {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()}))
    await compare('demo', {to: 'the state before', expected: committedBefore(first, first.ends.length)}, first)
    await write(first, 120, () => mark('again'))
    await fc.assert(fc.asyncProperty(fc.record(Object.fromEntries(kinds.map((kind) => [kind, draw]))), async (drawn) => {
      for (const kind of kinds) await proven(targetOf(first, kind, drawn[kind] as Draw), first)
    }), {numRuns: realRuns(1, 20), endOnFailure: true, ...draws})
    // of the history that was gone back from, too
    for (const [history, name] of [[second, 'other'], ...(full ? [[first, 'early'], [first, 'late'], [first, 'again']] as const : [])] as const) {
      await proven({to: name, expected: beforePosition(history, parseLsn(points.get(name) as string))}, history)
    }
    await proven({to: 'midst', expected: beforePosition(first, parseLsn(backup.end_position as string))}, first)
  })
})

import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {chownSync, cpSync, mkdirSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import fc from 'fast-check'
import pg from 'pg'
import type {BaseBackup, LogArchive, RecoveryDecision, RecoveryPlan, RecoveryTarget, Recovered} from '../../../../src/engines/backup.js'
import {baseBackup} from '../../../../src/engines/postgresql/backup/base-backup.js'
import {check} from '../../../../src/engines/postgresql/backup/check.js'
import {follow} from '../../../../src/engines/postgresql/backup/follow.js'
import {hold} from '../../../../src/engines/postgresql/backup/hold.js'
import {formatLsn, parseLsn, parseSegment, segmentBytes} from '../../../../src/engines/postgresql/backup/lsn.js'
import {recovery} from '../../../../src/engines/postgresql/backup/recovery.js'
import {createWalReader} from '../../../../src/engines/postgresql/backup/wal.js'
import {walEvents, type WalEvent} from '../../../../src/engines/postgresql/backup/wal-events.js'
import {temporaryFolder} from '../../../support/temporary.js'
import {testArchive, type TestArchive} from './archive.js'
import {folderSink, makeFolders, previousIn} from './folder.js'
import {backupSources, testSite, type TestServer, type TestSite} from './server.js'

const never = new AbortController().signal

interface Commit {
  readonly xid: string
  readonly writer: number
  /** By the server's clock, after the commit. */
  readonly by: number
}

/** Transactions that are in the log before a position, by their ids. */
async function committedBefore(archive: TestArchive, timeline: string, position: number): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  let reader: ReturnType<typeof createWalReader> | undefined
  for await (const one of archive.segments()) {
    if (one.timeline !== timeline) continue
    const bytes = archive.bytes(one.timeline, one.segment) as Uint8Array
    reader ??= createWalReader(0, walEvents((_, event) => {
      if (event?.kind === 'transaction' && event.isCommitted && event.end <= position) found.set(String(event.xid), event.micros)
    }))
    reader.push(parseSegment(one.segment).start, bytes)
  }
  return found
}

for (const {name, source} of backupSources()) {
  describe(`recovery of ${name}`, function () {
    this.timeout(300_000)
    const folder = temporaryFolder('recovery')
    let site: TestSite
    let server: TestServer
    const archive = testArchive()
    const backups: BaseBackup[] = []
    const commits: Commit[] = []
    let stopLog: () => Promise<unknown>
    let places = 0
    let restarts = 0
    const point: {position: string; at: number}[] = []

    const folderOf = (index: number) => join(folder.path, String(index))
    const take = async (): Promise<void> => {
      const index = backups.length
      const previous = backups.at(-1)
      const sink = folderSink(folderOf(index), folderOf(index - 1))
      const backup = await baseBackup.take(server.reader, {label: 'test', pace: 'now', limit: {bytesPerSecond: () => null}, previous: previous ? previousIn(folderOf(index - 1), previous) : null}, sink, never)
      makeFolders(sink.path, backup)
      backups.push(backup)
    }
    const client = async (of: TestServer) => {
      const {host, port} = of.host.address()
      const {ca, certificate: cert, key, username: user} = of.admin
      const made = new pg.Client({host, port, user, database: 'postgres', ssl: {ca, cert, key, checkServerIdentity: () => undefined}})
      made.on('error', () => {})
      await made.connect()
      return made
    }
    /** Writers that note every transaction, as long as it is told. */
    async function write(milliseconds: number, writers = 3): Promise<void> {
      const last = Date.now() + milliseconds
      await Promise.all(Array.from({length: writers}, async (_, writer) => {
        const connection = await client(server)
        for (let n = 0; Date.now() < last; n++) {
          await connection.query('begin')
          const {rows: [row]} = await connection.query('insert into public.journal (writer, xid, filler) values ($1, pg_current_xact_id()::text, repeat(md5(random()::text), 1 + (random() * 60)::int)) returning xid', [writer])
          if (n % 7 === 0) await connection.query("update public.journal set filler = 'changed' where n % 50 = $1", [writer])
          if (n % 31 === 5) await connection.query(`create table if not exists public.extra_${writer} as select generate_series(1, 300) n`)
          if (n % 31 === 15) await connection.query(`drop table if exists public.extra_${writer}`)
          if (n % 11 === 3) await connection.query("select lo_from_bytea(0, 'large')")
          if (n % 13 === 7) await connection.query(`truncate public.scratch_${writer}`)
          await connection.query(`insert into public.scratch_${writer} select generate_series(1, 20)`)
          if (n % 9 === 8) {
            await connection.query('rollback')
            continue
          }
          await connection.query('commit')
          const {rows: [clock]} = await connection.query('select (extract(epoch from clock_timestamp()) * 1000)::float8 as at')
          commits.push({xid: String(row.xid), writer, by: Number(clock.at)})
        }
        await connection.end()
      }))
    }
    const lsn = async (of = server): Promise<string> => String((await of.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn'])
    const untilArchived = async () => {
      const to = parseLsn(await lsn())
      for (const last = Date.now() + 30_000; ; await sleep(20)) {
        const end = archive.end()
        if (end && parseSegment(end.segment).start + end.offset >= to) return
        assert.ok(Date.now() < last, 'not archived')
      }
    }
    const startLog = () => {
      const controller = new AbortController()
      const ended = follow(server.reader, {hold: 'test', system: null, from: archive.end(), flush: {milliseconds: 50, bytes: 1024 * 1024}}, archive, controller.signal)
      ended.catch(() => {})
      stopLog = async () => {
        controller.abort()
        await ended
      }
    }

    const plan = (target: RecoveryTarget): Promise<RecoveryDecision> => recovery.plan(backups, archive, target)
    const planned = async (target: RecoveryTarget): Promise<RecoveryPlan> => {
      const decision = await plan(target)
      assert.ok(decision.possible, JSON.stringify(decision))
      return decision.plan
    }
    /** A server whose data are the backup of the plan, ready to be started. */
    async function restored(of: RecoveryPlan, values = {}): Promise<TestServer> {
      const target = await site.place(`restored-${++places}`, values)
      cpSync(folderOf(of.backup), target.host.paths.data, {recursive: true})
      for (const path of ['dbaas-initialised']) assert.equal(recovery.place(path, {mode: 0o600}), undefined)
      await target.host.remove(`${target.host.paths.data}/dbaas-initialised`)
      execFileSync('sh', ['-c', `chown -R $(stat -c %u:%g "$0") "$0" && chmod -R go= "$0"`, target.host.paths.data])
      await recovery.configure(target.host, of, archive)
      return target
    }
    async function run(of: RecoveryPlan, target: TestServer, aheadBytes?: number): Promise<Recovered> {
      for (;;) {
        await target.start()
        const outcome = await recovery.follow(target.host, target.admin, of, archive, {progress() {}, signal: AbortSignal.timeout(60_000), ...(aheadBytes === undefined ? {} : {aheadBytes})})
          .catch((error: Error) => { throw new Error(`${error.message}\n${target.log().slice(-3000)}`, {cause: error}) })
        if (outcome.kind === 'recovered') return outcome.recovered
        restarts++
        await target.stop()
      }
    }
    /** Recovers, compares the state with the log, and ends the server. */
    async function recoverTo(target: RecoveryTarget): Promise<{recovered: Recovered; rows: Set<string>; plan: RecoveryPlan}> {
      const decided = await planned(target)
      const place = await restored(decided)
      const recovered = await run(decided, place)
      assert.equal(recovered.from.position, decided.expected.position)
      const rows = new Set((await place.sql('select xid from journal')).map((row) => String(row['xid'])))
      const inLog = await committedBefore(archive, '00000001', parseLsn(recovered.from.position))
      for (const {xid} of commits) assert.equal(rows.has(xid), inLog.has(xid), `transaction ${xid}, and the recovery ended at ${recovered.from.position}`)
      assert.equal((await recovery.finish(place.host, place.admin)).restart, false)
      assert.deepEqual(await place.sql("select name, setting from pg_settings where name like 'recovery_target%' and source <> 'default' and context <> 'postmaster'"), [])
      await place.sql('create table after_the_recovery (n int)')
      if (target.kind === 'latest' || target.kind === 'backup') {
        const {findings, rows: read} = await check(place.host, place.admin, {progress() {}, signal: never})
        assert.deepEqual(findings, [])
        assert.ok(read > 1000)
      }
      await place.stop('SIGQUIT')
      await place.host.remove(place.host.paths.data)
      return {recovered, rows, plan: decided}
    }

    before(async () => {
      site = await testSite(source)
      server = await site.server('main', {max_wal_size: '64MB', max_prepared_transactions: '3'})
      await server.sql('create table journal (n bigint generated always as identity, writer int, xid text, filler text)')
      for (const writer of [0, 1, 2]) await server.sql(`create table scratch_${writer} (n int)`)
      await hold(server.host, server.admin, 'test')
      startLog()
      await write(500)
      const writing = write(2500)
      await take()
      await writing
      point.push({position: String((await server.sql("select pg_create_restore_point('first') as lsn"))[0]?.['lsn']), at: Date.now()})
      await write(1000)
      await server.sql('select pg_switch_wal()')
      const again = write(2500)
      await take()
      await again
      point.push({position: String((await server.sql("select pg_create_restore_point('second') as lsn"))[0]?.['lsn']), at: Date.now()})
      await write(1000)
      await untilArchived()
    })
    after(async () => {
      await stopLog?.()
      await site?.close()
      folder.dispose()
    })

    it('to the latest has everything, from the newest backup', async () => {
      const {recovered, rows, plan: decided} = await recoverTo({kind: 'latest'})
      assert.equal(decided.backup, 1)
      assert.equal(backups[1]?.method.kind, server.major >= 17 ? 'changes' : 'whole')
      assert.equal(recovered.timeline, '00000002')
      assert.ok(commits.every(({xid}) => rows.has(xid)))
      assert.match(recovered.because, /at the end of the log/)
    })

    it('to a backup is as early as that can be', async () => {
      const {recovered, plan: decided} = await recoverTo({kind: 'backup'})
      assert.equal(decided.expected.position, backups[1]?.end)
      assert.match(recovered.because, /reached consistency/)
    })

    it('to any time has what was committed before, and nothing after', async () => {
      const window = await recovery.window(backups, archive)
      assert.ok(window.from && window.to && window.from.micros < window.to.micros)
      for (const part of [0, 0.2, 0.5, 0.8, 0.99]) {
        const micros = Math.round(window.from.micros + (window.to.micros - window.from.micros) * part)
        const {recovered, rows} = await recoverTo({kind: 'time', micros})
        for (const {xid, by} of commits) if (by * 1000 <= micros) assert.ok(rows.has(xid), `transaction ${xid}`)
        const inLog = await committedBefore(archive, '00000001', Number.POSITIVE_INFINITY)
        for (const xid of rows) assert.ok((inLog.get(xid) ?? 0) <= micros)
        assert.ok((recovered.lastCommitMicros ?? 0) <= micros)
      }
    })

    it('to the very moment of a commit has it, or not, as it is asked', async () => {
      const inLog = await committedBefore(archive, '00000001', Number.POSITIVE_INFINITY)
      const known = commits.filter(({xid}) => inLog.has(xid))
      const {xid} = known[Math.floor(known.length * 0.7)] as Commit
      const micros = inLog.get(xid) as number
      assert.ok((await recoverTo({kind: 'time', micros})).rows.has(xid))
      assert.ok(!(await recoverTo({kind: 'time', micros, inclusive: false})).rows.has(xid))
    })

    it('to a time after the last commit has everything, if the log is known to be complete by then', async () => {
      const until = Date.now()
      const target: RecoveryTarget = {kind: 'time', micros: (until - 1) * 1000}
      const last = {...archive, segments: archive.segments, completeUntil: null}
      const refused = await recovery.plan(backups, last, target)
      assert.ok(!refused.possible && /complete up to/.test(refused.because))
      const decision = await recovery.plan(backups, {...last, completeUntil: until}, target)
      assert.ok(decision.possible && decision.plan.stop === 'end')
      assert.equal((await recovery.window(backups, {...last, completeUntil: until})).to?.micros, until * 1000)
    })

    it('is planned to end where a reading of the whole log says', async () => {
      // as it is now: the server goes on writing
      const kept: {timeline: string; segment: string; content: Awaited<ReturnType<LogArchive['read']>>}[] = []
      for await (const {timeline, segment} of archive.segments()) kept.push({timeline, segment, content: await archive.read(timeline, segment)})
      const completeUntil = archive.completeUntil
      const frozen: LogArchive = {
        completeUntil, history: archive.history,
        async *segments() {
          yield* kept
        },
        read: async (timeline, segment) => kept.find((one) => one.timeline === timeline && one.segment === segment)?.content as (typeof kept)[number]['content'],
      }
      const records: {start: number; end: number; event: WalEvent | undefined}[] = []
      const reader = createWalReader(0, walEvents(({start, end}, event) => void records.push({start, end, event})))
      for (const {segment, content} of kept) reader.push(parseSegment(segment).start, content.bytes)
      const end = records.at(-1)?.end as number
      const transactions = records.flatMap(({event}) => (event?.kind === 'transaction' ? [event] : []))
      const [first, last] = [transactions[0]?.micros as number, transactions.at(-1)?.micros as number]
      const target = fc.oneof(
        fc.record({kind: fc.constant('time' as const), micros: fc.integer({min: first - 1_000_000, max: last + 100_000}), inclusive: fc.boolean()}),
        fc.nat(transactions.length - 1).map((i) => ({kind: 'time' as const, micros: transactions[i]?.micros as number})),
        fc.record({kind: fc.constant('position' as const), position: fc.integer({min: records[0]?.start as number, max: end}).map(formatLsn), inclusive: fc.boolean()}),
        fc.nat(records.length - 1).map((i) => ({kind: 'position' as const, position: formatLsn(records[i]?.start as number)})),
        fc.record({kind: fc.constant('transaction' as const), id: fc.nat(transactions.length - 1).map((i) => String(transactions[i]?.xid)), inclusive: fc.boolean()}),
      )
      /** As xlogrecovery.c judges records one after the other. */
      const judged = (of: RecoveryTarget): {index: number; isBefore: boolean} | undefined => {
        for (const [index, {start, event}] of records.entries()) {
          if (of.kind === 'time' && event?.kind === 'transaction' && (of.inclusive ?? true ? event.micros > of.micros : event.micros >= of.micros)) return {index, isBefore: true}
          if (of.kind === 'position' && start >= parseLsn(of.position)) return {index, isBefore: of.inclusive !== true}
          if (of.kind === 'transaction' && event?.kind === 'transaction' && String(event.xid) === of.id) return {index, isBefore: of.inclusive === false}
        }
        return undefined
      }
      let possible = 0
      await fc.assert(fc.asyncProperty(target, async (of) => {
        const decision = await recovery.plan(backups, frozen, of)
        const stop = judged(of)
        const position = stop === undefined ? end : stop.isBefore ? (records[stop.index - 1]?.end ?? 0) : (records[stop.index]?.end as number)
        // one that has more than was committed by then is not of that time
        const usable = backups.map((backup) => parseLsn(backup.end) <= position && (of.kind !== 'time' || of.micros >= backup.consistentAt * 1000))
        const isIn = stop !== undefined || (of.kind === 'time' ? of.micros / 1000 <= (kept.at(-1)?.content.marks.at(-1)?.at ?? 0) : of.kind === 'position')
        assert.equal(decision.possible, usable.includes(true) && isIn, JSON.stringify([of, decision, position]))
        if (!decision.possible) return
        possible++
        assert.equal(parseLsn(decision.plan.expected.position), position)
        assert.equal(decision.plan.backup, usable.lastIndexOf(true))
        assert.equal(decision.plan.stop, stop === undefined ? 'end' : 'target')
        const from = parseLsn(backups[decision.plan.backup]?.start ?? '')
        const commit = transactions.findLast((one) => one.isCommitted && one.end <= position && one.start >= from)
        assert.equal(decision.plan.expected.lastCommitMicros, commit?.micros ?? null)
      }), {numRuns: 150})
      assert.ok(possible > 50, `${possible} were possible`)
    })

    it('reaches what lies before a gap in the log, and nothing in it or over it', async () => {
      const all: {timeline: string; segment: string}[] = []
      for await (const one of archive.segments()) all.push(one)
      const inFirst = all.findIndex(({segment}) => parseSegment(segment).start + segmentBytes >= parseLsn(backups[0]?.end ?? ''))
      const inSecond = all.findIndex(({segment}) => parseSegment(segment).start + segmentBytes > parseLsn(backups[1]?.start ?? ''))
      const without = (index: number): LogArchive => ({
        read: archive.read, history: archive.history,
        async *segments() {
          for (const one of all) if (one !== all[index]) yield one
        },
      })
      assert.ok(inSecond - inFirst >= 2, `${inFirst} ${inSecond}`)
      const gap = inSecond - 1
      const missing = parseSegment(all[gap]?.segment ?? '').start
      const holed = without(gap)
      const before = await recovery.plan(backups, holed, {kind: 'position', position: formatLsn(missing - 100_000)})
      assert.ok(before.possible && before.plan.backup === 0)
      const inside = await recovery.plan(backups, holed, {kind: 'position', position: formatLsn(missing + 100_000)})
      assert.ok(!inside.possible && inside.window.from !== null)
      const after = await recovery.plan(backups, holed, {kind: 'latest'})
      assert.ok(after.possible && after.plan.backup === 1)
      const first = await recovery.plan(backups.slice(0, 1), holed, {kind: 'latest'})
      // the log of the only backup ends at the gap: that is the latest there is
      assert.ok(first.possible && parseLsn(first.plan.expected.position) <= missing)
      // and without its own log a backup is worth nothing
      const torn = await recovery.plan(backups.slice(1), without(inSecond), {kind: 'latest'})
      assert.ok(!torn.possible && /log of no backup/.test(torn.because))
    })

    it('to a position has what came before it, exactly', async () => {
      const inLog = await committedBefore(archive, '00000001', Number.POSITIVE_INFINITY)
      assert.ok(inLog.size > 100)
      const first = point[0] as {position: string}
      const {rows, recovered} = await recoverTo({kind: 'position', position: first.position})
      assert.equal(parseLsn(recovered.from.position), parseLsn(first.position))
      const more = await recoverTo({kind: 'position', position: first.position, inclusive: true})
      assert.ok(parseLsn(more.recovered.from.position) > parseLsn(first.position))
      assert.ok(more.rows.size >= rows.size)
      // in the middle of a record: what begins before it, and no more
      await recoverTo({kind: 'position', position: formatLsn(parseLsn((point[1] as {position: string}).position) - 40_003)})
    })

    it('to a transaction has it, or all but it', async () => {
      const {xid} = commits[Math.floor(commits.length / 2)] as Commit
      const {rows} = await recoverTo({kind: 'transaction', id: xid})
      assert.ok(rows.has(xid))
      const without = await recoverTo({kind: 'transaction', id: String(BigInt(xid) + (7n << 32n)), inclusive: false})
      assert.ok(!without.rows.has(xid))
      assert.equal(without.rows.size + 1, rows.size)
    })

    it('to a named point ends there', async () => {
      for (const [i, named] of ['first', 'second'].entries()) {
        const {recovered, plan: decided} = await recoverTo({kind: 'name', name: named})
        assert.equal(decided.backup, i)
        assert.equal(parseLsn(recovered.from.position), parseLsn((point[i] as {position: string}).position))
        assert.match(recovered.because, new RegExp(`restore point "${named}"`))
      }
    })

    it('refuses what cannot be reached, and says what can', async () => {
      const window = await recovery.window(backups, archive)
      assert.ok(window.from && window.to)
      const impossible: [RecoveryTarget, RegExp][] = [
        [{kind: 'time', micros: window.to.micros + 3_600_000_000}, /after the end of the log, which is complete up to/],
        [{kind: 'time', micros: window.from.micros - 60_000_000}, /before the earliest moment/],
        [{kind: 'position', position: 'FF/0'}, /after the end of the log/],
        [{kind: 'position', position: '0/28'}, /before the earliest moment/],
        [{kind: 'transaction', id: '999999999'}, /has no end of the transaction/],
        [{kind: 'transaction', id: (commits[0] as Commit).xid}, /has no end of the transaction|before the earliest/],
        [{kind: 'name', name: 'third'}, /no point of the name/],
        [{kind: 'latest', timeline: '00000009'}, /log of no backup/],
      ]
      for (const [target, because] of impossible) {
        const decision = await plan(target)
        assert.ok(!decision.possible, JSON.stringify(target))
        assert.match(decision.because, because)
      }
      await assert.rejects(plan({kind: 'transaction', id: 'x'}), {code: 'INVALID_REQUEST'})
      await assert.rejects(plan({kind: 'position', position: 'x'}), {code: 'INVALID_REQUEST'})
      const none = await recovery.plan([], archive, {kind: 'latest'})
      assert.ok(!none.possible && /there is no backup/.test(none.because))
    })

    it('waits for log that comes in small portions, and goes on after crashes of the server and of who drives it', async () => {
      const decided = await planned({kind: 'name', name: 'second'})
      assert.ok(decided.segments.length >= 2)
      const whole = await recovery.plan(backups.slice(0, 1), archive, {kind: 'name', name: 'second'})
      assert.ok(whole.possible && whole.plan.segments.length > 3)
      const target = await restored(whole.plan)
      await target.start()
      const controller = new AbortController()
      const seen: string[] = []
      const driving = recovery.follow(target.host, target.admin, whole.plan, archive, {progress: ({phase, replayedBytes, totalBytes}) => {
        seen.push(phase)
        assert.ok(replayedBytes <= totalBytes)
      }, signal: controller.signal, aheadBytes: segmentBytes})
      driving.catch(() => {})
      await sleep(400)
      controller.abort(new Error('the agent dies'))
      await assert.rejects(driving, /the agent dies/)
      await target.stop('SIGQUIT')
      // a step that is done again does not touch what the server has begun
      await recovery.configure(target.host, whole.plan, archive)
      const recovered = await run(whole.plan, target, segmentBytes)
      assert.equal(recovered.from.position, whole.plan.expected.position)
      // and is told again when it is asked again
      const again = await recovery.follow(target.host, target.admin, whole.plan, archive, {progress() {}, signal: never})
      assert.ok(again.kind === 'recovered' && again.recovered.from.position === recovered.from.position)
      await target.stop('SIGQUIT')
    })

    it('into a smaller server has what the log needs, and gives it back', async () => {
      const decided = await planned({kind: 'latest'})
      const target = await restored(decided, {max_connections: '15', max_prepared_transactions: '0'})
      await run(decided, target)
      assert.deepEqual(await recovery.finish(target.host, target.admin), {restart: true})
      await target.stop()
      await target.start()
      for (const last = Date.now() + 20_000; ; await sleep(50)) {
        if (await target.sql('select 1').then(() => true, () => false)) break
        assert.ok(Date.now() < last)
      }
      assert.equal((await target.sql('show max_connections'))[0]?.['max_connections'], '15')
      assert.deepEqual(await recovery.finish(target.host, target.admin), {restart: false})
      await target.stop('SIGQUIT')
    })

    it('has tablespaces in the data folder, where the next backup finds them', async () => {
      const place = join(site.subject.site.root, 'space')
      mkdirSync(place)
      const {uid, gid} = statSync(server.host.paths.data)
      chownSync(place, uid, gid)
      await server.sql(`create tablespace space location '${place}'`)
      await server.sql('create table elsewhere tablespace space as select n from generate_series(1, 5000) n')
      await take()
      await server.sql('insert into elsewhere select n from generate_series(5001, 6000) n')
      await untilArchived()
      const decided = await planned({kind: 'latest'})
      assert.equal(decided.backup, 2)
      const target = await restored(decided)
      await run(decided, target)
      assert.equal((await target.sql('select count(*)::int as n from elsewhere'))[0]?.['n'], 6000)
      const sink = folderSink(join(folder.path, 'of-restored'))
      await baseBackup.take(target.reader, {label: 'test', pace: 'now', limit: {bytesPerSecond: () => null}, previous: null}, sink, never)
      const path = String((await target.sql("select pg_relation_filepath('elsewhere') as path"))[0]?.['path'])
      assert.ok(sink.came.some((one) => one.path === path), path)
      await target.stop('SIGQUIT')
      await server.sql('drop table elsewhere')
      await server.sql('drop tablespace space')
    })

    it('starts the server anew when the log asks for more than there is; over a change of the timeline', async () => {
      await stopLog()
      await server.stop('SIGINT')
      await server.host.write({path: `${server.host.paths.data}/recovery.signal`, content: ''})
      await server.host.write({path: `${server.host.paths.data}/postgresql.auto.conf`, content: "restore_command = 'false'\nmax_connections = 123\n"})
      await server.start()
      for (const last = Date.now() + 20_000; ; await sleep(50)) {
        if (await server.sql('select pg_is_in_recovery() as is').then(([row]) => row?.['is'] === false, () => false)) break
        assert.ok(Date.now() < last, server.log())
      }
      startLog()
      await server.sql("insert into journal (writer, xid) values (9, 'after the switch')")
      await untilArchived()
      const decided = await planned({kind: 'latest'})
      assert.equal(decided.timeline, '00000002')
      const target = await restored(decided)
      assert.equal(restarts, 0)
      const recovered = await run(decided, target)
      assert.equal(restarts, 1)
      assert.deepEqual([recovered.timeline, recovered.from.timeline], ['00000003', '00000002'])
      assert.equal((await target.sql("select count(*)::int as n from journal where writer = 9"))[0]?.['n'], 1)
      assert.equal((await target.sql('show max_connections'))[0]?.['max_connections'], '123')
      await target.stop('SIGQUIT')
      // the old timeline alone ends where it was left
      const before = await planned({kind: 'latest', timeline: '00000001'})
      const old = await restored(before)
      await run(before, old)
      assert.equal((await old.sql("select count(*)::int as n from journal where writer = 9"))[0]?.['n'], 0)
      await old.stop('SIGQUIT')
    })
  })
}

import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {formatLsn, parseLsn, segmentBytes, segmentName, startOfSegment} from '../../../../src/engines/postgresql/backup/lsn.js'
import {createWalReader, type WalRecord} from '../../../../src/engines/postgresql/backup/wal.js'
import {walEvents, type WalEvent} from '../../../../src/engines/postgresql/backup/wal-events.js'
import {backupSources, debian15, testSite, type TestServer, type TestSite} from './server.js'

/** What makes the log hard to read: records of every size over pages and segments, nested and prepared transactions, switches. */
const workload = `
  create table t (n int, filler text);
  create function nested(n int) returns void language plpgsql as $$ begin
    for i in 1..n loop begin insert into t values (i, 'x'); if i % 3 = 0 then raise exception 'no'; end if; exception when others then null; end; end loop; end $$;
  insert into t select n, repeat(md5(n::text), n % 200) from generate_series(1, 4000) n;
  select pg_create_restore_point('a named point');
  insert into t select n, repeat(md5(n::text), 3000) from generate_series(1, 60) n;
  select pg_create_restore_point('zwölf Boxkämpfer jagen Viktor quer über den großen Sylter D');
  select nested(50);
  checkpoint;
  update t set filler = filler || 'y';
  select pg_switch_wal();
  insert into t select n, 'after the switch' from generate_series(1, 5000) n;
  vacuum t;
  create index on t (n);
`.split(';\n').map((statement) => statement.trim()).filter((statement) => statement !== '')

for (const {name, source} of backupSources()) {
  describe(`the records in the log of ${name}`, function () {
    this.timeout(120_000)
    let site: TestSite
    let server: TestServer
    let from = 0
    let to = 0
    let records: WalRecord[]
    let events: WalEvent[]

    const read = (start: number, end: number, portion = segmentBytes): {records: WalRecord[]; events: WalEvent[]; reader: ReturnType<typeof createWalReader>} => {
      const found: {records: WalRecord[]; events: WalEvent[]} = {records: [], events: []}
      const reader = createWalReader(start, walEvents((record, event) => {
        found.records.push(record)
        if (event) found.events.push(event)
      }))
      for (let segment = startOfSegment(start); segment < end; segment += portion) {
        const file = join(server.host.paths.data, 'pg_wal', segmentName(1, segment))
        const at = segment % segmentBytes
        reader.push(segment, readFileSync(file).subarray(at, Math.min(at + portion, end - startOfSegment(segment))))
      }
      return {...found, reader}
    }

    before(async () => {
      site = await testSite(source)
      server = await site.server('main', {max_prepared_transactions: '5', wal_keep_size: '1GB', autovacuum: 'off'})
      from = parseLsn(String((await server.sql('select pg_switch_wal() as lsn'))[0]?.['lsn']))
      from = startOfSegment(from) + segmentBytes
      for (const statement of workload) await server.sql(statement)
      await server.sql(`begin; create table dropped (n int); insert into t values (1, 'p'); select nested(3); prepare transaction 'one'`)
      await server.sql(`begin; insert into t values (2, 'p'); prepare transaction 'two'`)
      await server.sql(`rollback prepared 'two'`)
      await server.sql(`commit prepared 'one'`)
      await server.sql('drop table dropped')
      await server.sql('checkpoint')
      to = parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn']))
      ;({records, events} = read(from, to))
    })
    after(() => site?.close())

    if (source === debian15) {
      it("are those that Debian's pg_waldump shows", () => {
        const text = execFileSync(join(debian15, 'pg_waldump'), ['-p', join(server.host.paths.data, 'pg_wal'), '-s', formatLsn(from), '-e', formatLsn(to)], {encoding: 'utf8', maxBuffer: 1e9})
        const shown = text.trim().split('\n').map((line) => /^rmgr: (\S+)\s+len .*tx:\s+(\d+), lsn: (\S+), prev \S+, desc: (\S+)(.*)$/.exec(line) as RegExpExecArray)
        assert.ok(shown.length > 10_000)
        assert.deepEqual(records.map(({start, xid}) => `${start} ${xid}`), shown.map(([, , xid, lsn]) => `${parseLsn(lsn as string)} ${xid}`))
        const ends = shown.filter(([, manager, , , kind]) => manager === 'Transaction' && /^(COMMIT|ABORT)/.test(kind as string))
        assert.deepEqual(
          events.filter(({kind}) => kind === 'transaction').map((event) => event.kind === 'transaction' && `${event.start} ${event.isCommitted} ${new Date(event.micros / 1000).toISOString().slice(0, 19)}`),
          ends.map(([, , , lsn, kind, rest]) => `${parseLsn(lsn as string)} ${kind?.startsWith('COMMIT')} ${new Date(`${/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/.exec(rest as string)?.[0]}Z`).toISOString().slice(0, 19)}`),
        )
        for (const [, , , lsn, , rest] of ends.filter(([, , , , kind]) => kind?.endsWith('_PREPARED'))) {
          const event = events.find(({start}) => start === parseLsn(lsn as string))
          assert.equal(event?.kind === 'transaction' && event.xid, Number(/: (\d+):/.exec(rest as string)?.[1] ?? /(\d+)/.exec(rest as string)?.[1]))
        }
      })
    }

    it('are those that pg_walinspect shows, with the same ends', async function () {
      if (server.major < 15) return this.skip()
      await server.sql('create extension if not exists pg_walinspect schema public')
      const shown = await server.sql(`select start_lsn, end_lsn, xid, resource_manager as manager, record_type as type, description from pg_get_wal_records_info('${formatLsn(from)}', '${formatLsn(to)}')`)
      assert.ok(shown.length > 10_000)
      assert.deepEqual(
        records.map(({start, end, xid}) => `${formatLsn(start)} ${formatLsn(end)} ${xid}`),
        shown.map((row) => `${formatLsn(parseLsn(String(row['start_lsn'])))} ${formatLsn(parseLsn(String(row['end_lsn'])))} ${row['xid']}`),
      )
      const ends = shown.filter((row) => row['manager'] === 'Transaction' && /^(COMMIT|ABORT)/.test(String(row['type'])))
      assert.deepEqual(events.filter(({kind}) => kind === 'transaction').map(({start}) => formatLsn(start)), ends.map((row) => formatLsn(parseLsn(String(row['start_lsn'])))))
    })

    it('name transactions, points and parameters', async () => {
      const names = events.filter((event) => event.kind === 'name')
      assert.deepEqual(names.map((event) => event.kind === 'name' && event.name), ['a named point', 'zwölf Boxkämpfer jagen Viktor quer über den großen Sylter D'])
      assert.ok(names.every((event) => event.kind === 'name' && Math.abs(event.micros / 1000 - Date.now()) < 120_000))
      const prepared = events.filter((event) => event.kind === 'transaction').slice(-4)
      assert.ok(prepared.some((event) => event.kind === 'transaction' && !event.isCommitted && event.xid > 0))
      await server.sql("insert into t values (0, 'probe')")
      const start = to
      const xid = Number((await server.sql("with one as (insert into t values (0, 'probe') returning 1) select pg_current_xact_id()::text as xid from one"))[0]?.['xid'])
      const {events: probed} = read(start, parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn'])))
      const event = probed.find((one) => one.kind === 'transaction' && one.xid === xid)
      assert.ok(event?.kind === 'transaction' && event.isCommitted && Math.abs(event.micros / 1000 - Date.now()) < 10_000)
      await server.stop()
      await server.host.write({path: `${server.host.paths.data}/postgresql.auto.conf`, content: 'max_connections = 77\n'})
      await server.start()
      for (let tries = 0; tries < 200; tries++) {
        if (await server.sql('select 1').then(() => true, () => false)) break
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      const {events: changed} = read(start, parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn'])))
      const parameters = changed.find(({kind}) => kind === 'parameters')
      assert.deepEqual(parameters?.kind === 'parameters' && [parameters.parameters.max_connections, parameters.parameters.max_prepared_transactions], [77, 5])
    })

    it('are the same from wherever one begins, and however the bytes come', () => {
      const portions = [8192, 65_536, 1024 * 1024]
      for (const portion of portions) assert.equal(read(from, to, portion).records.length, records.length)
      fc.assert(fc.property(fc.nat(records.length - 1), fc.nat(4_000_000), (index, cut) => {
        const {start} = records[index] as WalRecord
        const end = Math.min(to, start + cut)
        const {records: found, reader} = read(start, end)
        const expected = records.filter((record) => record.start >= start && record.end <= end)
        // a record is complete when its last byte is there, padding or not
        assert.ok(found.length >= expected.length && found.length <= expected.length + 1, `${found.length} of ${expected.length}`)
        assert.ok(expected.every((record, i) => found[i]?.start === record.start && found[i]?.end === record.end))
        assert.equal(reader.isEnded, false)
      }), {numRuns: 100})
    })

    it('go on after a record that a crash cut off', async () => {
      await server.sql('create table big (filler text)')
      await server.sql('alter table big alter filler set storage external')
      // a page image for each of many pages: records over several pages
      await server.sql("insert into big select repeat('x', 1900) from generate_series(1, 500)")
      const start = startOfSegment(parseLsn(String((await server.sql('select pg_switch_wal() as lsn'))[0]?.['lsn']))) + segmentBytes
      await server.sql('checkpoint')
      await server.sql("create index on big (left(filler, 200), n) include (filler)".replace(', n', ''))
      const end = parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn']))
      const {records: before} = read(start, end)
      const cut = before.findLast((record) => Math.floor(record.start / 8192) < Math.floor((record.end - 1) / 8192)) as WalRecord
      await server.stop('SIGQUIT')
      // what was written after its first page never reached the disk
      const file = join(server.host.paths.data, 'pg_wal', segmentName(1, cut.start))
      const bytes = readFileSync(file)
      bytes.fill(0, Math.ceil((cut.start % segmentBytes) / 8192) * 8192)
      await server.host.write({path: file, content: bytes})
      await server.start()
      for (let tries = 0; tries < 200; tries++) {
        if (await server.sql('select 1').then(() => true, () => false)) break
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      await server.sql('create table after_the_crash (n int)')
      const now = parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn']))
      const {records: found, reader} = read(start, now)
      assert.equal(reader.isEnded, false)
      assert.ok(found.some((record) => record.start > cut.start) && !found.some((record) => record.start === cut.start))
      if (server.major < 15) return
      await server.sql('create extension if not exists pg_walinspect schema public')
      const from = found.find((record) => record.start > cut.start)?.start as number
      const shown = await server.sql(`select start_lsn from pg_get_wal_records_info('${formatLsn(from)}', '${formatLsn(now)}')`)
      assert.deepEqual(found.filter((record) => record.start >= from).map((record) => record.start), shown.map((row) => parseLsn(String(row['start_lsn']))))
    })

    it('end where no log follows', async () => {
      const now = parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn']))
      const {records: found, reader} = read(startOfSegment(now), startOfSegment(now) + segmentBytes)
      assert.ok(found.length > 0)
      assert.equal(reader.isEnded, true)
    })
  })
}

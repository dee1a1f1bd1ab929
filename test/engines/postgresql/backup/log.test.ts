import assert from 'node:assert/strict'
import {readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import pg from 'pg'
import type {LogEnd, LogRequest} from '../../../../src/engines/backup.js'
import {follow} from '../../../../src/engines/postgresql/backup/follow.js'
import {hold, observeHold, release} from '../../../../src/engines/postgresql/backup/hold.js'
import {parseLsn, parseSegment, segmentBytes} from '../../../../src/engines/postgresql/backup/lsn.js'
import {untilReady} from '../../conformance.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {openSession, type Conversation} from '../../../../src/engines/postgresql/backup/session.js'
import {streamTimeline} from '../../../../src/engines/postgresql/backup/stream.js'
import {testArchive, type TestArchive} from './archive.js'
import {backupSources, testSite, type TestServer, type TestSite} from './server.js'

const flush = {milliseconds: 100, bytes: 1024 * 1024}

for (const {name, source} of backupSources()) {
  describe(`the log of ${name}`, function () {
    this.timeout(120_000)
    let site: TestSite
    let server: TestServer
    let names = 0

    const request = (archive: TestArchive, slot: string, changes: Partial<LogRequest> = {}): LogRequest => ({hold: slot, system: null, from: archive.end(), flush, ...changes})
    /** Follows in the background. */
    const start = (archive: TestArchive, slot: string, of = server, changes: Partial<LogRequest> = {}) => {
      const controller = new AbortController()
      const ended = follow(of.reader, request(archive, slot, changes), archive, controller.signal)
      ended.catch(() => {})
      return {ended, stop: (): Promise<LogEnd> => { controller.abort(new Error('enough')); return ended }}
    }
    const freshHold = async (of = server): Promise<string> => {
      const slot = `test_${++names}`
      await hold(of.host, of.admin, slot)
      return slot
    }
    const lsn = async (of = server): Promise<number> => parseLsn(String((await of.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn']))
    const endOf = (archive: TestArchive): number => {
      const end = archive.end()
      return end ? parseSegment(end.segment).start + end.offset : 0
    }
    const until = async (what: string, is: () => boolean | Promise<boolean>, seconds = 30) => {
      for (const last = Date.now() + seconds * 1000; !(await is()); await sleep(20)) assert.ok(Date.now() < last, new Error(`${what} did not come within ${seconds} s`))
    }
    /** `by`: whoever follows; one that has ended archives nothing more. */
    const untilArchived = async (archive: TestArchive, of = server, by?: Promise<LogEnd>) => {
      const to = await lsn(of)
      const early = by?.then((end) => assert.fail(`it ended: ${JSON.stringify(end)}`))
      early?.catch(() => {})
      await Promise.race([until(`log up to ${to}`, () => endOf(archive) >= to), ...(early ? [early] : [])])
    }
    /** The server may take a moment to see that whoever read has gone; until then it lets nobody else read there. */
    const untilUnread = (slot: string, of: TestServer) =>
      until(`the end of the reader of ${slot}`, async () => (await of.sql(`select active from pg_replication_slots where slot_name = '${slot}'`))[0]?.['active'] === false)
    /** Every byte that is archived is the server's; `least`: so many full segments must have been compared. */
    async function assertSame(archive: TestArchive, of: TestServer, least = 0): Promise<void> {
      const folder = join(of.host.paths.data, 'pg_wal')
      let compared = 0
      for await (const {timeline, segment} of archive.segments()) {
        if (!readdirSync(folder).includes(segment)) continue
        const bytes = archive.bytes(timeline, segment) as Uint8Array
        assert.ok(readFileSync(join(folder, segment)).subarray(0, bytes.length).equals(bytes), `${segment} differs`)
        if (bytes.length === segmentBytes) compared++
      }
      assert.ok(compared >= least, `${compared} segments were compared`)
    }

    before(async () => {
      site = await testSite(source)
      server = await site.server('main', {max_slot_wal_keep_size: '256MB', max_wal_size: '512MB', wal_keep_size: '512MB'})
      await server.sql('create table t (n bigint generated always as identity, filler text)')
    })
    after(() => site?.close())

    const write = (rows: number, of = server) => of.sql(`insert into t (filler) select repeat(md5(n::text), 30) from generate_series(1, ${rows}) n`)

    it('arrives byte for byte, over several segments, switched ones too', async () => {
      const slot = await freshHold()
      const archive = testArchive()
      const following = start(archive, slot)
      await write(20_000)
      await server.sql('select pg_switch_wal()')
      await write(20_000)
      await untilArchived(archive)
      assert.deepEqual(await following.stop(), {kind: 'asked'})
      await assertSame(archive, server, 2)
      assert.equal(archive.slices[0]?.fresh, 'the archive begins here')
      assert.ok(archive.slices.slice(1).every(({fresh}) => fresh === undefined))
      assert.ok(archive.slices.every(({bytes, final, start: from}) => final === (from + bytes.length === segmentBytes)))
      await release(server.host, server.admin, slot)
      await release(server.host, server.admin, slot)
      assert.equal((await observeHold(server.host, server.admin, slot)).state, 'absent')
    })

    it('is acknowledged only when it is durable, and holds the server back meanwhile', async () => {
      const slot = await freshHold()
      const archive = testArchive()
      let letGo = (): void => {}
      const following = start(archive, slot)
      await untilArchived(archive)
      const blocked = new Promise<void>((resolve) => { letGo = resolve })
      archive.before = () => blocked
      const durable = endOf(archive)
      const before = process.memoryUsage()
      await write(60_000)
      await sleep(1500)
      const [sender] = await server.sql(`select flush_lsn, sent_lsn, pg_current_wal_flush_lsn() as written from pg_stat_replication where application_name = 'dbaas log'`)
      assert.equal(parseLsn(String(sender?.['flush_lsn'])), durable)
      assert.ok(parseLsn(String(sender?.['written'])) - durable > 40_000_000)
      // what the socket, the server's buffers and we take in
      assert.ok(parseLsn(String(sender?.['sent_lsn'])) - durable < 30_000_000)
      assert.ok(process.memoryUsage().arrayBuffers - before.arrayBuffers < 40_000_000)
      const held = await observeHold(server.host, server.admin, slot)
      assert.ok(held.state === 'kept' && held.heldBytes > 40_000_000, JSON.stringify(held))
      const status = archive.statuses.at(-1)
      assert.ok(status && status.lagBytes > 1_000_000 && (status.lagSeconds as number) > 1, JSON.stringify(status))
      letGo()
      await untilArchived(archive)
      await until('acknowledged', async () => (await observeHold(server.host, server.admin, slot)).heldBytes < segmentBytes)
      await following.stop()
      await assertSame(archive, server, 3)
      await release(server.host, server.admin, slot)
    })

    it('goes on where the archive ends, however often and wherever it was interrupted', async () => {
      const slot = await freshHold()
      const archive = testArchive()
      let writing = true
      const writer = (async () => { while (writing) await write(300) })()
      for (let round = 0; round < 15; round++) {
        const following = start(archive, slot)
        await sleep(Math.random() * 300)
        if (round % 3 === 0) {
          // the connection breaks instead
          await server.sql("select pg_terminate_backend(pid) from pg_stat_replication where application_name = 'dbaas log'")
          await following.stop().catch((error: {code?: string}) => assert.equal(error.code, 'DATABASE_UNAVAILABLE'))
        } else await following.stop()
      }
      writing = false
      await writer
      const following = start(archive, slot)
      await untilArchived(archive)
      await following.stop()
      await assertSame(archive, server, 1)
      await release(server.host, server.admin, slot)
    })

    it('says of every slice what was committed by when, and never too much', async () => {
      const slot = await freshHold()
      const archive = testArchive()
      const following = start(archive, slot, server, {flush: {milliseconds: 20, bytes: 1024 * 1024}})
      const ends: {end: number; at: number}[] = []
      archive.after = ({segment, start: from, bytes, at}) => void ends.push({end: parseSegment(segment).start + from + bytes.length, at})
      const commits: {start: number; by: number}[] = []
      const {host, port} = server.host.address()
      const {ca, certificate: cert, key, username: user} = server.admin
      const clients = await Promise.all([1, 2, 3].map(async () => {
        const client = new pg.Client({host, port, user, database: 'postgres', ssl: {ca, cert, key, checkServerIdentity: () => undefined}})
        await client.connect()
        return client
      }))
      const last = Date.now() + 4000
      await Promise.all(clients.map(async (client) => {
        while (Date.now() < last) {
          await client.query('begin')
          await client.query("insert into public.t (filler) values ('x')")
          const {rows: [begun]} = await client.query('select pg_current_wal_insert_lsn()::text as lsn')
          await client.query('commit')
          const {rows: [ended]} = await client.query('select extract(epoch from clock_timestamp()) * 1000 as at')
          commits.push({start: parseLsn(begun.lsn), by: Number(ended.at)})
        }
      }))
      await Promise.all(clients.map((client) => client.end()))
      await untilArchived(archive)
      const done = Date.now()
      // nothing is written any more, and time goes on all the same
      await until('an idle server moves the time on', () => ((archive.statuses.at(-1)?.durableAt ?? 0) as number) > done + 1000)
      assert.ok((archive.statuses.at(-1)?.lagSeconds as number) < 3)
      assert.equal(archive.statuses.at(-1)?.lagBytes, 0)
      await following.stop()
      assert.ok(commits.length > 50 && ends.length > 30, `${commits.length} commits in ${ends.length} slices`)
      assert.ok(ends.at(-1)!.at > done - 4000)
      for (const {end, at} of ends) {
        const missing = commits.find(({start: from, by}) => by <= at && from >= end)
        assert.equal(missing, undefined, `the slice to ${end} says ${at}`)
      }
      await release(server.host, server.admin, slot)
    })

    it('survives a crash of the server', async () => {
      const slot = await freshHold()
      const archive = testArchive()
      for (let round = 0; round < 2; round++) {
        const following = start(archive, slot)
        await write(3000)
        const writing = write(30_000).catch(() => {})
        await sleep(200)
        await server.stop('SIGQUIT')
        await writing
        await assert.rejects(following.ended, {code: 'DATABASE_UNAVAILABLE'})
        await server.start()
        await untilReady(postgresql, server.host, server.admin, server)
      }
      const following = start(archive, slot)
      await write(10)
      await untilArchived(archive)
      await following.stop()
      await assertSame(archive, server)
      await release(server.host, server.admin, slot)
    })

    it('is complete when the server shuts down, its last checkpoint included', async () => {
      const slot = await freshHold()
      const archive = testArchive()
      const following = start(archive, slot, server, {flush: {milliseconds: 5000, bytes: 16_000_000}})
      await until('it follows', () => archive.statuses.length > 0)
      await write(100)
      const began = Date.now()
      await server.stop('SIGINT')
      assert.deepEqual(await following.ended, {kind: 'shutdown'})
      assert.ok(Date.now() - began < 4000, 'the shutdown waited for the flush interval')
      const end = endOf(archive)
      await server.start()
      await untilReady(postgresql, server.host, server.admin, server)
      const [control] = await server.sql("select redo_lsn::text as lsn, checkpoint_time from pg_control_checkpoint()")
      assert.ok(end > parseLsn(String(control?.['lsn'])))
      await assertSame(archive, server)
      await release(server.host, server.admin, slot)
    })

    it('that was lost is a gap at once: dropped, too much, or removed', async () => {
      const archive = testArchive()
      const slot = await freshHold()
      const [reading, other] = [start(archive, slot), testArchive()]
      await untilArchived(archive)
      await reading.stop()
      await release(server.host, server.admin, slot)
      const absent = await start(archive, slot).ended
      assert.ok(absent.kind === 'gap' && /kept nothing/.test(absent.because), JSON.stringify(absent))

      // more than max_slot_wal_keep_size, while it is being read slowly
      const small = await site.server('small', {max_slot_wal_keep_size: '48MB', max_wal_size: '64MB', min_wal_size: '32MB'})
      await small.sql('create table t (n bigint generated always as identity, filler text)')
      await hold(small.host, small.admin, 'lost')
      let letGo = (): void => {}
      const blocked = new Promise<void>((resolve) => { letGo = resolve })
      const following = start(other, 'lost', small)
      await untilArchived(other, small)
      other.before = () => blocked
      const states = new Set<string>()
      for (let i = 0; i < 30; i++) {
        await write(6000, small)
        await small.sql('checkpoint')
        states.add((await observeHold(small.host, small.admin, 'lost')).state)
        if (states.has('lost')) break
      }
      assert.ok(states.has('at-risk') && states.has('lost'), [...states].join())
      letGo()
      const lost = await following.ended
      assert.ok(lost.kind === 'gap' && /dropped what it held|removed/.test(lost.because), JSON.stringify(lost))
      const again = await start(other, 'lost', small).ended
      assert.equal(again.kind, 'gap')

      // a new hold does not bring back what is gone
      await hold(small.host, small.admin, 'lost')
      assert.equal((await observeHold(small.host, small.admin, 'lost')).state, 'kept')
      const keptFrom = async () => (await small.sql("select restart_lsn::text from pg_replication_slots where slot_name = 'lost'"))[0]?.['restart_lsn']
      const kept = await keptFrom()
      await untilUnread('lost', small)
      const gone = await start(other, 'lost', small).ended
      assert.ok(gone.kind === 'gap' && /removed log/.test(gone.because), JSON.stringify(gone))
      // nor does who asks for it take the new one back to there, however early its first word comes
      const session = await openSession(small.reader, 'dbaas log')
      const early = {...session, converse: (command: string, conversation: Conversation) => {
        const ended = session.converse(command, conversation)
        conversation.copyBoth?.()
        return ended
      }}
      await untilUnread('lost', small)
      await assert.rejects(streamTimeline(early, 'START_REPLICATION SLOT "lost" PHYSICAL 0/1000000 TIMELINE 1', {
        timeline: 1, start: segmentBytes, fresh: undefined, at: 0, isCurrent: true, isCaughtUp: false, flush, sink: testArchive(), signal: new AbortController().signal,
      }), /already been removed/)
      await session.close()
      assert.equal(await keptFrom(), kept)
      // the line begins anew
      await untilUnread('lost', small)
      const fresh = start(other, 'lost', small, {from: null})
      await untilArchived(other, small, fresh.ended)
      await fresh.stop()
      assert.equal(other.slices.filter((slice) => slice.fresh !== undefined).length, 2)
      await small.stop('SIGQUIT')
    })

    it('of other data, or of a server that went back, is a gap', async () => {
      const archive = testArchive()
      const slot = await freshHold()
      const foreign = await start(archive, slot, server, {system: '1'}).ended
      assert.ok(foreign.kind === 'gap' && /other data/.test(foreign.because))
      const ahead = await follow(server.reader, {...request(archive, slot), from: {timeline: '00000001', segment: '0000000100000FFF00000001', offset: 5, final: false, mark: null}}, archive, new AbortController().signal)
      assert.ok(ahead.kind === 'gap' && /has lost what was archived/.test(ahead.because))
      const elsewhere = await follow(server.reader, {...request(archive, slot), from: {timeline: '00000007', segment: '000000070000000000000001', offset: 5, final: false, mark: null}}, archive, new AbortController().signal)
      assert.ok(elsewhere.kind === 'gap' && /went another way/.test(elsewhere.because))
      await release(server.host, server.admin, slot)
    })

    it('goes over a change of the timeline, with its history', async () => {
      const of = await site.server('turning', {wal_keep_size: '512MB'})
      await of.sql('create table t (n bigint generated always as identity, filler text)')
      await hold(of.host, of.admin, 'turning')
      const archive = testArchive()
      let following = start(archive, 'turning', of)
      await write(2000, of)
      await untilArchived(archive, of)
      for (let turn = 2; turn <= 3; turn++) {
        // once it followed to the end, once it was away
        if (turn === 3) await following.stop()
        await write(50, of)
        await of.stop('SIGINT')
        if (turn === 2) assert.deepEqual(await following.ended, {kind: 'shutdown'})
        await of.host.write({path: `${of.host.paths.data}/recovery.signal`, content: ''})
        await of.host.write({path: `${of.host.paths.data}/postgresql.auto.conf`, content: "restore_command = 'false'\n"})
        await of.start()
        await untilReady(postgresql, of.host, of.admin, of)
        await until('promoted', async () => (await of.sql('select pg_is_in_recovery() as is'))[0]?.['is'] === false)
        following = start(archive, 'turning', of)
        await write(50, of)
        await untilArchived(archive, of)
        assert.equal(archive.end()?.timeline, `0000000${turn}`)
        assert.match(String(await archive.history(`0000000${turn}`)), /no recovery target specified/)
      }
      await following.stop()
      await assertSame(archive, of)
      // the segments that were left have ended, and are not full
      const lefts = archive.slices.filter(({final, start: from, bytes}) => final && from + bytes.length < segmentBytes)
      assert.deepEqual(lefts.map(({timeline}) => timeline), ['00000001', '00000002'])
      await of.stop('SIGQUIT')
    })

    it('refuses a name that a hold cannot have', () => assert.rejects(hold(server.host, server.admin, 'No"pe'), {code: 'INVALID_REQUEST'}))
  })
}

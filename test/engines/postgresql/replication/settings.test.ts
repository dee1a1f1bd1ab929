import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {closeSync, existsSync, openSync, readFileSync, writeSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import pg from 'pg'
import {readControlFile} from '../../../../src/engines/postgresql/backup/control-file.js'
import {formatLsn, segmentBytes, segmentName} from '../../../../src/engines/postgresql/backup/lsn.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {formatSynchronous, parseSynchronous, slotOf} from '../../../../src/engines/postgresql/replication/names.js'
import {replication} from '../../../../src/engines/postgresql/replication.js'
import {untilReady} from '../../conformance.js'
import {backupSources, debian15, testSite, type TestServer, type TestSite} from '../backup/server.js'

const nodeName = fc.stringMatching(/^[a-z_][a-z0-9_]{0,57}$/)

describe('names of nodes', () => {
  it('go through the synchronous set and back, whatever they are', () =>
    fc.assert(fc.property(fc.uniqueArray(nodeName, {maxLength: 5}), fc.nat(10), (names, n) => {
      const k = names.length === 0 ? 0 : 1 + (n % names.length)
      assert.deepEqual(parseSynchronous(formatSynchronous({k, names})), {k, names})
    })))

  it('are refused when a server would take them for something else', () => {
    for (const name of ['', '*', 'A', 'a-b', 'a"b', 'a b', '1a', 'x'.repeat(59)]) assert.throws(() => slotOf(name), {code: 'INVALID_REQUEST'}, name)
    assert.equal(parseSynchronous('*'), null)
    assert.equal(parseSynchronous('FIRST 1 ("a")'), null)
  })
})

describe('a place on a timeline', () => {
  const history = {system: '1', timeline: 4, parents: [{timeline: 1, end: 100n}, {timeline: 3, end: 200n}]}
  const of = (timeline: number, position: bigint) => replication.divergence({timeline, position}, history)

  it('is on the way of a history, or ahead of where that left it, or elsewhere', () => {
    assert.deepEqual([of(4, 10_000n), of(1, 100n), of(3, 150n)], [{kind: 'within'}, {kind: 'within'}, {kind: 'within'}])
    assert.deepEqual([of(1, 101n), of(3, 350n)], [{kind: 'ahead', bytes: 1n}, {kind: 'ahead', bytes: 150n}])
    assert.deepEqual([of(2, 50n), of(5, 50n)], [{kind: 'foreign'}, {kind: 'foreign'}])
  })
})

for (const {name, source} of backupSources()) {
  describe(`what a node of ${name} has of its own`, function () {
    this.timeout(60_000)
    let site: TestSite
    let server: TestServer

    const boot = async (role: 'primary' | 'standby'): Promise<void> => {
      await replication.prepareBoot(server.host, role === 'primary' ? {role} : {role, upstream: null})
      await server.start()
      await untilReady(postgresql, server.host, server.admin, {log: server.log, stop: server.stop})
    }
    const setting = async (of: string) => (await server.sql(`select setting from pg_settings where name = '${of}'`))[0]?.['setting']

    before(async () => {
      site = await testSite(source)
      server = await site.server('main', {max_connections: '15'})
      await replication.prepare(server.host, server.admin)
      await replication.prepare(server.host, server.admin)
      await postgresql.access.grantApplication(server.host, server.admin, {database: 'app', username: 'app', password: 'secret'})
    })
    after(() => site?.close())

    it('a peer comes in by its certificate, to replicate and to read files, and can do nothing else', async () => {
      const {ca, certificate: cert, key} = await site.credentials(replication.username)
      const tryAs = async (changes: pg.ClientConfig, statement = 'IDENTIFY_SYSTEM'): Promise<string | undefined> => {
        const client = new pg.Client({...server.host.address(), user: replication.username, database: 'postgres', connectionTimeoutMillis: 5000, ssl: {ca, cert, key, checkServerIdentity: () => undefined}, ...changes})
        client.on('error', () => {})
        try {
          await client.connect()
          await client.query(statement)
          await client.end()
          return undefined
        } catch (error) {
          ;(client as unknown as {connection: {stream: {destroy(): void}}}).connection.stream.destroy()
          return (error as Error).message
        }
      }
      assert.equal(await tryAs({replication: 'true'} as pg.ClientConfig), undefined)
      assert.equal(await tryAs({}, "select pg_read_binary_file('PG_VERSION')"), undefined)
      assert.match(String(await tryAs({}, "select pg_reload_conf()")), /permission/)
      assert.match(String(await tryAs({}, 'create role other')), /permission/)
      assert.match(String(await tryAs({}, 'select * from pg_authid')), /permission/)
      assert.match(String(await tryAs({database: 'app'})), /pg_hba/)
      assert.match(String(await tryAs({replication: 'true', ssl: {ca, checkServerIdentity: () => undefined}} as pg.ClientConfig)), /certificate/)
    })

    it('overrides what the data bring along, outlives a new configuration, and is no complaint in the log', async () => {
      await server.stop()
      const auto = join(server.host.paths.data, 'postgresql.auto.conf')
      await server.host.write({path: auto, content: "work_mem = '5MB'\nprimary_conninfo = 'host=nowhere'\nsynchronous_standby_names = '*'\nrestore_command = 'false'\n"})
      await boot('standby')
      assert.equal(readFileSync(auto, 'utf8'), "work_mem = '5MB'\n")
      assert.deepEqual((await server.sql('select pg_is_in_recovery() as standby'))[0], {standby: true})
      assert.equal(await setting('primary_conninfo'), '')
      assert.equal(await setting('wal_receiver_timeout'), '3000')
      await replication.setSynchronous(server.host, server.admin, {k: 1, names: ['a', 'b']})
      await replication.provide(server.host, await site.credentials(replication.username))
      await replication.follow(server.host, server.admin, {address: {host: "it's\\", port: 1}, name: 'me'})
      assert.match(String(await setting('primary_conninfo')), /^host='it\\'s\\\\' port='1' .*application_name='me'/)
      assert.equal(await setting('primary_slot_name'), 'peer_me')
      await server.stop()
      await server.start()
      await untilReady(postgresql, server.host, server.admin, {log: server.log, stop: server.stop})
      assert.equal(await setting('synchronous_standby_names'), 'ANY 1 ("a", "b")')
      assert.equal(await setting('primary_slot_name'), 'peer_me')
      assert.doesNotMatch(server.log(), /skipping missing configuration|contains errors/)
    })

    it('a standby comes up as a standby, and a primary only by the word of the caller', async () => {
      await server.stop()
      assert.ok(existsSync(join(server.host.paths.data, 'standby.signal')))
      await boot('primary')
      assert.deepEqual((await server.sql('select pg_is_in_recovery() as standby'))[0], {standby: false})
      assert.equal(await setting('primary_conninfo'), '')
      assert.equal(await setting('max_standby_streaming_delay'), '30000')
      await replication.setSynchronous(server.host, server.admin, {k: 0, names: []})
    })

    it('a certificate is written once', async () => {
      const credentials = await site.credentials(replication.username)
      assert.equal(await replication.provide(server.host, credentials), true)
      assert.equal(await replication.provide(server.host, credentials), false)
    })

    it('log is kept for those who are listed, from where they are', async () => {
      const {host, admin} = server
      const slots = async () => (await server.sql("select slot_name, restart_lsn::text as at from pg_replication_slots where slot_name like 'peer%' order by 1")).map(({slot_name, at}) => [slot_name, at])
      await replication.keepLogFor(host, admin, [{name: 'a', position: null}, {name: 'b', position: null}])
      await server.sql('create table kept (n int)')
      const {flushed} = await replication.observe(host, admin)
      await replication.keepLogFor(host, admin, [{name: 'b', position: flushed}, {name: 'c', position: null}])
      const [b, c] = await slots() as [[string, string], [string, string]]
      assert.deepEqual(b, ['peer_b', formatLsn(Number(flushed))])
      assert.equal(c[0], 'peer_c')
      // never back
      await replication.keepLogFor(host, admin, [{name: 'b', position: 1n}, {name: 'c', position: null}])
      assert.deepEqual(await slots(), [b, c])
      assert.deepEqual((await replication.observe(host, admin)).kept.map(({name: of, isActive, isLost}) => [of, isActive, isLost]), [['b', false, false], ['c', false, false]])
      await replication.keepLogFor(host, admin, [])
      assert.deepEqual(await slots(), [])
    })

    it('is observed when clients have taken every connection', async () => {
      const {ca} = server.admin
      const clients: pg.Client[] = []
      try {
        for (;;) {
          const client = new pg.Client({...server.host.address(), user: server.admin.username, database: 'postgres', ssl: {ca, cert: server.admin.certificate, key: server.admin.key, checkServerIdentity: () => undefined}})
          client.on('error', () => {})
          clients.push(client)
          await client.connect()
        }
      } catch (error) {
        assert.equal((error as {code?: string}).code, '53300')
      }
      try {
        await assert.rejects(server.sql('select 1'), {code: 'DATABASE_UNAVAILABLE'})
        assert.equal((await replication.observe(server.host, server.admin)).role, 'primary')
      } finally {
        clients.pop()
        await Promise.all(clients.map((client) => client.end()))
      }
    })

    it('the control file says what the server says', async () => {
      const [control] = await server.sql(`select system_identifier::text as system, checkpoint_lsn::text as checkpoint, redo_lsn::text as redo, timeline_id as timeline from pg_control_system(), pg_control_checkpoint()`)
      const path = join(server.host.paths.data, 'global/pg_control')
      const read = readControlFile(readFileSync(path))
      assert.deepEqual({system: read.system, checkpoint: formatLsn(read.checkpoint), redo: formatLsn(read.redo), timeline: read.timeline}, control)
      assert.equal(read.state, 'primary')
      assert.equal(read.isRewindable, true)
      await server.stop()
      const stopped = readControlFile(readFileSync(path))
      assert.equal(stopped.state, 'stopped')
      const {position} = await replication.shutdownPosition(server.host)
      if (source === debian15) {
        const segment = execFileSync('sh', ['-c', 'ls "$0"/pg_wal | grep -E "^[0-9A-F]{24}$" | sort | head -1', server.host.paths.data], {encoding: 'utf8'}).trim()
        const lines = execFileSync('sh', ['-c', '"$0"/pg_waldump -p "$1"/pg_wal -s "$2" "$3" 2>&1 || true', debian15, server.host.paths.data, formatLsn(stopped.checkpoint), segment], {encoding: 'utf8'})
        assert.match(lines, /CHECKPOINT_SHUTDOWN/)
        assert.match(lines, new RegExp(`error in WAL record at ${formatLsn(stopped.checkpoint)}: invalid record length at ${formatLsn(Number(position))}`))
      }
      assert.ok(Number(position) > stopped.checkpoint)
      // the first part of a record, and behind it what lay there before: as a standby has it that was killed while it received
      const part = Buffer.alloc(120, 0xaa)
      part.writeUInt32LE(part.length, 0)
      const file = openSync(join(server.host.paths.data, 'pg_wal', segmentName(read.timeline, Number(position))), 'r+')
      writeSync(file, part, 0, part.length, Number(position) % segmentBytes)
      closeSync(file)
      assert.equal((await replication.readData(server.host)).position, position)
      await boot('primary')
    })
  })
}

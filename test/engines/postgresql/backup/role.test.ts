import assert from 'node:assert/strict'
import pg from 'pg'
import {baseBackup} from '../../../../src/engines/postgresql/backup/base-backup.js'
import {mark} from '../../../../src/engines/postgresql/backup/log.js'
import {parseLsn} from '../../../../src/engines/postgresql/backup/lsn.js'
import {backupRole, prepare} from '../../../../src/engines/postgresql/backup/role.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {testAuthority} from '../../certificates.js'
import {backupSources, testSite, type TestServer, type TestSite} from './server.js'

for (const {name, source} of backupSources()) {
  describe(`the role that reads ${name}`, function () {
    this.timeout(60_000)
    let site: TestSite
    let server: TestServer

    /** Why it is not let in. */
    const tryAs = async (changes: pg.ClientConfig): Promise<string | undefined> => {
      const {credentials: {ca, certificate: cert, key}} = server.reader
      const client = new pg.Client({
        ...server.host.address(), user: backupRole, database: 'postgres', password: 'x', connectionTimeoutMillis: 5000,
        ssl: {ca, cert, key, checkServerIdentity: () => undefined}, ...changes,
      })
      client.on('error', () => {})
      try {
        await client.connect()
        await client.end()
        return undefined
      } catch (error) {
        ;(client as unknown as {connection: {stream: {destroy(): void}}}).connection.stream.destroy()
        return (error as Error).message
      }
    }

    before(async () => {
      site = await testSite(source)
      server = await site.server('main')
      await postgresql.access.grantApplication(server.host, server.admin, {database: 'app', username: 'app', password: 'secret'})
    })
    after(() => site?.close())

    it('may replicate, by its certificate alone, and see no database', async () => {
      assert.equal(await tryAs({replication: 'true'} as pg.ClientConfig), undefined)
      for (const database of ['postgres', 'app', 'template1']) assert.match(String(await tryAs({database})), /pg_hba/)
      assert.match(String(await tryAs({replication: 'database', database: 'app'} as pg.ClientConfig)), /pg_hba/)
      assert.match(String(await tryAs({replication: 'true', ssl: {checkServerIdentity: () => undefined, ca: server.reader.credentials.ca}} as pg.ClientConfig)), /certificate/)
      const stranger = await (await testAuthority()).admin(backupRole)
      assert.match(String(await tryAs({replication: 'true', ssl: {ca: server.reader.credentials.ca, cert: stranger.certificate, key: stranger.key, checkServerIdentity: () => undefined}} as pg.ClientConfig)), /alert/)
      assert.match(String(await tryAs({replication: 'true', user: 'app', password: 'secret'} as pg.ClientConfig)), /pg_hba|replication/)
    })

    it('is set right again, whatever somebody gave it', async () => {
      await server.sql(`alter role ${backupRole} superuser createdb nologin valid until '2000-01-01' password 'x'`)
      await assert.rejects(baseBackup.take(server.reader, {label: 'x', pace: 'now', limit: {bytesPerSecond: () => null}, previous: null}, {begin() {}, progress() {}, write: () => Promise.resolve()}, new AbortController().signal), {code: 'DATABASE_UNAVAILABLE'})
      await prepare(server.host, server.admin)
      await prepare(server.host, server.admin)
      const [role] = await server.sql(`select rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolcanlogin, rolpassword from pg_authid where rolname = '${backupRole}'`)
      assert.deepEqual(role, {rolsuper: false, rolcreatedb: false, rolcreaterole: false, rolbypassrls: false, rolreplication: true, rolcanlogin: true, rolpassword: null})
      assert.equal(await tryAs({replication: 'true'} as pg.ClientConfig), undefined)
    })

    it('has a server that notes which pages change, where it can', async () => {
      const [setting] = await server.sql("select setting from pg_settings where name = 'summarize_wal'")
      assert.equal(setting?.['setting'], server.major >= 17 ? 'on' : undefined)
    })

    it('may rely on a named point that is on the disk at once', async () => {
      const before = parseLsn(String((await server.sql('select pg_current_wal_insert_lsn() as lsn'))[0]?.['lsn']))
      const place = await mark(server.host, server.admin, 'a point ♥')
      const [now] = await server.sql('select pg_current_wal_flush_lsn() as lsn')
      assert.equal(place.timeline, '00000001')
      assert.ok(parseLsn(place.position) > before && parseLsn(place.position) <= parseLsn(String(now?.['lsn'])))
      for (const bad of ['', 'x'.repeat(64), '♥'.repeat(22)]) await assert.rejects(mark(server.host, server.admin, bad), {code: 'INVALID_REQUEST'})
    })
  })
}

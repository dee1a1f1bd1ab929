import assert from 'node:assert/strict'
import * as net from 'node:net'
import * as tls from 'node:tls'
import {stat} from 'node:fs/promises'
import pg from 'pg'
import {DbaasError} from '../../../src/core/errors.js'
import {sizes} from '../../../src/core/instance/sizes.js'
import type {AdminCredentials, ClientCredentials} from '../../../src/engines/engine.js'
import type {Host} from '../../../src/engines/host.js'
import {asAdmin} from '../../../src/engines/postgresql/client.js'
import {filesOf} from '../../../src/engines/postgresql/files.js'
import {postgresql} from '../../../src/engines/postgresql/index.js'
import {can} from '../../../src/engines/postgresql/versions.js'
import {scramVerifier} from '../../../src/engines/postgresql/scram.js'
import {testAuthority} from '../certificates.js'
import {untilReady} from '../conformance.js'
import {majorsToTest, postgresqlSubject} from './subject.js'
import type {PostgresqlSubject} from './subject.js'

const {access, config, lifecycle} = postgresql

for (const {name, source} of majorsToTest()) {
  describe(`who gets into ${name}, and how far`, function () {
    this.timeout(60_000)
    let subject: PostgresqlSubject
    let host: Host
    let admin: AdminCredentials
    let app: ClientCredentials
    let server: Awaited<ReturnType<PostgresqlSubject['start']>>

    const ask = (statement: string) => access.query(app, statement, {timeoutMs: 10_000, maxRows: 10})
    const denied = (statement: string, sqlstate = '42501') =>
      assert.rejects(ask(statement), (error: unknown) => {
        assert.ok(error instanceof DbaasError)
        assert.equal(error.details['sqlstate'], sqlstate, `${statement}: ${error.message}`)
        return true
      })
    /** A raw connection by the driver, with what a client may try. */
    const tryAs = async (user: string, extra: pg.ClientConfig): Promise<string | undefined> => {
      const client = new pg.Client({
        ...host.address(),
        connectionTimeoutMillis: 5000,
        user,
        database: 'app',
        password: 'secret-1',
        ssl: {ca: admin.ca, checkServerIdentity: () => undefined},
        ...extra,
      })
      client.on('error', () => {})
      try {
        await client.connect()
        return undefined
      } catch (error) {
        return (error as Error).message
      } finally {
        ;(client as unknown as {connection: {stream: net.Socket}}).connection.stream.destroy()
      }
    }

    before(async () => {
      subject = await postgresqlSubject(source)
      admin = await subject.admin()
      host = await subject.place('main')
      await lifecycle.initialise(host, subject.version)
      await config.write(host, {
        version: subject.version,
        instanceName: 'demo',
        values: config.fromSize(sizes.micro, subject.version),
        tls: await subject.tls(),
      })
      server = await subject.start(host, lifecycle.command(host, subject.version))
      await untilReady(postgresql, host, admin, server)
      await access.grantApplication(host, admin, {database: 'app', username: 'app', password: 'secret-1'})
      app = {
        ...host.address(),
        database: 'app',
        username: 'app',
        password: 'secret-1',
        ca: admin.ca,
        serverName: 'localhost',
      }
    })
    after(async () => {
      await subject?.close()
    })

    it('refuses plain text, whoever asks', async () => {
      assert.match(String(await tryAs('app', {ssl: false})), /no encryption|SSL off|pg_hba/)
      assert.match(String(await tryAs('dbaas_admin', {ssl: false})), /no encryption|SSL off|pg_hba/)
    })

    it('refuses TLS 1.2', async () => {
      const outcome = await new Promise<string>((resolve) => {
        const socket = net.connect(host.address().port, host.address().host, () => {
          socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
        })
        socket.once('data', () => {
          const secure = tls.connect(
            {socket, ca: admin.ca, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', checkServerIdentity: () => undefined},
            () => resolve('accepted'),
          )
          secure.once('error', (error) => resolve(error.message))
        })
      })
      assert.match(outcome, /protocol version/)
    })

    it("lets the agent in by its certificate alone: no password, no stranger's nor server's certificate", async () => {
      assert.match(String(await tryAs('dbaas_admin', {database: 'postgres'})), /certificate/)
      const stranger = await (await testAuthority()).admin('dbaas_admin')
      for (const {certificate, key} of [stranger, await subject.tls()]) {
        const words = await tryAs('dbaas_admin', {
          database: 'postgres',
          ssl: {ca: admin.ca, cert: certificate, key, checkServerIdentity: () => undefined},
        })
        assert.match(String(words), /alert/)
        await assert.rejects(
          lifecycle.whyNotReady(host, {...admin, certificate, key}),
          (error: unknown) => error instanceof DbaasError && error.code === 'SERVER_START_FAILED',
        )
      }
      const {certificate: cert, key} = admin
      assert.equal(
        await tryAs('dbaas_admin', {
          database: 'postgres',
          ssl: {ca: admin.ca, cert, key, checkServerIdentity: () => undefined},
        }),
        undefined,
      )
      // and the certificate opens no other role
      assert.match(
        String(
          await tryAs('app', {password: 'wrong', ssl: {ca: admin.ca, cert, key, checkServerIdentity: () => undefined}}),
        ),
        /password/,
      )
      assert.match(String(await tryAs('app', {replication: 'true'} as pg.ClientConfig)), /replication|pg_hba/)
    })

    it('does not wait for a server that has stopped answering', async () => {
      const began = Date.now()
      server.child.kill('SIGSTOP')
      try {
        assert.match(String(await lifecycle.whyNotReady(host, admin)), /./)
        await assert.rejects(
          access.probe(app, 500),
          (error: unknown) => error instanceof DbaasError && error.code === 'DATABASE_UNAVAILABLE',
        )
      } finally {
        server.child.kill('SIGCONT')
      }
      assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`)
      await untilReady(postgresql, host, admin, server)
    })

    it('gives the application its own database and no more', async () => {
      await ask(
        `create schema mine; create table mine.t (n int); create table public.t (n int);
         create extension if not exists pgcrypto; drop table public.t`,
      )
      await denied('create role other')
      await denied('create database other')
      await denied('alter role app superuser')
      await denied("select pg_read_file('/etc/passwd')")
      await denied("copy (select 1) to program 'true'")
      await denied("alter system set work_mem = '1GB'", can(subject.version, 'allow-alter-system') ? '0A000' : '42501')
      await denied('create extension file_fdw')
      for (const database of ['postgres', 'template1']) {
        assert.match(String(await tryAs('app', {database})), /permission denied for database/)
      }
      const {rows} = await ask(
        `select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls
         from pg_roles where rolname = current_user`,
      )
      assert.deepEqual(rows, [[false, false, false, false, false]])
    })

    it("closes a further role out of the application's database", async () => {
      await asAdmin(host, admin, (client) => client.query(`create role guest login password '${'x'.repeat(12)}'`))
      assert.match(String(await tryAs('guest', {password: 'x'.repeat(12)})), /permission denied for database/)
    })

    it('stores the verifier that the server would have made itself', async () => {
      const [ours, theirs] = await asAdmin(host, admin, async (client) => {
        const stored = async (role: string) =>
          (await client.query<{p: string}>('select rolpassword as p from pg_authid where rolname = $1', [role])).rows[0]
            ?.p
        await client.query("create role sample login password 'pä§§ word'")
        return [await stored('app'), await stored('sample')]
      })
      const salt = /^SCRAM-SHA-256\$4096:([^$]+)\$/.exec(String(theirs))?.[1]
      assert.equal(await scramVerifier('pä§§ word', Buffer.from(String(salt), 'base64')), theirs)
      assert.match(String(ours), /^SCRAM-SHA-256\$4096:/)
    })

    it("has a locale of its own, checksums, and its settings out of the data's reach", async () => {
      const {rows} = await ask(`select current_setting('data_checksums'), pg_encoding_to_char(encoding),
          'ä' < 'b' collate "default", upper('ä')
        from pg_database where datname = 'app'`)
      assert.deepEqual(rows, [['on', 'UTF8', false, 'Ä']])
      const key = await stat(filesOf(host).key)
      assert.equal(key.mode & 0o777, 0o600)
      assert.ok(!host.paths.config.startsWith(host.paths.data))
    })
  })
}

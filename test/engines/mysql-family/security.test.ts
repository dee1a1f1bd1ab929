import assert from 'node:assert/strict'
import {readFile, readdir, stat} from 'node:fs/promises'
import * as path from 'node:path'
import * as mysql2 from 'mysql2'
import {DbaasError} from '../../../src/core/errors.js'
import {asAdmin} from '../../../src/engines/mysql-family/client.js'
import type {AdminClient} from '../../../src/engines/mysql-family/client.js'
import {filesOf} from '../../../src/engines/mysql-family/files.js'
import {storedPassword as mariadbStored} from '../../../src/engines/mariadb/password.js'
import {storedPassword as mysqlStored} from '../../../src/engines/mysql/password.js'
import {testAuthority} from '../certificates.js'
import {untilReady} from '../conformance.js'
import {appServer} from './server.js'
import type {AppServer} from './server.js'
import {family} from './subject.js'

const password = 'secret-1 ä'

for (const member of family) {
  describe(`who gets into ${member.engine.title}, and how far`, function () {
    this.timeout(120_000)
    member.needs()
    const {access, lifecycle} = member.engine
    let on: AppServer

    const ask = (statement: string) => access.query(on.app, statement, {timeoutMs: 10_000, maxRows: 100})
    const asAgent = <T>(use: (client: AdminClient) => Promise<T>) => asAdmin(member.dialect, on.host, on.admin, use)
    const denied = (statement: string, numbers = [1044, 1045, 1142, 1227]) =>
      assert.rejects(ask(statement), (error: unknown) => {
        assert.ok(error instanceof DbaasError)
        assert.ok(numbers.includes(Number(error.details['errno'])), `${statement}: ${error.message}`)
        return true
      })
    /** A raw connection by the driver, with what a client may try. The number or code, and words, of the refusal. */
    const tryAs = (user: string, extra: mysql2.ConnectionOptions = {}): Promise<string | undefined> =>
      new Promise((resolve) => {
        const client = mysql2.createConnection({
          ...on.host.address(),
          connectTimeout: 5000,
          user,
          password,
          ssl: {ca: on.admin.ca},
          ...extra,
        })
        client.on('error', () => {})
        const end = (outcome: string | undefined): void => {
          client.destroy()
          resolve(outcome)
        }
        client.connect((error) =>
          error
            ? end(`${error.errno ?? ''} ${error.code} ${error.message}`)
            : // a refused certificate is only noticed at the next word
              client.query('select 1', (refused) => end(refused ? `${refused.errno ?? ''} ${refused.code} ${refused.message}` : undefined)),
        )
      })
    const withCertificate = ({certificate, key}: {certificate: string; key: string}): mysql2.ConnectionOptions => ({
      password: '',
      ssl: {ca: on.admin.ca, cert: certificate, key},
    })

    before(async () => {
      on = await appServer(member, password)
    })
    after(async () => {
      await on?.subject.close()
    })

    it('lets its application in, so that the refusals below mean something', async () => {
      assert.equal(await tryAs('app', {database: 'app'}), undefined)
    })

    it('refuses plain text, whoever asks', async () => {
      const plain = {ssl: undefined as never}
      for (const user of ['app', 'dbaas_admin', 'root'])
        assert.match(String(await tryAs(user, plain)), /^3159 |^1045 /, user)
      // not the account alone asks for TLS, but the server
      await asAgent((client) => client.query("alter user app@'%' require none"))
      assert.equal(await tryAs('app'), undefined)
      assert.match(String(await tryAs('app', plain)), /^3159 |^1045 /)
      await asAgent((client) => client.query("alter user app@'%' require ssl"))
    })

    it('refuses TLS 1.2', async () => {
      const outcome = await tryAs('app', {ssl: {ca: on.admin.ca, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2'}})
      assert.match(String(outcome), /protocol version|HANDSHAKE_SSL_ERROR/)
    })

    it("lets the agent in by its certificate alone: no password, no stranger's nor server's certificate", async () => {
      assert.match(String(await tryAs('dbaas_admin')), /^1045 /)
      assert.match(String(await tryAs('dbaas_admin', {password: ''})), /^1045 /)
      const stranger = await (await testAuthority()).admin('dbaas_admin')
      // the last is named as the agent, and still for servers alone
      for (const pair of [stranger, await on.subject.tls(), await on.subject.tls(['dbaas_admin'])]) {
        assert.notEqual(await tryAs('dbaas_admin', withCertificate(pair)), undefined)
        await assert.rejects(
          lifecycle.whyNotReady(on.host, {...on.admin, certificate: pair.certificate, key: pair.key}),
          (error: unknown) => error instanceof DbaasError && error.code === 'SERVER_START_FAILED',
        )
      }
      assert.equal(await tryAs('dbaas_admin', withCertificate(on.admin)), undefined)
      // and with a password, as if it had one
      assert.match(String(await tryAs('dbaas_admin', {...withCertificate(on.admin), password: 'x'})), /^1045 /)
      // and the certificate opens no other account
      assert.match(String(await tryAs('app', {...withCertificate(on.admin), password: 'wrong'})), /^1045 /)
      // and a client certificate of the same CA for somebody else opens nothing
      const another = await on.subject.admin('somebody')
      assert.match(String(await tryAs('dbaas_admin', withCertificate(another))), /^1045 /)
    })

    it('has no accounts but these, and no way in for most of them', async () => {
      const accounts = await asAgent((client) =>
        client.query<{account: string}>("select concat(User, '@', Host) as account from mysql.user order by 1"),
      )
      const own = member.engine.name === 'mysql' ? ['mysql.infoschema', 'mysql.session', 'mysql.sys'] : ['mariadb.sys']
      assert.deepEqual(
        accounts.map(({account}) => account),
        ['app@%', 'dbaas_admin@%', ...own.map((name) => `${name}@localhost`)].sort(),
      )
      for (const user of ['root', 'mysql', '', ...own]) {
        for (const word of ['', password]) assert.match(String(await tryAs(user, {password: word})), /^(?:1045|1698|4151|3118) /, user)
      }
      const {rows} = await ask('select current_user(), user()')
      assert.equal(rows[0]?.[0], 'app@%')
    })

    it('does not wait for a server that has stopped answering', async () => {
      const began = Date.now()
      on.server.child.kill('SIGSTOP')
      try {
        assert.match(String(await lifecycle.whyNotReady(on.host, on.admin)), /./)
        await assert.rejects(
          access.probe(on.app, 500),
          (error: unknown) => error instanceof DbaasError && error.code === 'DATABASE_UNAVAILABLE',
        )
      } finally {
        on.server.child.kill('SIGCONT')
      }
      assert.ok(Date.now() - began < 5000, `${Date.now() - began} ms`)
      await untilReady(member.engine, on.host, on.admin, on.server)
    })

    it('gives the application its own database and no more', async () => {
      await ask('create table t (n int); create view v as select n from t; drop view v; drop table t')
      await ask('create procedure p() select 1; drop procedure p; create temporary table x (n int); drop table x')
      await denied("create user other identified by 'x'")
      await denied('create database other')
      await denied("grant all on *.* to app@'%'")
      await denied("grant all on app.* to dbaas_admin@'%'", [1044, 1045, 1142, 1227, 1410])
      await denied("select 1 into outfile '/tmp/dbaas-outfile'", [1045, 1227, 1290])
      await denied("load data infile '/etc/passwd' into table app.t", [1045, 1227, 1290])
      await denied('set global max_connections = 5')
      await denied('select * from mysql.user')
      await denied('shutdown')
      await denied('flush tables')
      await denied('kill 1', [1094, 1095])
      assert.deepEqual((await ask("select load_file('/etc/hostname')")).rows, [[null]])
      const databases = (await ask('show databases')).rows.flat()
      assert.deepEqual(databases.filter((name) => !/_schema$/.test(String(name))), ['app'])
      assert.match(String(await tryAs('app', {database: 'mysql'})), /^1044 /)
      assert.match(String(await tryAs('app', {database: 'sys'})), /^1044 /)
    })

    it('takes away what somebody gave the application by hand, and lets it work meanwhile', async () => {
      await asAgent(async (client) => {
        await client.query('create database other')
        await client.query("grant select on other.* to app@'%'")
        await client.query("grant super, file on *.* to app@'%' with grant option").catch(() => {})
        await client.query("create role 'strong'")
        await client.query("grant all on *.* to 'strong'")
        await client.query("grant 'strong' to app@'%'")
        await client.query("create user app@'127.0.0.1' identified by 'weak'")
        await client.query("alter user app@'%' account lock")
      })
      await access.grantApplication(on.host, on.admin, {database: 'app', username: 'app', password})
      assert.match(String(await tryAs('app', {password: 'weak'})), /^1045 /)
      const grants = (await ask('show grants')).rows.flat().map(String)
      assert.equal(grants.length, 2, grants.join('\n'))
      assert.ok(grants.some((grant) => grant.startsWith('GRANT USAGE ON *.* TO `app`@`%`')))
      assert.ok(grants.some((grant) => grant === 'GRANT ALL PRIVILEGES ON `app`.* TO `app`@`%`'))
      await denied('select * from other.t')
      await asAgent(async (client) => {
        await client.query("drop role 'strong'")
        await client.query('drop database other')
      })
    })

    it('keeps a pattern in the name of a database from being one', async () => {
      await access.grantApplication(on.host, on.admin, {database: 'my_app', username: 'second', password})
      await asAgent((client) => client.query('create database `my-app`'))
      await assert.rejects(access.query({...on.app, username: 'second', database: 'my-app'}, 'select 1', {timeoutMs: 5000, maxRows: 1}))
      const mine = {...on.app, username: 'second', database: 'my_app'}
      assert.deepEqual((await access.query(mine, 'create table t (n int); select database()', {timeoutMs: 5000, maxRows: 1})).rows, [['my_app']])
      await access.grantApplication(on.host, on.admin, {database: 'my_app', username: 'second', password: 'another'})
      await access.probe({...mine, password: 'another'}, 5000)
    })

    it('stores of a password what the server would have made of it itself', async () => {
      for (const word of ['p', 'pä§§ word', "it's \\ long, longer than the 32 bytes of one digest, and the 64 of two of them"]) {
        const [ours, theirs] = await asAgent(async (client) => {
          await client.query("create user if not exists sample@'%'")
          await client.query("alter user sample@'%' identified by ?", [word])
          const stored = async (): Promise<string> =>
            (await client.query<{kept: string}>("select authentication_string as kept from mysql.user where User = 'sample'"))[0]?.kept ?? ''
          const made = await stored()
          // with the server's own salt and rounds, where it has some: `$A$00A$` and 20 characters
          const ours = member.name === 'mysql' ? mysqlStored(word, made.slice(7, 27), Number.parseInt(made.slice(3, 6), 16)) : mariadbStored(word)
          return [ours, made]
        })
        assert.equal(ours, theirs)
      }
      await asAgent((client) => client.query("drop user sample@'%'"))
    })

    it('writes no password anywhere', async () => {
      const log = `${on.host.paths.tmp}/general.log`
      await asAgent(async (client) => {
        await client.query('set global general_log_file = ?', [log])
        await client.query('set global general_log = 1')
      })
      const word = 'pä§§ word that is found nowhere'
      await access.grantApplication(on.host, on.admin, {database: 'app', username: 'app', password: word})
      await access.probe({...on.app, password: word}, 5000)
      await asAgent(async (client) => {
        await client.query('set global general_log = 0')
        await client.query('flush logs')
      })
      const folders = [on.host.paths.data, `${on.host.paths.data}/mysql`, on.host.paths.tmp, on.host.paths.config]
      let read = 0
      for (const folder of folders) {
        for (const name of await readdir(folder)) {
          const file = path.join(folder, name)
          if (!(await stat(file)).isFile()) continue
          read += 1
          assert.ok(!(await readFile(file)).includes(word), file)
        }
      }
      assert.ok(read > 10)
      assert.ok(!on.server.log().includes(word))
      await access.grantApplication(on.host, on.admin, {database: 'app', username: 'app', password})
    })

    it('has its files to itself, and no door beside the one', async () => {
      assert.equal((await stat(filesOf(on.host).key)).mode & 0o777, 0o600)
      assert.equal((await stat(filesOf(on.host).conf)).mode & 0o777, 0o600)
      assert.ok(!on.host.paths.config.startsWith(on.host.paths.data))
      const names = await readdir(on.host.paths.data)
      assert.deepEqual(names.filter((name) => name.endsWith('.pem')), [])
      const {rows} = await ask('select @@socket, @@local_infile, @@require_secure_transport, @@tls_version')
      assert.deepEqual(rows, [['', 0, 1, 'TLSv1.3']])
      const plugins = await asAgent((client) => client.query<{Name: string; Status: string}>('show plugins'))
      assert.notEqual(plugins.find(({Name}) => Name.toLowerCase() === 'mysqlx')?.Status, 'ACTIVE')
    })
  })
}

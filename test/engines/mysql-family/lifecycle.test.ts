import assert from 'node:assert/strict'
import {X509Certificate} from 'node:crypto'
import {rename, rmdir} from 'node:fs/promises'
import * as mysql2 from 'mysql2'
import {DbaasError} from '../../../src/core/errors.js'
import {sizes} from '../../../src/core/instance/sizes.js'
import type {ParameterValues} from '../../../src/core/instance/instance.js'
import type {AdminCredentials, TlsFiles} from '../../../src/engines/engine.js'
import type {Host} from '../../../src/engines/host.js'
import {asAdmin, connectAdmin} from '../../../src/engines/mysql-family/client.js'
import type {AdminClient} from '../../../src/engines/mysql-family/client.js'
import {writtenParameters} from '../../../src/engines/mysql-family/files.js'
import {layoutOf} from '../../../src/engines/mysql-family/layout.js'
import {mariadb} from '../../../src/engines/mariadb/index.js'
import {systemMariadbOrSkip} from '../../support/databases.js'
import {untilReady} from '../conformance.js'
import {appServer} from './server.js'
import type {AppServer} from './server.js'
import {family, mysqlFamilySubject} from './subject.js'
import type {FamilySubject, Member} from './subject.js'

const settingsOf = (subject: FamilySubject, tls: TlsFiles, values: ParameterValues = {}) => ({
  version: subject.version,
  instanceName: 'demo',
  values: {...subject.engine.config.fromSize(sizes.micro, subject.version), ...values},
  tls,
})

async function startedAt(member: Member, subject: FamilySubject, host: Host): Promise<AdminCredentials> {
  const {config, lifecycle} = member.engine
  await config.write(host, settingsOf(subject, await subject.tls()))
  const server = await subject.start(host, lifecycle.command(host, subject.version))
  const admin = await subject.admin()
  await untilReady(member.engine, host, admin, server)
  return admin
}

for (const member of family) {
  describe(`a running ${member.engine.title}`, function () {
    this.timeout(120_000)
    member.needs()
    const {config, lifecycle} = member.engine
    let on: AppServer

    const asAgent = <T>(use: (client: AdminClient) => Promise<T>) => asAdmin(member.dialect, on.host, on.admin, use)
    const valueOf = (name: string): Promise<string | null | undefined> =>
      asAgent(async (client) => (await client.query<{value: string | null}>(`select @@global.${name} as value`))[0]?.value)
    const reloaded = async (values: ParameterValues): Promise<void> => {
      await config.write(on.host, settingsOf(on.subject, await on.subject.tls(), values))
      await lifecycle.reload(on.host, on.admin)
    }

    before(async () => {
      on = await appServer(member, 'p')
    })
    after(async () => {
      await on?.subject.close()
    })

    it('has by a reload what its file has, and its default again for what is no longer in it', async () => {
      const [before, packet] = [await valueOf('long_query_time'), await valueOf('max_allowed_packet')]
      const texts = {sort_buffer_size: '3M', init_connect: "set @a = '\"; # \\\\'", event_scheduler: 'OFF', sql_mode: 'ANSI', time_zone: '+02:00'}
      await reloaded({long_query_time: '7.5', ...texts})
      assert.equal(Number(await valueOf('long_query_time')), 7.5)
      assert.equal(await valueOf('sort_buffer_size'), String(3 * 1024 ** 2))
      assert.equal(await valueOf('init_connect'), texts.init_connect)
      assert.match(String(await valueOf('sql_mode')), /ANSI_QUOTES/)
      assert.equal(await valueOf('time_zone'), '+02:00')
      // nothing of it harms the agent or its users
      assert.deepEqual((await asAgent((client) => client.query<{a: string}>('select "text" as a'))).map(({a}) => a), ['text'])
      await member.engine.access.probe(on.app, 5000)
      await asAgent((client) => client.query('set global max_allowed_packet = 33554432'))
      await reloaded({})
      assert.equal(await valueOf('long_query_time'), before)
      assert.equal(await valueOf('init_connect'), '')
      assert.equal(await valueOf('max_allowed_packet'), packet)
      assert.match(String(await valueOf('sql_mode')), /STRICT_TRANS_TABLES/)
    })

    it('puts back what was set before the value that is refused', async () => {
      await reloaded({join_buffer_size: '1M'})
      // by their names' order the refused one comes in the middle
      await assert.rejects(reloaded({join_buffer_size: '2M', max_connections: '0', sort_buffer_size: '3M'}), (error: unknown) => {
        assert.ok(error instanceof DbaasError)
        assert.deepEqual([error.code, error.details['parameter']], ['INVALID_PARAMETER_VALUE', 'max_connections'])
        return true
      })
      assert.equal(await valueOf('join_buffer_size'), String(1024 ** 2))
      assert.notEqual(await valueOf('sort_buffer_size'), String(3 * 1024 ** 2))
      await reloaded({})
    })

    it('does not open a server to writes that its role closes', async () => {
      await asAgent((client) => client.query('set global read_only = 1'))
      await reloaded({})
      assert.equal(await valueOf('read_only'), '1')
      await asAgent((client) => client.query('set global read_only = 0'))
    })

    it('shows its new certificate after a reload', async () => {
      const fresh = await on.subject.tls()
      const shown = async (): Promise<string> => {
        const connection = await connectAdmin(member.dialect, on.host, on.admin)
        try {
          return connection.socket.getPeerX509Certificate()?.serialNumber ?? ''
        } finally {
          await connection.close()
        }
      }
      const before = await shown()
      await config.write(on.host, settingsOf(on.subject, fresh))
      assert.equal(await shown(), before)
      await lifecycle.reload(on.host, on.admin)
      assert.equal(await shown(), new X509Certificate(fresh.certificate).serialNumber)
    })

    it('keeps its old certificate when the new one is none, and says so', async () => {
      const tls = await on.subject.tls()
      await config.write(on.host, settingsOf(on.subject, {...tls, key: (await on.subject.tls()).key}))
      await assert.rejects(lifecycle.reload(on.host, on.admin), (error: unknown) => error instanceof DbaasError && error.code === 'COMMAND_FAILED')
      await member.engine.access.probe(on.app, 5000)
      await reloaded({})
      await member.engine.access.probe(on.app, 5000)
    })

    it('lets the agent in when clients have taken all connections', async () => {
      await asAgent((client) => client.query('set global max_connections = 10'))
      const open: mysql2.Connection[] = []
      try {
        for (let refused = false; !refused && open.length < 50; ) {
          const client = mysql2.createConnection({
            ...on.host.address(), user: 'app', password: 'p', ssl: {ca: on.admin.ca},
          })
          client.on('error', () => {})
          refused = await new Promise((resolve) => client.connect((error) => resolve(error !== null)))
          open.push(client)
        }
        assert.ok(open.length >= 10, String(open.length))
        await assert.rejects(member.engine.access.probe(on.app, 5000), (error: unknown) => {
          assert.ok(error instanceof DbaasError)
          assert.match(error.message, /no free connection left/)
          return true
        })
        assert.equal(await lifecycle.whyNotReady(on.host, on.admin), undefined)
      } finally {
        for (const client of open) client.destroy()
      }
      await reloaded({})
    })

    it('has nearly nothing left to write after a checkpoint, and its own values again', async () => {
      const names = ['innodb_max_dirty_pages_pct', 'innodb_max_dirty_pages_pct_lwm']
      const before = await Promise.all(names.map(valueOf))
      const fill = `create table filled (n int primary key auto_increment, t text);
        insert into filled (t) with recursive r(n) as (select 1 union all select n + 1 from r where n < 900) select repeat('x', 20000) from r`
      await member.engine.access.query(on.app, fill, {timeoutMs: 30_000, maxRows: 1})
      await lifecycle.checkpoint(on.host, on.admin)
      const [dirty] = await asAgent((client) => client.query<{Value: string}>("show global status like 'Innodb_buffer_pool_pages_dirty'"))
      assert.ok(Number(dirty?.Value) < 200, dirty?.Value)
      assert.deepEqual(await Promise.all(names.map(valueOf)), before)
    })

    it('is a primary that loses nothing and that others could follow', async () => {
      const expected: Record<string, RegExp> = {
        log_bin: /^1$/, sync_binlog: /^1$/, innodb_flush_log_at_trx_commit: /^1$/, performance_schema: /^1$/, read_only: /^0$/,
        binlog_format: /^ROW$/, character_set_server: /^utf8mb4$/, server_id: /^[1-9]\d*$/,
        ...(member.name === 'mysql'
          ? {gtid_mode: /^ON$/, enforce_gtid_consistency: /^ON$/, log_replica_updates: /^1$/, persisted_globals_load: /^0$/}
          : {gtid_strict_mode: /^1$/, log_slave_updates: /^1$/}),
      }
      for (const [name, pattern] of Object.entries(expected)) assert.match(String(await valueOf(name)), pattern, name)
    })
  })

  describe(`data of ${member.engine.title}`, function () {
    this.timeout(120_000)
    member.needs()
    const {lifecycle} = member.engine
    let subject: FamilySubject

    before(async () => {
      subject = await mysqlFamilySubject(member)
    })
    after(async () => {
      await subject?.close()
    })

    it('is ready for any instance of its version: moved from where it was made, beside another, below a long path', async () => {
      const identities: string[] = []
      for (const name of ['one', `${'long-'.repeat(40)}path`]) {
        const made = await subject.place(`prepared-${identities.length}`)
        await lifecycle.initialise(made, subject.version)
        assert.equal(await lifecycle.isInitialised(made), true)
        assert.deepEqual((await made.list(made.paths.data)).filter((file) => /auto\.cnf|\.pem$|\.cnf$|binlog/.test(file)), [])
        assert.deepEqual(await made.list(made.paths.tmp), [])
        const host = await subject.place(name)
        await rmdir(host.paths.data)
        await rename(made.paths.data, host.paths.data)
        const admin = await startedAt(member, subject, host)
        const statement = `select concat_ws(' ', @@server_id, ${member.name === 'mysql' ? '@@server_uuid' : '@@server_id'}) as identity`
        const [row] = await asAdmin(member.dialect, host, admin, (client) => client.query<{identity: string}>(statement))
        identities.push(...String(row?.identity).split(' '))
        assert.equal((await writtenParameters(host)).get('server_id'), identities.at(-2))
      }
      assert.equal(new Set(identities).size, member.name === 'mysql' ? 4 : 2, identities.join(' '))
    })

    it('does not count as made before everything is', async () => {
      const host = await subject.place('broken')
      const broken: Host = {
        ...host,
        exec: async (argv, options) => (argv[0] === 'sh' ? {code: 1, stdout: '', stderr: 'sync: input/output error', timedOut: false} : host.exec(argv, options)),
      }
      await assert.rejects(lifecycle.initialise(broken, subject.version), (error: unknown) => {
        assert.ok(error instanceof DbaasError)
        assert.equal(error.code, 'COMMAND_FAILED')
        assert.match(error.message, /input\/output error/)
        return true
      })
      assert.equal(await lifecycle.isInitialised(host), false)
    })
  })
}

describe('MariaDB as a distribution installs it', function () {
  this.timeout(120_000)
  systemMariadbOrSkip()

  it('is initialised and started from /usr/sbin and /usr/share', async () => {
    const member = {...(family.find(({name}) => name === 'mariadb') as Member), bin: () => '/usr/sbin'}
    const subject = await mysqlFamilySubject(member)
    try {
      const host = await subject.place('main')
      const layout = await layoutOf(host)
      assert.deepEqual([layout.base, layout.messages, layout.scripts], ['/usr', '/usr/share/mysql', '/usr/share/mysql'])
      await mariadb.lifecycle.initialise(host, subject.version)
      await startedAt(member, subject, host)
    } finally {
      await subject.close()
    }
  })
})

/** Real servers to back up: of the bundled version, of Debian's where it is, and of those in DBAAS_TEST_MAJORS. */
import {existsSync} from 'node:fs'
import {sizes} from '../../../../src/core/instance/sizes.js'
import type {ParameterValues} from '../../../../src/core/instance/instance.js'
import type {BackupServer} from '../../../../src/engines/backup.js'
import type {AdminCredentials, TlsFiles} from '../../../../src/engines/engine.js'
import type {Host} from '../../../../src/engines/host.js'
import {backupRole, prepare} from '../../../../src/engines/postgresql/backup/role.js'
import {adminRole, asAdmin} from '../../../../src/engines/postgresql/client.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {majorOf} from '../../../../src/engines/postgresql/versions.js'
import type {Running} from '../../../support/local-host.js'
import {testAuthority} from '../../certificates.js'
import {untilReady} from '../../conformance.js'
import {majorsToTest, postgresqlSubject, type PostgresqlSubject} from '../subject.js'

/** Its programs verify backups and show the log: what ours is compared with. */
export const debian15 = '/usr/lib/postgresql/15/bin'

export const backupSources = (): {name: string; source: string}[] => {
  const asked = majorsToTest()
  return existsSync(debian15) && !asked.some(({source}) => source === debian15) ? [...asked, {name: "Debian's postgresql 15", source: debian15}] : asked
}

export interface TestServer {
  readonly host: Host
  readonly admin: AdminCredentials
  readonly version: string
  readonly major: number
  /** As the reader sees it. */
  readonly reader: BackupServer
  /** Rows of one statement, by the superuser, in the database `postgres` or another. */
  sql(statement: string, database?: string): Promise<Record<string, unknown>[]>
  start(): Promise<void>
  stop(signal?: NodeJS.Signals): Promise<void>
  log(): string
}

export interface TestSite {
  readonly subject: PostgresqlSubject
  readonly major: number
  /** A client certificate for a role. */
  credentials(username: string): Promise<AdminCredentials>
  /** A new server, started, with the role that reads. */
  server(name: string, values?: ParameterValues): Promise<TestServer>
  /** A place for a server whose data comes from elsewhere: configured, not started. */
  place(name: string, values?: ParameterValues): Promise<TestServer>
  close(): Promise<void>
}

export async function testSite(source: string): Promise<TestSite> {
  const authority = await testAuthority()
  const subject = await postgresqlSubject(source)
  const admin = await authority.admin(adminRole)
  const reader = await authority.admin(backupRole)
  const tls: TlsFiles = await authority.server(['localhost', 'demo'])
  const {version} = subject

  async function place(name: string, values: ParameterValues = {}): Promise<TestServer> {
    const host = await subject.place(name)
    await postgresql.config.write(host, {version, instanceName: name, values: {...postgresql.config.fromSize(sizes.micro, version), ...values}, tls})
    let running: (Running & {stop(signal: NodeJS.Signals): Promise<void>}) | undefined
    return {
      host, admin, version, major: majorOf(version),
      reader: {address: host.address(), credentials: reader, version},
      sql: (statement, database = 'postgres') => asAdmin(host, admin, async (client) => {
        await client.query('set search_path = public')
        return (await client.query(statement)).rows as Record<string, unknown>[]
      }, {database}),
      async start() {
        running = await subject.start(host, postgresql.lifecycle.command(host, version))
      },
      async stop(signal = 'SIGINT') {
        await running?.stop(signal)
        running = undefined
      },
      log: () => running?.log() ?? '',
    }
  }

  return {
    subject, major: majorOf(version), place,
    credentials: (username) => authority.admin(username),
    async server(name, values) {
      const server = await place(name, values)
      await postgresql.lifecycle.initialise(server.host, version)
      await server.start()
      await untilReady(postgresql, server.host, admin, {log: server.log, stop: server.stop})
      await prepare(server.host, admin)
      return server
    },
    close: () => subject.close(),
  }
}

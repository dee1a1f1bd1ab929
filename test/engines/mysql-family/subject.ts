/** MySQL and MariaDB as subjects of the conformance suite, over places of this machine. */
import {execFileSync} from 'node:child_process'
import * as path from 'node:path'
import type {AdminCredentials, Engine, TlsFiles} from '../../../src/engines/engine.js'
import {mariadb} from '../../../src/engines/mariadb/index.js'
import {dialect as mariadbDialect} from '../../../src/engines/mariadb/dialect.js'
import {adminAccount} from '../../../src/engines/mysql-family/client.js'
import type {Dialect as FamilyDialect} from '../../../src/engines/mysql-family/dialect.js'
import {mysql} from '../../../src/engines/mysql/index.js'
import {dialect as mysqlDialect} from '../../../src/engines/mysql/dialect.js'
import {mariadbOrSkip, mysqlOrSkip} from '../../support/databases.js'
import {localSite} from '../../support/local-host.js'
import type {LocalSite, Running} from '../../support/local-host.js'
import {madeBySite} from '../../support/need.js'
import {testAuthority} from '../certificates.js'
import type {Dialect, EngineSubject, StartedServer} from '../conformance.js'

export interface Member {
  readonly name: string
  readonly engine: Engine
  readonly dialect: FamilyDialect
  /** To be called first in a `describe`: skips it on a machine without the server. */
  needs(): void
  /** Folder of the programs. */
  bin(): string
}

export const family: readonly Member[] = [
  {
    name: 'mysql',
    engine: mysql,
    dialect: mysqlDialect,
    needs: mysqlOrSkip,
    bin: () => madeBySite('mysql', 'folder', 'bin'),
  },
  {
    name: 'mariadb',
    engine: mariadb,
    dialect: mariadbDialect,
    needs: mariadbOrSkip,
    bin: () => madeBySite('mariadb', 'folder', 'bin'),
  },
]

/** A join that streams: its rows are made as they are read. */
const rows = (count: number): string =>
  `with recursive t(n) as (select 1 union all select n + 1 from t where n < 1000)
   select a.n from t a, t b, t c limit ${count}`

const dialect: Dialect = {
  slow: 'select sleep(120)',
  rows,
  kinds: {statement: "select 1, 1 << 60, 1.5e0, true, 'text', null", true: 1},
  insertTwo: {
    make: 'create table pairs (n int)',
    insert: 'insert into pairs values (1), (2)',
    count: 'select count(*) from pairs',
    command: 'INSERT',
  },
  reloadable: {name: 'sort_buffer_size', values: ['7M', '8388608']},
  needsRestart: {name: 'back_log', value: '77'},
  bounded: {name: 'max_connections', tooMuch: '200000'},
  refusedAtStart: {name: 'concurrent_insert', value: 'SOMETIMES'},
  judgedByServer: {name: 'time_zone', wrong: 'Mars/Olympus', right: '+02:00'},
}

export interface FamilySubject extends EngineSubject {
  readonly site: LocalSite
  readonly member: Member
  start(...args: Parameters<EngineSubject['start']>): Promise<StartedServer & Running>
  /** A server's certificate of the subject's CA; a client's, by default the agent's. */
  tls(names?: readonly string[]): Promise<TlsFiles>
  admin(username?: string): Promise<AdminCredentials>
}

export async function mysqlFamilySubject(member: Member): Promise<FamilySubject> {
  const {engine} = member
  const bin = member.bin()
  const site = await localSite(bin)
  const authority = await testAuthority()
  const program = path.join(bin, engine.versions.serverProgram)
  const version = engine.versions.parseVersion(execFileSync(program, ['--version'], {encoding: 'utf8'}))
  if (version === undefined) throw new Error(`${program} is no ${engine.title}`)
  return {
    engine,
    member,
    version,
    dialect,
    site,
    place: (name) => site.place(name),
    async start(host, command) {
      const running = await site.start(host, command)
      return {
        ...running,
        stop: async (signal) => {
          await site.stop(running, signal)
        },
      }
    },
    tls: (names = ['localhost', 'demo']) => authority.server(names),
    admin: (username = adminAccount) => authority.admin(username),
    server: {name: 'localhost', ca: authority.ca},
    close: () => site.close(),
  }
}

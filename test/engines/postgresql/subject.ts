/** PostgreSQL as a subject of the conformance suite, over places of this machine. */
import {execFileSync} from 'node:child_process'
import * as path from 'node:path'
import {existsSync} from 'node:fs'
import {postgresql} from '../../../src/engines/postgresql/index.js'
import {adminRole} from '../../../src/engines/postgresql/client.js'
import {bundledPrograms, localSite} from '../../support/local-host.js'
import type {LocalSite, Running} from '../../support/local-host.js'
import {testAuthority} from '../certificates.js'
import type {Dialect, EngineSubject, StartedServer} from '../conformance.js'

/**
 * The majors to test beside the bundled one: `DBAAS_TEST_MAJORS="14=/folder/of/npm/package,15"`. A bare major is one
 * of the machine's own, in /usr/lib/postgresql.
 */
export function majorsToTest(): {name: string; source: string}[] {
  const asked = (process.env['DBAAS_TEST_MAJORS'] ?? '').split(',').filter((word) => word !== '')
  return [
    {name: 'postgresql', source: bundledPrograms},
    ...asked.map((word) => {
      const [major, source = `/usr/lib/postgresql/${major}/bin`] = word.split('=') as [string, string?]
      return {name: `postgresql ${major}`, source}
    }),
  ]
}

const dialect: Dialect = {
  slow: 'select pg_sleep(120)',
  rows: (count) => `select generate_series(1, ${count})`,
  kinds: {statement: "select 1, (2^60)::bigint, 1.5::float8, true, 'text', null::text", true: true},
  insertTwo: {
    make: 'create table pairs (n int)',
    insert: 'insert into pairs values (1), (2)',
    count: 'select count(*) from pairs',
    command: 'INSERT',
  },
  reloadable: {name: 'work_mem', values: ['7MB', '8192kB']},
  needsRestart: {name: 'max_connections', value: '37'},
  bounded: {name: 'work_mem', tooMuch: '3TB'},
  refusedAtStart: {name: 'work_mem', value: '3TB'},
  judgedByServer: {name: 'timezone', wrong: 'Mars/Olympus', right: 'Europe/Vienna'},
}

export interface PostgresqlSubject extends EngineSubject {
  readonly site: LocalSite
  start(...args: Parameters<EngineSubject['start']>): Promise<StartedServer & Running>
}

export async function postgresqlSubject(source: string): Promise<PostgresqlSubject> {
  const site = await localSite(source)
  const authority = await testAuthority()
  const program = path.join(site.bin, postgresql.versions.serverProgram)
  if (!existsSync(program)) throw new Error(`there is no ${program}`)
  const version = postgresql.versions.parseVersion(execFileSync(program, ['--version'], {encoding: 'utf8'})) as string
  return {
    engine: postgresql,
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
    tls: () => authority.server(['localhost', 'demo']),
    admin: () => authority.admin(adminRole),
    server: {name: 'localhost', ca: authority.ca},
    close: () => site.close(),
  }
}

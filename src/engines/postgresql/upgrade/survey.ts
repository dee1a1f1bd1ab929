/** What a database has that matters to a copy of it: how much, what the new server must have, what cannot come along. */
import type {Client} from 'pg'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {EngineCopy, Obstacle} from '../../upgrade.js'
import {asAdmin} from '../client.js'

/** Every one that can be connected to; `template0` is as initdb made it. */
export const databasesOf = (client: Client): Promise<string[]> =>
  names(client, `select datname as name from pg_database where datallowconn order by datname collate "C"`)

const names = async (client: Client, statement: string): Promise<string[]> => (await client.query<{name: string}>(statement)).rows.map(({name}) => name)

interface Kind {
  readonly statement: string
  obstacle(name: string): Omit<Obstacle, 'object'>
}

const kinds: readonly Kind[] = [
  {
    statement: `select 'the tablespace ' || spcname as name from pg_tablespace where spcname not in ('pg_default', 'pg_global') order by 1`,
    obstacle: () => ({because: 'its folder is outside the data', remedy: 'move its tables to pg_default, and drop it'}),
  },
  {
    statement: `select 'the database ' || datname as name from pg_database where (not datallowconn or datconnlimit = -2) and datname <> 'template0' order by 1`,
    obstacle: () => ({because: 'nobody can connect to it, so it cannot be read', remedy: 'ALTER DATABASE … ALLOW_CONNECTIONS true, or drop it'}),
  },
  {
    statement: `select 'the prepared transaction ' || gid as name from pg_prepared_xacts order by 1`,
    obstacle: () => ({because: 'it is neither committed nor rolled back', remedy: 'COMMIT PREPARED or ROLLBACK PREPARED'}),
  },
  {
    statement: `select 'the subscription ' || subname as name from pg_subscription order by 1`,
    obstacle: () => ({because: 'where it is in the log of its publisher cannot be brought along', remedy: 'drop it, and make it again afterwards'}),
  },
  {
    statement: `select 'the replication slot ' || slot_name as name from pg_replication_slots where slot_type = 'logical' and not temporary order by 1`,
    obstacle: () => ({because: 'its subscriber would miss changes: positions in the log do not last', remedy: 'end the subscription, and make it again afterwards'}),
  },
]

export const survey: EngineCopy['survey'] = async (host, admin) => {
  const {databases, bytes, obstacles} = await asAdmin(host, admin, async (client) => {
    const found: Obstacle[] = []
    for (const {statement, obstacle} of kinds) found.push(...(await names(client, statement)).map((object) => ({object, ...obstacle(object)})))
    const {rows: [size]} = await client.query<{bytes: number}>('select sum(pg_database_size(oid))::float8 as bytes from pg_database')
    return {databases: await databasesOf(client), bytes: size?.bytes ?? 0, obstacles: found}
  })
  const wanted = new Set<string>()
  for (const database of databases) {
    const here = await inDatabase(host, admin, database, (client) => names(client, 'select extname as name from pg_extension'))
    for (const name of here) wanted.add(name)
  }
  return {bytes, obstacles, extensions: [...wanted].sort()}
}

export const extensions: EngineCopy['extensions'] = (host, admin) => asAdmin(host, admin, async (client) => new Set(await names(client, 'select name from pg_available_extensions')))

export const inDatabase = <T>(host: Host, admin: AdminCredentials, database: string, use: (client: Client) => Promise<T>): Promise<T> => asAdmin(host, admin, use, {database})

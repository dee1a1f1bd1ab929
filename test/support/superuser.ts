/** The way of the superuser into the servers of an agent in the test's process, seen when the agent itself goes it. */
import {engines} from '../../src/engines/index.js'
import type {AdminCredentials, Engine} from '../../src/engines/engine.js'
import type {Host} from '../../src/engines/host.js'
import {asAdmin} from '../../src/engines/postgresql/client.js'

export interface Superuser {
  /** For `startInProcess`. */
  readonly engines: Readonly<Record<string, Engine>>
  /** Where the server of the PostgreSQL instance is, as it was configured last. */
  host(instance: string): Host
  credentials(): AdminCredentials
  /** Rows of one statement, in the database `postgres` or another; times are in UTC. */
  sql(instance: string, statement: string, database?: string): Promise<Record<string, unknown>[]>
}

export function superuser(): Superuser {
  const hosts = new Map<string, Host>()
  let admin: AdminCredentials | undefined
  const {postgresql} = engines
  const watched: Engine = {
    ...postgresql,
    config: {
      ...postgresql.config,
      write(host, settings) {
        hosts.set(settings.instanceName, host)
        return postgresql.config.write(host, settings)
      },
      verify(host, credentials, values) {
        admin = credentials
        return postgresql.config.verify(host, credentials, values)
      },
    },
  }
  const host = (instance: string): Host => {
    const found = hosts.get(instance)
    if (!found) throw new Error(`no server of ${instance} was configured`)
    return found
  }
  const credentials = (): AdminCredentials => {
    if (!admin) throw new Error('the agent has not been in any server yet')
    return admin
  }
  return {
    engines: {...engines, postgresql: watched}, host, credentials,
    sql: (instance, statement, database = 'postgres') => asAdmin(host(instance), credentials(), async (client) => {
      await client.query("set timezone = 'UTC'")
      return (await client.query(statement)).rows as Record<string, unknown>[]
    }, {database}),
  }
}

import type {EngineAccess} from '../engine.js'
import {asAdmin, connectClient} from './client.js'
import type {AdminClient} from './client.js'
import type {Dialect} from './dialect.js'
import {connectionError, isServerError, sqlError} from './errors.js'
import {databaseAttributes} from './initialise.js'
import {query} from './query.js'

const quoteName = (name: string): string => `\`${name.replaceAll('`', '``')}\``
/** Between single quotes, under the sql_mode of the agent's sessions. */
const quoteText = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

/** In a grant the name of a database is a pattern: `my_app` would be `myXapp`, too. */
const quotePattern = (name: string): string => quoteName(name.replace(/[\\_%]/g, '\\$&'))

/** The account's other hosts: a more exact one would be taken instead of ours, with what rights it has. */
async function elsewhere(client: AdminClient, username: string): Promise<string[]> {
  const rows = await client.query<{host: string}>("select Host as host from mysql.user where User = ? and Host <> '%'", [
    username,
  ])
  return rows.map(({host}) => host)
}

/**
 * Gives the account its database and takes away everything else: privileges, roles, proxies. Looks first, because
 * between the two a live application would be refused.
 */
async function grantDatabase(client: AdminClient, account: string, database: string): Promise<void> {
  const whole = `GRANT ALL PRIVILEGES ON ${quotePattern(database)}.* TO `
  const read = async (): Promise<string[]> =>
    (await client.query(`show grants for ${account}`)).map((row) => String(Object.values(row)[0]))
  const grants = await read()
  const ours = (grant: string): boolean =>
    (grant.startsWith('GRANT USAGE ON *.* TO ') || grant.startsWith(whole)) && !grant.endsWith(' WITH GRANT OPTION')
  if (!grants.every(ours)) {
    await client.query(`revoke all privileges, grant option from ${account}`)
    for (const grant of await read()) {
      // what may be left is a role or a proxy: `GRANT \`r\`@\`%\` TO …`, `GRANT PROXY ON … TO …`
      const extra = /^GRANT (PROXY ON .+|`(?:[^`]|``)*`(?:@`(?:[^`]|``)*`)?) TO /.exec(grant)?.[1]
      if (extra !== undefined) await client.query(`revoke ${extra} from ${account}`)
    }
  } else if (grants.some((grant) => grant.startsWith(whole))) return
  await client.query(`grant all privileges on ${quotePattern(database)}.* to ${account}`)
}

/** What an account is let do, beside its rights: everything, as long as it is encrypted. */
const limits =
  'require ssl with max_queries_per_hour 0 max_updates_per_hour 0 max_connections_per_hour 0 max_user_connections 0'

export const createAccess = (dialect: Dialect): EngineAccess => ({
  /** The account is set right as well as made: what somebody gave it by hand is taken away again. */
  async grantApplication(host, admin, {database, username, password}) {
    const identified = await dialect.identifiedBy(password)
    await asAdmin(dialect, host, admin, async (client) => {
      const account = `${quoteText(username)}@'%'`
      try {
        await client.query(`create database if not exists ${quoteName(database)} ${databaseAttributes}`)
        await client.query(`create user if not exists ${account} ${identified} ${limits} account lock`)
        for (const other of await elsewhere(client, username))
          await client.query(`drop user if exists ${quoteText(username)}@${quoteText(other)}`)
        await grantDatabase(client, account, database)
        // last, because from here on somebody may log in
        await client.query(`alter user ${account} ${identified} ${limits} password expire never account unlock`)
      } catch (error) {
        throw isServerError(error) ? sqlError(error) : error
      }
    })
  },

  async probe(credentials, timeoutMs) {
    const where = `${credentials.host}:${credentials.port}`
    const connection = await connectClient(credentials, timeoutMs)
    // a server that hangs after the login would hold the probe for ever
    const timer = setTimeout(() => connection.socket.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    try {
      await connection.client.query('select 1')
      return {tlsVersion: connection.socket.getProtocol() ?? 'unknown'}
    } catch (error) {
      throw connectionError(error, where)
    } finally {
      clearTimeout(timer)
      await connection.close()
    }
  },

  query,
})

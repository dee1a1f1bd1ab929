import type {EngineAccess} from '../engine.js'
import type {Client} from 'pg'
import {asAdmin, connectClient} from './client.js'
import {connectionError, isServerError, sqlError, sqlstateOf} from './errors.js'
import {query} from './query.js'
import {scramVerifier} from './scram.js'

const exists = async (client: Client, catalogue: 'pg_roles' | 'pg_database', name: string): Promise<boolean> => {
  const column = catalogue === 'pg_roles' ? 'rolname' : 'datname'
  return (await client.query(`select from ${catalogue} where ${column} = $1`, [name])).rowCount === 1
}

/** SQLSTATEs of an object that another session made since we looked: what we wanted is there. */
const madeMeanwhile = new Set(['42710', '42P04', '23505'])

async function make(client: Client, statement: string): Promise<void> {
  try {
    await client.query(statement)
  } catch (error) {
    if (!madeMeanwhile.has(sqlstateOf(error) ?? '')) throw error
  }
}

export const access: EngineAccess = {
  /** The role is set right as well as made: attributes that somebody gave it by hand are taken away again. */
  async grantApplication(host, admin, {database, username, password}) {
    const verifier = await scramVerifier(password)
    await asAdmin(host, admin, async (client) => {
      const role = client.escapeIdentifier(username)
      const base = client.escapeIdentifier(database)
      try {
        if (!(await exists(client, 'pg_roles', username))) await make(client, `create role ${role}`)
        const attributes = 'login nosuperuser nocreatedb nocreaterole noreplication nobypassrls'
        await client.query(`alter role ${role} ${attributes} password ${client.escapeLiteral(verifier)}`)
        if (!(await exists(client, 'pg_database', database)))
          await make(client, `create database ${base} owner ${role}`)
        await client.query(`alter database ${base} owner to ${role}`)
        await client.query(`revoke all on database ${base} from public`)
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
}

/** What a drill writes: one table, in a schema of its own, owned by the application's role. */
import type {ClientCredentials} from '../../engine.js'
import type {EngineJournal, Timing} from '../../replication.js'
import {connectClient, type Connection} from '../client.js'
import {connectionError, isServerError, sqlError} from '../errors.js'
import {checkName} from './names.js'

const defaultMs = 10_000
/** With which a server acknowledges a commit whose wait for standbys was cut short. */
const warningState = '01000'
/** An owner's setting must not keep the warning from us, nor end the session while it waits for a standby. */
const sessionOptions = ' -c client_min_messages=warning -c statement_timeout=0 -c idle_session_timeout=0'

const tableOf = (name: string): string => `"${checkName(name)}".journal`

const failure = (error: unknown, {host, port}: ClientCredentials): Error =>
  isServerError(error) && !/^(?:08|53|57|25006)/.test(error.code) ? sqlError(error) : connectionError(error, `${host}:${port}`)

/** Connects, uses the connection and closes it, all of it within the time. */
async function within<T>(client: ClientCredentials, timing: Timing | undefined, use: (connection: Connection) => Promise<T>): Promise<T> {
  const {timeoutMs = defaultMs, signal} = timing ?? {}
  signal?.throwIfAborted()
  const connection = await connectClient(client, timeoutMs, sessionOptions)
  const cut = (): void => void connection.socket.destroy(new Error(`no answer within ${timeoutMs} ms`))
  const timer = setTimeout(cut, timeoutMs)
  signal?.addEventListener('abort', cut, {once: true})
  try {
    return await use(connection)
  } catch (error) {
    signal?.throwIfAborted()
    throw failure(error, client)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', cut)
    await connection.close()
  }
}

export const journal: EngineJournal = {
  /** Without a key: a row that came twice shall be there twice. */
  make: (client, name, timing) => within(client, timing, async (connection) => {
    await connection.client.query(`create schema if not exists "${checkName(name)}"`)
    await connection.client.query(`create table if not exists ${tableOf(name)} (id bigint not null)`)
    await connection.client.query(`truncate ${tableOf(name)}`)
  }),

  async open(client, name, timing) {
    const connection = await connectClient(client, timing?.timeoutMs ?? defaultMs, sessionOptions)
    const statement = {name: 'journal', text: `insert into ${tableOf(name)} values ($1)`}
    let isDoubtful = false
    connection.client.on('notice', ({code}) => void (isDoubtful ||= code === warningState))
    // a server that hangs after the login would hold this for ever
    const timer = setTimeout(() => connection.socket.destroy(), timing?.timeoutMs ?? defaultMs)
    try {
      const {rows: [row]} = await connection.client.query<{server: string}>(
        `select pg_catalog.concat_ws(' ', pg_catalog.inet_server_addr(), pg_catalog.inet_server_port(), extract(epoch from pg_catalog.pg_postmaster_start_time())) as server`)
      return {
        server: row?.server ?? '',
        async write(id) {
          isDoubtful = false
          try {
            await connection.client.query({...statement, values: [id]})
          } catch (error) {
            throw failure(error, client)
          }
          return !isDoubtful
        },
        close: () => void connection.socket.destroy(),
      }
    } catch (error) {
      connection.socket.destroy()
      throw failure(error, client)
    } finally {
      clearTimeout(timer)
    }
  },

  read: (client, name, timing) => within(client, timing, async (connection) =>
    (await connection.client.query<{id: string}>(`select id from ${tableOf(name)}`)).rows.map(({id}) => Number(id))),

  remove: (client, name, timing) => within(client, timing, async (connection) => {
    await connection.client.query(`drop schema if exists "${checkName(name)}" cascade`)
  }),
}

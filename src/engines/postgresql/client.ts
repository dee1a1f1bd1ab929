/** Connections to the server: TLS always, and always as somebody in particular. */
import * as net from 'node:net'
import * as tls from 'node:tls'
import type {Client, ClientConfig} from 'pg'
import type {BackupServer} from '../backup.js'
import type {AdminCredentials, ClientCredentials} from '../engine.js'
import type {Host} from '../host.js'
import {connectionError} from './errors.js'

export const adminRole = 'dbaas_admin'
const adminDatabase = 'postgres'

let loading: Promise<typeof import('pg')> | undefined

/** The driver, loaded once, when first needed: it costs tens of milliseconds that `agent start` shall not pay. */
const loadDriver = (): Promise<typeof import('pg')> => (loading ??= import('pg'))

/** Lets the driver load while something else takes its time. */
export const preloadDriver = (): void =>
  void loadDriver().catch(() => {
    loading = undefined
  })

export interface Connection {
  readonly client: Client
  readonly socket: tls.TLSSocket
  /** Asks the server to cancel what the connection does. Never throws: the server answers by what happens. */
  cancel(): Promise<void>
  close(): Promise<void>
}

interface Target {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password?: string
  readonly tls: tls.ConnectionOptions
  readonly options: string
  readonly applicationName: string
  readonly timeoutMs: number
  /** The session speaks the replication protocol: alone, or beside SQL (in a database). Both take a sender's place instead of a client's. */
  readonly replication?: 'true' | 'database'
}

async function connect(target: Target): Promise<Connection> {
  const driver = await loadDriver()
  const client = new driver.default.Client({
    host: target.host,
    port: target.port,
    database: target.database,
    user: target.username,
    // an empty string would let PGPASSWORD and ~/.pgpass of the agent's owner in
    password: () => target.password ?? '',
    ssl: target.tls,
    options: target.options,
    application_name: target.applicationName,
    connectionTimeoutMillis: target.timeoutMs,
    keepAlive: true,
    ...(target.replication ? {replication: target.replication} : {}),
  } as ClientConfig)
  // an error after the connection is made reaches whoever waits on it; without a listener it would end the agent
  client.on('error', () => {})
  const wire = client as unknown as {connection: {stream: tls.TLSSocket}; processID: number; secretKey: number}
  try {
    await client.connect()
  } catch (error) {
    // the driver's `end` would wait for ever for a peer that has ended the TLS session with an alert
    wire.connection.stream.destroy()
    throw error
  }
  return {
    client,
    socket: wire.connection.stream,
    cancel: () => sendCancel(target, wire.processID, wire.secretKey),
    close: () => close(client, wire.connection.stream),
  }
}

/** How long a server may take to notice that a session ends. A stopped one never does. */
const farewellMs = 1000

async function close(client: Client, socket: tls.TLSSocket): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), farewellMs)
  await client.end().catch(() => {})
  clearTimeout(timer)
}

/**
 * A cancel request is a connection of its own, and the key in it is as good as the session: it goes over TLS too,
 * which the driver's own `cancel` does not do. Protocol: PostgreSQL documentation, 54.2.8 and 54.2.10.
 */
function sendCancel(target: Target, processId: number, secretKey: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(target.port, target.host)
    const done = (): void => {
      socket.destroy()
      resolve()
    }
    socket.setTimeout(target.timeoutMs, done)
    socket.once('error', done)
    socket.once('connect', () => {
      const request = Buffer.alloc(8)
      request.writeInt32BE(8, 0)
      request.writeInt32BE(80877103, 4)
      socket.write(request)
    })
    socket.once('data', (answer) => {
      if (answer[0] !== 0x53) return done()
      const secure = tls.connect({...target.tls, socket}, () => {
        const cancel = Buffer.alloc(16)
        cancel.writeInt32BE(16, 0)
        cancel.writeInt32BE(80877102, 4)
        cancel.writeInt32BE(processId, 8)
        cancel.writeInt32BE(secretKey, 12)
        secure.write(cancel)
      })
      secure.once('error', done)
      // the server closes when it has passed the signal on; to close before could lose the request
      secure.once('close', done)
      secure.resume()
      return undefined
    })
  })
}

/**
 * What a user's configuration could otherwise do to the agent's own sessions: end them early, hold them up, send
 * them elsewhere, or write them to the user's log and statistics. Sent at the start of a session, so that nothing can
 * come first.
 */
const adminOptions = [
  'search_path=pg_catalog',
  'statement_timeout=0',
  'idle_session_timeout=0',
  'lock_timeout=10000',
  'default_transaction_read_only=off',
  'client_min_messages=warning',
  'log_statement=none',
  'log_min_duration_statement=-1',
  'log_min_error_statement=panic',
  'log_duration=off',
  'log_min_duration_sample=-1',
  'log_transaction_sample_rate=0',
  'pg_stat_statements.track=none',
  'pg_stat_statements.track_utility=off',
]
  .map((setting) => `-c ${setting}`)
  .join(' ')

const byCertificate = (role: AdminCredentials): tls.ConnectionOptions => ({
  ca: role.ca,
  cert: role.certificate,
  key: role.key,
  minVersion: 'TLSv1.3',
  // the chain must end in the site's own CA; the name in the certificate is the clients' name for the instance,
  // and the agent dials the node
  checkServerIdentity: () => undefined,
})

interface AdminOptions {
  readonly database?: string
  readonly timeoutMs?: number
  /** Commands of the replication protocol, beside SQL of the simple protocol (no parameters), where clients cannot take the last connection away. */
  readonly walsender?: true
}

/** A connection of the agent's, by certificate. Errors of the driver pass as they are, for the caller to read. */
export function connectAdmin(host: Host, admin: AdminCredentials, options: AdminOptions = {}): Promise<Connection> {
  const {host: address, port} = host.address()
  return connect({
    host: address,
    port,
    database: options.database ?? adminDatabase,
    username: admin.username,
    tls: byCertificate(admin),
    options: adminOptions,
    applicationName: 'dbaas agent',
    timeoutMs: options.timeoutMs ?? 10_000,
    ...(options.walsender ? {replication: 'database' as const} : {}),
  })
}

/**
 * A session of the replication protocol. What a role that may only replicate can set for itself is set here; the rest
 * is set for the role. Throws DATABASE_UNAVAILABLE.
 */
export async function connectReplication({address: {host, port}, credentials}: BackupServer, applicationName: string): Promise<Connection> {
  try {
    return await connect({
      host,
      port,
      database: 'replication',
      username: credentials.username,
      tls: byCertificate(credentials),
      options: '-c statement_timeout=0 -c idle_session_timeout=0 -c wal_sender_timeout=60s',
      applicationName,
      timeoutMs: 10_000,
      replication: 'true',
    })
  } catch (error) {
    throw connectionError(error, `${host}:${port}`)
  }
}

/** Connects as the agent, uses the connection and closes it. Throws DATABASE_UNAVAILABLE if it cannot connect. */
export async function asAdmin<T>(
  host: Host,
  admin: AdminCredentials,
  use: (client: Client) => Promise<T>,
  options: AdminOptions = {},
): Promise<T> {
  const {host: address, port} = host.address()
  const connection = await connectAdmin(host, admin, options).catch((error: unknown) => {
    throw connectionError(error, `${address}:${port}`)
  })
  try {
    return await use(connection.client)
  } finally {
    await connection.close()
  }
}

/** A connection as a client would make it: the server must be who it says it is. `options`: ` -c name=value`, more of them. Throws DATABASE_UNAVAILABLE. */
export async function connectClient(client: ClientCredentials, timeoutMs: number, options = ''): Promise<Connection> {
  try {
    return await connect({
      host: client.host,
      port: client.port,
      database: client.database,
      username: client.username,
      password: client.password,
      tls: {
        ca: client.ca,
        minVersion: 'TLSv1.3',
        // by the name that the certificate is made for, not by the address that is dialled
        checkServerIdentity: (_dialled, certificate) => tls.checkServerIdentity(client.serverName, certificate),
      },
      options: `-c client_encoding=UTF8${options}`,
      applicationName: 'dbaas',
      timeoutMs,
    })
  } catch (error) {
    throw connectionError(error, `${client.host}:${client.port}`)
  }
}

/** Connections to the server: TLS always, and always as somebody in particular. */
import * as net from 'node:net'
import type * as tls from 'node:tls'
import type {Connection as Driver, SslOptions} from 'mysql2'
import type {AdminCredentials, ClientCredentials} from '../engine.js'
import type {Host} from '../host.js'
import type {Dialect} from './dialect.js'
import {connectionError} from './errors.js'

export const adminAccount = 'dbaas_admin'

type Library = typeof import('mysql2')

let loading: Promise<Library> | undefined

/** The driver, loaded once, when first needed: it costs tens of milliseconds that `agent start` shall not pay. */
const loadDriver = (): Promise<Library> =>
  // a CommonJS package: a split bundle gives it as the default export alone
  (loading ??= import('mysql2').then((loaded) => (loaded as Library & {default?: Library}).default ?? loaded))

/** Lets the driver load while something else takes its time. */
export const preloadDriver = (): void =>
  void loadDriver().catch(() => {
    loading = undefined
  })

export type Parameter = string | number | boolean | null

export interface AdminClient {
  /**
   * Runs one statement. Every value of a row is text as the server prints it, or null. `?` in the text stands for a
   * value, `??` for a name. Errors of the server pass as they are (`isServerError`).
   */
  query<Row extends object>(text: string, values?: readonly Parameter[]): Promise<Row[]>
}

export interface Connection {
  readonly driver: Driver
  readonly client: AdminClient
  readonly socket: tls.TLSSocket
  /** The server's number for the session, that KILL takes. */
  readonly id: number
  close(): Promise<void>
}

interface Target {
  readonly host: string
  readonly port: number
  readonly database?: string
  readonly username: string
  readonly password?: string
  readonly tls: SslOptions
  /** The name that the server's certificate must have; undefined where its issuer is enough. */
  readonly serverName?: string
  readonly severalStatements: boolean
  readonly programName: string
  readonly timeoutMs: number
}

/** What the driver would otherwise offer the server: to read files of ours, and to read names of functions its own way. */
const flags = ['-LOCAL_FILES', '-IGNORE_SPACE', '-ODBC']

async function connect(target: Target): Promise<Connection> {
  const mysql2 = await loadDriver()
  const driver = mysql2.createConnection({
    // the driver compares the certificate with the name it believes to dial; what is dialled is the stream's business
    host: target.serverName ?? target.host,
    stream: () => net.connect({host: target.host, port: target.port, noDelay: true, keepAlive: true}),
    user: target.username,
    ...(target.password === undefined ? {} : {password: target.password}),
    ...(target.database === undefined ? {} : {database: target.database}),
    // an object of its own for each connection: the driver resumes TLS sessions of the same object, unchecked
    ssl: {...target.tls, minVersion: 'TLSv1.3', rejectUnauthorized: true, verifyIdentity: target.serverName !== undefined},
    flags,
    charset: 'UTF8MB4_GENERAL_CI',
    connectTimeout: target.timeoutMs,
    connectAttributes: {program_name: target.programName},
    multipleStatements: target.severalStatements,
    // values stay what the server sent; no code is generated for them
    typeCast: false,
    disableEval: true,
  })
  const wire = driver as unknown as {stream: tls.TLSSocket}
  try {
    await new Promise<void>((resolve, reject) => {
      driver.connect((error) => (error ? reject(error) : resolve()))
    })
  } catch (error) {
    wire.stream.destroy()
    throw error
  } finally {
    // an error after the connection is made reaches whoever waits on it; without a listener it would end the agent
    driver.on('error', () => {})
  }
  const socket = wire.stream
  return {
    driver,
    client: {query: (text, values) => run(driver, text, values)},
    socket,
    id: driver.threadId as number,
    close: () => close(driver, socket),
  }
}

const text = (value: Buffer | null): string | null => value?.toString('utf8') ?? null

function run<Row extends object>(driver: Driver, statement: string, values: readonly Parameter[] = []): Promise<Row[]> {
  return new Promise((resolve, reject) => {
    driver.query({sql: statement, values: [...values]}, (error, rows) => {
      if (error) return reject(wordless(error))
      if (!Array.isArray(rows)) return resolve([])
      resolve(
        (rows as Record<string, Buffer | null>[]).map(
          (row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, text(value)])) as Row,
        ),
      )
    })
  })
}

/** The driver's error without the statement, which it keeps in it: that may hold what must not be logged. */
export function wordless<E>(error: E): E {
  if (error instanceof Error) delete (error as {sql?: string}).sql
  return error
}

/** How long a server may take to notice that a session ends. A stopped one never does. */
const farewellMs = 1000

async function close(driver: Driver, socket: tls.TLSSocket): Promise<void> {
  if (socket.destroyed) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), farewellMs)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    // the server answers a farewell by closing; behind an unanswered statement it never gets it
    driver.end()
  })
}

interface AdminOptions {
  readonly timeoutMs?: number
}

/**
 * A connection of the agent's, by certificate. Its session is set up first, so that what a user configured for all
 * sessions cannot end it early, hold it up, or write it to the user's log. Errors of the driver pass as they are.
 */
export async function connectAdmin(
  dialect: Dialect,
  host: Host,
  admin: AdminCredentials,
  options: AdminOptions = {},
): Promise<Connection> {
  const {host: address, port} = host.address()
  const timeoutMs = options.timeoutMs ?? 10_000
  const began = Date.now()
  const connection = await connect({
    host: address,
    port,
    username: admin.username,
    // the chain must end in the site's own CA; the name in the certificate is the clients' name for the instance, and
    // the agent dials the node
    tls: {ca: admin.ca, cert: admin.certificate, key: admin.key},
    severalStatements: false,
    programName: 'dbaas agent',
    timeoutMs,
  })
  // a server that hangs after the login would hold the agent for ever
  const left = Math.max(1, timeoutMs - (Date.now() - began))
  const timer = setTimeout(() => connection.socket.destroy(new Error(`no answer within ${timeoutMs} ms`)), left)
  try {
    await connection.client.query(`set session ${dialect.adminSession}`)
    return connection
  } catch (error) {
    connection.socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** Connects as the agent, uses the connection and closes it. Throws DATABASE_UNAVAILABLE if it cannot connect. */
export async function asAdmin<T>(
  dialect: Dialect,
  host: Host,
  admin: AdminCredentials,
  use: (client: AdminClient) => Promise<T>,
  options: AdminOptions = {},
): Promise<T> {
  const {host: address, port} = host.address()
  const connection = await connectAdmin(dialect, host, admin, options).catch((error: unknown) => {
    throw connectionError(error, `${address}:${port}`)
  })
  try {
    return await use(connection.client)
  } finally {
    await connection.close()
  }
}

/** A connection as a client would make it: the server must be who it says it is. Throws DATABASE_UNAVAILABLE. */
export async function connectClient(client: ClientCredentials, timeoutMs: number): Promise<Connection> {
  try {
    return await connect({
      host: client.host,
      port: client.port,
      database: client.database,
      username: client.username,
      password: client.password,
      tls: {ca: client.ca},
      serverName: client.serverName,
      severalStatements: true,
      programName: 'dbaas',
      timeoutMs,
    })
  } catch (error) {
    throw connectionError(error, `${client.host}:${client.port}`)
  }
}

/** One text of SQL, run as a client: bounded in rows and in time. */
import {DbaasError} from '../../core/errors.js'
import type {ClientCredentials, QueryOptions, QueryResult} from '../engine.js'
import {connectClient, wordless} from './client.js'
import type {Connection} from './client.js'
import {lastCommand} from './command.js'
import {connectionError, isServerError, sqlError} from './errors.js'
import {cell, typeName} from './types.js'
import type {Cell, Column} from './types.js'

interface Collected {
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly Cell[])[]
  /** Rows that were read of the result, or rows that a command found to change. */
  readonly count: number
  readonly truncated: boolean
  /** Which result of the text it is, from 0. */
  readonly index: number
}

/** The part of the driver's packets and commands that tells whether a result is the last one. */
interface Packet {
  isEOF(): boolean
  eofStatusFlags(): number
}
interface Command {
  execute(packet: Packet | undefined, connection: unknown): boolean
}
const moreResultsExist = 8

/** A result of a statement without rows. */
interface Done {
  readonly affectedRows: number
}

/** How long a result that is already too long may take to end by itself before the server is told to stop. */
const graceMs = 20

/**
 * Collects the last result of what it runs, at most `maxRows` of it. Of one that is longer and the last, the rest is
 * given up: `stop` tells the server. One that others follow is read to its end, because to stop it would stop them.
 */
function collect(connection: Connection, text: string, maxRows: number, stop: () => void): Promise<Collected> {
  return new Promise((resolve, reject) => {
    let columns: readonly Column[] = []
    let rows: Cell[][] = []
    let count = 0
    let index = -1
    let withRows: Collected | undefined
    let isLast = false
    let stopping: NodeJS.Timeout | undefined
    const begin = (fields: readonly Column[]): void => {
      if (columns.length > 0) withRows = result()
      columns = fields
      rows = []
      count = 0
      index += 1
    }
    const end = (act: () => void): void => {
      clearTimeout(stopping)
      act()
    }
    const result = (): Collected => ({columns, rows, count, index, truncated: count > rows.length && columns.length > 0})
    // a procedure's results are those of its CALL, which itself ends with one more that has nothing in it
    const {command: word, before} = lastCommand(text)
    const last = (): Collected =>
      word === 'CALL' && columns.length === 0 && withRows !== undefined && withRows.index >= before ? withRows : result()

    const command = connection.driver.query({sql: text, rowsAsArray: true})
    command.on('fields', (fields: readonly Column[] | undefined) => begin(fields ?? []))
    command.on('result', (row: readonly (Buffer | null)[] | Done) => {
      if (!Array.isArray(row)) {
        count = (row as Done).affectedRows
        return
      }
      count += 1
      if (rows.length < maxRows) rows.push(row.map((value, at) => cell(columns[at] as Column, value)))
      else if (isLast && stopping === undefined) stopping = setTimeout(stop, graceMs)
    })
    // what was stopped for its length is a result; whatever else stopped it is the caller's to tell
    const fail = (error: unknown): void =>
      end(() => (stopping !== undefined ? resolve(result()) : reject(wordless(error))))
    command.on('error', fail)
    command.on('end', () => end(() => resolve(last())))
    // a connection that is lost tells it here, and not to the command
    connection.driver.once('error', fail)
    observeStatus(command as unknown as Command, (status) => {
      isLast = (status & moreResultsExist) === 0
    })
  })
}

/**
 * The status in front of a result's rows says whether another result comes. The driver reads it behind the rows alone,
 * which for a result that never ends is too late.
 */
function observeStatus(command: Command, heard: (status: number) => void): void {
  const execute = command.execute.bind(command)
  command.execute = (packet, connection) => {
    if (packet?.isEOF()) heard(packet.eofStatusFlags())
    return execute(packet, connection)
  }
}

/** After a KILL, how long the server may take to obey before the connection is cut. */
const obeyMs = 2000

/** Ends the session from another one of the same account. Never throws: the server answers by what happens. */
async function kill(credentials: ClientCredentials, id: number): Promise<void> {
  try {
    const another = await connectClient(credentials, obeyMs)
    const timer = setTimeout(() => another.socket.destroy(), obeyMs)
    await another.client.query(`kill ${id}`).catch(() => {})
    clearTimeout(timer)
    await another.close()
  } catch {
    // no free connection, say: our own is cut, and the server notices when it next writes to it
  }
}

type Reason = 'timeout' | 'signal' | 'length'

/** Kills at the deadline, on the signal, or when told to. `stopped` tells which, once it has happened. */
function watch(connection: Connection, credentials: ClientCredentials, options: QueryOptions) {
  let why: Reason | undefined
  let last: NodeJS.Timeout | undefined
  let killing: Promise<void> = Promise.resolve()
  const stop = (reason: Reason): void => {
    if (why !== undefined) return
    why = reason
    killing = kill(credentials, connection.id)
    last = setTimeout(() => connection.socket.destroy(), obeyMs)
  }
  const timer = setTimeout(() => stop('timeout'), options.timeoutMs)
  const onAbort = (): void => stop('signal')
  options.signal?.addEventListener('abort', onAbort, {once: true})
  if (options.signal?.aborted) stop('signal')
  return {
    stop,
    stopped: () => why,
    async end(): Promise<void> {
      clearTimeout(timer)
      clearTimeout(last)
      options.signal?.removeEventListener('abort', onAbort)
      await killing
    },
  }
}

/** SQLSTATE of an interrupted statement. */
const interrupted = '70100'
/** Numbers of errors that a killed session may end with. */
const killed = new Set([1317, 1927, 1053, 1159, 1160, 1161, 4031])

function failure(error: unknown, stopped: Reason | undefined, options: QueryOptions, where: string): DbaasError {
  if (stopped !== undefined && (!isServerError(error) || killed.has(error.errno))) {
    return new DbaasError(
      'SQL_ERROR',
      stopped === 'timeout'
        ? `the statement was cancelled: it ran longer than ${options.timeoutMs} ms`
        : 'the statement was cancelled: nobody waits for it any more',
      {
        details: {sqlstate: interrupted},
        cause: error,
        ...(stopped === 'timeout' ? {suggestions: ['give it more time: --timeout 10m', 'dbaas connect NAME']} : {}),
      },
    )
  }
  return isServerError(error) ? sqlError(error) : connectionError(error, where)
}

/** As EngineAccess.query promises. A connection of its own for each text: no session state is left to the next. */
export async function query(
  credentials: ClientCredentials,
  statement: string,
  options: QueryOptions,
): Promise<QueryResult> {
  const where = `${credentials.host}:${credentials.port}`
  const connection = await connectClient(credentials, Math.min(options.timeoutMs, 10_000))
  const watching = watch(connection, credentials, options)
  try {
    if (watching.stopped() !== undefined) throw new Error('nobody waited for it when it was sent')
    const result = await collect(connection, statement, options.maxRows, () => watching.stop('length'))
    return {
      columns: result.columns.map((column) => ({name: column.name, type: typeName(column)})),
      rows: result.rows,
      rowCount: watching.stopped() === 'length' ? result.rows.length : result.count,
      command: lastCommand(statement).command,
      truncated: result.truncated,
    }
  } catch (error) {
    throw failure(error, watching.stopped(), options, where)
  } finally {
    await watching.end()
    await connection.close()
  }
}

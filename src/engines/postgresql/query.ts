/** One text of SQL, run as a client: bounded in rows and in time. */
import type {Client, Submittable} from 'pg'
import {DbaasError} from '../../core/errors.js'
import type {ClientCredentials, QueryOptions, QueryResult} from '../engine.js'
import {connectClient} from './client.js'
import type {Connection} from './client.js'
import {connectionError, isServerError, sqlError} from './errors.js'
import {cell, typeName} from './types.js'
import type {Cell} from './types.js'

/** The part of the driver's wire that a submittable writes to. */
interface Wire {
  parse(message: {text: string}): void
  bind(message: {values?: unknown[]}): void
  describe(message: {type: 'P'; name: string}): void
  execute(message: {portal?: string; rows: number}): void
  sync(): void
  query(text: string): void
  sendCopyFail(reason: string): void
  once(event: 'parseComplete', listener: () => void): void
  removeListener(event: 'parseComplete', listener: () => void): void
}

interface Field {
  readonly name: string
  readonly dataTypeID: number
}

interface Collected {
  readonly fields: readonly Field[]
  readonly rows: readonly (readonly Cell[])[]
  readonly tag: string | null
  readonly truncated: boolean
}

const copyFields: readonly Field[] = [{name: 'copy', dataTypeID: 25}]

/**
 * Collects the last result of what it runs, at most `maxRows` of it. Submitted to the driver, which calls the
 * `handle…` methods by these names.
 *
 * `extended` asks the server for `maxRows` rows and no more, so that the rest is never computed; for one statement.
 * `simple` takes several, and what is too much is dropped as it arrives: to cancel would undo the statements before.
 */
class Collector implements Submittable {
  readonly done: Promise<Collected>
  /** Whether the server has understood the text, and may have begun to act on it. */
  parsed = false
  private fields: readonly Field[] = []
  private rows: Cell[][] = []
  private tag: string | null = null
  private truncated = false
  private settle!: {resolve: (result: Collected) => void; reject: (error: unknown) => void}
  private readonly onParsed = (): void => {
    this.parsed = true
  }

  constructor(
    private readonly text: string,
    private readonly maxRows: number,
    private readonly mode: 'extended' | 'simple',
  ) {
    this.done = new Promise((resolve, reject) => {
      this.settle = {resolve, reject}
    })
    // whoever runs the query awaits it; an error that comes before is not unhandled
    this.done.catch(() => {})
  }

  submit(connection: unknown): void {
    const wire = connection as Wire
    if (this.mode === 'simple') {
      this.parsed = true
      wire.query(this.text)
      return
    }
    wire.once('parseComplete', this.onParsed)
    wire.parse({text: this.text})
    wire.bind({})
    wire.describe({type: 'P', name: ''})
    // one more than wanted tells whether there is more
    wire.execute({rows: this.maxRows + 1})
    wire.sync()
  }

  private begin(fields: readonly Field[]): void {
    this.fields = fields
    this.rows = []
    this.tag = null
    this.truncated = false
  }

  private keep(row: () => Cell[]): void {
    if (this.rows.length < this.maxRows) this.rows.push(row())
    else this.truncated = true
  }

  handleRowDescription(message: {fields: readonly Field[]}): void {
    this.begin(message.fields)
  }

  handleDataRow(message: {fields: readonly (string | null)[]}): void {
    this.keep(() => message.fields.map((text, index) => cell(this.fields[index]?.dataTypeID ?? 25, text)))
  }

  handlePortalSuspended(): void {
    this.truncated = true
  }

  handleCommandComplete(message: {text: string}): void {
    // a command without rows, after one with rows, is the last result, and has none
    if (this.tag !== null) this.begin([])
    this.tag = message.text
  }

  handleEmptyQuery(): void {
    this.tag ??= ''
  }

  handleCopyInResponse(connection: unknown): void {
    const wire = connection as Wire
    wire.sendCopyFail('there is nothing to copy from; use dbaas connect')
    // while it copies, the server has ignored the sync that was sent along
    if (this.mode === 'extended') wire.sync()
  }

  handleCopyData(message: {chunk: Buffer}): void {
    if (this.fields !== copyFields || this.tag !== null) this.begin(copyFields)
    this.keep(() => [message.chunk.toString('utf8').replace(/\n$/, '')])
  }

  handleError(error: unknown, connection?: unknown): void {
    ;(connection as Wire | undefined)?.removeListener('parseComplete', this.onParsed)
    this.settle.reject(error)
  }

  handleReadyForQuery(connection?: unknown): void {
    ;(connection as Wire | undefined)?.removeListener('parseComplete', this.onParsed)
    this.settle.resolve({fields: this.fields, rows: this.rows, tag: this.tag, truncated: this.truncated})
  }
}

async function collect(client: Client, text: string, maxRows: number): Promise<Collected> {
  const single = new Collector(text, maxRows, 'extended')
  client.query(single)
  try {
    return await single.done
  } catch (error) {
    // several statements are a syntax error to the extended protocol, found before anything is run
    if (single.parsed || !isServerError(error) || error.code !== '42601') throw error
  }
  const several = new Collector(text, maxRows, 'simple')
  client.query(several)
  return several.done
}

/** The first word of a statement, where the server stopped before it gave the command's tag. */
function commandOf(text: string): string {
  const word = /^(?:\s|--[^\n]*\n|\/\*.*?\*\/|\()*([a-z]+)/is.exec(text)?.[1]?.toUpperCase() ?? 'SELECT'
  return ['WITH', 'TABLE', 'VALUES'].includes(word) ? 'SELECT' : word
}

async function columnsOf(client: Client, fields: readonly Field[]): Promise<QueryResult['columns']> {
  const unknown = [...new Set(fields.map(({dataTypeID}) => dataTypeID).filter((oid) => typeName(oid) === undefined))]
  const names = new Map<number, string>()
  if (unknown.length > 0) {
    // types of an extension or of the user's own. Never worth the loss of a result that is already there
    const found = await client
      .query<{oid: number; name: string}>(
        `select t::pg_catalog.int8::pg_catalog.text as oid, pg_catalog.format_type(t, null) as name
         from pg_catalog.unnest($1::pg_catalog.oid[]) t`,
        [unknown],
      )
      .catch(() => ({rows: []}))
    for (const row of found.rows) names.set(Number(row.oid), row.name)
  }
  return fields.map(({name, dataTypeID}) => ({name, type: typeName(dataTypeID) ?? names.get(dataTypeID) ?? 'unknown'}))
}

/** After a cancel request, how long the server may take to obey before the connection is cut. */
const obeyMs = 2000

/** Cancels at the deadline or on the signal. `stopped` tells which, once it has happened. */
function watch(
  connection: Connection,
  options: QueryOptions,
): {stopped: () => 'timeout' | 'signal' | undefined; end: () => void} {
  let why: 'timeout' | 'signal' | undefined
  let last: NodeJS.Timeout | undefined
  const stop = (reason: 'timeout' | 'signal'): void => {
    if (why !== undefined) return
    why = reason
    void connection.cancel()
    last = setTimeout(() => connection.socket.destroy(), obeyMs)
  }
  const timer = setTimeout(() => stop('timeout'), options.timeoutMs)
  const onAbort = (): void => stop('signal')
  options.signal?.addEventListener('abort', onAbort, {once: true})
  if (options.signal?.aborted) stop('signal')
  return {
    stopped: () => why,
    end: () => {
      clearTimeout(timer)
      clearTimeout(last)
      options.signal?.removeEventListener('abort', onAbort)
    },
  }
}

const cancelled = '57014'

function failure(
  error: unknown,
  stopped: 'timeout' | 'signal' | undefined,
  options: QueryOptions,
  where: string,
): DbaasError {
  if (stopped !== undefined && (!isServerError(error) || error.code === cancelled)) {
    return new DbaasError(
      'SQL_ERROR',
      stopped === 'timeout'
        ? `the statement was cancelled: it ran longer than ${options.timeoutMs} ms`
        : 'the statement was cancelled: nobody waits for it any more',
      {
        details: {sqlstate: cancelled},
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
  const watching = watch(connection, options)
  try {
    const result = await collect(connection.client, statement, options.maxRows)
    const columns = await columnsOf(connection.client, result.fields)
    const counted = /^(.*?)(?: \d+)? (\d+)$/.exec(result.tag ?? '')
    return {
      columns,
      rows: result.rows,
      rowCount: counted ? Number(counted[2]) : result.rows.length,
      command: result.tag === null ? commandOf(statement) : ((counted?.[1] ?? result.tag) as string),
      truncated: result.truncated,
    }
  } catch (error) {
    throw failure(error, watching.stopped(), options, where)
  } finally {
    watching.end()
    await connection.close()
  }
}

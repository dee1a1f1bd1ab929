/**
 * A session of the replication protocol (PostgreSQL documentation, 54.4) over the driver, which knows its messages but has
 * no words for its conversations. One command at a time. What comes is handed over at once, as the socket has it; who
 * cannot take more pauses the socket, and TCP holds the server back.
 */
import type {Socket} from 'node:net'
import type {BackupServer} from '../../backup.js'
import {connectReplication} from '../client.js'
import {connectionError, isServerError} from '../errors.js'
import {createFrames} from './frames.js'

export type Row = Readonly<Record<string, string | null>>

/** What may happen between a command and its end. All is called in the order of the wire, and must not wait. */
export interface Conversation {
  row?(row: Row): void
  /** The server sends a copy: a row set has ended before it, if there was one. */
  copyOut?(): void
  /** The server waits for a copy: `send`, then `endCopy`. */
  copyIn?(): void
  /** Both send. */
  copyBoth?(): void
  /** A message of the copy, whole. The bytes are the driver's, and are valid during the call only. */
  copyData?(chunk: Buffer): void
  /** In its place: parts of messages, as they come; the first and the last of each are said to be. Valid during the call only. */
  copyPart?(part: Buffer, isStart: boolean, isEnd: boolean): void
  /** The server has sent its copy. */
  copyDone?(): void
  complete?(tag: string): void
}

export interface Notice {
  readonly severity: string
  readonly code: string
  readonly message: string
}

export interface Session {
  readonly where: string
  /** Resolves when the server is ready again. Throws the server's own error, or DATABASE_UNAVAILABLE. */
  converse(command: string, conversation: Conversation): Promise<void>
  rows(command: string): Promise<Row[]>
  send(chunk: Buffer): void
  endCopy(): void
  pause(): void
  resume(): void
  onNotice(listener: (notice: Notice) => void): void
  /** Takes leave. */
  close(): Promise<void>
  /** Breaks the connection; a conversation under way ends with that error. */
  destroy(because: Error): void
  /** Asks the server to stop what it does; for what can take minutes before it looks at the connection. */
  cancel(): Promise<void>
}

/** What the driver offers beside its types. */
interface Wire extends NodeJS.EventEmitter {
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

/** Throws DATABASE_UNAVAILABLE. */
export async function openSession(server: BackupServer, applicationName: string): Promise<Session> {
  const where = `${server.address.host}:${server.address.port}`
  const connection = await connectReplication(server, applicationName)
  const {client} = connection
  const wire = (client as unknown as {connection: Wire}).connection
  const socket: Socket = connection.socket
  let broken: Error | undefined
  let current: Conversation | undefined
  let fail: (error: Error) => void = () => {}
  /** A handler that throws would be the driver's affair, and leave the session between two messages. */
  const guarded = <A extends unknown[]>(handle: (...given: A) => void) => (...given: A): void => {
    try {
      handle(...given)
    } catch (error) {
      destroy(error as Error)
      fail(error as Error)
    }
  }
  // The driver has read all that came before: the next byte begins a message.
  const [read] = socket.listeners('data') as ((bytes: Buffer) => void)[]
  socket.removeAllListeners('data')
  const part = guarded((bytes: Buffer, isStart: boolean, isEnd: boolean) => current?.copyPart?.(bytes, isStart, isEnd))
  const frames = createFrames({wantsParts: () => current?.copyPart !== undefined, part, pass: (bytes) => read?.(bytes)})
  socket.on('data', (bytes: Buffer) => frames.push(bytes))
  // Of these messages the driver tells a query nothing.
  wire.on('copyOutResponse', guarded(() => current?.copyOut?.()))
  wire.on('replicationStart', guarded(() => current?.copyBoth?.()))
  wire.on('copyDone', guarded(() => current?.copyDone?.()))

  function converse(command: string, conversation: Conversation): Promise<void> {
    return new Promise((resolve, reject) => {
      let names: string[] = []
      fail = (error) => {
        current = undefined
        reject(broken ?? (isServerError(error) ? error : connectionError(error, where)))
      }
      client.query({
        submit(to: Wire) {
          current = conversation
          to.query(command)
        },
        handleRowDescription: ({fields}: {fields: {name: string}[]}) => {
          names = fields.map(({name}) => name)
        },
        handleDataRow: guarded(({fields}: {fields: (string | null)[]}) =>
          conversation.row?.(Object.fromEntries(names.map((name, i) => [name, fields[i] as string | null])))),
        handleCopyInResponse: guarded(() => conversation.copyIn?.()),
        handleCopyData: guarded(({chunk}: {chunk: Buffer}) => conversation.copyData?.(chunk)),
        handleCommandComplete: guarded(({text}: {text: string}) => conversation.complete?.(text)),
        handleError: (error: Error) => fail(error),
        handleReadyForQuery: () => {
          current = undefined
          resolve()
        },
        handlePortalSuspended: () => {},
        handleEmptyQuery: () => {},
      } as never)
    })
  }

  function destroy(because: Error): void {
    broken ??= because
    socket.destroy(because)
  }

  return {
    where,
    converse,
    async rows(command) {
      const rows: Row[] = []
      await converse(command, {row: (row) => rows.push(row)})
      return rows
    },
    send: (chunk) => wire.sendCopyFromChunk(chunk),
    endCopy: () => wire.endCopyFrom(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    onNotice(listener) {
      client.on('notice', ({severity, code, message}) => listener({severity: severity ?? '', code: code ?? '', message: message ?? ''}))
    },
    close: () => connection.close(),
    destroy,
    cancel: () => connection.cancel(),
  }
}

/** An identifier or a text of the replication grammar: both double their quotes, and know no backslashes. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
export const identifier = (text: string): string => `"${text.replaceAll('"', '""')}"`

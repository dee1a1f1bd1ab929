import {chmodSync, existsSync, rmdirSync, unlinkSync} from 'node:fs'
import {type Server, type Socket, createServer} from 'node:net'
import {dirname} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import {type Gives, LineDecoder, type Operation, type Reply, type Request, encode} from '../protocol.js'
import {shortSocketPath} from '../socket-path.js'

export type Handle = (request: Request, from: Socket) => Promise<Gives<Operation>>

/**
 * The control socket. Only the holder of the lock makes one, so whatever is found at the path is stale and is removed:
 * no race with a living process is possible.
 */
export class ControlServer {
  #server: Server | null = null
  readonly #connections = new Set<Socket>()
  readonly #preferredPath: string
  #path = ''
  readonly #handle: Handle
  readonly #onLost: (connection: Socket) => void

  constructor(preferredPath: string, handle: Handle, onLost: (connection: Socket) => void) {
    this.#preferredPath = preferredPath
    this.#handle = handle
    this.#onLost = onLost
  }

  async open(): Promise<void> {
    const server = createServer((connection) => this.#serve(connection))
    this.#path = shortSocketPath(this.#preferredPath)
    try {
      unlinkSync(this.#path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#path, () => resolve())
    })
    server.removeAllListeners('error').on('error', (error) => console.error(`control socket: ${error.message}`))
    chmodSync(this.#path, 0o600)
    this.#server = server
  }

  /** New agents find nobody, the connected ones go on. */
  closeToNew(): void {
    this.#server?.close()
    this.#server = null
  }

  close(): void {
    this.closeToNew()
    for (const connection of this.#connections) connection.destroySoon()
  }

  /** For good: a folder in /tmp goes too. Before the lock is given up, or it would be the next process' folder. */
  leave(): void {
    this.close()
    if (this.#path === this.#preferredPath) return
    try {
      rmdirSync(dirname(this.#path))
    } catch {
      // Gone already, or not empty: not ours to judge.
    }
  }

  /** A cleaner of /tmp may have taken the socket away; nobody would ever find this process again. */
  async reopenIfGone(): Promise<void> {
    if (!this.#server || existsSync(this.#path)) return
    this.closeToNew()
    await this.open()
  }

  #serve(connection: Socket): void {
    const decoder = new LineDecoder<Request>()
    this.#connections.add(connection)
    connection.on('error', () => connection.destroy())
    connection.on('close', () => {
      this.#connections.delete(connection)
      this.#onLost(connection)
    })
    connection.on('data', (chunk: Buffer) => {
      try {
        for (const request of decoder.push(chunk)) void this.#answer(connection, request)
      } catch (error) {
        console.error(`control connection closed: ${(error as Error).message}`)
        connection.destroy()
      }
    })
  }

  async #answer(connection: Socket, request: Request): Promise<void> {
    const reply: Reply = await this.#handle(request, connection).then(
      (result) => ({id: request.id, result}),
      (error: unknown) => ({id: request.id, error: DbaasError.from(error).toDetail()}),
    )
    if (!connection.destroyed) connection.write(encode(reply))
  }
}

import {connect, type Socket} from 'node:net'
import {DbaasError} from '../../core/errors.js'
import {type Gives, LineDecoder, type Operation, type Reply, type Request, type Takes, encode} from './protocol.js'

const connectMs = 2000
const answerMs = 20_000

interface Pending {
  readonly resolve: (result: never) => void
  readonly reject: (error: DbaasError) => void
  readonly late: NodeJS.Timeout
}

/** One connection to the endpoint process: requests go out, replies come back by their id. */
export class Connection {
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  #next = 1
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>

  /** Undefined when nobody listens there: no process, or only what a dead one left behind. */
  static open(path: string): Promise<Connection | undefined> {
    return new Promise((resolve) => {
      const socket = connect({path})
      const late = setTimeout(() => socket.destroy(new Error('no answer')), connectMs)
      socket.once('connect', () => {
        clearTimeout(late)
        resolve(new Connection(socket))
      })
      socket.once('error', () => {
        clearTimeout(late)
        resolve(undefined)
      })
    })
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    const decoder = new LineDecoder<Reply>()
    socket.removeAllListeners('error').on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const reply of decoder.push(chunk)) this.#settle(reply)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        for (const {reject, late} of this.#pending.values()) {
          clearTimeout(late)
          reject(connectionLost())
        }
        this.#pending.clear()
        resolve()
      })
    })
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.writable
  }

  /** Throws what the endpoint process throws, and ENDPOINT_UNAVAILABLE when it goes away or does not answer. */
  request<O extends Operation>(op: O, takes: Takes<O>): Promise<Gives<O>> {
    if (!this.isOpen) return Promise.reject(connectionLost())
    const id = this.#next++
    return new Promise<Gives<O>>((resolve, reject) => {
      const late = setTimeout(() => {
        this.#pending.delete(id)
        const message = `the endpoint process did not answer "${op}" for ${answerMs / 1000} s`
        reject(new DbaasError('ENDPOINT_UNAVAILABLE', message, {
          suggestions: ['dbaas agent logs', 'dbaas doctor'],
        }))
      }, answerMs)
      this.#pending.set(id, {resolve, reject, late})
      this.#socket.write(encode({id, op, ...takes} as unknown as Request))
    })
  }

  close(): void {
    this.#socket.destroySoon()
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.get(reply.id)
    if (!pending) return
    this.#pending.delete(reply.id)
    clearTimeout(pending.late)
    if ('error' in reply) pending.reject(DbaasError.fromDetail(reply.error))
    else pending.resolve(reply.result as never)
  }
}

/** Told apart from what the endpoint process itself says, because such a request may be asked again. */
const lost = new WeakSet<DbaasError>()
export const isConnectionLost = (error: unknown): boolean => error instanceof DbaasError && lost.has(error)

function connectionLost(): DbaasError {
  const error = new DbaasError('ENDPOINT_UNAVAILABLE', 'the connection to the endpoint process was lost', {
    suggestions: ['dbaas agent status'],
  })
  lost.add(error)
  return error
}

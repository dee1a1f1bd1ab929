/** A session with a node that ends in time, whatever the node does. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Client} from 'pg'
import {DbaasError} from '../../../core/errors.js'
import type {AdminCredentials} from '../../engine.js'
import type {Host} from '../../host.js'
import type {Timing} from '../../replication.js'
import {connectAdmin} from '../client.js'
import {commandError, connectionError, isServerError} from '../errors.js'

/** How often a node is asked whether what is waited for is so. */
const pollMs = 10
/** To connect: a node that is there answers in some milliseconds. */
const connectMs = 2000

export interface NodeSession {
  readonly client: Client
  /** Asks until the answer is not undefined. */
  until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T>
}

/** `host:port`, for messages. */
export const whereOf = (host: Host): string => {
  const {host: name, port} = host.address()
  return `${name}:${port}`
}

/** What the driver or the server threw, as EngineReplication promises. */
export const asOurs = (error: unknown, host: Host): DbaasError => {
  if (error instanceof DbaasError) return error
  return isServerError(error) ? commandError(error, whereOf(host)) : connectionError(error, whereOf(host))
}

const late = (host: Host, ms: number, what?: string): DbaasError =>
  new DbaasError('DATABASE_UNAVAILABLE', `the database at ${whereOf(host)} ${what === undefined ? `did not answer within ${ms} ms` : `was waited for in vain for ${ms} ms: ${what}`}`, {
    details: {address: whereOf(host), ...(what === undefined ? {} : {waited_for: what})}, suggestions: ['dbaas list', 'dbaas doctor'],
  })

export async function within<T>(host: Host, admin: AdminCredentials, timing: Timing | undefined, byDefaultMs: number, use: (session: NodeSession) => Promise<T>, options: {walsender?: true} = {}): Promise<T> {
  const ms = timing?.timeoutMs ?? byDefaultMs
  const signal = timing?.signal
  const until = performance.now() + ms
  signal?.throwIfAborted()
  const connection = await connectAdmin(host, admin, {timeoutMs: Math.min(ms, connectMs), ...options}).catch((error: unknown) => {
    throw asOurs(error, host)
  })
  let waitedFor: string | undefined
  let broken: Error | undefined
  const destroy = (because: Error): void => {
    broken = because
    connection.socket.destroy(because)
  }
  const timer = setTimeout(() => destroy(late(host, ms, waitedFor)), Math.max(1, until - performance.now()))
  const abort = (): void => destroy(signal?.reason as Error)
  signal?.addEventListener('abort', abort)
  try {
    return await use({
      client: connection.client,
      async until(what, ask) {
        waitedFor = what
        for (;;) {
          const answer = await ask()
          if (answer !== undefined) {
            waitedFor = undefined
            return answer
          }
          if (broken) throw broken
          await sleep(pollMs)
        }
      },
    })
  } catch (error) {
    signal?.throwIfAborted()
    throw broken ?? asOurs(error, host)
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    await connection.close()
  }
}

/** One row of a statement without parameters, which a session of the replication protocol has none for. */
export async function one<Row extends object>(client: Client, statement: string): Promise<Row> {
  const {rows: [row]} = await client.query<Row>(statement)
  if (row === undefined) throw new DbaasError('INTERNAL', 'a question to the server has no answer')
  return row
}

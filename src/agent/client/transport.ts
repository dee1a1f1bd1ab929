/**
 * One HTTP exchange with an agent. The local socket is spoken with node:http, which is loaded already; undici, slower
 * to load, serves URLs. Neither keeps connections: a new one to the socket costs 0.1 ms, and a kept one may be dead
 * when a change is sent, of which nobody knows then whether it happened.
 */
import {request} from 'node:http'
import type {Readable} from 'node:stream'
import type {ContextTarget} from './contexts.js'
import {unreachable} from './connection.js'

export interface Exchange {
  readonly method: string
  /** With its query, percent-encoded. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Silence for so long is no answer; 0 for ever. */
  readonly quietMs: number
}

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: Readable
}

export type Transport = (exchange: Exchange) => Promise<Answer>

/** Both throw AGENT_UNREACHABLE, or the signal's reason. */
export const transportTo = (target: ContextTarget): Transport =>
  'url' in target ? (exchange) => overUrl(target, exchange) : (exchange) => overSocket(target, exchange)

/** The failure of a connection as ours; an abort as the reason that was given for it. */
export function translate(target: ContextTarget, error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted ? signal.reason : unreachable(target, error)
}

function overSocket(
  target: {readonly socketPath: string},
  {method, path, headers, body, signal, quietMs}: Exchange,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({
      socketPath: target.socketPath,
      method,
      path,
      agent: false,
      timeout: quietMs,
      ...(signal ? {signal} : {}),
      headers: {host: 'agent', ...headers, ...(body === undefined ? {} : {'content-length': Buffer.byteLength(body)})},
    })
    sent.once('error', (error) => reject(translate(target, error, signal)))
    sent.once('timeout', () => sent.destroy(Object.assign(new Error('no answer'), {code: 'ETIMEDOUT'})))
    sent.once('response', (response) =>
      resolve({
        status: response.statusCode ?? 0,
        contentType: response.headers['content-type'] ?? '',
        body: response,
      }),
    )
    sent.end(body)
  })
}

async function overUrl(target: {readonly url: string; readonly token?: string}, exchange: Exchange): Promise<Answer> {
  const {Agent} = await import('undici')
  const {method, path, headers, body, signal, quietMs} = exchange
  const dispatcher = new Agent({
    connect: {minVersion: 'TLSv1.3'},
    pipelining: 0,
    headersTimeout: quietMs,
    bodyTimeout: quietMs,
  })
  const base = new URL(target.url)
  try {
    const answer = await dispatcher.request({
      // The origin and the path apart: parsing them together would resolve a name like "..".
      origin: base.origin,
      path: `${base.pathname.replace(/\/$/, '')}${path}`,
      method: method as 'GET',
      headers: {...headers, ...(target.token === undefined ? {} : {authorization: `Bearer ${target.token}`})},
      body: body ?? null,
      signal: signal ?? null,
    })
    const contentType = answer.headers['content-type']
    return {
      status: answer.statusCode,
      contentType: typeof contentType === 'string' ? contentType : '',
      body: answer.body,
    }
  } catch (error) {
    throw translate(target, error, signal)
  }
}

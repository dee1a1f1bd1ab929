/**
 * One GET over the web: proxies of the environment, bounded redirects, and failures as ours. By Node's own client: undici
 * 7, the last for Node 20, ends the process when a connection breaks while the disk is slower than the network
 * (nodejs/undici#5360).
 */
import {request as requestPlain, type IncomingMessage, type RequestOptions} from 'node:http'
import {request as requestSecure} from 'node:https'
import type {Readable} from 'node:stream'
import {connect as connectTls} from 'node:tls'
import {DbaasError} from '../../../../core/errors.js'
import {proxyFor, tunnel, type Environment} from './proxy.js'
import {isLoopback, shownUrl, whyNotFetch} from './source.js'

export interface HttpAnswer {
  readonly status: number
  /** Where the redirects ended. */
  readonly url: URL
  header(name: string): string | undefined
  readonly body: Readable
}

export interface Http {
  /** Any status but a redirect; the caller reads or destroys the body. Throws DOWNLOAD_FAILED, NOT_SUPPORTED, the signal's reason. */
  get(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer>
}

const maxRedirects = 5
const redirects = new Set([301, 302, 303, 307, 308])
/** No byte for so long is a broken connection. */
export const quietMs = 30_000

export function createHttp(env: Environment): Http {
  async function send(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<IncomingMessage> {
    try {
      signal.throwIfAborted()
      // a proxy's loopback is another machine's
      const proxy = isLoopback(url) ? undefined : proxyFor(url, env)
      const socket = proxy && (await tunnel(proxy, url, quietMs, signal))
      const servername = url.hostname
      return await exchange(url, {
        agent: false, signal, timeout: quietMs,
        // a server that compresses on the way would count other bytes than the file's
        headers: {'user-agent': 'dbaas', accept: '*/*', 'accept-encoding': 'identity', ...headers},
        ...(socket ? {createConnection: () => connectTls({socket, servername})} : {}),
      })
    } catch (error) {
      throw broken(url, error, signal)
    }
  }

  async function get(start: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpAnswer> {
    let url = start
    for (let hops = 0; hops <= maxRedirects; hops++) {
      const body = await send(url, headers, signal)
      const {statusCode: status = 0} = body
      // an abort of a body nobody reads any more must not end the agent
      body.on('error', () => undefined)
      const header = (name: string): string | undefined => {
        const value = body.headers[name]
        return Array.isArray(value) ? value[0] : value
      }
      const location = header('location')
      if (!redirects.has(status) || location === undefined) return {status, url, header, body}
      body.destroy()
      url = follow(url, location)
    }
    throw new DbaasError('NOT_SUPPORTED', `${shownUrl(start)} is redirected more than ${maxRedirects} times`, {
      details: {url: shownUrl(start)}, suggestions: ['give the address that a browser ends at'],
    })
  }

  return {get}
}

function exchange(url: URL, options: RequestOptions): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = (url.protocol === 'https:' ? requestSecure : requestPlain)(url, options)
    sent.once('response', resolve)
    // also after the answer has begun: then it is the body that ends so
    sent.on('error', reject)
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('nothing came'), {code: 'ESILENT'})))
    sent.end()
  })
}

/** A page elsewhere has no business sending the agent to this machine's own services. */
function follow(from: URL, location: string): URL {
  const url = URL.canParse(location, from.href) ? new URL(location, from) : undefined
  const because = url ? (whyNotFetch(url) ?? (isLoopback(url) && !isLoopback(from) ? `${url.host} is this machine` : undefined)) : 'it is not a URL'
  if (url && because === undefined) return url
  throw new DbaasError('NOT_SUPPORTED', `${shownUrl(from)} is redirected to where it is not followed: ${because}`, {
    details: {url: shownUrl(from)}, suggestions: ['give the address of the file itself'],
  })
}

const reasons: Record<string, string> = {
  ENOTFOUND: 'the name of the server is not known', EAI_AGAIN: 'the name of the server cannot be looked up', ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'the connection broke', EPIPE: 'the connection broke', ERR_STREAM_PREMATURE_CLOSE: 'the connection broke',
  ESILENT: `nothing came for ${quietMs / 1000} s`, ETIMEDOUT: 'no answer in time', EHOSTUNREACH: 'there is no route to it', ENETUNREACH: 'there is no route to it',
  CERT_HAS_EXPIRED: 'its certificate has expired', SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not trusted here',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not trusted here', UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not trusted here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is not trusted here', ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
}

/** The failure of a connection as DOWNLOAD_FAILED; an abort as the reason that was given for it. */
export function broken(url: URL, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof DbaasError) return error
  const {code, message} = error as NodeJS.ErrnoException
  const because = reasons[code ?? ''] ?? message
  return new DbaasError('DOWNLOAD_FAILED', `${shownUrl(url)} could not be downloaded: ${because}`, {
    cause: error, details: {url: shownUrl(url), because}, suggestions: ['check the network and the proxy (https_proxy)', 'run the command again: it goes on from where it broke'],
  })
}

/** What a status means; undefined for a success. Permanent where asking again would change nothing. */
export function statusError(url: URL, status: number): DbaasError | undefined {
  if (status >= 200 && status < 300) return undefined
  const details = {url: shownUrl(url), status: String(status)}
  if (status >= 500 || status === 408 || status === 425 || status === 429) {
    return new DbaasError('DOWNLOAD_FAILED', `${shownUrl(url)} could not be downloaded: the server answers ${status}`, {details, suggestions: ['run the command again later']})
  }
  const meaning: Record<number, string> = {401: 'it asks for a login', 403: 'it is not given to us', 404: 'there is no such file', 410: 'it is gone'}
  return new DbaasError('FILE_NOT_FOUND', `cannot read ${shownUrl(url)}: ${meaning[status] ?? 'the server refuses'} (${status})`, {
    details, suggestions: ['open the address in a browser', 'download the file yourself and give its path'],
  })
}

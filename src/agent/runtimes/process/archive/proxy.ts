/** The proxy of the environment for a URL, and a connection through it. */
import {request as requestPlain} from 'node:http'
import {request as requestSecure} from 'node:https'
import type {Socket} from 'node:net'

export type Environment = Readonly<Record<string, string | undefined>>

/** `https_proxy`, else `http_proxy`, unless `no_proxy` names the host, a domain above it, or `*`. Upper case, too. */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const of = (name: string): string | undefined => env[name] || env[name.toUpperCase()]
  const proxy = of('https_proxy') ?? of('http_proxy')
  if (proxy === undefined) return undefined
  const port = url.port || '443'
  const leftOut = (of('no_proxy') ?? '').split(/[\s,]+/).filter(Boolean).some((entry) => {
    const [, name = '', only] = /^(?:\*?\.)?(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    return entry === '*' || ((only === undefined || only === port) && name !== '' && (url.hostname === name || url.hostname.endsWith(`.${name}`)))
  })
  const full = /^[a-z]+:\/\//i.test(proxy) ? proxy : `http://${proxy}`
  return leftOut || !URL.canParse(full) ? undefined : new URL(full)
}

/** A plain connection to the URL's server through the proxy. Rejects with an error that has a code or a sentence. */
export function tunnel(proxy: URL, to: URL, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const target = `${to.hostname}:${to.port || '443'}`
    const login = proxy.username === '' ? undefined : Buffer.from(`${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`).toString('base64')
    const asked = (proxy.protocol === 'https:' ? requestSecure : requestPlain)({
      host: proxy.hostname.replace(/^\[|\]$/g, ''), port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80), method: 'CONNECT', path: target,
      agent: false, signal, timeout: timeoutMs, headers: {host: target, ...(login === undefined ? {} : {'proxy-authorization': `Basic ${login}`})},
    })
    asked.once('connect', (answer, socket) => {
      if (answer.statusCode === 200) return resolve(socket)
      socket.destroy()
      reject(new Error(`the proxy ${proxy.host} answers ${answer.statusCode}`))
    })
    asked.once('error', (error: NodeJS.ErrnoException) =>
      reject(signal.aborted ? error : new Error(`the proxy ${proxy.host} cannot be used: ${error.code ?? error.message}`, {cause: error})))
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.end()
  })
}

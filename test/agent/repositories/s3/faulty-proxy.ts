/**
 * Stands between a client and a real server and does what networks and servers do on bad days. Requests pass as they are,
 * Host header and all, so that their signatures stay valid.
 */
import http from 'node:http'
import {once} from 'node:events'
import type {AddressInfo} from 'node:net'
import {setTimeout as delay} from 'node:timers/promises'

export type Fault =
  /** Answered by the proxy; `done`: the server has done it before. */
  | {readonly kind: 'status'; readonly status: number; readonly code?: string; readonly headers?: Record<string, string>; readonly done?: boolean}
  /** The connection ends when the request has come; `done`: the server has done it before. */
  | {readonly kind: 'hang-up'; readonly done?: boolean}
  /** The connection to both sides ends in the middle of the body of the request. */
  | {readonly kind: 'cut-request'}
  /** The connection ends in the middle of the body of the answer. */
  | {readonly kind: 'cut-answer'}
  /** Nothing is answered until the client goes away; `done`: the server has done it before. */
  | {readonly kind: 'silence'; readonly done?: boolean}
  /** The request is not even read. */
  | {readonly kind: 'deaf'}
  /** The answer comes in portions of so many bytes, one each so many milliseconds. */
  | {readonly kind: 'trickle'; readonly bytes: number; readonly everyMs: number}
  /** The Content-Length of the answer is that much off; `cut`: so is the body. */
  | {readonly kind: 'length'; readonly by: number; readonly cut?: boolean}
  /** Another part of the object than that which was asked for, and it says so. */
  | {readonly kind: 'other-range'}
  /** An answer of success that is none of S3. */
  | {readonly kind: 'portal'}
  /** The server gets another body than the client has sent. */
  | {readonly kind: 'flip-bit'}

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: http.IncomingHttpHeaders
}

export interface FaultyProxy {
  readonly endpoint: string
  /** What happens to a request; undefined: it passes. */
  fault: (seen: Seen, count: number) => Fault | undefined
  readonly seen: Seen[]
  /** Most requests at once since `forget`. */
  readonly most: number
  /** What it has seen so far. */
  forget(): void
  close(): Promise<void>
}

export async function startFaultyProxy(server: string): Promise<FaultyProxy> {
  const {hostname, port} = new URL(server)
  const agent = new http.Agent({keepAlive: true})
  const seen: Seen[] = []
  /** Since `forget`. */
  let running = new Set<http.ServerResponse>()
  let most = 0
  const proxy: {fault: FaultyProxy['fault']} = {fault: () => undefined}

  interface Answered {
    readonly status: number
    readonly headers: http.IncomingHttpHeaders
    readonly body: Buffer
  }
  const without = ({expect, ...headers}: http.IncomingHttpHeaders): http.IncomingHttpHeaders => headers
  const pass = ({method, url, headers}: Seen, body: Buffer): Promise<Answered> => new Promise((resolve, reject) => {
    const request = http.request({agent, hostname, port, method, path: url, headers: without(headers)}, (response) => {
      const portions: Buffer[] = []
      response.on('data', (portion: Buffer) => portions.push(portion))
      response.on('error', reject)
      response.on('end', () => resolve({status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(portions)}))
    })
    request.on('error', reject)
    request.end(body)
  })

  async function handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const one: Seen = {method: request.method ?? '', url: request.url ?? '', headers: request.headers}
    const fault = proxy.fault(one, seen.push(one) - 1)
    if (fault?.kind === 'deaf') return void (await once(response, 'close'))
    const half = Number(request.headers['content-length'] ?? 0) / 2
    const portions: Buffer[] = []
    let got = 0
    for await (const portion of request as AsyncIterable<Buffer>) {
      portions.push(portion)
      got += portion.length
      if (fault?.kind === 'cut-request' && got >= half) break
    }
    const body = Buffer.concat(portions)
    if (fault?.kind === 'cut-request') {
      // The server sees the beginning of it, and then nothing more.
      const begun = http.request({hostname, port, method: one.method, path: one.url, headers: without(one.headers), agent: false})
      begun.on('error', () => undefined)
      begun.write(body.subarray(0, Math.floor(half)), () => begun.destroy())
      return void request.socket.destroy()
    }
    if (fault?.kind === 'flip-bit' && body.length > 0) body[body.length >> 1] = (body[body.length >> 1] as number) ^ 1
    const done = fault === undefined || !('done' in fault || ['status', 'hang-up', 'silence', 'portal'].includes(fault.kind)) || ('done' in fault && fault.done === true)
    const answer = done ? await pass(one, body) : undefined
    await give(request, response, fault, answer)
  }

  async function give(request: http.IncomingMessage, response: http.ServerResponse, fault: Fault | undefined, answer: Answered | undefined): Promise<void> {
    const {status = 0, headers = {}, body = Buffer.alloc(0)} = answer ?? {}
    const plain = {...headers, 'transfer-encoding': undefined, connection: undefined, 'content-length': request.method === 'HEAD' ? headers['content-length'] : String(body.length)}
    const begin = (changed: http.IncomingHttpHeaders = {}) => response.writeHead(status, JSON.parse(JSON.stringify({...plain, ...changed})))
    switch (fault?.kind) {
      case 'status':
        response.writeHead(fault.status, {'content-type': 'application/xml', ...fault.headers})
        return void response.end(fault.code === undefined ? '<html>no</html>' : `<?xml version="1.0"?><Error><Code>${fault.code}</Code><Message>says the proxy</Message></Error>`)
      case 'hang-up':
        return void request.socket.destroy()
      case 'silence':
        return void (await once(response, 'close'))
      case 'cut-answer':
        begin()
        response.write(body.subarray(0, body.length >> 1))
        await delay(5)
        return void request.socket.destroy()
      case 'trickle':
        begin()
        for (let at = 0; at < body.length && !response.destroyed; at += fault.bytes) {
          response.write(body.subarray(at, at + fault.bytes))
          await delay(fault.everyMs)
        }
        return void response.end()
      case 'length': {
        // By hand, since Node keeps lengths true.
        const told = Math.max(0, body.length + fault.by)
        const lines = Object.entries({...plain, 'content-length': String(told), 'content-range': headers['content-range']}).filter(([, value]) => value !== undefined)
        const head = `HTTP/1.1 ${status} Said\r\n${lines.map(([name, value]) => `${name}: ${String(value)}\r\n`).join('')}\r\n`
        request.socket.write(Buffer.concat([Buffer.from(head), fault.cut ? body.subarray(0, told) : body]))
        return void request.socket.end()
      }
      case 'other-range': {
        const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(String(headers['content-range']))
        begin(range ? {'content-range': `bytes ${Number(range[1]) + 1}-${Number(range[2]) + 1}/${Number(range[3]) + 1}`} : {})
        return void response.end(body)
      }
      case 'portal':
        response.writeHead(200, {'content-type': 'text/html'})
        return void response.end('<html>Please sign in to this network</html>')
      default:
        begin()
        response.end(body)
    }
  }

  const listener = http.createServer((request, response) => {
    const counted = running
    most = Math.max(most, counted.add(response).size)
    response.once('close', () => counted.delete(response))
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    // The server's own trouble is passed on as a cut connection.
    handle(request, response).catch(() => request.socket.destroy())
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    seen,
    get fault() {
      return proxy.fault
    },
    set fault(fault) {
      proxy.fault = fault
    },
    get most() {
      return most
    },
    forget() {
      seen.length = 0
      running = new Set()
      most = 0
    },
    async close() {
      listener.closeAllConnections()
      listener.close()
      agent.destroy()
      await once(listener, 'close')
    },
  }
}

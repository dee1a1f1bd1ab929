import {request} from 'node:http'
import {connect} from 'node:net'

export interface Said {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
}

/** One ordinary request over the socket. */
export function speak(
  socketPath: string,
  method: string,
  path: string,
  options: {headers?: Record<string, string>; body?: string | Buffer} = {},
): Promise<Said> {
  return new Promise((resolve, reject) => {
    const {body, headers = {}} = options
    const sent = request(
      {
        socketPath,
        method,
        path,
        agent: false,
        headers: {...(body === undefined ? {} : {'content-length': Buffer.byteLength(body)}), ...headers},
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    sent.once('error', reject)
    sent.end(body)
  })
}

export const json = (method: string, path: string, value: unknown, headers: Record<string, string> = {}) =>
  [method, path, {body: JSON.stringify(value), headers: {'content-type': 'application/json', ...headers}}] as const

/**
 * Bytes as they are, and what came back until the server closed. For what no client would send. With `finish`, a
 * server that waits for more is told that no more comes; Node takes that for the end of the client, so not at once.
 */
export function speakRaw(
  socketPath: string,
  bytes: string | Buffer,
  {quietMs = 3000, finish = false} = {},
): Promise<Said> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(socketPath, () => socket.write(bytes))
    const finishing = finish ? setTimeout(() => socket.end(), 250) : undefined
    socket.setTimeout(quietMs, () => socket.destroy(new Error(`no end after: ${text.slice(0, 200)}`)))
    socket.on('data', (chunk) => (text += chunk.toString()))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      text === '' || (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') ? reject(error) : undefined,
    )
    socket.once('close', () => {
      clearTimeout(finishing)
      const [head = '', ...rest] = text.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '').split('\r\n\r\n')
      const [first = '', ...lines] = head.split('\r\n')
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      )
      resolve({status: Number(first.split(' ')[1]), headers, text: rest.join('\r\n\r\n')})
    })
  })
}

/**
 * Failures before there is a request: what arrived is not HTTP, is too long, too slow, or a CONNECT. Node would answer
 * with an empty page or a closed socket; ours is an ErrorResponse like all others (property 31).
 */
import type {Server} from 'node:http'
import type {Socket} from 'node:net'
import {requestIdHeader} from '../../core/api/paths.js'
import {DbaasError} from '../../core/errors.js'
import {errorResponse, noRoute} from './errors.js'

export interface RawFailureOptions {
  readonly newRequestId: () => string
  readonly now: () => number
  readonly log: (message: string, facts?: Record<string, unknown>) => void
}

interface ParseError extends Error {
  readonly code?: string
}

export function answerParseError(error: ParseError, socket: Socket, options: RawFailureOptions): void {
  // A response under way must not get a second one into its middle.
  const under = (socket as Socket & {_httpMessage?: {headersSent?: boolean} | null})._httpMessage
  if (error.code === 'ECONNRESET' || !socket.writable || under?.headersSent) {
    socket.destroy()
    return
  }
  answer(socket, describe(error), options)
}

export function handleUnusualRequests(server: Server, options: RawFailureOptions): void {
  server.on('connect', (request, socket) => {
    const allow = 'DELETE, GET, HEAD, PATCH, POST, PUT'
    const known = noRoute('CONNECT', request.url ?? '')
    const error =
      known.code === 'METHOD_NOT_ALLOWED'
        ? known
        : new DbaasError('METHOD_NOT_ALLOWED', 'the agent is no proxy: there is no method CONNECT', {details: {allow}})
    answer(socket as Socket, error, options)
  })
  // An expectation that is not 100-continue may be ignored (RFC 9110, 10.1.1); Node's own 417 has no body.
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
}

function describe(error: ParseError): DbaasError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new DbaasError('INVALID_REQUEST', 'the URL and headers are longer than 16 KiB', {
        suggestions: ['send large values in the body'],
      })
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new DbaasError('PAYLOAD_TOO_LARGE', 'the chunk extensions of the body are too large')
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new DbaasError('INVALID_REQUEST', 'the request did not arrive whole in time')
    default:
      return new DbaasError('INVALID_REQUEST', 'what arrived is not a valid HTTP/1.1 request', {
        details: {because: error.code ?? 'unknown'},
      })
  }
}

function answer(socket: Socket, error: DbaasError, options: RawFailureOptions): void {
  const requestId = options.newRequestId()
  const body = JSON.stringify(errorResponse(error, requestId, options.now()))
  options.log('a request that could not be read', {requestId, code: error.code, because: error.message})
  const allow = error.code === 'METHOD_NOT_ALLOWED' ? `allow: ${error.details.allow}\r\n` : ''
  // The reason phrase may be empty (RFC 9112, 4).
  const head =
    `HTTP/1.1 ${error.row.status} \r\n${requestIdHeader}: ${requestId}\r\n${allow}connection: close\r\n` +
    `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`
  socket.on('error', () => socket.destroy())
  // What the client goes on to send must not delay the end: half a close would wait for it.
  socket.end(head + body, () => socket.destroySoon())
}

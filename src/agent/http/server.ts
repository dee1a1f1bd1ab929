/** The API's server: Fastify wired to the endpoint table, one form of error for everything, one record a request. */
import fastify from 'fastify'
import type {FastifyInstance, FastifyReply, FastifyRequest} from 'fastify'
import {finished} from 'node:stream'
import type {Principal} from '../../core/access/principal.js'
import {jsonBodyLimitBytes, openapiPath, requestIdHeader, tenantHeader} from '../../core/api/paths.js'
import {DbaasError} from '../../core/errors.js'
import type {Clock} from '../../core/time.js'
import type {RequestSink, Services} from '../services/contract.js'
import {noCompilers} from './compilers.js'
import {errorResponse, noRoute, translate, unsupportedMediaType} from './errors.js'
import {answerParseError, handleUnusualRequests} from './raw-failures.js'
import {registerEndpoints} from './register.js'
import type {ResponseCheck} from './register.js'
import {responseHeaders} from './served.js'
import type {Served} from './served.js'
import {listenOnUnixSocket} from './unix-socket.js'

/** What a request says of who sent it, beside the connection it came by. */
export interface Caller {
  readonly tenant: string | undefined
  readonly authorization: string | undefined
  readonly remoteAddress: string | undefined
}

export interface HttpServerOptions {
  readonly services: Services
  readonly sink: RequestSink
  readonly clock: Clock
  /** Of the product, for the OpenAPI document. */
  readonly version: string
  readonly newRequestId: () => string
  /** Throws UNAUTHENTICATED. */
  readonly principalFor: (requestId: string, caller: Caller) => Principal | Promise<Principal>
  readonly log: (message: string, facts?: Record<string, unknown>) => void
  /** Checks every answer against its schema: tests prove by it that the OpenAPI document is true. */
  readonly checkResponse?: ResponseCheck
  /** Between two comments of a stream of events. */
  readonly heartbeatMs?: number
  /** How long `close` waits for requests that are being served; 5 s. */
  readonly closeGraceMs?: number
}

export interface HttpServer {
  /** For `inject`; ready to be used. */
  readonly app: FastifyInstance
  /** Throws HOME_UNUSABLE. */
  listenUnix(path: string): Promise<void>
  /** Refuses new requests, ends streams, waits for the rest as long as it may, and removes the socket. */
  close(): Promise<void>
}

const requestTimeoutMs = 60_000
const defaultCloseGraceMs = 5000
const longestPathLogged = 1024
const interrupted = 499

const pathOf = (request: FastifyRequest): string => request.url.split('?', 1)[0] as string

export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const {clock, sink, log} = options
  const open = new Set<Served>()
  let closing = false

  const rawOptions = {newRequestId: options.newRequestId, now: () => clock.now(), log}
  const app = fastify({
    logger: false,
    bodyLimit: jsonBodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    requestIdHeader: false,
    genReqId: ({headers}) => {
      const given = headers[requestIdHeader]
      return typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : options.newRequestId()
    },
    // Node answers these itself otherwise, with empty pages.
    http: {requireHostHeader: false},
    return503OnClosing: false,
    routerOptions: {maxParamLength: 1024},
    frameworkErrors: (error, request, reply) => {
      begin(request, reply)
      fail(error, request, reply)
    },
    clientErrorHandler: (error, socket) => answerParseError(error, socket, rawOptions),
    schemaController: {compilersFactory: noCompilers},
  })
  handleUnusualRequests(app.server, rawOptions)

  function begin(request: FastifyRequest, reply: FastifyReply): Served {
    const served: Served = {
      principal: undefined,
      startedAt: performance.now(),
      abort: new AbortController(),
      streaming: false,
    }
    const at = clock.now()
    request.served = served
    open.add(served)
    reply.headers(responseHeaders(request.id))
    finished(reply.raw, (cut) => {
      open.delete(served)
      if (cut) served.abort.abort()
      sink.request({
        requestId: request.id,
        tenantId: served.principal?.tenantId ?? '',
        clientId: served.principal?.id ?? 'unknown',
        method: request.method,
        path: pathOf(request).slice(0, longestPathLogged),
        statusCode: cut ? interrupted : reply.raw.statusCode,
        durationMs: performance.now() - served.startedAt,
        at,
      })
    })
    return served
  }

  function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const error = translate(thrown)
    if (error.code === 'INTERNAL') {
      const cause = (error.cause ?? error) as Error
      log('a request failed', {
        requestId: request.id,
        method: request.method,
        path: pathOf(request),
        error: String(cause),
        stack: cause.stack,
      })
    }
    const principal = request.served?.principal
    if (principal && (error.code === 'FORBIDDEN' || error.code === 'UNAUTHENTICATED')) {
      const {action = request.method, resource = pathOf(request)} = error.details
      sink.denied(principal, action, resource, error.message)
    }
    if (error.code === 'METHOD_NOT_ALLOWED') reply.header('allow', error.details.allow)
    return reply
      .code(error.row.status)
      .header('content-type', 'application/json; charset=utf-8')
      .serializer(JSON.stringify)
      .send(errorResponse(error, request.id, clock.now()))
  }

  app.decorateRequest('served', undefined)
  app.setErrorHandler((error, request, reply) => fail(error, request, reply))
  app.addHook('onRequest', async (request, reply) => {
    const served = begin(request, reply)
    const {headers, raw, ip} = request
    if (closing)
      throw new DbaasError('AGENT_STOPPING', 'the agent is shutting down', {suggestions: ['run the command again']})
    if (raw.httpVersion === '1.1' && headers.host === undefined)
      throw new DbaasError('INVALID_REQUEST', 'the header host is missing')
    const tenant = headers[tenantHeader]
    served.principal = await options.principalFor(request.id, {
      tenant: typeof tenant === 'string' ? tenant : undefined,
      authorization: headers.authorization,
      remoteAddress: ip,
    })
    // Before the body is read: nobody wants it.
    if (request.is404 || hasEmptyPart(request.params)) throw noRoute(request.method, pathOf(request))
    const encoding = headers['content-encoding']
    if (encoding !== undefined && encoding !== 'identity')
      throw unsupportedMediaType(`the body is encoded as ${encoding.slice(0, 40)}`)
  })

  app.removeAllContentTypeParsers()
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', {parseAs: 'buffer'}, (request, body: Buffer, done) => {
    // A wrong byte must not become a replacement character in somebody's parameter.
    const text = decodeUtf8(body)
    if (text === undefined) done(new DbaasError('MALFORMED_JSON', 'the body is not UTF-8'), undefined)
    else if (text.trim() === '' && request.routeOptions.config.bodyIsOptional) done(null, undefined)
    else void parseJson(request, text, done)
  })

  registerEndpoints(app, options)
  let document: string | undefined
  app.get(openapiPath, async (_, reply) => {
    document ??= await (await import('./openapi.js')).openapiDocument(options.version)
    return reply.type('application/json; charset=utf-8').send(document)
  })
  await app.ready()

  return {
    app,
    listenUnix: (path) => listenOnUnixSocket(app.server, path),
    async close() {
      closing = true
      for (const served of open) if (served.streaming) served.abort.abort()
      const impatient = setTimeout(() => {
        for (const served of open) served.abort.abort()
        app.server.closeAllConnections()
      }, options.closeGraceMs ?? defaultCloseGraceMs)
      await app.close()
      clearTimeout(impatient)
    },
  }
}

/** The router takes `/v1/instances/` for an instance without a name. */
const hasEmptyPart = (params: unknown): boolean => Object.values(params ?? {}).includes('')

const decoder = new TextDecoder('utf-8', {fatal: true})

function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

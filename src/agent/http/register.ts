/** The routes of the endpoint table: from a Fastify request to a plain call, and from its answer to a response. */
import type {FastifyInstance, FastifyReply, FastifyRequest} from 'fastify'
import Type from 'typebox'
import type {TSchema} from 'typebox'
import {endpointIds, endpointPaths, idempotencyHeader} from '../../core/api/paths.js'
import type {EndpointId} from '../../core/api/paths.js'
import {endpointSchemas} from '../../core/api/schemas.js'
import type {Services} from '../services/contract.js'
import type {Call, EventsAnswer, TextAnswer} from './handler.js'
import {idempotencyOf} from './idempotency.js'
import {handlers} from './routes/index.js'
import {responseHeaders} from './served.js'
import type {Served} from './served.js'
import {sendEvents, sendText} from './streaming.js'
import {checkOf} from './validation.js'
import type {Check} from './validation.js'

/** Throws when the body is not what the endpoint's schema says of that status. */
export type ResponseCheck = (id: EndpointId, status: number, schema: TSchema, body: unknown) => void

export interface RegisterOptions {
  readonly services: Services
  readonly log: (message: string, facts?: Record<string, unknown>) => void
  readonly checkResponse?: ResponseCheck
  readonly heartbeatMs?: number
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** No body is the same as `{}`. */
    bodyIsOptional?: boolean
  }
}

interface LooseSchemas {
  readonly params?: TSchema
  readonly query?: TSchema
  readonly body?: TSchema
  readonly responses: Readonly<Record<number, TSchema | string>>
}
interface JsonAnswer {
  readonly status: number
  readonly body: unknown
}
type LooseHandler = (call: Call<EndpointId>, services: Services) => Promise<JsonAnswer | TextAnswer | EventsAnswer>

const nothing = Type.Object({}, {additionalProperties: false})
interface Checks {
  readonly query: Check
  readonly body: Check | undefined
}

export function registerEndpoints(app: FastifyInstance, options: RegisterOptions): void {
  for (const id of endpointIds) {
    const {method, path} = endpointPaths[id]
    const schemas: LooseSchemas = endpointSchemas[id]
    const body = method === 'GET' ? undefined : (schemas.body ?? nothing)
    const bodyIsOptional = body !== undefined && ((body as {required?: readonly string[]}).required ?? []).length === 0
    const checks: Checks = {query: checkOf('query', schemas.query ?? nothing), body: body && checkOf('body', body)}
    app.route({
      method,
      url: path.replace(/\{(\w+)\}/g, ':$1'),
      config: {bodyIsOptional},
      exposeHeadRoute:
        method === 'GET' && !Object.values(schemas.responses).some((response) => typeof response === 'string'),
      handler: (request, reply) => serve(id, checks, request, reply, options),
    })
  }
}

/**
 * Checked here and not by Fastify's hook, which cannot tell an absent body from `null`, and compiles every schema
 * before the server may listen.
 */
async function serve(
  id: EndpointId,
  checks: Checks,
  request: FastifyRequest,
  reply: FastifyReply,
  options: RegisterOptions,
): Promise<FastifyReply> {
  const served = request.served as Served
  const {mutates} = endpointPaths[id]
  const handle = handlers[id] as unknown as LooseHandler
  if (request.body === undefined && request.routeOptions.config.bodyIsOptional) request.body = {}
  const failure = (await checks.query(request.query)) ?? (await checks.body?.(request.body))
  if (failure) throw failure
  const answer = await handle(
    {
      principal: served.principal,
      params: request.params,
      query: request.query,
      body: request.body,
      idempotency: mutates
        ? idempotencyOf(request.headers[idempotencyHeader], request.method, request.url, request.body)
        : undefined,
      signal: served.abort.signal,
    } as Call<EndpointId>,
    options.services,
  )

  if ('text' in answer && typeof answer.text === 'string')
    return reply.type('text/plain; charset=utf-8').send(answer.text)
  if ('text' in answer || 'events' in answer)
    return stream(answer as EventsAnswer | {text: AsyncIterable<string>}, request, reply, served, options)
  if (options.checkResponse) {
    const schema = (endpointSchemas[id] as LooseSchemas).responses[answer.status]
    if (schema === undefined || typeof schema === 'string')
      throw new TypeError(`${id} does not declare a JSON answer of status ${answer.status}`)
    options.checkResponse(id, answer.status, schema, answer.body)
  }
  // Plain JSON.stringify: a serialiser made of the schema drops what it does not know, and is slower on unions.
  // As bytes: Node would encode a string twice, to measure and to write it.
  return reply
    .code(answer.status)
    .header('content-type', 'application/json; charset=utf-8')
    .send(Buffer.from(JSON.stringify(answer.body)))
}

async function stream(
  answer: EventsAnswer | {readonly text: AsyncIterable<string>},
  request: FastifyRequest,
  reply: FastifyReply,
  served: Served,
  {log, heartbeatMs}: RegisterOptions,
): Promise<FastifyReply> {
  reply.hijack()
  served.streaming = true
  const {signal} = served.abort
  const headers = responseHeaders(request.id)
  try {
    if ('events' in answer)
      await sendEvents(reply.raw, answer.events, {
        signal,
        headers,
        ...(heartbeatMs === undefined ? {} : {heartbeat: heartbeatMs}),
      })
    else await sendText(reply.raw, answer.text, {signal, headers})
  } catch (error) {
    // The headers are gone: nobody can be told any more.
    log('a stream broke', {requestId: request.id, error: String(error), stack: (error as Error).stack})
  }
  return reply
}

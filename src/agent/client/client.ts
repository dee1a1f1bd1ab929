/** The typed client of the API. Loads next to nothing: shapes are types, and what is heavy is imported where needed. */
import type {
  ApiError,
  ApiOperation,
  BodyOf,
  EndpointSchemas,
  ParamsOf,
  QueryOf,
  ResponseOf,
} from '../../core/api/schemas.js'
import {endpointPaths, idempotencyHeader, tenantHeader} from '../../core/api/paths.js'
import type {EndpointId} from '../../core/api/paths.js'
import {DbaasError} from '../../core/errors.js'
import {unreachable} from './connection.js'
import type {ContextTarget} from './contexts.js'
import {followOperation} from './follow.js'
import {translate, transportTo} from './transport.js'
import type {Answer} from './transport.js'

/** An optional member may also be given as undefined: flags that were not typed are. */
type Loose<T> = T extends object
  ? {[K in keyof T]: T[K] | (undefined extends T[K] ? undefined : {} extends Pick<T, K> ? undefined : never)}
  : T
type Part<Key extends string, T> = [T] extends [undefined]
  ? {readonly [K in Key]?: undefined}
  : {} extends T
    ? {readonly [K in Key]?: Loose<T>}
    : {readonly [K in Key]: Loose<T>}

export type CallInput<Id extends EndpointId> = Part<'params', ParamsOf<Id>> &
  Part<'query', QueryOf<Id>> &
  Part<'body', BodyOf<Id>> & {
    readonly idempotencyKey?: string | undefined
    readonly signal?: AbortSignal | undefined
  }

/** Endpoints that answer with text instead of JSON. */
export type TextEndpointId = {
  [Id in EndpointId]: EndpointSchemas[Id]['responses'] extends {200: 'text/plain'} ? Id : never
}[EndpointId]
type StreamId = TextEndpointId | 'operations.events'
export type JsonEndpointId = Exclude<EndpointId, StreamId>
/** Endpoints that can be called with nothing but their id. */
type BareId = {[Id in JsonEndpointId]: {} extends CallInput<Id> ? Id : never}[JsonEndpointId]

/** What the agent answered; `requestId` finds it in the agent's log. */
export type AgentError = DbaasError & {readonly requestId?: string}

export interface Client {
  /** Throws the DbaasError of the answer, with its `requestId`; AGENT_UNREACHABLE; the signal's reason. */
  call<Id extends BareId>(id: Id): Promise<ResponseOf<Id>>
  call<Id extends JsonEndpointId>(id: Id, input: CallInput<Id>): Promise<ResponseOf<Id>>
  /** Text as it arrives, in chunks of any length. Leaving the loop closes the stream. Throws as `call`. */
  stream<Id extends TextEndpointId>(id: Id, input: CallInput<Id>): AsyncIterable<string>
  /**
   * Tells each change of the operation, the present state first, until it has ended; returns how it ended. Survives
   * an agent that is killed and comes back. Throws as `call`.
   */
  follow(operationId: string, onChange: (operation: ApiOperation) => void, signal?: AbortSignal): Promise<ApiOperation>
}

export interface ClientOptions {
  readonly target: ContextTarget
  readonly tenant?: string | undefined
  /** How long `follow` waits for an agent that does not answer. */
  readonly patienceMs?: number
}

interface AnyInput {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, unknown>>
  readonly body?: unknown
  readonly idempotencyKey?: string
  readonly signal?: AbortSignal
}

/** A statement may run for an hour, a log be silent for a night; everything else is answered at once. */
const quietLimitMs = 120_000
const unbounded: ReadonlySet<EndpointId> = new Set(['instances.sql', 'instances.logs', 'operations.events'])

export function createClient({target, tenant, patienceMs = 60_000}: ClientOptions): Client {
  const transport = transportTo(target)

  async function send(id: EndpointId, input: AnyInput): Promise<Answer> {
    const {method, path} = endpointPaths[id]
    const answer = await transport({
      method,
      path: fill(path, input),
      body: input.body === undefined ? undefined : JSON.stringify(input.body),
      headers: {
        accept: '*/*',
        ...(input.body === undefined ? {} : {'content-type': 'application/json'}),
        ...(tenant === undefined ? {} : {[tenantHeader]: tenant}),
        ...(input.idempotencyKey === undefined ? {} : {[idempotencyHeader]: input.idempotencyKey}),
      },
      signal: input.signal,
      quietMs: unbounded.has(id) ? 0 : quietLimitMs,
    })
    if (answer.status >= 400) throw revive(target, answer, await textOf(answer, input.signal))
    return answer
  }

  async function textOf(answer: Answer, signal: AbortSignal | undefined): Promise<string> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of answer.body) chunks.push(chunk as Buffer)
    } catch (error) {
      throw translate(target, error, signal)
    }
    return Buffer.concat(chunks).toString('utf8')
  }

  async function call(id: EndpointId, input: AnyInput = {}): Promise<unknown> {
    const answer = await send(id, input)
    const text = await textOf(answer, input.signal)
    try {
      return JSON.parse(text)
    } catch (cause) {
      throw notAnAgent(target, answer, cause)
    }
  }

  async function* stream(id: EndpointId, input: AnyInput): AsyncGenerator<string> {
    const answer = await send(id, input)
    const decoder = new TextDecoder()
    try {
      for await (const chunk of answer.body) yield decoder.decode(chunk as Buffer, {stream: true})
    } catch (error) {
      throw translate(target, error, input.signal)
    }
    const rest = decoder.decode()
    if (rest !== '') yield rest
  }

  return {
    call: call as Client['call'],
    stream: (id, input) => stream(id, input as AnyInput),
    follow: (operationId, onChange, signal) =>
      followOperation(
        {
          events: async () => {
            const answer = await send('operations.events', {
              params: {operation: operationId},
              ...(signal ? {signal} : {}),
            })
            if (answer.contentType.startsWith('text/event-stream')) return answer.body
            answer.body.destroy()
            throw notAnAgent(target, answer)
          },
          read: async () => {
            const found = await call('operations.get', {params: {operation: operationId}, ...(signal ? {signal} : {})})
            return (found as {operation: ApiOperation}).operation
          },
          translate: (error) => translate(target, error, signal),
        },
        operationId,
        onChange,
        {signal, patienceMs},
      ),
  }
}

/** `/v1/instances/{instance}` -> `/v1/instances/demo?all=true`. */
function fill(path: string, {params = {}, query = {}}: AnyInput): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(params[name] ?? ''))
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value))
  }
  return search.size === 0 ? filled : `${filled}?${search}`
}

function revive(target: ContextTarget, answer: Answer, text: string): AgentError {
  try {
    const {error, request_id} = JSON.parse(text) as ApiError
    if (typeof error.code !== 'string' || typeof error.message !== 'string') throw new TypeError('not an ErrorResponse')
    return Object.assign(DbaasError.fromDetail(error), {requestId: request_id})
  } catch (cause) {
    return notAnAgent(target, answer, cause)
  }
}

/** A gateway in between, or another program on the port. */
const notAnAgent = (target: ContextTarget, {status}: Answer, cause?: unknown): DbaasError =>
  unreachable(target, new Error(`what answers there (HTTP ${status}) is not an agent of dbaas`, {cause}))

/** What a route is to the code behind it: plain data in, plain data out, and nothing of HTTP or Fastify. */
import type {Static, TSchema} from 'typebox'
import type {Principal} from '../../core/access/principal.js'
import type {EndpointId} from '../../core/api/paths.js'
import type {ApiOperation, BodyOf, EndpointSchemas, ParamsOf, QueryOf} from '../../core/api/schemas.js'
import type {Idempotency, Services} from '../services/contract.js'

/** Validated. `signal` aborts when the client goes, or the agent ends and cannot wait longer. */
export interface Call<Id extends EndpointId> {
  readonly principal: Principal
  readonly params: ParamsOf<Id>
  readonly query: QueryOf<Id>
  readonly body: BodyOf<Id>
  /** Of a mutating endpoint, when the client sent a key. */
  readonly idempotency: Idempotency | undefined
  readonly signal: AbortSignal
}

/** Text at once, or whole lines as they come. */
export interface TextAnswer {
  readonly text: string | AsyncIterable<string>
}
export interface EventsAnswer {
  readonly events: AsyncIterable<ApiOperation>
}
type AnswerAs<Status, Schema> = Schema extends 'text/event-stream'
  ? EventsAnswer
  : Schema extends string
    ? TextAnswer
    : Schema extends TSchema
      ? {readonly status: Status; readonly body: Static<Schema>}
      : never

/** One of the answers that the endpoint's schema declares; no other compiles. */
export type AnswerOf<Id extends EndpointId> = {
  [Status in keyof EndpointSchemas[Id]['responses']]: AnswerAs<Status, EndpointSchemas[Id]['responses'][Status]>
}[keyof EndpointSchemas[Id]['responses']]

export type Handler<Id extends EndpointId> = (call: Call<Id>, services: Services) => Promise<AnswerOf<Id>>

/** The handlers of a resource: those of all its endpoints, `instances.list`, `instances.get`, … */
export type HandlersOf<Resource extends string> = {
  readonly [Id in Extract<EndpointId, `${Resource}.${string}`>]: Handler<Id>
}
export type Handlers = {readonly [Id in EndpointId]: Handler<Id>}

export const ok = <T>(body: T): {readonly status: 200; readonly body: T} => ({status: 200, body})
export const accepted = <T>(body: T): {readonly status: 202; readonly body: T} => ({status: 202, body})

/** A plan changed nothing and is a plain answer; an operation was started and goes on. */
export function planned<Result extends {readonly plan: unknown} | {readonly operation: unknown} | {readonly operations: unknown}>(
  result: Result,
):
  | {readonly status: 200; readonly body: Extract<Result, {readonly plan: unknown}>}
  | {readonly status: 202; readonly body: Exclude<Result, {readonly plan: unknown}>} {
  return 'plan' in result ? ok(result as never) : accepted(result as never)
}

/**
 * The OpenAPI 3.1 document, from the endpoint table and its schemas. Made when first asked for, by a Fastify instance
 * that lives only for it: the agent's start pays for none of this.
 */
import swagger from '@fastify/swagger'
import fastify from 'fastify'
import type {FastifySchema} from 'fastify'
import Type from 'typebox'
import type {TSchema} from 'typebox'
import {endpointIds, endpointPaths, idempotencyHeader, requestIdHeader} from '../../core/api/paths.js'
import type {EndpointId} from '../../core/api/paths.js'
import {endpointSchemas, ErrorResponseSchema, sharedSchemas} from '../../core/api/schemas.js'
import {noCompilers} from './compilers.js'

interface LooseSchemas {
  readonly params?: TSchema
  readonly query?: TSchema
  readonly body?: TSchema
  readonly responses: Readonly<Record<number, TSchema | string>>
}

const meanings: Readonly<Record<number, string>> = {200: 'Done', 202: 'Started: follow the operation'}
const idempotencyKey = Type.String({
  minLength: 1,
  maxLength: 255,
  description: 'A repeated request with the same key is one change and gets the first answer',
})

/** As JSON text. */
export async function openapiDocument(version: string): Promise<string> {
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    schemaController: {compilersFactory: noCompilers},
  })
  app.setValidatorCompiler(() => () => true)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'dbaas',
        version,
        description: 'Real PostgreSQL and MySQL databases, with durable operations. Times are ISO 8601 in UTC.',
      },
      servers: [{url: '/', description: 'The agent: a Unix socket, or HTTPS'}],
      tags: [...new Set(endpointIds.map(tagOf))].map((name) => ({name})),
    },
    // Else the schemas are called def-0, def-1, …
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json.$id === 'string' ? json.$id : `def-${index}`,
    },
  })
  for (const schema of sharedSchemas) app.addSchema(byReference(schema, schema))
  // The plugin sees the routes that come after it is loaded.
  await app.register(async (routes) => {
    for (const id of endpointIds) {
      const {method, path} = endpointPaths[id]
      routes.route({
        method,
        url: path.replace(/\{(\w+)\}/g, ':$1'),
        schema: documented(id),
        handler: async () => undefined,
      })
    }
  })
  await app.ready()
  const document = JSON.stringify(app.swagger())
  await app.close()
  return document
}

const tagOf = (id: EndpointId): string => id.split('.', 1)[0] as string

function documented(id: EndpointId): FastifySchema {
  const {summary, verb, mutates} = endpointPaths[id]
  const {params, query, body, responses}: LooseSchemas = endpointSchemas[id]
  const json = (schema: TSchema, description: string) => ({
    description,
    headers: {[requestIdHeader]: {type: 'string', description: "Finds the request in the agent's log and request log"}},
    content: {'application/json': {schema: byReference(schema)}},
  })
  return {
    operationId: id,
    tags: [tagOf(id)],
    summary,
    description: `dbaas ${verb}`,
    ...(params ? {params: byReference(params)} : {}),
    ...(query ? {querystring: byReference(query)} : {}),
    ...(body ? {body: byReference(body)} : {}),
    ...(mutates ? {headers: Type.Object({[idempotencyHeader]: Type.Optional(idempotencyKey)})} : {}),
    response: {
      ...Object.fromEntries(
        Object.entries(responses).map(([status, schema]) => [
          status,
          typeof schema === 'string'
            ? {description: meanings[Number(status)], content: {[schema]: {schema: {type: 'string'}}}}
            : json(schema, meanings[Number(status)] as string),
        ]),
      ),
      default: json(ErrorResponseSchema, 'Any failure'),
    },
  } as FastifySchema
}

/** A copy in which every schema that has a name, but the root, is a reference to it. */
function byReference(schema: unknown, root?: unknown): unknown {
  if (Array.isArray(schema)) return schema.map((item) => byReference(item, root))
  if (typeof schema !== 'object' || schema === null) return schema
  const {$id} = schema as {$id?: unknown}
  if (typeof $id === 'string' && schema !== root) return {$ref: `${$id}#`}
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, byReference(value, root)]))
}

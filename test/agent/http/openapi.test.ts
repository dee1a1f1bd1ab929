import assert from 'node:assert/strict'
import fc from 'fast-check'
import {Validator} from '@seriousme/openapi-schema-validator'
import {readdirSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {endpointIds, endpointPaths} from '../../../src/core/api/paths.js'
import type {EndpointId} from '../../../src/core/api/paths.js'
import {endpointSchemas, sharedSchemas} from '../../../src/core/api/schemas.js'
import {openapiDocument} from '../../../src/agent/http/openapi.js'
import {serve} from './serve.js'
import type {Serving} from './serve.js'
import {speak} from './speak.js'

interface OperationObject {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly parameters?: readonly {readonly name: string; readonly in: string; readonly required?: boolean}[]
  readonly requestBody?: unknown
  readonly responses: Record<string, {readonly content: Record<string, {readonly schema: unknown}>}>
}
interface Document {
  readonly openapi: string
  readonly paths: Record<string, Record<string, OperationObject>>
  readonly components: {readonly schemas: Record<string, object>}
}

/** Verbs that belong to no file of their own: a flag's help, and what another verb's file also does. */
const commandsFolder = fileURLToPath(new URL('../../../src/commands', import.meta.url))
const verbs = new Set(
  readdirSync(commandsFolder, {recursive: true, encoding: 'utf8'})
    .filter((file) => file.endsWith('.ts') && !file.split('/').some((part) => part.startsWith('_')))
    .map((file) => file.slice(0, -'.ts'.length).split('/').join(' ')),
)

describe('the OpenAPI document', () => {
  let s: Serving
  let document: Document
  before(async () => {
    s = await serve()
    document = JSON.parse((await speak(s.socketPath, 'GET', '/v1/openapi.json')).text) as Document
  })
  after(() => s.stop())

  it('is valid OpenAPI 3.1', async () => {
    const result = await new Validator().validate(structuredClone(document) as never)
    assert.ok(result.valid, JSON.stringify(result.errors))
    assert.match(document.openapi, /^3\.1\./)
  })

  it('knows the shared shapes by their names, and each once', () => {
    assert.deepEqual(
      Object.keys(document.components.schemas).sort(),
      sharedSchemas.map((schema) => (schema as unknown as {$id: string}).$id).sort(),
    )
    assert.doesNotMatch(JSON.stringify(document), /def-\d/)
    const list = document.paths['/v1/instances']!.get!.responses['200']!.content['application/json']!.schema as {
      properties: {instances: {items: unknown}}
    }
    assert.deepEqual(list.properties.instances.items, {$ref: '#/components/schemas/Instance'})
  })

  it('is the same each time', async () => {
    assert.equal(await openapiDocument('0.1.0'), JSON.stringify(document))
  })

  // Feature: enterprise-dbaas-platform, Property 29: RESTful API Completeness
  it('has every endpoint, with its route, CLI verb, parameters, and ErrorResponse for every failure', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...endpointIds),
        fc.string({minLength: 1, maxLength: 20}),
        async (id: EndpointId, word) => {
          const {method, path, verb, mutates} = endpointPaths[id]
          const operation = document.paths[path]?.[method.toLowerCase()]
          assert.ok(operation, `${id} is not documented`)
          assert.equal(operation.operationId, id)
          assert.deepEqual(operation.tags, [id.split('.')[0]])
          const schemas: {body?: unknown; query?: unknown; responses: Record<number, unknown>} = endpointSchemas[id]
          assert.deepEqual(
            Object.keys(operation.responses).sort(),
            [...Object.keys(schemas.responses), 'default'].sort(),
          )
          assert.deepEqual(operation.responses.default!.content['application/json']!.schema, {
            $ref: '#/components/schemas/ErrorResponse',
          })
          const parameters = operation.parameters ?? []
          assert.deepEqual(
            parameters.filter((p) => p.in === 'path').map((p) => p.name),
            [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]),
          )
          assert.equal(
            parameters.some((p) => p.in === 'header' && p.name === 'idempotency-key'),
            mutates,
          )
          assert.equal(operation.requestBody !== undefined, schemas.body !== undefined)

          const url = path.replace(/\{\w+\}/g, encodeURIComponent(word))
          const answer = await s.server.app.inject({method, url})
          const routed =
            answer.statusCode < 400 || !['ROUTE_NOT_FOUND', 'METHOD_NOT_ALLOWED'].includes(answer.json().error.code)
          assert.ok(routed, `${method} ${url}: ${answer.body}`)
          assert.ok(
            answer.statusCode >= 400 || Object.keys(schemas.responses).includes(String(answer.statusCode)),
            `${id}: ${answer.statusCode}`,
          )
          const command = verb.split(' --')[0] as string
          assert.ok(
            verbs.has(command),
            `${id} names the verb "${verb}", which is no file of ${join('src', 'commands')}`,
          )
        },
      ),
      {numRuns: 200, examples: endpointIds.map((id) => [id, 'demo-1'] as [EndpointId, string])},
    )
  })

  it('has no endpoint that is not in the table', () => {
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    )
    assert.deepEqual(
      documented.sort(),
      endpointIds.map((id) => `${endpointPaths[id].method} ${endpointPaths[id].path}`).sort(),
    )
  })
})

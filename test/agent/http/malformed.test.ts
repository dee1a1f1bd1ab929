import fc from 'fast-check'
import assert from 'node:assert/strict'
import {endpointIds, endpointPaths} from '../../../src/core/api/paths.js'
import {assertErrorResponse} from '../../support/response-check.js'
import {serve} from './serve.js'
import type {Serving} from './serve.js'
import {speakRaw} from './speak.js'

const often = <T>(usual: fc.Arbitrary<T>, unusual: fc.Arbitrary<T>) =>
  fc.oneof({weight: 3, arbitrary: usual}, {weight: 1, arbitrary: unusual})

const method = often(
  fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'),
  fc.oneof(fc.constantFrom('PROPFIND', 'TRACE', 'CONNECT', 'QUERY', 'get', 'LOCK'), fc.stringMatching(/^[A-Z]{1,8}$/)),
)
const part = fc.oneof(
  fc.constantFrom(
    'demo-1',
    'nope',
    '..',
    '.',
    '%2e%2e',
    '%2F',
    '%00',
    '%zz',
    '%ff',
    '%',
    '*',
    ':instance',
    '{instance}',
    'postgresql',
    '18',
    'constructor',
    '__proto__',
  ),
  fc.string({maxLength: 12}).map(encodeURIComponent),
  fc.integer({min: 1, max: 20_000}).map((n) => 'x'.repeat(n)),
)
const target = often(
  fc.tuple(fc.constantFrom(...endpointIds), fc.array(part, {minLength: 3, maxLength: 3})).map(([id, parts]) => {
    let next = 0
    return endpointPaths[id].path.replace(/\{\w+\}/g, () => parts[next++] as string)
  }),
  fc.oneof(
    fc.array(part, {maxLength: 5}).map((parts) => `/${parts.join('/')}`),
    part,
    fc.constantFrom('*', '//', '/v1', '/v2/instances', 'http://a/v1/sizes', ''),
  ),
)
const query = fc.oneof(
  {weight: 2, arbitrary: fc.constant('')},
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '?',
      '?plan',
      '?plan=maybe',
      '?limit=-1',
      '?limit=1e9',
      '?limit=5&limit=6',
      '?__proto__=1',
      '?%zz=%ff',
      '?follow=true&lines=x',
      '?a[b]=c',
      '??',
      '?=',
    ),
  },
)
const mediaType = fc.oneof(
  {weight: 3, arbitrary: fc.constant('application/json')},
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      'text/plain',
      'application/xml',
      'application/json; charset=latin1',
      'application/json-patch+json',
      '/',
      ';',
      'multipart/form-data; boundary=x',
      'APPLICATION/JSON',
      'application/json, text/plain',
    ),
  },
)
const header = fc
  .oneof(
    fc.tuple(
      fc.constantFrom(
        'x-request-id',
        'idempotency-key',
        'x-dbaas-tenant',
        'expect',
        'content-encoding',
        'accept',
        'upgrade',
        'accept-version',
        'host',
        'cookie',
        'authorization',
        'range',
      ),
      fc.oneof(fc.string({maxLength: 20}), fc.constantFrom('100-continue', 'gzip', 'websocket', '1.x', '*/*', 'é')),
    ),
    fc.tuple(fc.string({minLength: 1, maxLength: 5}), fc.string({maxLength: 5})),
  )
  .map(([name, value]) => `${name}: ${value}`)
const body = fc
  .oneof(
    fc.json(),
    fc.json().map((text) => text.slice(0, -1)),
    fc.string(),
    fc.constantFrom(
      '',
      '{}',
      'null',
      '[]',
      '"x"',
      '{"name":"a"}',
      '{"name":1}',
      '{"plan":"yes"}',
      '{"statement":""}',
      '{"__proto__":{}}',
      '\ufeff{}',
      '{"set":{"a":1}}',
    ),
    fc.integer({min: 1, max: 50_000}).map((depth) => '['.repeat(depth)),
    fc.integer({min: 1, max: 50_000}).map((depth) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`),
    fc.constant(`{"name":"${'x'.repeat(1024 * 1024)}"}`),
  )
  .map((text) => Buffer.from(text))
const framing = fc.oneof(
  {weight: 4, arbitrary: fc.constant('length' as const)},
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'chunked' as const,
      'short' as const,
      'long' as const,
      'both' as const,
      'none' as const,
      'nonsense' as const,
    ),
  },
)

const request = fc.record({
  method,
  target,
  query,
  mediaType,
  headers: fc.array(header, {maxLength: 3}),
  body: fc.oneof(
    body,
    fc.uint8Array({maxLength: 60}).map((bytes) => Buffer.from(bytes)),
  ),
  framing,
  version: often(fc.constant('HTTP/1.1'), fc.constantFrom('HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTP/1.1', '')),
})

function bytesOf({
  method,
  target,
  query,
  mediaType,
  headers,
  body,
  framing,
  version,
}: typeof request extends fc.Arbitrary<infer T> ? T : never): Buffer {
  const {length} = body
  const chunk = Buffer.concat([Buffer.from(`${length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
  const frame = {
    length: [`content-length: ${length}`],
    short: [`content-length: ${Math.max(0, length - 1)}`],
    long: [`content-length: ${length + 5}`],
    chunked: ['transfer-encoding: chunked'],
    both: [`content-length: ${length}`, 'transfer-encoding: chunked'],
    none: [],
    nonsense: ['content-length: -1'],
  }[framing]
  const head = [
    `${method} ${target}${query} ${version}`,
    'host: agent',
    'connection: close',
    ...(mediaType === '' ? [] : [`content-type: ${mediaType}`]),
    ...frame,
    ...headers,
  ]
  return Buffer.concat([
    Buffer.from(`${head.join('\r\n')}\r\n\r\n`),
    framing === 'chunked' || framing === 'both' ? chunk : body,
  ])
}

describe('whatever arrives', () => {
  let s: Serving
  before(async () => (s = await serve()))
  after(() => s.stop())

  // Feature: enterprise-dbaas-platform, Property 31: Standardized Error Response Format
  it("is answered with a success, or an ErrorResponse with a code of the table and the code's status", async () => {
    const seen = new Set<string>()
    await fc.assert(
      fc.asyncProperty(request, async (asked) => {
        const bytes = bytesOf(asked)
        const {status, headers, text} = await speakRaw(s.socketPath, bytes, {finish: true})
        const what = JSON.stringify(bytes.subarray(0, 400).toString('latin1'))
        assert.ok(status >= 200 && status < 600, `${what}: ${status}`)
        if (status >= 300 && (asked.method !== 'HEAD' || text !== '')) {
          const {error, request_id} = assertErrorResponse(status, headers['content-type'] as string, text, what)
          assert.equal(headers['x-request-id'], request_id)
          assert.notEqual(error.code, 'INTERNAL', `${what}: ${JSON.stringify(s.log.at(-1))}`)
          seen.add(error.code)
        }
      }),
      {numRuns: 2000},
    )
    // Else the generator has become blunt.
    for (const code of [
      'INVALID_REQUEST',
      'MALFORMED_JSON',
      'UNSUPPORTED_MEDIA_TYPE',
      'ROUTE_NOT_FOUND',
      'METHOD_NOT_ALLOWED',
      'INSTANCE_NOT_FOUND',
    ]) {
      assert.ok(seen.has(code), `${code} was never seen among ${[...seen].join(', ')}`)
    }
  })
})

import assert from 'node:assert/strict'
import {existsSync} from 'node:fs'
import {connect} from 'node:net'
import {text} from 'node:stream/consumers'
import {setTimeout as sleep} from 'node:timers/promises'
import {jsonBodyLimitBytes, requestIdHeader} from '../../../src/core/api/paths.js'
import type {ApiError, ApiInstance} from '../../../src/core/api/schemas.js'
import {DbaasError} from '../../../src/core/errors.js'
import {anInstance} from '../../support/fake-services.js'
import {assertErrorResponse} from '../../support/response-check.js'
import {serve} from './serve.js'
import type {Serving} from './serve.js'
import {json, speak, speakRaw} from './speak.js'

describe('the API server', () => {
  let s: Serving
  before(async () => (s = await serve()))
  after(() => s.stop())

  const fails = async (
    code: string,
    ...request: Parameters<typeof speak> extends [string, ...infer R] ? R : never
  ): Promise<ApiError['error']> => {
    const {status, headers, text} = await speak(s.socketPath, ...request)
    const body = assertErrorResponse(status, headers['content-type'] as string, text, `${request[0]} ${request[1]}`)
    assert.equal(body.error.code, code, text)
    assert.equal(headers[requestIdHeader], body.request_id)
    return body.error
  }

  it('answers with whole instances: nothing dropped, nulls and objects where the schema allows both', async () => {
    const {status, text} = await speak(s.socketPath, 'GET', '/v1/instances')
    assert.equal(status, 200)
    assert.deepEqual((JSON.parse(text) as {instances: ApiInstance[]}).instances, [
      anInstance(1),
      anInstance(2),
      anInstance(3),
    ])
  })

  it('finds an answer that its schema does not allow', async () => {
    s.services.known.instances.set('wrong', {...anInstance(7), surprise: 1} as ApiInstance)
    const error = await fails('INTERNAL', 'GET', '/v1/instances/wrong')
    assert.doesNotMatch(error.message, /surprise/)
    assert.match(String(s.log.at(-1)?.facts?.error), /additional properties/)
    s.services.known.instances.delete('wrong')
  })

  it('starts changes with 202, plans them with 200, and takes no body for an empty one', async () => {
    assert.equal((await speak(s.socketPath, ...json('POST', '/v1/instances', {name: 'a', plan: true}))).status, 200)
    assert.equal((await speak(s.socketPath, ...json('POST', '/v1/instances', {name: 'a'}))).status, 202)
    assert.equal((await speak(s.socketPath, 'POST', '/v1/instances/demo-1/stop')).status, 202)
    assert.equal(
      (
        await speak(s.socketPath, 'POST', '/v1/instances/demo-1/stop', {
          body: '',
          headers: {'content-type': 'application/json'},
        })
      ).status,
      202,
    )
    assert.equal((await speak(s.socketPath, 'DELETE', '/v1/instances/demo-1?plan=true')).status, 200)
    assert.equal((await speak(s.socketPath, 'DELETE', '/v1/instances/demo-1')).status, 202)
    assert.equal((await speak(s.socketPath, 'POST', '/v1/agent/stop')).status, 202)
  })

  it('answers HEAD as GET without the body, and not for streams', async () => {
    const get = await speak(s.socketPath, 'GET', '/v1/sizes')
    const head = await speak(s.socketPath, 'HEAD', '/v1/sizes')
    assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', get.headers['content-length']])
    assert.equal((await speak(s.socketPath, 'HEAD', '/v1/instances/demo-1/logs')).status, 405)
  })

  it('gives the same fingerprint to the same request however it is written, and another to any other', async () => {
    const print = async (body: string, path = '/v1/instances') => {
      const {status} = await speak(s.socketPath, 'POST', path, {
        body,
        headers: {'content-type': 'application/json', 'idempotency-key': 'k1'},
      })
      assert.equal(status, 202)
      const {key, fingerprint} = s.services.changes.at(-1)!.idempotency!
      assert.equal(key, 'k1')
      return fingerprint
    }
    const first = await print('{"name":"a","parameters":{"x":"1","y":"2"}}')
    assert.equal(await print('{ "parameters": {"y": "2", "x": "1"}, "name": "a" }'), first)
    const others = [
      await print('{"name":"b","parameters":{"x":"1","y":"2"}}'),
      await print('{"name":"a","parameters":{"x":"1"}}'),
      await print('{}', '/v1/instances/demo-1/start'),
      await print('{}', '/v1/instances/demo-2/start'),
      await print('{}', '/v1/instances/demo-1/stop'),
    ]
    assert.equal(new Set([first, ...others]).size, 6)
    await fails('INVALID_REQUEST', ...json('POST', '/v1/instances', {name: 'a'}, {'idempotency-key': 'x'.repeat(256)}))
  })

  it('honours a valid request id, replaces any other, and keeps caches and sniffers away', async () => {
    const {headers} = await speak(s.socketPath, 'GET', '/v1/sizes', {headers: {[requestIdHeader]: 'my-id.1:2_3'}})
    assert.equal(headers[requestIdHeader], 'my-id.1:2_3')
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    for (const bad of ['two words', 'x'.repeat(129), 'a"b']) {
      assert.match(
        String(
          (await speak(s.socketPath, 'GET', '/v1/sizes', {headers: {[requestIdHeader]: bad}})).headers[requestIdHeader],
        ),
        /^req_/,
      )
    }
  })

  it('records each request with its path, without the query, and how it ended', async () => {
    const from = s.sink.requests.length
    await speak(s.socketPath, 'GET', '/v1/operations?limit=5', {
      headers: {[requestIdHeader]: 'recorded', 'x-dbaas-tenant': 'acme'},
    })
    await fails('ROUTE_NOT_FOUND', 'GET', '/nope?secret=1')
    await fails('INVALID_REQUEST', 'GET', '/v1/instances/%zz?secret=1')
    assert.deepEqual(
      s.sink.requests.slice(from).map((r) => [r.method, r.path, r.statusCode, r.clientId, r.tenantId]),
      [
        ['GET', '/v1/operations', 200, 'local:0', 'acme'],
        ['GET', '/nope', 404, 'local:0', 'default'],
        ['GET', '/v1/instances/%zz', 400, 'unknown', ''],
      ],
    )
    assert.equal(s.sink.requests[from]?.requestId, 'recorded')
    assert.ok(s.sink.requests[from]!.durationMs >= 0 && s.sink.requests[from]!.durationMs < 5000)
  })

  describe('refuses', () => {
    it('paths it does not have, with the nearest one', async () => {
      const error = await fails('ROUTE_NOT_FOUND', 'GET', '/v1/instance')
      assert.match(error.suggestions!.join(), /\/v1\/instances/)
      await fails('ROUTE_NOT_FOUND', 'POST', '/v1/instances/a/b/c', {
        body: '{broken',
        headers: {'content-type': 'application/json'},
      })
      await fails('ROUTE_NOT_FOUND', 'GET', `/v1/${'x'.repeat(8000)}`)
      await fails('ROUTE_NOT_FOUND', 'GET', '/v1/instances/')
      await fails('ROUTE_NOT_FOUND', 'GET', '/')
      await fails('ROUTE_NOT_FOUND', 'PROPFIND', '/nothing')
    })

    it('methods a path does not have, with those it has in Allow', async () => {
      for (const [method, path, allow] of [
        ['DELETE', '/v1/instances', 'GET, HEAD, POST'],
        ['PATCH', '/v1/engines/postgresql/templates/x', 'DELETE, GET, HEAD, PUT'],
        ['OPTIONS', '/v1/health', 'GET, HEAD'],
        ['PROPFIND', '/v1/health', 'GET, HEAD'],
        ['POST', '/v1/openapi.json', 'GET, HEAD'],
      ] as const) {
        await fails('METHOD_NOT_ALLOWED', method, path)
        assert.equal((await speak(s.socketPath, method, path)).headers.allow, allow)
      }
      const connected = await speakRaw(s.socketPath, 'CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n')
      assertErrorResponse(connected.status, connected.headers['content-type'] as string, connected.text, 'CONNECT')
      assert.equal(connected.status, 405)
      assert.match(String(connected.headers.allow), /GET/)
    })

    it('bodies that are not JSON, not UTF-8, empty, too large, of another type or encoding', async () => {
      const send = (
        code: string,
        body: string | Buffer,
        headers: Record<string, string> = {'content-type': 'application/json'},
      ) => fails(code, 'POST', '/v1/instances', {body, headers})
      await send('MALFORMED_JSON', '{"name":')
      await send('MALFORMED_JSON', '')
      await send('MALFORMED_JSON', '  ')
      await send('MALFORMED_JSON', Buffer.from('{"name":"\xff"}', 'latin1'))
      await send('MALFORMED_JSON', '{"__proto__":{"name":"a"}}')
      await send('PAYLOAD_TOO_LARGE', `{"name":"${'x'.repeat(jsonBodyLimitBytes)}"}`)
      await send('UNSUPPORTED_MEDIA_TYPE', 'name: a', {'content-type': 'application/yaml'})
      await send('UNSUPPORTED_MEDIA_TYPE', '{"name":"a"}', {})
      await send('UNSUPPORTED_MEDIA_TYPE', '{"name":"a"}', {'content-type': ';;;'})
      await send('UNSUPPORTED_MEDIA_TYPE', '{"name":"a"}', {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      })
      await fails('INVALID_REQUEST', 'POST', '/v1/instances')
      assert.equal(
        (
          await speak(s.socketPath, 'POST', '/v1/instances', {
            body: '{"name":"a"}',
            headers: {'content-type': 'application/json; charset=utf-8'},
          })
        ).status,
        202,
      )
    })

    it('fields that are unknown, missing or of a wrong type, by their names and never their values', async () => {
      const create = (body: unknown) => fails('INVALID_REQUEST', ...json('POST', '/v1/instances', body))
      const typo = await create({name: 'a', engin: 'hunter2'})
      assert.match(typo.message, /"engin"/)
      assert.deepEqual(typo.suggestions, ['did you mean "engine"?'])
      assert.match((await create({})).message, /"name" of the body is missing/)
      assert.match((await create({name: 'a', cpu: '2'})).message, /"cpu" of the body must be number/)
      assert.match((await create({name: 'a', parameters: {work_mem: 64}})).message, /"parameters.work_mem"/)
      assert.match((await create({name: 'a', parameters: {'line\nbreak': 64}})).message, /must be string/)
      assert.match((await create([])).message, /must be object/)
      assert.match((await create(null)).message, /must be object/)
      const union = await fails(
        'INVALID_REQUEST',
        ...json('PATCH', '/v1/instances/demo-1/configuration', {template: 5}),
      )
      assert.match(union.message, /"template" of the body must be string or null/)
      for (const error of [typo, union]) assert.doesNotMatch(JSON.stringify(error), /hunter2|\b5\b/)
      await fails('INVALID_REQUEST', ...json('POST', '/v1/operations/op_1/cancel', {force: true}))
      const query = await fails('INVALID_REQUEST', 'GET', '/v1/operations?limt=5')
      assert.deepEqual(query.suggestions, ['did you mean "limit"?'])
      await fails('INVALID_REQUEST', 'GET', '/v1/operations?limit=0')
      await fails('INVALID_REQUEST', 'GET', '/v1/operations?limit=many')
      await fails('INVALID_REQUEST', 'GET', '/v1/operations?limit=1&limit=2')
      await fails('INVALID_REQUEST', 'GET', '/v1/sizes?x=1')
    })

    it('paths that are no percent-encoded UTF-8, and what is too long', async () => {
      await fails('INVALID_REQUEST', 'GET', '/v1/instances/%ff')
      await fails('INVALID_REQUEST', 'GET', `/v1/instances/${'x'.repeat(2000)}`)
      await fails('INVALID_REQUEST', 'GET', `/v1/instances/${'x'.repeat(20_000)}`)
      await fails('INVALID_REQUEST', 'GET', '/v1/sizes', {headers: {big: 'x'.repeat(20_000)}})
    })

    it('what is not HTTP, in the same form', async () => {
      for (const bytes of [
        'hello\r\n\r\n',
        'GET / HTTP/9.9\r\n\r\n',
        'GET /v1/sizes HTTP/1.1\r\nbad header\r\n\r\n',
        '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
        'POST /v1/instances HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n',
        'GET /v1/sizes HTTP/1.1\r\nconnection: close\r\n\r\n',
        'POST /v1/instances HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n' +
          'transfer-encoding: chunked\r\n\r\nzz\r\n',
      ]) {
        const {status, headers, text} = await speakRaw(s.socketPath, bytes)
        const {error} = assertErrorResponse(status, headers['content-type'] as string, text, JSON.stringify(bytes))
        assert.equal(error.code, 'INVALID_REQUEST')
      }
    })

    it('nothing for an expectation or an upgrade it does not know', async () => {
      assert.equal((await speak(s.socketPath, 'GET', '/v1/sizes', {headers: {expect: 'miracles'}})).status, 200)
      assert.equal(
        (await speak(s.socketPath, 'GET', '/v1/sizes', {headers: {connection: 'upgrade', upgrade: 'websocket'}}))
          .status,
        200,
      )
    })
  })

  it('tells the errors of services as they are, and nothing of bugs', async () => {
    await fails('INSTANCE_NOT_FOUND', 'GET', '/v1/instances/nope')
    await fails('TEMPLATE_BUILT_IN', 'DELETE', '/v1/engines/postgresql/templates/dev')
    s.services.failure = new Error('SELECT secret FROM /root/.dbaas/state.db')
    const error = await fails('INTERNAL', 'GET', '/v1/instances')
    assert.doesNotMatch(JSON.stringify(error), /SELECT|root/)
    const logged = s.log.at(-1)
    assert.match(String(logged?.facts?.stack), /SELECT secret/)
    assert.match(error.message, new RegExp(String(logged?.facts?.requestId)))
    s.services.failure = Object.assign(new Error('write'), {code: 'ENOSPC'})
    await fails('DISK_FULL', 'GET', '/v1/instances')
    s.services.failure = 'a thrown string'
    await fails('INTERNAL', 'GET', '/v1/instances')
    s.services.failure = undefined
  })

  it('hands denials to the audit', async () => {
    s.services.failure = new DbaasError('FORBIDDEN', 'local:0 may not list instances', {
      details: {action: 'list', resource: 'instance'},
    })
    await fails('FORBIDDEN', 'GET', '/v1/instances')
    s.services.failure = undefined
    assert.deepEqual(s.sink.denials.at(-1), {
      principal: 'local:0',
      action: 'list',
      resource: 'instance',
      because: 'local:0 may not list instances',
    })
  })

  it('ends a statement whose client has gone', async () => {
    const gone = speakRaw(
      s.socketPath,
      'POST /v1/instances/demo-1/sql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n' +
        'content-length: 21\r\n\r\n{"statement":"sleep"}',
      {quietMs: 100},
    )
    await assert.rejects(gone)
    for (let i = 0; i < 100 && s.services.changes.at(-1)?.call !== 'sql aborted'; i++) await sleep(10)
    assert.equal(s.services.changes.at(-1)?.call, 'sql aborted')
    assert.equal(s.sink.requests.at(-1)?.statusCode, 499)
  })

  it('while it closes says that it is stopping, ends what takes too long, and leaves no socket', async () => {
    const one = await serve({closeGraceMs: 200})
    // Half a request, so that the connection is not idle when the close begins.
    const late = connect(one.socketPath, () => late.write('GET /v1/sizes HTTP/1.1\r\nhost: a\r\n'))
    const answer = text(late)
    const long = speak(one.socketPath, ...json('POST', '/v1/instances/demo-1/sql', {statement: 'sleep'}))
    await sleep(50)
    const closed = one.server.close()
    await sleep(20)
    late.write('\r\n')
    const [head = '', body = ''] = (await answer).split('\r\n\r\n')
    assert.equal(
      assertErrorResponse(Number(head.split(' ')[1]), 'application/json', body, 'late').error.code,
      'AGENT_STOPPING',
    )
    await Promise.all([closed, long.catch(() => undefined)])
    assert.deepEqual(
      one.services.changes.map(({call}) => call),
      ['sql aborted'],
    )
    assert.equal(existsSync(one.socketPath), false)
    await one.stop()
  })
})

import assert from 'node:assert/strict'
import {createServer as createHttp} from 'node:http'
import type {RequestListener} from 'node:http'
import {connect, createServer} from 'node:net'
import type {AddressInfo, Socket} from 'node:net'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {createClient} from '../../../src/agent/client/client.js'
import type {AgentError, Client} from '../../../src/agent/client/client.js'
import type {ApiOperation} from '../../../src/core/api/schemas.js'
import {anInstance, anOperation, createFakeServices} from '../../support/fake-services.js'
import {temporaryFolder} from '../../support/temporary.js'
import {serve} from '../http/serve.js'
import type {Serving} from '../http/serve.js'

const ended = (operation: ApiOperation, status: ApiOperation['status'] = 'succeeded'): ApiOperation => ({
  ...operation,
  status,
  ended_at: '2026-11-23T17:23:00.000Z',
})

/** Bytes between a port and the socket: the way of a remote agent, without its TLS. */
async function tunnel(socketPath: string): Promise<{url: string; close(): void}> {
  const open = new Set<Socket>()
  const server = createServer((incoming) => {
    const outgoing = connect(socketPath)
    for (const [a, b] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      open.add(a)
      a.on('error', () => b.destroy())
        .on('close', () => b.destroy())
        .pipe(b)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      for (const socket of open) socket.destroy()
      server.close()
    },
  }
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !done(); i++) await sleep(10)
  assert.ok(done())
}

describe('the client', () => {
  let s: Serving
  let remote: Awaited<ReturnType<typeof tunnel>>
  const clients: Record<string, Client> = {}
  before(async () => {
    s = await serve({heartbeatMs: 20})
    remote = await tunnel(s.socketPath)
    clients.socket = createClient({target: {socketPath: s.socketPath}})
    clients.url = createClient({target: {url: `${remote.url}/`, token: 't0ken'}, tenant: 'acme'})
  })
  after(async () => {
    remote.close()
    await s.stop()
  })

  for (const way of ['socket', 'url']) {
    describe(`over a ${way}`, () => {
      let client: Client
      before(() => (client = clients[way] as Client))

      it('calls with parameters, query and body, and returns what was answered', async () => {
        assert.deepEqual(await client.call('instances.get', {params: {instance: 'demo-2'}}), {instance: anInstance(2)})
        assert.equal((await client.call('sizes.list')).default, 'small')
        const planned = await client.call('instances.delete', {params: {instance: 'demo-1'}, query: {plan: true}})
        assert.ok('plan' in planned)
        const before = s.services.changes.length
        const started = await client.call('instances.create', {
          body: {name: 'übung', cpu: undefined},
          idempotencyKey: 'key-1',
        })
        assert.ok('operation' in started && started.operation.id)
        assert.equal(s.services.changes.length, before + 1)
        assert.deepEqual(s.services.changes.at(-1)?.arguments, {name: 'übung'})
        assert.equal(s.services.changes.at(-1)?.idempotency?.key, 'key-1')
      })

      it('sends names as they are, whatever is in them', async () => {
        for (const name of ['a/b', '..', '.', 'ä?#&=%2F', ' ', "'"]) {
          await assert.rejects(client.call('instances.get', {params: {instance: name}}), {
            code: 'INSTANCE_NOT_FOUND',
            message: `there is no instance "${name}"`,
          })
        }
      })

      it('throws the error of the answer, with its suggestions and its request id', async () => {
        const error = await client.call('instances.get', {params: {instance: 'nope'}}).then(
          () => assert.fail(),
          (thrown: unknown) => thrown as AgentError,
        )
        assert.equal(error.code, 'INSTANCE_NOT_FOUND')
        assert.equal(error.row.exit, 3)
        assert.deepEqual(error.suggestions, ['dbaas list'])
        assert.equal(error.requestId, s.sink.requests.at(-1)?.requestId)
      })

      it('streams text, characters whole however the chunks are cut', async () => {
        let text = ''
        for await (const chunk of client.stream('instances.logs', {params: {instance: 'demo-1'}})) text += chunk
        assert.equal(text, 'one\nzwei äöü €\n')
        text = ''
        for await (const chunk of client.stream('agent.logs', {query: {lines: 7}})) text += chunk
        assert.equal(text, 'the last 7 lines\n')
        await assert.rejects(
          async () => {
            for await (const _ of client.stream('instances.logs', {params: {instance: 'nope'}})) assert.fail()
          },
          {code: 'INSTANCE_NOT_FOUND'},
        )
      })

      it('closes a stream that is left, which the server sees', async () => {
        let aborted = false
        const original = s.services.logLines
        s.services.logLines = async function* (signal) {
          signal.addEventListener('abort', () => (aborted = true))
          yield 'first'
          await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        }
        for await (const chunk of client.stream('instances.logs', {
          params: {instance: 'demo-1'},
          query: {follow: true},
        })) {
          assert.equal(chunk, 'first\n')
          break
        }
        await until(() => aborted)
        s.services.logLines = original
      })

      it('throws when a stream breaks: a cut log must not look whole', async () => {
        const original = s.services.logLines
        s.services.logLines = async function* () {
          yield 'first'
          await sleep(20)
          throw new Error('the file is gone')
        }
        let text = ''
        await assert.rejects(
          async () => {
            for await (const chunk of client.stream('instances.logs', {params: {instance: 'demo-1'}})) text += chunk
          },
          {code: 'AGENT_UNREACHABLE'},
        )
        assert.equal(text, 'first\n')
        s.services.logLines = original
      })

      it('follows an operation through every change to its end', async () => {
        const operation = anOperation(500)
        s.services.change(operation)
        const seen: string[] = []
        const following = client.follow(operation.id, (now) => seen.push(now.kind))
        await until(() => seen.length === 1)
        s.services.change({...operation, kind: 'second'})
        await until(() => seen.length === 2)
        // Some heartbeats pass.
        await sleep(60)
        s.services.change(ended({...operation, kind: 'third'}, 'failed'))
        assert.equal((await following).status, 'failed')
        assert.deepEqual(seen, ['instance.create', 'second', 'third'])
        await until(() => s.services.followers() === 0)
      })

      it('stops following when told, and when there is nothing to follow', async () => {
        const operation = anOperation(501)
        s.services.change(operation)
        const stop = new AbortController()
        const following = client.follow(operation.id, () => stop.abort('enough'), stop.signal)
        await assert.rejects(following, (thrown) => thrown === 'enough' || (thrown as Error).name === 'AbortError')
        await until(() => s.services.followers() === 0)
        await assert.rejects(
          client.follow('op_nope', () => undefined),
          {code: 'OPERATION_NOT_FOUND'},
        )
      })
    })
  }

  it('acts in the tenant it was made for', async () => {
    await clients.url!.call('engines.list')
    assert.equal(s.sink.requests.at(-1)?.tenantId, 'acme')
    await clients.socket!.call('engines.list')
    assert.equal(s.sink.requests.at(-1)?.tenantId, 'default')
  })

  it('says that the agent cannot be reached, where and why, with exit code 6', async () => {
    const folder = temporaryFolder('client')
    const free = await tunnel('/nowhere')
    free.close()
    for (const [target, because] of [
      [{socketPath: join(folder.path, 'agent.sock')}, /no agent runs/],
      [{url: free.url}, /nobody listens/],
      [{url: 'http://host.invalid'}, /name/],
    ] as const) {
      const error = await createClient({target})
        .call('agent.get')
        .then(
          () => assert.fail(),
          (thrown: unknown) => thrown as AgentError,
        )
      assert.equal(error.code, 'AGENT_UNREACHABLE', String(error))
      assert.equal(error.row.exit, 6)
      assert.match(error.message, because)
      assert.ok(error.suggestions.length > 0)
    }
    folder.dispose()
  })

  describe('of an agent that is not well', () => {
    const folder = temporaryFolder('unwell')
    const socketPath = join(folder.path, 'agent.sock')
    after(() => folder.dispose())
    const answering = async (listener: RequestListener, use: (client: Client) => Promise<void>): Promise<void> => {
      const server = createHttp(listener)
      await new Promise<void>((resolve) => server.listen(socketPath, resolve))
      try {
        await use(createClient({target: {socketPath}, patienceMs: 300}))
      } finally {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    }

    it('takes nothing for an answer that is not one', async () => {
      const pages: [number, string][] = [
        [502, '<html>Bad gateway</html>'],
        [200, '<html>hello</html>'],
        [500, '{"error":"no"}'],
        [404, ''],
      ]
      for (const [status, page] of pages) {
        await answering(
          (_, response) => response.writeHead(status).end(page),
          (client) =>
            assert.rejects(client.call('agent.get'), {code: 'AGENT_UNREACHABLE', message: /not an agent of dbaas/}),
        )
      }
      await answering(
        (request) => request.socket.destroy(),
        (client) => assert.rejects(client.call('agent.get'), {code: 'AGENT_UNREACHABLE'}),
      )
    })

    it('polls when something between keeps events back', async () => {
      let polls = 0
      await answering(
        (request, response) => {
          if (request.url?.endsWith('/events'))
            return void response.writeHead(200, {'content-type': 'text/event-stream'}).end(': nothing\n\n')
          const operation = anOperation(1)
          response
            .writeHead(200, {'content-type': 'application/json'})
            .end(JSON.stringify({operation: ++polls < 2 ? operation : ended(operation)}))
        },
        async (client) => {
          const seen: string[] = []
          await client.follow('op_1', ({status}) => seen.push(status))
          assert.deepEqual(seen, ['running', 'succeeded'])
        },
      )
    })

    it('gives up on one that stays away, and says how to come back', async () => {
      let requests = 0
      await answering(
        (request, response) => {
          if (requests++ === 0) {
            response.writeHead(200, {'content-type': 'text/event-stream'})
            response.write(`event: operation\ndata: ${JSON.stringify({operation: anOperation(1)})}\n\n`, () =>
              request.socket.destroy(),
            )
          } else request.socket.destroy()
        },
        async (client) => {
          const error = await client
            .follow('op_1', () => undefined)
            .then(
              () => assert.fail(),
              (thrown: unknown) => thrown as AgentError,
            )
          assert.equal(error.code, 'AGENT_UNREACHABLE')
          assert.equal(error.details.operation_id, 'op_1')
          assert.match(error.suggestions.join(), /dbaas operations wait op_1/)
          assert.ok(requests > 2)
        },
      )
    })
  })

  it('goes on following when the agent was killed and came back', async () => {
    const first = await serve()
    const operation = anOperation(1)
    first.services.change(operation)
    const seen: string[] = []
    const following = createClient({target: {socketPath: first.socketPath}}).follow(operation.id, ({kind, status}) =>
      seen.push(`${kind} ${status}`),
    )
    await until(() => seen.length === 1)
    first.server.app.server.closeAllConnections()
    await first.server.close()
    await sleep(100)
    const services = createFakeServices()
    services.change({...operation, kind: 'resumed'})
    const second = await serve({services}, 0, first.socketPath)
    await until(() => seen.length === 2)
    services.change(ended({...operation, kind: 'resumed'}))
    assert.equal((await following).status, 'succeeded')
    assert.deepEqual(seen, ['instance.create running', 'resumed running', 'resumed succeeded'])
    await second.stop()
    await first.stop()
  })
})

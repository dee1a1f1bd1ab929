import {randomBytes} from 'node:crypto'
import {join} from 'node:path'
import {createHttpServer} from '../../../src/agent/http/server.js'
import type {HttpServer, HttpServerOptions} from '../../../src/agent/http/server.js'
import {defaultTenant, platformAdministrator} from '../../../src/core/access/principal.js'
import {makeId} from '../../../src/core/ids.js'
import {createFakeServices, createFakeSink} from '../../support/fake-services.js'
import type {FakeServices, FakeSink} from '../../support/fake-services.js'
import {checkAgainstSchema} from '../../support/response-check.js'
import {temporaryFolder} from '../../support/temporary.js'

export interface Serving {
  readonly server: HttpServer
  readonly services: FakeServices
  readonly sink: FakeSink
  readonly log: {readonly message: string; readonly facts: Record<string, unknown> | undefined}[]
  readonly folder: string
  readonly socketPath: string
  stop(): Promise<void>
}

/** A real server on a real socket, with fake services behind it. */
export async function serve(options: Partial<HttpServerOptions> = {}, instances = 3, path?: string): Promise<Serving> {
  const folder = temporaryFolder('http')
  const [services, sink] = [createFakeServices(instances), createFakeSink()]
  const log: Serving['log'] = []
  const server = await createHttpServer({
    services,
    sink,
    clock: {now: Date.now},
    version: '0.1.0',
    newRequestId: () => makeId('request', Date.now(), randomBytes(16)),
    principalFor: (requestId, caller) => ({
      id: 'local:0',
      tenantId: caller.tenant ?? defaultTenant,
      roles: [platformAdministrator],
      source: 'socket',
      requestId,
    }),
    log: (message, facts) => log.push({message, facts}),
    checkResponse: checkAgainstSchema,
    ...options,
  })
  const socketPath = path ?? join(folder.path, 'run', 'agent.sock')
  await server.listenUnix(socketPath)
  return {
    server,
    services,
    sink,
    log,
    folder: folder.path,
    socketPath,
    async stop() {
      await server.close()
      folder.dispose()
    },
  }
}

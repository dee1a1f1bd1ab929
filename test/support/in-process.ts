/** The whole agent inside the test's own process: real store, runtime, servers, endpoint process, socket. */
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {startApp, type App} from '../../src/agent/app.js'
import {createClient} from '../../src/agent/client/client.js'
import type {ProbePoint} from '../../src/agent/workflow/engine.js'
import type {ApiOperation, CreateBody} from '../../src/core/api/schemas.js'
import {hasEnded, type OperationStatus} from '../../src/core/workflow/operation.js'
import type {Engine} from '../../src/engines/engine.js'
import {checkAgainstSchema} from './response-check.js'
import {projectRoot, temporarySite, type Site} from './site.js'

export interface InProcess {
  readonly site: Site
  readonly app: App
  readonly client: ReturnType<typeof createClient>
  /** Runs a mutation to its end. */
  finish(operation: ApiOperation): Promise<ApiOperation>
  create(body: CreateBody): Promise<ApiOperation>
  remove(name: string): Promise<ApiOperation>
  dispose(): Promise<void>
}

export interface InProcessOptions {
  readonly engines?: Readonly<Record<string, Engine>>
  readonly probe?: (point: ProbePoint) => Promise<void>
  readonly now?: () => number
  readonly poolSize?: number
  readonly env?: Readonly<Record<string, string>>
  readonly log?: (message: string, facts?: Record<string, unknown>) => void
}

let key = 0
export const freshKey = (): string => `test-${process.pid}-${++key}`

export async function startInProcess(name: string, options: InProcessOptions = {}): Promise<InProcess> {
  const site = temporarySite(name)
  const {version} = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {version: string}
  const app = await startApp({
    home: site.home, siteName: 'test', region: 'test', packageRoot: projectRoot, version, ...(process.env.DBAAS_FIRST_PORT ? {firstPort: Number(process.env.DBAAS_FIRST_PORT)} : {}), poolSize: options.poolSize ?? 2, env: {...process.env, ...options.env}, checkResponse: checkAgainstSchema,
    log: options.log ?? ((message, facts) => void (process.env.DBAAS_TEST_LOG && console.error(message, facts))),
    ...(options.engines ? {engines: options.engines} : {}), ...(options.probe ? {probe: options.probe} : {}),
    ...(options.now ? {clock: {now: options.now}} : {}),
  })
  if (!app) throw new Error('another agent has the home of the test')
  const client = createClient({target: {socketPath: app.socket}})
  const finish = async (operation: ApiOperation): Promise<ApiOperation> => {
    for (;;) {
      const {operation: latest} = await client.call('operations.get', {params: {operation: operation.id}})
      if (hasEnded(latest.status as OperationStatus)) return latest
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  return {
    site, app, client, finish,
    async create(body) {
      const answer = await client.call('instances.create', {body, idempotencyKey: freshKey()})
      if (!('operation' in answer)) throw new Error('a plan came back')
      return finish(answer.operation)
    },
    async remove(instance) {
      const answer = await client.call('instances.delete', {params: {instance}, query: {}, idempotencyKey: freshKey()})
      if (!('operation' in answer)) throw new Error('a plan came back')
      return finish(answer.operation)
    },
    async dispose() {
      await app.stop()
      await site.dispose()
    },
  }
}

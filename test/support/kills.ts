/** A real agent that is killed in the middle of an operation, and the next one that brings it to its end. */
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import {once} from 'node:events'
import type {EndpointId} from '../../src/core/api/paths.js'
import type {ApiOperation} from '../../src/core/api/schemas.js'
import {DbaasError} from '../../src/core/errors.js'
import {hasEnded, type OperationStatus} from '../../src/core/workflow/operation.js'
import type {Probe} from './agent-with-probe.js'
import {clientOf, startProbed, stopAgent, untilAnswers} from './probed-agent.js'
import type {Site} from './site.js'

/** Before its work, after it, and after the storing of its outcome. */
export const whens = ['before', 'after', 'stored'] as const

/** The same key asked again is the same operation: how a client finds out what became of a request that broke off. */
export async function call(site: Site, id: EndpointId, options: object, key: string = randomUUID()): Promise<ApiOperation> {
  const answer = await clientOf(site).call(id as 'instances.start', {...options, idempotencyKey: key} as never)
  return (answer as {operation: ApiOperation}).operation
}

export async function finish(site: Site, operation: ApiOperation, seconds = 60): Promise<ApiOperation> {
  let latest = operation
  for (const until = Date.now() + seconds * 1000; !hasEnded(latest.status as OperationStatus); ) {
    if (Date.now() > until) throw new Error(`${operation.kind} did not end: ${JSON.stringify(latest.steps.at(-1))}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    try {
      latest = (await clientOf(site).call('operations.get', {params: {operation: operation.id}})).operation
    } catch {
      // the agent is between two lives
      await untilAnswers(site)
    }
  }
  return latest
}

/** Puts an agent with that probe in the place of the one that runs, begins the operation, sees it killed, and brings the next one up. */
export async function killedAgent(site: Site, probe: Probe, begin: (key: string) => Promise<ApiOperation>, seconds?: number): Promise<ApiOperation> {
  await stopAgent(site)
  const agent = await startProbed(site, probe)
  const death = once(agent, 'exit')
  const key = randomUUID()
  const begun = begin(key).catch((error: unknown) => error as Error)
  // one that could not even be begun is not killed either
  const refused = begun.then((answer) => (answer instanceof DbaasError && answer.code !== 'AGENT_UNREACHABLE' && answer.code !== 'AGENT_STOPPING' ? Promise.reject(answer) : new Promise<never>(() => undefined)))
  const [, signal] = await Promise.race([death, refused])
  assert.equal(signal, 'SIGKILL', 'the agent was not killed where it should have been')
  // with the endpoint process alive the agent would come back by itself; the next command brings it sooner
  assert.equal((await site.run('agent', 'start')).code, 0)
  const answer = await begun
  const operation = answer instanceof Error ? await begin(key) : answer
  return finish(site, operation, seconds)
}

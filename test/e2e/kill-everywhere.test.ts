/**
 * The one generic test of durability: a real agent is killed with SIGKILL before, after, and after the storing of every
 * step of every workflow, forward and back. The next agent is brought up by the endpoint process or by the CLI; the
 * operation must end as if nothing had happened, and nothing may be left when the instance is deleted.
 */
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import {once} from 'node:events'
import type {ApiOperation} from '../../src/core/api/schemas.js'
import type {EndpointId} from '../../src/core/api/paths.js'
import {hasEnded, type OperationStatus} from '../../src/core/workflow/operation.js'
import {leftoversOf} from '../support/leftovers.js'
import {clientOf, startProbed, stopAgent, untilAnswers} from '../support/probed-agent.js'
import {temporarySite, type Site} from '../support/site.js'

const whens = ['before', 'after', 'stored'] as const

interface Case {
  readonly kind: string
  /** Where there is more than one way through the workflow. */
  readonly name?: string
  readonly steps: readonly string[]
  /** What must be there first, and the call that starts the operation. */
  prepare(site: Site): Promise<void>
  begin(site: Site, key: string): Promise<ApiOperation>
  /** What must be true when it succeeded. */
  succeeded(site: Site): Promise<void>
  /** What must be true when it was undone (a fault at the last step). */
  undone?(site: Site): Promise<void>
  readonly undoSteps?: readonly string[]
}

/** The same key asked again is the same operation: how a client finds out what became of a request that broke off. */
const call = async (site: Site, id: EndpointId, options: object, key = `${Math.random()}`): Promise<ApiOperation> => {
  const answer = await clientOf(site).call(id as 'instances.start', {...options, idempotencyKey: key} as never)
  return (answer as {operation: ApiOperation}).operation
}
const start = (id: EndpointId, body: object = {}) => (site: Site, key?: string) => call(site, id, {params: {instance: 'demo'}, body}, key)

async function serves(site: Site): Promise<void> {
  const {instance} = await clientOf(site).call('instances.get', {params: {instance: 'demo'}})
  assert.equal(instance.status, 'running', instance.status_reason ?? '')
  const result = await clientOf(site).call('instances.sql', {params: {instance: 'demo'}, body: {statement: 'select 1 + 1'}, idempotencyKey: `${Math.random()}`})
  assert.deepEqual(result.rows, [[2]])
}
async function isStopped(site: Site): Promise<void> {
  const {instance} = await clientOf(site).call('instances.get', {params: {instance: 'demo'}})
  assert.equal(instance.status, 'stopped')
}
async function isGone(site: Site): Promise<void> {
  const {instances} = await clientOf(site).call('instances.list', {})
  assert.deepEqual(instances, [])
  assert.deepEqual(leftoversOf(site.home), [])
}
const created = async (site: Site): Promise<void> => {
  const {instances} = await clientOf(site).call('instances.list', {})
  if (instances.length === 0) await finish(site, await call(site, 'instances.create', {body: {name: 'demo', size: 'micro'}}))
  else if (instances[0]?.status === 'stopped') await finish(site, await start('instances.start')(site))
}
const stopped = async (site: Site): Promise<void> => {
  await created(site)
  await finish(site, await start('instances.stop')(site))
}
const removed = async (site: Site): Promise<void> => {
  const {instances} = await clientOf(site).call('instances.list', {})
  for (const {name} of instances) await finish(site, await call(site, 'instances.delete', {params: {instance: name}, query: {}}))
}
const parameter = (value: string) => async (site: Site): Promise<void> => {
  const {parameters} = await clientOf(site).call('configuration.get', {params: {instance: 'demo'}, query: {all: true}})
  assert.equal(parameters.max_connections?.value, value)
  await serves(site)
}

async function finish(site: Site, operation: ApiOperation): Promise<ApiOperation> {
  let latest = operation
  for (const until = Date.now() + 60_000; !hasEnded(latest.status as OperationStatus); ) {
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

let maxConnections = 50
/** What the last change that succeeded has set. */
let inForce = 0
/** Another value for each change, and the same one when the change is asked for again. */
const asked = new Map<string, number>()
const wantedConnections = (key: string): number => {
  const known = asked.get(key) ?? ++maxConnections
  asked.set(key, known)
  return known
}
let memoryAsked = 512 * 1024 ** 2
let memoryInForce = memoryAsked
/** The other of two sizes for each change, and the same one when the change is asked for again. */
const memories = new Map<string, number>()
const wantedMemory = (key: string): number => {
  const known = memories.get(key) ?? (memoryInForce === 512 * 1024 ** 2 ? 1024 ** 3 : 512 * 1024 ** 2)
  memories.set(key, known)
  memoryAsked = known
  return known
}
let cpuAsked = 0.5
let cpuInForce = cpuAsked
const cpus = new Map<string, number>()
const wantedCpu = (key: string): number => {
  const known = cpus.get(key) ?? (cpuInForce === 0.5 ? 1 : 0.5)
  cpus.set(key, known)
  cpuAsked = known
  return known
}
async function hasCpu(site: Site): Promise<void> {
  const {instance} = await clientOf(site).call('instances.get', {params: {instance: 'demo'}})
  assert.equal(instance.size.cpu, cpuInForce)
  await serves(site)
}
async function hasMemory(site: Site): Promise<void> {
  const {instance} = await clientOf(site).call('instances.get', {params: {instance: 'demo'}})
  assert.equal(instance.size.memory_bytes, memoryInForce)
  await serves(site)
}
const cases: Case[] = [
  {
    kind: 'instance.create',
    steps: ['prepare-software', 'place-node', 'initialise', 'configure', 'start-server', 'await-ready', 'create-access', 'verify', 'publish-endpoint'],
    prepare: removed, begin: (site, key) => call(site, 'instances.create', {body: {name: 'demo', size: 'micro'}}, key), succeeded: serves,
    undone: isGone, undoSteps: ['publish-endpoint', 'await-ready', 'start-server', 'initialise', 'place-node'],
  },
  {
    kind: 'instance.stop', steps: ['close-endpoint', 'stop-server'], prepare: created, begin: start('instances.stop'), succeeded: isStopped,
  },
  {
    kind: 'instance.start', steps: ['configure', 'start-server', 'await-ready', 'publish-endpoint'], prepare: stopped,
    begin: start('instances.start'), succeeded: serves,
  },
  {
    kind: 'instance.restart', steps: ['checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', 'publish-endpoint'],
    prepare: created, begin: start('instances.restart'), succeeded: serves, undone: serves, undoSteps: ['publish-endpoint', 'stop-server', 'hold-connections'],
  },
  {
    kind: 'configuration.update', steps: ['preflight', 'write', 'checkpoint', 'restart-server', 'verify'], prepare: created,
    begin: (site, key) => start('configuration.update', {set: {max_connections: String(wantedConnections(key))}})(site, key),
    async succeeded(site) {
      inForce = maxConnections
      await parameter(String(inForce))(site)
    },
    undone: (site) => parameter(String(inForce))(site), undoSteps: ['verify', 'restart-server', 'write'],
  },
  {
    kind: 'instance.scale', prepare: created,
    steps: ['preflight', 'checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', 'verify'],
    begin: (site, key) => start('instances.scale', {memory_bytes: wantedMemory(key)})(site, key),
    async succeeded(site) {
      memoryInForce = memoryAsked
      await hasMemory(site)
    },
    undone: hasMemory, undoSteps: ['verify', 'stop-server', 'hold-connections'],
  },
  {
    kind: 'instance.scale', name: 'live', prepare: created,
    steps: ['preflight', 'grow-limits', 'reload', 'shrink-limits', 'verify'],
    begin: (site, key) => start('instances.scale', {cpu: wantedCpu(key)})(site, key),
    async succeeded(site) {
      cpuInForce = cpuAsked
      await hasCpu(site)
    },
    undone: hasCpu, undoSteps: ['verify', 'reload', 'grow-limits'],
  },
  {
    kind: 'instance.delete', steps: ['close-endpoint', 'stop-server', 'shred', 'erase'], prepare: created,
    begin: (site, key) => call(site, 'instances.delete', {params: {instance: 'demo'}, query: {}}, key), succeeded: isGone,
  },
]

describe('an agent killed at any step of any workflow', function () {
  this.timeout(180_000)
  const site = temporarySite('kill', {env: {DBAAS_POOL_SIZE: '1'}})
  before(() => site.run('agent', 'start'))
  after(() => site.dispose())

  async function killedAt(one: Case, kill: {step: string; direction: 'forward' | 'undo'; when: (typeof whens)[number]}, fault?: string): Promise<ApiOperation> {
    await one.prepare(site)
    await stopAgent(site)
    const agent = await startProbed(site, {kill: {kind: one.kind, ...kill}, ...(fault ? {fault: {kind: one.kind, step: fault}} : {})})
    const death = once(agent, 'exit')
    const key = randomUUID()
    const begun = one.begin(site, key).catch(() => undefined)
    const [, signal] = await death
    assert.equal(signal, 'SIGKILL', 'the agent was not killed where it should have been')
    // with the endpoint process alive the agent would come back by itself; the next command brings it sooner
    assert.equal((await site.run('agent', 'start')).code, 0)
    const operation = (await begun) ?? (await one.begin(site, key))
    return finish(site, operation)
  }

  for (const one of cases) {
    const what = one.name === undefined ? one.kind : `${one.kind} (${one.name})`
    for (const step of one.steps) {
      for (const when of whens) {
        it(`${what} ends the same: killed ${when} ${step}`, async () => {
          const end = await killedAt(one, {step, direction: 'forward', when})
          assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
          await one.succeeded(site)
        })
      }
    }
    for (const step of one.undoSteps ?? []) {
      for (const when of whens) {
        it(`${what} is undone the same: killed ${when} undoing ${step}`, async () => {
          const end = await killedAt(one, {step, direction: 'undo', when}, one.steps.at(-1))
          assert.equal(end.status, 'failed')
          assert.match(end.error?.message ?? '', /fault was injected/)
          await one.undone?.(site)
        })
      }
    }
  }

  it('leaves nothing when all is deleted', async () => {
    await removed(site)
    assert.deepEqual(leftoversOf(site.home), [])
  })
})

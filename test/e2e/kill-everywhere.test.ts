/**
 * The one generic test of durability: a real agent is killed with SIGKILL before, after, or after the storing of every
 * step of every workflow, forward and back. The next agent is brought up by the endpoint process or by the CLI; the
 * operation must end as if nothing had happened, and nothing may be left when the instance is deleted.
 */
import assert from 'node:assert/strict'
import type {ApiOperation} from '../../src/core/api/schemas.js'
import type {EndpointId} from '../../src/core/api/paths.js'
import {call, finish, killedAgent, whens} from '../support/kills.js'
import {leftoversOf} from '../support/leftovers.js'
import {clientOf} from '../support/probed-agent.js'
import {full} from '../support/runs.js'
import {temporarySite, type Site} from '../support/site.js'

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

/** The bundled version, and the one before it, which is installed where it is first needed. */
const minors = ['18.3', '18.4'] as const
const isVersion = (version: string) => async (site: Site): Promise<void> => {
  const {instance} = await clientOf(site).call('instances.get', {params: {instance: 'demo'}})
  assert.equal(instance.version, version)
  const {rows} = await clientOf(site).call('instances.sql', {params: {instance: 'demo'}, body: {statement: 'show server_version'}, idempotencyKey: `${Math.random()}`})
  assert.equal(rows[0]?.[0], version)
  await serves(site)
}
async function older(site: Site): Promise<void> {
  const {instances: [demo]} = await clientOf(site).call('instances.list', {})
  if (demo?.version === minors[0] && demo.status === 'running') return
  await removed(site)
  assert.equal((await finish(site, await call(site, 'engines.install', {params: {engine: 'postgresql'}, body: {version: minors[0]}}))).status, 'succeeded')
  assert.equal((await finish(site, await call(site, 'instances.create', {body: {name: 'demo', size: 'micro', version: minors[0]}}))).status, 'succeeded')
}

const backupsOf = async (site: Site) => (await clientOf(site).call('backups.list', {query: {instance: 'demo'}})).backups
let backupsBefore = 0
/** With its first backup, so that the next one is ours. */
async function protectedOnce(site: Site): Promise<void> {
  await created(site)
  for (const until = Date.now() + 60_000; (await backupsOf(site)).every((b) => b.status !== 'completed') || (await backupsOf(site)).some((b) => b.status === 'running'); ) {
    if (Date.now() > until) throw new Error('there is no first backup')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A setting that every change gives another value, and the same one when the change is asked for again (by its key). */
function changing(first: number, another: (inForce: number) => number) {
  const asked = new Map<string, number>()
  let inForce = first
  let last = first
  return {
    wanted(key: string): number {
      last = asked.get(key) ?? another(inForce)
      asked.set(key, last)
      return last
    },
    /** What the last change that succeeded has set. */
    inForce: () => inForce,
    succeeded(): void {
      inForce = last
    },
  }
}
let maxConnections = 50
const connections = changing(0, () => ++maxConnections)
const otherOf = (one: number, two: number) => changing(one, (inForce) => (inForce === one ? two : one))
const memory = otherOf(512 * 1024 ** 2, 1024 ** 3)
const cpu = otherOf(0.5, 1)
const hasSize = (what: 'cpu' | 'memory_bytes', wanted: () => number) => async (site: Site): Promise<void> => {
  const {instance} = await clientOf(site).call('instances.get', {params: {instance: 'demo'}})
  assert.equal(instance.size[what], wanted())
  await serves(site)
}
const hasMemory = hasSize('memory_bytes', memory.inForce)
const hasCpu = hasSize('cpu', cpu.inForce)
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
    begin: (site, key) => start('configuration.update', {set: {max_connections: String(connections.wanted(key))}})(site, key),
    async succeeded(site) {
      connections.succeeded()
      await parameter(String(connections.inForce()))(site)
    },
    undone: (site) => parameter(String(connections.inForce()))(site), undoSteps: ['verify', 'restart-server', 'write'],
  },
  {
    kind: 'instance.scale', prepare: created,
    steps: ['preflight', 'checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', 'verify'],
    begin: (site, key) => start('instances.scale', {memory_bytes: memory.wanted(key)})(site, key),
    async succeeded(site) {
      memory.succeeded()
      await hasMemory(site)
    },
    undone: hasMemory, undoSteps: ['verify', 'stop-server', 'hold-connections'],
  },
  {
    kind: 'instance.scale', name: 'live', prepare: created,
    steps: ['preflight', 'grow-limits', 'reload', 'shrink-limits', 'verify'],
    begin: (site, key) => start('instances.scale', {cpu: cpu.wanted(key)})(site, key),
    async succeeded(site) {
      cpu.succeeded()
      await hasCpu(site)
    },
    undone: hasCpu, undoSteps: ['verify', 'reload', 'grow-limits'],
  },
  {
    kind: 'instance.upgrade', steps: ['prepare-software', 'checkpoint', 'hold-connections', 'stop-server', 'start-server', 'await-ready', 'verify'],
    prepare: older, begin: start('instances.upgrade', {version: minors[1]}), succeeded: isVersion(minors[1]),
    undone: isVersion(minors[0]), undoSteps: ['verify', 'stop-server', 'hold-connections'],
  },
  {
    kind: 'backup.create', steps: ['prepare-role', 'hold-log', 'copy', 'await-log', 'verify'],
    async prepare(site) {
      await protectedOnce(site)
      backupsBefore = (await backupsOf(site)).length
    },
    begin: (site, key) => call(site, 'backups.create', {params: {instance: 'demo'}, body: {}}, key),
    async succeeded(site) {
      const backups = await backupsOf(site)
      assert.equal(backups.length, backupsBefore + 1)
      assert.ok(backups.every((b) => b.status === 'completed' && b.verified_at !== null))
      await serves(site)
    },
    async undone(site) {
      assert.equal((await backupsOf(site)).length, backupsBefore)
      await serves(site)
    },
    undoSteps: ['verify', 'copy'],
  },
  {
    kind: 'backup.verify', steps: ['read-back', 'read-log'], prepare: protectedOnce,
    begin: async (site, key) => call(site, 'backups.verify', {params: {backup: (await backupsOf(site))[0]?.id as string}, body: {}}, key),
    async succeeded(site) {
      assert.ok((await backupsOf(site)).every((b) => b.status === 'completed'))
    },
  },
  {
    kind: 'backup.delete', steps: ['forget', 'erase'],
    async prepare(site) {
      await protectedOnce(site)
      await finish(site, await call(site, 'backups.create', {params: {instance: 'demo'}, body: {label: 'to-go'}}))
    },
    begin: (site, key) => call(site, 'backups.delete', {params: {backup: 'to-go'}, query: {}}, key),
    async succeeded(site) {
      assert.ok((await backupsOf(site)).every((b) => b.label !== 'to-go' && b.status === 'completed'))
    },
  },
  {
    kind: 'keys.rotate', steps: ['make-key', 'rewrap', 'switch'], prepare: protectedOnce, begin: (site, key) => call(site, 'keys.rotate', {body: {}}, key),
    async succeeded(site) {
      const verified = await finish(site, await call(site, 'backups.verify', {params: {backup: (await backupsOf(site))[0]?.id as string}, body: {}}))
      assert.equal(verified.status, 'succeeded', JSON.stringify(verified.error))
    },
  },
  {
    kind: 'keys.rotate', name: 'to a key that was exported', steps: ['make-key', 'rewrap', 'switch', 'read-backups'], prepare: protectedOnce,
    begin: async (site, key) => call(site, 'keys.import', {body: {key: (await clientOf(site).call('keys.export', {idempotencyKey: `${key}-export`})).keys[0]?.key as string}}, key),
    async succeeded(site) {
      const verified = await finish(site, await call(site, 'backups.verify', {params: {backup: (await backupsOf(site))[0]?.id as string}, body: {}}))
      assert.equal(verified.status, 'succeeded', JSON.stringify(verified.error))
    },
  },
  {
    kind: 'instance.delete', steps: ['close-endpoint', 'end-backups', 'stop-server', 'shred', 'erase'], prepare: created,
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
    return killedAgent(site, {kill: {kind: one.kind, ...kill}, ...(fault ? {fault: {kind: one.kind, step: fault}} : {})}, (key) => one.begin(site, key))
  }

  // `npm test`: every step at one of the three moments, in turn; `test:full`: at each of them
  let turn = 0
  const momentsOfNext = (): readonly (typeof whens)[number][] => (full ? whens : [whens[turn++ % whens.length] as (typeof whens)[number]])

  for (const one of cases) {
    const what = one.name === undefined ? one.kind : `${one.kind} (${one.name})`
    for (const step of one.steps) {
      for (const when of momentsOfNext()) {
        it(`${what} ends the same: killed ${when} ${step}`, async () => {
          const end = await killedAt(one, {step, direction: 'forward', when})
          assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
          await one.succeeded(site)
        })
      }
    }
    for (const step of one.undoSteps ?? []) {
      for (const when of momentsOfNext()) {
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

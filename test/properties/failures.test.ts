/** What a create leaves behind when it fails, on real servers: nothing but the operation with its error. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {existsSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {DbaasError} from '../../src/core/errors.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import type {CreateBody} from '../../src/core/api/schemas.js'
import {cells, prepareAgent} from '../support/matrix.js'
import {leftoversOf, siteOf} from '../support/leftovers.js'
import {realRuns, sampled} from '../support/runs.js'
import {dataRootOf, processesOf} from '../support/site.js'

const steps = ['prepare-software', 'place-node', 'initialise', 'configure', 'start-server', 'await-ready', 'create-access', 'verify', 'publish-endpoint']

for (const cell of cells) describe(`a create that fails: ${cell.title}`, function () {
  cell.need()
  this.timeout(1_800_000)
  const slow = cell.runs[1] < 100
  let agent: InProcess
  let fault: {step: string; when: 'before' | 'after'; act: () => void} | undefined
  let offset = 0
  before(async () => {
    agent = await startInProcess('failures', {
      env: cell.env,
      now: () => Date.now() + offset,
      async probe(point) {
        if (fault && point.kind === 'instance.create' && point.direction === 'forward' && point.step === fault.step && point.when === fault.when) {
          const {act} = fault
          fault = undefined
          act()
        }
      },
    })
    await prepareAgent(agent, cell)
  })
  after(() => agent?.dispose())

  const asked = (name: string): CreateBody => ({name, size: 'micro', engine: cell.engine, runtime: cell.runtime, ...cell.body})

  let n = 0
  async function fails(step: string, when: 'before' | 'after', act: () => void, code: string): Promise<void> {
    fault = {step, when, act}
    const name = `f${++n}`
    const operation = await agent.create(asked(name))
    offset = 0
    assert.equal(fault, undefined, `the fault at ${step} was never reached`)
    assert.equal(operation.status, 'failed')
    assert.equal(operation.error?.code, code)
    assert.ok(operation.error?.message)
    assert.equal(operation.steps.find((s) => s.name === step)?.status, 'undone')
    await assert.rejects(agent.client.call('instances.get', {params: {instance: name}}), (e: unknown) => e instanceof DbaasError && e.code === 'INSTANCE_NOT_FOUND')
    assert.deepEqual(leftoversOf(agent.site.home), [])
    const again = await agent.client.call('operations.get', {params: {operation: operation.id}})
    assert.equal(again.operation.error?.message, operation.error?.message)
  }

  // Feature: enterprise-dbaas-platform, Property 6: Provisioning Failure Cleanup
  // Iterations: real creates for every cell: each step, before and after its work (slow cells: after, in CI four steps of each cell)
  it('leaves nothing, at every step, before and after its work', async () => {
    for (const step of slow ? sampled(steps, 4, cells.indexOf(cell)) : steps) {
      for (const when of slow ? (['after'] as const) : (['before', 'after'] as const)) {
        await fails(step, when, () => { throw new DbaasError('COMMAND_FAILED', `broken at ${step}`) }, 'COMMAND_FAILED')
      }
    }
  })

  // Feature: enterprise-dbaas-platform, Property 6: Provisioning Failure Cleanup
  it('leaves nothing, whatever was thrown wherever', async () => {
    await fc.assert(fc.asyncProperty(
      fc.constantFrom(...steps), fc.constantFrom('before' as const, 'after' as const),
      fc.constantFrom<[() => unknown, string]>(
        [() => new DbaasError('DISK_FULL', 'no space'), 'DISK_FULL'], [() => new Error('a bug'), 'INTERNAL'],
        [() => Object.assign(new Error('full'), {code: 'ENOSPC'}), 'DISK_FULL'], [() => 'not even an error', 'INTERNAL'],
      ),
      (step, when, [make, code]) => fails(step, when, () => { throw make() }, code),
    ), {numRuns: slow ? realRuns(4, 10) : realRuns(12, 100), endOnFailure: true})
  })

  // Feature: enterprise-dbaas-platform, Property 5: Provisioning Time Bounds
  it('is undone when five minutes have passed, at whatever step that is', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(...steps.slice(0, -1)), (step) => fails(step, 'after', () => {
      offset = 301_000
      throw new DbaasError('DATABASE_UNAVAILABLE', 'it takes so long')
    }, 'DEADLINE_EXCEEDED')), {numRuns: slow ? realRuns(1, 10) : realRuns(10, 100), endOnFailure: true})
  })

  it('leaves nothing, or a running database, when its server is killed while it is made', async () => {
    for (const step of ['await-ready', 'create-access', 'verify']) {
      const name = `k${++n}`
      fault = {step, when: 'before', act: () => killServers(agent.site.home)}
      const operation = await agent.create(asked(name))
      assert.equal(fault, undefined, `the kill at ${step} was never reached`)
      if (operation.status === 'succeeded') {
        const {instance} = await agent.client.call('instances.get', {params: {instance: name}})
        assert.ok(['running', 'degraded'].includes(instance.status), instance.status)
        assert.equal((await agent.remove(name)).status, 'succeeded')
      } else assert.equal(operation.status, 'failed')
      assert.deepEqual(leftoversOf(agent.site.home), [])
    }
  })

  it('is cancelled by a person at any step, and leaves nothing', async () => {
    for (const step of slow ? ['prepare-software', 'initialise', 'await-ready'] : steps.slice(0, -1)) {
      const name = `c${++n}`
      let reached!: () => void
      const there = new Promise<void>((resolve) => (reached = resolve))
      fault = {step, when: 'before', act: () => reached()}
      const answer = await agent.client.call('instances.create', {body: asked(name), idempotencyKey: freshKey()})
      assert.ok('operation' in answer)
      await there
      const {operation} = await agent.client.call('operations.cancel', {params: {operation: answer.operation.id}, idempotencyKey: freshKey()})
      const end = await agent.finish(operation)
      assert.equal(end.status, 'cancelled', step)
      assert.equal(end.error?.code, 'OPERATION_CANCELLED')
      assert.deepEqual(leftoversOf(agent.site.home), [])
    }
  })
})

/** SIGKILL to every server of the home, by hand. */
function killServers(home: string): void {
  for (const {pid} of processesOf([join(dataRootOf(home), 'instances')])) process.kill(pid, 'SIGKILL')
  if (existsSync('/var/run/docker.sock')) {
    const ids = execFileSync('docker', ['ps', '-q', '--filter', `label=io.dbaas.site=${siteOf(home)}`], {encoding: 'utf8'}).split('\n').filter(Boolean)
    if (ids.length > 0) execFileSync('docker', ['kill', ...ids], {stdio: 'ignore'})
  }
}

/** What a create leaves behind when it fails, on real servers: nothing but the operation with its error. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import {DbaasError} from '../../src/core/errors.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {leftoversOf} from '../support/leftovers.js'
import {realRuns} from '../support/runs.js'

const steps = ['prepare-software', 'place-node', 'initialise', 'configure', 'start-server', 'await-ready', 'create-access', 'verify', 'publish-endpoint']

describe('a create that fails', function () {
  this.timeout(900_000)
  let agent: InProcess
  let fault: {step: string; when: 'before' | 'after'; act: () => void} | undefined
  let offset = 0
  before(async () => {
    agent = await startInProcess('failures', {
      now: () => Date.now() + offset,
      async probe(point) {
        if (fault && point.kind === 'instance.create' && point.direction === 'forward' && point.step === fault.step && point.when === fault.when) {
          const {act} = fault
          fault = undefined
          act()
        }
      },
    })
  })
  after(() => agent?.dispose())

  let n = 0
  async function fails(step: string, when: 'before' | 'after', act: () => void, code: string): Promise<void> {
    fault = {step, when, act}
    const name = `f${++n}`
    const operation = await agent.create({name, size: 'micro'})
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
  // Iterations: 18 real creates: each step, before and after its work
  it('leaves nothing, at every step, before and after its work', async () => {
    for (const step of steps) {
      for (const when of ['before', 'after'] as const) {
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
    ), {numRuns: realRuns(22, 100), endOnFailure: true})
  })

  // Feature: enterprise-dbaas-platform, Property 5: Provisioning Time Bounds
  it('is undone when five minutes have passed, at whatever step that is', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(...steps.slice(0, -1)), (step) => fails(step, 'after', () => {
      offset = 301_000
      throw new DbaasError('DATABASE_UNAVAILABLE', 'it takes so long')
    }, 'DEADLINE_EXCEEDED')), {numRuns: realRuns(10, 100), endOnFailure: true})
  })

  it('is cancelled by a person at any step, and leaves nothing', async () => {
    for (const step of steps.slice(0, -1)) {
      const name = `c${++n}`
      let reached!: () => void
      const there = new Promise<void>((resolve) => (reached = resolve))
      fault = {step, when: 'before', act: () => reached()}
      const answer = await agent.client.call('instances.create', {body: {name, size: 'micro'}, idempotencyKey: freshKey()})
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

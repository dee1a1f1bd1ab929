import assert from 'node:assert/strict'
import fc from 'fast-check'
import {DbaasError} from '../../src/core/errors.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'

/** What a person can ask of the agent without a server: each of them must be found in the audit log. */
const actions = {
  save: {entry: 'templates.save', api: 'api.put', call: (a: InProcess, n: string) => a.client.call('templates.save', {params: {engine: 'postgresql', template: n}, body: {parameters: {}}, idempotencyKey: freshKey()})},
  remove: {entry: 'templates.delete', api: 'api.delete', call: (a: InProcess, n: string) => a.client.call('templates.delete', {params: {engine: 'postgresql', template: n}, idempotencyKey: freshKey()})},
  read: {entry: undefined, api: 'api.get', call: (a: InProcess, n: string) => a.client.call('templates.get', {params: {engine: 'postgresql', template: n}})},
  missing: {entry: undefined, api: 'api.post', call: (a: InProcess, n: string) => a.client.call('instances.start', {params: {instance: n}, body: {}, idempotencyKey: freshKey()})},
  list: {entry: undefined, api: 'api.get', call: (a: InProcess) => a.client.call('instances.list', {})},
} as const

describe('everything that is asked of the agent', function () {
  this.timeout(300_000)
  let agent: InProcess
  before(async () => (agent = await startInProcess('audit', {poolSize: 0})))
  after(() => agent?.dispose())

  // Feature: enterprise-dbaas-platform, Property 9: Comprehensive Audit Logging
  it('is in the audit log with who, what, when, from where, with what result and for which request', async () => {
    await fc.assert(fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...(Object.keys(actions) as (keyof typeof actions)[])), fc.constantFrom('one', 'two')), {minLength: 1, maxLength: 5}),
      async (sequence) => {
        const before = (await agent.client.call('audit.list', {query: {limit: 1}})).entries[0]?.sequence ?? 0
        const expected: string[] = []
        for (const [what, name] of sequence) {
          const {entry, api, call} = actions[what]
          let failed = false
          await call(agent, name).catch((error: unknown) => {
            assert.ok(error instanceof DbaasError)
            failed = true
          })
          if (entry && !failed) expected.push(`${entry} succeeded`)
          expected.push(`${api} ${failed ? 'failed' : 'succeeded'}`)
        }
        const {entries} = await agent.client.call('audit.list', {query: {limit: 100}})
        const fresh = entries.filter((e) => e.sequence > before)
        for (const wanted of new Set(expected)) {
          const times = (list: readonly string[]) => list.filter((e) => e === wanted).length
          assert.ok(times(fresh.map((e) => `${e.action} ${e.result}`)) >= times(expected), `${wanted} is missing`)
        }
        for (const entry of fresh) {
          assert.match(entry.actor, /^local:\d+$|^agent$/)
          assert.ok(entry.source && entry.resource && entry.request_id)
          assert.ok(Math.abs(Date.parse(entry.at) - Date.now()) < 60_000)
        }
      },
    ), {numRuns: 100})
    const {verification} = await agent.client.call('audit.verify', {})
    assert.equal(verification.ok, true, verification.because ?? '')
  })
})

/** What must not change while something else does. Real servers; the engine that is added is a real second adapter object. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import {engines} from '../../src/engines/index.js'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import type {Engine} from '../../src/engines/engine.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {until} from '../support/until.js'

/** An engine of another name that runs the same programs: what matters is that the agent holds it to be another one. */
const another = (name: string): Engine => ({...engines.postgresql, name, title: name})

describe('engines and templates added at run time', function () {
  this.timeout(600_000)
  const table: Record<string, Engine> = {...engines, tested: another('tested')}
  let agent: InProcess
  before(async () => {
    agent = await startInProcess('stability', {engines: table})
    assert.equal((await agent.create({name: 'steady', engine: 'postgresql', size: 'micro', parameters: {work_mem: '5MB'}})).status, 'succeeded')
    await until('the first backup', async () => ((await steady()).backup.last_backup_at === null ? undefined : true), 120)
  })
  after(async () => {
    await agent?.dispose()
  })

  /** The log is followed all the while: how far is no part of what must stay. */
  async function steady(): Promise<ApiInstance> {
    const {instance} = await agent.client.call('instances.get', {params: {instance: 'steady'}})
    return {...instance, backup: {...instance.backup, log_lag_bytes: 0, log_lag_seconds: 0, recoverable_to: null}}
  }
  async function state(): Promise<{instance: ApiInstance; [what: string]: unknown}> {
    const instance = await steady()
    const {parameters} = await agent.client.call('configuration.get', {params: {instance: 'steady'}, query: {all: true}})
    const result = await agent.client.call('instances.sql', {
      params: {instance: 'steady'}, body: {statement: "select pg_postmaster_start_time()::text, pg_conf_load_time()::text"}, idempotencyKey: freshKey(),
    })
    return {instance, parameters, times: result.rows}
  }

  // Feature: enterprise-dbaas-platform, Property 2: Engine Addition Stability
  it('change no process id, status or setting of an existing instance', async () => {
    const before = await state()
    let n = 0
    await fc.assert(fc.asyncProperty(fc.constantFrom('add', 'remove', 'list', 'catalogue'), fc.stringMatching(/^[a-z]{3,8}$/), async (what, word) => {
      const name = `engine-${word}`
      if (what === 'remove') delete table[name]
      else table[name] = another(name)
      const {engines: listed} = await agent.client.call('engines.list', {})
      assert.equal(listed.some((e) => e.name === name), what !== 'remove')
      if (what === 'catalogue') await agent.client.call('templates.list', {params: {engine: name}})
      // the whole state is read each tenth time, and the process and the status every time
      assert.deepEqual(await steady(), before.instance)
      if (++n % 10 === 0) assert.deepEqual(await state(), before)
    }), {numRuns: 100})
    assert.deepEqual(await state(), before)
  })

  it('let an instance of the added engine be made, used and deleted beside the first', async () => {
    const before = await state()
    table.fresh = another('fresh')
    const created = await agent.create({name: 'other', engine: 'fresh', size: 'micro'})
    assert.equal(created.status, 'succeeded', JSON.stringify(created.error))
    assert.equal((await agent.remove('other')).status, 'succeeded')
    assert.deepEqual(await state(), before)
  })

  // Feature: enterprise-dbaas-platform, Property 3: Configuration Template Isolation
  it('keep the templates of other engines byte-identical, whatever is edited', async () => {
    const listOf = async (engine: string): Promise<string> => JSON.stringify(await agent.client.call('templates.list', {params: {engine}}))
    await fc.assert(fc.asyncProperty(
      fc.constantFrom('postgresql', 'tested'),
      fc.array(fc.record({
        what: fc.constantFrom('save', 'delete'), name: fc.constantFrom('alpha', 'beta', 'gamma'), kb: fc.integer({min: 64, max: 9999}),
      }), {minLength: 1, maxLength: 3}),
      async (engine, edits) => {
        const other = engine === 'postgresql' ? 'tested' : 'postgresql'
        const before = await listOf(other)
        for (const {what, name, kb} of edits) {
          const params = {engine, template: name}
          if (what === 'save') {
            await agent.client.call('templates.save', {params, body: {parameters: {work_mem: `${kb}kB`}}, idempotencyKey: freshKey()})
            const {template} = await agent.client.call('templates.get', {params})
            assert.deepEqual(template.parameters, {work_mem: `${kb}kB`})
          } else {
            await agent.client.call('templates.delete', {params, idempotencyKey: freshKey()}).catch((error: {code?: string}) => assert.equal(error.code, 'TEMPLATE_NOT_FOUND'))
          }
          assert.equal(await listOf(other), before)
        }
      },
    ), {numRuns: 100})
  })

  it('refuse to change a built-in template', async () => {
    await assert.rejects(
      agent.client.call('templates.save', {params: {engine: 'postgresql', template: 'oltp'}, body: {parameters: {}}, idempotencyKey: freshKey()}),
      (error: {code?: string}) => error.code === 'TEMPLATE_BUILT_IN',
    )
  })
})

/** Another size for a running server: live or by one restart, measured by a real writer, rolled back when it fails. */
import assert from 'node:assert/strict'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import {connectTo} from '../support/clients.js'
import {leftoversOf} from '../support/leftovers.js'
import {cells, prepareSite} from '../support/matrix.js'
import {temporarySite, type Site} from '../support/site.js'
import {startWriter} from '../support/writer.js'

const MIB = 1024 ** 2

for (const cell of cells) {
  describe(`scale: ${cell.title}`, function () {
    cell.need()
    this.timeout(300_000)
    const site: Site = temporarySite('scale', {env: {DBAAS_POOL_SIZE: '0', ...cell.env}})
    const get = async (): Promise<ApiInstance> => (await site.json('status', 'demo')).instance
    const scale = (...flags: string[]) => site.json('scale', 'demo', ...flags)

    before(async () => {
      await prepareSite(site, cell)
      const made = await site.run('create', 'demo', '--engine', cell.engine, '--runtime', cell.runtime, '--size', 'micro', ...cell.flags)
      assert.equal(made.code, 0, made.stderr)
    })
    after(() => site.dispose())

    it('changes CPU live: no session ends, no write fails', async () => {
      const session = await connectTo(site, 'demo')
      const writer = await startWriter(site, 'demo')
      const {operation, instance} = await scale('--cpu', '0.7')
      const {lost, failures} = await writer.stop()
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      assert.deepEqual([operation.result.applied, operation.result.write_gap_ms, lost, failures], ['live', 0, [], 0])
      assert.deepEqual([instance.size.cpu, instance.size.name], [0.7, 'custom'])
      assert.deepEqual(await session.query('select 1'), [['1']])
      await session.close()
    })

    it('says before what it would do, and changes nothing', async () => {
      const before = await get()
      const {plan} = await scale('--memory', '1GiB', '--plan')
      assert.ok(['restart', 'reload'].includes(plan.impact), plan.impact)
      assert.equal(plan.reversible, true)
      assert.deepEqual((await get()).size, before.size)
    })

    // Feature: enterprise-dbaas-platform, Property 8: Scaling Operation Downtime
    // Iterations: one for each of six cells, a writer each 50 ms; the figures are in docs/results
    it('changes memory, with the server tuned to it, and the gap that was measured is the gap that was felt', async () => {
      const before = (await get()).configuration.parameters
      const writer = await startWriter(site, 'demo')
      const {operation, instance} = await scale('--memory', '1GiB')
      const {lost, gapMs} = await writer.stop()
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      assert.deepEqual(lost, [])
      assert.equal(instance.size.memory_bytes, 1024 * MIB)
      assert.notDeepEqual(instance.configuration.parameters, before)
      if (operation.result.applied === 'restart') {
        // the writer also counts its pause, its way and its new connection
        assert.ok(operation.result.write_gap_ms <= gapMs + 100, `${operation.result.write_gap_ms} said, ${gapMs} felt`)
        const typical = (await scale('--memory', '768MiB', '--plan')).plan.expected_downtime_ms
        assert.ok(typical > 0, 'the next plan knows what this one took')
      } else assert.equal(operation.result.write_gap_ms, 0)
      console.log(`      ${cell.engine} on ${cell.runtime}: ${operation.result.applied}, write gap ${operation.result.write_gap_ms} ms (felt ${gapMs} ms)`)
    })

    it('goes back to a smaller size', async () => {
      const {operation, instance} = await scale('--size', 'micro')
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      assert.equal(instance.size.name, 'micro')
      assert.equal(instance.status, 'running')
    })

    it('refuses what cannot be: more CPU than there is, a size that is none, nothing at all', async () => {
      const refused = async (code: string, ...flags: string[]): Promise<void> => assert.equal((await scale(...flags)).error.code, code, flags.join(' '))
      await refused('INSUFFICIENT_CPU', '--cpu', '200')
      await refused('INVALID_SIZE', '--size', 'gigantic')
      await refused('INVALID_SIZE', '--memory', '1MiB')
      assert.equal((await site.run('scale', 'demo')).code, 2)
      assert.equal((await site.run('scale', 'nobody', '--cpu', '1')).code, 3)
      assert.equal((await get()).size.name, 'micro')
    })

    it('writes down the size of a stopped server for its next start', async () => {
      assert.equal((await site.run('stop', 'demo')).code, 0)
      const {operation} = await scale('--size', 'small')
      assert.deepEqual([operation.status, operation.result.applied], ['succeeded', 'next-start'])
      assert.equal((await site.run('start', 'demo')).code, 0)
      const instance = await get()
      assert.deepEqual([instance.status, instance.size.name], ['running', 'small'])
    })

    it('leaves nothing', async () => {
      assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
      assert.deepEqual(leftoversOf(site.home), [])
    })
  })
}

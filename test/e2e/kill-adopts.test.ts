/** A home that was lost, and an agent that is killed while it takes over what that left: of one server, and of several. */
import assert from 'node:assert/strict'
import type {ApiOperation} from '../../src/core/api/schemas.js'
import {DbaasError} from '../../src/core/errors.js'
import {query} from '../support/clients.js'
import {instanceOf, untilWhole} from '../support/ha.js'
import {killedAgent, whens} from '../support/kills.js'
import {leftoversOf, siteOf} from '../support/leftovers.js'
import {loseHome} from '../support/lost-home.js'
import {clientOf} from '../support/probed-agent.js'
import {full} from '../support/runs.js'
import {temporarySite} from '../support/site.js'

const ofOne = ['take-over', 'find-backups', 'configure', 'start-server', 'await-ready', 'promote', 'create-access', 'verify', 'publish-endpoint']
const ofSeveral = ['choose-primary', 'start-server', 'promote', 'add-replicas', 'await-primary']

for (const [what, steps, ...flags] of [['one server', ofOne], ['three servers', ofSeveral, '--ha']] as const) {
  describe(`an agent killed while it adopts an instance of ${what}`, function () {
    this.timeout(300_000)
    const site = temporarySite('kill-adopts', {env: {DBAAS_POOL_SIZE: '0'}})
    /** How many rows have been acknowledged. */
    let rows = 0
    before(async () => {
      const {operation} = await site.json('create', 'demo', '--size', 'micro', ...flags)
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      await query(site, 'demo', 'create table t (n int)')
    })
    after(() => site.dispose())

    async function adopt(lostSite: string): Promise<ApiOperation> {
      try {
        return (await clientOf(site).call('agent.adopt', {body: {site_id: lostSite}, idempotencyKey: crypto.randomUUID()}) as {operations: ApiOperation[]}).operations[0] as ApiOperation
      } catch (error) {
        // it was begun before the agent was killed: what it takes over is of this site by now
        if (!(error instanceof DbaasError) || error.code !== 'SITE_NOT_FOUND') throw error
        const {operations} = await clientOf(site).call('operations.list', {})
        return operations.find(({kind}) => kind === 'instance.adopt') as ApiOperation
      }
    }

    async function lost(): Promise<string> {
      await query(site, 'demo', `insert into t values (${++rows})`)
      const lostSite = siteOf(site.home)
      // with its keys, or each time there would be an archive more that nobody can read
      await loseHome(site, ['keys'])
      assert.equal((await site.run('agent', 'start')).code, 0)
      return lostSite
    }

    async function isWhole(): Promise<void> {
      if (what === 'three servers') assert.equal((await untilWhole(site, 'demo')).nodes?.length, 3)
      else assert.equal((await instanceOf(site, 'demo')).status, 'running')
      assert.deepEqual(await query(site, 'demo', 'select count(*), max(n) from t'), [[String(rows), String(rows)]])
    }

    for (const [i, step] of steps.entries()) {
      for (const when of full ? whens : [whens[i % whens.length] as (typeof whens)[number]]) {
        it(`ends the same: killed ${when} ${step}`, async () => {
          const lostSite = await lost()
          const end = await killedAgent(site, {kill: {kind: 'instance.adopt', step, direction: 'forward', when}}, () => adopt(lostSite), 120)
          assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
          await isWhole()
        })
      }
    }

    it('can be taken over after an adoption that was undone, killed while it was', async () => {
      const lostSite = await lost()
      const step = what === 'three servers' ? 'add-replicas' : 'start-server'
      const end = await killedAgent(site, {
        kill: {kind: 'instance.adopt', step, direction: 'undo', when: 'after'}, fault: {kind: 'instance.adopt', step: what === 'three servers' ? 'await-primary' : 'publish-endpoint'},
      }, () => adopt(lostSite), 120)
      assert.equal(end.status, 'failed', JSON.stringify(end))
      assert.deepEqual((await site.json('list')).instances, [])
      const {operations} = await site.json('agent', 'adopt', '--site', siteOf(site.home))
      assert.deepEqual(operations?.map((o: ApiOperation) => o.status), ['succeeded'], JSON.stringify(operations))
      await isWhole()
    })

    it('leaves nothing when it is deleted', async () => {
      const {code, stderr} = await site.run('delete', 'demo', '--yes')
      assert.equal(code, 0, stderr)
      assert.deepEqual(leftoversOf(site.home), [])
    })
  })
}

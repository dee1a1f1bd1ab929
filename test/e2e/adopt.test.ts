/** A home that was lost: its databases go on, and an agent on an empty home finds them and takes them over. */
import assert from 'node:assert/strict'
import {setTimeout as pause} from 'node:timers/promises'
import {connectTo} from '../support/clients.js'
import {leftoversOf, siteOf} from '../support/leftovers.js'
import {removeKnowledge} from '../support/lost-home.js'
import {cells, prepareSite} from '../support/matrix.js'
import {processesOf, temporarySite} from '../support/site.js'

for (const cell of cells) {
  describe(`adopt: ${cell.title}`, function () {
    cell.need()
    this.timeout(300_000)
    const site = temporarySite('adopt', {env: {DBAAS_POOL_SIZE: '0', ...cell.env}})
    before(async () => {
      await prepareSite(site, cell)
    })
    after(() => site.dispose())

    it('takes over what a lost home left, with its data, its parameters, and a new password', async () => {
      const {name, values: [value]} = cell.reloadable
      const made = await site.json('create', 'demo', '--engine', cell.engine, '--runtime', cell.runtime, '--size', 'micro', '--protect', '--set', `${name}=${value}`, ...cell.flags)
      assert.equal(made.operation?.status, 'succeeded', JSON.stringify(made))
      const before = await connectTo(site, 'demo')
      await before.query('create table t (answer int primary key)')
      await before.query('insert into t values (42)')
      await before.close()
      const {credentials: old} = await site.json('api', 'GET', '/v1/instances/demo/credentials')

      const lostSite = siteOf(site.home)
      await site.run('agent', 'stop')
      // the endpoint process of a lost home ends with it
      for (const {pid} of processesOf([site.home]).filter((p) => /endpoint/.test(p.what))) process.kill(pid, 'SIGKILL')
      removeKnowledge(site.home)
      await pause(100)

      assert.deepEqual((await site.json('list')).instances, [])
      const {checks} = await site.json('doctor')
      const strangers = checks.find((c: {name: string}) => c.name === 'strangers')
      assert.match(strangers.suggestion, /dbaas agent adopt --site site_/)
      // other sites may have left something on the machine, too
      assert.ok(strangers.suggestion.includes(`--site ${lostSite}`), strangers.suggestion)
      assert.equal((await site.json('agent', 'adopt', '--site', 'site_nobody')).error.code, 'SITE_NOT_FOUND')
      const {plan} = await site.json('agent', 'adopt', '--site', lostSite, '--plan')
      assert.equal(plan.impact, 'restart')
      assert.deepEqual((await site.json('list')).instances, [])

      const adopted = await site.json('agent', 'adopt', '--site', lostSite)
      assert.deepEqual(adopted.operations?.map((o: {status: string}) => o.status), ['succeeded'], JSON.stringify(adopted))
      const {instance} = await site.json('status', 'demo')
      assert.deepEqual(
        [instance.id, instance.status, instance.engine, instance.version, instance.runtime, instance.size, instance.protected, instance.created_at],
        [made.instance.id, 'running', made.instance.engine, made.instance.version, cell.runtime, made.instance.size, true, made.instance.created_at],
      )
      assert.equal(instance.configuration.parameters[name], value)
      const {credentials} = await site.json('api', 'GET', '/v1/instances/demo/credentials')
      assert.notEqual(credentials.password, old.password)
      const client = await connectTo(site, 'demo')
      assert.deepEqual(await client.query('select answer from t'), [['42']])
      await client.close()
      const left = (await site.json('doctor')).checks.find((c: {name: string}) => c.name === 'strangers')
      assert.ok(!JSON.stringify(left).includes(lostSite), JSON.stringify(left))
    })

    it('leaves nothing when it is deleted', async () => {
      assert.equal((await site.run('unprotect', 'demo')).code, 0)
      assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
      assert.deepEqual(leftoversOf(site.home), [])
    })
  })
}

/** Restore in place of an instance with replicas: another moment, the same address, the replicas made again, and the old state beside. */
import assert from 'node:assert/strict'
import {setTimeout as pause} from 'node:timers/promises'
import {assertSameEverywhere, instanceOf, primaryOf, replicasOf, untilWhole} from '../support/ha.js'
import {call, finish, killedAgent} from '../support/kills.js'
import {clientOf} from '../support/probed-agent.js'
import {sampled} from '../support/runs.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

describe('a restore in place of an instance with replicas', function () {
  this.timeout(300_000)
  let site: Site
  let then = ''
  let kept = ''
  const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)
  const rows = async (name: string, ...more: string[]): Promise<string[]> => ((await site.json('sql', name, 'select id from journal order by id', ...more)).rows as string[][]).map(([id]) => String(id))
  const write = async (name: string, id: string): Promise<void> => assert.equal((await site.json('sql', name, `insert into journal values ('${id}')`)).row_count, 1)
  const done = async (...args: string[]) => {
    const answer = await site.json(...args)
    assert.equal(answer.operation?.status, 'succeeded', JSON.stringify(answer))
    return answer.operation
  }
  const names = async (): Promise<string[]> => (await clientOf(site).call('instances.list', {})).instances.map(({name}) => name)

  before(async () => {
    site = temporarySite('ha-restore')
    await done('create', 'demo', '--ha', '--size', 'micro')
    await until('it is protected', async () => (await instanceOf(site, 'demo')).backup.recoverable_to !== null, 90)
    await site.json('sql', 'demo', 'create table journal (id text primary key)')
    await write('demo', 'one')
    await pause(50)
    then = String((await site.json('sql', 'demo', `select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)).rows?.[0]?.[0])
    await pause(50)
    await write('demo', 'two')
  })
  after(() => site?.dispose())

  it('goes to the moment with its address, has its replicas again, and keeps the old state as one server', async () => {
    const before = await untilWhole(site, 'demo')
    const {result} = await done('restore', 'demo', '--to', then)
    tell(JSON.stringify(result))
    kept = String(result.kept_as)
    assert.equal(result.replicas, 2)
    assert.deepEqual(await rows('demo'), ['one'])
    await write('demo', 'three')
    const after = await untilWhole(site, 'demo')
    assert.deepEqual([after.id, after.endpoint, after.read_only_endpoint, after.high_availability], [before.id, before.endpoint, before.read_only_endpoint, true])
    assert.deepEqual(replicasOf(after).map(({id}) => id).sort(), replicasOf(before).map(({id}) => id).sort())
    assert.deepEqual(after.nodes.map(({name}) => name).sort(), before.nodes.map(({name}) => name).sort())
    assert.deepEqual([after.replication?.confirmations, after.replication?.voters.length], [1, 2])
    await assertSameEverywhere(site, after)
    const old = await instanceOf(site, kept)
    assert.deepEqual([old.status, old.nodes.map(({id}) => id)], ['stopped', [primaryOf(before).id]])
  })

  it('keeps a state that serves by itself, whose commits wait for nobody', async () => {
    await done('start', kept)
    assert.deepEqual(await rows(kept), ['one', 'two'])
    await write(kept, 'kept')
    assert.deepEqual([(await instanceOf(site, kept)).replication, (await instanceOf(site, kept)).status], [null, 'running'])
    await done('stop', kept)
  })

  it('survives the loss of the restored primary', async () => {
    const before = await untilWhole(site, 'demo')
    await done('failover', 'demo', '--force')
    const after = await untilWhole(site, 'demo')
    assert.notEqual(primaryOf(after).id, primaryOf(before).id)
    assert.deepEqual(await rows('demo'), ['one', 'three'])
  })

  it('is undone, with its replicas', async () => {
    const before = await untilWhole(site, 'demo')
    const {result} = await done('restore', 'demo', '--undo')
    assert.deepEqual(await rows('demo'), ['kept', 'one', 'two'])
    const after = await untilWhole(site, 'demo')
    assert.deepEqual([after.endpoint, after.nodes.length, after.high_availability], [before.endpoint, 3, true])
    await assertSameEverywhere(site, after)
    const gone = await instanceOf(site, String(result.kept_as))
    assert.deepEqual([gone.status, gone.nodes.map(({id}) => id)], ['stopped', [primaryOf(before).id]])
    await done('delete', String(result.kept_as), '--yes')
  })

  const killed = [['hold-connections', 'stored'], ['stop-servers', 'after'], ['exchange', 'stored'], ['start-server', 'after'], ['open-endpoint', 'after']] as const
  for (const [step, when] of sampled(killed, 2)) {
    it(`comes to its end when the agent is killed ${when === 'stored' ? 'after' : 'in'} ${step}`, async () => {
      await untilWhole(site, 'demo')
      await until('it is protected', async () => (await instanceOf(site, 'demo')).backup.recoverable_to !== null, 90)
      await write('demo', `${step}`)
      const operation = await killedAgent(site, {kill: {kind: 'instance.restore', step, direction: 'forward', when}}, (key) => call(site, 'instances.restore', {params: {instance: 'demo'}, body: {to: 'latest'}}, key))
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
      assert.ok((await rows('demo')).includes(step))
      const after = await untilWhole(site, 'demo')
      await assertSameEverywhere(site, after)
      const old = String((operation.result as {kept_as?: string}).kept_as)
      assert.deepEqual(await names(), ['demo', old].sort())
      await done('delete', old, '--yes')
    })
  }

  it('leaves everything as it was when it is cancelled while its servers are stopped, and its agent is killed meanwhile', async () => {
    const before = await untilWhole(site, 'demo')
    const all = await rows('demo')
    const at = {kind: 'instance.restore', step: 'start-server', direction: 'forward'} as const
    const operation = await killedAgent(site, {cancel: {...at, when: 'before'}, kill: {...at, step: 'exchange', direction: 'undo', when: 'before'}},
      (key) => call(site, 'instances.restore', {params: {instance: 'demo'}, body: {to: 'latest'}}, key))
    assert.equal((await finish(site, operation)).status, 'cancelled')
    const after = await untilWhole(site, 'demo')
    // all of them were stopped with all that there is: any of them may be the primary now
    assert.deepEqual([after.nodes.map(({id}) => id).sort(), await rows('demo'), await names()], [before.nodes.map(({id}) => id).sort(), all, ['demo']])
    await assertSameEverywhere(site, after)
  })
})

/** `drill failover` on real servers: a real fault, a receipt whose figures are measured, and nothing left of it afterwards. */
import assert from 'node:assert/strict'
import {readFileSync, readdirSync} from 'node:fs'
import type {FailoverReceipt} from '../../src/core/ha/receipt.js'
import {changesOf, instanceOf, primaryOf, processesOfNode, untilWhole} from '../support/ha.js'
import {call, finish} from '../support/kills.js'
import {clientOf} from '../support/probed-agent.js'
import {refuse} from '../support/refusal.js'
import {dataRootOf, temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

describe('a drill of the failover', function () {
  this.timeout(240_000)
  let site: Site
  const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)

  before(async () => {
    site = temporarySite('drill')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(() => site?.dispose())

  /** Nothing is under way: after a change of primary there is a backup, too. */
  const untilQuiet = () => until('nothing is under way', async () => {
    const instance = await untilWhole(site, 'demo')
    const {operations} = await clientOf(site).call('operations.list', {query: {instance: 'demo'}})
    return operations.every(({ended_at}) => ended_at !== null) ? instance : undefined
  }, 90)

  const leftovers = async (): Promise<unknown> => (await site.json('sql', 'demo', "select nspname from pg_namespace where nspname like 'dbaas_drill%'")).rows

  for (const fault of ['kill', 'hang'] as const) {
    it(`loses nothing when its primary ${fault === 'kill' ? 'is killed' : 'hangs'}, says how long writes were held up, and leaves nothing`, async () => {
      let before = await untilQuiet()
      let {operation, error} = await site.json('drill', 'failover', 'demo', `--${fault}`)
      // a backup that is due begins when it wants to
      while (error?.details?.operation_id !== undefined) {
        before = await untilQuiet();
        ({operation, error} = await site.json('drill', 'failover', 'demo', `--${fault}`))
      }
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      const receipt = operation.result as FailoverReceipt
      tell(JSON.stringify(receipt))
      assert.deepEqual([receipt.fault, receipt.clone, receipt.from], [fault, null, primaryOf(before).name])
      assert.deepEqual([receipt.lost_writes, receipt.doubled_writes, receipt.divided_writes, receipt.rpo_seconds], [0, 0, 0, 0])
      assert.ok(receipt.acknowledged_writes > 4 * 35)
      assert.ok(receipt.time_to_first_write_ms > 0 && receipt.write_gap_ms > 0)
      const after = await untilWhole(site, 'demo')
      assert.equal(primaryOf(after).name, receipt.to)
      const [change] = await changesOf(site, 'demo')
      assert.deepEqual(receipt.phases, (change?.result as {phases?: unknown} | undefined)?.phases)
      assert.ok(receipt.phases.length > 2)
      assert.deepEqual(await leftovers(), [])
    })
  }

  function isStopped(pid: number): boolean {
    try {
      return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }

  it('is taken back when it is cancelled while the primary hangs: its writers end, its table goes, and nothing hangs any more', async () => {
    const before = await untilQuiet()
    const operation = await call(site, 'drills.failover', {params: {instance: 'demo'}, body: {fault: 'hang'}})
    const pids = processesOfNode(site, before, primaryOf(before))
    await until('the primary hangs', async () => isStopped(primaryOf(before).pid as number))
    await clientOf(site).call('operations.cancel', {params: {operation: operation.id}} as never)
    assert.equal((await finish(site, operation)).status, 'cancelled')
    await untilWhole(site, 'demo')
    assert.deepEqual(await leftovers(), [])
    assert.equal((await instanceOf(site, 'demo')).status, 'running')
    assert.deepEqual(pids.filter((pid) => processesOfNode(site, before, primaryOf(before)).includes(pid) && isStopped(pid)), [])
  })

  it('fails, and leaves nothing, when the agent is killed while the primary hangs', async () => {
    const before = await untilQuiet()
    const operation = await call(site, 'drills.failover', {params: {instance: 'demo'}, body: {fault: 'hang'}})
    await until('the primary hangs', async () => isStopped(primaryOf(before).pid as number))
    const {agent} = await clientOf(site).call('agent.get', {})
    process.kill(agent.pid, 'SIGKILL')
    // the endpoint process brings it back, too
    assert.equal((await site.run('agent', 'start')).code, 0)
    const ended = await finish(site, operation)
    assert.equal(ended.status, 'failed')
    assert.match(ended.error?.message ?? '', /the agent ended in the middle of the drill/)
    const after = await untilWhole(site, 'demo')
    assert.deepEqual(await leftovers(), [])
    assert.deepEqual(after.nodes.flatMap((node) => processesOfNode(site, after, node)).filter(isStopped), [])
  })

  const names = async (): Promise<string[]> => (await clientOf(site).call('instances.list', {})).instances.map(({name}) => name)
  /** Data folders of instances, by their ids. */
  const folders = (): string[] => readdirSync(`${dataRootOf(site.home)}/instances`)
  const beginOnCopy = async (fault: 'kill' | 'hang') => {
    const operation = await call(site, 'drills.failover', {params: {instance: 'demo'}, body: {fault, clone: true}})
    const name = await until('the copy is there', async () => (await names()).find((each) => each.startsWith('demo-drill-')), 60)
    return {operation, name}
  }

  it('is done on a copy, of which nothing stays, while the instance does not notice', async () => {
    await until('there is something to copy', async () => (await instanceOf(site, 'demo')).backup.recoverable_to !== null, 90)
    const before = await untilQuiet()
    const changes = (await changesOf(site, 'demo')).length
    const {operation, error} = await site.json('drill', 'failover', 'demo', '--clone')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation ?? error))
    const receipt = operation.result as FailoverReceipt
    tell(JSON.stringify(receipt))
    assert.match(receipt.clone ?? '', /^demo-drill-\d{8}t\d{6}z$/)
    assert.ok(receipt.from.startsWith(`${receipt.clone}-`) && receipt.to.startsWith(`${receipt.clone}-`) && receipt.from !== receipt.to)
    assert.deepEqual([receipt.lost_writes, receipt.doubled_writes, receipt.divided_writes], [0, 0, 0])
    assert.ok(receipt.acknowledged_writes > 4 * 35 && receipt.time_to_first_write_ms > 0)
    const after = await untilQuiet()
    assert.deepEqual([primaryOf(after).id, (await changesOf(site, 'demo')).length], [primaryOf(before).id, changes])
    assert.deepEqual([await names(), folders()], [['demo'], [before.id]])
  })

  it('leaves nothing of a copy when it is cancelled, in the making or while its primary hangs', async () => {
    const {id} = await untilQuiet()
    for (const moment of ['in the making', 'while it hangs'] as const) {
      const {operation, name} = await beginOnCopy('hang')
      if (moment === 'while it hangs') {
        await until('its primary hangs', async () => {
          const pid = primaryOf(await instanceOf(site, name)).pid
          return pid !== null && isStopped(pid)
        }, 90)
      }
      await clientOf(site).call('operations.cancel', {params: {operation: operation.id}} as never)
      assert.equal((await finish(site, operation)).status, 'cancelled', moment)
      assert.deepEqual([await names(), folders()], [['demo'], [id]], moment)
    }
  })

  it('leaves nothing of a copy when the agent is killed in the middle of it', async () => {
    const {id} = await untilQuiet()
    const {operation, name} = await beginOnCopy('kill')
    // the copy has its replicas, and is written to
    await until('it is rehearsed', async () => (await instanceOf(site, name)).nodes.length === 3 && (await clientOf(site).call('operations.get', {params: {operation: operation.id}})).operation.steps.some((step) => step.name === 'rehearse'), 90)
    const {agent} = await clientOf(site).call('agent.get', {})
    process.kill(agent.pid, 'SIGKILL')
    assert.equal((await site.run('agent', 'start')).code, 0)
    assert.equal((await finish(site, operation)).status, 'failed')
    assert.deepEqual([await names(), folders()], [['demo'], [id]])
  })

  it('says so when an acknowledged row is gone, or there twice', async () => {
    await untilQuiet()
    const operation = await call(site, 'drills.failover', {params: {instance: 'demo'}, body: {fault: 'kill'}})
    const sql = async (text: string): Promise<string[][]> => (await site.json('sql', 'demo', text)).rows ?? []
    const [[schema]] = await until('the journal is there', async () => {
      const rows = await sql("select nspname from pg_namespace where nspname like 'dbaas_drill%'").catch(() => [])
      return rows.length > 0 ? (rows as [[string]]) : undefined
    })
    const tamper = `with gone as (delete from ${schema}.journal where id = (select min(id) from ${schema}.journal) returning id) ` +
      `insert into ${schema}.journal select max(id) from ${schema}.journal having count(*) > 9 returning (select id from gone)`
    await until('a row is taken away', async () => (await sql(tamper).catch(() => [])).length === 1 || undefined)
    const {status, error} = await finish(site, operation)
    assert.equal(status, 'failed')
    assert.equal(error?.code, 'INTEGRITY_MISMATCH')
    assert.match(error?.message ?? '', /acknowledged writes [1-9]\d* are lost and 1 doubled; 0 were acknowledged/)
    assert.deepEqual(await leftovers(), [])
  })

  it('is refused where it would prove nothing or cannot be done, and says what can', async () => {
    await untilQuiet()
    const drill = ['drill', 'failover', 'demo']
    await refuse(site.run, [...drill, '--partition'], {code: 'NOT_SUPPORTED', names: /share its network/, suggests: /drill failover demo --hang/})
    assert.equal((await site.json('create', 'single', '--size', 'micro')).operation?.status, 'succeeded')
    await refuse(site.run, ['drill', 'failover', 'single'], {code: 'INVALID_STATE', names: /single is not highly available/, suggests: /scale single --ha/})
  })
})

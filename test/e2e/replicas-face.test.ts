import assert from 'node:assert/strict'
import {spawnSync} from 'node:child_process'
import {connect} from 'node:net'
import pg from 'pg'
import {findProgram} from '../../src/commands/_support/programs.js'
import type {ApiCluster, ApiCredentials, ApiInstance, ApiNode, ApiOperation} from '../../src/core/api/schemas.js'
import type {PrimaryChange} from '../../src/core/ha/receipt.js'
import {processesOfNode, replicasOf, signal} from '../support/ha.js'
import {temporarySite, type Site} from '../support/site.js'

interface Changed {
  readonly operation: ApiOperation & {result: PrimaryChange}
  readonly instance: ApiInstance
}

/** What a person types, and what a client then sees, on one real cluster. */
describe('an instance with replicas, at the command line', function () {
  this.timeout(180_000)
  let site: Site
  let credentials: ApiCredentials
  before(async () => {
    site = temporarySite('replicas-face')
    const {operation, instance} = (await site.json('create', 'demo', '--ha', '--size', 'micro')) as Changed
    assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    assert.deepEqual([instance.high_availability, instance.replication?.replicas_wanted], [true, 2])
    credentials = ((await site.json('credentials', 'demo')) as {credentials: ApiCredentials}).credentials
  })
  after(() => site.dispose())

  const status = async (): Promise<ApiInstance> => ((await site.json('status', 'demo')) as {instance: ApiInstance}).instance
  async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
    for (const end = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
      const found = await ask().catch(() => undefined)
      if (found !== undefined) return found
      if (Date.now() > end) assert.fail(`it did not come to this: ${what}; ${JSON.stringify((await status()).replication)}`)
    }
  }
  const whole = () => until('all promises are kept', async () => {
    const instance = await status()
    const replicas = instance.nodes.filter(({role}) => role === 'replica')
    return instance.replication?.status === 'healthy' && replicas.length === 2 && replicas.every(({lag_bytes: lag}) => lag !== null) ? instance : undefined
  })
  const primaryOf = ({nodes}: ApiInstance): ApiNode => nodes.find(({role}) => role === 'primary') as ApiNode
  async function ask(at: {host: string; port: number}): Promise<{standby: boolean; port: number; refused: string | undefined}> {
    const {username: user, password, database, ca_certificate: ca, tls_server_name: servername} = credentials
    const client = new pg.Client({...at, user, password, database, ssl: {ca, servername}})
    await client.connect()
    try {
      const {rows: [row]} = await client.query<{standby: boolean; port: number}>('select pg_is_in_recovery() as standby, inet_server_port() as port')
      const refused = await client.query('create table written_to_a_replica ()').then(() => undefined, (error: pg.DatabaseError) => error.code)
      return {...(row as {standby: boolean; port: number}), refused}
    } finally {
      await client.end()
    }
  }

  it('shows its nodes, who confirms, and why it is as it is', async () => {
    const instance = await whole()
    assert.deepEqual(instance.nodes.map(({role, sync_state: sync}) => `${role} ${sync}`).sort(), ['primary none', 'replica sync', 'replica sync'])
    assert.ok(instance.nodes.every(({timeline, lsn}) => timeline === 1 && /^[0-9A-F]+\/[0-9A-F]+$/.test(lsn ?? '')))
    assert.ok(instance.replication?.last_decision?.because)
    const {stdout} = await site.run('status', 'demo')
    assert.match(stdout, /replicas +any 1 of .* confirms each commit; every promise is kept[\s\S]*decision [\s\S]*NODE +ROLE +STATUS +WANTED +TIMELINE +LSN +LAG/)
    const {replicas} = (await site.json('replicas', 'list', 'demo')) as {replicas: ApiNode[]}
    assert.deepEqual(replicas.map(({name}) => name).sort(), ['demo-2', 'demo-3'])
    const {cluster} = (await site.json('api', 'GET', '/v1/clusters/demo')) as {cluster: ApiCluster}
    assert.deepEqual([cluster.primary_id, cluster.replicas.map(({type}) => type)], [primaryOf(instance).id, ['sync', 'sync']])
    assert.match((await site.run('list')).stdout, /primary \+ 2 replicas/)
  })

  it('leads who only reads to every replica in turn, and who writes to the primary, whichever way', async () => {
    const instance = await whole()
    const reading = await until('both replicas are read from', async () => {
      const answers = [await ask(instance.read_only_endpoint as ApiCredentials['direct'][number]), await ask(instance.read_only_endpoint as ApiCredentials['direct'][number])]
      return new Set(answers.map(({port}) => port)).size === 2 ? answers : undefined
    })
    for (const answer of reading) assert.deepEqual([answer.standby, answer.refused], [true, '25006'])
    assert.equal((await ask(credentials)).standby, false)
    const [readOnly, direct] = await Promise.all([site.json('url', 'demo', '--read-only'), site.json('url', 'demo', '--direct')]) as {url: string}[]
    assert.ok(readOnly?.url.includes(`@127.0.0.1:${instance.read_only_endpoint?.port}/`))
    assert.match(direct?.url ?? '', /@127\.0\.0\.1:\d+,127\.0\.0\.1:\d+,127\.0\.0\.1:\d+\/.*target_session_attrs=read-write/)
    const psql = await findProgram('psql')
    if (psql === undefined) return
    const {stdout, stderr} = spawnSync(psql, [direct?.url ?? '', '-X', '-A', '-t', '-c', 'select pg_is_in_recovery()'], {encoding: 'utf8'})
    assert.equal(stdout, 'f\n', stderr)
  })

  it('refuses what cannot be, with what to type', async () => {
    await whole()
    const cases: readonly (readonly [argv: string[], code: number, words: RegExp])[] = [
      [['failover', 'demo'], 5, /not lost[\s\S]*dbaas switchover demo/],
      [['failover', 'demo', '--allow-data-loss'], 2, /CONFIRMATION_REQUIRED|no terminal[\s\S]*dbaas failover demo --allow-data-loss --yes/],
      [['promote', 'demo', 'demo-9'], 3, /no node "demo-9"/],
      [['promote', 'demo', 'demo-1'], 5, /demo-1 is the primary/],
      [['switchover', 'none'], 3, /none/],
    ]
    for (const [argv, code, words] of cases) {
      const {code: got, stderr} = await site.run(...argv)
      assert.deepEqual([got, words.test(stderr)], [code, true], `${argv.join(' ')}: ${stderr}`)
    }
    const {plan} = (await site.json('switchover', 'demo', '--plan')) as {plan: {impact: string; steps: string[]}}
    assert.equal(plan.impact, 'failover')
    assert.ok(plan.steps.length > 3)
    assert.equal(primaryOf(await status()).name, 'demo-1')
  })

  it('changes its primary when told, narrates it, and tells the gap', async () => {
    await whole()
    const ran = await site.run('switchover', 'demo', '--to', 'demo-3')
    assert.equal(ran.code, 0, ran.stderr)
    assert.match(ran.stdout, /demo is served by demo-3, and was by demo-1 \(timeline 2\)[\s\S]*writes were held up for \d/)
    assert.match(ran.stderr, /✓ stop[\s\S]*✓ fence[\s\S]*✓ promote[\s\S]*✓ open/)
    const instance = await whole()
    assert.deepEqual([primaryOf(instance).name, instance.replication?.last_change?.from, instance.replication?.last_change?.to], ['demo-3', 'demo-1', 'demo-3'])
    assert.equal((await ask(credentials)).port, primaryOf(instance).endpoint?.port)
    const reading = await ask(instance.read_only_endpoint as ApiCredentials['direct'][number])
    assert.deepEqual([reading.standby, reading.port === primaryOf(instance).endpoint?.port], [true, false])
    // a promotion is a switchover to the one that is named
    const promoted = (await site.json('promote', 'demo', 'demo-2')) as Changed
    assert.deepEqual([promoted.operation.result.from, promoted.operation.result.to, promoted.operation.result.timeline], ['demo-3', 'demo-2', 3])
    assert.ok((promoted.operation.result.write_gap_ms ?? -1) >= 0)
  })

  it('lets nobody cancel a commit that waits for replicas that are away: it would be acknowledged, and nobody would have it', async () => {
    await whole()
    const {username: user, password, database, ca_certificate: ca, tls_server_name: servername, host, port} = credentials
    const client = new pg.Client({host, port, user, password, database, ssl: {ca, servername}})
    client.on('error', () => undefined)
    await client.connect()
    await client.query('create table kept (id int)')
    const {processID, secretKey} = client as unknown as {processID: number; secretKey: number}
    const request = Buffer.alloc(16)
    for (const [i, word] of [16, 80877102, processID, secretKey].entries()) request.writeInt32BE(word, i * 4)
    const cancel = () => new Promise<void>((resolve) => {
      const socket = connect({host, port}, () => socket.end(request))
      socket.on('error', () => undefined).on('close', () => resolve()).resume()
    })
    // while all is well a statement is cancelled, as ever
    const slept = client.query('select pg_sleep(60)')
    const cancelling = setInterval(() => void cancel(), 200)
    await assert.rejects(slept, {code: '57014'})
    clearInterval(cancelling)
    let notices = 0
    client.on('notice', () => notices++)
    const instance = await whole()
    const away = replicasOf(instance)
    // from then on they have no new children; and all of each server: its receiver would go on without its postmaster
    signal(away.map(({pid}) => pid as number), 'SIGSTOP')
    const replicas = away.flatMap((node) => processesOfNode(site, instance, node))
    signal(replicas, 'SIGSTOP')
    try {
      await until('commits are known to wait', async () => ((await status()).replication?.status === 'blocked' ? true : undefined))
      const committed = client.query('insert into kept values (1)')
      for (let n = 0; n < 5; n++) await cancel()
      assert.equal(await Promise.race([committed.then(() => 'acknowledged'), new Promise((resolve) => setTimeout(resolve, 1000, 'waits'))]), 'waits')
      // one that hung for too long was made anew
      signal(replicas, 'SIGCONT')
      await committed
      assert.equal(notices, 0)
    } finally {
      signal(replicas, 'SIGCONT')
      await client.end()
    }
  })

  it('gives up a primary that is well only when that is asked for twice, and loses nothing by it', async () => {
    await whole()
    const forced = (await site.json('failover', 'demo', '--force', '--to', 'demo-1')) as Changed
    assert.equal(forced.operation.status, 'succeeded', JSON.stringify(forced))
    assert.equal(forced.operation.result.to, 'demo-1')
    await whole()
  })

  it('serves readers while its primary is away, and nobody when it is stopped', async () => {
    const {read_only_endpoint: endpoint} = await whole()
    const at = endpoint as ApiCredentials['direct'][number]
    assert.equal((await site.run('stop', 'demo')).code, 0)
    await assert.rejects(ask(at), {code: 'ECONNREFUSED'})
    assert.equal((await site.run('start', 'demo')).code, 0)
    const instance = await whole()
    assert.deepEqual(instance.read_only_endpoint, at, 'it keeps its port')
    process.kill(primaryOf(instance).pid as number, 'SIGKILL')
    const answer = await ask(at)
    assert.equal(answer.standby, true)
    await whole()
    assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
    await assert.rejects(ask(at), {code: 'ECONNREFUSED'})
  })
})

/** High availability in containers: real containers, killed, paused and cut off by hand, under writers; no acknowledged row lost, and nothing left. */
import assert from 'node:assert/strict'
import {execFileSync, spawn} from 'node:child_process'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import type {FailoverReceipt} from '../../src/core/ha/receipt.js'
import type {ApiInstance, ApiNode} from '../../src/core/api/schemas.js'
import {engineProxy, type EngineProxy} from '../runtimes/docker-proxy.js'
import {dockerOrSkip, images} from '../support/docker.js'
import {assertSameEverywhere, changesOf, instanceOf, primaryOf, replicasOf, startWriters, untilWhole, type Writers} from '../support/ha.js'
import {startDirectWriters, type DirectWriters} from '../support/ha-direct.js'
import {call, finish, killedAgent} from '../support/kills.js'
import {dockerLeftovers, leftoversOf, siteOf} from '../support/leftovers.js'
import {clientOf, stopAgent, untilAnswers} from '../support/probed-agent.js'
import {debian15OrSkip, rewindImage} from '../support/rewind-image.js'
import {realRuns} from '../support/runs.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

const docker = (...args: string[]): string => execFileSync('docker', args, {encoding: 'utf8'}).trim()
const stateOf = (container: string): string => docker('inspect', '--format', '{{.State.Status}}', container)
const networksOf = (container: string): string[] => docker('inspect', '--format', '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}', container).split(' ').filter(Boolean)
const containerOf = ({container}: ApiNode): string => {
  assert.ok(container, 'the node has no container')
  return container
}
const cut = (container: string): void => {
  for (const network of networksOf(container)) docker('network', 'disconnect', '--force', network, container)
}
const made = ['--runtime', 'docker', '--version', '18', '--size', 'micro', '--no-backup']
const env = {DBAAS_IMAGE_POSTGRESQL: images.postgresql}
const tell = (text: string): void => void process.stdout.write(`      ${text}\n`)

/**
 * An application beside the server, in its very container: no cut keeps it away. `ended`: what was acknowledged to it until its server ended.
 * `waits`: its commits wait for replicas, as everybody's do.
 */
async function startInside(site: Site, container: string, {waits = true} = {}): Promise<{ended: Promise<string[]>}> {
  const {credentials: {database, username, password}} = await site.json('api', 'GET', '/v1/instances/demo/credentials')
  const run = `inside-${Math.random().toString(36).slice(2)}`
  const loop = `n=0; while :; do n=$((n+1)); psql -X -q -v ON_ERROR_STOP=1 'host=127.0.0.1 user=${username} dbname=${database} sslmode=require' -c "set synchronous_commit = ${waits ? 'on' : 'local'}" -c "insert into journal values ('${run}-$n')" && echo "${run}-$n"; done`
  const child = spawn('docker', ['exec', '--env', `PGPASSWORD=${password}`, container, 'bash', '-c', loop], {stdio: ['ignore', 'pipe', 'pipe']})
  let out = ''
  let words = ''
  child.stdout.on('data', (data: Buffer) => (out += data.toString()))
  child.stderr.on('data', (data: Buffer) => (words += data.toString()))
  const exit = once(child, 'exit')
  await until('it writes', async () => out.split('\n').length > 3 || (child.exitCode !== null && assert.fail(words)), 20)
  return {ended: exit.then(() => out.split('\n').filter(Boolean))}
}

describe('an instance with two replicas, in containers', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(600_000)
  let site: Site

  before(async () => {
    site = temporarySite('ha-docker', {env})
    const began = Date.now()
    const {operation} = await site.json('create', 'demo', '--ha', ...made)
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    tell(`created in ${Date.now() - began} ms`)
  })
  after(() => site?.dispose())

  const primaryIsAnother = (before: ApiInstance): Promise<unknown> => until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)

  interface Struck {
    readonly before: ApiInstance
    readonly writers: Writers
    readonly directs: DirectWriters
  }

  /** Does that under writers of the endpoint and of each server alone, once, or five times in test:full; afterwards all is whole and every acknowledged row is everywhere. */
  async function under(what: string, strike: (now: Struck) => Promise<void>): Promise<void> {
    for (let round = 0; round < realRuns(1, 5); round++) {
      const before = await untilWhole(site, 'demo')
      const writers = await startWriters(site, 'demo')
      const directs = await startDirectWriters(site, 'demo')
      writers.gapMs()
      const began = Date.now()
      try {
        await strike({before, writers, directs})
        await writers.goOn()
      } catch (error) {
        // who writes on makes the next tests fail, too
        await Promise.allSettled([directs.stop(), writers.stop()])
        throw error
      }
      const gap = writers.gapMs()
      const after = await untilWhole(site, 'demo')
      const servers = await directs.stop()
      const written = await writers.stop()
      const change = (await changesOf(site, 'demo')).find(({created_at: at}) => Date.parse(at) >= began)?.result as {phases?: {name: string; ms: number}[]} | undefined
      tell(`${what}: ${gap} ms without a write${change ? ` (${JSON.stringify(change.phases)})` : ''}; ${written} written, and ${[...servers.values()].join(' and ')} without the endpoint`)
      assert.equal(replicasOf(after).length, 2)
      for (const node of after.nodes) assert.deepEqual([stateOf(containerOf(node)), networksOf(containerOf(node)).length], ['running', 1])
      await assertSameEverywhere(site, after)
    }
  }

  /** What is inferred from silence is waited out after two times in five minutes, which an agent that starts does not remember. */
  async function freshAgent(): Promise<void> {
    await stopAgent(site)
    assert.equal((await site.run('agent', 'start')).code, 0)
    await untilWhole(site, 'demo')
  }

  it('is three containers with a volume each on the network of the tenant, which follow each other there', async () => {
    const instance = await untilWhole(site, 'demo')
    assert.deepEqual(instance.nodes.map(({role, sync_state}) => `${role} ${sync_state}`).sort(), ['primary none', 'replica sync', 'replica sync'])
    const containers = instance.nodes.map(containerOf)
    assert.equal(new Set(containers).size, 3)
    for (const container of containers) assert.equal(networksOf(container).length, 1)
    assert.equal(docker('volume', 'ls', '--quiet', '--filter', `label=io.dbaas.site=${siteOf(site.home)}`).split('\n').length, 3)
    const address = docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', containerOf(primaryOf(instance)))
    for (const replica of replicasOf(instance)) {
      assert.ok(docker('exec', containerOf(replica), 'grep', '^primary_conninfo', '/var/lib/dbaas/config/replication.conf').includes(`host=''${address}'' port=''5432''`))
    }
    const {url} = await site.json('url', 'demo', '--direct')
    assert.match(url, /target_session_attrs=read-write/)
    for (const {port} of (await site.json('api', 'GET', '/v1/instances/demo/credentials')).credentials.direct) assert.match(url, new RegExp(`:${port}\\b`))
    assert.match((await site.json('url', 'demo', '--read-only')).url, /^postgresql:/)
  })

  // Feature: enterprise-dbaas-platform, Property 24: Automatic Failover Capability
  // Iterations: PostgreSQL on docker: one real failover in CI, 5 in test:full
  it('goes on without its primary, whose container was killed, and loses nothing', async () => {
    await under('docker kill of the primary', async ({before}) => {
      docker('kill', containerOf(primaryOf(before)))
      await primaryIsAnother(before)
      assert.equal((await changesOf(site, 'demo'))[0]?.kind, 'instance.failover')
    })
  })

  it('goes on without a primary that is paused, and kills it before anybody follows another one', async () => {
    await freshAgent()
    await under('docker pause of the primary', async ({before}) => {
      const container = containerOf(primaryOf(before))
      docker('pause', container)
      await until('it is told what is the matter', async () => (await instanceOf(site, 'demo')).nodes.some(({status_reason: because}) => because?.includes('paused')), 20)
      await primaryIsAnother(before)
      assert.notEqual(stateOf(container), 'paused')
    })
  })

  it('goes on without a primary that is cut off its network, where nothing is acknowledged meanwhile, and takes it back', async () => {
    await freshAgent()
    await under('docker network disconnect of the primary', async ({before}) => {
      const container = containerOf(primaryOf(before))
      const inside = await startInside(site, container)
      cut(container)
      await primaryIsAnother(before)
      const ids = await inside.ended
      const rows = await site.json('sql', 'demo', `select count(*) from journal where id in (${ids.map((id) => `'${id}'`).join(', ')})`)
      assert.deepEqual(rows.rows, [[String(ids.length)]], 'a row is lost that the old primary acknowledged within its container')
    })
  })

  // Feature: enterprise-dbaas-platform, Property 25: Synchronous Replica Maintenance
  // Iterations: PostgreSQL on docker: one replica killed in CI, 5 in test:full
  it('writes on while a replica is away, whose container was killed, and takes it back', async () => {
    await under('docker kill of a replica', async ({before}) => {
      const [replica] = replicasOf(before)
      docker('kill', containerOf(replica as ApiNode))
      await until('it is missed', async () => (await instanceOf(site, 'demo')).replication?.status !== 'healthy')
      assert.equal(primaryOf(await untilWhole(site, 'demo')).id, primaryOf(before).id)
    })
  })

  it('says that a replica is paused, and takes it back when it goes on', async () => {
    await under('docker pause of a replica', async ({before}) => {
      const [replica] = replicasOf(before)
      docker('pause', containerOf(replica as ApiNode))
      const paused = await until('it is told', async () => (await instanceOf(site, 'demo')).nodes.find(({status_reason: because}) => because?.includes('paused')))
      assert.equal(paused.id, replica?.id)
      docker('unpause', containerOf(replica as ApiNode))
    })
  })

  it('puts a replica back on its network', async () => {
    await under('docker network disconnect of a replica', async ({before}) => {
      const container = containerOf(replicasOf(before)[0] as ApiNode)
      cut(container)
      await until('it is back', async () => networksOf(container).length === 1)
    })
  })

  it('makes a replica anew whose container and volume somebody removed', async () => {
    await under('docker rm of a replica and its volume', async ({before}) => {
      const container = containerOf(replicasOf(before)[0] as ApiNode)
      // Docker lists what is mounted in any order; not all of it is a volume
      const [volume = '', ...others] = docker('inspect', '--format', '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}', container).split(' ').filter(Boolean)
      assert.deepEqual([volume !== '', others], [true, []])
      docker('rm', '--force', container)
      docker('volume', 'rm', volume)
      await until('it is missed', async () => (await instanceOf(site, 'demo')).replication?.status !== 'healthy')
    })
  })

  it('acknowledges nothing while both replicas are paused, and goes on when they are back', async () => {
    await under('docker pause of both replicas', async ({before, writers}) => {
      for (const replica of replicasOf(before)) docker('pause', containerOf(replica))
      await until('writes wait', async () => (await instanceOf(site, 'demo')).replication?.status === 'blocked', 30)
      const written = writers.acknowledged()
      await new Promise((resolve) => setTimeout(resolve, 1500))
      assert.equal(writers.acknowledged(), written, 'a write was acknowledged that no replica has')
      for (const replica of replicasOf(before)) docker('unpause', containerOf(replica))
    })
  })

  it('loses nothing when agent and primary are killed at the same time', async () => {
    await under('agent and primary killed', async ({before}) => {
      const {agent} = await clientOf(site).call('agent.get', {})
      process.kill(agent.pid, 'SIGKILL')
      docker('kill', containerOf(primaryOf(before)))
      // the endpoint process brings the agent back
      await untilAnswers(site)
      await primaryIsAnother(before)
    })
  })

  it('comes back when all of its containers were killed', async () => {
    await under('docker kill of all', async ({before}) => {
      docker('kill', ...before.nodes.map(containerOf))
    })
  })

  it('changes its primary under load when it is asked to', async () => {
    await under('switchover', async ({before}) => {
      const target = replicasOf(before)[1] as ApiNode
      const {operation} = await site.json('switchover', 'demo', '--to', target.name)
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      assert.equal(primaryOf(await instanceOf(site, 'demo')).id, target.id)
    })
    const {operation} = await site.json('failover', 'demo', '--force')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    const [replica] = replicasOf(await untilWhole(site, 'demo'))
    const promoted = await site.json('promote', 'demo', replica?.name as string)
    assert.equal(promoted.operation?.status, 'succeeded', JSON.stringify(promoted))
    await untilWhole(site, 'demo')
  })

  for (const fault of ['kill', 'hang', 'partition'] as const) {
    it(`is rehearsed with a receipt: ${fault}`, async () => {
      await freshAgent()
      const before = await untilWhole(site, 'demo')
      const {operation} = await site.json('drill', 'failover', 'demo', `--${fault}`)
      assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
      const receipt = operation.result as FailoverReceipt
      tell(`drill --${fault}: ${receipt.time_to_first_write_ms} ms to the first write, ${receipt.write_gap_ms} ms without one, ${receipt.acknowledged_writes} acknowledged`)
      assert.deepEqual([receipt.fault, receipt.from], [fault, primaryOf(before).name])
      assert.deepEqual([receipt.lost_writes, receipt.doubled_writes, receipt.divided_writes, receipt.rpo_seconds], [0, 0, 0, 0])
      const after = await untilWhole(site, 'demo')
      for (const node of after.nodes) assert.deepEqual([stateOf(containerOf(node)), networksOf(containerOf(node)).length], ['running', 1])
    })
  }

  it('is stopped and started as one, has replicas more and fewer, and is one of one server in the end, without a trace of the others', async () => {
    const done = async (...args: string[]): Promise<void> => {
      const answer = await site.json(...args)
      assert.equal(answer.operation?.status, 'succeeded', JSON.stringify(answer))
    }
    const {nodes} = await untilWhole(site, 'demo')
    await done('stop', 'demo')
    for (const node of nodes) assert.equal(stateOf(containerOf(node)), 'exited')
    await done('start', 'demo')
    await done('replicas', 'add', 'demo')
    const more = await untilWhole(site, 'demo')
    assert.equal(replicasOf(more).length, 3)
    await done('replicas', 'remove', 'demo', replicasOf(more).find(({sync_state}) => sync_state === 'sync')?.name as string, '--yes')
    await done('scale', 'demo', '--no-ha', '--replicas', '0')
    assert.deepEqual(dockerLeftovers(siteOf(site.home)).filter((line) => line.startsWith('volume')).length, 1)
    await done('scale', 'demo', '--ha')
    await untilWhole(site, 'demo')
    await done('delete', 'demo', '--yes')
    assert.deepEqual(leftoversOf(site.home), [])
    assert.deepEqual(dockerLeftovers(siteOf(site.home)), [])
  })
})

describe('an agent killed in the life of an instance with replicas, in containers', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(300_000)
  let site: Site
  const body = {name: 'demo', runtime: 'docker', version: '18', size: 'micro', high_availability: true, backup: false}
  before(async () => {
    site = temporarySite('ha-docker-kills', {env})
    assert.equal((await site.run('agent', 'start')).code, 0)
  })
  after(() => site?.dispose())

  it('is followed by one that makes the replicas, adds another, and takes all away', async () => {
    const created = await killedAgent(site, {kill: {kind: 'instance.create', step: 'add-replicas', direction: 'forward', when: 'before', laterMs: 700}}, (key) => call(site, 'instances.create', {body}, key))
    assert.equal(created.status, 'succeeded', JSON.stringify(created.error))
    assert.equal((await untilWhole(site, 'demo')).replication?.voters.length, 2)
    const added = await killedAgent(site, {kill: {kind: 'instance.replicas', step: 'add-replicas', direction: 'forward', when: 'before', laterMs: 700}}, (key) => call(site, 'replicas.add', {params: {instance: 'demo'}, body: {}}, key))
    assert.equal(added.status, 'succeeded', JSON.stringify(added.error))
    assert.equal(replicasOf(await untilWhole(site, 'demo')).length, 3)
    const deleted = await killedAgent(site, {kill: {kind: 'instance.delete', step: 'erase', direction: 'forward', when: 'before', laterMs: 100}}, (key) => call(site, 'instances.delete', {params: {instance: 'demo'}, query: {}}, key))
    assert.equal(deleted.status, 'succeeded', JSON.stringify(deleted.error))
    assert.deepEqual(leftoversOf(site.home), [])
    assert.deepEqual(dockerLeftovers(siteOf(site.home)), [])
  })

  it('leaves nothing of a create that is cancelled while its replicas are made', async () => {
    const operation = await call(site, 'instances.create', {body})
    await until('the replicas are being made', async () => (await clientOf(site).call('operations.get', {params: {operation: operation.id}})).operation.steps.at(-1)?.name === 'add-replicas')
    await clientOf(site).call('operations.cancel', {params: {operation: operation.id}} as never)
    assert.equal((await finish(site, operation)).status, 'cancelled')
    assert.deepEqual(leftoversOf(site.home), [])
    assert.deepEqual(dockerLeftovers(siteOf(site.home)), [])
  })
})

describe('a Docker engine that does not answer the agent of an instance with two replicas', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(600_000)
  let engine: EngineProxy
  let site: Site
  before(async () => {
    engine = await engineProxy()
    site = temporarySite('ha-docker-away', {env: {...env, DOCKER_HOST: engine.host}})
    const answer = await site.json('create', 'demo', '--ha', ...made)
    assert.equal(answer.operation?.status, 'succeeded', JSON.stringify(answer))
  })
  after(async () => {
    engine?.pass()
    await site?.dispose()
    await engine?.close()
  })

  it('leaves it to serve, and what is lost meanwhile has a successor when it answers again', async () => {
    const before = await untilWhole(site, 'demo')
    const writers = await startWriters(site, 'demo')
    const directs = await startDirectWriters(site, 'demo')
    engine.hang()
    await until('the agent has missed it', async () => (await site.json('api', 'GET', '/v1/health')).circuit_breakers.some((each: {name: string; state: string}) => each.name === 'runtime docker' && each.state !== 'closed'))
    await writers.goOn()
    await until('all of it is heard', async () => (await instanceOf(site, 'demo')).replication?.status === 'healthy')
    docker('kill', containerOf(primaryOf(before)))
    await until('it is missed', async () => (await instanceOf(site, 'demo')).replication?.status !== 'healthy')
    engine.pass()
    // what was asked meanwhile was lost
    engine.cut()
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
    await writers.goOn()
    const after = await untilWhole(site, 'demo')
    await directs.stop()
    await writers.stop()
    await assertSameEverywhere(site, after)
    const deleted = await site.json('delete', 'demo', '--yes')
    assert.equal(deleted.operation?.status, 'succeeded', JSON.stringify(deleted))
    assert.deepEqual(dockerLeftovers(siteOf(site.home)), [])
  })
})

describe('an instance with two replicas, in containers that have pg_rewind', function () {
  dockerOrSkip(images.postgresql)
  debian15OrSkip()
  this.timeout(300_000)
  let image: {name: string; remove(): void} | undefined
  let site: Site
  before(async () => {
    image = rewindImage()
    site = temporarySite('ha-docker-rewind')
    const {operation} = await site.json('create', 'demo', '--ha', '--runtime', 'docker', '--version', '15', '--image', image.name, '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
  })
  after(async () => {
    await site?.run('delete', 'demo', '--yes')
    await site?.dispose()
    image?.remove()
  })

  it('takes back its old primary by what differs, over the network of its servers', async () => {
    const before = await untilWhole(site, 'demo')
    const old = primaryOf(before)
    const writers = await startWriters(site, 'demo')
    // What it goes on to write is nobody else's. One whose commits wait might wait for ever for one that the replicas have.
    const inside = await startInside(site, containerOf(old), {waits: false})
    cut(containerOf(old))
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== old.id)
    await inside.ended
    await writers.goOn()
    const after = await untilWhole(site, 'demo')
    await writers.stop()
    await assertSameEverywhere(site, after)
    const log = readFileSync(`${site.home}/logs/agent.log`, 'utf8')
    assert.match(log, new RegExp(`"node":"${old.id}","how":"rewind".*a node comes back`))
    assert.doesNotMatch(log, /a rewind failed/)
  })
})

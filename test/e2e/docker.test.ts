/** Databases in containers, and all that is done to them behind our back: by hand, and by an engine that goes away. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {setTimeout as pause} from 'node:timers/promises'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import {connectTo} from '../support/clients.js'
import {dockerOrSkip, images} from '../support/docker.js'
import {dockerLeftovers, leftoversOf, siteOf} from '../support/leftovers.js'
import {secondEngine, type SecondEngine} from '../support/second-engine.js'
import {temporarySite, type Site} from '../support/site.js'
import {startWriter} from '../support/writer.js'

async function until<T>(what: string, look: () => Promise<T | undefined | false>, seconds = 30): Promise<T> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(100)) {
    const found = await look()
    if (found) return found
  }
  throw new Error(`${what} did not happen within ${seconds} s`)
}
const get = async (site: Site): Promise<ApiInstance> => (await site.json('status', 'shop')).instance
const running = (site: Site) => until('shop running', async () => {
  const instance = await get(site)
  return instance.status === 'running' && instance.nodes[0]?.container !== null && instance
})
const rowsOf = async (site: Site): Promise<string[][]> => {
  const client = await connectTo(site, 'shop')
  try {
    return await client.query('select answer from t')
  } finally {
    await client.close()
  }
}
async function make(site: Site): Promise<void> {
  const made = await site.run('create', 'shop', '--runtime', 'docker', '--version', '18', '--size', 'micro')
  assert.equal(made.code, 0, made.stderr)
  const client = await connectTo(site, 'shop')
  await client.query('create table t as select 42 as answer')
  await client.close()
}

describe('a database in a container', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(300_000)
  const site = temporarySite('docker', {env: {DBAAS_IMAGE_POSTGRESQL: images.postgresql}})
  const docker = (...args: string[]): string => execFileSync('docker', args, {encoding: 'utf8'}).trim()
  const container = async (): Promise<string> => String((await get(site)).nodes[0]?.container)
  before(() => make(site))
  after(() => site.dispose())

  it('says in docker ps what it is, in words that a person understands', async () => {
    const line = docker('ps', '--filter', `name=${await container()}`, '--format', '{{.Names}} {{.Label "io.dbaas.instance-name"}} {{.Label "io.dbaas.engine"}} {{.Label "io.dbaas.tenant"}} {{.Ports}}')
    assert.match(line, /^dbaas-shop-1\S* shop postgresql default 127\.0\.0\.1:\d+->5432\/tcp$/)
  })

  it('has its image pinned by id, and shows it', async () => {
    const {image, version} = await get(site)
    assert.equal(image?.reference, images.postgresql)
    assert.equal(image?.id, docker('image', 'inspect', '--format', '{{.Id}}', images.postgresql))
    assert.match(version, /^18\.\d+$/)
  })

  it('comes back when somebody kills its container, and no acknowledged write is lost', async () => {
    const before = await container()
    const writer = await startWriter(site, 'shop')
    docker('kill', before)
    const {lost, gapMs} = await writer.stop()
    await running(site)
    assert.deepEqual(lost, [])
    console.log(`      docker kill: longest gap between two acknowledged writes ${gapMs} ms`)
    assert.deepEqual(await rowsOf(site), [['42']])
  })

  it('is degraded while its container is paused, says why, and runs on afterwards', async () => {
    const id = await container()
    docker('pause', id)
    const paused = await until('degraded', async () => {
      const instance = await get(site)
      return instance.status === 'degraded' && instance
    })
    assert.match(String(paused.status_reason), /paused/)
    docker('unpause', id)
    await running(site)
    assert.deepEqual(await rowsOf(site), [['42']])
  })

  it('is put back on its network when it was taken off, under its name', async () => {
    const id = await container()
    const network = docker('inspect', '--format', '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}', id).trim()
    docker('network', 'disconnect', '--force', network, id)
    await until('the network is back', async () => docker('inspect', '--format', '{{json .NetworkSettings.Networks}}', id).includes('"shop"'))
    await running(site)
    assert.deepEqual(await rowsOf(site), [['42']])
  })

  it('is made again over its data when somebody removes its container', async () => {
    const idOf = (name: string): string => docker('inspect', '--format', '{{.Id}}', name)
    const before = await container()
    const old = idOf(before)
    docker('rm', '--force', before)
    const {nodes} = await running(site)
    assert.notEqual(idOf(String(nodes[0]?.container)), old)
    assert.deepEqual(await rowsOf(site), [['42']])
  })

  it('fails loudly when its volume is removed, starts nothing empty in its stead, and can be deleted', async () => {
    assert.equal((await site.run('stop', 'shop')).code, 0)
    const siteId = siteOf(site.home)
    const volume = docker('volume', 'ls', '--quiet', '--filter', `label=io.dbaas.site=${siteId}`, '--filter', 'label=io.dbaas.role=data')
    for (const id of docker('ps', '--all', '--quiet', '--filter', `label=io.dbaas.site=${siteId}`, '--filter', 'label=io.dbaas.role=server').split('\n').filter(Boolean)) docker('rm', '--force', id)
    docker('volume', 'rm', volume)
    const refused = await site.json('start', 'shop')
    assert.equal(refused.error?.code, 'DATA_GONE', JSON.stringify(refused))
    assert.equal((await get(site)).status, 'failed')
    assert.equal(docker('volume', 'ls', '--quiet', '--filter', `label=io.dbaas.site=${siteId}`, '--filter', 'label=io.dbaas.role=data'), '')
    assert.equal((await site.run('delete', 'shop', '--yes')).code, 0)
    assert.deepEqual(leftoversOf(site.home), [])
    assert.deepEqual(dockerLeftovers(siteId), [])
  })
})

describe('a Docker engine that goes away', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(300_000)
  let engine: SecondEngine
  let site: Site
  before(async () => {
    engine = await secondEngine(images.postgresql)
    site = temporarySite('docker-away', {env: {DOCKER_HOST: engine.host, DBAAS_IMAGE_POSTGRESQL: images.postgresql}})
    await make(site)
  })
  after(async () => {
    engine?.goOn()
    await site?.run('delete', 'shop', '--yes')
    await site?.dispose()
    await engine?.dispose()
  })

  it('is told by a 503 within two seconds, while the databases serve and are listed', async () => {
    const client = await connectTo(site, 'shop')
    engine.hang()
    try {
      const began = Date.now()
      const refused = await site.json('create', 'other', '--runtime', 'docker', '--version', '18', '--size', 'micro')
      const ms = Date.now() - began
      assert.equal(refused.error?.code, 'RUNTIME_UNAVAILABLE', JSON.stringify(refused))
      assert.ok(refused.error.suggestions?.length > 0)
      // two seconds of the agent, and the command line's own start
      assert.ok(ms < 3500, `${ms} ms`)
      assert.deepEqual(await client.query('select answer from t'), [['42']])
      assert.deepEqual(await rowsOf(site), [['42']], 'a new connection through the endpoint')
      assert.equal((await site.json('list')).instances.length, 1)
      for (let i = 0; i < 3; i++) await site.json('create', 'other', '--runtime', 'docker', '--version', '18', '--size', 'micro')
      const {circuit_breakers: breakers} = await site.json('api', 'GET', '/v1/health')
      assert.equal(breakers.find((b: {name: string}) => b.name === 'runtime docker')?.state, 'open', JSON.stringify(breakers))
    } finally {
      engine.goOn()
    }
    await client.close()
    await running(site)
    await until('the breaker closes', async () => {
      const {circuit_breakers: breakers} = await site.json('api', 'GET', '/v1/health')
      return breakers.find((b: {name: string}) => b.name === 'runtime docker')?.state === 'closed'
    })
  })

  it('brings its databases back when it was restarted under them', async () => {
    await engine.stop()
    await until('degraded', async () => (await get(site)).status === 'degraded')
    await engine.start()
    await running(site)
    assert.deepEqual(await rowsOf(site), [['42']])
  })

  it('may be away when the agent starts', async () => {
    assert.equal((await site.run('agent', 'stop')).code, 0)
    await engine.stop()
    const instance = await get(site)
    assert.equal(instance.status, 'degraded', instance.status_reason ?? '')
    await engine.start()
    await running(site)
    assert.deepEqual(await rowsOf(site), [['42']])
  })
})

/** Who reaches whom on the networks of tenants, tried by clients in containers of their own. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import type {Placement, Runtime} from '../../src/agent/runtimes/runtime.js'
import type {AdminCredentials} from '../../src/engines/engine.js'
import {postgresql} from '../../src/engines/postgresql/index.js'
import {nameOfNetwork} from '../../src/agent/runtimes/docker/names.js'
import {docker, dockerOrSkip, images} from '../support/docker.js'
import {realRuns} from '../support/runs.js'
import {testAuthority} from '../engines/certificates.js'
import {eventually} from './docker-fake-site.js'
import {containerOf, dockerSite, siteLabel, type DockerSite} from './docker-site.js'
import {placementOf} from './placement.js'

const tenants = ['red', 'blue'] as const
type Tenant = (typeof tenants)[number]
/** `outsider`: on Docker's default network, as any container that nobody thought about. */
const clients = [...tenants, 'outsider'] as const
type ClientOf = (typeof clients)[number]
const ways = ['name', 'full name', 'container name', 'address', 'published port by its gateway', 'published port by the client\'s gateway'] as const

describe('tenants on one Docker engine', () => {
  dockerOrSkip(images.postgresql, images.client)
  let site: DockerSite
  let runtime: Runtime
  let admin: AdminCredentials
  const nodes = new Map<Tenant, Placement>()
  const containers = new Map<ClientOf, import('dockerode').Container>()

  before(async () => {
    site = dockerSite({postgresql})
    runtime = await site.open()
    const authority = await testAuthority()
    admin = await authority.admin('dbaas_admin')
    const found = await runtime.software.locate('postgresql', '18')
    assert.ok(found)
    await Promise.all(tenants.map(async (tenantId, i) => {
      const node = placementOf({
        nodeId: `nod_${tenantId}`, nodeName: 'shop-1', instanceId: `ins_${tenantId}`, instanceName: 'shop', tenantId,
        engine: 'postgresql', version: found.version, image: found.image, port: 25_800 + i,
      })
      nodes.set(tenantId, node)
      await runtime.place(node)
      const host = runtime.host(node)
      await postgresql.lifecycle.initialise(host, node.version)
      await postgresql.config.write(host, {version: node.version, instanceName: 'shop', values: {}, tls: await authority.server(['localhost', 'shop'])})
      await runtime.start(node, postgresql.lifecycle.command(host, node.version))
      await eventually('it is ready', async () => (await postgresql.lifecycle.whyNotReady(host, admin)) === undefined, 30_000)
    }))
    for (const who of clients) {
      const container = await docker.createContainer({
        Image: images.client, Cmd: ['sleep', '3600'], Labels: {[siteLabel]: site.siteId}, StopSignal: 'SIGKILL',
        HostConfig: {NetworkMode: who === 'outsider' ? 'bridge' : nameOfNetwork(site.siteId, who)},
      })
      await container.start()
      containers.set(who, container)
    }
  })
  after(async () => {
    if (!site) return
    for (const container of containers.values()) await container.remove({force: true})
    for (const node of nodes.values()) await runtime.remove(node)
    await runtime.tidy(new Set())
    const left = await site.leftovers()
    await runtime.close()
    await site.dispose()
    assert.deepEqual(left, [])
  })

  async function gatewayOf(network: string): Promise<string> {
    return (await docker.getNetwork(network).inspect()).IPAM?.Config?.[0]?.Gateway as string
  }

  async function targetOf(who: ClientOf, tenant: Tenant, way: (typeof ways)[number]): Promise<[host: string, port: number]> {
    const node = nodes.get(tenant) as Placement
    const network = nameOfNetwork(site.siteId, tenant)
    const {Name, NetworkSettings} = await (await containerOf(site.siteId, node.nodeId)).inspect()
    switch (way) {
      case 'name': return [node.instanceName, 5432]
      case 'full name': return [`${node.instanceName}.${tenant}.dbaas.internal`, 5432]
      case 'container name': return [Name.slice(1), 5432]
      case 'address': return [NetworkSettings.Networks[network]?.IPAddress as string, 5432]
      case 'published port by its gateway': return [await gatewayOf(network), node.port]
      default: return [await gatewayOf(who === 'outsider' ? 'bridge' : nameOfNetwork(site.siteId, who)), node.port]
    }
  }

  async function say(who: ClientOf, argv: string[]): Promise<string> {
    const exec = await (containers.get(who) as import('dockerode').Container).exec({Cmd: argv, AttachStdout: true, AttachStderr: true})
    const stream = await exec.start({})
    const chunks: Buffer[] = []
    for await (const chunk of stream) chunks.push(chunk as Buffer)
    return Buffer.concat(chunks).toString('latin1')
  }

  /** Both tenants have a `shop`: a client that reaches one may reach its own, and is asked whose it is. */
  async function reaches(who: ClientOf, [host, port]: [string, number]): Promise<boolean> {
    return (await say(who, ['timeout', '2', 'bash', '-c', `exec 3<>/dev/tcp/${host}/${port} && echo OPEN`])).includes('OPEN')
  }

  const addressOf = async (who: ClientOf, host: string): Promise<string | undefined> => /(\d+\.\d+\.\d+\.\d+)/.exec(await say(who, ['getent', 'ahostsv4', host]))?.[1]

  // Feature: enterprise-dbaas-platform, Property 37: Network Tenant Isolation
  it('Property 37: whatever way a client tries, it reaches instances of its own tenant by name and address, and no others', async function () {
    // what is dropped on the way is only known by waiting
    this.timeout(600_000)
    await fc.assert(fc.asyncProperty(fc.constantFrom(...clients), fc.constantFrom(...tenants), fc.constantFrom(...ways), async (who, tenant, way) => {
      const target = await targetOf(who, tenant, way)
      const own = who === tenant && !way.startsWith('published')
      if (way === 'name' && who !== tenant && who !== 'outsider') {
        // the name is its own shop's
        const [address] = await targetOf(who, tenant, 'address')
        assert.notEqual(await addressOf(who, 'shop'), address)
        return
      }
      if (way !== 'address' && !way.startsWith('published')) assert.equal((await addressOf(who, target[0])) !== undefined, own, `${who} resolves ${target[0]}`)
      assert.equal(await reaches(who, target), own, `${who} reaches ${tenant} by ${way}`)
    }), {numRuns: realRuns(30)})
  })

  it('lets a client on the tenant\'s network in by the name of the instance, over TLS', async () => {
    const said = await say('red', ['env', 'PGCONNECT_TIMEOUT=5', 'psql', 'host=shop dbname=app user=app password=wrong sslmode=require', '-c', 'select 1'])
    assert.match(said, /password authentication failed/)
  })
})

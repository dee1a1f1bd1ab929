/** The docker runtime with the official PostgreSQL image, and with a registry to pull it from. */
import assert from 'node:assert/strict'
import tls from 'node:tls'
import type {Placement, Runtime, ServerEnd} from '../../src/agent/runtimes/runtime.js'
import type {AdminCredentials, ClientCredentials, TlsFiles} from '../../src/engines/engine.js'
import {postgresql} from '../../src/engines/postgresql/index.js'
import {docker, dockerOrSkip, images, registry, registryOrSkip} from '../support/docker.js'
import {testAuthority, type TestAuthority} from '../engines/certificates.js'
import {eventually} from './docker-fake-site.js'
import {containerOf, dockerSite, type DockerSite} from './docker-site.js'
import {placementOf} from './placement.js'

const GIB = 1024 ** 3
const never = new AbortController().signal

describe('the docker runtime with a real PostgreSQL', () => {
  dockerOrSkip(images.postgresql)
  let site: DockerSite
  let runtime: Runtime
  let authority: TestAuthority
  let admin: AdminCredentials
  let serverTls: TlsFiles
  let node: Placement

  before(async () => {
    site = dockerSite({postgresql})
    runtime = await site.open()
    authority = await testAuthority()
    admin = await authority.admin('dbaas_admin')
    serverTls = await authority.server(['localhost', 'shop'])
    const found = await runtime.software.locate('postgresql', '18')
    assert.ok(found?.image, 'the image is here')
    let port = 25_600
    while (!(await runtime.isPortFree(port))) port++
    node = placementOf({
      nodeId: 'nod_pg', nodeName: 'shop-1', instanceId: 'ins_pg', instanceName: 'shop', engine: 'postgresql', version: found.version, image: found.image, port,
      size: {name: 'small', cpu: 1, memory_bytes: GIB, storage_bytes: 10 * GIB},
    })
  })
  after(async () => {
    if (!site) return
    if (node) await runtime.remove(node)
    await runtime.tidy(new Set())
    const left = await site.leftovers()
    await runtime.close()
    await site.dispose()
    assert.deepEqual(left, [])
  })

  const client = (): ClientCredentials => ({
    ...runtime.host(node).address(), database: 'app', username: 'app', password: 'correct horse battery', ca: authority.ca, serverName: 'shop',
  })

  async function ready(): Promise<void> {
    await eventually('the server is ready', async () => (await postgresql.lifecycle.whyNotReady(runtime.host(node), admin)) === undefined, 30_000)
  }

  async function start(): Promise<string> {
    await postgresql.lifecycle.clearStale(runtime.host(node))
    const {ref} = await runtime.start(node, postgresql.lifecycle.command(runtime.host(node), node.version))
    await ready()
    return ref
  }

  it('finds in the image which version it is, where its programs are and who runs them', () => {
    const {image} = node
    assert.match(node.version, /^18\.\d+$/)
    assert.equal(image?.reference, images.postgresql)
    assert.match(image?.id ?? '', /^sha256:[0-9a-f]{64}$/)
    assert.match(image?.bin ?? '', /^\/usr\/.*bin$/)
    assert.ok(image && image.uid > 0 && image.gid > 0)
  })

  it('makes a server that speaks TLS, by hand, through the host alone', async () => {
    await runtime.place(node)
    const host = runtime.host(node)
    assert.equal(await postgresql.lifecycle.isInitialised(host), false)
    await postgresql.lifecycle.initialise(host, node.version)
    assert.equal(await postgresql.lifecycle.isInitialised(host), true)
    assert.equal(await postgresql.config.write(host, {version: node.version, instanceName: 'shop', values: {work_mem: '7MB'}, tls: serverTls}), true)
    await start()
    assert.equal(await postgresql.config.write(host, {version: node.version, instanceName: 'shop', values: {work_mem: '7MB'}, tls: serverTls}), false)
    await postgresql.access.grantApplication(host, admin, client())
    await postgresql.config.verify(host, admin, {work_mem: '7MB'})
    assert.deepEqual(await postgresql.access.probe(client(), 5000), {tlsVersion: 'TLSv1.3'})
    await assert.rejects(new Promise((resolve, reject) => {
      tls.connect({...host.address(), maxVersion: 'TLSv1.2', ca: authority.ca}, () => resolve(undefined)).on('error', reject)
    }))
  })

  it('gives it no privilege, no environment of the image, and its limits', async () => {
    const {Config, HostConfig, Mounts, NetworkSettings} = await (await containerOf(site.siteId, node.nodeId)).inspect()
    assert.equal(Config.User, `${node.image?.uid}:${node.image?.gid}`)
    assert.deepEqual([HostConfig.CapDrop, HostConfig.ReadonlyRootfs, HostConfig.Privileged, HostConfig.RestartPolicy?.Name], [['ALL'], true, false, 'no'])
    assert.deepEqual([HostConfig.Memory, HostConfig.MemorySwap, HostConfig.NanoCpus], [GIB, GIB, 1e9])
    assert.deepEqual(Mounts.filter((mount) => mount.Type === 'volume').map((mount) => mount.Destination), ['/var/lib/dbaas'], 'no volume without a name')
    assert.deepEqual(Object.values(NetworkSettings.Ports).flat().map((each) => each?.HostIp), ['127.0.0.1'])
    const host = runtime.host(node)
    const environment = await host.exec(['sh', '-c', 'tr "\\0" "\\n" < /proc/1/environ'])
    assert.doesNotMatch(environment.stdout, /PGDATA|PG_MAJOR|POSTGRES|PASSWORD/)
    assert.match(environment.stdout, /^TZ=UTC$/m)
    const status = (await host.exec(['cat', '/proc/1/status'])).stdout
    assert.match(status, /^CapEff:\s+0+$/m)
    assert.match(status, /^NoNewPrivs:\s+1$/m)
    assert.equal((await host.exec(['touch', '/etc/planted'])).code, 1)
    const text = JSON.stringify([Config.Labels, Config.Env])
    assert.doesNotMatch(text, /PRIVATE KEY|correct horse/)
  })

  it('measures what it takes', async () => {
    const usage = await runtime.usage(node)
    assert.ok(usage && usage.memoryBytes > 2 ** 20 && usage.memoryBytes < GIB && usage.diskBytes > 20 * 2 ** 20 && usage.cpuSeconds > 0, JSON.stringify(usage))
  })

  it('has the shared memory that a parallel query wants', async () => {
    const ask = (statement: string) => postgresql.access.query(client(), statement, {timeoutMs: 60_000, maxRows: 100})
    await ask('create table numbers as select a from generate_series(1, 400000) a')
    await ask('analyze numbers')
    for (const setting of ['parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0', "work_mem = '64MB'"]) {
      await ask(`alter role app set ${setting}`)
    }
    const join = 'select count(*) from numbers x join numbers y using (a)'
    assert.match(JSON.stringify((await ask(`explain ${join}`)).rows), /Parallel Hash/)
    assert.equal(String((await ask(join)).rows[0]?.[0]), '400000')
  })

  it('is killed whole with a busy backend, and keeps what was committed', async () => {
    const {ref} = await runtime.start(node, postgresql.lifecycle.command(runtime.host(node), node.version))
    await postgresql.access.query(client(), 'create table kept as select 42 as n', {timeoutMs: 5000, maxRows: 1})
    const busy = postgresql.access.query(client(), 'select count(*) from generate_series(1, 100000000000)', {timeoutMs: 60_000, maxRows: 1}).catch((error: unknown) => error)
    await new Promise((resolve) => setTimeout(resolve, 200))
    await runtime.kill(node, ref)
    assert.deepEqual((await site.leftovers()).filter((line) => line.startsWith('process')), [])
    assert.ok((await busy) instanceof Error)
    assert.notEqual(await start(), ref)
    assert.deepEqual((await postgresql.access.query(client(), 'select n from kept', {timeoutMs: 5000, maxRows: 1})).rows, [[42]])
  })

  it('ends by the signal it is sent, its log tells, and a follower goes on through the restart', async () => {
    const {ref} = await runtime.start(node, postgresql.lifecycle.command(runtime.host(node), node.version))
    const stop = new AbortController()
    const heard: string[] = []
    const following = (async () => {
      for await (const line of runtime.logs(node, {lines: 1, follow: true, signal: stop.signal})) heard.push(line)
    })()
    await eventually('the log is heard', () => heard.length > 0)
    const ended = new Promise<ServerEnd>((resolve) => runtime.watch(node, ref, resolve))
    await runtime.signal(node, ref, 'SIGINT')
    assert.deepEqual(await ended, {exitCode: 0, because: null})
    await start()
    await eventually('the log of the next run', () => heard.filter((line) => line.includes('ready to accept connections')).length > 0)
    stop.abort()
    await following
    assert.equal(heard.filter((line) => line.includes('database system is shut down')).length, 1, heard.join('\n'))
    const all: string[] = []
    for await (const line of runtime.logs(node, {follow: false, signal: never})) all.push(line)
    assert.ok(all.length > heard.length)
    const times = all.map((line) => postgresql.logTime(line)).filter((time) => time !== undefined)
    assert.deepEqual(times, times.toSorted((a, b) => a - b), 'oldest first')
  })

  it('runs for a moment on a scratch place, and nothing of it is left', async () => {
    const before = await site.leftovers()
    await runtime.scratch.use(node, async ({host, start: startScratch}) => {
      await postgresql.lifecycle.initialise(host, node.version)
      await postgresql.config.write(host, {version: node.version, instanceName: 'scratch', values: {}, tls: serverTls})
      await startScratch(postgresql.lifecycle.command(host, node.version))
      await eventually('it is ready', async () => (await postgresql.lifecycle.whyNotReady(host, admin)) === undefined, 30_000)
      assert.ok((await postgresql.config.readCatalogue(host, admin)).size > 300)
    })
    assert.deepEqual((await site.leftovers()).filter((line) => !line.startsWith('process')), before.filter((line) => !line.startsWith('process')))
  })

  it('does not bring the volume of a place back that is removed while files are asked for', async () => {
    for (let round = 0; round < 6; round++) {
      const gone = {...node, nodeId: `nod_gone${round}`, nodeName: `gone${round}-1`, instanceId: `ins_gone${round}`, instanceName: `gone${round}`}
      await runtime.place(gone)
      const host = runtime.host(gone)
      let asking = true
      const asked = (async () => {
        while (asking) await host.exists(`${host.paths.data}/PG_VERSION`).catch(() => undefined)
      })()
      await runtime.remove(gone)
      asking = false
      await asked
      // what was asked last may have made a tool
      await runtime.remove(gone)
    }
    const {Volumes} = await docker.listVolumes()
    assert.deepEqual(Volumes.map(({Name}) => Name).filter((name) => name.includes('-gone')), [])
  })

  it('does not bring the volume of a place back that is removed while somebody lists what there is', async () => {
    for (let round = 0; round < 6; round++) {
      const gone = {...node, nodeId: `nod_listed${round}`, nodeName: `listed${round}-1`, instanceId: `ins_listed${round}`, instanceName: `listed${round}`}
      await runtime.place(gone)
      let listing = true
      const listed = (async () => {
        while (listing) await runtime.list()
      })()
      await new Promise((resolve) => setTimeout(resolve, 100 * round))
      // whoever lists has it mounted for a moment
      await runtime.remove(gone).finally(() => {
        listing = false
      })
      await listed
    }
    const {Volumes} = await docker.listVolumes()
    assert.deepEqual(Volumes.map(({Name}) => Name).filter((name) => name.includes('-listed')), [])
  })

  it('removes a place that an agent was looking at when it was killed, and none that a stranger has', async () => {
    const gone = {...node, nodeId: 'nod_looked', nodeName: 'looked-1', instanceId: 'ins_looked', instanceName: 'looked'}
    await runtime.place(gone)
    const {Volumes} = await docker.listVolumes()
    const {Name} = Volumes.find(({Labels}) => Labels['io.dbaas.node'] === gone.nodeId) as {Name: string}
    const hold = (Labels: Record<string, string>) => docker.createContainer({Image: node.image?.id as string, Labels, HostConfig: {Binds: [`${Name}:/volumes/0`]}})
    const strange = await hold({})
    await assert.rejects(runtime.remove(gone), {code: 'INVALID_STATE'})
    await strange.remove({v: true})
    await hold({'io.dbaas.site': 'site_killed', 'io.dbaas.role': 'probe'})
    await runtime.remove(gone)
    assert.deepEqual(await docker.listContainers({all: true, filters: {label: ['io.dbaas.site=site_killed']}}), [])
  })

  it('leaves nothing: the volume, the network and the container are gone', async () => {
    await runtime.remove(node)
    assert.deepEqual(await runtime.observe(node, null), {state: 'absent'})
    assert.deepEqual(await site.leftovers(), [])
  })
})

describe('the docker runtime and a registry', () => {
  registryOrSkip()
  const reference = `${registry}/postgres:18`
  let site: DockerSite
  let runtime: Runtime

  before(async () => {
    site = dockerSite({postgresql}, {DBAAS_IMAGE_POSTGRESQL: `${registry}/postgres`})
    runtime = await site.open()
  })
  after(async () => {
    if (!site) return
    await runtime.close()
    await site.dispose()
    await docker.getImage(reference).remove({force: true}).catch(() => undefined)
  })

  const request = (version: string, from: string | null = null, checksum: string | null = null) => ({version, known: null, from, checksum})

  it('pulls from a mirror, says how far it is, and pins the digest', async () => {
    await docker.getImage(reference).remove({force: true}).catch(() => undefined)
    assert.equal(await runtime.software.locate('postgresql', '18'), undefined, 'only the mirror counts')
    const said: string[] = []
    const installed = await runtime.software.install('postgresql', request('18'), (because) => said.push(because), never)
    assert.match(installed.version, /^18\./)
    assert.equal(installed.bin, reference)
    assert.match(installed.image?.digest ?? '', /^sha256:[0-9a-f]{64}$/)
    assert.equal(said[0], `pulling ${reference}`)
    assert.ok(said.some((line) => / of .*MiB|unpacking/.test(line)), said.join(' | '))
    assert.deepEqual(await runtime.software.locate('postgresql', '18'), installed)
    assert.ok((await runtime.software.installed('postgresql')).some((each) => each.bin === reference))
  })

  it('pulls an image that was removed by hand again, by its digest', async () => {
    const found = await runtime.software.locate('postgresql', '18')
    assert.ok(found?.image)
    const node = placementOf({nodeId: 'nod_p', nodeName: 'pulled-1', instanceId: 'ins_p', instanceName: 'pulled', engine: 'postgresql', version: found.version, image: found.image, port: 25_700})
    await docker.getImage(reference).remove({force: true})
    const fresh = await site.open()
    await fresh.place(node)
    assert.match((await fresh.host(node).exec([`${fresh.host(node).paths.bin}/postgres`, '--version'])).stdout, /PostgreSQL/)
    await fresh.remove(node)
    await fresh.close()
    await docker.getImage(`${registry}/postgres@${found.image.digest}`).remove({force: true}).catch(() => undefined)
  })

  it('can be told to stop', async () => {
    await docker.getImage(reference).remove({force: true}).catch(() => undefined)
    const stop = new AbortController()
    const pulling = runtime.software.install('postgresql', request('18'), () => stop.abort(new Error('cancelled')), stop.signal)
    await assert.rejects(pulling, /cancelled/)
  })

  it('removes what it pulled, and nothing else', async () => {
    const {version} = await runtime.software.install('postgresql', request('18'), () => undefined, never)
    await runtime.software.remove('postgresql', version)
    assert.equal(await runtime.software.locate('postgresql', '18'), undefined)
    const official = await site.open({DBAAS_IMAGE_POSTGRESQL: undefined})
    const found = await official.software.locate('postgresql', '18')
    if (found) await assert.rejects(official.software.remove('postgresql', found.version), {code: 'INVALID_STATE'})
    await official.close()
  })

  it('tells a version, an image and a registry that are not there apart', async () => {
    await assert.rejects(runtime.software.install('postgresql', request('17'), () => undefined, never), {code: 'IMAGE_NOT_FOUND', message: new RegExp(`${registry}/postgres:17`)})
    await assert.rejects(runtime.software.install('postgresql', request('18', `${registry}/nothing:18`), () => undefined, never), {code: 'IMAGE_NOT_FOUND'})
    await assert.rejects(runtime.software.install('postgresql', request('18', '127.0.0.1:9/postgres:18'), () => undefined, never), {code: 'DOWNLOAD_FAILED'})
    await assert.rejects(runtime.software.install('postgresql', request('18', 'not a name'), () => undefined, never), {code: 'INVALID_REQUEST'})
  })

  it('refuses an image of another version, another engine or another content', async () => {
    await assert.rejects(runtime.software.install('postgresql', request('17', reference), () => undefined, never), {code: 'UNKNOWN_VERSION', message: /holds PostgreSQL 18\./})
    await assert.rejects(runtime.software.install('postgresql', request('18', reference, `sha256:${'0'.repeat(64)}`), () => undefined, never), {code: 'INTEGRITY_MISMATCH'})
    assert.equal(await runtime.software.locate('postgresql', '18', images.client), undefined)
  })
})

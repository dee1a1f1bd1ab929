/** What happens to containers, volumes, networks and engines behind the runtime's back. */
import assert from 'node:assert/strict'
import {createServer} from 'node:net'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import tar from 'tar-stream'
import type {Runtime, ServerEnd} from '../../src/agent/runtimes/runtime.js'
import {nameOfNetwork, nameOfNode} from '../../src/agent/runtimes/docker/names.js'
import {docker, dockerOrSkip, images} from '../support/docker.js'
import {eventually, fakeDockerSite, type FakeSite} from './docker-fake-site.js'
import {engineProxy, type EngineProxy} from './docker-proxy.js'
import {containerOf, siteLabel} from './docker-site.js'
import {fakeCommand, fakeInitialise} from './fake-engine.js'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('the docker runtime under faults', () => {
  dockerOrSkip(images.client)
  let site: FakeSite
  let proxy: EngineProxy
  let runtime: Runtime

  before(async () => {
    site = await fakeDockerSite()
    proxy = await engineProxy()
    runtime = await site.open({DOCKER_HOST: proxy.host})
  })
  afterEach(async () => {
    proxy?.pass()
    await site?.clear(runtime)
  })
  after(async () => {
    await runtime?.close()
    await proxy?.close()
    await site?.dispose()
  })

  const endOf = (node: Parameters<Runtime['watch']>[0], ref: string): Promise<ServerEnd> => new Promise((resolve) => runtime.watch(node, ref, resolve))

  /** What is done to a node is told. */
  async function changes(nodeId: string, act: () => Promise<unknown>): Promise<void> {
    const told: (string | null)[] = []
    const stop = runtime.onChange((id) => told.push(id))
    try {
      await eventually('the events are heard', () => told.includes(null))
      await act()
      await eventually(`onChange(${nodeId})`, () => told.includes(nodeId))
    } finally {
      stop()
    }
  }

  it('tells of a container that is paused, and kills it all the same', async () => {
    const {node, ref} = await site.started(runtime)
    const container = await containerOf(site.siteId, node.nodeId)
    await changes(node.nodeId, () => container.pause())
    const seen = await runtime.observe(node, ref)
    assert.ok(seen.state === 'running' && seen.impairment?.includes('paused'), JSON.stringify(seen))
    // the files are still there for whoever wants them
    assert.equal(await runtime.host(node).exists(join(runtime.host(node).paths.data, 'identity')), true)
    await changes(node.nodeId, () => container.unpause())
    assert.deepEqual(await runtime.observe(node, ref), {...seen, impairment: null})
    await container.pause()
    const ended = endOf(node, ref)
    await runtime.kill(node, ref)
    assert.equal((await runtime.observe(node, ref)).state, 'stopped')
    assert.equal((await ended).exitCode, 137)
  })

  it('tells of a container that is cut off its network, and place puts it back, with its names and its port', async () => {
    const {node, ref} = await site.started(runtime)
    const container = await containerOf(site.siteId, node.nodeId)
    const network = nameOfNetwork(site.siteId, node.tenantId)
    await changes(node.nodeId, () => docker.getNetwork(network).disconnect({Container: container.id, Force: true}))
    const seen = await runtime.observe(node, ref)
    assert.ok(seen.state === 'running' && seen.impairment?.includes(network), JSON.stringify(seen))
    assert.equal(seen.peerAddress, null)
    await runtime.place(node)
    const {NetworkSettings: now} = await container.inspect()
    assert.deepEqual(await runtime.observe(node, ref), {state: 'running', ref, pid: null, impairment: null, peerAddress: {host: now.Networks[network]?.IPAddress, port: 9999}})
    assert.ok(now.Networks[network]?.Aliases?.includes(node.instanceName))
    assert.equal(now.Ports['9999/tcp']?.[0]?.HostPort, String(node.port))
  })

  it('gives the programs of a node whose server does not run a network only where they dial servers', async () => {
    const {node, ref} = await site.started(runtime)
    const seen = await runtime.observe(node, ref)
    assert.ok(seen.state === 'running' && seen.peerAddress !== null)
    const {host, port} = seen.peerAddress
    const other = await site.node(runtime)
    await runtime.place(other)
    // nothing listens there, which only who gets there is told
    const dial = (dials: boolean) => runtime.host(other).exec(['/bin/bash', '-c', `exec 3<>/dev/tcp/${host}/${port}`], {dials})
    assert.match((await dial(false)).stderr, /unreachable/)
    assert.match((await dial(true)).stderr, /refused/)
    assert.match((await dial(true)).stderr, /refused/)
  })

  it('unpacks into a volume what comes, as the user of the server, and says why it could not', async () => {
    assert.ok(runtime.unpack)
    const node = await site.node(runtime)
    await runtime.place(node)
    const {data} = runtime.host(node).paths
    const never = new AbortController().signal
    const pack = tar.pack()
    pack.entry({name: 'deep/er/file', mode: 0o640}, 'content')
    pack.finalize()
    await runtime.unpack(node, pack as unknown as Readable, never)
    assert.equal((await runtime.host(node).read(join(data, 'deep/er/file')))?.toString(), 'content')
    const {stdout} = await runtime.host(node).exec(['stat', '-c', '%a %u', join(data, 'deep'), join(data, 'deep/er/file')])
    assert.equal(stdout, `700 ${node.image?.uid}\n640 ${node.image?.uid}\n`)

    const cutOff = new Error('its source is gone')
    const broken = tar.pack()
    const half = broken.entry({name: 'half', size: 1000})
    half.on('error', () => undefined)
    half.write(Buffer.from('x'))
    // before its reader is there
    setTimeout(() => broken.destroy(cutOff), 1)
    await assert.rejects(runtime.unpack(node, broken as unknown as Readable, never), cutOff)
    const noise = Readable.from([Buffer.alloc(2048, 'no tar')])
    await assert.rejects(runtime.unpack(node, noise, never), {code: 'RUNTIME_UNAVAILABLE', message: /cannot unpack a copy of the data/})
  })

  it('fails what is asked of a container that is paused meanwhile, instead of waiting for it', async () => {
    const {node} = await site.started(runtime)
    const host = runtime.host(node)
    const path = join(host.paths.data, 'identity')
    await host.read(path)
    const container = await containerOf(site.siteId, node.nodeId)
    await container.pause()
    // the shell that was opened there is still the way in
    await assert.rejects(host.read(path), {code: 'RUNTIME_UNAVAILABLE'})
    assert.notEqual(await host.read(path), undefined, 'another way was not found')
    await container.unpause()
  })

  it('makes a container that was removed by hand again, over the same data', async () => {
    const {node, ref} = await site.started(runtime)
    const identity = await runtime.host(node).read(join(runtime.host(node).paths.data, 'identity'))
    const ended = endOf(node, ref)
    await (await containerOf(site.siteId, node.nodeId)).remove({force: true})
    const end = await ended
    assert.ok(end.exitCode === 137 || end.because !== null, JSON.stringify(end))
    assert.deepEqual(await runtime.observe(node, ref), {state: 'stopped', exitCode: null, because: null})
    const next = await site.start(runtime, node)
    assert.notEqual(next, ref)
    assert.deepEqual(await runtime.host(node).read(join(runtime.host(node).paths.data, 'identity')), identity)
    assert.deepEqual((await runtime.list()).find((each) => each.nodeId === node.nodeId)?.placement, node)
  })

  it('says absent when the volume is gone, and never makes an empty one in its place', async () => {
    const {node, ref} = await site.started(runtime)
    await (await containerOf(site.siteId, node.nodeId)).remove({force: true})
    await changes(node.nodeId, () => docker.getVolume(nameOfNode(site.siteId, node)).remove())
    assert.deepEqual(await runtime.observe(node, ref), {state: 'absent'})
    await assert.rejects(runtime.start(node, fakeCommand(runtime.host(node))), {code: 'INVALID_STATE'})
    await assert.rejects(runtime.host(node).read(runtime.host(node).paths.data), {code: 'INVALID_STATE'})
    assert.equal(await runtime.usage(node), undefined)
    await runtime.label(node)
    assert.deepEqual((await site.leftovers()).filter((line) => line.startsWith('volume')), [])
  })

  it('adopts a server that was started by hand, with a ref of its own', async () => {
    const {node, ref} = await site.started(runtime)
    const ended = endOf(node, ref)
    await (await containerOf(site.siteId, node.nodeId)).restart({t: 0})
    await ended
    const seen = await runtime.observe(node, ref)
    assert.ok(seen.state === 'running' && seen.ref !== ref)
    await runtime.signal(node, ref, 'SIGKILL')
    assert.equal((await runtime.observe(node, ref)).state, 'running', 'the ref of the run before reaches nothing')
    assert.equal((await runtime.start(node, fakeCommand(runtime.host(node)))).ref, seen.ref)
  })

  it('says that a server was killed for want of memory', async () => {
    const node = await site.node(runtime, {size: {name: 'custom', cpu: 1, memory_bytes: 128 * 1024 ** 2, storage_bytes: 1024 ** 3}})
    await runtime.place(node)
    const host = runtime.host(node)
    await fakeInitialise(host)
    await host.write({path: join(host.paths.data, 'greedy'), content: ''})
    const {ref} = await runtime.start(node, fakeCommand(host))
    const end = await endOf(node, ref)
    assert.deepEqual(end, {exitCode: 137, because: 'killed: it used more memory than its 128 MiB'})
    assert.deepEqual(await runtime.observe(node, ref), {state: 'stopped', ...end})
  })

  it('does not lower the memory of a server below what it uses', async () => {
    const {node} = await site.started(runtime, {size: {name: 'custom', cpu: 1, memory_bytes: 512 * 1024 ** 2, storage_bytes: 1024 ** 3}})
    const container = await containerOf(site.siteId, node.nodeId)
    // held by a process of it
    const hold = await container.exec({Cmd: ['/bin/bash', '-c', 'head -c 200M /dev/zero | tail -c 200M | (read -r -N 1; sleep 60)'], User: '4242'})
    await hold.start({Detach: true})
    await eventually('the memory is taken', async () => ((await runtime.usage(node))?.memoryBytes ?? 0) > 200 * 1024 ** 2)
    await assert.rejects(runtime.limit({...node, size: {...node.size, memory_bytes: 160 * 1024 ** 2}}), {code: 'INVALID_STATE', message: /uses more memory than 160 MiB/})
    await runtime.limit({...node, size: {...node.size, cpu: 0.5, memory_bytes: 1024 ** 3}})
    const {HostConfig} = await container.inspect()
    assert.deepEqual([HostConfig.Memory, HostConfig.MemorySwap, HostConfig.NanoCpus], [1024 ** 3, 1024 ** 3, 5e8])
  })

  it('names a port that is taken, and starts on another', async () => {
    const node = await site.node(runtime)
    await runtime.place(node)
    await fakeInitialise(runtime.host(node))
    const taker = createServer()
    await new Promise<void>((resolve) => taker.listen(node.port, '127.0.0.1', resolve))
    try {
      assert.equal(await runtime.isPortFree(node.port), false)
      await assert.rejects(runtime.start(node, fakeCommand(runtime.host(node))), {code: 'PORT_IN_USE', message: new RegExp(String(node.port))})
    } finally {
      taker.close()
    }
    assert.equal((await runtime.observe(node, null)).state, 'stopped')
    const moved = {...node, port: node.port + 300}
    const {ref} = await runtime.start(moved, fakeCommand(runtime.host(moved)))
    assert.equal((await runtime.observe(moved, ref)).state, 'running')
    assert.equal(await runtime.isPortFree(moved.port), false)
    assert.deepEqual((await runtime.list()).find((each) => each.nodeId === node.nodeId)?.placement, moved)
  })

  it('says that the disk is full', async () => {
    const node = await site.node(runtime)
    const name = nameOfNode(site.siteId, node)
    await docker.createVolume({Name: name, Labels: {[siteLabel]: site.siteId}, Driver: 'local', DriverOpts: {type: 'tmpfs', device: 'tmpfs', o: 'size=1m,mode=755'}})
    // as long as somebody uses it, the memory keeps what is in it
    const keeper = await docker.createContainer({Image: images.client, Cmd: ['sleep', '600'], Labels: {[siteLabel]: site.siteId}, HostConfig: {Binds: [`${name}:/mnt`]}})
    await keeper.start()
    try {
      await runtime.place(node)
      const host = runtime.host(node)
      await host.write({path: join(host.paths.data, 'kept'), content: 'as it was'})
      const path = join(host.paths.data, 'large')
      await assert.rejects(host.write({path, content: Buffer.alloc(3 * 1024 ** 2, 1)}), {code: 'DISK_FULL'})
      await assert.rejects(host.write({path: join(host.paths.data, 'kept'), content: Buffer.alloc(3 * 1024 ** 2, 1)}), {code: 'DISK_FULL'})
      assert.equal(String(await host.read(join(host.paths.data, 'kept'))), 'as it was')
      assert.deepEqual(await host.list(host.paths.data), ['kept'])
    } finally {
      await keeper.remove({force: true})
    }
  })

  it('sees the end of a server that died while the events could not be heard', async () => {
    const {node, ref} = await site.started(runtime)
    const ends: ServerEnd[] = []
    runtime.watch(node, ref, (end) => ends.push(end))
    const told: (string | null)[] = []
    const stop = runtime.onChange((id) => told.push(id))
    await eventually('the stream is open', () => told.includes(null))
    await proxy.refuse()
    await (await containerOf(site.siteId, node.nodeId)).kill({signal: 'SIGTERM'})
    await pause(300)
    await assert.rejects(runtime.observe(node, ref), {code: 'RUNTIME_UNAVAILABLE'})
    assert.deepEqual(ends, [], 'what is not known is not told')
    told.length = 0
    await proxy.listen()
    await eventually('its end is told', () => ends.length === 1)
    assert.deepEqual(ends, [{exitCode: 7, because: null}])
    assert.ok(told.includes(null))
    stop()
  })

  it('says within two seconds that an engine hangs, and goes on when it does', async () => {
    const {node, ref} = await site.started(runtime)
    proxy.hang()
    for (const ask of [() => runtime.facts(), () => runtime.observe(node, ref), () => runtime.isPortFree(20_000), () => runtime.software.locate(node.engine, '1')]) {
      const at = Date.now()
      await assert.rejects(ask(), {code: 'RUNTIME_UNAVAILABLE', message: /does not answer/})
      assert.ok(Date.now() - at < 2000, `${Date.now() - at} ms`)
    }
    proxy.pass()
    proxy.cut()
    assert.equal((await runtime.observe(node, ref)).state, 'running')
  })

  it('waits for an engine that is only slow, also to prove a kill', async () => {
    const {node, ref} = await site.started(runtime)
    proxy.slow(2500)
    await runtime.kill(node, ref)
    proxy.pass()
    assert.equal((await docker.getContainer((JSON.parse(ref) as {id: string}).id).inspect()).State.Running, false)
  })

  it('leaves no container of tools behind when the agent dies', async () => {
    const node = await site.node(runtime)
    await runtime.place(node)
    assert.equal(await runtime.host(node).exists(runtime.host(node).paths.data), true)
    const busy = runtime.host(node).exec(['sleep', '600']).catch((error: unknown) => error)
    await eventually('the program runs', async () => (await site.leftovers()).some((line) => line.includes('sleep 600')))
    // for the engine it is the same: the connections are gone
    proxy.cut()
    await eventually('the container is gone', async () => (await site.leftovers()).every((line) => !line.startsWith('container') && !line.startsWith('process')))
    await busy
  })

  it('ends the programs that a dead agent left at work before it begins anew', async () => {
    const node = await site.node(runtime)
    const before = await site.open()
    await before.place(node)
    const busy = before.host(node).exec(['sleep', '600']).catch((error: unknown) => error)
    await eventually('the program runs', async () => (await site.leftovers()).some((line) => line.includes('sleep 600')))
    await runtime.place(node)
    assert.deepEqual((await site.leftovers()).filter((line) => line.includes('sleep 600')), [])
    await busy
    await before.close()
  })

  it('says that an image is gone, and which', async () => {
    const other = await fakeDockerSite()
    const second = await other.open()
    try {
      const node = await other.node(second)
      await docker.getImage(other.image).remove({force: true})
      await assert.rejects(second.place(node), {code: 'IMAGE_NOT_FOUND', message: new RegExp(other.image)})
      await other.clear(second)
    } finally {
      await second.close()
      await other.dispose()
    }
  })
})

describe('the docker runtime without an engine', () => {
  it('says what to do', async () => {
    const {createDockerRuntime} = await import('../../src/agent/runtimes/docker/index.js')
    const runtime = await createDockerRuntime({
      dataRoot: '/nonexistent', siteId: 'site_none', packagesFolder: '/', engines: {}, env: {DOCKER_HOST: 'unix:///nonexistent/docker.sock'}, log: () => undefined,
    })
    const at = Date.now()
    await assert.rejects(runtime.facts(), {code: 'RUNTIME_UNAVAILABLE', message: /Docker is not running: nothing answers at unix:\/\/\/nonexistent\/docker.sock \(DOCKER_HOST\)/})
    await assert.rejects(runtime.list(), {code: 'RUNTIME_UNAVAILABLE'})
    assert.ok(Date.now() - at < 1500)
    await runtime.close()
  })
})

/** Prepared data directories of a real PostgreSQL on Docker: what is given is what would have been made, or nothing. */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, readdirSync, statSync, truncateSync} from 'node:fs'
import {join} from 'node:path'
import {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {wholeOnly} from '../../src/agent/runtimes/docker/archives.js'
import type {DataMaker, DataPool, Placement, Runtime, Software} from '../../src/agent/runtimes/runtime.js'
import {postgresql} from '../../src/engines/postgresql/index.js'
import {dockerOrSkip, images} from '../support/docker.js'
import {dockerSite, type DockerSite} from './docker-site.js'
import {placementOf} from './placement.js'

const {lifecycle} = postgresql

describe('prepared data directories on Docker', function () {
  dockerOrSkip(images.postgresql)
  this.timeout(120_000)
  let site: DockerSite
  let runtime: Runtime
  let software: Software
  let maker: DataMaker
  const key = 'pg@image'
  const nodes: Placement[] = []

  before(async () => {
    site = dockerSite({postgresql})
    runtime = await site.open()
    const found = await runtime.software.locate('postgresql', '18')
    assert.ok(found?.image)
    software = {engine: 'postgresql', version: found.version, image: found.image}
    maker = {make: (host) => lifecycle.make(host, found.version), seal: (host) => lifecycle.seal(host, found.version)}
  })
  afterEach(async () => {
    for (const node of nodes.splice(0)) await runtime.remove(node)
    await runtime.tidy(new Set())
    assert.deepEqual(await site.leftovers(), [])
    assert.equal(existsSync(join(site.folder, 'docker', 'pool')), false)
  })
  after(async () => {
    if (!site) return
    await runtime.close()
    await site.dispose()
  })

  const pool = (): DataPool => {
    assert.ok(runtime.pool)
    return runtime.pool
  }
  const files = (): string[] => {
    const root = join(site.folder, 'docker', 'pool')
    return existsSync(root) ? readdirSync(root).flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name))) : []
  }
  function node(serial: number): Placement {
    const made = placementOf({
      ...software, nodeId: `nod_pool${serial}`, nodeName: `pool${serial}-1`, instanceId: `ins_pool${serial}`, instanceName: `pool${serial}`, port: 27_400 + serial,
    })
    nodes.push(made)
    return made
  }
  /** Mode, owner and path of everything in the data folder. */
  async function tree(of: Placement): Promise<string[]> {
    const host = runtime.host(of)
    const {stdout, stderr} = await host.exec(['find', host.paths.data, '-printf', '%M %U:%G %P\n'])
    assert.equal(stderr, '')
    return stdout.split('\n').filter((line) => line !== '').sort()
  }
  const identityOf = async (of: Placement): Promise<string> => {
    const host = runtime.host(of)
    // the first field of the control file
    return (await host.exec(['od', '-An', '-tu8', '-N8', `${host.paths.data}/global/pg_control`])).stdout.trim()
  }

  it('are the same as made ones in every file, mode and owner, of an identity of their own', async () => {
    const [made, given, another] = [node(1), node(2), node(3)]
    for (const each of [made, given, another]) await runtime.place(each)
    await lifecycle.initialise(runtime.host(made), software.version)
    for (let i = 0; i < 2; i++) await pool().prepare(key, software, maker)
    assert.deepEqual(files().map((path) => (statSync(path).mode & 0o777).toString(8)), ['600', '600'])
    assert.deepEqual(await Promise.all([given, another].map((each) => pool().claim(key, each, maker))), [true, true])
    assert.deepEqual(files(), [])
    const expected = await tree(made)
    assert.ok(expected.length > 900)
    assert.deepEqual(await tree(given), expected)
    assert.deepEqual(await tree(another), expected)
    assert.equal(await lifecycle.isInitialised(runtime.host(given)), true)
    const identities = await Promise.all([made, given, another].map(identityOf))
    assert.ok(identities.every((each) => /^\d{19}$/.test(each)), identities.join())
    assert.equal(new Set(identities).size, 3)
  })

  it('do not count as finished when the agent is killed before they are sealed, and are not given again', async () => {
    const killed = node(4)
    await pool().prepare(key, software, maker)
    const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'docker-pool-killed.ts'), site.folder, site.siteId, key, JSON.stringify(killed)], {stdio: 'inherit'})
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGKILL'])
    const host = runtime.host(killed)
    assert.equal(await host.exists(join(host.paths.data, 'PG_VERSION')), true, 'it was unpacked')
    assert.equal(await lifecycle.isInitialised(host), false)
    assert.equal(await pool().count(key), 0)
    await pool().prepare(key, software, maker)
    assert.equal(await pool().claim(key, killed, maker), false, 'not over the remains')
    // as the workflow goes on
    await host.remove(host.paths.data)
    await runtime.place(killed)
    assert.equal(await pool().claim(key, killed, maker), true)
    assert.equal(await lifecycle.isInitialised(host), true)
    assert.deepEqual(files().map((path) => /\.taken-/.test(path)), [true], 'what the dead one took')
  })

  it('are not given when the archive is damaged, or cannot be sealed: the folder is empty then', async () => {
    const damaged = node(5)
    await runtime.place(damaged)
    const host = runtime.host(damaged)
    await pool().prepare(key, software, maker)
    const [archive] = files() as [string]
    truncateSync(archive, Math.floor(statSync(archive).size / 2))
    assert.equal(await pool().claim(key, damaged, maker), false)
    assert.deepEqual(await host.list(host.paths.data), [])
    assert.deepEqual(files(), [])
    await pool().prepare(key, software, maker)
    assert.equal(await pool().claim(key, damaged, {...maker, seal: () => Promise.reject(new Error('the disk is full'))}), false)
    assert.deepEqual(await host.list(host.paths.data), [])
    assert.equal(await pool().count(key), 0)
  })

  it('are not prepared for an image that is gone, which is not pulled for them', async () => {
    assert.ok(software.image)
    const gone = {...software, image: {...software.image, id: `sha256:${'0'.repeat(64)}`, digest: `sha256:${'0'.repeat(64)}`}}
    await assert.rejects(pool().prepare(key, gone, maker), {code: 'IMAGE_NOT_FOUND'})
    assert.deepEqual(files(), [])
  })

  it('are ended with the agent while they are made, and leave nothing', async () => {
    const next = await site.open()
    let begun!: () => void
    const making = new Promise<void>((resolve) => (begun = resolve))
    const prepared = next.pool?.prepare(key, software, {
      ...maker,
      async make(host) {
        begun()
        await host.exec(['sleep', '60'])
      },
    })
    prepared?.catch(() => undefined)
    await making
    await next.stopBackground()
    await assert.rejects(Promise.resolve(prepared))
    assert.deepEqual(await site.leftovers(), [])
    assert.deepEqual(files(), [])
    await next.close()
  })

  it('are nowhere worth it for an engine at a network address', async () => {
    const far = await site.open({DOCKER_HOST: 'tcp://127.0.0.1:1'})
    assert.ok(far.pool)
    assert.equal(await far.pool.roomBytes(), 0)
    await pool().prepare(key, software, maker)
    assert.equal(await far.pool.claim(key, node(6), maker), false)
    assert.equal(await pool().count(key), 1)
    assert.deepEqual(await site.leftovers(), [], 'nothing of them is in Docker')
    await far.close()
  })
})

describe('an archive from Docker', () => {
  const through = (...chunks: Buffer[]): Promise<void> => pipeline(Readable.from(chunks), wholeOnly(), async (rest) => {
    for await (const _ of rest) continue
  })
  const file = Buffer.alloc(1024, 'x')
  const end = Buffer.alloc(1024)

  it('is whole when it ends as an archive ends, however it comes', async () => {
    await through(file, end)
    await through(...[...Buffer.concat([file, end])].map((byte) => Buffer.from([byte])))
  })
  for (const [title, chunks] of [
    ['empty', []], ['cut off', [file]], ['with one block of the end', [file, end.subarray(512)]], ['followed by words', [file, end, Buffer.from('no such file')]],
    ['cut within a block', [file.subarray(1), end]],
  ] as const) {
    it(`is not whole: ${title}`, () => assert.rejects(through(...chunks), {code: 'RUNTIME_UNAVAILABLE'}))
  }
})

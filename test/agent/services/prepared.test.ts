/** What data directories are prepared for, and how often one that cannot be prepared is tried. */
import assert from 'node:assert/strict'
import {setTimeout as pause} from 'node:timers/promises'
import type {DataPool, Runtime, Software} from '../../../src/agent/runtimes/runtime.js'
import type {ServiceContext} from '../../../src/agent/services/context.js'
import {createPrepared, poolKeyOf, rememberUse} from '../../../src/agent/services/provisioning/prepared.js'
import {createUpkeep} from '../../../src/agent/services/provisioning/upkeep.loops.js'
import type {Tx} from '../../../src/agent/store/store.js'
import {DbaasError} from '../../../src/core/errors.js'
import {engines} from '../../../src/engines/index.js'
import type {ImagePin} from '../../../src/core/instance/instance.js'

const day = 86_400_000
const bundled = engines.postgresql.versions.known('linux-x64').find((each) => each.bundled)?.version
const image: ImagePin = {reference: 'mysql:9.7', digest: null, id: `sha256:${'a'.repeat(64)}`, bin: '/usr/sbin', uid: 999, gid: 999}
const onDocker: Software = {engine: 'mysql', version: '9.7.1', image}

class FakePool implements DataPool {
  made = 0
  asked = 0
  room = Number.MAX_SAFE_INTEGER
  refuse: unknown
  async roomBytes(): Promise<number> {
    return this.room
  }
  async count(): Promise<number> {
    return this.made
  }
  async prepare(): Promise<void> {
    this.asked++
    if (this.refuse) throw this.refuse
    this.made++
  }
  async claim(): Promise<boolean> {
    return false
  }
}

function world() {
  const settings = new Map<string, string>()
  const tx = {
    settings: {get: async (name: string) => settings.get(name), put: async (name: string, value: string) => void settings.set(name, value)},
    instances: {list: async () => []},
  } as unknown as Tx
  const made = {
    now: 100 * day, archives: [] as string[], dockerAsked: 0, logged: [] as string[], pools: {process: new FakePool(), docker: new FakePool()},
    remember: (runtime: string, software: Software) => rememberUse(tx, runtime, software, made.now),
  }
  const runtime = (name: 'process' | 'docker') => ({
    name, pool: made.pools[name], stopBackground: async () => undefined,
    facts: async () => {
      if (name === 'docker') made.dockerAsked++
      return {diskFreeBytes: Number.MAX_SAFE_INTEGER}
    },
    software: {
      installed: async (engine: string) => {
        if (name === 'docker') made.dockerAsked++
        return engine === 'mariadb' ? made.archives.map((version) => ({version, source: 'archive'})) : []
      },
    },
  }) as unknown as Runtime
  const runtimes = {process: runtime('process'), docker: runtime('docker')}
  const context = {
    clock: {now: () => made.now}, log: (message: string, facts: {error?: string}) => void made.logged.push(`${message}: ${facts.error}`),
    store: {
      read: async (_: unknown, work: (given: Tx) => Promise<unknown>) => work(tx),
      transact: async (_: unknown, work: (given: Tx) => Promise<unknown>) => work(tx),
    },
    engines: {names: Object.keys(engines), get: (name: keyof typeof engines) => engines[name]},
    runtimes: {names: ['process', 'docker'], default: 'process', get: (name: 'process' | 'docker') => runtimes[name]},
  } as unknown as ServiceContext
  const prepared = createPrepared(context, 'linux-x64')
  const upkeep = () => createUpkeep({
    context, prepared, poolSize: 2, busy: () => 0, lastRequestAt: () => 0,
    catalogues: {of: async () => undefined} as never, leases: {abandoned: () => []} as never,
    instances: {} as never, operations: {} as never, servers: {} as never,
  })
  return Object.assign(made, {prepared, upkeep})
}

describe('what data directories are prepared for', () => {
  it('is the bundled version where nothing was used yet, and nothing on a runtime that was never used', async () => {
    const {prepared, ...made} = world()
    assert.ok(bundled)
    assert.deepEqual(await prepared.wanted('process'), [{engine: 'postgresql', version: bundled, image: null}])
    assert.deepEqual(await prepared.wanted('docker'), [])
    assert.equal(made.dockerAsked, 0)
  })

  it('is the newest that was installed from an archive where no version is bundled', async () => {
    const made = world()
    made.archives = ['11.4.2', '10.11.9']
    assert.deepEqual((await made.prepared.wanted('process')).filter((each) => each.engine === 'mariadb'), [{engine: 'mariadb', version: '11.4.2', image: null}])
  })

  it('is what was last used there, by its image, for a week after its use; no instance of it has to live', async () => {
    const made = world()
    await made.remember('docker', {...onDocker, version: '9.0.0'})
    made.now += day
    await made.remember('docker', onDocker)
    await made.remember('process', {engine: 'postgresql', version: '16.1', image: null})
    assert.deepEqual(await made.prepared.wanted('docker'), [onDocker])
    assert.deepEqual([...(await made.prepared.keys('docker'))], [`${engines.mysql.lifecycle.poolKey('9.7.1')}@${image.id}`])
    assert.deepEqual(await made.prepared.wanted('process'), [{engine: 'postgresql', version: '16.1', image: null}])
    made.now += 7 * day
    assert.deepEqual(await made.prepared.wanted('docker'), [onDocker])
    made.now += 1
    assert.deepEqual(await made.prepared.wanted('docker'), [])
    assert.deepEqual(await made.prepared.wanted('process'), [{engine: 'postgresql', version: bundled, image: null}])
  })

  it('is another thing for another image of the same version', () => {
    const other = {...image, id: `sha256:${'b'.repeat(64)}`}
    const keys = [null, image, other].map((each) => poolKeyOf(engines.mysql, {version: '9.7.1', image: each}))
    assert.equal(new Set(keys).size, 3)
  })
})

describe('preparing data directories', function () {
  this.timeout(15_000)
  const run = async (made: ReturnType<typeof world>, ms = 3000): Promise<void> => {
    const upkeep = made.upkeep()
    upkeep.start()
    await pause(ms)
    await upkeep.stop()
  }

  it('fills every pool that is wanted, and does not touch a runtime that nobody used', async () => {
    const made = world()
    await run(made)
    assert.deepEqual([made.pools.process.made, made.pools.docker.asked, made.dockerAsked], [2, 0, 0])
    await made.remember('docker', onDocker)
    await run(made)
    assert.deepEqual([made.pools.process.made, made.pools.docker.made], [2, 2])
  })

  it('says nothing of an image that is gone, and does not ask for it all the time', async () => {
    const made = world()
    await made.remember('docker', onDocker)
    made.pools.docker.refuse = new DbaasError('IMAGE_NOT_FOUND', 'gone')
    await run(made, 4000)
    assert.equal(made.pools.docker.asked, 1)
    assert.deepEqual(made.logged, [])
  })

  it('says a failure once, tries again after a minute, and goes on with the others meanwhile', async () => {
    const made = world()
    await made.remember('docker', onDocker)
    made.pools.process.refuse = new Error('initdb fell over')
    const upkeep = made.upkeep()
    upkeep.start()
    await pause(3500)
    assert.deepEqual([made.pools.process.asked, made.pools.docker.made], [1, 2])
    made.now += 60_001
    await pause(1500)
    await upkeep.stop()
    assert.equal(made.pools.process.asked, 2)
    assert.deepEqual(made.logged, ['preparing a data directory failed: initdb fell over'])
  })

  it('leaves the disk of the archives its room, and asks nothing of an engine that is too far', async () => {
    const made = world()
    await made.remember('docker', onDocker)
    made.pools.docker.room = 0
    await run(made)
    assert.deepEqual([made.pools.docker.asked, made.dockerAsked], [0, 0])
  })
})

/** The engine itself is stopped, killed and started again under running servers. */
import assert from 'node:assert/strict'
import {join} from 'node:path'
import type {Runtime, ServerEnd} from '../../src/agent/runtimes/runtime.js'
import {dockerOrSkip, images} from '../support/docker.js'
import {eventually, fakeDockerSite, type FakeSite} from './docker-fake-site.js'
import {secondEngine, secondEngineOrSkip, type SecondEngine} from './docker-second-engine.js'

describe('a restart of the Docker engine', () => {
  dockerOrSkip(images.client)
  secondEngineOrSkip()
  let engine: SecondEngine
  let site: FakeSite
  let runtime: Runtime

  before(async () => {
    site = await fakeDockerSite()
    engine = await secondEngine()
    engine.load(site.image)
    runtime = await site.open({DOCKER_HOST: engine.host})
  })
  after(async () => {
    await runtime?.close()
    await engine?.dispose()
    await site?.dispose()
  })

  for (const [how, signal] of [['is restarted', 'SIGTERM'], ['is killed', 'SIGKILL']] as const) {
    it(`leaves its data and is seen: an engine that ${how} under a running server`, async () => {
      const {node, ref} = await site.started(runtime)
      const identity = await runtime.host(node).read(join(runtime.host(node).paths.data, 'identity'))
      const ends: ServerEnd[] = []
      const told: (string | null)[] = []
      runtime.watch(node, ref, (end) => ends.push(end))
      const stop = runtime.onChange((nodeId) => told.push(nodeId))
      await eventually('the events are heard', () => told.includes(null))
      await engine.stop(signal)
      const at = Date.now()
      await assert.rejects(runtime.observe(node, ref), {code: 'RUNTIME_UNAVAILABLE', message: /Docker is not running/})
      assert.ok(Date.now() - at < 1000)
      told.length = 0
      await engine.start()
      await eventually('it is told that anything may have changed', () => told.includes(null), 20_000)
      const now = await runtime.observe(node, ref)
      if (now.state === 'running') assert.deepEqual([now.ref, ends.length], [ref, 0], 'a server that lived on is the same')
      else {
        await eventually('its end is told', () => ends.length === 1)
        assert.deepEqual(ends.length, 1)
      }
      const next = await site.start(runtime, node)
      assert.equal((await runtime.observe(node, next)).state, 'running')
      assert.deepEqual(await runtime.host(node).read(join(runtime.host(node).paths.data, 'identity')), identity)
      stop()
      await runtime.remove(node)
      assert.deepEqual((await runtime.list()).filter((each) => each.siteId === site.siteId), [])
    })
  }
})

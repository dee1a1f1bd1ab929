/** The fake engine as an image, on a site of the real Docker engine: what the tests of faults begin with. */
import {randomBytes} from 'node:crypto'
import assert from 'node:assert/strict'
import type {Placement, Runtime} from '../../src/agent/runtimes/runtime.js'
import {docker} from '../support/docker.js'
import {buildImage, dockerSite, type DockerSite} from './docker-site.js'
import {fakeCommand, fakeDockerfile, fakeEngine, fakeFiles, fakeImageSoftware, fakeInitialise, fakeVersion} from './fake-engine.js'
import {placementOf} from './placement.js'

export interface FakeSite extends DockerSite {
  readonly image: string
  node(runtime: Runtime, patch?: Partial<Placement>): Promise<Placement>
  /** A placed node with a server that is ready. */
  started(runtime: Runtime, patch?: Partial<Placement>): Promise<{node: Placement; ref: string}>
  start(runtime: Runtime, node: Placement): Promise<string>
  /** Removes what the test has made, and proves that nothing of it is left. */
  clear(runtime: Runtime): Promise<void>
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function eventually(what: string, holds: () => Promise<boolean> | boolean, ms = 10_000): Promise<void> {
  for (const until = Date.now() + ms; !(await holds()); await pause(20)) assert.ok(Date.now() < until, `${what} within ${ms} ms`)
}

export async function fakeDockerSite(): Promise<FakeSite> {
  const repository = `dbaas-fake-${randomBytes(4).toString('hex')}`
  const image = `${repository}:${fakeVersion}`
  // with an id of its own
  await buildImage(image, fakeFiles, [...fakeDockerfile, `LABEL of=${repository}`])
  const site = dockerSite({[fakeEngine]: fakeImageSoftware(repository)})
  const made: Placement[] = []
  let serial = 0
  const base = 26_000 + Math.floor(Math.random() * 500)

  const self: FakeSite = {
    ...site,
    image,
    async node(runtime, patch = {}) {
      serial++
      const located = await runtime.software.locate(fakeEngine, fakeVersion)
      assert.ok(located)
      const node = placementOf({
        nodeId: `nod_f${serial}`, nodeName: `fault${serial}-1`, instanceId: `ins_f${serial}`, instanceName: `fault${serial}`,
        engine: fakeEngine, version: located.version, image: located.image, port: base + serial, ...patch,
      })
      made.push(node)
      return node
    },
    async started(runtime, patch) {
      const node = await self.node(runtime, patch)
      await runtime.place(node)
      await fakeInitialise(runtime.host(node))
      return {node, ref: await self.start(runtime, node)}
    },
    async start(runtime, node) {
      const {ref} = await runtime.start(node, fakeCommand(runtime.host(node)))
      await eventually('the server is ready', async () => {
        for await (const line of runtime.logs(node, {lines: 1, follow: false, signal: new AbortController().signal})) if (line.includes('ready')) return true
        return false
      })
      return ref
    },
    async clear(runtime) {
      for (const node of made.splice(0)) await runtime.remove(node)
      await runtime.tidy(new Set())
      assert.deepEqual(await site.leftovers(), [])
    },
    async dispose() {
      await site.dispose()
      await docker.getImage(image).remove({force: true}).catch(() => undefined)
    },
  }
  return self
}

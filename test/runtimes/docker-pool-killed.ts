/** Gives a node a prepared data directory, and is killed when all of it is unpacked and nothing of it is sealed: SIGKILL, no goodbye. */
import {createDockerRuntime} from '../../src/agent/runtimes/docker/index.js'
import type {Placement} from '../../src/agent/runtimes/runtime.js'
import {postgresql} from '../../src/engines/postgresql/index.js'

const [dataRoot, siteId, key, placement] = process.argv.slice(2) as [string, string, string, string]
const node = JSON.parse(placement) as Placement
const runtime = await createDockerRuntime({
  dataRoot, siteId, packagesFolder: dataRoot, engines: {postgresql}, env: process.env, log: () => undefined,
})
await runtime.place(node)
await runtime.pool?.claim(key, node, {
  make: () => Promise.reject(new Error('nothing is made here')),
  async seal() {
    process.kill(process.pid, 'SIGKILL')
    await new Promise(() => undefined)
  },
})

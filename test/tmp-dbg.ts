import {execSync} from 'node:child_process'
import {fakeDockerSite} from './runtimes/docker-fake-site.js'
import {engineProxy} from './runtimes/docker-proxy.js'
const site = await fakeDockerSite()
const proxy = await engineProxy()
const runtime = await site.open({DOCKER_HOST: proxy.host})
try {
  const node = await site.node(runtime)
  await runtime.place(node)
  console.log(await runtime.host(node).exists(runtime.host(node).paths.data))
  const busy = runtime.host(node).exec(['sleep', '3']).catch((error: unknown) => error)
  await new Promise((r) => setTimeout(r, 1000))
  console.log(execSync('docker ps; for c in $(docker ps -q); do docker top $c; done').toString(), await site.leftovers())
  console.log(await busy)
} finally {
  await site.clear(runtime).catch(console.error)
  await runtime.close(); await proxy.close(); await site.dispose()
}

import {execSync} from 'node:child_process'
import pg from 'pg'
import {performance} from 'node:perf_hooks'
import {postgresql} from '../src/engines/postgresql/index.js'
import {dockerSite} from './runtimes/docker-site.js'
import {placementOf} from './runtimes/placement.js'
import {testAuthority} from './engines/certificates.js'
const authority = await testAuthority()
const serverTls = await authority.server(['localhost','shop'])
const adminCredentials = await authority.admin('dbaas_admin')
const site = dockerSite({postgresql})
const runtime = await site.open()
let last = performance.now()
const begin = last
const lap = (what: string) => { const now = performance.now(); console.log(what.padEnd(28), Math.round(now - last)); last = now }
try {
  for (let round = 0; round < 3; round++) {
    last = performance.now()
    execSync(`docker run -d --rm --name dbaas-anchor-${process.pid} -e POSTGRES_PASSWORD=x -p 127.0.0.1:20499:5432 postgres:18`)
    for (;;) {
      const client = new pg.Client({host: '127.0.0.1', port: 20499, user: 'postgres', password: 'x', database: 'postgres'})
      client.on('error', () => undefined)
      try { await client.connect(); await client.end(); break } catch { await new Promise((r) => setTimeout(r, 10)) }
    }
    lap('ANCHOR docker run')
    execSync(`docker rm -fv dbaas-anchor-${process.pid}`)
    last = performance.now()
    const start = last
    const facts = await runtime.facts(); lap('facts')
    await runtime.isPortFree(20500 + round); lap('isPortFree')
    const found = await runtime.software.locate('postgresql', '18'); lap('locate')
    if (!found) throw new Error('no image')
    const node = placementOf({nodeId: `nod_${round}`, nodeName: `shop${round}-1`, instanceId: `ins_${round}`, instanceName: `shop${round}`, engine: 'postgresql', version: found.version, image: found.image, port: 20500 + round, size: {name: 'small', cpu: 1, memory_bytes: 2 ** 30, storage_bytes: 2 ** 33}})
    const host = runtime.host(node)
    await runtime.place(node); lap('place')
    await postgresql.lifecycle.isInitialised(host); lap('isInitialised')
    await host.remove(host.paths.data); lap('remove data')
    await runtime.place(node); lap('place again')
    await postgresql.lifecycle.initialise(host, found.version); lap('initialise')
    await postgresql.config.write(host, {version: found.version, instanceName: node.instanceName, values: {}, tls: serverTls}); lap('configure')
    await runtime.observe(node, null); lap('observe')
    await runtime.kill(node, null); lap('kill')
    await postgresql.lifecycle.clearStale(host); lap('clearStale')
    const {ref} = await runtime.start(node, postgresql.lifecycle.command(host, found.version)); lap('start')
    while (await postgresql.lifecycle.whyNotReady(host, adminCredentials)) await new Promise((r) => setTimeout(r, 10))
    lap('ready')
    await postgresql.access.grantApplication(host, adminCredentials, {database: 'app', username: 'app', password: 'x'.repeat(20)}); lap('grant')
    console.log('TOTAL', Math.round(performance.now() - start), facts.diskFreeBytes > 0)
    last = performance.now()
    console.log(JSON.stringify(await runtime.usage(node))); lap('usage')
    await runtime.remove(node); lap('remove')
  }
} finally {
  await runtime.close()
  console.log(await site.leftovers())
  await site.dispose()
}

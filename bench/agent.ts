/** `npm run bench -- agent`: resident memory idle and with 50 instances; requests per second and p99 of GET /v1/instances. */
import {request, Agent} from 'node:http'
import {agentSocketPath} from '../src/agent/client/socket-path.js'
import {must, percentile, temporarySite} from './support.js'

const count = Number(process.env.BENCH_INSTANCES ?? 50)
const seconds = Number(process.env.BENCH_SECONDS ?? 5)
const connections = 8
const site = temporarySite('bench-agent', {env: {DBAAS_POOL_SIZE: '1'}})

const rss = async (): Promise<number> => (await site.json('agent', 'status')).agent.memory_bytes / 1024 ** 2

async function load(): Promise<{perSecond: number; p50: number; p99: number}> {
  const agent = new Agent({keepAlive: true, maxSockets: connections})
  const socketPath = agentSocketPath(site.home)
  const get = (): Promise<void> => new Promise((resolve, reject) => {
    const sent = request({socketPath, path: '/v1/instances', agent}, (response) => {
      response.resume()
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(String(response.statusCode)))))
    })
    sent.on('error', reject)
    sent.end()
  })
  const latencies: number[] = []
  const until = performance.now() + seconds * 1000
  const worker = async (): Promise<void> => {
    while (performance.now() < until) {
      const began = performance.now()
      await get()
      latencies.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({length: connections}, worker))
  agent.destroy()
  return {perSecond: latencies.length / seconds, p50: percentile(latencies, 50), p99: percentile(latencies, 99)}
}

try {
  must(await site.run('agent', 'start'), 'agent start')
  console.log(`resident memory, idle, no instance          ${(await rss()).toFixed(0)} MiB`)
  for (let i = 0; i < count; i++) must(await site.run('create', `b${i}`, '--size', 'micro', '--set', 'shared_buffers=8MB'), `create b${i}`)
  console.log(`resident memory, ${count} instances              ${(await rss()).toFixed(0)} MiB`)
  const {perSecond, p50, p99} = await load()
  console.log(`GET /v1/instances (${count} instances), ${connections} connections   ${perSecond.toFixed(0)} requests/s   p50 ${p50.toFixed(1)} ms   p99 ${p99.toFixed(1)} ms`)
  console.log(`resident memory, after the load             ${(await rss()).toFixed(0)} MiB`)
  for (let i = 0; i < count; i++) must(await site.run('delete', `b${i}`, '--yes', '--no-wait'), `delete b${i}`)
  for (let left = count; left > 0; ) {
    left = (await site.json('list')).instances.length
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
} finally {
  await site.dispose()
}

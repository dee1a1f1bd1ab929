/**
 * What the endpoint costs: pgbench -S through it and direct, over TLS, in turn, in one run. Also the latency it adds to
 * one client, to a new connection, and its memory. `npx tsx bench/proxy.ts [rounds] [seconds]`
 */
import {execFile} from 'node:child_process'
import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {promisify} from 'node:util'
import Table from 'cli-table3'
import {buildEndpoint} from '../scripts/build-endpoint.js'
import {createEndpoints} from '../src/agent/endpoints/control.js'
import {freePort, startBenchPostgres} from './proxy-postgres.js'

const run = promisify(execFile)

export interface ProxyFigures {
  readonly clients: number
  /** Medians over the rounds: transactions per second. */
  readonly direct: number
  readonly through: number
  /** Median of the ratios of neighbouring runs: what else the machine does hits both alike. */
  readonly ratio: number
  /** Added to one transaction of one client, microseconds; only meaningful for one client. */
  readonly addedMicroseconds: number
}

export interface ProxyReport {
  readonly select: readonly ProxyFigures[]
  /** A new connection for each transaction (TLS handshake and backend start included), one client. */
  readonly connect: ProxyFigures
  readonly idleBytes: number
  readonly loadedBytes: number
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (index: number) => sorted[Math.floor(index)] as number
  return (at((sorted.length - 1) / 2) + at(sorted.length / 2)) / 2
}

async function pgbench(port: number, parameters: readonly string[]): Promise<string> {
  const where = {PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'bench', PGDATABASE: 'postgres'}
  const env = {...process.env, ...where, PGSSLMODE: 'require'}
  return (await run('pgbench', parameters, {env})).stdout
}

async function transactionsPerSecond(port: number, clients: number, seconds: number, extra: readonly string[]) {
  const threads = String(Math.min(clients, 2))
  const load = ['-c', String(clients), '-j', threads, '-T', String(seconds)]
  const output = await pgbench(port, ['-n', '-S', ...load, ...extra])
  const found = /^tps = ([\d.]+)/m.exec(output)
  if (!found) throw new Error(`pgbench said no figure:\n${output}`)
  return Number(found[1])
}

export async function measureProxy(rounds = 5, seconds = 3): Promise<ProxyReport> {
  const root = await mkdtemp(join(tmpdir(), 'dbaas-bench-proxy-'))
  const bundlePath = join(root, 'endpoint.js')
  await buildEndpoint(bundlePath)
  const postgres = await startBenchPostgres()
  const endpoints = createEndpoints({
    stateDir: join(root, 'state'), bundlePath, siteId: 'site_bench', agentCommand: ['true'], env: process.env,
    log: {info: () => {}, warn: () => {}},
  })
  try {
    await endpoints.ensure()
    const idleBytes = (await endpoints.status()).memoryBytes
    const port = await freePort()
    await endpoints.put({
      id: 'bench',
      listen: {host: '127.0.0.1', port},
      target: {host: '127.0.0.1', port: postgres.port},
      mode: 'open',
      allow: [],
    })
    await pgbench(postgres.port, ['-i', '-q', '-s', '5'])
    const compare = async (clients: number, extra: readonly string[] = []): Promise<ProxyFigures> => {
      const pairs: {direct: number; through: number}[] = []
      for (let round = 0; round < rounds; round++) {
        // Who goes first alternates, so that a machine that warms up or slows down favours nobody.
        const order = round % 2 === 0 ? [postgres.port, port] : [port, postgres.port]
        const tps = new Map<number, number>()
        for (const at of order) tps.set(at, await transactionsPerSecond(at, clients, seconds, extra))
        pairs.push({direct: tps.get(postgres.port) as number, through: tps.get(port) as number})
      }
      return {
        clients,
        direct: median(pairs.map((pair) => pair.direct)),
        through: median(pairs.map((pair) => pair.through)),
        ratio: median(pairs.map((pair) => pair.through / pair.direct)),
        addedMicroseconds: median(pairs.map((pair) => 1e6 / pair.through - 1e6 / pair.direct)),
      }
    }
    const select: ProxyFigures[] = []
    for (const clients of [1, 4, 8]) select.push(await compare(clients))
    const connect = await compare(1, ['-C'])
    return {select, connect, idleBytes, loadedBytes: (await endpoints.status()).memoryBytes}
  } finally {
    await endpoints.stop()
    await postgres.stop()
    await rm(root, {recursive: true, force: true})
  }
}

export function renderProxy(report: ProxyReport): string {
  const table = new Table({head: ['pgbench -S, TLS', 'direct tps', 'endpoint tps', 'ratio', 'added µs']})
  const row = (name: string, f: ProxyFigures) => [
    name, f.direct.toFixed(0), f.through.toFixed(0), f.ratio.toFixed(2),
    f.clients === 1 ? f.addedMicroseconds.toFixed(0) : '',
  ]
  for (const figures of report.select) table.push(row(`${figures.clients} at once`, figures))
  table.push(row('1, a new connection each', report.connect))
  const mib = (bytes: number) => (bytes / 1024 / 1024).toFixed(1)
  const memory = `memory of the endpoint process: ${mib(report.idleBytes)} MiB idle, ${mib(report.loadedBytes)} MiB after the load`
  return `${table.toString()}\n${memory}`
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [rounds, seconds] = process.argv.slice(2).map(Number)
  console.log(renderProxy(await measureProxy(rounds, seconds)))
}

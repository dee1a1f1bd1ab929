/**
 * `npm run bench -- repository [MiB] [threads]`: the backup repository on a real data directory (the bundled PostgreSQL,
 * rows and an index as an application has them), in a folder: first snapshot, second with 1 % of the pages changed (all
 * pages compared; only the changed ones given, as PostgreSQL 17 does), verification, restore; beside it a plain copy, to the
 * same disk, which is synced, too. CPU is of all threads; memory is the most that the process had, what it had before included.
 */
import {execFile} from 'node:child_process'
import {createReadStream, statSync} from 'node:fs'
import {cp, mkdir, mkdtemp, open, readdir, rm, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join, relative} from 'node:path'
import {promisify} from 'node:util'
import {randomBytes, randomUUID} from 'node:crypto'
import Table from 'cli-table3'
import {openDirectory} from '../src/agent/repositories/directory/index.js'
import {createDataKeys} from '../src/agent/repositories/vault/keys.js'
import {bestCodec, type Codec} from '../src/agent/repositories/vault/codec.js'
import {openRepository, openVault, type Vault} from '../src/agent/repositories/vault/index.js'
import {createPool} from '../src/agent/repositories/vault/pool.js'
import type {FileInput} from '../src/agent/repositories/vault/writer.js'
import {startBenchPostgres} from './proxy-postgres.js'
import {restoreInto} from './support-restore.js'
import {median, percentile, timed} from './support.js'

const run = promisify(execFile)
const mib = 1024 * 1024
const pageSize = 8192
const [sizeMib = 512, threads = 2] = process.argv.slice(2).map(Number)
const codec = (process.env.BENCH_CODEC ?? bestCodec()) as Codec

interface Measured {
  readonly what: string
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly peakRssBytes: number
  readonly longestBlockMs: number
  readonly storedBytes?: number
}

async function measure(what: string, work: () => Promise<number | undefined>): Promise<Measured> {
  global.gc?.()
  const began = performance.now()
  const cpu = process.cpuUsage()
  let peak = process.memoryUsage().rss
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last - 10)
    last = performance.now()
    peak = Math.max(peak, process.memoryUsage().rss)
  }, 10)
  try {
    const storedBytes = await work()
    const used = process.cpuUsage(cpu)
    return {
      what, wallSeconds: (performance.now() - began) / 1000, cpuSeconds: (used.user + used.system) / 1e6, peakRssBytes: peak, longestBlockMs: longest,
      ...(storedBytes === undefined ? {} : {storedBytes}),
    }
  } finally {
    clearInterval(timer)
  }
}

/** A data directory as it lies on disk after a checkpoint: about as large as asked. */
async function makeData(to: string): Promise<void> {
  const postgres = await startBenchPostgres()
  try {
    const env = {...process.env, PGHOST: '127.0.0.1', PGPORT: String(postgres.port), PGUSER: 'bench', PGDATABASE: 'postgres', PGSSLMODE: 'require'}
    const rows = Math.round((sizeMib * mib) / 230)
    const sql = [
      'create table orders (id bigint primary key, customer uuid, status text, note text, amount numeric(12,2), placed timestamptz, payload bytea)',
      `insert into orders select i, gen_random_uuid(), (array['new','paid','packed','shipped','returned'])[1 + i % 5],
         'order ' || i || ' of ' || md5((i % 5000)::text), (random() * 10000)::numeric(12,2), now() - i * interval '7 seconds', decode(md5(i::text), 'hex')
         from generate_series(1, ${rows}) i`,
      'create index on orders (customer)', 'vacuum analyze orders', 'checkpoint',
    ]
    for (const statement of sql) await run('psql', ['-qc', statement], {env})
    await cp(postgres.dataDirectory, to, {recursive: true, filter: (path) => !/pg_wal\/.|postmaster/.test(path)})
  } finally {
    await postgres.stop()
  }
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, {recursive: true, withFileTypes: true})
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name))).sort()
}

async function backUp(vault: Vault, previous: number | null, inputs: Iterable<FileInput>): Promise<{number: number; storedBytes: number}> {
  const writer = await vault.begin(previous)
  for (const input of inputs) await writer.write(input)
  return writer.commit({})
}

/** In portions of a MiB; those of a small file take no more memory than it has bytes. */
const streamOf = (path: string) => createReadStream(path, {highWaterMark: Math.min(mib, Math.max(1, statSync(path).size))})

const wholeFiles = (data: string, paths: readonly string[]): FileInput[] => paths.map((path) =>
  ({path, pageSize, content: {kind: 'whole', bytes: streamOf(join(data, path))}}))

/** Writes into `share` of the pages of large files, spread at random; the pages by file. */
async function change(data: string, paths: readonly string[], share: number): Promise<Map<string, number[]>> {
  const changed = new Map<string, number[]>()
  for (const path of paths) {
    const pages = Math.floor((await stat(join(data, path))).size / pageSize)
    if (pages < 100) continue
    const file = await open(join(data, path), 'r+')
    const chosen = Array.from({length: pages}, (_, page) => page).filter(() => Math.random() < share)
    for (const page of chosen) await file.write(randomBytes(100), 0, 100, page * pageSize + 4000)
    await file.close()
    changed.set(path, chosen)
  }
  return changed
}

async function* pagesOf(path: string, pages: readonly number[]): AsyncGenerator<{page: number; bytes: Uint8Array}> {
  const file = await open(path)
  for (const page of pages) {
    const bytes = Buffer.alloc(pageSize)
    await file.read(bytes, 0, pageSize, page * pageSize)
    yield {page, bytes}
  }
  await file.close()
}

/** What anybody would do without us: read, write, sync; nothing hashed, compressed or encrypted. */
async function copyPlainly(from: string, paths: readonly string[], to: string): Promise<undefined> {
  for (const path of paths) {
    await mkdir(dirname(join(to, path)), {recursive: true})
    const target = await open(join(to, path), 'w', 0o600)
    for await (const chunk of streamOf(join(from, path))) await target.write(chunk as Uint8Array)
    await target.sync()
    await target.close()
  }
  return undefined
}

/** Milliseconds until each of so many slices of the log was durable, one after the other. */
async function appendSlices(vault: Vault, slices: number, bytes: number): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < slices; i++) {
    const slice = randomBytes(bytes)
    const segment = String(Math.floor(i / 64)).padStart(8, '0')
    times.push(await timed(() => vault.log.append({
      timeline: '00000001', segment, start: (i % 64) * bytes, bytes: slice, final: i % 64 === 63, at: Date.now(), ...(i === 0 ? {fresh: 'the first'} : {}),
    })))
    if (i % 64 === 63) await vault.log.compact('00000001', segment)
  }
  return times
}

const root = await mkdtemp(join(tmpdir(), 'dbaas-bench-repository-'))
const pool = createPool(threads)
try {
  const data = join(root, 'data')
  process.stderr.write(`making a data directory of about ${sizeMib} MiB…\n`)
  await makeData(data)
  const paths = await filesBelow(data)
  const sizes = await Promise.all(paths.map(async (path) => (await stat(join(data, path))).size))
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const store = openDirectory(join(root, 'repository'))
  const keys = await createDataKeys(store, await openRepository(store), randomUUID(), {where: 'bench', load: async () => Buffer.alloc(32, 7)})
  const vault = openVault({store, keys, pool, clock: {now: () => Date.now()}, owner: 'site_bench', codec})
  const results: Measured[] = []
  let n = 0
  const take = async (what: string, inputs: () => Iterable<FileInput>) => {
    results.push(await measure(what, async () => {
      const snapshot = await backUp(vault, n === 0 ? null : n, inputs())
      n = snapshot.number
      return snapshot.storedBytes
    }))
  }
  results.push(await measure('plain copy', () => copyPlainly(data, paths, join(root, 'copied'))))
  await rm(join(root, 'copied'), {recursive: true})
  await take('first snapshot', () => wholeFiles(data, paths))
  await take('nothing changed, all pages compared', () => wholeFiles(data, paths))
  await change(data, paths, 0.01)
  await take('1 % changed, all pages compared', () => wholeFiles(data, paths))
  const changed = await change(data, paths, 0.01)
  await take('1 % changed, changed pages given', () => paths.map((path, i): FileInput => ({
    path, pageSize, content: changed.has(path) ? {kind: 'changed', length: sizes[i] as number, pages: pagesOf(join(data, path), changed.get(path) as number[])}
      : {kind: 'whole', bytes: streamOf(join(data, path))},
  })))
  results.push(await measure('verify', async () => {
    const {damages} = await vault.verify(n)
    if (damages.length > 0) throw new Error(JSON.stringify(damages))
    return undefined
  }))
  results.push(await measure('restore', async () => {
    await restoreInto(vault, n, join(root, 'restored'))
    return undefined
  }))
  const slices = await appendSlices(vault, 512, 64 * 1024)
  for (const path of paths) await run('cmp', [join(data, path), join(root, 'restored', path)])

  const table = new Table({head: ['', 'wall s', 'MB/s', 'CPU s', 'MB/s per core', 'stored MB', 'peak RSS MiB', 'longest block ms']})
  for (const {what, wallSeconds, cpuSeconds, storedBytes, peakRssBytes, longestBlockMs} of results) {
    table.push([
      what, wallSeconds.toFixed(2), (total / 1e6 / wallSeconds).toFixed(0), cpuSeconds.toFixed(2), (total / 1e6 / cpuSeconds).toFixed(0),
      storedBytes === undefined ? '' : (storedBytes / 1e6).toFixed(1), (peakRssBytes / mib).toFixed(0), longestBlockMs.toFixed(0),
    ])
  }
  console.log(`${(total / 1e6).toFixed(0)} MB in ${paths.length} files, ${threads} threads, ${codec}, Node ${process.versions.node}`)
  console.log(table.toString())
  console.log(`slices of the log, 64 KiB, durable after: median ${median(slices).toFixed(1)} ms, p99 ${percentile(slices, 99).toFixed(1)} ms`)
} finally {
  await pool.close()
  await rm(root, {recursive: true, force: true})
}

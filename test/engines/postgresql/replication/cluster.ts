/** Nodes of one cluster, real servers on loopback, driven by hand as a service would drive them. */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {lstatSync, readFileSync, readdirSync, readlinkSync} from 'node:fs'
import {pipeline} from 'node:stream/promises'
import {setTimeout as sleep} from 'node:timers/promises'
import pg from 'pg'
import type {ParameterValues} from '../../../../src/core/instance/instance.js'
import type {Boot, NodeReplication, Source, Unpack, Upstream} from '../../../../src/engines/replication.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {replication} from '../../../../src/engines/postgresql/replication.js'
import {untilReady} from '../../conformance.js'
import {testSite, type TestServer, type TestSite} from '../backup/server.js'

export const never = new AbortController().signal

export interface Node extends TestServer {
  readonly name: string
  readonly source: Source
  upstream(of: Node): Upstream
  /** By prepareBoot, always. Resolves when it answers. */
  boot(boot: Boot): Promise<void>
  /** SIGKILL to all of its processes, and they are gone. */
  kill(): Promise<void>
  /** A signal to all of its processes. */
  signal(signal: NodeJS.Signals): void
  observe(): Promise<NodeReplication>
  until(what: string, is: (seen: NodeReplication) => boolean): Promise<NodeReplication>
  client(): Promise<pg.Client>
}

export interface Cluster {
  readonly site: TestSite
  readonly a: Node
  readonly b: Node
  readonly c: Node
  /** Copies (into its data folder by default), starts, and waits until it streams. */
  join(node: Node, from: Node, into?: string | Unpack): Promise<void>
  close(): Promise<void>
}

/** As a runtime does it whose folders are not this machine's. */
export const unpacked = (folder: string): Unpack => async (archive) => {
  const {uid, gid} = lstatSync(folder)
  const tar = spawn('tar', ['-xpf', '-', '-C', folder], {uid, gid, stdio: ['pipe', 'ignore', 'inherit']})
  const ended = once(tar, 'close')
  await pipeline(archive, tar.stdin)
  assert.deepEqual((await ended)[0], 0)
}

/** Backends have sessions of their own, but all of a server work in its data folder. */
function processesOf(folder: string): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === folder && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  })
}

/** It may have ended since it was found. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export async function until<T>(what: string, ask: () => Promise<T | undefined>, milliseconds = 30_000): Promise<T> {
  for (const last = Date.now() + milliseconds; ; await sleep(10)) {
    const answer = await ask()
    if (answer !== undefined) return answer
    assert.ok(Date.now() < last, `never: ${what}`)
  }
}

async function nodeOf(site: TestSite, name: string, values: ParameterValues): Promise<Node> {
  const server = await site.place(name, values)
  const {host, admin, version} = server
  await replication.provide(host, await site.credentials(replication.username))
  const node: Node = {
    ...server, name,
    source: {host, admin, version},
    upstream: (of) => ({address: of.host.address(), name}),
    async boot(boot) {
      await postgresql.lifecycle.clearStale(host)
      await replication.prepareBoot(host, boot)
      await server.start()
      await untilReady(postgresql, host, admin, {log: server.log, stop: server.stop})
    },
    signal(signal) {
      for (const pid of processesOf(host.paths.data)) send(pid, signal)
    },
    async kill() {
      await until('killed', async () => {
        const pids = processesOf(host.paths.data)
        for (const pid of pids) send(pid, 'SIGKILL')
        return pids.length === 0 ? true : undefined
      })
    },
    observe: () => replication.observe(host, admin),
    async until(what, is) {
      let last: unknown
      return until(`${name}: ${what}`, async () => {
        const seen = await node.observe().catch((error: Error) => void (last = error))
        if (seen === undefined) return undefined
        last = seen
        return is(seen) ? seen : undefined
      }).catch((error: Error) => {
        throw new Error(`${error.message}\n${JSON.stringify(last, (_, value) => (typeof value === 'bigint' ? String(value) : value))}\n${server.log().slice(-2000)}`)
      })
    },
    async client() {
      const {ca, certificate: cert, key, username: user} = admin
      const client = new pg.Client({...host.address(), user, database: 'postgres', ssl: {ca, cert, key, checkServerIdentity: () => undefined}})
      client.on('error', () => {})
      await client.connect()
      return client
    },
  }
  return node
}

export async function makeCluster(source: string, values: ParameterValues = {}): Promise<Cluster> {
  const site = await testSite(source)
  const all = {max_wal_size: '64MB', min_wal_size: '32MB', wal_keep_size: '128MB', ...values}
  const [a, b, c] = [await nodeOf(site, 'a', all), await nodeOf(site, 'b', all), await nodeOf(site, 'c', all)] as const
  await postgresql.lifecycle.initialise(a.host, a.version)
  await a.boot({role: 'primary'})
  await replication.prepare(a.host, a.admin)
  const cluster: Cluster = {
    site, a, b, c,
    async join(node, from, into = node.host.paths.data) {
      await replication.keepLogFor(from.host, from.admin, [a, b, c].filter((each) => each !== from).map(({name}) => ({name, position: null})))
      await replication.copy(from.source, node.host, into, {version: node.version, limit: {bytesPerSecond: () => null}, progress() {}, signal: never})
      await node.boot({role: 'standby', upstream: node.upstream(from)})
      await from.until(`${node.name} streams`, ({receivers}) => receivers.some(({name, state}) => name === node.name && state === 'streaming'))
    },
    close: () => site.close(),
  }
  return cluster
}

/** Writers of unique rows, one connection each. What is in `acknowledged` must never be lost. */
export async function startWriters(node: Node, count: number): Promise<{acknowledged: Set<string>; stop(): Promise<void>}> {
  const acknowledged = new Set<string>()
  let going = true
  // all of them are there before anything happens: one that still connects to a server that is killed is no writer of this test
  const clients = await Promise.all(Array.from({length: count}, () => node.client()))
  const writers = clients.map(async (client, writer) => {
    let doubtful = false
    client.on('notice', ({message}) => void (doubtful ||= /might not have been replicated/.test(message ?? '')))
    for (let n = 0; going; n++) {
      const id = `${node.name}-${writer}-${Date.now()}-${n}`
      try {
        await client.query('insert into public.journal values ($1)', [id])
        if (!doubtful) acknowledged.add(id)
      } catch {
        break
      }
    }
    await client.end().catch(() => {})
  })
  return {
    acknowledged,
    async stop() {
      going = false
      await Promise.all(writers)
    },
  }
}

export async function assertNoneLost(node: Node, acknowledged: ReadonlySet<string>): Promise<void> {
  const rows = (await node.sql('select id from journal')).map(({id}) => String(id))
  const there = new Set(rows)
  assert.equal(there.size, rows.length, 'rows are doubled')
  assert.deepEqual([...acknowledged].filter((id) => !there.has(id)), [])
}

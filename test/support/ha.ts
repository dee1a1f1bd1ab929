/** An instance with replicas under four writers: what was acknowledged must be there, whatever happened meanwhile. */
import assert from 'node:assert/strict'
import {readFileSync, readdirSync, readlinkSync} from 'node:fs'
import type {Socket} from 'node:net'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import Database from 'better-sqlite3'
import pg from 'pg'
import type {ApiInstance, ApiNode, ApiOperation} from '../../src/core/api/schemas.js'
import {judge, type Acknowledged, type Judgement} from './ha-judge.js'
import {clientOf} from './probed-agent.js'
import {faultRounds} from './runs.js'
import {dataRootOf, type Site} from './site.js'
import {until} from './until.js'

export const instanceOf = async (site: Site, name: string): Promise<ApiInstance> => (await clientOf(site).call('instances.get', {params: {instance: name}})).instance

export const primaryOf = ({nodes}: ApiInstance): ApiNode => nodes.find(({role}) => role === 'primary') as ApiNode
export const replicasOf = ({nodes}: ApiInstance): ApiNode[] => nodes.filter(({role}) => role === 'replica')

/** All replicas stream, all voters vote, nothing is under way. */
export const untilWhole = (site: Site, name: string, seconds = 90): Promise<ApiInstance> => until(`${name} is whole`, async () => {
  const instance = await instanceOf(site, name).catch(() => undefined)
  return instance?.status === 'running' && instance.replication?.status === 'healthy' && replicasOf(instance).every(({status, lag_bytes}) => status === 'running' && lag_bytes !== null) ? instance : undefined
}, seconds)

export const changesOf = async (site: Site, name: string): Promise<ApiOperation[]> =>
  (await clientOf(site).call('operations.list', {query: {instance: name}})).operations.filter(({kind}) => kind === 'instance.failover' || kind === 'instance.switchover')

/** All processes of a node's server: backends have sessions of their own, but all of them work in its data folder. */
export function processesOfNode(site: Site, instance: ApiInstance, node: ApiNode): number[] {
  const folder = `${dataRootOf(site.home)}/instances/${instance.id}/${node.id}/data`
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === folder && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  })
}

/** A file below /proc of a process; empty when it has ended meanwhile. */
export function factOf(pid: number, file: 'cmdline' | 'syscall'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}

export function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}

export interface Writers {
  /** The longest time between two acknowledged writes through the endpoint since it was last asked, the one that lasts included, in milliseconds. */
  gapMs(): number
  readonly acknowledged: () => number
  /** In the order that they came, those of direct writers, too. */
  readonly writes: readonly Acknowledged[]
  /** In a session of its own at the endpoint, which lasts as long as its first primary. */
  query(text: string): Promise<unknown>
  /** Resolves when each writer at the endpoint has written again. */
  goOn(): Promise<void>
  /** Ends them, and finds every acknowledged row, once, and no two primaries at a time. Returns how many. */
  stop(): Promise<number>
  /** Ends them, and tells what is found. */
  end(): Promise<Judgement>
}

interface Address {
  readonly host: string
  readonly port: number
}

export interface WriterOptions {
  readonly count?: number
  /** One more for each server, which writes to that one alone, endpoint or not, whenever it is let. */
  readonly direct?: boolean
}

/** The row says who took it: its port, and the timeline of the log. Without a key: a row that comes twice is there twice. */
const insert = {name: 'insert', text: 'insert into journal values ($1) returning inet_server_port() as server, pg_walfile_name(pg_current_wal_insert_lsn()) as file'}

export async function startWriters(site: Site, name: string, {count = 4, direct = false}: WriterOptions = {}): Promise<Writers> {
  const {credentials} = await site.json('api', 'GET', `/v1/instances/${name}/credentials`)
  const ca = readFileSync(credentials.ca_file, 'utf8')
  const clients = new Set<pg.Client>()
  const connect = async ({host, port}: Address = credentials): Promise<pg.Client> => {
    const {database, username: user, password} = credentials
    const client = new pg.Client({
      host, port, database, user, password, ssl: {ca, servername: 'localhost', minVersion: 'TLSv1.3'}, connectionTimeoutMillis: 40_000, ...(site.stream ? {stream: site.stream} : {}),
    })
    client.on('error', () => undefined)
    clients.add(client)
    await client.connect().catch((error: unknown) => {
      clients.delete(client)
      throw error
    })
    return client
  }
  const first = await connect()
  await first.query('create table if not exists journal (id text)')
  const writes: Acknowledged[] = []
  const perWriter = Array.from({length: count}, () => 0)
  let times: number[] = [performance.now()]
  let going = true
  const run = Math.random().toString(36).slice(2)

  async function work(writer: string, to: Address, {everyMs, stays}: {everyMs: number; stays: boolean}, written: (at: number) => void): Promise<void> {
    let client: pg.Client | undefined
    for (let n = 0; going; n++) {
      const id = `${run}-${writer}-${n}`
      let doubtful = false
      // the server says so when a wait for replicas was cut short
      const notice = ({message}: {message?: string | undefined}): void => void (doubtful ||= /might not have been replicated/.test(message ?? ''))
      try {
        client ??= await connect(to)
        client.on('notice', notice)
        const {rows: [row]} = await client.query<{server: number; file: string}>({...insert, values: [id]})
        client.off('notice', notice)
        if (doubtful || !row) continue
        const at = performance.now()
        writes.push({id, at, server: String(row.server), timeline: Number.parseInt(row.file.slice(0, 8), 16)})
        written(at)
        await pause(everyMs)
      } catch (error) {
        client?.off('notice', notice)
        // a standby refuses
        if (stays && (error as {code?: string}).code === '25006') {
          await pause(50)
          continue
        }
        end(client)
        client = undefined
        await pause(5)
      }
    }
    end(client)
  }

  function end(client: pg.Client | undefined): void {
    if (!client) return
    clients.delete(client)
    void client.end().catch(() => undefined)
  }

  const atEndpoint = perWriter.map((_, writer) => work(String(writer), credentials, {everyMs: 2, stays: false}, (at) => {
    times.push(at)
    perWriter[writer] = (perWriter[writer] ?? 0) + 1
  }))
  const directly = direct ? (credentials.direct as Address[]).map((address) => work(`at${address.port}`, address, {everyMs: 10, stays: true}, () => undefined)) : []
  await until('all writers write', async () => perWriter.every((written) => written > 5))
  times = [performance.now()]

  async function survivors(): Promise<string[]> {
    const client = await connect()
    try {
      return (await client.query<{id: string}>('select id from journal where id like $1', [`${run}-%`])).rows.map(({id}) => id)
    } finally {
      await client.end()
    }
  }

  const writers: Writers = {
    acknowledged: () => writes.length,
    writes,
    query: (text) => first.query(text),
    gapMs() {
      const all = [...times, performance.now()]
      times = [performance.now()]
      return Math.round(Math.max(...all.slice(1).map((at, i) => at - (all[i] as number))))
    },
    async goOn() {
      const before = [...perWriter]
      await until('all writers go on', async () => perWriter.every((written, i) => written > (before[i] ?? 0) + 3), 90)
    },
    async end() {
      going = false
      await Promise.all(atEndpoint)
      // one that waits for a server that hangs waits for ever
      for (const client of clients) (client as unknown as {connection: {stream: Socket}}).connection.stream.destroy()
      await Promise.all(directly)
      await first.end().catch(() => undefined)
      return judge(writes, await survivors())
    },
    async stop() {
      const {acknowledged, ...found} = await writers.end()
      assert.deepEqual(found, {lost: [], doubled: [], divided: []}, 'acknowledged rows are lost, rows are doubled, or two primaries acknowledged at a time')
      return acknowledged
    },
  }
  return writers
}

export interface Fault {
  readonly before: ApiInstance
  readonly writers: Writers
  readonly round: number
  /** Longest time without a write since the fault began, for people. */
  tell(what: string): void
}

/**
 * What befalls a whole instance, while four write through the endpoint and one to each server: again and again, as often as the run asks for.
 * Afterwards it is whole, writes go on, the same rows are everywhere, none that was acknowledged is lost, and no two primaries acknowledged at a time.
 */
export async function underFault(site: Site, work: (fault: Fault) => Promise<void>, rounds = faultRounds): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const before = await untilWhole(site, 'demo', 150)
    const writers = await startWriters(site, 'demo', {direct: true})
    writers.gapMs()
    try {
      await work({before, writers, round, tell: (what) => void process.stdout.write(`      ${what}: ${writers.gapMs()} ms without a write\n`)})
    } catch (error) {
      void writers.end().catch(() => undefined)
      throw error
    }
    const after = await untilWhole(site, 'demo', 150)
    await writers.goOn()
    const written = await writers.stop()
    await assertSameEverywhere(site, after)
    process.stdout.write(`      ${written} acknowledged, 0 lost, 0 doubled, 0 by two primaries\n`)
  }
}

export const untilOtherPrimary = (site: Site, than: ApiInstance): Promise<ApiInstance> => until('another primary', async () => {
  const now = await instanceOf(site, 'demo')
  return primaryOf(now).id !== primaryOf(than).id ? now : undefined
}, 60)

/** Of each node alone, without the endpoint: all of them hold the same rows. */
export async function assertSameEverywhere(site: Site, instance: ApiInstance): Promise<void> {
  const count = async (node: ApiNode): Promise<string> => String((await site.json('sql', instance.name, 'select count(*), min(id), max(id) from journal', '--node', node.name)).rows?.[0])
  const [first, ...rest] = instance.nodes
  const expected = await count(first as ApiNode)
  for (const node of rest) await until(`${node.name} has all`, async () => (await count(node)) === expected, 20)
}

/** The archive's line: one more each time bytes were missing. */
export function logOf(site: Site): {line: number; state: string; timeline: string} {
  const db = new Database(join(site.home, 'metadata.db'), {readonly: true})
  try {
    return db.prepare('select line, state, timeline from logs').get() as {line: number; state: string; timeline: string}
  } finally {
    db.close()
  }
}

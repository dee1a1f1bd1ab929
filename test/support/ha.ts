/** An instance with replicas under four writers: what was acknowledged must be there, whatever happened meanwhile. */
import assert from 'node:assert/strict'
import {readFileSync, readdirSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import Database from 'better-sqlite3'
import pg from 'pg'
import type {ApiInstance, ApiNode, ApiOperation} from '../../src/core/api/schemas.js'
import {clientOf} from './probed-agent.js'
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
  /** The longest time between two acknowledged writes of any writer since it was last asked, the one that lasts included, in milliseconds. */
  gapMs(): number
  readonly acknowledged: () => number
  /** Resolves when each writer has written again. */
  goOn(): Promise<void>
  /** Ends them, and finds every acknowledged row, once. Returns how many. */
  stop(): Promise<number>
}

export async function startWriters(site: Site, name: string, count = 4): Promise<Writers> {
  const {credentials} = await site.json('api', 'GET', `/v1/instances/${name}/credentials`)
  const ca = readFileSync(credentials.ca_file, 'utf8')
  const connect = async (): Promise<pg.Client> => {
    const {host, port, database, username: user, password} = credentials
    const client = new pg.Client({host, port, database, user, password, ssl: {ca, servername: 'localhost', minVersion: 'TLSv1.3'}, connectionTimeoutMillis: 40_000})
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  const first = await connect()
  await first.query('create table if not exists journal (id text primary key)')
  const acknowledged: string[] = []
  const perWriter = Array.from({length: count}, () => 0)
  let times: number[] = [performance.now()]
  let going = true
  const run = Math.random().toString(36).slice(2)
  const work = perWriter.map(async (_, writer) => {
    let client: pg.Client | undefined
    for (let n = 0; going; n++) {
      const id = `${run}-${writer}-${n}`
      let doubtful = false
      try {
        client ??= await connect()
        // the server says so when a wait for replicas was cut short
        const notice = ({message}: {message?: string | undefined}): void => void (doubtful ||= /might not have been replicated/.test(message ?? ''))
        client.on('notice', notice)
        await client.query('insert into journal values ($1)', [id])
        client.off('notice', notice)
        if (doubtful) continue
        acknowledged.push(id)
        times.push(performance.now())
        perWriter[writer] = (perWriter[writer] ?? 0) + 1
        await pause(2)
      } catch {
        void client?.end().catch(() => undefined)
        client = undefined
        await pause(5)
      }
    }
    await client?.end().catch(() => undefined)
  })
  await until('all writers write', async () => perWriter.every((written) => written > 5))
  times = [performance.now()]
  return {
    acknowledged: () => acknowledged.length,
    gapMs() {
      const all = [...times, performance.now()]
      times = [performance.now()]
      return Math.round(Math.max(...all.slice(1).map((at, i) => at - (all[i] as number))))
    },
    async goOn() {
      const before = [...perWriter]
      await until('all writers go on', async () => perWriter.every((written, i) => written > (before[i] ?? 0) + 3), 90)
    },
    async stop() {
      going = false
      await Promise.all(work)
      await first.end().catch(() => undefined)
      const client = await connect()
      const rows = (await client.query<{id: string}>('select id from journal where id like $1', [`${run}-%`])).rows.map(({id}) => id)
      await client.end()
      const there = new Set(rows)
      assert.equal(there.size, rows.length, 'rows are doubled')
      assert.deepEqual(acknowledged.filter((id) => !there.has(id)), [], 'acknowledged rows are lost')
      return acknowledged.length
    },
  }
}

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

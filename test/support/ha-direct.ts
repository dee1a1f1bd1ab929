/** Writers of each server of an instance alone, without its endpoint: what two primaries would acknowledge, these would see. */
import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {setTimeout as pause} from 'node:timers/promises'
import pg from 'pg'
import type {Site} from './site.js'
import {until} from './until.js'

interface Address {
  readonly host: string
  readonly port: number
}

export interface DirectWriters {
  /** Ends them; finds every row that any server has acknowledged, once, and that no server did after another had begun to. Returns how many, by server. */
  stop(): Promise<ReadonlyMap<string, number>>
}

/** Commits as applications make them; a standby refuses, a primary without replicas lets them wait. The table is that of `startWriters`. */
export async function startDirectWriters(site: Site, name: string): Promise<DirectWriters> {
  const {credentials} = await site.json('api', 'GET', `/v1/instances/${name}/credentials`)
  const {database, username: user, password, direct, ca_file: caFile} = credentials as Address & {database: string; username: string; password: string; ca_file: string; direct: Address[]}
  const ca = readFileSync(caFile, 'utf8')
  const connect = async ({host, port}: Address, connectionTimeoutMillis = 1000): Promise<pg.Client> => {
    const client = new pg.Client({host, port, database, user, password, ssl: {ca, servername: 'localhost', minVersion: 'TLSv1.3'}, connectionTimeoutMillis})
    client.on('error', () => undefined)
    // the server says so when a wait for replicas was cut short
    client.on('notice', ({message}) => void (/might not have been replicated/.test(message ?? '') && doubtful.add(client)))
    await client.connect()
    return client
  }
  const run = `direct-${Math.random().toString(36).slice(2)}`
  const acknowledged: {id: string; server: string; at: number}[] = []
  const open = new Set<pg.Client>()
  const doubtful = new WeakSet<pg.Client>()
  let going = true
  const work = direct.map(async (address) => {
    const server = `${address.host}:${address.port}`
    let client: pg.Client | undefined
    for (let n = 0; going; n++) {
      const id = `${run}-${address.port}-${n}`
      try {
        client ??= await connect(address)
        open.add(client)
        await client.query('insert into journal values ($1)', [id])
        if (!doubtful.delete(client)) acknowledged.push({id, server, at: performance.now()})
        await pause(10)
      } catch (error) {
        // a standby stays connected, and is asked again
        if ((error as {code?: string}).code !== '25006') {
          void client?.end().catch(() => undefined)
          if (client) open.delete(client)
          client = undefined
        }
        await pause(20)
      }
    }
  })
  await until('a write without the endpoint', async () => acknowledged.length > 3)
  return {
    async stop() {
      going = false
      // one whose commit waits waits for ever
      const timer = setTimeout(() => {
        for (const client of open) (client as unknown as {connection: {stream: {destroy(): void}}}).connection.stream.destroy()
      }, 1000)
      await Promise.all(work)
      clearTimeout(timer)
      await Promise.all([...open].map((client) => client.end().catch(() => undefined)))
      const reader = await connect(credentials as Address, 40_000)
      const {rows} = await reader.query<{id: string}>('select id from journal where id like $1', [`${run}-%`])
      await reader.end()
      const there = new Set(rows.map(({id}) => id))
      assert.equal(there.size, rows.length, 'rows are doubled')
      assert.deepEqual(acknowledged.filter(({id}) => !there.has(id)), [], 'acknowledged rows are lost')
      const turns = acknowledged.map(({server}) => server).filter((server, i, all) => server !== all[i - 1])
      assert.deepEqual(turns, [...new Set(turns)], 'two servers acknowledged at a time')
      const counts = new Map<string, number>()
      for (const {server} of acknowledged) counts.set(server, (counts.get(server) ?? 0) + 1)
      return counts
    },
  }
}

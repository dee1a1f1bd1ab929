/** Writers that reconnect as any client would, and what can be told from what they heard. */
import {readdirSync, readFileSync} from 'node:fs'
import {setTimeout as pause} from 'node:timers/promises'
import pg from 'pg'

export type Target = Pick<pg.ClientConfig, 'host' | 'port' | 'user' | 'password' | 'database' | 'ssl'>

interface Acknowledged {
  readonly id: number
  readonly at: number
  /** When the connection was begun on which it came. */
  readonly connectedAt: number
}

export interface Outcome {
  /** From the fault to the first write that was acknowledged on a connection made after it, milliseconds. */
  readonly firstMs: number
  /** From the last write that was acknowledged on an older connection. */
  readonly gapMs: number
}

/** `targetOf`: where to connect now; undefined: nowhere yet. `changed` cuts connections to where it no longer leads. */
export class Writers {
  readonly acknowledged: Acknowledged[] = []
  readonly #clients = new Set<{client: pg.Client; key: string}>()
  #next = 1
  #stopped = false
  readonly #running: Promise<unknown>

  constructor(count: number, private readonly targetOf: () => Target | undefined) {
    this.#running = Promise.all(Array.from({length: count}, () => this.#write()))
  }

  /** What hangs is given up when it is known that it is not the leader any more. */
  changed(): void {
    const wanted = keyOf(this.targetOf())
    for (const {client, key} of this.#clients) if (key !== wanted) cut(client)
  }

  outcomeOf(faultAt: number): Outcome | undefined {
    const first = this.acknowledged.find(({connectedAt}) => connectedAt > faultAt)
    if (first === undefined) return undefined
    const last = this.acknowledged.filter(({connectedAt}) => connectedAt <= faultAt).at(-1)
    return {firstMs: first.at - faultAt, gapMs: first.at - (last?.at ?? faultAt)}
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const {client} of this.#clients) cut(client)
    await this.#running
  }

  async #write(): Promise<void> {
    while (!this.#stopped) {
      const target = this.targetOf()
      if (target === undefined) {
        await pause(10)
        continue
      }
      const connectedAt = performance.now()
      const client = new pg.Client({...target, connectionTimeoutMillis: 30_000})
      const entry = {client, key: keyOf(target)}
      let broken = false
      client.on('error', () => (broken = true))
      // a commit that was not confirmed is none, whatever comes after the warning
      client.on('notice', (notice) => (broken ||= /synchronous replication/.test(notice.message ?? '')))
      this.#clients.add(entry)
      try {
        await client.connect()
        while (!this.#stopped && !broken) {
          const id = this.#next++
          await client.query('insert into written (id) values ($1)', [id])
          if (!broken) this.acknowledged.push({id, at: performance.now(), connectedAt})
          await pause(5)
        }
      } catch {
        await pause(10)
      } finally {
        this.#clients.delete(entry)
        cut(client)
      }
    }
  }
}

const keyOf = (target: Target | undefined): string => `${target?.host}:${target?.port}`

function cut(client: pg.Client): void {
  const {connection} = client as unknown as {connection: {stream: {destroy(): void}}}
  connection.stream.destroy()
}

/** How many acknowledged writes are not there. */
export async function lostOf(writers: Writers, target: Target): Promise<number> {
  const client = new pg.Client({...target, connectionTimeoutMillis: 30_000})
  await client.connect()
  const {rows} = await client.query<{id: number}>('select id from written')
  await client.end()
  const there = new Set(rows.map(({id}) => Number(id)))
  return writers.acknowledged.filter(({id}) => !there.has(id)).length
}

/** A process and all that descend from it. */
export function treeOf(root: number): number[] {
  if (!(root > 1)) throw new Error(`${root} is no process of ours`)
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // gone meanwhile
    }
  }
  const all = [root]
  for (let i = 0; i < all.length; i++) all.push(...(children.get(all[i] as number) ?? []))
  return all
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  // 0 and below would be a whole group
  for (const pid of pids.filter((each) => each > 1)) {
    try {
      process.kill(pid, signal)
    } catch {
      // gone meanwhile
    }
  }
}

/** Throws when it does not come true in time, naming it. */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false> | T | undefined | false, ms = 120_000): Promise<T> {
  for (const end = performance.now() + ms; ; await pause(50)) {
    const found = await Promise.resolve(ask()).catch(() => undefined)
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Error(`not within ${ms / 1000} s: ${what}`)
  }
}

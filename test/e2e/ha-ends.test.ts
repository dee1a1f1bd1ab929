/** What is easily forgotten of an instance with replicas: what is given up, who is left hanging, what is taken back. Real servers. */
import assert from 'node:assert/strict'
import {connect} from 'node:net'
import {readFileSync} from 'node:fs'
import pg from 'pg'
import type {PrimaryChange} from '../../src/core/ha/receipt.js'
import {changesOf, instanceOf, primaryOf, processesOfNode, replicasOf, signal, untilWhole} from '../support/ha.js'
import {call, finish} from '../support/kills.js'
import {clientOf} from '../support/probed-agent.js'
import {refuse} from '../support/refusal.js'
import {temporarySite, type Site} from '../support/site.js'
import {until} from '../support/until.js'

describe('an instance with two replicas', function () {
  this.timeout(240_000)
  let site: Site
  before(async () => {
    site = temporarySite('ha-ends')
    const {operation} = await site.json('create', 'demo', '--ha', '--size', 'micro', '--no-backup')
    assert.equal(operation?.status, 'succeeded', JSON.stringify(operation))
    await site.json('sql', 'demo', 'create table journal (id text)')
  })
  after(() => site?.dispose())

  const session = async (at: {host: string; port: number}): Promise<{client: pg.Client; ended: Promise<void>}> => {
    const {credentials} = await site.json('credentials', 'demo')
    const client = new pg.Client({...at, database: credentials.database, user: credentials.username, password: credentials.password, ssl: {ca: readFileSync(credentials.ca_file, 'utf8'), servername: 'localhost'}})
    const ended = new Promise<void>((resolve) => client.once('end', resolve))
    client.on('error', () => undefined)
    await client.connect()
    return {client, ended}
  }

  // Feature: enterprise-dbaas-platform, Property 24: Automatic Failover Capability
  it('tells how much of the log of a lost primary was given up, which nobody had confirmed', async () => {
    const before = await untilWhole(site, 'demo')
    const primary = primaryOf(before)
    const {client, ended} = await session(before.endpoint as {host: string; port: number})
    const senders = (await client.query<{pid: number}>('select pid from pg_stat_replication where usename = $1', ['dbaas_peer'])).rows.map(({pid}) => pid)
    assert.equal(senders.length, 2)
    const flushed = async (): Promise<bigint> => BigInt((await client.query<{at: string}>("select (pg_current_wal_flush_lsn() - '0/0')::text as at")).rows[0]?.at ?? '0')
    const at = await flushed()
    // its replicas receive nothing any more
    signal(senders, 'SIGSTOP')
    const writer = await session(before.endpoint as {host: string; port: number})
    void writer.client.query("insert into journal select repeat(md5(n::text), 30) from generate_series(1, 1000) n").catch(() => undefined)
    await until('it is on the disk of the primary', async () => (await flushed()) - at > 500_000n)
    signal(processesOfNode(site, before, primary), 'SIGKILL')
    await Promise.all([ended, writer.ended])
    const after = await untilWhole(site, 'demo')
    assert.notEqual(primaryOf(after).id, primary.id)
    const change = await until('the old primary has told', async () => {
      const [{result}] = (await changesOf(site, 'demo')) as unknown as [{result: PrimaryChange}]
      return result.discarded_bytes === null ? undefined : result
    })
    assert.equal(change.from, primary.name)
    assert.ok((change.discarded_bytes ?? 0) > 500_000, String(change.discarded_bytes))
    assert.equal((await instanceOf(site, 'demo')).replication?.last_change?.discarded_bytes, change.discarded_bytes)
    assert.equal((await site.json('sql', 'demo', 'select count(*) from journal')).rows?.[0]?.[0], '0')
  })

  it('gives up nothing in a switchover', async () => {
    await untilWhole(site, 'demo')
    assert.equal((await site.json('switchover', 'demo')).operation?.status, 'succeeded')
    await until('the old primary has told', async () => ((await changesOf(site, 'demo'))[0]?.result as unknown as PrimaryChange | undefined)?.discarded_bytes === 0)
  })

  it('cuts those who read from a replica that hangs, so that they read elsewhere', async () => {
    const before = await untilWhole(site, 'demo')
    const at = before.read_only_endpoint as {host: string; port: number}
    const {client, ended} = await session(at)
    const {rows: [row]} = await client.query<{port: number}>('select inet_server_port() as port')
    const hung = replicasOf(before).find(({endpoint}) => endpoint?.port === row?.port)
    assert.ok(hung)
    signal(processesOfNode(site, before, hung), 'SIGSTOP')
    try {
      const waiting = client.query('select 1').then(() => 'answered', () => 'cut')
      await ended
      assert.equal(await waiting, 'cut')
      const {client: again} = await session(at)
      const {rows: [other]} = await again.query<{port: number}>('select inet_server_port() as port')
      assert.notEqual(other?.port, row?.port)
      await again.end()
    } finally {
      signal(processesOfNode(site, before, hung), 'SIGCONT')
    }
    await untilWhole(site, 'demo')
  })

  it('keeps a replica as it was when its removal is cancelled', async () => {
    const before = await untilWhole(site, 'demo')
    const [going, staying] = replicasOf(before)
    assert.ok(going && staying)
    // as long as the other one confirms nothing, this one is needed
    signal(processesOfNode(site, before, staying), 'SIGSTOP')
    try {
      await until('the other one is struck off', async () => (await instanceOf(site, 'demo')).replication?.voters.length === 1, 30)
      const operation = await call(site, 'replicas.remove', {params: {instance: 'demo', node: going.name}, query: {}})
      await until('it waits', async () => (await clientOf(site).call('operations.get', {params: {operation: operation.id}})).operation.steps.at(-1)?.name === 'retire')
      await clientOf(site).call('operations.cancel', {params: {operation: operation.id}} as never)
      assert.equal((await finish(site, operation)).status, 'cancelled')
    } finally {
      signal(processesOfNode(site, before, staying), 'SIGCONT')
    }
    const after = await until('both vote again', async () => {
      const instance = await untilWhole(site, 'demo')
      return instance.replication?.voters.length === 2 ? instance : undefined
    })
    assert.deepEqual(after.nodes.map(({id}) => id).sort(), before.nodes.map(({id}) => id).sort())
    assert.deepEqual(replicasOf(after).map(({sync_state}) => sync_state), ['sync', 'sync'])
  })

  it('says how a node is named in the command that was typed', async () => {
    await refuse(site.run, ['switchover', 'demo', '--to', 'nobody'], {code: 'NODE_NOT_FOUND', names: /"nobody"/, suggests: /--to demo-2/})
    await refuse(site.run, ['promote', 'demo', 'nobody'], {code: 'NODE_NOT_FOUND', names: /"nobody"/, suggests: /dbaas promote demo demo-2/})
    await refuse(site.run, ['replicas', 'remove', 'demo', 'nobody', '--yes'], {code: 'NODE_NOT_FOUND', names: /"nobody"/, suggests: /dbaas replicas remove demo demo-2/})
  })

  it('tells those who waited in vain for a primary, in the words of PostgreSQL, where to look', async () => {
    const before = await untilWhole(site, 'demo')
    const {agent} = await clientOf(site).call('agent.get', {})
    // with the agent standing still nobody becomes the primary, and its endpoint cannot reach the old one
    process.kill(agent.pid, 'SIGSTOP')
    try {
      signal(processesOfNode(site, before, primaryOf(before)), 'SIGKILL')
      // one that is dying may still take a connection
      const words = await until('words', () => new Promise<string | false>((resolve) => {
        const socket = connect(before.endpoint as {host: string; port: number})
        const heard: Buffer[] = []
        // an SSLRequest
        socket.write(Buffer.from('0000000804d2162f', 'hex'))
        socket.on('data', (bytes) => void heard.push(bytes))
        socket.once('error', () => undefined)
        socket.once('close', () => resolve(heard.length > 0 && Buffer.concat(heard).toString('utf8')))
      }))
      assert.match(words, /^E[\s\S]*C57P03\0Mdemo has no server that can be written to now\0H[^\0]*dbaas status demo\0/)
    } finally {
      process.kill(agent.pid, 'SIGCONT')
    }
    await until('another primary', async () => primaryOf(await instanceOf(site, 'demo')).id !== primaryOf(before).id)
    await untilWhole(site, 'demo')
  })
})

/** What survives, and what comes back by itself: real kills of every process there is. */
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {readdirSync, readFileSync, writeFileSync, chownSync, statSync} from 'node:fs'
import {createConnection, createServer} from 'node:net'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import pg from 'pg'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import {leftoversOf} from '../support/leftovers.js'
import {dataRootOf, processesOf, projectRoot, temporarySite, type Site} from '../support/site.js'

async function until<T>(what: string, look: () => Promise<T | undefined | false>, seconds = 20): Promise<T> {
  let last: unknown
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(50)) {
    try {
      const found = await look()
      if (found) return found
    } catch (error) {
      last = error
    }
  }
  throw new Error(`${what} did not happen within ${seconds} s${last ? `: ${last}` : ''}`)
}

const get = async (site: Site, name = 'demo'): Promise<ApiInstance> => (await site.json('status', name)).instance
const running = (site: Site, name = 'demo') => until(`${name} running`, async () => {
  const instance = await get(site, name)
  return instance.status === 'running' && instance
})
const agentPid = async (site: Site): Promise<number> => (await site.json('agent', 'status')).agent.pid
const endpointPid = (site: Site): number => {
  const found = processesOf([site.home]).find((p) => p.what.startsWith('dbaas endpoint') || /endpoint\.js/.test(p.what))
  if (!found) throw new Error('there is no endpoint process')
  return found.pid
}
async function connect(site: Site, name = 'demo'): Promise<pg.Client> {
  const {url} = await site.json('url', name)
  const client = new pg.Client({connectionString: url})
  client.on('error', () => undefined)
  await client.connect()
  return client
}
const postgresOf = (site: Site) => processesOf([dataRootOf(site.home)]).filter((p) => p.what.includes('postgres') && !p.what.includes('node'))

describe('reality', function () {
  this.timeout(120_000)
  const site = temporarySite('reality', {env: {DBAAS_POOL_SIZE: '0'}})
  before(async () => {
    const created = await site.run('create', 'demo', '--size', 'micro')
    assert.equal(created.code, 0, created.stderr)
    const client = await connect(site)
    await client.query('create table t as select 42 as answer')
    await client.end()
  })
  after(() => site.dispose())

  it('keeps sessions and takes new ones while the agent is killed, and the agent comes back by itself', async () => {
    const before = await get(site)
    const client = await connect(site)
    const pid = await agentPid(site)
    process.kill(pid, 'SIGKILL')
    assert.deepEqual((await client.query('select answer from t')).rows, [{answer: 42}])
    const back = await until('the agent is back', async () => {
      const {code, stdout} = await site.run('agent', 'status', '--json')
      return code === 0 && (JSON.parse(stdout).agent.pid as number)
    })
    assert.notEqual(back, pid)
    assert.deepEqual((await client.query('select answer from t')).rows, [{answer: 42}])
    await client.end()
    const after = await running(site)
    assert.equal(after.nodes[0]?.pid, before.nodes[0]?.pid)
    assert.deepEqual(after.endpoint, before.endpoint)
  })

  it('serves while the agent is stopped, and "agent stop" is not undone by the endpoint process', async () => {
    assert.equal((await site.run('agent', 'stop')).code, 0)
    await pause(1500)
    assert.equal((await site.run('agent', 'status')).code, 6)
    // the url is asked of an agent, which is started by that
    const client = await connect(site)
    assert.deepEqual((await client.query('select answer from t')).rows, [{answer: 42}])
    await client.end()
  })

  it('passes a cancel request through the endpoint', async () => {
    const client = await connect(site)
    const {processID, secretKey} = client as unknown as {processID: number; secretKey: number | Buffer}
    const sleeping = client.query('select pg_sleep(60)')
    const failed = assert.rejects(sleeping, (error: {code?: string}) => error.code === '57014')
    const {endpoint} = await get(site)
    const key = Buffer.isBuffer(secretKey) ? secretKey : Buffer.from([secretKey >>> 24, secretKey >>> 16, secretKey >>> 8, secretKey])
    const request = Buffer.alloc(12 + key.length)
    request.writeInt32BE(request.length, 0)
    request.writeInt32BE(80877102, 4)
    request.writeInt32BE(processID, 8)
    key.copy(request, 12)
    const socket = createConnection(endpoint?.port as number, '127.0.0.1')
    await once(socket, 'connect')
    socket.end(request)
    await failed
    await client.end()
  })

  it('brings the endpoint process back at the same address when it is killed', async () => {
    const {endpoint} = await get(site)
    const pid = endpointPid(site)
    process.kill(pid, 'SIGKILL')
    const client = await until('the endpoint serves again', () => connect(site))
    await client.end()
    assert.notEqual(endpointPid(site), pid)
    assert.deepEqual((await get(site)).endpoint, endpoint)
  })

  it('starts a server again that was killed, with new connections held instead of refused', async () => {
    const {nodes} = await get(site)
    process.kill(nodes[0]?.pid as number, 'SIGKILL')
    const client = await connect(site)
    assert.deepEqual((await client.query('select answer from t')).rows, [{answer: 42}])
    await client.end()
    const after = await running(site)
    assert.notEqual(after.nodes[0]?.pid, nodes[0]?.pid)
    const {operations} = await site.json('operations', 'list')
    assert.equal(operations[0].kind, 'instance.recover')
  })

  it('knows after a reboot what was there, and brings it back with its data and address', async () => {
    const before = await get(site)
    for (let i = 0; i < 3; i++) {
      for (const {pid} of processesOf([site.home, dataRootOf(site.home)])) {
        try {
          process.kill(pid, 'SIGKILL')
        } catch {
          // gone with its parent
        }
      }
      await pause(100)
    }
    assert.deepEqual(postgresOf(site), [])
    // the pid of the old server now belongs to a stranger, as it may after a boot
    const [instanceFolder] = readdirSync(join(dataRootOf(site.home), 'instances'))
    const place = join(dataRootOf(site.home), 'instances', instanceFolder as string)
    const pidFile = join(place, readdirSync(place)[0] as string, 'data', 'postmaster.pid')
    const lines = readFileSync(pidFile, 'utf8').split('\n')
    const {uid, gid} = statSync(pidFile)
    writeFileSync(pidFile, [String(process.pid), ...lines.slice(1)].join('\n'))
    chownSync(pidFile, uid, gid)
    const {instances} = await site.json('list')
    assert.equal(instances.length, 1)
    assert.ok(['degraded', 'running'].includes(instances[0].status), instances[0].status)
    const after = await running(site)
    assert.deepEqual(after.endpoint, before.endpoint)
    const client = await connect(site)
    assert.deepEqual((await client.query('select answer from t')).rows, [{answer: 42}])
    await client.end()
    assert.doesNotThrow(() => process.kill(process.pid, 0))
  })

  it('lets a second agent on the same home end at once, with exit code 0', async () => {
    const pid = await agentPid(site)
    const second = spawn(process.execPath, [join(projectRoot, 'bin', 'agent.js')], {env: site.env, stdio: 'ignore'})
    const [code] = await once(second, 'exit')
    assert.equal(code, 0)
    assert.equal(await agentPid(site), pid)
  })

  it('gives a server another port when a stranger took its own while it was stopped', async () => {
    const before = await get(site)
    assert.equal((await site.run('stop', 'demo')).code, 0)
    const stranger = createServer().listen(before.nodes[0]?.endpoint?.port, '127.0.0.1')
    await once(stranger, 'listening')
    const started = await site.run('start', 'demo')
    stranger.close()
    assert.equal(started.code, 0, started.stderr)
    const after = await running(site)
    assert.notEqual(after.nodes[0]?.endpoint?.port, before.nodes[0]?.endpoint?.port)
    assert.deepEqual(after.endpoint, before.endpoint)
  })

  it('says so when a stranger took the stable address, and starts when it is free again', async () => {
    const {endpoint} = await get(site)
    assert.equal((await site.run('stop', 'demo')).code, 0)
    const stranger = createServer().listen(endpoint?.port, '127.0.0.1')
    await once(stranger, 'listening')
    const {error} = await site.json('start', 'demo')
    assert.equal(error.code, 'PORT_IN_USE')
    stranger.close()
    await once(stranger, 'close')
    assert.equal((await site.run('start', 'demo')).code, 0)
    await running(site)
  })

  it('lists the servers of another site as strangers, and does not touch them', async () => {
    const other = temporarySite('stranger', {env: {DBAAS_POOL_SIZE: '0'}})
    try {
      const pid = (await get(site)).nodes[0]?.pid
      const {checks} = await other.json('doctor')
      const strangers = checks.find((c: {name: string}) => c.name === 'strangers')
      assert.match(strangers.message, new RegExp(`\\b${pid}\\b|demo|${site.home}`))
      assert.equal((await other.run('agent', 'stop')).code, 0)
      assert.equal((await get(site)).nodes[0]?.pid, pid)
    } finally {
      await other.dispose()
    }
  })

  it('ends in time while a program that it waits for hangs, and leaves none behind', async () => {
    const other = temporarySite('hanging', {env: {DBAAS_POOL_SIZE: '0', DBAAS_BACKUP_KEY_COMMAND: 'sleep 987'}})
    const asked = () => processesOf(['sleep 987'])
    try {
      assert.equal((await other.run('create', 'demo', '--size', 'micro')).code, 0)
      await until('the command that gives the key', async () => asked().length > 0)
      const stopped = await other.run('agent', 'stop')
      assert.equal(stopped.code, 0, stopped.stderr)
      await until('its end', async () => asked().length === 0)
    } finally {
      await other.dispose()
    }
  })

  it('deletes an instance by itself when its time is over', async () => {
    assert.equal((await site.run('create', 'brief', '--size', 'micro', '--ttl', '2s')).code, 0)
    await until('brief is gone', async () => (await site.run('status', 'brief')).code === 3)
  })

  it('leaves nothing when the last instance is deleted', async () => {
    assert.equal((await site.run('delete', 'demo', '--yes')).code, 0)
    assert.deepEqual(leftoversOf(site.home), [])
    assert.equal((await site.run('agent', 'stop')).code, 0)
    await until('the endpoint process has ended', async () => processesOf([site.home]).length === 0)
  })
})

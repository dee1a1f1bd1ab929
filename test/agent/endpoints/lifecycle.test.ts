import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {readFile, readdir, rm, stat, writeFile} from 'node:fs/promises'
import {connect} from 'node:net'
import {dirname, join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Endpoints} from '../../../src/agent/endpoints/endpoint.js'
import {shortSocketPath} from '../../../src/agent/endpoints/socket-path.js'
import {Bed, Client, freePort, isAlive, openFiles, routeTo, until} from './support.js'

describe('the endpoint process and its agent', () => {
  let bed: Bed
  let echo: number

  before(async () => {
    bed = await Bed.make()
    echo = (await bed.server((socket) => socket.on('data', (bytes) => socket.write(bytes)).on('end', () => socket.end()))).port
  })
  after(() => bed.clean())

  const talks = async (port: number, word: string) => {
    const client = new Client(port)
    client.socket.write(word)
    await until(`the echo of "${word}"`, () => client.received === word)
    return client
  }
  const pidOf = async (endpoints: Endpoints) => (await endpoints.status()).pid

  it('keeps folder, socket and log to its user, and says in ps what it is', async () => {
    const stateDir = bed.newStateDir()
    const endpoints = bed.endpoints({stateDir})
    await endpoints.ensure()
    const mode = async (name: string) => ((await stat(join(stateDir, name))).mode & 0o777).toString(8)
    assert.deepEqual([await mode('.'), await mode('control.sock'), await mode('endpoint.log')], ['700', '600', '600'])
    const ps = execFileSync('ps', ['-o', 'args=', '-p', String(await pidOf(endpoints))], {encoding: 'utf8'})
    assert.equal(ps.trim(), 'dbaas endpoint site_test')
    const {memoryBytes, build, protocol} = await endpoints.status()
    assert.ok(memoryBytes < 80 * 1024 * 1024, `${memoryBytes} bytes`)
    assert.equal(protocol, 2)
    assert.match(build, /^[0-9a-f]{16}$/)
  })

  it('goes on when the agent detaches, does not bring it back, and is found again', async () => {
    const stateDir = bed.newStateDir()
    const marker = join(bed.root, 'came-back-1')
    const endpoints = bed.endpoints({stateDir, agentCommand: ['touch', marker]})
    await endpoints.ensure()
    const port = await freePort()
    await endpoints.put(routeTo(port, echo))
    const pid = await pidOf(endpoints)
    const client = await talks(port, 'a')
    await endpoints.detach()
    await assert.rejects(endpoints.status(), {code: 'ENDPOINT_UNAVAILABLE'})
    await sleep(500)
    await assert.rejects(stat(marker))
    client.socket.write('b')
    await until('the session lives', () => client.received === 'ab')
    const next = bed.endpoints({stateDir})
    await next.ensure()
    assert.equal(await pidOf(next), pid)
    client.socket.end()
  })

  it('brings the agent back, with its environment, when the connection is lost otherwise', async () => {
    const stateDir = bed.newStateDir()
    const marker = join(bed.root, 'came-back-2')
    const command = ['/bin/sh', '-c', `echo "$WHO" >> '${marker}'; exit 1`]
    const endpoints = bed.endpoints({stateDir})
    await endpoints.ensure()
    const began = Date.now()
    // An agent that dies without a word: a raw connection, said hello, and cut.
    const agent = connect(join(stateDir, 'control.sock'))
    const env = {PATH: process.env['PATH'], WHO: 'me'}
    agent.write(`${JSON.stringify({id: 1, op: 'hello', protocol: 2, agent: {command, env}})}\n`)
    await new Promise((resolve) => agent.once('data', resolve))
    await endpoints.detach()
    agent.write(`${JSON.stringify({id: 2, op: 'hello', protocol: 2, agent: {command, env}})}\n`)
    await new Promise((resolve) => agent.once('data', resolve))
    agent.destroy()
    await until('it was started twice', async () => (await readFile(marker, 'utf8').catch(() => '')) === 'me\nme\n')
    assert.ok(Date.now() - began >= 400, 'the second attempt is not at once')
    await endpoints.ensure()
    const lines = (await readFile(marker, 'utf8')).length
    await sleep(1200)
    assert.equal((await readFile(marker, 'utf8')).length, lines, 'an agent that is there stops the attempts')
  })

  it('is brought back with its routes when it is killed, and the agent is told', async () => {
    let restarts = 0
    const endpoints = bed.endpoints({onRestart: () => restarts++})
    await endpoints.ensure()
    const port = await freePort()
    await endpoints.put(routeTo(port, echo))
    await endpoints.put(routeTo(await freePort(), echo, {id: 'ins_closed', mode: 'closed'}))
    for (let round = 1; round <= 3; round++) {
      const pid = await pidOf(endpoints)
      process.kill(pid, 'SIGKILL')
      await until('the agent is told', () => restarts === round)
      assert.notEqual(await pidOf(endpoints), pid)
      const routes = (await endpoints.status()).routes
      assert.deepEqual(routes.map((route) => [route.id, route.listening]), [['ins_a', true], ['ins_closed', false]])
      ;(await talks(port, 'x')).socket.end()
    }
  })

  it('answers requests that were under way when it was killed', async () => {
    const endpoints = bed.endpoints()
    await endpoints.ensure()
    const pid = await pidOf(endpoints)
    const port = await freePort()
    const asked = Array.from({length: 20}, () => endpoints.put(routeTo(port, echo)))
    process.kill(pid, 'SIGKILL')
    await Promise.all(asked)
    ;(await talks(port, 'x')).socket.end()
  })

  it('reports a route whose port is taken at restore, and listens when the port is free', async () => {
    const stateDir = bed.newStateDir()
    const first = bed.endpoints({stateDir})
    await first.ensure()
    const port = await freePort()
    await first.put(routeTo(port, echo))
    await first.stop()
    const {server} = await bed.server(() => {}, port)
    const second = bed.endpoints({stateDir})
    await second.ensure()
    const [route] = (await second.status()).routes
    assert.equal(route?.listening, false)
    assert.match(route?.problem ?? '', new RegExp(`port ${port} .*taken`))
    server.close()
    await until('it listens', async () => (await second.status()).routes[0]?.listening)
    assert.equal((await second.status()).routes[0]?.problem, null)
  })

  it('is one process for each folder, however many are started at once', async () => {
    const stateDir = bed.newStateDir()
    const agents = Array.from({length: 6}, () => bed.endpoints({stateDir}))
    const before = new Set(await bed.processes())
    await Promise.allSettled(agents.map((agent) => agent.ensure()))
    for (const agent of agents) await agent.detach().catch(() => {})
    await until('one is left', async () => (await bed.processes()).filter((pid) => !before.has(pid)).length === 1)
  })

  it('starts over what a killed one left, with another that is starting in the way', async () => {
    const stateDir = bed.newStateDir()
    for (let round = 0; round < 4; round++) {
      const one = bed.endpoints({stateDir})
      const two = bed.endpoints({stateDir})
      await one.ensure()
      const pid = await pidOf(one)
      await one.detach()
      process.kill(pid, 'SIGKILL')
      const early = two.ensure()
      await Promise.all([early, two.ensure()])
      assert.notEqual(await pidOf(two), pid)
      await two.detach()
    }
    await until('one is left', async () => {
      const pids = await bed.processes()
      const holders = await Promise.all(pids.map(async (pid) => (await openFiles(pid)).includes(join(stateDir, 'endpoint.lock'))))
      return holders.filter(Boolean).length === 1
    })
  })

  it('gives the lock to nobody it starts: an agent that was brought back does not keep it', async () => {
    const stateDir = bed.newStateDir()
    const note = join(bed.root, 'agent-pid')
    const agentCommand = ['/bin/sh', '-c', `echo $$ > '${note}'; exec sleep 20`]
    const endpoints = bed.endpoints({stateDir, agentCommand})
    await endpoints.ensure()
    await endpoints.detach()
    // Through a successor too: it has the lock by inheritance.
    const upgraded = bed.endpoints({stateDir, agentCommand, bundlePath: await bed.otherBuild('lock-build')})
    await upgraded.ensure()
    const pid = await pidOf(upgraded)
    const agent = connect(join(stateDir, 'control.sock'))
    await upgraded.detach()
    agent.write(`${JSON.stringify({id: 1, op: 'hello', protocol: 2, agent: {command: agentCommand, env: {PATH: process.env['PATH']}}})}\n`)
    await new Promise((resolve) => agent.once('data', resolve))
    agent.destroy()
    await until('the agent was started', async () => (await readFile(note, 'utf8').catch(() => '')).trim() !== '')
    const child = Number(await readFile(note, 'utf8'))
    try {
      assert.ok((await openFiles(pid)).includes(join(stateDir, 'endpoint.lock')))
      assert.ok(!(await openFiles(child)).includes(join(stateDir, 'endpoint.lock')))
    } finally {
      process.kill(child, 'SIGKILL')
    }
  })

  it('ends when told, at SIGTERM, and when its folder is gone; not at SIGHUP', async () => {
    const stateDir = bed.newStateDir()
    const endpoints = bed.endpoints({stateDir})
    await endpoints.ensure()
    const port = await freePort()
    await endpoints.put(routeTo(port, echo))
    const first = await pidOf(endpoints)
    process.kill(first, 'SIGHUP')
    await sleep(100)
    assert.equal(await pidOf(endpoints), first)
    await endpoints.stop()
    assert.equal(isAlive(first), false)
    await endpoints.stop()

    await endpoints.ensure()
    const second = await pidOf(endpoints)
    await endpoints.detach()
    process.kill(second, 'SIGTERM')
    await until('ended by SIGTERM', () => !isAlive(second))

    await endpoints.ensure()
    const third = await pidOf(endpoints)
    await endpoints.detach()
    await rm(stateDir, {recursive: true})
    await until('ended with its folder', () => !isAlive(third))
    const refused = new Client(port)
    await until('nobody listens', () => refused.error === 'ECONNREFUSED')
  })

  it('lets sessions end at SIGTERM, while a new process serves already', async () => {
    const endpoints = bed.endpoints()
    await endpoints.ensure()
    const port = await freePort()
    await endpoints.put(routeTo(port, echo))
    const old = await pidOf(endpoints)
    const client = await talks(port, 'a')
    process.kill(old, 'SIGTERM')
    await until('a new one is there', async () => (await pidOf(endpoints).catch(() => old)) !== old)
    ;(await talks(port, 'n')).socket.end()
    client.socket.write('b')
    await until('the old session lives', () => client.received === 'ab')
    client.socket.end()
    await until('the old process ends with it', () => !isAlive(old))
  })

  it('starts without its routes when their file is damaged, and says so in the log', async () => {
    const stateDir = bed.newStateDir()
    const first = bed.endpoints({stateDir})
    await first.ensure()
    await first.stop()
    await writeFile(join(stateDir, 'routes.json'), '{"version":1,"rou')
    const second = bed.endpoints({stateDir})
    await second.ensure()
    assert.deepEqual((await second.status()).routes, [])
    assert.match(await readFile(join(stateDir, 'endpoint.log'), 'utf8'), /routes\.json is not readable/)
  })

  it('serves a home whose path is too long for a socket, or has spaces and other letters', async () => {
    const stateDir = join(bed.root, 'ein Ordner mit Ümläuten 数据库', 'x'.repeat(90), 'endpoint')
    const endpoints = bed.endpoints({stateDir})
    await endpoints.ensure()
    const port = await freePort()
    await endpoints.put(routeTo(port, echo))
    ;(await talks(port, 'x')).socket.end()
    assert.ok(!(await readdir(stateDir)).includes('control.sock'))
    const folder = dirname(shortSocketPath(join(stateDir, 'control.sock'), {make: false}))
    assert.ok((await stat(folder)).isDirectory())
    await endpoints.stop()
    await assert.rejects(stat(folder), {code: 'ENOENT'}, 'nothing is left in /tmp')
    await endpoints.ensure()
    const {pid} = await endpoints.status()
    await endpoints.detach()
    await rm(stateDir, {recursive: true})
    await until('ended with its folder', () => !isAlive(pid))
    await assert.rejects(stat(folder), {code: 'ENOENT'}, 'nothing is left in /tmp')
  })

  it('names the reason when the process cannot start', async () => {
    const stateDir = bed.newStateDir()
    const bundlePath = join(bed.root, 'broken.js')
    await writeFile(bundlePath, 'throw new Error("broken build")')
    await assert.rejects(bed.endpoints({stateDir, bundlePath}).ensure(), (error: {code: string; suggestions: string[]}) => {
      assert.equal(error.code, 'ENDPOINT_UNAVAILABLE')
      assert.match(String(error.suggestions[0]), /tail .*endpoint\.log/)
      return true
    })
    assert.match(await readFile(join(stateDir, 'endpoint.log'), 'utf8'), /broken build/)
  })
})

import assert from 'node:assert/strict'
import {readdir} from 'node:fs/promises'
import {connect} from 'node:net'
import {Bed, Client, freePort, isAlive, routeTo, until} from './support.js'

describe('an upgrade of the endpoint process', () => {
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

  /** Connects, says a word, hears it, again and again from several clients; returns what went wrong. */
  function hammer(port: number) {
    let stopped = false
    let served = 0
    const failures: string[] = []
    const once = () => new Promise<void>((resolve) => {
      const socket = connect({port, host: '127.0.0.1'}, () => socket.write('x'))
      socket.once('data', () => {
        served++
        socket.end()
      })
      socket.on('error', (error) => failures.push(error.message))
      socket.on('close', () => resolve())
    })
    const loops = Array.from({length: 8}, async () => {
      while (!stopped) await once()
    })
    return {
      count: () => served,
      stop: async () => {
        stopped = true
        await Promise.all(loops)
        return {served, failures}
      },
    }
  }

  it('refuses no connection and cuts no session, through several builds in a row', async () => {
    const stateDir = bed.newStateDir()
    let agent = bed.endpoints({stateDir})
    await agent.ensure()
    const port = await freePort()
    await agent.put(routeTo(port, echo))
    const client = await talks(port, '0')
    const hammering = hammer(port)
    const pids = [(await agent.status()).pid]
    for (let build = 1; build <= 3; build++) {
      const before = hammering.count()
      await until('the hammer hits', () => hammering.count() > before + 50)
      await agent.detach()
      agent = bed.endpoints({stateDir, bundlePath: await bed.otherBuild(`build-${build}`)})
      await agent.ensure()
      const {pid} = await agent.status()
      assert.ok(!pids.includes(pid))
      pids.push(pid)
      client.socket.write(String(build))
      await until('the session of the first process lives', () => client.received.endsWith(String(build)))
    }
    const before = hammering.count()
    await until('the last one serves', () => hammering.count() > before + 50)
    const {served, failures} = await hammering.stop()
    assert.deepEqual(failures, [])
    assert.ok(served > 200, `${served} connections`)
    await until('the sessions of all processes are counted', async () => (await agent.status()).routes[0]?.sessions === 1)
    assert.deepEqual(pids.map(isAlive), [true, true, true, true], 'a process with sessions, and those between it and the last, stay')
    assert.equal(await agent.closeSessions('ins_a'), 1, 'sessions of an old process obey')
    await until('closed', () => client.closed || client.ended)
    client.socket.destroy()
    await until('the old ones have ended', () => pids.slice(0, 3).every((pid) => !isAlive(pid)))
    assert.deepEqual((await readdir(stateDir)).filter((name) => /^[0-9a-f]{16}/.test(name)).length, 1, 'one build is left')
  })

  it('takes held clients along: they are forwarded when the successor is told to open', async () => {
    const stateDir = bed.newStateDir()
    const old = bed.endpoints({stateDir})
    await old.ensure()
    const port = await freePort()
    await old.put(routeTo(port, echo, {mode: 'hold'}))
    const client = new Client(port)
    client.socket.write('held')
    await until('held', async () => (await old.status()).routes[0]?.held === 1)
    await old.detach()
    const agent = bed.endpoints({stateDir, bundlePath: await bed.otherBuild('held-build')})
    await agent.ensure()
    assert.equal((await agent.status()).routes[0]?.held, 1)
    await agent.put(routeTo(port, echo))
    await until('forwarded', () => client.received === 'held')
    client.socket.end()
  })

  it('keeps the old process when the new build is broken, also when it breaks at the last step', async () => {
    const stateDir = bed.newStateDir()
    const old = bed.endpoints({stateDir})
    await old.ensure()
    const {pid} = await old.status()
    const port = await freePort()
    await old.put(routeTo(port, echo))
    await old.detach()
    const hammering = hammer(port)
    const dies = "process.on('message', (message) => { if (message.type === WHEN) process.exit(7) });"
    for (const when of ['boot', 'route', 'commit']) {
      const bundlePath = await bed.otherBuild(`dies-at-${when}`, dies.replace('WHEN', JSON.stringify(when)))
      const agent = bed.endpoints({stateDir, bundlePath})
      await agent.ensure()
      assert.equal((await agent.status()).pid, pid)
      ;(await talks(port, 'x')).socket.end()
      await agent.detach()
    }
    await hammering.stop()
    const again = bed.endpoints({stateDir})
    await again.ensure()
    assert.equal((await again.status()).pid, pid)
  })

  it('survives the death of the old process in the middle: the successor takes over alone', async () => {
    const stateDir = bed.newStateDir()
    const old = bed.endpoints({stateDir})
    await old.ensure()
    const {pid} = await old.status()
    const ports = [await freePort(), await freePort()] as const
    await old.put(routeTo(ports[0], echo))
    await old.put(routeTo(ports[1], echo, {id: 'ins_b'}))
    await old.detach()
    const kills = `process.on('message', (message) => { if (message.type === 'route') process.kill(${pid}, 'SIGKILL') });`
    const agent = bed.endpoints({stateDir, bundlePath: await bed.otherBuild('kills', kills)})
    await agent.ensure()
    assert.equal(isAlive(pid), false)
    await until('both routes listen', async () => (await agent.status()).routes.filter((route) => route.listening).length === 2)
    for (const port of ports) (await talks(port, 'x')).socket.end()
    assert.equal((await bed.processes()).length >= 1, true)
  })

  it('ends the sessions of a draining process when its successor is killed: nobody could close them any more', async () => {
    const stateDir = bed.newStateDir()
    const old = bed.endpoints({stateDir})
    await old.ensure()
    const {pid} = await old.status()
    const port = await freePort()
    await old.put(routeTo(port, echo))
    const client = await talks(port, 'a')
    await old.detach()
    const agent = bed.endpoints({stateDir, bundlePath: await bed.otherBuild('killed-later')})
    await agent.ensure()
    process.kill((await agent.status()).pid, 'SIGKILL')
    await until('the session ended', () => client.ended || client.closed)
    await until('the old process ended', () => !isAlive(pid))
    client.socket.destroy()
    await agent.status()
    ;(await talks(port, 'x')).socket.end()
  })
})

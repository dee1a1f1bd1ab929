import assert from 'node:assert/strict'
import {createHash, randomBytes} from 'node:crypto'
import type {Socket} from 'node:net'
import {setTimeout as sleep} from 'node:timers/promises'
import fc from 'fast-check'
import type {Endpoints} from '../../../src/agent/endpoints/endpoint.js'
import {Bed, Client, freePort, routeTo, until} from './support.js'

describe('the endpoint process as a proxy', () => {
  let bed: Bed
  let endpoints: Endpoints
  let port: number
  let accepted: Socket[] = []
  let echo: number

  before(async () => {
    bed = await Bed.make()
    endpoints = bed.endpoints()
    await endpoints.ensure()
    echo = (await bed.server((socket) => {
      accepted.push(socket)
      socket.on('data', (bytes) => socket.write(bytes))
      socket.on('end', () => socket.end('bye'))
    })).port
  })
  beforeEach(async () => {
    accepted = []
    port = await freePort()
  })
  afterEach(() => endpoints.remove('ins_a'))
  after(() => bed.clean())

  const state = async () => {
    const found = (await endpoints.status()).routes.find((route) => route.id === 'ins_a')
    assert.ok(found)
    return found
  }

  it('forwards bytes in both directions and both half-closes', async () => {
    await endpoints.put(routeTo(port, echo))
    const client = new Client(port)
    client.socket.end('hello')
    await until('the server has answered after the client ended', () => client.closed)
    assert.equal(client.received, 'hellobye')
    await until('the session is gone', async () => (await state()).sessions === 0)
  })

  it('lets a client go on sending after the server has ended its side', async () => {
    let heard = ''
    const {port: half} = await bed.server((socket) => {
      socket.end('first')
      socket.on('data', (bytes) => (heard += bytes))
    })
    await endpoints.put(routeTo(port, half))
    const client = new Client(port)
    await until('the end arrived', () => client.ended)
    client.socket.end('after the end')
    await until('the server heard it', () => heard === 'after the end')
  })

  it('carries any bytes unchanged, whatever their size and pieces', async () => {
    await endpoints.put(routeTo(port, echo))
    await fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({maxLength: 3000}), {maxLength: 12}), async (pieces) => {
      const client = new Client(port)
      for (const piece of pieces) client.socket.write(piece)
      client.socket.end()
      await until('all came back', () => client.closed)
      assert.equal(client.received, `${Buffer.concat(pieces).toString('latin1')}bye`)
    }), {numRuns: 100})
  })

  it('keeps its memory bounded when a client does not read, and loses nothing', async () => {
    const size = 64 * 1024 * 1024
    const chunk = randomBytes(1024 * 1024)
    const {port: source} = await bed.server((socket) => {
      for (let sent = 0; sent < size; sent += chunk.length) socket.write(chunk)
      socket.end()
    })
    await endpoints.put(routeTo(port, source))
    const before = (await endpoints.status()).memoryBytes
    const client = new Client(port)
    client.socket.removeAllListeners('data').pause()
    await sleep(400)
    const grown = (await endpoints.status()).memoryBytes - before
    assert.ok(grown < 24 * 1024 * 1024, `grew by ${grown}`)
    const hash = createHash('sha256')
    let received = 0
    client.socket.on('data', (bytes: Buffer) => {
      hash.update(bytes)
      received += bytes.length
    })
    client.socket.resume()
    await until('all arrived', () => client.ended, 20_000)
    const expected = createHash('sha256')
    for (let sent = 0; sent < size; sent += chunk.length) expected.update(chunk)
    assert.equal(received, size)
    assert.equal(hash.digest('hex'), expected.digest('hex'))
    client.socket.end()
  })

  it('closes the client when the server breaks, and the server when the client breaks', async () => {
    await endpoints.put(routeTo(port, echo))
    const first = new Client(port)
    await until('connected', () => accepted.length === 1)
    accepted[0]?.resetAndDestroy()
    await until('the client is closed', () => first.closed || first.ended)
    const second = new Client(port)
    await until('connected', () => accepted.length === 2)
    let closed = false
    accepted[1]?.on('close', () => (closed = true))
    second.socket.resetAndDestroy()
    await until('the server is told', () => closed)
    first.socket.destroy()
    await until('no session is left', async () => (await state()).sessions === 0)
  })

  it('holds new connections, with what they said, and forwards them in order when opened', async () => {
    const order: string[] = []
    const {port: target} = await bed.server((socket) => socket.on('data', (bytes) => order.push(String(bytes))))
    await endpoints.put(routeTo(port, target, {mode: 'hold'}))
    const clients: Client[] = []
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      const client = new Client(port)
      clients.push(client)
      client.socket.write(name)
      await until('held', async () => (await state()).held === clients.length)
    }
    await sleep(50)
    assert.deepEqual(order, [])
    await endpoints.put(routeTo(port, target))
    await until('all are through', () => order.length === 5)
    assert.deepEqual(order, ['a', 'b', 'c', 'd', 'e'])
    assert.equal((await state()).held, 0)
    for (const client of clients) client.socket.destroy()
  })

  it('holds as many as it is told, for as long as it is told, and no client that has left', async () => {
    await endpoints.put(routeTo(port, echo, {mode: 'hold', holdLimit: 2, holdSeconds: 0.4}))
    const [first, second] = [new Client(port), new Client(port)]
    await until('two are held', async () => (await state()).held === 2)
    const third = new Client(port)
    await until('the third is turned away', () => third.closed || third.ended)
    assert.equal(first.ended, false)
    second.socket.destroy()
    await until('who left is forgotten', async () => (await state()).held === 1)
    const began = Date.now()
    await until('the first is let go', () => first.ended || first.closed)
    assert.ok(Date.now() - began < 1500)
    await until('nobody is held', async () => (await state()).held === 0)
    first.socket.destroy()
  })

  it('delivers what a held client said before it left: a cancel request waits for no answer', async () => {
    let heard = ''
    const {port: target} = await bed.server((socket) => socket.on('data', (bytes) => (heard += bytes)).on('end', () => socket.end()))
    await endpoints.put(routeTo(port, null))
    new Client(port).socket.end('cancel')
    await until('held', async () => (await state()).held === 1)
    await endpoints.put(routeTo(port, target))
    await until('delivered', () => heard === 'cancel')
  })

  it('changes the target without touching the listener or established sessions, and closes those when told', async () => {
    await endpoints.put(routeTo(port, echo))
    const old = new Client(port)
    old.socket.write('1')
    await until('established', () => old.received === '1')
    const {port: other} = await bed.server((socket) => socket.end('other'))
    await endpoints.put(routeTo(port, other))
    const fresh = new Client(port)
    await until('the new one went to the new target', () => fresh.received === 'other')
    old.socket.write('2')
    await until('the old one goes on', () => old.received === '12')
    fresh.socket.end()
    await until('one session', async () => (await state()).sessions === 1)
    assert.equal(await endpoints.closeSessions('ins_a'), 1)
    await until('the old one is closed', () => old.ended || old.closed)
    assert.equal(await endpoints.closeSessions('ins_a'), 0)
    old.socket.destroy()
  })

  it('takes connections back that were on their way when told to hold', async () => {
    const dead = await freePort()
    await endpoints.put(routeTo(port, dead))
    const client = new Client(port)
    client.socket.write('x')
    await until('on its way', async () => (await state()).sessions === 1)
    await endpoints.put(routeTo(port, dead, {mode: 'hold'}))
    assert.deepEqual([(await state()).held, (await state()).sessions], [1, 0])
    await sleep(1200)
    assert.equal(client.ended, false, 'it is not given up: it is held')
    await endpoints.put(routeTo(port, echo))
    await until('it is through', () => client.received === 'x')
    client.socket.destroy()
  })

  it('tries a target that refuses again for a second, then closes', async () => {
    const target = await freePort()
    await endpoints.put(routeTo(port, target))
    const lucky = new Client(port)
    await sleep(300)
    const {server} = await bed.server((socket) => socket.end('late'), target)
    await until('the server that came late answered', () => lucky.received === 'late')
    lucky.socket.end()
    server.close()
    const unlucky = new Client(port)
    const began = Date.now()
    await until('given up', () => unlucky.ended || unlucky.closed)
    const took = Date.now() - began
    assert.ok(took >= 900 && took < 2500, `after ${took} ms`)
    unlucky.socket.destroy()
  })

  it('lets in only whom the route allows', async () => {
    await endpoints.put(routeTo(port, echo, {allow: ['10.0.0.0/8']}))
    const stranger = new Client(port)
    await until('turned away', () => stranger.closed || stranger.ended)
    await endpoints.put(routeTo(port, echo, {allow: ['10.0.0.0/8', '127.0.0.0/8']}))
    const friend = new Client(port)
    friend.socket.write('x')
    await until('let in', () => friend.received === 'x')
    friend.socket.destroy()
    await assert.rejects(endpoints.put(routeTo(port, echo, {allow: ['10.0.0.0/40']})), {code: 'INVALID_REQUEST'})
    assert.deepEqual((await state()).allow, ['10.0.0.0/8', '127.0.0.0/8'])
  })

  it('refuses connections when closed, and serves again when opened', async () => {
    await endpoints.put(routeTo(port, echo))
    await endpoints.put(routeTo(port, echo, {mode: 'closed'}))
    const refused = new Client(port)
    await until('refused', () => refused.error === 'ECONNREFUSED')
    assert.equal((await state()).listening, false)
    await endpoints.put(routeTo(port, echo))
    const client = new Client(port)
    client.socket.write('x')
    await until('served', () => client.received === 'x')
    client.socket.destroy()
  })

  it('says PORT_IN_USE, and keeps the route as it was', async () => {
    await endpoints.put(routeTo(port, echo))
    const {port: taken} = await bed.server(() => {})
    await assert.rejects(endpoints.put(routeTo(taken, echo)), {code: 'PORT_IN_USE'})
    await assert.rejects(endpoints.put(routeTo(taken, echo, {id: 'ins_b'})), {code: 'PORT_IN_USE'})
    await assert.rejects(endpoints.put(routeTo(port, echo, {id: 'ins_b'})), (error: {suggestions: string[]}) => error.suggestions.length > 0)
    assert.deepEqual((await endpoints.status()).routes.map((route) => [route.id, route.listen.port, route.listening]), [['ins_a', port, true]])
  })

  it('replaces all routes, swapping ports and keeping the sessions of what did not change', async () => {
    const other = await freePort()
    await endpoints.put(routeTo(port, echo))
    await endpoints.put(routeTo(other, echo, {id: 'ins_b'}))
    await endpoints.put(routeTo(await freePort(), echo, {id: 'ins_c'}))
    const client = new Client(port)
    client.socket.write('1')
    await until('established', () => client.received === '1')
    const states = await endpoints.replace([routeTo(other, echo), routeTo(port, echo, {id: 'ins_b'})])
    assert.deepEqual(states.map((route) => [route.id, route.listen.port, route.listening]), [['ins_a', other, true], ['ins_b', port, true]])
    client.socket.write('2')
    await until('still there', () => client.received === '12')
    client.socket.destroy()
    await endpoints.remove('ins_b')
  })
})

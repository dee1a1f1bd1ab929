import assert from 'node:assert/strict'
import type {Socket} from 'node:net'
import pg from 'pg'
import type {Endpoints, Readers} from '../../../src/agent/endpoints/endpoint.js'
import {wire as mysqlWire} from '../../../src/engines/mysql-family/wire.js'
import {wire} from '../../../src/engines/postgresql/wire.js'
import {Bed, Client, freePort, routeTo, until} from './support.js'

interface Replica {
  readonly port: number
  readonly sockets: Set<Socket>
  readonly heard: string[]
  close(): Promise<void>
}

describe('the endpoint process before replicas', () => {
  let bed: Bed
  let endpoints: Endpoints
  let port: number
  let readerPort: number

  before(async () => {
    bed = await Bed.make()
    endpoints = bed.endpoints()
    await endpoints.ensure()
  })
  beforeEach(async () => {
    port = await freePort()
    readerPort = await freePort()
  })
  afterEach(() => endpoints.remove('ins_a'))
  after(() => bed.clean())

  /** Answers each packet by its own name. */
  async function replica(name: string, at = 0): Promise<Replica> {
    const sockets = new Set<Socket>()
    const heard: string[] = []
    const {port: own, server} = await bed.server((socket) => {
      sockets.add(socket.on('close', () => sockets.delete(socket)))
      socket.on('data', (bytes) => {
        heard.push(bytes.toString('hex'))
        socket.write(name)
      })
      socket.on('end', () => socket.end())
    }, at)
    return {
      port: own, sockets, heard,
      async close() {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  }

  const address = (at: number) => ({host: '127.0.0.1', port: at})
  const readers = (replicas: readonly {readonly port: number}[], change: Partial<Readers> = {}): Readers =>
    ({listen: address(readerPort), targets: replicas.map((each) => address(each.port)), allow: [], ...change})
  const connect = async (at: number, word = 'x'): Promise<Client> => {
    const client = new Client(at)
    client.socket.write(word)
    await until('it is answered', () => client.received !== '' || client.ended || client.closed)
    return client
  }
  const counts = (...replicas: Replica[]): number[] => replicas.map(({sockets}) => sockets.size)

  it('sends new connections to the replica with the fewest', async () => {
    const [a, b, c] = [await replica('a'), await replica('b'), await replica('c')]
    await endpoints.setReaders('ins_a', readers([a, b, c]))
    const clients: Client[] = []
    for (let n = 0; n < 9; n++) clients.push(await connect(readerPort))
    assert.deepEqual(counts(a, b, c), [3, 3, 3])
    for (const client of clients.filter(({received}) => received === 'b')) client.socket.destroy()
    await until('they are gone', async () => (await endpoints.status()).routes.some(({of, sessions}) => of === 'ins_a' && sessions === 6))
    const fresh = [await connect(readerPort), await connect(readerPort), await connect(readerPort)]
    assert.deepEqual(fresh.map(({received}) => received), ['b', 'b', 'b'])
    for (const client of [...clients, ...fresh]) client.socket.destroy()
  })

  it('goes to another when one cannot be reached, with all that the client had said', async () => {
    const dead = {port: await freePort()}
    const alive = await replica('alive')
    await endpoints.setReaders('ins_a', readers([dead, alive]))
    const clients = [await connect(readerPort, 'one'), await connect(readerPort, 'two'), await connect(readerPort, 'three')]
    assert.deepEqual(clients.map(({received}) => received), ['alive', 'alive', 'alive'])
    assert.deepEqual(alive.heard.map((hex) => Buffer.from(hex, 'hex').toString()), ['one', 'two', 'three'])
    for (const client of clients) client.socket.destroy()
  })

  it('takes who was on the way to a replica that is taken out to another', async () => {
    const dead = {port: await freePort()}
    const alive = await replica('alive')
    await endpoints.setReaders('ins_a', readers([dead]))
    const client = new Client(readerPort)
    client.socket.write('x')
    await until('on its way', async () => (await endpoints.status()).routes.some(({of, sessions}) => of === 'ins_a' && sessions === 1))
    await endpoints.setReaders('ins_a', readers([alive]))
    await until('it is through', () => client.received === 'alive')
    client.socket.destroy()
  })

  it('says in the engine\'s own words that there is no replica, and what to do', async () => {
    await endpoints.setReaders('ins_a', readers([], {refusal: wire.refusal('no replica of demo is healthy', 'use the primary: dbaas url demo')}))
    const client = new pg.Client({host: '127.0.0.1', port: readerPort, user: 'app', database: 'app', ssl: false})
    await assert.rejects(client.connect(), (error: pg.DatabaseError) =>
      error.code === '57P03' && error.message === 'no replica of demo is healthy' && error.hint === 'use the primary: dbaas url demo')
    // none can be reached is as bad as none is there
    await endpoints.setReaders('ins_a', readers([{port: await freePort()}], {refusal: wire.refusal('no replica of demo can be reached', '')}))
    const second = new pg.Client({host: '127.0.0.1', port: readerPort, user: 'app', database: 'app', ssl: false})
    await assert.rejects(second.connect(), /no replica of demo can be reached/)
    // where servers speak first nobody is waited for
    await endpoints.setReaders('ins_a', readers([], {refusal: mysqlWire.refusal('no replica is healthy', 'dbaas url demo')}))
    const silent = new Client(readerPort)
    await until('it is told', () => silent.ended)
    assert.equal(silent.received.slice(7), 'no replica is healthy (dbaas url demo)')
    silent.socket.destroy()
    await until('nobody is left', async () => (await endpoints.status()).routes.every(({sessions}) => sessions === 0))
  })

  it('cuts off without words where it has none, and lets in again when there is a replica', async () => {
    await endpoints.setReaders('ins_a', readers([]))
    const client = new Client(readerPort)
    await until('it is cut off', () => client.ended || client.closed)
    assert.equal(client.received, '')
    client.socket.destroy()
    const alive = await replica('alive')
    await endpoints.setReaders('ins_a', readers([alive]))
    assert.equal((await connect(readerPort)).received, 'alive')
  })

  it('closes the sessions of one replica, and of no other', async () => {
    const [a, b] = [await replica('a'), await replica('b')]
    await endpoints.setReaders('ins_a', readers([a, b]))
    const clients = [await connect(readerPort), await connect(readerPort), await connect(readerPort), await connect(readerPort)]
    await endpoints.setReaders('ins_a', readers([b]))
    assert.deepEqual(counts(a, b), [2, 2], 'taking it out cuts nobody off')
    assert.equal(await endpoints.closeReaders('ins_a', address(a.port)), 2)
    await until('they are gone', () => a.sockets.size === 0)
    assert.equal(b.sockets.size, 2)
    assert.equal(await endpoints.closeReaders('ins_a', address(a.port)), 0)
    for (const client of clients) client.socket.destroy()
  })

  it('keeps the readers of an instance through replace, the agent and its own death; they go with the instance, or when told', async () => {
    const a = await replica('a')
    await endpoints.put(routeTo(port, a.port))
    await endpoints.setReaders('ins_a', readers([a]))
    await endpoints.replace([routeTo(port, a.port)])
    assert.equal((await connect(readerPort)).received, 'a')
    await endpoints.detach()
    await endpoints.ensure()
    assert.equal((await connect(readerPort)).received, 'a')
    const {pid} = await endpoints.status()
    process.kill(pid, 'SIGKILL')
    await until('another is there', async () => (await endpoints.status().catch(() => ({pid}))).pid !== pid)
    assert.equal((await connect(readerPort)).received, 'a')
    await endpoints.setReaders('ins_a', null)
    await endpoints.setReaders('ins_a', null)
    const gone = new Client(readerPort)
    await until('nobody listens', () => gone.closed)
    assert.equal(gone.error, 'ECONNREFUSED')
    await endpoints.setReaders('ins_a', readers([a]))
    await endpoints.replace([])
    assert.deepEqual((await endpoints.status()).routes, [])
    await endpoints.put(routeTo(port, a.port))
    await endpoints.setReaders('ins_a', readers([a]))
    await endpoints.remove('ins_a')
    assert.deepEqual((await endpoints.status()).routes, [])
  })

  it('says PORT_IN_USE for readers, and keeps them as they were', async () => {
    const a = await replica('a')
    await endpoints.setReaders('ins_a', readers([a]))
    await assert.rejects(endpoints.setReaders('ins_a', readers([a], {listen: address(a.port)})), {code: 'PORT_IN_USE'})
    assert.equal((await connect(readerPort)).received, 'a')
  })

  const cancelRequest = Buffer.from('0000001004d2162e0000123400005678', 'hex')
  const startup = Buffer.from('0000000804d2162f', 'hex')

  it('takes a cancel request to every replica: only one knows the session', async () => {
    const [a, b, c] = [await replica('a'), await replica('b'), await replica('c')]
    await endpoints.setReaders('ins_a', readers([a, b, c], {cancel: {...wire.cancel as {offset: number, hex: string}, mode: 'pass'}}))
    new Client(readerPort).socket.end(cancelRequest)
    await until('all have heard it', () => [a, b, c].every(({heard}) => heard.includes(cancelRequest.toString('hex'))))
    // cut to pieces it is none the less one; anything else is for one server alone
    const pieces = new Client(readerPort)
    pieces.socket.setNoDelay(true).write(cancelRequest.subarray(0, 6))
    await new Promise((resolve) => setTimeout(resolve, 50))
    pieces.socket.end(cancelRequest.subarray(6))
    await until('all have heard it again', () => [a, b, c].every(({heard}) => heard.length === 2 && heard[1] === cancelRequest.toString('hex')))
    const other = new Client(readerPort)
    other.socket.write(startup)
    await until('it is answered', () => other.received !== '')
    assert.equal([a, b, c].filter(({heard}) => heard.includes(startup.toString('hex'))).length, 1)
    other.socket.destroy()
  })

  it('lets no cancel request reach a primary whose commits wait, and everything else', async () => {
    const primary = await replica('p')
    const cancel = {...wire.cancel as {offset: number, hex: string}, mode: 'drop'} as const
    await endpoints.put(routeTo(port, primary.port, {cancel}))
    const dropped = new Client(port)
    dropped.socket.write(cancelRequest)
    await until('it is cut off', () => dropped.ended || dropped.closed)
    const session = await connect(port, startup.toString('latin1'))
    assert.equal(session.received, 'p')
    const short = new Client(port)
    short.socket.end('ab')
    await until('a word shorter than any request is passed on', () => primary.heard.includes(Buffer.from('ab').toString('hex')))
    assert.ok(!primary.heard.includes(cancelRequest.toString('hex')))
    await endpoints.put(routeTo(port, primary.port, {cancel: {...cancel, mode: 'pass'}}))
    new Client(port).socket.end(cancelRequest)
    await until('it is delivered', () => primary.heard.includes(cancelRequest.toString('hex')))
    session.socket.destroy()
  })

  it('keeps cancel requests away while its route is held, opened and replaced by who knows nothing of them, and after its own death', async () => {
    const [primary, next] = [await replica('p'), await replica('n')]
    const cancel = wire.cancel as {offset: number, hex: string}
    await endpoints.setCancels('ins_a', {...cancel, mode: 'drop'})
    await endpoints.put(routeTo(port, primary.port))
    await endpoints.setCancels('ins_a', {...cancel, mode: 'drop'})
    await endpoints.closeGate(routeTo(port, primary.port))
    await endpoints.put(routeTo(port, next.port))
    await endpoints.replace([routeTo(port, next.port)])
    const {pid} = await endpoints.status()
    process.kill(pid, 'SIGKILL')
    await until('another is there', async () => (await endpoints.status().catch(() => ({pid}))).pid !== pid)
    const dropped = new Client(port)
    dropped.socket.write(cancelRequest)
    await until('it is cut off', () => dropped.ended || dropped.closed)
    assert.equal((await connect(port, 'a first packet')).received, 'n')
    assert.ok(!next.heard.includes(cancelRequest.toString('hex')))
    await endpoints.setCancels('ins_a', {...cancel, mode: 'pass'})
    new Client(port).socket.end(cancelRequest)
    await until('it is delivered', () => next.heard.includes(cancelRequest.toString('hex')))
  })

  it('closes the gate: nobody speaks to the old primary any more, and new ones wait for the next', async () => {
    const [old, next] = [await replica('old'), await replica('next')]
    await endpoints.put(routeTo(port, old.port))
    const clients = [await connect(port), await connect(port)]
    assert.equal(await endpoints.closeGate(routeTo(port, old.port)), 2)
    await until('they are cut off', () => clients.every(({ended, closed}) => ended || closed))
    await until('the old primary is alone', () => old.sockets.size === 0)
    const waiting = new Client(port)
    waiting.socket.write('x')
    await until('held', async () => (await endpoints.status()).routes[0]?.held === 1)
    assert.equal(await endpoints.closeGate(routeTo(port, old.port)), 0)
    await endpoints.put(routeTo(port, next.port))
    await until('it is through', () => waiting.received === 'next')
    assert.equal(old.heard.length, 2)
    waiting.socket.destroy()
  })

  it('tells who was held too long, or comes when too many are, why', async () => {
    const refusal = wire.refusal('demo has no primary', 'dbaas status demo')
    await endpoints.put(routeTo(port, null, {holdLimit: 1, holdSeconds: 0.3, refusal}))
    const options = {host: '127.0.0.1', port, user: 'app', database: 'app', ssl: false}
    const first = new pg.Client(options).connect()
    first.catch(() => undefined)
    await until('held', async () => (await endpoints.status()).routes[0]?.held === 1)
    await assert.rejects(new pg.Client(options).connect(), /demo has no primary/)
    await assert.rejects(first, /demo has no primary/)
  })
})

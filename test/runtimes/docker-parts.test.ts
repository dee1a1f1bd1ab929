/** What of the docker runtime can be judged without an engine. */
import assert from 'node:assert/strict'
import {createHash} from 'node:crypto'
import {mkdirSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {inspect} from 'node:util'
import fc from 'fast-check'
import {createClient} from '../../src/agent/runtimes/docker/client.js'
import {findConnection, type Connection} from '../../src/agent/runtimes/docker/connection.js'
import {refusalOf, translate, unreachable} from '../../src/agent/runtimes/docker/errors.js'
import {createFrameReader} from '../../src/agent/runtimes/docker/frames.js'
import {formatReference, parseReference, repositoryOf, sameRepository} from '../../src/agent/runtimes/docker/image-reference.js'
import {nameOfNetwork, nameOfNode} from '../../src/agent/runtimes/docker/names.js'
import {whyNotPublish} from '../../src/agent/runtimes/docker/ports.js'
import {createLayers} from '../../src/agent/runtimes/docker/pull.js'
import type {DbaasError} from '../../src/core/errors.js'
import {temporaryFolder} from '../support/temporary.js'

const local: Connection = {address: 'unix:///var/run/docker.sock', because: 'the default socket', local: true, transport: {kind: 'socket', path: '/var/run/docker.sock'}}
const remote: Connection = {address: 'ssh://me@far', because: 'DOCKER_HOST', local: false, transport: {kind: 'ssh', user: 'me', host: 'far', port: null}}

describe('where the Docker engine is', () => {
  const folder = temporaryFolder('connection')
  after(() => folder.dispose())

  for (const [host, expected, isLocal] of [
    ['unix:///run/user/1000/docker.sock', {kind: 'socket', path: '/run/user/1000/docker.sock'}, true],
    ['npipe:////./pipe/docker_engine', {kind: 'socket', path: '//./pipe/docker_engine'}, true],
    ['tcp://127.0.0.1:2375', {kind: 'tcp', host: '127.0.0.1', port: 2375, tls: null}, true],
    ['tcp://lab.example', {kind: 'tcp', host: 'lab.example', port: 2375, tls: null}, false],
    ['tcp://[fd00::1]:99', {kind: 'tcp', host: 'fd00::1', port: 99, tls: null}, false],
    ['ssh://me@far', {kind: 'ssh', user: 'me', host: 'far', port: null}, false],
    ['ssh://far:2222', {kind: 'ssh', user: null, host: 'far', port: 2222}, false],
  ] as const) {
    it(`understands ${host}`, async () => {
      const found = await findConnection({DOCKER_HOST: host})
      assert.deepEqual(found, {address: host, because: 'DOCKER_HOST', local: isLocal, transport: expected})
    })
  }

  for (const host of ['ftp://far', 'tcp://', 'ssh://', 'tcp://a b']) {
    it(`refuses ${host}`, () => assert.rejects(findConnection({DOCKER_HOST: host}), {code: 'RUNTIME_UNAVAILABLE', message: /cannot be understood/}))
  }

  it('reads the certificates that DOCKER_CERT_PATH names', async () => {
    for (const name of ['ca', 'cert', 'key']) writeFileSync(join(folder.path, `${name}.pem`), name)
    const {transport} = await findConnection({DOCKER_HOST: 'tcp://far', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: folder.path})
    assert.deepEqual(transport, {kind: 'tcp', host: 'far', port: 2376, tls: {ca: Buffer.from('ca'), cert: Buffer.from('cert'), key: Buffer.from('key')}})
  })

  it('follows the current context, which DOCKER_HOST overrides', async () => {
    const config = join(folder.path, 'config')
    const meta = join(config, 'contexts/meta', createHash('sha256').update('lab').digest('hex'))
    mkdirSync(meta, {recursive: true})
    writeFileSync(join(config, 'config.json'), JSON.stringify({currentContext: 'lab'}))
    writeFileSync(join(meta, 'meta.json'), JSON.stringify({Name: 'lab', Endpoints: {docker: {Host: 'unix:///lab.sock'}}}))
    const found = await findConnection({DOCKER_CONFIG: config})
    assert.deepEqual([found.address, found.because], ['unix:///lab.sock', 'the Docker context "lab"'])
    assert.equal((await findConnection({DOCKER_CONFIG: config, DOCKER_HOST: 'unix:///mine.sock'})).address, 'unix:///mine.sock')
    assert.equal((await findConnection({DOCKER_CONFIG: config, DOCKER_CONTEXT: 'default'})).because, 'the default socket')
    await assert.rejects(findConnection({DOCKER_CONFIG: config, DOCKER_CONTEXT: 'other'}), {code: 'RUNTIME_UNAVAILABLE', message: /context "other"/})
  })

  it('finds the pipe on Windows', async () => {
    assert.deepEqual((await findConnection({}, 'win32')).transport, {kind: 'socket', path: '//./pipe/docker_engine'})
  })
})

describe('what is said when Docker fails', () => {
  const refusal = (statusCode: number, message: string): Error => Object.assign(new Error('(HTTP code)'), {statusCode, json: {message}})
  const said = (error: unknown): DbaasError => translate(error, 'start demo', local) as DbaasError

  for (const [error, code, message] of [
    [Object.assign(new Error('connect ENOENT'), {code: 'ENOENT'}), 'RUNTIME_UNAVAILABLE', /Docker is not running/],
    [Object.assign(new Error('connect ECONNREFUSED'), {code: 'ECONNREFUSED'}), 'RUNTIME_UNAVAILABLE', /Docker is not running/],
    [Object.assign(new Error('connect EACCES'), {code: 'EACCES'}), 'RUNTIME_UNAVAILABLE', /permission denied/],
    [Object.assign(new Error('socket hang up'), {code: 'ECONNRESET'}), 'RUNTIME_UNAVAILABLE', /does not answer/],
    [Object.assign(new Error('self-signed'), {code: 'DEPTH_ZERO_SELF_SIGNED_CERT'}), 'RUNTIME_UNAVAILABLE', /does not answer/],
    [refusal(500, 'driver failed programming external connectivity on endpoint x: Bind for 127.0.0.1:5432 failed: port is already allocated'), 'PORT_IN_USE', /port 5432 is taken/],
    [refusal(500, 'Error starting userland proxy: listen tcp4 127.0.0.1:5432: bind: address already in use'), 'PORT_IN_USE', /port 5432 is taken/],
    [refusal(500, 'Ports are not available: exposing port TCP 127.0.0.1:5432 -> 0.0.0.0:0: listen tcp'), 'PORT_IN_USE', /port 5432 is taken/],
    [refusal(500, 'write /x: no space left on device'), 'DISK_FULL', /disk of Docker is full/],
    [refusal(404, 'No such image: postgres:99'), 'IMAGE_NOT_FOUND', /image is not there/],
    [refusal(400, 'Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'), 'INSUFFICIENT_CPU', /only 2 CPUs/],
    [refusal(404, 'could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network'), 'RUNTIME_UNAVAILABLE', /no subnet left/],
    [refusal(409, 'conflict'), 'INVALID_STATE', /conflict/],
  ] as const) {
    it(`${code}: ${refusalOf(error)?.words ?? error.message}`, () => {
      const translated = said(error)
      assert.equal(translated.code, code)
      assert.match(translated.message, message)
      assert.ok(translated.suggestions.length > 0)
    })
  }

  it('takes an answer that ended too soon for an engine that went away', () => {
    assert.equal((said(new Error('Premature close')) as DbaasError).code, 'RUNTIME_UNAVAILABLE')
  })

  it('lets what is not Docker\'s pass', () => {
    const mine = new Error('mine')
    assert.equal(said(mine), mine)
    assert.equal(unreachable(local, 'HUNG').code, 'RUNTIME_UNAVAILABLE')
  })
})

describe('a request to Docker', () => {
  it('is not printed with every socket for a log that nobody reads', async () => {
    const client = createClient({DOCKER_HOST: 'unix:///nowhere/docker.sock'})
    const requested = await client.call('look at the connection', async ({modem}) => (modem as unknown as {agent: unknown}).agent)
    assert.equal(inspect({agent: requested}, {showHidden: true, depth: null}), '{ agent: (agent) }')
    client.close()
  })
})

describe('names of images', () => {
  for (const [text, registry, path, tag, shown] of [
    ['postgres', 'docker.io', 'library/postgres', null, 'postgres:latest'],
    ['postgres:18', 'docker.io', 'library/postgres', '18', 'postgres:18'],
    ['docker.io/library/postgres:18', 'docker.io', 'library/postgres', '18', 'postgres:18'],
    ['team/postgres:18-bookworm', 'docker.io', 'team/postgres', '18-bookworm', 'team/postgres:18-bookworm'],
    ['127.0.0.1:5000/mysql:9.7', '127.0.0.1:5000', 'mysql', '9.7', '127.0.0.1:5000/mysql:9.7'],
    ['localhost/mysql', 'localhost', 'mysql', null, 'localhost/mysql:latest'],
  ] as const) {
    it(`reads ${text}`, () => {
      const reference = parseReference(text)
      assert.deepEqual(reference, {registry, path, tag, digest: null})
      assert.equal(formatReference(reference as NonNullable<typeof reference>), shown)
    })
  }

  it('keeps a digest, with and without a tag', () => {
    const digest = `sha256:${'a'.repeat(64)}`
    for (const text of [`postgres@${digest}`, `postgres:18@${digest}`]) assert.equal(formatReference(parseReference(text) as never), text)
  })

  for (const text of ['', 'Postgres', 'a b', 'postgres:', ':18', 'postgres@sha256:123', '-x', '--help', 'a//b']) {
    it(`refuses "${text}"`, () => assert.equal(parseReference(text), undefined))
  }

  it('tells repositories apart', () => {
    const of = (text: string) => parseReference(text) as NonNullable<ReturnType<typeof parseReference>>
    assert.ok(sameRepository(of('postgres:17'), of('docker.io/library/postgres')))
    assert.ok(!sameRepository(of('team/postgres'), of('postgres')))
    assert.equal(repositoryOf(of('index.docker.io/library/postgres')), 'postgres')
  })
})

describe('how far a pull is', () => {
  it('sums the layers', () => {
    const layers = createLayers()
    assert.equal(layers.say(), 'asking the registry')
    layers.take({status: 'Pulling from library/postgres', id: '18'})
    layers.take({id: 'a', status: 'Downloading', progressDetail: {current: 1024 ** 2, total: 4 * 1024 ** 2}})
    layers.take({id: 'b', status: 'Downloading', progressDetail: {current: 2 * 1024 ** 2, total: 6 * 1024 ** 2}})
    layers.take({id: 'c', status: 'Already exists'})
    assert.equal(layers.say(), '3 MiB of 10 MiB')
    layers.take({id: 'a', status: 'Download complete'})
    layers.take({id: 'b', status: 'Pull complete'})
    layers.take({id: 'a', status: 'Extracting', progressDetail: {current: 1, total: 2}})
    assert.equal(layers.say(), 'unpacking 10 MiB')
  })
})

describe('the streams of a container', () => {
  it('are put together however they are cut', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({maxLength: 40}))), fc.array(fc.nat(200), {maxLength: 20}), (frames, cuts) => {
      const whole = Buffer.concat(frames.map(([stream, content]) => {
        const head = Buffer.alloc(8)
        head[0] = stream
        head.writeUInt32BE(content.length, 4)
        return Buffer.concat([head, content])
      }))
      const read = createFrameReader()
      const places = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length]
      const heard = places.slice(1).flatMap((end, i) => read(whole.subarray(places[i], end)).map(({stream, content}) => [stream, [...content]]))
      assert.deepEqual(heard, frames.map(([stream, content]) => [stream === 2 ? 'stderr' : 'stdout', [...content]]))
    }))
  })
})

describe('where a port may be published', () => {
  for (const [connection, address, why] of [
    [local, null, undefined],
    [local, '127.0.0.1', undefined],
    [local, '127.0.0.2', undefined],
    [local, '::1', undefined],
    [local, '0.0.0.0', undefined],
    [local, '203.0.113.77', /not an address of this machine/],
    [local, 'example.org', /not an IP address/],
    [remote, null, /another machine .*--publish-address/],
    [remote, '127.0.0.1', /whose loopback cannot be reached/],
    [remote, '203.0.113.77', undefined],
  ] as const) {
    it(`${connection.address}, ${address}: ${why === undefined ? 'fine' : 'refused'}`, () => {
      const said = whyNotPublish(connection, address)
      if (why === undefined) assert.equal(said, undefined)
      else assert.match(String(said), why)
    })
  }
})

describe('what things are called', () => {
  it('keeps sites, tenants and nodes of one name apart, and is allowed by Docker', () => {
    const names = [nameOfNode('site_a', {nodeId: 'nod_1', nodeName: 'shop-1'}), nameOfNode('site_b', {nodeId: 'nod_1', nodeName: 'shop-1'}), nameOfNode('site_a', {nodeId: 'nod_2', nodeName: 'shop-1'}), nameOfNetwork('site_a', 'default'), nameOfNetwork('site_b', 'default'), nameOfNetwork('site_a', 'red team')]
    assert.equal(new Set(names).size, names.length)
    for (const name of names) assert.match(name, /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/)
    assert.match(names[0] as string, /^dbaas-shop-1-[0-9a-f]{6}$/)
  })
})

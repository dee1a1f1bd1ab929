import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {existsSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {createServer as createPlainServer, type AddressInfo} from 'node:net'
import {join} from 'node:path'
import fc from 'fast-check'
import {fetchFile, type FetchOptions, type Remote} from '../../../../../src/agent/runtimes/process/archive/fetch.js'
import {createHttp} from '../../../../../src/agent/runtimes/process/archive/http.js'
import {fileServer, type Bad, type FileServer} from '../../../../support/archives.js'
import {temporaryFolder} from '../../../../support/temporary.js'

describe('a download', function () {
  this.timeout(60_000)
  const folder = temporaryFolder('fetch')
  const content = randomBytes(700_000)
  let server: FileServer
  let serial = 0
  const bad: Bad = {}
  before(async () => void (server = await fileServer({'/a.tar': content}, bad)))
  after(async () => {
    await server.close()
    folder.dispose()
  })
  beforeEach(() => {
    for (const key of Object.keys(bad) as (keyof Bad)[]) delete bad[key]
    server.files.set('/a.tar', content)
    server.requests.length = 0
  })

  interface Try {
    readonly file: string
    remote: Remote | null
    readonly said: string[]
  }
  const begin = (): Try => ({file: join(folder.path, `part-${++serial}`), remote: null, said: []})
  async function fetch(what: Try, more: Partial<FetchOptions> = {}, path = '/a.tar', env = {}): Promise<void> {
    await fetchFile({
      http: createHttp(env), url: new URL(path.startsWith('http') ? path : `${server.url}${path}`), file: what.file, remote: what.remote,
      keep: async (remote) => void (what.remote = remote), makeRoom: async () => undefined, progress: (because) => what.said.push(because),
      signal: new AbortController().signal, pauseMs: () => 1, ...more,
    })
  }
  const isWhole = ({file}: Try, expected = content): void => assert.ok(readFileSync(file).equals(expected), `${statSync(file).size} bytes are another file`)

  it('says how far it is', async () => {
    const what = begin()
    bad.rate = 700_000
    await fetch(what)
    isWhole(what)
    assert.match(what.said.at(-1) ?? '', /^683\.6 KiB of 683\.6 KiB, 100 %, [\d.]+ [KM]iB\/s$/)
    assert.ok(what.said.length >= 2)
  })

  it('is whole wherever and however often it is cut, whether the server goes on or starts again', () =>
    fc.assert(fc.asyncProperty(
      fc.array(fc.integer({min: 0, max: content.length}), {maxLength: 5}), fc.constantFrom('etag', 'time', 'none', 'no ranges'),
      async (cuts, kind) => {
        Object.assign(bad, {ranges: kind !== 'no ranges', etag: kind === 'etag' || kind === 'no ranges', lastModified: kind === 'time'})
        const waiting = [...cuts]
        bad.cut = () => waiting.shift()
        const what = begin()
        await fetch(what)
        isWhole(what)
        rmSync(what.file)
      },
    ), {numRuns: 60}))

  it('does not send again what has come', async () => {
    const cuts = [300_000, 200_000]
    bad.cut = () => cuts.shift()
    const before = server.sent()
    const what = begin()
    await fetch(what)
    isWhole(what)
    // a reset may take along what was on its way, and no more
    const starts = server.requests.map(({range}) => Number(/\d+/.exec(range ?? '0')?.[0]))
    assert.equal(starts[0], 0)
    assert.ok(starts.length === 3 && (starts[1] as number) > 100_000 && (starts[2] as number) > 200_000, starts.join())
    assert.ok(server.sent() - before < content.length + 300_000)
    assert.match(what.said.join('\n'), /the connection broke, at [\d.]+ KiB; goes on in/)
  })

  it('goes on in a later process, and begins anew when the file is another one', async () => {
    const what = begin()
    bad.cut = () => 100_000
    await assert.rejects(fetch(what, {signal: AbortSignal.timeout(40), pauseMs: () => 1000}))
    const come = statSync(what.file).size
    assert.ok(come > 0 && come <= 100_000)
    const other = randomBytes(650_000)
    delete bad.cut
    server.files.set('/a.tar', other)
    await fetch(what)
    isWhole(what, other)
  })

  it('trusts no partial that is longer than the file, and none without its facts', async () => {
    const what = begin()
    writeFileSync(what.file, randomBytes(900_000))
    await fetch(what)
    isWhole(what)
    writeFileSync(what.file, randomBytes(900_000))
    await fetch(what)
    isWhole(what)
  })

  it('gives up when it gets nowhere, keeps what has come, and says so', async () => {
    const what = begin()
    let first = true
    bad.cut = () => {
      const at = first ? 50_000 : 0
      first = false
      return at
    }
    await assert.rejects(fetch(what), (error: Error & {code: string}) => error.code === 'DOWNLOAD_FAILED' && /[\d.]+ KiB of .* are kept/.test(error.message))
    const come = statSync(what.file).size
    assert.ok(come > 0 && come <= 50_000)
    delete bad.cut
    await fetch(what)
    isWhole(what)
    assert.equal(server.requests.at(-1)?.range, `bytes=${come}-`)
  })

  it('waits out a server that is busy, and does not ask again for what is not there', async () => {
    bad.answer = (_, response, n) => n < 3 && !!response.writeHead(503).end()
    const what = begin()
    await fetch(what)
    isWhole(what)
    delete bad.answer
    server.requests.length = 0
    await assert.rejects(fetch(begin(), {}, '/b.tar'), {code: 'FILE_NOT_FOUND'})
    assert.equal(server.requests.length, 1)
    bad.answer = (_, response) => !!response.writeHead(403).end()
    await assert.rejects(fetch(begin(), {}, '/b.tar'), {code: 'FILE_NOT_FOUND'})
  })

  it('follows redirects, a few, and not to where it must not', async () => {
    const hop = (n: number, to: string): NonNullable<Bad['answer']> => (request, response) => {
      const at = Number(/^\/hop(\d+)$/.exec(request.url ?? '')?.[1] ?? Number.NaN)
      return Number.isNaN(at) ? false : !!response.writeHead(302, {location: at < n ? `/hop${at + 1}` : to}).end()
    }
    bad.answer = hop(4, '/a.tar')
    const what = begin()
    await fetch(what, {}, '/hop0')
    isWhole(what)
    bad.answer = hop(5, '/a.tar')
    await assert.rejects(fetch(begin(), {}, '/hop0'), {code: 'NOT_SUPPORTED', message: /more than 5 times/})
    for (const to of ['http://example.com/x', 'ftp://127.0.0.1/x', 'file:///etc/passwd']) {
      bad.answer = hop(0, to)
      await assert.rejects(fetch(begin(), {}, '/hop0'), {code: 'NOT_SUPPORTED'})
    }
  })

  it('takes no more than there is room for', async () => {
    const what = begin()
    let asked = 0
    await assert.rejects(fetch(what, {makeRoom: async (bytes) => {
      asked = bytes
      throw new Error('no room')
    }}), /no room/)
    assert.equal(asked, content.length)
    assert.equal(existsSync(what.file), false)
  })

  it('ends with the signal, at once', async () => {
    bad.rate = 50_000
    const stop = new AbortController()
    const what = begin()
    setTimeout(() => stop.abort('cancel'), 200)
    const started = Date.now()
    await assert.rejects(fetch(what, {signal: stop.signal}), (reason) => reason === 'cancel')
    assert.ok(Date.now() - started < 1500)
  })

  it('goes through the proxy of the environment, but not for this machine and not for what it leaves out', async () => {
    const asked: string[] = []
    const proxy = createPlainServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', (data) => {
        asked.push(data.toString().split('\r\n')[0] as string)
        socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      })
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const env = {https_proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, no_proxy: 'left.invalid'}
    await assert.rejects(fetch(begin(), {}, 'https://mirror.invalid/a.tar', env), {code: 'DOWNLOAD_FAILED'})
    assert.ok(asked.every((line) => line.startsWith('CONNECT mirror.invalid:443')) && asked.length > 0, asked.join())
    const before = asked.length
    await assert.rejects(fetch(begin(), {}, 'https://left.invalid/a.tar', env), {code: 'DOWNLOAD_FAILED', message: /name of the server/})
    const what = begin()
    await fetch(what, {}, '/a.tar', env)
    isWhole(what)
    assert.equal(asked.length, before)
    proxy.close()
  })
})

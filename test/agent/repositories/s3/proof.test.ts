/** The proof of conditional writes against servers that get them wrong in ways that no real server at hand does. They check no signatures. */
import assert from 'node:assert/strict'
import {once} from 'node:events'
import {createServer, type Server, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {setTimeout as delay} from 'node:timers/promises'
import {openS3} from '../../../../src/agent/repositories/s3/index.js'

interface Behaviour {
  /** When a write looks whether there is an object: as it begins, as it ends, or some milliseconds before it stores. */
  readonly looks: 'at the beginning' | 'at the end' | 'a moment before'
  /** What a writer meets that comes while another writes the same object. */
  readonly meets?: 'nothing' | 'a lock' | 'a conflict'
  readonly lists?: 'at once' | 'late'
  readonly heeds?: boolean
}

async function startServer({looks, meets = 'nothing', lists = 'at once', heeds = true}: Behaviour): Promise<{server: Server; endpoint: string; keys(): string[]}> {
  const objects = new Map<string, {bytes: Buffer; meta: Record<string, string>}>()
  const writing = new Map<string, Promise<unknown>>()
  const say = (response: ServerResponse, status: number, code: string) => response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`)
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://any')
    const key = url.pathname.slice('/bucket/'.length)
    const handle = async () => {
      if (request.method === 'PUT') {
        const conditional = heeds && request.headers['if-none-match'] === '*'
        if (meets === 'a conflict' && writing.has(key)) return say(response, 409, 'ConditionalRequestConflict')
        while (meets === 'a lock' && writing.has(key)) await writing.get(key)
        const taken = objects.has(key)
        let ended = () => {}
        const mark = new Promise<void>((resolve) => (ended = resolve))
        writing.set(key, mark)
        try {
          const portions: Buffer[] = []
          for await (const portion of request as AsyncIterable<Buffer>) portions.push(portion)
          if (conditional && (looks === 'at the beginning' ? taken : objects.has(key))) return say(response, 412, 'PreconditionFailed')
          if (looks === 'a moment before') await delay(10)
          objects.set(key, {bytes: Buffer.concat(portions), meta: Object.fromEntries(Object.entries(request.headers).filter(([name]) => name.startsWith('x-amz-meta-'))) as Record<string, string>})
          return response.writeHead(200, {etag: '"x"'}).end()
        } finally {
          if (writing.get(key) === mark) writing.delete(key)
          ended()
        }
      }
      if (request.method === 'DELETE') {
        objects.delete(key)
        return response.writeHead(204).end()
      }
      if (url.searchParams.has('versions')) return say(response, 501, 'NotImplemented')
      if (url.searchParams.has('list-type')) {
        const found = [...objects.keys()].filter((name) => lists === 'at once' && name.startsWith(url.searchParams.get('prefix') ?? '')).sort()
        const contents = found.map((name) => `<Contents><Key>${name}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`)
        return response.end(`<ListBucketResult><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`)
      }
      const object = objects.get(key)
      if (!object) return say(response, 404, 'NoSuchKey')
      const {bytes, meta} = object
      const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
      const end = to === '' ? bytes.length : Math.min(bytes.length, Number(to) + 1)
      response.writeHead(206, {...meta, etag: '"x"', 'content-length': end - Number(from), 'content-range': `bytes ${from}-${end - 1}/${bytes.length}`})
      return response.end(bytes.subarray(Number(from), end))
    }
    handle().catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {server, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, keys: () => [...objects.keys()]}
}

describe('the proof that a server can be a repository', function () {
  this.timeout(60_000)
  const cases: readonly (readonly [title: string, behaviour: Behaviour, refused: RegExp | undefined])[] = [
    ['passes one that looks as a write ends', {looks: 'at the end'}, undefined],
    ['passes one that lets writers wait for each other', {looks: 'at the beginning', meets: 'a lock'}, undefined],
    ['passes one that tells writers of a conflict', {looks: 'at the end', meets: 'a conflict'}, undefined],
    ['catches one that looks as a write begins', {looks: 'at the beginning'}, /two writers that created the same object at once were not told the truth/],
    ['catches one that looks a moment before it stores', {looks: 'a moment before'}, /of 6 writers that created the same object at once, it told \d that they did/],
    ['catches one that does not heed the condition', {looks: 'at the end', heeds: false}, /does not heed the condition/],
    ['catches one whose lists come late', {looks: 'at the end', lists: 'late'}, /its lists lack what has just been written/],
  ]
  for (const [title, behaviour, refused] of cases) {
    it(title, async () => {
      const {server, endpoint, keys} = await startServer(behaviour)
      try {
        const store = openS3({bucket: 'bucket', endpoint, credentials: {accessKeyId: 'a', secretAccessKey: 'b'}}, {pace: {patienceMs: 10_000, backoffMs: 20, backoffCapMs: 200}})
        if (refused) await assert.rejects(store.prepare(), {code: 'REPOSITORY_REFUSED', message: refused})
        else await store.prepare()
        assert.deepEqual(keys(), [], 'something is left of the proof')
      } finally {
        server.closeAllConnections()
        server.close()
      }
    })
  }
})

/** Archives as official ones are, made here; and a server of files that behaves as badly as the network does. */
import {spawnSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {readFileSync, writeFileSync} from 'node:fs'
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {gzipSync} from 'node:zlib'
import tar from 'tar-stream'

export interface Entry {
  readonly name: string
  readonly content?: string | Buffer
  readonly mode?: number
  readonly type?: tar.Header['type']
  readonly linkname?: string
}

export const endings = ['.tar', '.tar.gz', '.tar.xz', '.tar.bz2', '.tar.zst'] as const
export type Ending = (typeof endings)[number]

const programs: Readonly<Partial<Record<Ending, readonly string[]>>> = {'.tar.xz': ['xz', '-0'], '.tar.bz2': ['bzip2'], '.tar.zst': ['zstd', '-q']}

async function packed(entries: readonly Entry[]): Promise<Buffer> {
  const pack = tar.pack()
  for (const {content = '', ...header} of entries) pack.entry({type: 'file', ...header}, content)
  pack.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of pack) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export async function archive(path: string, entries: readonly Entry[], ending: Ending = '.tar.gz'): Promise<string> {
  const plain = await packed(entries)
  const [program, ...args] = programs[ending] ?? []
  const content = ending === '.tar.gz' ? gzipSync(plain, {level: 1}) : program ? spawnSync(program, args, {input: plain, maxBuffer: 2 ** 30}).stdout : plain
  writeFileSync(path, content)
  return path
}

/** A server that says what it is, in the layout of a tarball: `bin/PROGRAM`, with what a server does without beside it. */
export const serverEntries = (program: string, says: string, top = 'fakedb-7.2.1-linux/'): Entry[] => [
  {name: top, type: 'directory', mode: 0o755},
  {name: `${top}bin/${program}`, mode: 0o4755, content: `#!/bin/sh\n# ${'x'.repeat(2000)}\n${says}\n`},
  {name: `${top}bin/${program}-debug`, mode: 0o755, content: 'd'.repeat(5000)},
  {name: `${top}lib/libfake.so.1.2`, mode: 0o755, content: 'library'},
  {name: `${top}lib/libfake.so.1`, type: 'symlink', linkname: 'libfake.so.1.2'},
  {name: `${top}lib/libfake.a`, content: 'a'.repeat(5000)},
  {name: `${top}include/fake.h`, content: 'h'},
  {name: `${top}mysql-test/t/one.test`, content: 't'.repeat(5000)},
  {name: `${top}share/errmsg.sys`, content: 'messages', mode: 0o666},
]

export const sums = (content: Buffer): {sha256: string; sha512: string} => ({
  sha256: createHash('sha256').update(content).digest('hex'), sha512: createHash('sha512').update(content).digest('hex'),
})

export interface Bad {
  /** Cuts the connection after so many bytes of the body; undefined lets it through. Asked for every request of an archive. */
  cut?(): number | undefined
  /** Bytes a second. */
  rate?: number
  ranges?: boolean
  etag?: boolean
  lastModified?: boolean
  /** Of every request before anything else; true when it has answered. */
  answer?(request: IncomingMessage, response: ServerResponse, count: number): boolean
}

export interface FileServer {
  readonly url: string
  /** Path -> content, as it is now. */
  readonly files: Map<string, Buffer>
  readonly bad: Bad
  readonly requests: {path: string; range: string | undefined}[]
  /** Bytes of bodies that were sent. */
  sent(): number
  close(): Promise<void>
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      response.off('drain', end).off('close', end)
      resolve()
    }
    response.on('drain', end).on('close', end)
  })
}

export async function fileServer(files: Readonly<Record<string, Buffer | string>>, bad: Bad = {}): Promise<FileServer> {
  const content = new Map(Object.entries(files).map(([path, file]) => [path, typeof file === 'string' ? readFileSync(file) : file]))
  const requests: FileServer['requests'] = []
  let sent = 0
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
    requests.push({path, range: request.headers.range})
    if (bad.answer?.(request, response, requests.length)) return
    const whole = content.get(path)
    if (!whole) return void response.writeHead(404).end('<html>not found</html>')
    const etag = `"${createHash('md5').update(whole).digest('hex')}"`
    const lastModified = 'Tue, 24 Nov 2026 08:00:00 GMT'
    const same = [etag, lastModified].includes(String(request.headers['if-range'] ?? etag))
    const start = bad.ranges !== false && same ? Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? -1) : -1
    const headers = {...(bad.etag === false ? {} : {etag}), ...(bad.lastModified ? {'last-modified': lastModified} : {})}
    if (start >= whole.length) return void response.writeHead(416, {'content-range': `bytes */${whole.length}`}).end()
    const body = start >= 0 ? whole.subarray(start) : whole
    response.writeHead(start >= 0 ? 206 : 200, {
      ...headers, 'content-length': body.length, ...(start >= 0 ? {'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}`} : {}),
    })
    const cut = path.endsWith('sums.txt') || /\.sha\d+$/.test(path) ? undefined : bad.cut?.()
    void send(response, cut === undefined ? body : body.subarray(0, cut), cut !== undefined && cut < body.length)
  })
  async function send(response: ServerResponse, body: Buffer, cut: boolean): Promise<void> {
    const step = bad.rate ? Math.ceil(bad.rate / 20) : 64 * 1024
    for (let at = 0; at < body.length && !response.destroyed; at += step) {
      const chunk = body.subarray(at, at + step)
      sent += chunk.length
      if (!response.write(chunk)) await drained(response)
      if (bad.rate) await new Promise((resolve) => setTimeout(resolve, 50))
    }
    if (!cut) response.end()
    // what was written has to leave first, else the cut would be at another place
    else if (!response.destroyed) response.write('', () => setTimeout(() => response.destroy(), 5))
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, files: content, bad, requests, sent: () => sent,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

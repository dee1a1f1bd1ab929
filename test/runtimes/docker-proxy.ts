/** A socket before the engine's, which can be cut, hang, answer slowly or be gone: what happens to a real one, on order. */
import {createServer, connect, type Server, type Socket} from 'node:net'
import {mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

export interface EngineProxy {
  /** For DOCKER_HOST. */
  readonly host: string
  /** Ends every connection there is. */
  cut(): void
  /** From now on nothing passes, and nothing is refused: an engine that is stopped. */
  hang(): void
  /** Every answer but that to a ping comes this much later. */
  slow(ms: number): void
  /** Passes everything again. */
  pass(): void
  /** Nobody listens any more. */
  refuse(): Promise<void>
  listen(): Promise<void>
  close(): Promise<void>
}

export async function engineProxy(engine = '/var/run/docker.sock'): Promise<EngineProxy> {
  const folder = mkdtempSync(join(tmpdir(), 'dbaas-test-proxy-'))
  const path = join(folder, 'docker.sock')
  const sockets = new Set<Socket>()
  let server: Server
  let hanging = false
  let delayMs = 0

  function accept(client: Socket): void {
    const upstream = connect(engine)
    let isPing = false
    client.on('data', (piece) => {
      isPing = piece.includes('/_ping')
      if (!hanging) upstream.write(piece)
    })
    upstream.on('data', (piece) => {
      if (hanging) return
      if (delayMs === 0 || isPing) client.write(piece)
      else setTimeout(() => client.destroyed || client.write(piece), delayMs)
    })
    client.on('end', () => upstream.end())
    upstream.on('end', () => setTimeout(() => client.end(), isPing ? 0 : delayMs))
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => sockets.delete(socket))
    }
    client.on('close', () => upstream.destroy())
  }

  const listen = (): Promise<void> => new Promise((resolve) => {
    server = createServer({allowHalfOpen: true}, accept)
    server.listen(path, resolve)
  })
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const refuse = (): Promise<void> => new Promise((resolve) => {
    server.close(() => resolve())
    cut()
  })
  await listen()
  return {
    host: `unix://${path}`, cut, listen, refuse,
    hang: () => void (hanging = true),
    slow: (ms) => void (delayMs = ms),
    pass() {
      hanging = false
      delayMs = 0
    },
    async close() {
      await refuse().catch(() => undefined)
      rmSync(folder, {recursive: true, force: true})
    },
  }
}

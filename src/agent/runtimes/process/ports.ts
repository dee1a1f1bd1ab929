import {createServer} from 'node:net'
import {DbaasError} from '../../../core/errors.js'

/** Where the servers of this runtime bind. */
export const listenHost = '127.0.0.1'

/** Between the ports of nodes and the ephemeral range of Linux (32768), so that neither takes them from us. */
const scratchPorts = {from: 28_432, to: 32_767}

export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({port, host: listenHost, exclusive: true}, () => server.close(() => resolve(true)))
  })
}

const held = new Set<number>()

/**
 * A free port for a short-lived server, not given to another scratch of this process until `release`. A process
 * elsewhere may still take it before the server binds it: the server's start then fails, and the caller tries again.
 */
export async function holdFreePort(): Promise<{port: number; release(): void}> {
  const count = scratchPorts.to - scratchPorts.from + 1
  const start = Math.floor(Math.random() * count)
  for (let i = 0; i < count; i++) {
    const port = scratchPorts.from + ((start + i) % count)
    if (held.has(port)) continue
    held.add(port)
    if (await isPortFree(port)) return {port, release: () => void held.delete(port)}
    held.delete(port)
  }
  throw new DbaasError('PORT_IN_USE', `no port is free between ${scratchPorts.from} and ${scratchPorts.to}`, {
    details: {from: String(scratchPorts.from), to: String(scratchPorts.to)}, suggestions: ['dbaas doctor'],
  })
}

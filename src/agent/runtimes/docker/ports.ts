/** Ports of the machine that the engine runs on, and where they may be bound. */
import {createServer, isIP} from 'node:net'
import {DbaasError} from '../../../core/errors.js'
import type {Client} from './client.js'
import {isLoopback, type Connection} from './connection.js'
import {hasAddress} from './local-machine.js'

export const loopback = '127.0.0.1'
const everywhere = new Set(['0.0.0.0', '::'])

/** Between the ports of nodes and the ephemeral range of Linux (32768), so that neither takes them from us. */
const scratchPorts = {from: 28_432, to: 32_767}

export function whyNotPublish({local, address}: Connection, wanted: string | null): string | undefined {
  if (wanted === null) {
    return local ? undefined : `Docker runs on another machine (${address}), whose loopback cannot be reached from here: give the address of that machine to publish at (--publish-address)`
  }
  if (isIP(wanted) === 0) return `"${wanted}" is not an IP address`
  if (!local) return isLoopback(wanted) ? `Docker runs on another machine (${address}), whose loopback cannot be reached from here` : undefined
  if (isLoopback(wanted) || everywhere.has(wanted) || hasAddress(wanted)) return undefined
  return `${wanted} is not an address of this machine`
}

/** Where the agent dials what is bound to the address. */
export const dialled = (publishAddress: string): string =>
  publishAddress === '0.0.0.0' ? loopback : publishAddress === '::' ? '::1' : publishAddress

export async function isPortFree(client: Client, port: number): Promise<boolean> {
  const {local} = await client.connection()
  // without the userland proxy a published port is bound by nobody
  const published = await client.call('list the published ports', (docker, abortSignal) => docker.listContainers({abortSignal}))
  if (published.some((container) => container.Ports.some((each) => each.PublicPort === port))) return false
  return local ? canBind(port) : true
}

function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({port, host: loopback, exclusive: true}, () => server.close(() => resolve(true)))
  })
}

const held = new Set<number>()

/** A free port for a short-lived server, not given to another one of this process until `release`. */
export async function holdFreePort(client: Client): Promise<{port: number; release(): void}> {
  const count = scratchPorts.to - scratchPorts.from + 1
  const start = Math.floor(Math.random() * count)
  for (let i = 0; i < count; i++) {
    const port = scratchPorts.from + ((start + i) % count)
    if (held.has(port)) continue
    held.add(port)
    try {
      if (await isPortFree(client, port)) return {port, release: () => void held.delete(port)}
    } catch (error) {
      held.delete(port)
      throw error
    }
    held.delete(port)
  }
  throw new DbaasError('PORT_IN_USE', `no port is free between ${scratchPorts.from} and ${scratchPorts.to}`, {
    details: {from: String(scratchPorts.from), to: String(scratchPorts.to)}, suggestions: ['dbaas doctor'],
  })
}

import {DbaasError} from '../../../core/errors.js'
import type {Runtime} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'

/** Below the ephemeral range of Linux (32768), so that no outgoing connection sits on them. */
const nodePorts = {from: 20_432, to: 28_431}

/** The lowest free port of the range of endpoints: the first instance of a laptop always gets the same. */
export async function freeEndpointPort(context: ServiceContext, runtime: Runtime): Promise<number> {
  return firstFree(context, runtime, context.endpointPorts, context.endpointPorts.from)
}

/** From a random place on: two agents on one machine seldom try the same one. None of `besides`, which are about to be reserved. */
export async function freeNodePort(context: ServiceContext, runtime: Runtime, besides: readonly number[] = []): Promise<number> {
  const start = nodePorts.from + Math.floor(Math.random() * (nodePorts.to - nodePorts.from))
  return firstFree(context, runtime, nodePorts, start, besides)
}

async function firstFree(context: ServiceContext, runtime: Runtime, range: {from: number; to: number}, start: number, besides: readonly number[] = []): Promise<number> {
  const taken = new Set([...besides, ...(await context.store.read('platform', (tx) => tx.ports.list())).map((p) => p.port)])
  const count = range.to - range.from + 1
  for (let i = 0; i < count; i++) {
    const port = range.from + ((start - range.from + i) % count)
    if (!taken.has(port) && (await runtime.isPortFree(port))) return port
  }
  throw new DbaasError('PORT_IN_USE', `no port is free between ${range.from} and ${range.to}`, {
    details: {from: String(range.from), to: String(range.to)}, suggestions: ['dbaas list', 'delete instances that are not needed'],
  })
}

/** What a node takes: its container as the kernel counts it, and its volume as `du` does. */
import {setTimeout as sleep} from 'node:timers/promises'
import type {Usage} from '../runtime.js'
import type {Client} from './client.js'
import type {Inspected} from './containers.js'
import {runProgram} from './exec.js'
import type {Seat} from './host.js'
import {root, type Place} from './recipe.js'
import {statsOf} from './stats.js'

/** Nothing changes on the volume of a stopped server, and to look starts a container. */
const keptMs = {running: 30_000, stopped: 10 * 60_000} as const
const duSeconds = 60
/** A first look at a large volume is waited for this long; then it goes on behind the answer. */
const patienceMs = 3000

export function createUsage(client: Client) {
  const disks = new Map<string, {at: number; bytes: number}>()
  const looking = new Map<string, Promise<void>>()

  async function measure(place: Place, seat: Seat): Promise<void> {
    const {stdout} = await seat.using((container) => runProgram(client, container, place.image, ['du', '-sk', root], {timeoutSeconds: duSeconds}))
    const kib = /^(\d+)\s/.exec(stdout)?.[1]
    if (kib !== undefined) disks.set(place.nodeId, {at: Date.now(), bytes: Number(kib) * 1024})
  }

  async function diskBytes(place: Place, seat: Seat, running: boolean): Promise<number> {
    const known = disks.get(place.nodeId)
    if (!known || Date.now() - known.at > keptMs[running ? 'running' : 'stopped']) {
      const look = looking.get(place.nodeId) ?? measure(place, seat).finally(() => looking.delete(place.nodeId))
      looking.set(place.nodeId, look)
      // what is known is said meanwhile; a look that fails is taken again the next time
      look.catch(() => undefined)
      if (!known) await Promise.race([look, sleep(patienceMs, undefined, {ref: false})])
    }
    return disks.get(place.nodeId)?.bytes ?? 0
  }

  return {
    async of(place: Place, container: Inspected | undefined, seat: Seat): Promise<Usage> {
      const running = container?.State.Running === true
      const [stats, disk] = await Promise.all([running ? statsOf(client, container.Id) : undefined, diskBytes(place, seat, running)])
      return {cpuSeconds: stats?.cpuSeconds ?? 0, memoryBytes: stats?.memoryBytes ?? 0, diskBytes: disk}
    },
    forget: (nodeId: string): void => void disks.delete(nodeId),
  }
}

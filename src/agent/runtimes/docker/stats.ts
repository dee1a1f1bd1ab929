/** What a running container uses, from the kernel by way of the engine. */
import type Docker from 'dockerode'
import type {Client} from './client.js'

interface Stats {
  readonly cpuSeconds: number
  /** Without the file cache that the kernel would give up at once, as `docker stats` counts. */
  readonly memoryBytes: number
}

/** Undefined when it does not run. */
export async function statsOf(client: Client, id: string): Promise<Stats | undefined> {
  const stats = await client.find('measure a container', (docker, abortSignal) =>
    docker.getContainer(id).stats({stream: false, 'one-shot': true, abortSignal} as {stream: false})) as Docker.ContainerStats | undefined
  const memory = stats?.memory_stats
  if (!stats || memory?.usage === undefined) return undefined
  const detail = (memory.stats ?? {}) as unknown as Record<string, number>
  // cgroup v1 and v2
  const inactive = detail['total_inactive_file'] ?? detail['inactive_file'] ?? 0
  return {cpuSeconds: stats.cpu_stats.cpu_usage.total_usage / 1e9, memoryBytes: Math.max(0, memory.usage - inactive)}
}

export const workingSetOf = async (client: Client, id: string): Promise<number> => (await statsOf(client, id))?.memoryBytes ?? 0

/** What the machine of the engine has, as far as it can be asked. */
import type {Limit, SiteFacts} from '../runtime.js'
import type {Client} from './client.js'
import {inspectContainer, listContainers, removeContainer} from './containers.js'
import {splitFrames} from './frames.js'
import {hardened} from './hardening.js'
import {filterBy, labels, labelsOfSite} from './labels.js'
import {diskFree, isThisMachine, memoryAvailable, type EngineInfo} from './local-machine.js'

const diskKeptMs = 60_000
const architectures: Readonly<Record<string, string>> = {x86_64: 'x64', amd64: 'x64', aarch64: 'arm64', arm64: 'arm64'}

export function createFacts(client: Client, siteId: string) {
  let disk: {at: number; bytes: number | undefined} | undefined

  async function facts(): Promise<SiteFacts> {
    const info = await client.call('ask Docker about its machine', (docker) => docker.info() as Promise<EngineInfo>)
    const here = isThisMachine(await client.connection(), info)
    const [available, free] = await Promise.all([(here ? memoryAvailable() : undefined) ?? notReserved(info.MemTotal), freeOf(info, here)])
    return {
      platform: `${info.OSType}-${architectures[info.Architecture] ?? info.Architecture}`,
      cpus: info.NCPU,
      memoryTotalBytes: info.MemTotal,
      memoryAvailableBytes: Math.max(0, Math.min(info.MemTotal, available)),
      // not known, and nothing to ask it with: an instance is not refused for it
      diskFreeBytes: free ?? Number.MAX_SAFE_INTEGER,
      limits: {
        cpu: limit(info.CpuCfsQuota, 'the engine cannot limit CPU (rootless without the cpu controller?)'),
        memory: limit(info.MemoryLimit, 'the engine cannot limit memory (rootless without the memory controller?)'),
        storage: {
          enforced: false,
          because: `Docker's volumes have no quota; the size is a bound that is watched, not enforced${free === undefined ? ', and how much the engine has free is not known before it has an image' : ''}`,
        },
      },
      serverUser: `the user of the engine in its image${info.SecurityOptions?.some((each) => each.includes('rootless')) ? ', below the user of a rootless Docker' : ''}`,
    }
  }

  /** Where the kernel of the machine cannot be asked: what running containers may take at most is taken. */
  async function notReserved(total: number): Promise<number> {
    const running = await client.call('list containers', (docker, abortSignal) => docker.listContainers({abortSignal}))
    const limits = await Promise.all(running.map(async ({Id}) => (await inspectContainer(client, Id))?.HostConfig.Memory ?? 0))
    return total - limits.reduce((sum, each) => sum + each, 0)
  }

  async function freeOf(info: EngineInfo, here: boolean): Promise<number | undefined> {
    const local = here ? await diskFree(info.DockerRootDir) : undefined
    if (local !== undefined) return local
    if (disk && Date.now() - disk.at < diskKeptMs) return disk.bytes
    disk = {at: Date.now(), bytes: await askContainer().catch(() => undefined)}
    return disk.bytes
  }

  /** `df` of a container's own file system, which is on the engine's disk. In a running one of ours, else in one made for it. */
  async function askContainer(): Promise<number | undefined> {
    const [ours] = (await listContainers(client, filterBy({[labels.site]: siteId, [labels.role]: 'server'}).label)).filter((each) => each.State === 'running')
    const image = ours?.ImageID ?? (await client.call('list the images', (docker, abortSignal) => docker.listImages({abortSignal} as object)))[0]?.Id
    if (image === undefined) return undefined
    const {id} = await client.call('ask for the free disk', (docker, abortSignal) => docker.createContainer({
      Image: image, User: '65534', Entrypoint: ['df', '-Pk', '/'], Cmd: [], Labels: labelsOfSite(siteId, 'probe'), HostConfig: {...hardened, NetworkMode: 'none'}, abortSignal,
    }))
    try {
      const output = await client.call('ask for the free disk', async (docker, abortSignal) => {
        const container = docker.getContainer(id)
        await container.start({abortSignal})
        await container.wait({abortSignal})
        return splitFrames(await container.logs({stdout: true, follow: false, abortSignal}))
      })
      const kib = /\s(\d+)\s+\d+%\s+\/\s*$/m.exec(output)?.[1]
      return kib === undefined ? undefined : Number(kib) * 1024
    } finally {
      await removeContainer(client, id)
    }
  }

  return facts
}

const limit = (can: boolean | undefined, because: string): Limit => (can === false ? {enforced: false, because} : {enforced: true, because: 'by the container'})

/** The network of a tenant: its instances are on it, its clients may join it, and nobody else reaches what is there. */
import type Docker from 'dockerode'
import type {Placement} from '../runtime.js'
import type {Client} from './client.js'
import {listContainers, type Inspected} from './containers.js'
import {refusalOf} from './errors.js'
import {filterBy, labels, labelsOfNetwork, type Labels} from './labels.js'
import {aliasesOf, nameOfNetwork} from './names.js'
import {createTurns} from './turns.js'

type Network = Docker.NetworkInspectInfo

export type Networks = ReturnType<typeof createNetworks>

export function createNetworks(client: Client, siteId: string) {
  const inTurn = createTurns()

  const find = (name: string): Promise<Network | undefined> =>
    client.find('look at a network', (docker) => docker.getNetwork(name).inspect())

  /** Makes it if there is none. Returns its id. Docker keeps two of one name apart only when it is asked to. */
  const ensure = (name: string, networkLabels: Labels): Promise<string> => inTurn(name, async () => {
    const present = await find(name)
    if (present) return present.Id
    return client.call(`make the network ${name}`, async (docker, abortSignal) => {
      try {
        const made = await docker.createNetwork({Name: name, Driver: 'bridge', CheckDuplicate: true, Labels: {...networkLabels}, abortSignal} as Docker.NetworkCreateOptions)
        return made.id
      } catch (error) {
        const refusal = refusalOf(error)
        if (refusal?.status !== 409) throw error
        return (await docker.getNetwork(name).inspect()).Id
      }
    })
  })

  /** False when somebody is on it still. */
  const remove = (name: string): Promise<boolean> => inTurn(name, () => client.call(`remove the network ${name}`, async (docker, abortSignal) => {
    try {
      await docker.getNetwork(name).remove({abortSignal} as object)
      return true
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal?.status === 404) return true
      if (refusal?.status === 403 || refusal?.status === 409) return false
      throw error
    }
  }))

  const nameFor = (placement: Pick<Placement, 'tenantId'>): string => nameOfNetwork(siteId, placement.tenantId)

  return {
    nameFor,
    ensure,
    remove,
    ensureFor: (placement: Placement): Promise<string> => ensure(nameFor(placement), labelsOfNetwork(siteId, placement.tenantId)),

    /** Puts a container back on the network that it was taken off, or whose network was made anew. */
    async mend(container: Inspected, placement: Placement, networkId: string): Promise<void> {
      const name = nameFor(placement)
      const present = container.NetworkSettings.Networks[name]
      if (present && present.NetworkID === networkId) return
      await client.call(`put ${placement.instanceName} on its network`, async (docker, abortSignal) => {
        const network = docker.getNetwork(networkId)
        // an end that the old network left in the container's description stands in the way
        if (present) await (docker.getNetwork(name).disconnect({Container: container.Id, Force: true, abortSignal} as object) as unknown as Promise<void>).catch(() => undefined)
        await network.connect({Container: container.Id, EndpointConfig: {Aliases: aliasesOf(placement)}, abortSignal} as Docker.NetworkConnectOptions).catch((error: unknown) => {
          if (!/already exists in network/.test(refusalOf(error)?.words ?? '')) throw error
        })
      })
    },

    /** A container without a network (a tool) gets this one, for a program that dials servers. No error when it is on it already. */
    async join(containerId: string, placement: Placement): Promise<void> {
      const networkId = await ensure(nameFor(placement), labelsOfNetwork(siteId, placement.tenantId))
      await client.call(`put a container of ${placement.instanceName} on its network`, async (docker, abortSignal) => {
        const {NetworkSettings} = await docker.getContainer(containerId).inspect({abortSignal})
        if (NetworkSettings.Networks[nameFor(placement)]) return
        // having none is a network to the engine, and one that goes with no other
        if (NetworkSettings.Networks['none']) await (docker.getNetwork('none').disconnect({Container: containerId, abortSignal} as object) as unknown as Promise<void>)
        await docker.getNetwork(networkId).connect({Container: containerId, abortSignal} as Docker.NetworkConnectOptions)
      })
    },

    /** No error when it is off already. */
    async cut(container: Inspected, placement: Placement): Promise<void> {
      const name = nameFor(placement)
      if (!container.NetworkSettings.Networks[name]) return
      await client.call(`cut ${placement.instanceName} off`, (docker, abortSignal) =>
        docker.getNetwork(name).disconnect({Container: container.Id, Force: true, abortSignal} as object) as unknown as Promise<void>)
    },

    /** When the tenant has no node left on this site. A client that is still on it keeps it; `tidy` looks again. */
    async removeIfLast(tenantId: string): Promise<void> {
      const wanted = filterBy({[labels.site]: siteId, [labels.tenant]: tenantId}).label
      const [containers, {Volumes: volumes}] = await Promise.all([
        listContainers(client, wanted),
        client.call('list volumes', (docker, abortSignal) => docker.listVolumes({filters: {label: wanted}, abortSignal} as object)),
      ])
      if (containers.length === 0 && (volumes ?? []).length === 0) await remove(nameOfNetwork(siteId, tenantId))
    },

    list: (label: readonly string[]): Promise<Network[]> =>
      client.call('list networks', (docker, abortSignal) => docker.listNetworks({filters: {label: [...label]}, abortSignal} as object)),
  }
}

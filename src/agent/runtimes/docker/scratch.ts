/** Short-lived places: a volume, a tool, and a server on a network of its own, its port on loopback. Nothing of it stays. */
import {randomBytes} from 'node:crypto'
import {DbaasError} from '../../../core/errors.js'
import type {ServerCommand} from '../../../engines/engine.js'
import type {Host} from '../../../engines/host.js'
import type {ScratchPlaces, Software} from '../runtime.js'
import type {Client} from './client.js'
import {inspectContainer, listContainers, removeContainer} from './containers.js'
import {createHost} from './host.js'
import type {Images} from './images.js'
import {filterBy, labels, labelsOfSite} from './labels.js'
import type {Networks} from './networks.js'
import {dialled, holdFreePort, loopback} from './ports.js'
import {serverContainer, type Place} from './recipe.js'
import type {createSeats} from './seats.js'
import type {Tools} from './tools.js'
import type {Volumes} from './volumes.js'

/** Enough for a server with its defaults; it reserves nothing. */
const size = {cpu: 1, memoryBytes: 1024 ** 3} as const
const attempts = 5

export interface ScratchKeeper extends ScratchPlaces {
  /** A scratch place in which no server will run: the volume and its tool, removed afterwards whatever happens. */
  within<T>(software: Software, work: (place: Place, host: Host) => Promise<T>): Promise<T>
  /** Names of what is in use now. */
  readonly active: ReadonlySet<string>
  /** Removes what a dead agent left. */
  tidy(): Promise<void>
  stop(): Promise<void>
}

export function createScratch(options: {
  client: Client
  siteId: string
  images: Images
  networks: Networks
  volumes: Volumes
  tools: Tools
  seats: ReturnType<typeof createSeats>
  enginePort(engine: string): number
}): ScratchKeeper {
  const {client, siteId, images, networks, volumes, tools, seats, enginePort} = options
  const active = new Map<string, Place>()
  let stopped = false

  function refuseWhenStopped(): void {
    if (stopped) throw new DbaasError('AGENT_STOPPING', 'the agent is shutting down')
  }

  /** `kind` is what a person sees of it in `docker ps`. */
  async function withPlace<T>(kind: 'scratch' | 'pool', software: Software, work: (place: Place) => Promise<T>): Promise<T> {
    refuseWhenStopped()
    const image = software.image ?? (await images.locate(software.engine, software.version))?.image
    if (!image) {
      throw new DbaasError('ENGINE_NOT_INSTALLED', `${software.engine} ${software.version} is not installed on this site`, {
        details: {engine: software.engine, version: software.version}, suggestions: [`dbaas engines install ${software.engine}@${software.version} --runtime docker`],
      })
    }
    const id = randomBytes(6).toString('hex')
    const nodeId = `scratch-${id}`
    const place: Place = {nodeId, name: `dbaas-${kind}-${id}`, image, labels: labelsOfSite(siteId, 'scratch', nodeId), ...size}
    active.set(place.name, place)
    try {
      await volumes.ensure(place.name, place.labels)
      await volumes.furnish(place, await tools.container(place), null)
      return await work(place)
    } finally {
      try {
        await clear(place)
      } finally {
        active.delete(place.name)
      }
    }
  }

  const hostOf = (place: Place, software: Software, address: () => {host: string; port: number}): Host => createHost({
    client, image: place.image, listenPort: enginePort(software.engine), address,
    seat: seats.of({nodeId: place.nodeId, find: () => inspectContainer(client, place.name), place: async () => place}),
  })

  const within: ScratchKeeper['within'] = (software, work) =>
    withPlace('pool', software, (place) => work(place, hostOf(place, software, () => ({host: loopback, port: 0}))))

  const use: ScratchPlaces['use'] = async (software, work) => {
    refuseWhenStopped()
    let hold = await holdFreePort(client)
    try {
      return await withPlace('scratch', software, (place) => inPlace(place))
    } finally {
      hold.release()
    }

    async function inPlace(place: Place): ReturnType<typeof work> {
      const publishAddress = (await client.connection()).local ? loopback : '0.0.0.0'
      return work({
        host: hostOf(place, software, () => ({host: dialled(publishAddress), port: hold.port})),
        async start(command) {
          for (let attempt = 1; ; attempt++) {
            try {
              return await startServer(place, software, command, publishAddress, hold.port)
            } catch (error) {
              if (!(error instanceof DbaasError) || error.code !== 'PORT_IN_USE' || attempt === attempts) throw error
              hold.release()
              hold = await holdFreePort(client)
            }
          }
        },
      })
    }
  }

  async function startServer(place: Place, software: Software, command: ServerCommand, address: string, port: number): Promise<void> {
    refuseWhenStopped()
    const [config] = await Promise.all([images.configOf(place.image), networks.ensure(place.name, place.labels), tools.end(place), removeContainer(client, place.name)])
    const recipe = serverContainer({
      place, config, command, hostname: place.name, network: {name: place.name, aliases: []},
      port: {inside: enginePort(software.engine), address, outside: port},
    })
    await client.call('start a scratch server', async (docker, abortSignal) => {
      const container = await docker.createContainer({...recipe, abortSignal})
      await container.start({abortSignal})
    })
  }

  async function clear(place: Pick<Place, 'nodeId' | 'name'>): Promise<void> {
    await Promise.all([tools.end(place), removeContainer(client, place.name)])
    await Promise.all([volumes.remove(place.name), networks.remove(place.name)])
  }

  async function tidy(): Promise<void> {
    const wanted = filterBy({[labels.site]: siteId, [labels.role]: 'scratch'}).label
    const [containers, left, nets] = await Promise.all([listContainers(client, wanted), volumes.list(wanted), networks.list(wanted)])
    const isOurs = (nodeId: string | undefined): boolean => [...active.values()].some((place) => place.nodeId === nodeId)
    for (const each of containers) if (!isOurs(each.Labels[labels.node])) await removeContainer(client, each.Id)
    for (const each of left) if (!isOurs(each.Labels?.[labels.node])) await volumes.remove(each.Name)
    for (const each of nets) if (!isOurs(each.Labels?.[labels.node])) await networks.remove(each.Name)
  }

  /** What goes on in it fails with its containers, and its own call removes the rest. */
  async function stop(): Promise<void> {
    stopped = true
    while (active.size > 0) {
      await Promise.all([...active.values()].map((place) => Promise.all([tools.end(place), removeContainer(client, place.name)])))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  return {
    use, within, tidy, stop,
    get active() {
      return new Set(active.keys())
    },
  }
}

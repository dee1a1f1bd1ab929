/**
 * The runtime that runs servers as containers of a Docker engine, here or on another machine. See `../runtime.ts` for
 * what it promises. A node is a named volume with everything in it, and a container that can be made again at any time.
 */
import {DbaasError} from '../../../core/errors.js'
import type {Host} from '../../../engines/host.js'
import type {RuntimeOptions} from '../options.js'
import type {Placement, Runtime} from '../runtime.js'
import {held, unpackStream} from './archives.js'
import {createClient} from './client.js'
import {listContainers, removeContainer} from './containers.js'
import {createEvents} from './events.js'
import {createFacts} from './facts.js'
import {findAll} from './found.js'
import {createHost} from './host.js'
import {createImages} from './images.js'
import {filterBy, labels, labelsOfNode} from './labels.js'
import {readLog} from './logs.js'
import {nameOfNetwork} from './names.js'
import {createNetworks} from './networks.js'
import {createPool} from './pool.js'
import {createPlaces} from './places.js'
import {dialled, isPortFree, whyNotPublish} from './ports.js'
import {parseRef} from './ref.js'
import {createScratch} from './scratch.js'
import {createSeats} from './seats.js'
import {createServers} from './servers.js'
import {createTools} from './tools.js'
import {createTurns} from './turns.js'
import {createUsage} from './usage.js'
import {createVolumes} from './volumes.js'
import {createWatches} from './watches.js'

/** Connects to nothing: whether there is an engine at all is known at the first call. */
export async function createDockerRuntime(options: RuntimeOptions): Promise<Runtime> {
  const {siteId, engines, env, log} = options
  const client = createClient(env)
  const images = createImages(client, options)
  const volumes = createVolumes(client)
  const networks = createNetworks(client, siteId)
  const places = createPlaces(siteId, volumes)
  const tools = createTools(client, images, siteId)
  const seats = createSeats(client, tools)
  const enginePort = (engine: string): number => {
    const found = engines[engine]?.defaultPort
    if (found === undefined) throw new DbaasError('UNKNOWN_ENGINE', `there is no engine "${engine}"`, {details: {engine}})
    return found
  }
  const servers = createServers({client, siteId, images, networks, volumes, places, tools, enginePort})
  const scratch = createScratch({client, siteId, images, networks, volumes, tools, seats, enginePort})
  const events = createEvents(client, log)
  const watches = createWatches(client, events, siteId, places.nodeOfVolume)
  const usage = createUsage(client)
  const inTurn = createTurns()

  const seatOf = (placement: Placement) =>
    seats.of({nodeId: placement.nodeId, find: () => servers.find(placement), place: () => places.existing(placement), join: (container) => networks.join(container, placement)})

  const hostOf = (placement: Placement): Host => createHost({
    client, image: placement.image, seat: seatOf(placement), listenPort: enginePort(placement.engine),
    address: () => ({host: dialled(placement.publishAddress), port: placement.port}),
  })
  const pool = createPool({client, dataRoot: options.dataRoot, images, scratch, tools, hostOf, seatOf, log})

  async function place(placement: Placement): Promise<void> {
    const wanted = places.of(placement)
    // made while the volume is: only a server needs it
    const network = networks.ensureFor(placement)
    network.catch(() => undefined)
    const [container, volume] = await Promise.all([servers.find(placement), places.volumeOf(placement)])
    // a tool of an agent that was killed may be at work (initdb), which must not meet its successor
    if (volume) await tools.endStrange(wanted)
    else await volumes.ensure(wanted.name, labelsOfNode(siteId, 'data', placement))
    const made = places.of(placement)
    const shell = tools.live(placement.nodeId)
    if (!shell || !(await volumes.isFurnished(placement, shell))) await volumes.furnish(made, container?.Id ?? (await tools.container(made)), placement)
    // what follows is a data directory: its container starts meanwhile, and whoever wants it finds its error
    if (!container && !volume) tools.session(made).catch(() => undefined)
    const networkId = await network
    if (container) await networks.mend(container, placement, networkId)
  }

  async function remove(placement: Placement): Promise<void> {
    const volume = await places.volumeOf(placement)
    const endTool = (): Promise<void> => tools.end({nodeId: placement.nodeId, name: places.nameFor(placement)})
    await Promise.all([servers.remove(placement), endTool()])
    if (volume) await volumes.remove(volume.Name, endTool)
    await networks.removeIfLast(placement.tenantId)
    for (const each of [places, volumes, usage]) each.forget(placement.nodeId)
  }

  /** What agents that were killed have left of their tools and probes, and networks of tenants that have nothing any more. */
  async function tidy(keep: ReadonlySet<string>): Promise<void> {
    await pool.tidy(keep)
    const ours = {[labels.site]: siteId}
    for (const role of ['tool', 'probe'] as const) {
      for (const {Id} of await listContainers(client, filterBy({...ours, [labels.role]: role}).label)) if (!tools.has(Id)) await removeContainer(client, Id)
    }
    await scratch.tidy()
    for (const network of await networks.list(filterBy({...ours, [labels.role]: 'network'}).label)) {
      const tenantId = network.Labels?.[labels.tenant]
      if (tenantId !== undefined) await networks.removeIfLast(tenantId)
    }
  }

  return {
    name: 'docker',
    software: images,
    scratch,
    pool,
    facts: createFacts(client, siteId),
    whyNotPublish: async (address) => whyNotPublish(await client.connection(), address),

    place: (placement) => inTurn(placement.nodeId, () => place(placement)),
    host: hostOf,
    async dataFolder(placement) {
      const volume = await places.volumeOf(placement)
      return volume ? volumes.dataFolder(volume.Name) : null
    },
    unpack(placement, archive, signal) {
      const input = held(archive)
      return seatOf(placement).using((container) => unpackStream(client, container, places.of(placement).image, input, signal))
    },
    // its container says whose it was: another one is made when it is started
    reassign: (placement) => inTurn(placement.nodeId, async () => {
      const container = await servers.find(placement)
      if (container) await removeContainer(client, container.Id)
      await servers.label(placement)
    }),
    start: (placement, command) => inTurn(placement.nodeId, async () => ({ref: await servers.start(placement, command), pid: null})),
    observe: (placement) => servers.observe(placement),
    signal: (placement, ref, signal) => servers.signal(placement, ref, signal),
    kill: (placement) => inTurn(placement.nodeId, () => servers.kill(placement)),
    faults: {
      hang: (placement) => inTurn(placement.nodeId, () => servers.pause(placement)),
      whyNotCut: null,
      cut: (placement) => inTurn(placement.nodeId, () => servers.cut(placement)),
      heal: (placement) => inTurn(placement.nodeId, () => servers.heal(placement)),
    },
    watch: (_placement, ref, ended) => watches.watch(ref, ended),
    onChange: (changed) => watches.onChange(changed),
    identify: (ref) => ({pid: null, container: parseRef(ref)?.container ?? null, pod: null}),
    limit: (placement) => inTurn(placement.nodeId, () => servers.limit(placement)),
    label: (placement) => inTurn(placement.nodeId, () => servers.label(placement)),

    // its volume keeps the label of who made it, which Docker never changes; the container that is made for it is ours
    adopt: (placement, fromSite) => inTurn(placement.nodeId, async () => {
      const theirs = filterBy({[labels.site]: fromSite, [labels.node]: placement.nodeId}).label
      for (const {Id} of await listContainers(client, theirs)) await removeContainer(client, Id)
      await networks.remove(nameOfNetwork(fromSite, placement.tenantId))
    }),

    async usage(placement) {
      const [volume, container] = await Promise.all([places.volumeOf(placement), servers.find(placement)])
      return volume && usage.of(places.of(placement), container, seatOf(placement))
    },

    remove: (placement) => inTurn(placement.nodeId, () => remove(placement)),
    isPortFree: (port) => isPortFree(client, port),
    list: () => findAll(client, volumes, siteId),
    logs: (placement, how) => readLog(client, how, async () => (await servers.find(placement))?.Id, async () => (await places.volumeOf(placement)) !== undefined),
    // Docker keeps the last four files of 16 MiB
    trimLogs: async () => undefined,
    tidy,
    stopBackground: () => scratch.stop(),

    async close() {
      watches.close()
      events.close()
      seats.close()
      await tools.close()
      client.close()
      log('docker runtime closed')
    },
  }
}

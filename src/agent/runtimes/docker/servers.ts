/**
 * The containers of nodes' servers. A node has at most one: it is kept while it is stopped, with its log, and replaced
 * when it would have to be made of something else (another image, command or port).
 */
import {setTimeout as sleep} from 'node:timers/promises'
import type Docker from 'dockerode'
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import type {ServerCommand} from '../../../engines/engine.js'
import type {Observation, Placement} from '../runtime.js'
import type {Client} from './client.js'
import {inspectContainer, listContainers, removeContainer, type Inspected} from './containers.js'
import {addressOf, endOf, impairmentOf} from './ends.js'
import {refusalOf} from './errors.js'
import type {Images} from './images.js'
import {labels} from './labels.js'
import {aliasesOf} from './names.js'
import type {Networks} from './networks.js'
import type {Places} from './places.js'
import {limitsOf, serverContainer, sharedMemoryOf, type ServerRecipe} from './recipe.js'
import {isOf, parseRef, refOf} from './ref.js'
import {workingSetOf} from './stats.js'
import type {Tools} from './tools.js'
import type {Volumes} from './volumes.js'

/** A killed process that does not end is stuck in the kernel (a dead disk); waiting longer does not help. */
const killMs = 30_000
const pollMs = 20

export function createServers(options: {
  client: Client
  siteId: string
  images: Images
  networks: Networks
  volumes: Volumes
  places: Places
  tools: Tools
  enginePort(engine: string): number
}) {
  const {client, siteId, images, networks, volumes, places, tools, enginePort} = options

  /** The node's container, by its name, or by its label where the instance was renamed. */
  async function find(placement: Placement): Promise<Inspected | undefined> {
    const named = await inspectContainer(client, places.nameFor(placement))
    if (named && isOurs(named, placement)) return named
    const [labelled] = await listContainers(client, [...volumes.ofNode(siteId, placement.nodeId), `${labels.role}=server`])
    return labelled && inspectContainer(client, labelled.Id)
  }

  const isOurs = ({Config}: Inspected, {nodeId}: Placement): boolean =>
    Config.Labels[labels.site] === siteId && Config.Labels[labels.node] === nodeId && Config.Labels[labels.role] === 'server'

  async function observe(placement: Placement): Promise<Observation> {
    const container = await find(placement)
    if (container?.State.Running) {
      const network = networks.nameFor(placement)
      const host = addressOf(container, network)
      return {
        state: 'running', ref: refOf(container), pid: null, impairment: impairmentOf(container, network), peerAddress: host === null ? null : {host, port: enginePort(placement.engine)},
      }
    }
    if (!(await places.volumeOf(placement))) return {state: 'absent'}
    return {state: 'stopped', ...(container ? endOf(container) : {exitCode: null, because: null})}
  }

  async function start(placement: Placement, command: ServerCommand): Promise<string> {
    const [place, container] = await Promise.all([places.existing(placement), find(placement)])
    if (container?.State.Running) return refOf(container)
    const [networkId, config] = await Promise.all([networks.ensureFor(placement), images.configOf(place.image)])
    const recipe: ServerRecipe = {
      place, config, command, hostname: placement.nodeName,
      network: {name: networks.nameFor(placement), aliases: aliasesOf(placement)},
      port: {inside: enginePort(placement.engine), address: placement.publishAddress, outside: placement.port},
    }
    // its programs must have ended before the server begins; meanwhile the container is made
    const [id] = await Promise.all([ready(placement, recipe, networkId, container), tools.end(place)])
    await volumes.label(placement, async () => id)
    await client.call(`start ${placement.instanceName}`, (docker, abortSignal) => docker.getContainer(id).start({abortSignal}))
    const now = await inspectContainer(client, id)
    if (!now) throw new DbaasError('RUNTIME_UNAVAILABLE', `the container of ${placement.instanceName} was removed as it started`)
    return refOf(now)
  }

  /** A container that can be started: the one that is there when it is as it should be, else a new one. */
  async function ready(placement: Placement, recipe: ServerRecipe, networkId: string, present: Inspected | undefined): Promise<string> {
    const wanted = serverContainer(recipe)
    if (present && fits(present, wanted)) {
      await update(present, placement)
      await networks.mend(present, placement, networkId)
      return present.Id
    }
    if (present) await removeContainer(client, present.Id)
    return client.call(`make the container of ${placement.instanceName}`, async (docker, abortSignal) => (await docker.createContainer({...wanted, abortSignal})).id)
  }

  async function update({Id, HostConfig}: Inspected, placement: Placement): Promise<void> {
    const limits = limitsOf({cpu: placement.size.cpu, memoryBytes: placement.size.memory_bytes})
    if (HostConfig.NanoCpus === limits.NanoCpus && HostConfig.Memory === limits.Memory) return
    await client.call(`limit ${placement.instanceName}`, (docker, abortSignal) => docker.getContainer(Id).update({...limits, abortSignal}))
  }

  /** Live. Throws INVALID_STATE when the server uses more memory than that now: the kernel would have to kill. */
  async function limit(placement: Placement): Promise<void> {
    const container = await find(placement)
    if (container) {
      const wanted = placement.size.memory_bytes
      if (container.State.Running && wanted < (container.HostConfig.Memory ?? 0) && (await workingSetOf(client, container.Id)) > wanted) throw tooMuch(placement)
      try {
        await update(container, placement)
      } catch (error) {
        if (error instanceof DbaasError && /device or resource busy/.test(refusalOf(error.cause)?.words ?? '')) throw tooMuch(placement, error)
        throw error
      }
    }
    await label(placement, container)
  }

  async function label(placement: Placement, container?: Inspected): Promise<void> {
    if (!(await places.volumeOf(placement))) return
    const place = await places.existing(placement)
    await volumes.label(placement, async () => (container ?? (await find(placement)))?.Id ?? tools.container(place))
  }

  async function signal(placement: Placement, ref: string, name: NodeJS.Signals): Promise<void> {
    const container = await find(placement)
    if (container?.State.Running && isOf(parseRef(ref), container)) await send(container.Id, name)
  }

  /** True when it was not running any more. */
  const send = (id: string, name: NodeJS.Signals): Promise<boolean> => client.call(`signal ${name}`, async (docker, abortSignal) => {
    try {
      await docker.getContainer(id).kill({signal: name, abortSignal})
      return false
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal?.status === 404 || (refusal?.status === 409 && /is not running/.test(refusal.words))) return true
      // older engines let nothing that is paused be killed; what did not end is looked after again
      if (refusal?.status === 409 && /is paused/.test(refusal.words)) return false
      throw error
    }
  })

  const unpause = (id: string, name: string): Promise<void> => client.call(`let ${name} go on`, async (docker, abortSignal) => {
    await docker.getContainer(id).unpause({abortSignal}).catch((error: unknown) => {
      const refusal = refusalOf(error)
      if (refusal?.status !== 404 && !/is not paused|is not running/.test(refusal?.words ?? '')) throw error
    })
  })

  /** Everything in the container stops dead. */
  async function pause(placement: Placement): Promise<void> {
    const container = await find(placement)
    if (!container?.State.Running || container.State.Paused) return
    await client.call(`pause ${placement.instanceName}`, (docker, abortSignal) => docker.getContainer(container.Id).pause({abortSignal}))
  }

  /** Off its only network: its peers, its clients and the agent reach it no more. */
  async function cut(placement: Placement): Promise<void> {
    const container = await find(placement)
    if (container) await networks.cut(container, placement)
  }

  async function heal(placement: Placement): Promise<void> {
    const container = await find(placement)
    if (!container?.State.Running) return
    if (container.State.Paused) await unpause(container.Id, placement.instanceName)
    await networks.mend(container, placement, await networks.ensureFor(placement))
  }

  /**
   * Whatever runs in the node's container, whoever started it; also paused: the engine lets it go on to its end, or we do where it
   * does not. Returns when the engine says that nothing runs there.
   */
  async function kill(placement: Placement): Promise<void> {
    const container = await find(placement)
    if (!container) return
    let isSent = false
    for (const until = Date.now() + killMs; ; await sleep(pollMs)) {
      const now = await inspectContainer(client, container.Id)
      if (!now || (!now.State.Running && now.State.Status !== 'removing')) return
      if (isSent && now.State.Paused) await unpause(container.Id, placement.instanceName)
      await send(container.Id, 'SIGKILL')
      isSent = true
      if (Date.now() > until) {
        throw new DbaasError('RUNTIME_UNAVAILABLE', `the server of ${placement.instanceName} was killed and has not ended within ${killMs / 1000} s`, {
          details: {container: container.Name}, suggestions: ['look for a disk that does not answer', 'dbaas doctor'],
        })
      }
    }
  }

  async function remove(placement: Placement): Promise<void> {
    const container = await find(placement)
    if (container) await removeContainer(client, container.Id)
  }

  return {find, observe, start, limit, label, signal, pause, cut, heal, kill, remove}
}

function fits({Config, HostConfig}: Inspected, wanted: Docker.ContainerCreateOptions): boolean {
  const memory = wanted.HostConfig?.Memory ?? 0
  return Config.Labels[labels.recipe] === wanted.Labels?.[labels.recipe] && (HostConfig.ShmSize ?? 0) >= sharedMemoryOf(memory) / 2
}

const tooMuch = (placement: Placement, cause?: unknown): DbaasError =>
  new DbaasError('INVALID_STATE', `the server of ${placement.instanceName} uses more memory than ${formatBytes(placement.size.memory_bytes)} now`, {
    cause, suggestions: [`dbaas restart ${placement.instanceName}`],
  })

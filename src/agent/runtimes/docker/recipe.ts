/** What containers are made of. Pure. */
import {createHash} from 'node:crypto'
import type Docker from 'dockerode'
import type {ImagePin} from '../../../core/instance/instance.js'
import type {ServerCommand} from '../../../engines/engine.js'
import {hardened, masks} from './hardening.js'
import type {ImageConfig} from './images.js'
import {labels, type Labels} from './labels.js'

/** Where the one volume of a place is, in each of its containers. */
export const root = '/var/lib/dbaas'

export const paths = {data: `${root}/data`, config: `${root}/config`, log: `${root}/log`, tmp: `${root}/tmp`} as const

/** Something with a volume that programs run on: a node's place, or a scratch place. */
export interface Place {
  readonly nodeId: string
  /** Of its volume and of its server's container. */
  readonly name: string
  readonly image: ImagePin
  readonly labels: Labels
  readonly cpu: number
  readonly memoryBytes: number
}

const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The same for everything that runs in a place, whatever the image says: nothing of the agent's own goes in. */
export const cleanEnvironment = (image: ImagePin, extra: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  PATH: `${image.bin}:${systemPath}`, HOME: paths.tmp, TMPDIR: paths.tmp, LANG: 'C', TZ: 'UTC', ...extra,
})

/** A name without a value takes away what the image sets. */
const environment = (wanted: Readonly<Record<string, string>>, config: ImageConfig): string[] => [
  ...Object.entries(wanted).map(([name, value]) => `${name}=${value}`),
  ...config.variables.filter((name) => !Object.hasOwn(wanted, name)),
]

const mounts = (place: Place, config: ImageConfig): Docker.MountSettings[] => [
  {Type: 'volume', Source: place.name, Target: root, VolumeOptions: {NoCopy: true}} as Docker.MountSettings,
  ...masks(config.volumes.filter((folder) => folder !== root)),
]

/** Kernel and Docker count in whole nanoseconds and bytes; 0 is no limit. */
export const limitsOf = ({cpu, memoryBytes}: Pick<Place, 'cpu' | 'memoryBytes'>): {NanoCpus: number; Memory: number; MemorySwap: number} => ({
  NanoCpus: Math.round(cpu * 1e9), Memory: memoryBytes,
  // the same: no swap beside it
  MemorySwap: memoryBytes,
})

/** Shared memory counts to the container's memory; this is only the most that may be of that kind. */
export const sharedMemoryOf = (memoryBytes: number): number => Math.max(64 * 1024 ** 2, Math.floor(memoryBytes / 2))

/** A `docker stop` by hand gives the server this long. */
const stopSeconds = 60

export interface ServerRecipe {
  readonly place: Place
  readonly config: ImageConfig
  readonly command: ServerCommand
  readonly hostname: string
  readonly network: {readonly name: string; readonly aliases: readonly string[]}
  readonly port: {readonly inside: number; readonly address: string; readonly outside: number}
}

export function serverContainer({place, config, command, hostname, network, port}: ServerRecipe): Docker.ContainerCreateOptions {
  const inside = `${port.inside}/tcp`
  const made: Docker.ContainerCreateOptions = {
    name: place.name, Hostname: hostname.slice(0, 63), Image: place.image.id, User: `${place.image.uid}:${place.image.gid}`,
    Entrypoint: [...command.argv], Cmd: [], Env: environment(cleanEnvironment(place.image, command.env), config), WorkingDir: paths.tmp,
    Healthcheck: {Test: ['NONE']}, StopTimeout: stopSeconds, ExposedPorts: {[inside]: {}},
    HostConfig: {
      ...hardened, NetworkMode: network.name, Mounts: mounts(place, config), ShmSize: sharedMemoryOf(place.memoryBytes),
      PortBindings: {[inside]: [{HostIp: port.address, HostPort: String(port.outside)}]},
    },
    NetworkingConfig: {EndpointsConfig: {[network.name]: {Aliases: [...network.aliases]}}},
  } as Docker.ContainerCreateOptions
  const recipe = createHash('sha256').update(JSON.stringify({...made, HostConfig: {...made.HostConfig, ShmSize: undefined}})).digest('hex').slice(0, 16)
  return {...made, Labels: {...place.labels, [labels.recipe]: recipe}, HostConfig: {...made.HostConfig, ...limitsOf(place)}}
}

/** Does what the session says, and ends with it; nothing of it stays then. */
export function toolContainer(place: Place, config: ImageConfig, toolLabels: Labels, name: string, argv: readonly string[]): Docker.ContainerCreateOptions {
  return {
    name, Image: place.image.id, User: `${place.image.uid}:${place.image.gid}`, Entrypoint: [...argv], Cmd: [],
    Env: environment(cleanEnvironment(place.image), config), WorkingDir: paths.tmp, Labels: {...toolLabels}, Healthcheck: {Test: ['NONE']},
    AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true,
    HostConfig: {
      ...hardened, NetworkMode: 'none', AutoRemove: true, Mounts: mounts(place, config), ...limitsOf(place), ShmSize: sharedMemoryOf(place.memoryBytes),
      // its words are the session's
      LogConfig: {Type: 'none', Config: {}},
    },
  } as Docker.ContainerCreateOptions
}

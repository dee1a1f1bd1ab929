/** A site on the real Docker engine, and eyes of its own on what exists there. */
import {randomBytes} from 'node:crypto'
import type {Readable} from 'node:stream'
import tar from 'tar-stream'
import {createDockerRuntime} from '../../src/agent/runtimes/docker/index.js'
import type {EngineSoftware} from '../../src/agent/runtimes/options.js'
import type {Runtime} from '../../src/agent/runtimes/runtime.js'
import {docker, images} from '../support/docker.js'
import {temporaryFolder} from '../support/temporary.js'

export interface DockerSite {
  readonly siteId: string
  readonly folder: string
  /** Another runtime over the same site each time: what an agent has after its restart. */
  open(env?: Readonly<Record<string, string | undefined>>): Promise<Runtime>
  /** Whatever of the site exists now, one line each; what a container runs is a `process`. */
  leftovers(): Promise<string[]>
  /** Removes what is left, so that one failed test does not make others fail. */
  dispose(): Promise<void>
}

export const siteLabel = 'io.dbaas.site'
export const nodeLabel = 'io.dbaas.node'
export const roleLabel = 'io.dbaas.role'

export function dockerSite(engines: Readonly<Record<string, EngineSoftware>>, env: Readonly<Record<string, string | undefined>> = {}): DockerSite {
  const folder = temporaryFolder('docker')
  const siteId = `site_${'0'.repeat(14)}${randomBytes(6).toString('hex')}`
  const filters = {label: [`${siteLabel}=${siteId}`]}
  return {
    siteId,
    folder: folder.path,
    open: (more = {}) => createDockerRuntime({
      dataRoot: folder.path, siteId, packagesFolder: folder.path, engines, env: {...env, ...more},
      log: process.env.DBAAS_TEST_LOG ? (message, facts) => console.error(message, facts) : () => undefined,
    }),
    async leftovers() {
      const containers = await docker.listContainers({all: true, filters})
      const {Volumes: volumes} = await docker.listVolumes({filters} as object)
      const networks = await docker.listNetworks({filters} as object)
      const found: string[] = []
      for (const {Id, Names, State, Labels} of containers) {
        if (State === 'running') {
          const top = (await docker.getContainer(Id).top().catch(() => ({Processes: []}))) as {Processes: string[][]}
          for (const each of top.Processes ?? []) {
            const [pid, command] = [each[1], each.at(-1) as string]
            // the shell of a tool waits for work
            if (Labels[roleLabel] === 'server' || !/read -r script/.test(command)) found.push(`process ${pid} ${command}`)
          }
        }
        found.push(`container ${Names[0]} ${State}`)
      }
      for (const {Name} of volumes ?? []) found.push(`volume ${Name}`)
      for (const {Name} of networks) found.push(`network ${Name}`)
      return found
    },
    async dispose() {
      for (const {Id} of await docker.listContainers({all: true, filters})) await docker.getContainer(Id).remove({force: true, v: true}).catch(() => undefined)
      for (const {Name} of (await docker.listVolumes({filters} as object)).Volumes ?? []) await docker.getVolume(Name).remove({force: true}).catch(() => undefined)
      for (const {Id} of await docker.listNetworks({filters} as object)) await docker.getNetwork(Id).remove().catch(() => undefined)
      folder.dispose()
    },
  }
}

/** The node's server, found by its label. */
export async function containerOf(siteId: string, nodeId: string): Promise<import('dockerode').Container> {
  const label = [`${siteLabel}=${siteId}`, `${nodeLabel}=${nodeId}`, `${roleLabel}=server`]
  const [found] = await docker.listContainers({all: true, filters: {label}})
  if (!found) throw new Error(`there is no container of ${nodeId}`)
  return docker.getContainer(found.Id)
}

/** Builds an image from files; the first line of the Dockerfile is `FROM` the test's base image. */
export async function buildImage(name: string, files: Readonly<Record<string, {content: string; mode?: number}>>, dockerfile: readonly string[]): Promise<void> {
  const pack = tar.pack()
  pack.entry({name: 'Dockerfile'}, [`FROM ${images.client}`, ...dockerfile].join('\n'))
  for (const [path, {content, mode}] of Object.entries(files)) pack.entry({name: path, mode: mode ?? 0o644}, content)
  pack.finalize()
  const stream = await docker.buildImage(pack as unknown as NodeJS.ReadableStream, {t: name}) as Readable
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(stream, (error: Error | null, output: {error?: string}[]) => {
      const failed = error ?? output.find((each) => each.error)?.error
      if (failed) reject(new Error(String(failed)))
      else resolve()
    })
  })
}

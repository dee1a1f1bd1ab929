/** A real Docker engine, its images and a registry to pull from, for the suites that need them. */
import {once} from 'node:events'
import {connect} from 'node:net'
import Docker from 'dockerode'
import {needOrSkip} from './need.js'

/** The engine as a client without settings of its own finds it: DOCKER_HOST, else the usual socket. */
export const docker = new Docker()

/** What scripts/site/images.sh makes; where somebody pulled the official ones, those. */
export const images = {postgresql: 'postgres:18', mysql: 'mysql:9.7', mariadb: 'mariadb:10.11', client: 'dbaas-test-client'} as const

/** A registry to pull from; its postgres:18 is in layers that the engine does not have. */
export const registry = '127.0.0.1:5000'

let answer: Promise<string | undefined> | undefined

/** The suite needs an engine, and these images. */
export function dockerOrSkip(...needed: string[]): void {
  needOrSkip(async () => {
    answer ??= docker.ping().then(() => undefined, (error: Error) => `no Docker engine answers (${error.message}): scripts/site/docker-engine.sh start`)
    const lacking = await answer
    if (lacking !== undefined) return lacking
    for (const image of needed) {
      const there = await docker.getImage(image).inspect().then(() => true, () => false)
      if (!there) return `the engine has no image ${image}: docker pull ${image}, or scripts/site/images.sh`
    }
    return undefined
  })
}

/** The suite needs the registry, too. */
export function registryOrSkip(): void {
  dockerOrSkip()
  needOrSkip(async () => {
    const [host, port] = registry.split(':') as [string, string]
    const socket = connect(Number(port), host)
    try {
      await once(socket, 'connect')
      return undefined
    } catch {
      return `no registry on ${registry}: scripts/site/registry.sh start`
    } finally {
      socket.destroy()
    }
  })
}

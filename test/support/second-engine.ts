/**
 * A Docker engine of the test's own, to stop, hang and restart at will: the machine's is used by others. It leaves the
 * machine's packet filter alone, whose chains belong to the other engine; published ports work by its own proxies. It is
 * given the other one's default bridge, which it would take away if it were told to have none, or pools of addresses of its
 * own; nothing joins it.
 */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, openSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import Docker from 'dockerode'
import {temporaryFolder} from './temporary.js'

export interface SecondEngine {
  /** For DOCKER_HOST. */
  readonly host: string
  readonly docker: Docker
  /** All containers end with it. */
  stop(): Promise<void>
  start(): Promise<void>
  /** It neither answers nor ends; what it runs goes on. */
  hang(): void
  goOn(): void
  dispose(): Promise<void>
}

/** With these images of the machine's engine. */
export async function secondEngine(...images: string[]): Promise<SecondEngine> {
  const folder = temporaryFolder('engine')
  const socket = join(folder.path, 'docker.sock')
  const log = join(folder.path, 'dockerd.log')
  const docker = new Docker({socketPath: socket})
  let daemon: ChildProcess | undefined

  async function start(): Promise<void> {
    const output = openSync(log, 'a')
    daemon = spawn('dockerd', [
      '--host', `unix://${socket}`, '--data-root', join(folder.path, 'data'), '--exec-root', join(folder.path, 'exec'), '--pidfile', join(folder.path, 'dockerd.pid'),
      '--iptables=false', '--bridge', 'docker0', '--shutdown-timeout', '5',
    ], {stdio: ['ignore', output, output], env: {PATH: `${process.env.PATH}:/usr/sbin:/sbin`}})
    for (let i = 0; i < 300; i++) {
      if (daemon.exitCode !== null) throw new Error(`dockerd ended: ${readFileSync(log, 'utf8').slice(-2000)}`)
      if (await docker.ping().then(() => true, () => false)) return
      await pause(100)
    }
    throw new Error(`dockerd does not answer: ${readFileSync(log, 'utf8').slice(-2000)}`)
  }

  async function stop(): Promise<void> {
    if (!daemon || daemon.exitCode !== null) return
    const ended = once(daemon, 'exit')
    daemon.kill('SIGCONT')
    daemon.kill('SIGTERM')
    await ended
  }

  await start()
  for (const image of images) {
    // the CLI streams it from one engine to the other
    execFileSync('sh', ['-c', `docker save '${image}' | docker --host 'unix://${socket}' load`], {stdio: ['ignore', 'ignore', 'inherit']})
  }
  return {
    host: `unix://${socket}`, docker, start, stop,
    hang: () => void daemon?.kill('SIGSTOP'),
    goOn: () => void daemon?.kill('SIGCONT'),
    async dispose() {
      daemon?.kill('SIGCONT')
      const left = await docker.listContainers({all: true}).catch(() => [])
      for (const {Id} of left) await docker.getContainer(Id).remove({force: true, v: true}).catch(() => undefined)
      for (const {Id, Name} of await docker.listNetworks().catch(() => [])) {
        if (!['bridge', 'host', 'none'].includes(Name)) await docker.getNetwork(Id).remove().catch(() => undefined)
      }
      await stop()
      // mounts that it left in its folder would be removed with what is mounted
      for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n').reverse()) {
        const at = line.split(' ')[4]
        if (at?.startsWith(`${folder.path}/`)) execFileSync('umount', ['--lazy', at], {stdio: 'ignore'})
      }
      if (existsSync(folder.path)) folder.dispose()
    },
  }
}

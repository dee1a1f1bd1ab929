/** A Docker engine of the test's own, which may be stopped and started under running containers. Needs root and dockerd. */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {mkdtempSync, openSync, readdirSync, readFileSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import Docker from 'dockerode'
import {needOrSkip} from '../support/need.js'
import {eventually} from './docker-fake-site.js'

export interface SecondEngine {
  /** For DOCKER_HOST. */
  readonly host: string
  readonly docker: Docker
  /** Images get into it as files do. */
  load(image: string): void
  /** As its service manager would: with SIGTERM, its containers end with it. `SIGKILL`: they live on. */
  stop(signal?: NodeJS.Signals): Promise<void>
  start(): Promise<void>
  dispose(): Promise<void>
}

export function secondEngineOrSkip(): void {
  needOrSkip(() => {
    if (process.getuid?.() !== 0) return 'a second Docker engine needs root'
    try {
      execFileSync('unshare', ['--net', 'dockerd', '--version'], {stdio: 'ignore'})
      return undefined
    } catch {
      return 'there is no dockerd on this machine, or no unshare'
    }
  })
}

export async function secondEngine(): Promise<SecondEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'dbaas-test-engine-'))
  const path = join(folder, 'docker.sock')
  const host = `unix://${path}`
  let daemon: ChildProcess | undefined
  const docker = new Docker({socketPath: path})

  async function start(): Promise<void> {
    // of processes that were killed, and that nobody has reaped
    for (const file of ['docker.pid', 'run/containerd/containerd.pid']) rmSync(join(folder, file), {force: true})
    const log = openSync(join(folder, 'log'), 'a')
    // in a network namespace of its own: else "no bridge" would take the default bridge away from the machine's engine
    daemon = spawn('unshare', [
      '--net', 'sh', '-c', 'ip link set lo up && exec dockerd "$@"', 'dockerd',
      '--host', host, '--data-root', join(folder, 'data'), '--exec-root', join(folder, 'run'), '--pidfile', join(folder, 'docker.pid'),
      '--bridge', 'none', '--iptables=false', '--ip6tables=false', '--default-address-pool', 'base=10.213.0.0/16,size=24', '--shutdown-timeout', '5',
    ], {stdio: ['ignore', log, log], detached: true})
    await eventually('the second engine answers', () => docker.ping().then(() => true, () => false), 30_000)
  }

  async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const running = daemon
    if (!running || running.exitCode !== null || running.signalCode !== null) return
    const ended = new Promise<void>((resolve) => running.once('exit', () => resolve()))
    running.kill(signal)
    await ended
    daemon = undefined
  }

  /** What an engine that was killed has left: its containerd, and containers. */
  function killRest(): void {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        if (Number(pid) !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)) process.kill(Number(pid), 'SIGKILL')
      } catch {
        continue
      }
    }
  }

  await start()
  return {
    host, docker, start, stop,
    load: (image) => void execFileSync('sh', ['-c', `docker save ${image} | docker --host ${host} load`], {stdio: 'ignore'}),
    async dispose() {
      await stop()
      killRest()
      for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').reverse()) {
        const mounted = line.split(' ')[1] ?? ''
        if (mounted.startsWith(folder)) execFileSync('umount', ['--lazy', mounted], {stdio: 'ignore'})
      }
      rmSync(folder, {recursive: true, force: true, maxRetries: 5, retryDelay: 200})
    },
  }
}

/**
 * A network of a test's own, in which a site can live and whose loopback can be cut: who is who is told by the user of a process (the agent and
 * the endpoint are root, servers are the service user, clients are nobody) and by ports. It ends with its last process.
 */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {readdirSync, readFileSync, readlinkSync} from 'node:fs'
import {Socket} from 'node:net'
import {join} from 'node:path'
import {projectRoot} from './site.js'
import {temporaryFolder} from './temporary.js'

export interface Connection {
  readonly from: number
  readonly to: number
}

export type Rule = readonly string[]

export interface Network {
  /** Before a command: it runs in the network. */
  readonly prefix: readonly string[]
  /** For clients of the test's own process. */
  readonly stream: () => Socket
  /** What the rules match is lost from now on; what is under way, too. */
  cut(rules: readonly Rule[]): void
  heal(): void
  dispose(): Promise<void>
}

/** Says why none can be made here, or makes one. */
export async function makeNetwork(): Promise<Network | string> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a network of its own is made by root, on Linux'
  const folder = temporaryFolder('network')
  const path = join(folder.path, 'relay.sock')
  const run = 'ip link set lo up && iptables -w -S >/dev/null && exec "$@"'
  const holder = spawn('unshare', ['--net', 'sh', '-c', run, 'sh', process.execPath, '--import', 'tsx', join(projectRoot, 'test', 'support', 'relay.ts'), path], {
    cwd: projectRoot, stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')])
  if (String(said) !== 'ready\n') {
    folder.dispose()
    return 'no network namespace with iptables can be made here'
  }
  return networkOf(holder, path, () => folder.dispose())
}

function networkOf(holder: ChildProcess, path: string, removed: () => void): Network {
  const prefix = ['nsenter', '--net', `--target=${holder.pid}`]
  const iptables = (...rule: string[]): void => void execFileSync('nsenter', [...prefix.slice(1), 'iptables', '-w', ...rule], {stdio: 'pipe'})
  return {
    prefix,
    stream: () => new Relayed(path),
    cut(rules) {
      for (const rule of rules) iptables('-A', 'OUTPUT', '-p', 'tcp', ...rule, '-j', 'DROP')
    },
    heal: () => iptables('-F', 'OUTPUT'),
    async dispose() {
      const ended = once(holder, 'exit')
      holder.stdin?.end()
      await ended
      removed()
    },
  }
}

/** Connects to a port of the network. */
class Relayed extends Socket {
  readonly #path: string

  constructor(path: string) {
    super()
    this.#path = path
  }

  override connect(...args: unknown[]): this {
    const [port] = args as [number]
    this.once('connect', () => void this.write(`${port}\n`))
    return super.connect(this.#path)
  }
}

/** Both directions of one connection. */
export const ofConnection = ({from, to}: Connection): Rule[] =>
  [['--sport', String(from), '--dport', String(to)], ['--sport', String(to), '--dport', String(from)]]

/** Packets of a user to a port: all, or only those that begin a connection. */
export const ofUser = (uid: number, port: number, which: 'all' | 'new' = 'all'): Rule => ['--dport', String(port), ...(which === 'new' ? ['--syn'] : []), '-m', 'owner', '--uid-owner', String(uid)]

/** What the processes have open to a port, seen from their own network. */
export function connectionsOf(pids: readonly number[], to: number): Connection[] {
  const [first] = pids
  if (first === undefined) return []
  const sockets = new Set(pids.flatMap((pid) => {
    try {
      return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [])
    } catch {
      // ended meanwhile
      return []
    }
  }))
  const port = (address: string | undefined): number => Number.parseInt(address?.split(':')[1] ?? '', 16)
  return readFileSync(`/proc/${first}/net/tcp`, 'utf8').trim().split('\n').slice(1).map((line) => line.trim().split(/\s+/))
    .filter((fields) => sockets.has(fields[9] ?? '') && port(fields[2]) === to).map((fields) => ({from: port(fields[1]), to}))
}

/** Debian's Patroni 3 with etcd as a person gets them: defaults, three nodes on loopback, PostgreSQL 15. */
import {type ChildProcess, spawn} from 'node:child_process'
import {chownSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync} from 'node:fs'
import {createServer, type AddressInfo} from 'node:net'
import {join} from 'node:path'
import {debianBin} from './support-backup.js'
import {signalAll, treeOf, until, type Target} from './support-failover.js'

interface Member {
  readonly name: string
  readonly api: number
  readonly port: number
  readonly process: ChildProcess
}

export interface Patroni {
  /** Where the client that follows the leader goes now. */
  target(): Target | undefined
  /** Who leads, as its REST API says. */
  leader(): Member | undefined
  /** All members run and stream, one leads. */
  whole(): Promise<void>
  /** `kill`: all of the PostgreSQL server; `hang`: all of the node, Patroni with it, as a machine that stops. Returns how to end it. */
  fault(kind: 'kill' | 'hang'): () => void
  switchover(): Promise<void>
  onChange(listener: () => void): void
  stop(): Promise<void>
}

export const hasPatroni = (): boolean => ['/usr/bin/patroni', '/usr/bin/etcd', join(debianBin, 'postgres')].every((file) => existsSync(file))

/** HAProxy in Patroni's own example asks every 3 s; this asks more often than any, so that the figure is Patroni's. */
const pollMs = 50

export async function startPatroni(folder: string, user: {uid?: number; gid?: number}): Promise<Patroni> {
  const own = (path: string): string => {
    mkdirSync(path, {recursive: true, mode: 0o700})
    if (user.uid !== undefined) chownSync(path, user.uid, user.gid as number)
    return path
  }
  own(folder)
  const start = (name: string, argv: readonly string[]): ChildProcess => {
    const log = openSync(join(folder, `${name}.log`), 'a')
    return spawn(argv[0] as string, argv.slice(1), {cwd: folder, env: {PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8'}, stdio: ['ignore', log, log], ...user})
  }
  const [client, peer, ...ports] = await freePorts(8)
  const etcd = start('etcd', ['/usr/bin/etcd', '--data-dir', own(join(folder, 'etcd')), '--listen-client-urls', `http://127.0.0.1:${client}`, '--advertise-client-urls', `http://127.0.0.1:${client}`,
    '--listen-peer-urls', `http://127.0.0.1:${peer}`, '--initial-advertise-peer-urls', `http://127.0.0.1:${peer}`, '--initial-cluster', `default=http://127.0.0.1:${peer}`])
  await until('etcd answers', async () => (await fetch(`http://127.0.0.1:${client}/health`)).ok)
  const members: Member[] = []
  for (const n of [1, 2, 3]) {
    const [name, api, port] = [`p${n}`, ports[n * 2 - 2] as number, ports[n * 2 - 1] as number]
    const home = own(join(folder, name))
    const config = join(home, 'patroni.yml')
    writeFileSync(config, JSON.stringify({
      scope: 'bench', name, etcd3: {host: `127.0.0.1:${client}`}, restapi: {listen: `127.0.0.1:${api}`, connect_address: `127.0.0.1:${api}`},
      bootstrap: {dcs: {postgresql: {use_pg_rewind: true}}, initdb: [{encoding: 'UTF8'}, 'data-checksums']},
      postgresql: {
        listen: `127.0.0.1:${port}`, connect_address: `127.0.0.1:${port}`, data_dir: join(home, 'data'), bin_dir: debianBin, pgpass: join(home, 'pgpass'),
        authentication: {superuser: {username: 'postgres', password: 'bench'}, replication: {username: 'replicator', password: 'bench'}, rewind: {username: 'rewinder', password: 'bench'}},
        parameters: {unix_socket_directories: home},
        pg_hba: ['host all all 127.0.0.1/32 scram-sha-256', 'host replication all 127.0.0.1/32 scram-sha-256', 'local all all trust'],
      },
    }), {mode: 0o600})
    if (user.uid !== undefined) chownSync(config, user.uid, user.gid as number)
    members.push({name, api, port, process: start(name, ['/usr/bin/patroni', config])})
  }

  let leader: Member | undefined
  let listener = (): void => undefined
  let polling = false
  const isLeader = async ({api}: Member): Promise<boolean> => {
    const answer = await fetch(`http://127.0.0.1:${api}/primary`, {signal: AbortSignal.timeout(500)})
    await answer.body?.cancel()
    return answer.status === 200
  }
  const poll = setInterval(() => {
    if (polling) return
    polling = true
    void Promise.all(members.map(async (member) => ((await isLeader(member).catch(() => false)) ? member : undefined))).then((answers) => {
      const found = answers.find((member) => member !== undefined)
      if (found !== undefined && found !== leader) {
        leader = found
        listener()
      }
      polling = false
    })
  }, pollMs)

  const cluster = async (): Promise<{members: {name: string; role: string; state: string; lag?: number}[]}> => {
    const answers = await Promise.any(members.map(async ({api}) => (await fetch(`http://127.0.0.1:${api}/cluster`, {signal: AbortSignal.timeout(1000)})).json()))
    return answers as {members: {name: string; role: string; state: string; lag?: number}[]}
  }
  /** It is no child of Patroni. Empty where it does not run. */
  const server = (member: Member): number[] => {
    try {
      return treeOf(Number(readFileSync(join(folder, member.name, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]))
    } catch {
      return []
    }
  }

  const patroni: Patroni = {
    target: () => leader && {host: '127.0.0.1', port: leader.port, user: 'postgres', password: 'bench', database: 'postgres', ssl: false},
    leader: () => leader,
    onChange: (heard) => void (listener = heard),
    async whole() {
      await until('all members run', async () => {
        const {members: seen} = await cluster()
        const now = seen.find(({role}) => role === 'leader')
        return now !== undefined && now.name === leader?.name && seen.length === 3 && seen.every(({state, role, lag}) => (state === 'running' || state === 'streaming') && (role === 'leader' || lag === 0))
      }, 180_000)
    },
    fault(kind) {
      const {process: patroniProcess} = leader as Member
      if (kind === 'kill') {
        signalAll(server(leader as Member), 'SIGKILL')
        return () => undefined
      }
      const stopped = [...treeOf(patroniProcess.pid as number), ...server(leader as Member)]
      signalAll(stopped, 'SIGSTOP')
      return () => signalAll(stopped, 'SIGCONT')
    },
    async switchover() {
      const answer = await fetch(`http://127.0.0.1:${leader?.api}/switchover`, {method: 'POST', body: JSON.stringify({leader: leader?.name})})
      if (!answer.ok) throw new Error(`Patroni refuses a switchover: ${await answer.text()}`)
    },
    async stop() {
      clearInterval(poll)
      for (const member of members) signalAll([...treeOf(member.process.pid as number), ...server(member)], 'SIGKILL')
      etcd.kill('SIGKILL')
    },
  }
  try {
    await patroni.whole()
  } catch (error) {
    await patroni.stop()
    throw error
  }
  return patroni
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({length: count}, () => new Promise<ReturnType<typeof createServer>>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
  })))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

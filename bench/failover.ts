/**
 * `npm run bench -- failover [ROUNDS]`: from a fault to the first acknowledged write, four writers, three servers on this machine: ours
 * through the endpoint, and Debian's Patroni 3 with etcd, all defaults, through a client that follows its leader (apt-get install
 * patroni etcd-server postgresql-15). Acknowledged writes are looked for afterwards. Another size for all servers, small and medium in turn. And what a synchronous
 * replica costs, by pgbench.
 *
 * BENCH_PARTS: which of `kill`, `hang`, `switchover`, `scale` (ours alone), `cost`; BENCH_SIDES: which of `ours`, `patroni`. Patroni's rounds take half a minute each.
 */
import {setTimeout as pause} from 'node:timers/promises'
import pg from 'pg'
import {temporaryFolder} from '../test/support/temporary.js'
import {lostOf, signalAll, treeOf, until, Writers, type Target} from './support-failover.js'
import {hasPatroni, startPatroni} from './support-patroni.js'
import {median, must, run, serverUser, temporarySite, verdict, type Site} from './support.js'

const rounds = Number(process.argv[2] ?? 10)
const parts = (process.env.BENCH_PARTS ?? 'kill,hang,switchover,scale,cost').split(',')
const sides = (process.env.BENCH_SIDES ?? 'ours,patroni').split(',')
const faults = (['kill', 'hang', 'switchover', 'scale'] as const).filter((fault) => parts.includes(fault))
const goals = {kill: 1000, hang: 4000, switchover: 1000, scale: 2000}
/** Nobody waits from their beginning, but from the last write. */
const isWished = (fault: (typeof faults)[number]): boolean => fault === 'switchover' || fault === 'scale'
const writerCount = 4
const say = (text: string): void => console.log(text)

interface Side {
  readonly name: string
  target(): Target | undefined
  whole(): Promise<void>
  /** Another cluster in its place. */
  renew?(): Promise<void>
  /** Looks at whatever has to be known first. The answer does it, and answers how to end it. */
  prepare(fault: (typeof faults)[number]): Promise<() => () => void>
  onChange?(listener: () => void): void
  /** What it tells of the last one. */
  told?(): Promise<string>
}

async function measure(side: Side, fault: (typeof faults)[number]): Promise<void> {
  const results: {firstMs: number; gapMs: number}[] = []
  let [lost, acknowledged] = [0, 0]
  for (let round = 1; round <= rounds; round++) {
    // the third hang within five minutes would be waited out: it might be the path that flaps
    if (fault === 'hang' && round % 2 === 1) await side.renew?.()
    await side.whole()
    const client = new pg.Client(side.target() as Target)
    await client.connect()
    await client.query('drop table if exists written')
    await client.query('create table written (id bigint primary key)')
    await client.end()
    const writers = new Writers(writerCount, () => side.target())
    side.onChange?.(() => writers.changed())
    await until('the writers write', () => writers.acknowledged.length > 200)
    const inflict = await side.prepare(fault)
    const at = performance.now()
    const after = inflict()
    const outcome = await until('a write is acknowledged again', () => writers.outcomeOf(at))
    await pause(500)
    await writers.stop()
    after()
    await side.whole()
    const missing = await lostOf(writers, side.target() as Target)
    lost += missing
    acknowledged += writers.acknowledged.length
    results.push(outcome)
    say(`  ${side.name}, ${fault}, round ${round}: first write after ${outcome.firstMs.toFixed(0)} ms, gap ${outcome.gapMs.toFixed(0)} ms, ${missing} of ${writers.acknowledged.length} lost${side.told ? `  ${await side.told()}` : ''}`)
  }
  const times = results.map(({firstMs, gapMs}) => (isWished(fault) ? gapMs : firstMs))
  const name = `${side.name}, ${fault}${isWished(fault) ? ', write gap' : ''}`
  if (side.name === 'dbaas') {
    say(verdict(`${name}, median`, median(times) / 1000, goals[fault] / 1000, 's'))
    if (fault === 'kill') say(verdict(`${name}, worst`, Math.max(...times) / 1000, 2, 's'))
    else say(`${`${name}, worst`.padEnd(44)} ${(Math.max(...times) / 1000).toFixed(2)} s`)
    say(verdict(`${name}, acknowledged writes lost`, lost, 0, 'writes'))
  } else say(`${`${name}, median and worst`.padEnd(44)} ${(median(times) / 1000).toFixed(2)} s, ${(Math.max(...times) / 1000).toFixed(2)} s; ${lost} of ${acknowledged} acknowledged writes lost`)
}

async function ourSide(site: Site, name: string): Promise<Side> {
  async function find(): Promise<Target> {
    const {credentials} = await site.json('credentials', name)
    const {host, port, username: user, password, database, ca_certificate: ca} = credentials
    return {host, port, user, password, database, ssl: {ca, servername: credentials.tls_server_name}}
  }
  let target = await find()
  /** A command that goes on after its writers do. */
  let going: Promise<unknown> | undefined
  const status = async () => (await site.json('status', name)).instance
  return {
    name: 'dbaas',
    target: () => target,
    async renew() {
      must(await site.run('delete', name, '--yes'), 'delete')
      must(await site.run('create', name, '--ha'), 'create')
      target = await find()
    },
    async whole() {
      await going
      await until('all replicas stream', async () => {
        const {replication, nodes} = await status()
        return replication.status === 'healthy' && replication.operation === null && nodes.every((node: {status: string; role: string; lag_bytes: number | null}) => node.status === 'running' && (node.role === 'primary' || node.lag_bytes !== null))
      })
    },
    async prepare(fault) {
      const {nodes, size} = await status()
      const primary = nodes.find((node: {role: string}) => node.role === 'primary')
      return () => {
        if (fault === 'switchover') going = site.run('switchover', name).then((ran) => must(ran, 'switchover'))
        else if (fault === 'scale') going = site.run('scale', name, '--size', size.name === 'small' ? 'medium' : 'small').then((ran) => must(ran, 'scale'))
        else signalAll(treeOf(primary.pid), fault === 'kill' ? 'SIGKILL' : 'SIGSTOP')
        return () => undefined
      }
    },
    async told() {
      const {operations} = await site.json('operations', 'list', '--instance', name)
      const last = operations.find((operation: {result: {phases?: unknown} | null}) => operation.result?.phases !== undefined)
      return last === undefined ? '' : `(${last.result.phases.map(({name: phase, ms}: {name: string; ms: number}) => `${phase} ${ms}`).join(', ')})`
    },
  }
}

/** pgbench's own transactions, through the endpoint, one server and three in turn. */
async function measureCost(site: Site): Promise<void> {
  must(await site.run('create', 'alone'), 'create')
  const tps = {alone: [] as number[], ledger: [] as number[]}
  for (const name of ['alone', 'ledger'] as const) must(await pgbench(site, name, '-i', '-q', '-s', '10'), 'pgbench -i')
  for (let round = 0; round < 3; round++) {
    for (const name of ['alone', 'ledger'] as const) {
      const {stdout} = must(await pgbench(site, name, '-n', '-c', '4', '-j', '2', '-T', '10'), 'pgbench')
      tps[name].push(Number(/^tps = ([\d.]+)/m.exec(stdout)?.[1]))
    }
  }
  const [alone, ledger] = [median(tps.alone), median(tps.ledger)]
  say(`pgbench, 4 clients: one server ${alone.toFixed(0)} tps, with high availability ${ledger.toFixed(0)} tps: ${(ledger / alone).toFixed(2)} ×`)
  must(await site.run('delete', 'alone', '--yes'), 'delete')
}

async function pgbench(site: Site, name: string, ...args: string[]) {
  const {url} = await site.json('url', name, '--format', 'env')
  return run(['sh', '-c', `${url}\nexec pgbench "$@"`, 'sh', ...args], {env: site.env})
}

const site = temporarySite('bench-failover')
const folder = temporaryFolder('bench-patroni')
try {
  must(await site.run('create', 'ledger', '--ha'), 'create')
  const ours = await ourSide(site, 'ledger')
  if (sides.includes('ours')) for (const fault of faults) await measure(ours, fault)
  if (parts.includes('cost')) await measureCost(site)
  if (sides.includes('patroni') && !hasPatroni()) say('PATRONI IS NOT MEASURED: apt-get install patroni etcd-server postgresql-15')
  else if (sides.includes('patroni')) {
    const patroni = await startPatroni(`${folder.path}/nodes`, serverUser())
    try {
      const theirs: Side = {
        name: 'Patroni', target: patroni.target, whole: patroni.whole, onChange: patroni.onChange,
        prepare: async (fault) => () => {
          if (fault === 'scale') throw new Error('it is not asked of Patroni')
          if (fault !== 'switchover') return patroni.fault(fault)
          void patroni.switchover()
          return () => undefined
        },
      }
      for (const fault of faults) if (fault !== 'scale') await measure(theirs, fault)
    } finally {
      await patroni.stop()
    }
  }
} finally {
  await site.dispose()
  folder.dispose()
}

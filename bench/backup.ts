/**
 * `npm run bench -- backup [SOURCE] [MiB]`: backups as the product takes them (archiver, engine, vault, in a process of their own)
 * beside pg_basebackup and Debian's pgbackrest (zstd, AES, as many processes as we have threads), on one server in one run:
 * first and second backup, restore, and what the foreground feels meanwhile. SOURCE: `debian` (PostgreSQL 15, the newest that Debian's
 * pgbackrest knows) or `bundled` (18, of the npm packages: pages that changed are all that is sent; the others do not know it).
 *
 * The log is in none of the figures but its own: nobody archives it here. BENCH_PARTS: which of `once`, `foreground`. BENCH_PROFILES: a folder
 * for CPU profiles of our process. BENCH_ROUNDS: first backups of each, in turn.
 */
import {existsSync, mkdirSync, rmSync, writeFileSync} from 'node:fs'
import {availableParallelism} from 'node:os'
import {join} from 'node:path'
import {randomBytes, randomUUID} from 'node:crypto'
import {setTimeout as sleep} from 'node:timers/promises'
import type {BackupOrder, TakenBackup} from '../src/agent/archiver/archiver.js'
import {steer} from '../src/agent/services/backup/pacing.js'
import {hold} from '../src/engines/postgresql/backup/hold.js'
import {postgresql} from '../src/engines/postgresql/index.js'
import {testSite, type TestServer} from '../test/engines/postgresql/backup/server.js'
import {bundledPrograms} from '../test/support/local-host.js'
import {temporaryFolder} from '../test/support/temporary.js'
import type {Used} from './support-archiver.js'
import {bundleArchiver, bytesBelow, debianBin, libpqEnvironment, pgbackrest, secondsOf, startForeground, startOurs, type Ours, type Pgbackrest} from './support-backup.js'
import {median, percentile, verdict} from './support.js'

const [source = 'debian', mebibytes = '2560'] = process.argv.slice(2)
const isDebian = source === 'debian'
const parts = (process.env['BENCH_PARTS'] ?? 'once,foreground').split(',')
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 2)
/** As the agent has: one for each core, four at most. */
const threads = Math.max(1, Math.min(4, availableParallelism()))
const MB = 1e6
const clients = 4
const perSecond = Number(process.env['BENCH_RATE'] ?? 150)
const quietSeconds = 30

const say = (text: string): void => console.log(text)
/** What has no goal. */
const ratio = (name: string, value: number): string => `${name.padEnd(44)} ${value.toFixed(2)} ×`
const megabytes = (bytes: number): string => `${(bytes / MB).toFixed(bytes < 100 * MB ? 1 : 0)} MB`

/** pgbench's tables, with room in the pages as tables that are updated have; a quarter of it is text. */
async function makeData(server: TestServer, env: NodeJS.ProcessEnv): Promise<number> {
  const scale = Math.max(1, Math.round((Number(mebibytes) * 0.75) / 16.9))
  await secondsOf(join(debianBin, 'pgbench'), ['-i', '-q', '-I', 'dtGvp', '-F', '90', '-s', String(scale)], env)
  const rows = Math.round((Number(mebibytes) * 0.25 * 1024 * 1024) / 270)
  await server.sql(`create table notes as select n as id, gen_random_uuid() as customer, (array['new','paid','packed','shipped','returned'])[1 + n % 5] as status,
    'order ' || n || ' of ' || md5((n % 5000)::text) || ' was ' || repeat('as agreed, and ', n % 5) || 'delivered to ' || md5(n::text) as note,
    (random() * 10000)::numeric(12,2) as amount, now() - n * interval '7 seconds' as placed from generate_series(1, ${rows}) n`)
  await server.sql('vacuum analyze notes')
  await server.sql('checkpoint')
  return scale
}

/** A row on every hundredth page of the largest table, in place. */
async function change(server: TestServer): Promise<number> {
  await server.sql(`update pgbench_accounts set abalance = abalance + 1 where ctid = any (array(
    select format('(%s,1)', page)::tid from generate_series(0, pg_relation_size('pgbench_accounts') / 8192 - 1, 100) page))`)
  await server.sql('checkpoint')
  return Number((await server.sql("select n_tup_upd::int as n from pg_stat_user_tables where relname = 'pgbench_accounts'"))[0]?.['n'])
}

const site = await testSite(isDebian ? debianBin : bundledPrograms)
const folder = temporaryFolder('bench-backup')
let server: TestServer | undefined
let ours: Ours | undefined
try {
  const program = await bundleArchiver(join(folder.path, 'program'))
  const keyPath = join(folder.path, 'key')
  writeFileSync(keyPath, randomBytes(32).toString('hex'), {mode: 0o600})
  const start = () => startOurs(program, {key: {kind: 'file', path: keyPath}, owner: 'site_bench', cache: join(folder.path, 'cache'), threads, environment: {}})
  const main = (server = await site.server('main', {
    max_wal_size: '4GB', shared_buffers: '256MB', max_slot_wal_keep_size: '8GB', checkpoint_timeout: '30s',
  }))
  const env = libpqEnvironment(main, folder.path)
  const scale = await makeData(main, env)
  const size = bytesBelow(main.host.paths.data) - bytesBelow(join(main.host.paths.data, 'pg_wal'))
  const rest: Pgbackrest | undefined = isDebian ? await pgbackrest(main, join(folder.path, 'pgbackrest'), threads, env) : undefined
  say(`PostgreSQL ${main.version}, ${megabytes(size)} (pgbench scale ${scale}, and text), ${threads} threads, Node ${process.versions.node}${rest ? `, ${rest.version}` : ''}`)

  const orderOf = (incarnation: string, previous: TakenBackup | null, pace: 'now' | 'gently' = 'now'): BackupOrder => ({
    archive: {repository: {kind: 'directory', location: join(folder.path, 'repository'), settings: {path: join(folder.path, 'repository')}, id: null, access: 'write'}, incarnation}, engine: 'postgresql', server: main.reader, pace,
    previous: previous && {snapshot: previous.snapshot, base: previous.base}, changesOnly: previous !== null,
    about: {backupId: randomUUID(), instanceId: 'bench', instanceName: 'bench', engine: 'postgresql', label: null, trigger: 'bench'},
  })
  const sayUsed = (what: string, {seconds, cpuSeconds, peakRssBytes}: Used, more = ''): void =>
    say(`${what.padEnd(44)} ${seconds.toFixed(2)} s  ${(size / MB / seconds).toFixed(0)} MB/s  ${cpuSeconds.toFixed(2)} CPU s  peak RSS ${(peakRssBytes / 1024 ** 2).toFixed(0)} MiB  ${more}`)
  const sayOther = (what: string, seconds: number, more = ''): void => say(`${what.padEnd(44)} ${seconds.toFixed(2)} s  ${(size / MB / seconds).toFixed(0)} MB/s  ${more}`)
  async function take(order: BackupOrder): Promise<{taken: TakenBackup; used: Used}> {
    ours = await start()
    const result = ours.expect('taken')
    ours.send({kind: 'take', order, bytesPerSecond: null})
    const {taken, used} = await result
    await ours.end()
    ours = undefined
    return {taken, used}
  }
  const pgBasebackup = (to: string) => secondsOf(join(debianBin, 'pg_basebackup'), ['-D', to, '-c', 'fast', '-X', 'none', '--no-slot'], env)

  if (parts.includes('once')) {
    const incarnation = randomUUID()
    const [mine, theirs, plain] = [[] as number[], [] as number[], [] as number[]]
    let first: TakenBackup | undefined
    let stored = 0
    for (let round = 0; round < rounds; round++) {
      await main.sql('checkpoint')
      const {taken, used} = await take(orderOf(round === 0 ? incarnation : randomUUID(), null))
      first ??= taken
      mine.push(used.seconds)
      sayUsed('first backup, ours', used, `stored ${megabytes(taken.storedBytes)}`)
      if (!rest) continue
      plain.push(await pgBasebackup(join(folder.path, 'plain')))
      sayOther('first backup, pg_basebackup, plain', plain.at(-1) as number)
      rmSync(join(folder.path, 'plain'), {recursive: true})
      const before = rest.storedBytes()
      theirs.push(await rest.backup('full'))
      stored = rest.storedBytes() - before
      sayOther('first backup, pgbackrest', theirs.at(-1) as number, `stored ${megabytes(stored)}`)
    }
    const changed = await change(main)
    say(`${changed} rows changed, each on a page of its own`)
    const before = rest?.storedBytes() ?? 0
    const second = await take(orderOf(incarnation, first as TakenBackup))
    sayUsed(`second backup, ours (${second.taken.base.method.kind})`, second.used, `received ${megabytes(second.taken.base.receivedBytes)}, stored ${megabytes(second.taken.storedBytes)}`)
    say(`    ${second.taken.base.method.because}`)
    let secondTheirs = 0
    let storedSecond = 0
    if (rest) {
      secondTheirs = await rest.backup('incr')
      storedSecond = rest.storedBytes() - before
      sayOther('second backup, pgbackrest, incremental', secondTheirs, `stored ${megabytes(storedSecond)}`)
    }
    // restores of the second
    const to = join(folder.path, 'restored')
    ours = await start()
    const restoring = ours.expect('restored')
    ours.send({kind: 'restore', archive: orderOf(incarnation, null).archive, engine: 'postgresql', snapshot: second.taken.snapshot, base: second.taken.base, folder: to})
    const {used: restored} = await restoring
    await ours.end()
    ours = undefined
    sayUsed('restore, ours', restored, megabytes(bytesBelow(to)))
    // the log is not in it, which is what it is told
    if (isDebian) {
      await secondsOf(join(debianBin, 'pg_verifybackup'), ['-n', '-i', 'dbaas-initialised', to])
      say('    pg_verifybackup accepts it')
    }
    rmSync(to, {recursive: true})
    if (rest) {
      mkdirSync(to, {mode: 0o700})
      const restoredTheirs = await rest.restore(to)
      sayOther('restore, pgbackrest', restoredTheirs, megabytes(bytesBelow(to)))
      rmSync(to, {recursive: true})
      say(verdict('first backup, to pgbackrest', median(mine) / median(theirs), 1.2))
      say(ratio('first backup, to pg_basebackup', median(mine) / median(plain)))
      say(verdict('second backup, to pgbackrest', second.used.seconds / secondTheirs, 1))
      say(verdict('bytes stored, first', (first as TakenBackup).storedBytes / stored, 1))
      say(verdict('bytes stored, both', ((first as TakenBackup).storedBytes + second.taken.storedBytes) / (stored + storedSecond), 1))
      say(verdict('restore, to pgbackrest', restored.seconds / restoredTheirs, 1.2))
    }
  }

  if (parts.includes('foreground')) {
    const incarnation = randomUUID()
    const order = orderOf(incarnation, null, 'gently')
    await hold(main.host, main.admin, 'bench')
    ours = await start()
    const lags: {at: number; seconds: number; bytes: number}[] = []
    ours.onReport((report) => {
      if (report.kind === 'status' && report.status.lagSeconds !== null) lags.push({at: Date.now(), seconds: report.status.lagSeconds, bytes: report.status.lagBytes})
    })
    ours.send({kind: 'follow', order: {archive: order.archive, engine: 'postgresql', server: main.reader, hold: 'bench', system: null, fresh: false}})
    await sleep(2000)
    const working = startForeground(env, join(folder.path, 'foreground'), clients, perSecond)
    const during: {what: string; from: number; to: number}[] = []
    /** From when it began, or from the moment that `work` says. */
    const phase = async (what: string, work: () => Promise<number | undefined>): Promise<void> => {
      const began = Date.now()
      const from = (await work()) ?? began
      during.push({what, from, to: Date.now()})
      await sleep(5000)
    }
    await sleep(5000)
    const nothing = async (seconds: number): Promise<undefined> => void (await sleep(seconds * 1000))
    await phase('nothing', () => nothing(quietSeconds))
    let least = Number.POSITIVE_INFINITY
    await phase('ours, gently', async () => {
      const pacing = await steer({engine: postgresql, host: main.host}, main.admin)
      const taken = (ours as Ours).expect('taken')
      const flowing = (ours as Ours).expect('flowing')
      ;(ours as Ours).send({kind: 'take', order, bytesPerSecond: pacing.limit()})
      const timer = setInterval(() => {
        least = Math.min(least, pacing.limit() ?? least)
        ours?.send({kind: 'limit', bytesPerSecond: pacing.limit()})
      }, 100)
      ours?.onReport((report) => report.kind === 'received' && pacing.received(report.bytes))
      // before that, the server writes what is in its memory: with its usual pace, so that nobody notices
      await flowing
      const from = Date.now()
      const {used} = await taken
      clearInterval(timer)
      await pacing.stop()
      sayUsed('first backup, ours, gently, with the wait', used)
      return from
    })
    if (rest) {
      await phase('pg_basebackup', () => pgBasebackup(join(folder.path, 'plain')).then(() => undefined))
      rmSync(join(folder.path, 'plain'), {recursive: true})
      await phase('pgbackrest', () => rest.backup('full').then(() => undefined))
    }
    await phase('nothing, again', () => nothing(quietSeconds))
    await working.stop()
    const flooding = startForeground(env, join(folder.path, 'flood'), clients, null)
    await sleep(1000)
    await phase('the log, as many transactions as can be', () => nothing(20))
    await flooding.stop()
    const peak = await ours.end()
    ours = undefined
    const latency = (what: string) => {
      const {from, to} = during.find((one) => one.what === what) as (typeof during)[number]
      return [...working.latencies(from, to), ...flooding.latencies(from, to)]
    }
    for (const {what, from, to} of during) {
      const found = latency(what)
      const behind = lags.filter(({at}) => at >= from && at <= to)
      const seconds = behind.map((one) => one.seconds)
      say(`${what.padEnd(44)} ${((to - from) / 1000).toFixed(1)} s, ${(found.length / ((to - from) / 1000)).toFixed(0)} transactions/s: p50 ${percentile(found, 50).toFixed(2)} ms, p95 ${percentile(found, 95).toFixed(2)} ms, p99 ${percentile(found, 99).toFixed(2)} ms; ` +
        `log behind: p50 ${percentile(seconds, 50).toFixed(2)} s, p99 ${percentile(seconds, 99).toFixed(2)} s, ${(percentile(behind.map((one) => one.bytes), 99) / MB).toFixed(1)} MB (${behind.length} looks)`)
    }
    const quiet = [...latency('nothing'), ...latency('nothing, again')]
    say(`least rate that the pace went down to: ${megabytes(least)}/s; peak RSS of our process, log and backup at once: ${(peak / 1024 ** 2).toFixed(0)} MiB`)
    say(verdict('p95 with our backup, to without', percentile(latency('ours, gently'), 95) / percentile(quiet, 95), 1.5))
    if (rest) say(ratio('p95 with pgbackrest, to without', percentile(latency('pgbackrest'), 95) / percentile(quiet, 95)))
  }
} catch (error) {
  process.stderr.write(`${server?.log().slice(-2000)}\n`)
  throw error
} finally {
  await ours?.end().catch(() => undefined)
  await site.close()
  if (existsSync(folder.path)) folder.dispose()
}

/**
 * `npm run bench -- postgresql-backup`: what the engine's side of backups takes by itself, without a repository. Receiving a base
 * backup, whole and of changes; the log, from the commit until it is on a disk; a recovery that is fed its log.
 */
import {cpSync} from 'node:fs'
import {open} from 'node:fs/promises'
import {join} from 'node:path'
import {monitorEventLoopDelay} from 'node:perf_hooks'
import {execFileSync} from 'node:child_process'
import {setTimeout as sleep} from 'node:timers/promises'
import pg from 'pg'
import type {BaseBackup, BaseBackupSink} from '../src/engines/backup.js'
import {baseBackup} from '../src/engines/postgresql/backup/base-backup.js'
import {follow} from '../src/engines/postgresql/backup/follow.js'
import {hold} from '../src/engines/postgresql/backup/hold.js'
import {parseLsn, parseSegment} from '../src/engines/postgresql/backup/lsn.js'
import {recovery} from '../src/engines/postgresql/backup/recovery.js'
import {testArchive} from '../test/engines/postgresql/backup/archive.js'
import {folderSink, makeFolders, previousIn} from '../test/engines/postgresql/backup/folder.js'
import {testSite, type TestServer} from '../test/engines/postgresql/backup/server.js'
import {bundledPrograms} from '../test/support/local-host.js'
import {temporaryFolder} from '../test/support/temporary.js'
import {percentile} from './support.js'

const megabytes = Number(process.env.BENCH_MB ?? 1024)
const seconds = Number(process.env.BENCH_SECONDS ?? 10)
const clients = 8
const never = new AbortController().signal
const MB = 1024 * 1024
const unlimited = {bytesPerSecond: () => null}

interface Measured<T> {
  readonly result: T
  readonly wall: number
  readonly cpu: number
  readonly longestBlockMs: number
}

async function measured<T>(work: () => Promise<T>): Promise<Measured<T>> {
  const delay = monitorEventLoopDelay({resolution: 1})
  delay.enable()
  const [began, cpu] = [performance.now(), process.cpuUsage()]
  const result = await work()
  const used = process.cpuUsage(cpu)
  delay.disable()
  return {result, wall: (performance.now() - began) / 1000, cpu: (used.user + used.system) / 1e6, longestBlockMs: delay.max / 1e6}
}
const say = (what: string, {wall, cpu, longestBlockMs}: Measured<unknown>, bytes: number): void =>
  console.log(`${what.padEnd(44)} ${(bytes / MB).toFixed(0).padStart(6)} MB  ${wall.toFixed(2)} s  ${(bytes / MB / wall).toFixed(0)} MB/s  ${cpu.toFixed(2)} CPU s (${(bytes / MB / cpu).toFixed(0)} MB/s of a core)  longest block ${longestBlockMs.toFixed(0)} ms`)

/** Reads everything, keeps nothing. */
const nothing: BaseBackupSink = {
  progress() {},
  begin() {},
  async write({content}) {
    let bytes = 0
    if (content.kind === 'whole') for await (const portion of content.bytes) bytes += portion.length
    else for await (const page of content.pages) bytes += page.bytes.length
    return bytes
  },
}

async function connections(server: TestServer): Promise<pg.Client[]> {
  const {host, port} = server.host.address()
  const {ca, certificate: cert, key, username: user} = server.admin
  return Promise.all(Array.from({length: clients}, async () => {
    const client = new pg.Client({host, port, user, database: 'postgres', ssl: {ca, cert, key, checkServerIdentity: () => undefined}})
    await client.connect()
    return client
  }))
}

const site = await testSite(process.env.BENCH_PROGRAMS ?? bundledPrograms)
const folder = temporaryFolder('bench')
let running: TestServer | undefined
try {
  const server = (running = await site.server('main', {max_wal_size: '4GB', shared_buffers: '256MB', max_slot_wal_keep_size: '8GB', autovacuum: 'off'}))
  await server.sql('create table t (n int, a text, b text, c numeric, d timestamptz)')
  for (let made = 0; made < megabytes; made += 64) {
    await server.sql(`insert into t select n, md5(n::text), md5((n * 7)::text) || md5((n * 13)::text), random() * 1e6, now() from generate_series(${made * 5000}, ${(made + 64) * 5000}) n`)
  }
  await server.sql('create index on t (n)')
  await server.sql('checkpoint')

  // ---- base backups
  const take = (sink: BaseBackupSink, previous: Parameters<typeof baseBackup.take>[1]['previous'] = null) =>
    measured(() => baseBackup.take(server.reader, {label: 'bench', pace: 'now', limit: unlimited, previous}, sink, never))
  for (let round = 0; round < 2; round++) {
    const whole = await take(nothing)
    say('base backup, whole, kept nowhere', whole, whole.result.receivedBytes)
  }
  const first = folderSink(join(folder.path, 'first'))
  const kept: Measured<BaseBackup> = await take(first)
  say('base backup, whole, into a folder', kept, kept.result.receivedBytes)
  makeFolders(first.path, kept.result)
  await server.sql('update t set c = c + 1 where n % 1000 = 0')
  const changes = await take(nothing, previousIn(first.path, kept.result))
  say(`base backup, ${changes.result.method.kind}, of ${(changes.result.bytes / MB).toFixed(0)} MB`, changes, changes.result.receivedBytes)

  // ---- the log
  await hold(server.host, server.admin, 'bench')
  for (const milliseconds of [0, 50, 1000]) {
    const archive = testArchive()
    const file = await open(join(folder.path, `log-${milliseconds}`), 'w')
    const durable: {end: number; at: number}[] = []
    archive.before = async ({bytes}) => {
      await file.write(bytes)
      await file.datasync()
    }
    archive.after = ({segment, start, bytes}) => void durable.push({end: parseSegment(segment).start + start + bytes.length, at: performance.now()})
    const controller = new AbortController()
    const following = follow(server.reader, {hold: 'bench', system: null, from: null, flush: {milliseconds, bytes: MB}}, archive, controller.signal)
    await sleep(1500)
    const commits: {lsn: number; at: number}[] = []
    const open_ = await connections(server)
    let wal = 0
    const run = await measured(async () => {
      const from = parseLsn(String((await server.sql('select pg_current_wal_insert_lsn() as lsn'))[0]?.['lsn']))
      const until = performance.now() + seconds * 1000
      await Promise.all(open_.map(async (client) => {
        while (performance.now() < until) {
          // a position before the commit's end: what is measured is at most a record too early
          const {rows: [row]} = await client.query('insert into t select n, md5(n::text), repeat(md5(n::text), 20), 1, now() from generate_series(1, 5) n returning pg_current_wal_insert_lsn()::text as lsn')
          commits.push({lsn: parseLsn(row.lsn), at: performance.now()})
        }
      }))
      wal = parseLsn(String((await server.sql('select pg_current_wal_insert_lsn() as lsn'))[0]?.['lsn'])) - from
    })
    await sleep(1500)
    controller.abort()
    await following
    const lags = commits.flatMap(({lsn, at}) => {
      const found = durable.find(({end}) => end > lsn)
      return found ? [Math.max(0, found.at - at)] : []
    })
    say(`the log, flushed every ${milliseconds} ms (${(commits.length / seconds).toFixed(0)} commits/s)`, run, wal)
    console.log(`    durable after the commit: p50 ${percentile(lags, 50).toFixed(1)} ms, p99 ${percentile(lags, 99).toFixed(1)} ms, at most ${percentile(lags, 100).toFixed(1)} ms (${durable.length} slices)`)
    for (const client of open_) await client.end()
    await file.close()
  }

  // ---- a recovery
  const archive = testArchive()
  await hold(server.host, server.admin, 'bench')
  const base = folderSink(join(folder.path, 'base'))
  const backup = await baseBackup.take(server.reader, {label: 'bench', pace: 'now', limit: unlimited, previous: null}, base, never)
  makeFolders(base.path, backup)
  for (let i = 0; i < 8; i++) await server.sql(`insert into t select n, md5(n::text), repeat(md5(n::text), 10), 1, now() from generate_series(1, 100000) n`)
  const end = parseLsn(String((await server.sql('select pg_current_wal_flush_lsn() as lsn'))[0]?.['lsn']))
  const controller = new AbortController()
  const catching = await measured(async () => {
    const following = follow(server.reader, {hold: 'bench', system: null, from: null, flush: {milliseconds: 50, bytes: 4 * MB}}, archive, controller.signal)
    for (let at = archive.end(); !at || parseSegment(at.segment).start + at.offset < end; at = archive.end()) await sleep(5)
    controller.abort()
    await following
  })
  say('the log, caught up into memory', catching, archive.slices.reduce((sum, {bytes}) => sum + bytes.length, 0))
  await server.stop()
  const planning = await measured(() => recovery.plan([backup], archive, {kind: 'latest'}))
  if (!planning.result.possible) throw new Error(planning.result.because)
  const {plan} = planning.result
  say('planning a recovery to the latest', planning, plan.logBytes)
  const timed = await measured(() => recovery.plan([backup], archive, {kind: 'transaction', id: '999999999'}))
  say('reading all of the log for a transaction', timed, plan.logBytes)
  const target = await site.place('restored', {max_wal_size: '4GB', shared_buffers: '256MB'})
  cpSync(base.path, target.host.paths.data, {recursive: true})
  execFileSync('sh', ['-c', 'chown -R $(stat -c %u:%g "$0") "$0" && chmod -R go= "$0"', target.host.paths.data])
  const recovering = await measured(async () => {
    await recovery.configure(target.host, plan, archive)
    await target.start()
    return recovery.follow(target.host, target.admin, plan, archive, {progress() {}, signal: never})
  })
  say('recovery, from the start to promoted', recovering, plan.logBytes)
  await target.stop('SIGQUIT')
} catch (error) {
  process.stderr.write(`${running?.log().slice(-2000)}\n`)
  throw error
} finally {
  await site.close()
  folder.dispose()
}

/** What `bench/backup.ts` measures with: our work in a process of its own, pgbackrest, pg_basebackup, pgbench in the foreground. */
import {type ChildProcess, execFile, fork, spawn} from 'node:child_process'
import {mkdirSync, readdirSync, readFileSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {promisify} from 'node:util'
import {agentThreads, buildModules} from '../scripts/build.js'
import type {ThreadData} from '../src/agent/archiver/protocol.js'
import type {TestServer} from '../test/engines/postgresql/backup/server.js'
import type {Order, Report} from './support-archiver.js'

const run = promisify(execFile)

/** Programs of PostgreSQL 15 and pgbackrest are Debian's: those of the npm packages are the server alone. */
export const debianBin = '/usr/lib/postgresql/15/bin'

/** Wall seconds of a program. */
export async function secondsOf(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<number> {
  const began = performance.now()
  await run(program, [...args], {env, maxBuffer: 64 * 1024 ** 2}).catch((error: {message: string; stdout?: string}) => {
    throw new Error(`${error.message}\n${error.stdout}`)
  })
  return (performance.now() - began) / 1000
}

export function bytesBelow(folder: string): number {
  return readdirSync(folder, {recursive: true, withFileTypes: true}).filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

/** How libpq reaches the server: over TCP and TLS, by certificate. */
export function libpqEnvironment({host, admin}: TestServer, folder: string): NodeJS.ProcessEnv {
  const address = host.address()
  const file = (name: string, content: string | Buffer): string => {
    const path = join(folder, name)
    writeFileSync(path, content, {mode: 0o600})
    return path
  }
  return {
    ...process.env, PGHOST: address.host, PGPORT: String(address.port), PGUSER: admin.username, PGDATABASE: 'postgres', PGSSLMODE: 'require',
    PGSSLCERT: file('client.crt', admin.certificate), PGSSLKEY: file('client.key', admin.key), PGSSLROOTCERT: file('ca.crt', admin.ca),
  }
}

// ---------------------------------------------------------------- ours

export interface Ours {
  send(order: Order): void
  /** The next report of that kind. Throws what the process failed with. */
  expect<Kind extends Report['kind']>(kind: Kind): Promise<Extract<Report, {kind: Kind}>>
  onReport(listener: (report: Report) => void): void
  /** Ends it; the most memory it had. */
  end(): Promise<number>
}

/** The bundle of the process and its threads, as it is shipped. */
export async function bundleArchiver(folder: string): Promise<string> {
  await buildModules({archiver: 'bench/support-archiver.ts', ...agentThreads}, folder)
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}')
  return join(folder, 'archiver.js')
}

export async function startOurs(program: string, data: ThreadData): Promise<Ours> {
  const profiles = process.env['BENCH_PROFILES']
  const child: ChildProcess = fork(program, [JSON.stringify(data)], {execArgv: profiles ? ['--cpu-prof', `--cpu-prof-dir=${profiles}`] : []})
  const listeners = new Set<(report: Report) => void>()
  const expect = <Kind extends Report['kind']>(kind: Kind): Promise<Extract<Report, {kind: Kind}>> => new Promise((resolve, reject) => {
    const listener = (report: Report): void => {
      if (report.kind !== kind && report.kind !== 'failed') return
      listeners.delete(listener)
      child.off('exit', ended)
      if (report.kind === 'failed') reject(new Error(report.because))
      else resolve(report as Extract<Report, {kind: Kind}>)
    }
    const ended = (code: number | null): void => reject(new Error(`our process ended (${code})`))
    listeners.add(listener)
    child.once('exit', ended)
  })
  child.on('message', (report: Report) => {
    for (const listener of [...listeners]) listener(report)
  })
  const ours: Ours = {
    send: (order) => void child.send(order),
    expect,
    onReport: (listener) => void listeners.add(listener),
    async end() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      const reported = expect('ended')
      child.send({kind: 'end'} satisfies Order)
      const {peakRssBytes} = await reported
      await ended
      return peakRssBytes
    },
  }
  await expect('ready')
  return ours
}

// ---------------------------------------------------------------- pgbackrest

export interface Pgbackrest {
  readonly version: string
  /** Wall seconds. Without the log: no archive is asked for, as ours are measured without theirs. */
  backup(type: 'full' | 'incr'): Promise<number>
  restore(folder: string): Promise<number>
  storedBytes(): number
}

export async function pgbackrest(server: TestServer, folder: string, processes: number, env: NodeJS.ProcessEnv): Promise<Pgbackrest> {
  mkdirSync(folder)
  const config = join(folder, 'pgbackrest.conf')
  const repository = join(folder, 'repository')
  for (const name of ['repository', 'log', 'lock', 'spool']) mkdirSync(join(folder, name))
  writeFileSync(config, [
    '[global]', `repo1-path=${repository}`, 'repo1-cipher-type=aes-256-cbc', 'repo1-cipher-pass=bench-bench-bench', 'repo1-bundle=y', 'compress-type=zst',
    `process-max=${processes}`, `log-path=${join(folder, 'log')}`, `lock-path=${join(folder, 'lock')}`, `spool-path=${join(folder, 'spool')}`, 'log-level-console=warn',
    'repo1-retention-full=9', '[bench]', `pg1-path=${server.host.paths.data}`, `pg1-port=${server.host.address().port}`, `pg1-user=${server.admin.username}`, '',
  ].join('\n'))
  const command = (name: string, ...more: string[]) => secondsOf('pgbackrest', [`--config=${config}`, '--stanza=bench', ...more, name], env)
  await command('stanza-create')
  return {
    version: (await run('pgbackrest', ['version'])).stdout.trim(),
    backup: (type) => command('backup', `--type=${type}`, '--no-archive-check', '--start-fast'),
    restore: (to) => command('restore', `--pg1-path=${to}`),
    storedBytes: () => bytesBelow(join(repository, 'backup')),
  }
}

// ---------------------------------------------------------------- foreground

export interface Foreground {
  /** Milliseconds of the transactions that ended between these moments (since the epoch); from when each was due. */
  latencies(from: number, to: number): number[]
  stop(): Promise<void>
}

/** pgbench's own transactions, so many a second (they come whether the last was answered or not); null: as many as can be. */
export function startForeground(env: NodeJS.ProcessEnv, folder: string, clients: number, perSecond: number | null): Foreground {
  mkdirSync(folder)
  const child = spawn(join(debianBin, 'pgbench'), [
    '-n', '-c', String(clients), '-j', '1', '-T', '3600', ...(perSecond === null ? [] : ['-R', String(perSecond)]), '-l', `--log-prefix=${join(folder, 'log')}`,
  ], {env, cwd: folder, stdio: 'ignore'})
  const ended = new Promise((resolve) => child.once('exit', resolve))
  return {
    latencies: (from, to) => readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').flatMap((line) => {
      const fields = line.split(' ')
      if (fields.length < 6) return []
      const at = Number(fields[4]) * 1000 + Number(fields[5]) / 1000
      return at >= from && at <= to ? [Number(fields[2]) / 1000] : []
    })),
    async stop() {
      child.kill('SIGINT')
      await ended
    },
  }
}

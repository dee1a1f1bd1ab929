/** A site of its own for a test: a home, the built CLI on it, and the certainty that nothing of it is left. */
import {spawn, spawnSync} from 'node:child_process'
import {existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync} from 'node:fs'
import type {Socket} from 'node:net'
import {basename, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {setTimeout as pause} from 'node:timers/promises'
import Database from 'better-sqlite3'
import type {Network} from './network.js'
import {temporaryFolder} from './temporary.js'

export const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Site {
  readonly home: string
  readonly env: NodeJS.ProcessEnv
  /** Runs bin/run.js; never throws for an exit code. */
  run(...args: string[]): Promise<Ran>
  /** Runs with --json; the one document on stdout. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read what the contract names
  json(...args: string[]): Promise<any>
  /** How clients reach it, where it is not on the test's own network. */
  readonly stream?: () => Socket
  dispose(): Promise<void>
}

export function run(argv: readonly string[], options: {env?: NodeJS.ProcessEnv; cwd?: string; input?: string; uid?: number; gid?: number} = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0] as string, argv.slice(1), {
      env: options.env ?? process.env, cwd: options.cwd ?? projectRoot, stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.uid === undefined ? {} : {uid: options.uid}), ...(options.gid === undefined ? {} : {gid: options.gid}),
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input ?? '')
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({code: code ?? (signal ? 128 : 1), stdout, stderr}))
  })
}

/** `home`: a name below the temporary folder, by default `home`. `network`: where all of it lives. */
export function temporarySite(name: string, options: {home?: string; folder?: string; env?: NodeJS.ProcessEnv; network?: Network} = {}): Site {
  const folder = temporaryFolder(name)
  const home = options.folder ?? join(folder.path, options.home ?? 'home')
  mkdirSync(home, {recursive: true, mode: 0o711})
  const env: NodeJS.ProcessEnv = {
    PATH: process.env.PATH, HOME: folder.path, DBAAS_HOME: home, NO_COLOR: '1', LANG: 'C.UTF-8',
    ...(process.env.DBAAS_FIRST_PORT ? {DBAAS_FIRST_PORT: process.env.DBAAS_FIRST_PORT} : {}), ...(process.env.npm_config_registry ? {npm_config_registry: process.env.npm_config_registry} : {}), ...options.env,
  }
  const cli = (...args: string[]) => run([...(options.network?.prefix ?? []), process.execPath, join(projectRoot, 'bin', 'run.js'), ...args], {env})
  return {
    home,
    env,
    ...(options.network ? {stream: options.network.stream} : {}),
    run: cli,
    async json(...args) {
      const {stdout, stderr, code} = await cli(...args, '--json')
      try {
        return JSON.parse(stdout)
      } catch {
        throw new Error(`dbaas ${args.join(' ')} --json printed no JSON (exit ${code}): ${stdout} ${stderr}`)
      }
    },
    async dispose() {
      const siteId = siteIdOf(home)
      await disposeHome(home, cli)
      if (siteId !== undefined) removeFromDocker(siteId)
      folder.dispose()
    },
  }
}

async function disposeHome(home: string, cli: (...args: string[]) => Promise<Ran>): Promise<void> {
  if (existsSync(join(home, 'metadata.db'))) {
    await cli('agent', 'stop')
  }
  const dataRoot = dataRootOf(home)
  for (let i = 0; i < 40; i++) {
    const left = processesOf([home, dataRoot])
    if (left.length === 0) break
    for (const {pid} of left) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // gone meanwhile
      }
    }
    await pause(50)
  }
  await removeGroups(dataRoot)
  if (dataRoot !== home) rmSync(dataRoot, {recursive: true, force: true})
}

/** Undefined where no agent ever ran. */
function siteIdOf(home: string): string | undefined {
  if (!existsSync(join(home, 'metadata.db'))) return undefined
  const db = new Database(join(home, 'metadata.db'), {readonly: true})
  try {
    return (db.prepare("SELECT value FROM settings WHERE name = 'site.id'").get() as {value: string} | undefined)?.value
  } catch {
    return undefined
  } finally {
    db.close()
  }
}

/** What a test that failed has left on a Docker engine. */
function removeFromDocker(siteId: string): void {
  if (!existsSync('/var/run/docker.sock')) return
  const docker = (...args: string[]): string[] => {
    const {stdout} = spawnSync('docker', args, {encoding: 'utf8'})
    return (stdout ?? '').split('\n').filter(Boolean)
  }
  const ours = ['--filter', `label=io.dbaas.site=${siteId}`, '--quiet']
  for (const id of docker('ps', '--all', ...ours)) docker('rm', '--force', '--volumes', id)
  for (const name of docker('volume', 'ls', ...ours)) docker('volume', 'rm', '--force', name)
  for (const id of docker('network', 'ls', ...ours)) docker('network', 'rm', id)
}

/** The folder of a home that the server user cannot reach (root's), found by the label in it. */
export function dataRootOf(home: string): string {
  const shared = '/var/lib/dbaas'
  // only root's homes have one, and only root may look
  if (process.getuid?.() !== 0 || !existsSync(shared)) return home
  for (const name of readdirSync(shared)) {
    const label = join(shared, name, 'home')
    if (existsSync(label) && readFileSync(label, 'utf8').trim() === home) return join(shared, name)
  }
  return home
}

/** Live processes whose working folder, environment or arguments name one of the folders. Linux only; else none. */
export function processesOf(folders: readonly string[]): {pid: number; what: string}[] {
  if (!existsSync('/proc/self')) return []
  const found: {pid: number; what: string}[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    try {
      if (/^State:\s+Z/m.test(readFileSync(`/proc/${name}/status`, 'utf8'))) continue
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
      const environment = readFileSync(`/proc/${name}/environ`, 'utf8')
      const cwd = readlinkSync(`/proc/${name}/cwd`)
      // the endpoint process works in / and names itself anew; its log tells whose it is
      const output = readlinkSync(`/proc/${name}/fd/1`)
      if (folders.some((f) => cwd === f || cwd.startsWith(`${f}/`) || output.startsWith(`${f}/`) || command.includes(f) || environment.split('\0').includes(`DBAAS_HOME=${f}`))) {
        found.push({pid, what: command})
      }
    } catch {
      // ended while we looked, or not ours to look at
    }
  }
  return found
}

/** A site whose agent and servers were killed could not take its control groups away itself. */
async function removeGroups(dataRoot: string): Promise<void> {
  const folders = (path: string): string[] =>
    existsSync(path) ? readdirSync(path, {withFileTypes: true}).filter((e) => e.isDirectory()).map((e) => join(path, e.name)) : []
  const nodes = new Set(folders(join(dataRoot, 'instances')).flatMap(folders).map((path) => basename(path)))
  const trees = ['/sys/fs/cgroup', ...folders('/sys/fs/cgroup')]
  for (const group of trees.flatMap(folders).filter((path) => basename(path).startsWith('dbaas-'))) {
    const ours = folders(group).filter((path) => nodes.has(basename(path)))
    for (const path of ours) await removeGroup(path)
    if (ours.length > 0 && folders(group).length === 0) rmdirSync(group)
  }
}

/** A large process that was killed is on its way out for a while, and no longer to be seen. */
async function removeGroup(path: string): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      return rmdirSync(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || i === 50) throw error
      await pause(100)
    }
  }
}

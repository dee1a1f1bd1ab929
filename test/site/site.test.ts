/** What the other suites stand on: the images, servers and the registry that scripts/site makes behave as the official ones. */
import assert from 'node:assert/strict'
import {spawn, spawnSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {chownSync, existsSync, mkdirSync, readFileSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import {createConnection} from 'mysql2/promise'
import pg from 'pg'
import {type Distribution, mariadbOrSkip, mysqlOrSkip, systemMariadbOrSkip} from '../support/databases.js'
import {docker, dockerOrSkip, images, registry, registryOrSkip} from '../support/docker.js'
import {freePort} from '../support/local-host.js'
import {temporaryFolder} from '../support/temporary.js'

/** Until it answers, or a minute has passed. */
async function eventually<T>(ask: () => Promise<T>): Promise<T> {
  const end = Date.now() + 60_000
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (Date.now() > end) throw error
      await pause(100)
    }
  }
}

async function askPostgresql(port: number, sql: string): Promise<string> {
  const client = new pg.Client({host: '127.0.0.1', port, user: 'owner', password: 'secret', database: 'app', connectionTimeoutMillis: 5_000})
  await client.connect()
  try {
    const {rows} = await client.query<unknown[]>({text: sql, rowMode: 'array'})
    return String(rows[0]?.[0])
  } finally {
    await client.end()
  }
}

async function askMysql(where: {port: number} | {socketPath: string}, sql: string, user = 'root', password = ''): Promise<string> {
  const connection = await createConnection({...('port' in where ? {host: '127.0.0.1'} : {}), ...where, user, password, connectTimeout: 5_000, rowsAsArray: true})
  try {
    const [rows] = await connection.query(sql)
    return String((rows as unknown[][])[0]?.[0])
  } finally {
    await connection.end()
  }
}

describe('the images of the tests', function () {
  this.timeout(120_000)
  dockerOrSkip(...Object.values(images))

  const servers = [
    {
      image: images.postgresql, port: '5432/tcp', volume: '/var/lib/postgresql', env: ['PG_MAJOR=18', 'PGDATA=/var/lib/postgresql/18/docker'], signal: 'SIGINT',
      settings: ['POSTGRES_USER=owner', 'POSTGRES_PASSWORD=secret', 'POSTGRES_DB=app'], arguments: ['-c', 'max_connections=33'], program: 'postgres',
      ask: (port: number) => askPostgresql(port, 'show max_connections'),
    },
    {
      image: images.mysql, port: '3306/tcp', volume: '/var/lib/mysql', env: ['MYSQL_MAJOR=9.7'], signal: undefined,
      settings: ['MYSQL_ROOT_PASSWORD=other', 'MYSQL_USER=owner', 'MYSQL_PASSWORD=secret', 'MYSQL_DATABASE=app'], arguments: ['--max-connections=33'], program: 'mysqld',
      ask: (port: number) => askMysql({port}, 'select @@max_connections', 'owner', 'secret'),
    },
    {
      image: images.mariadb, port: '3306/tcp', volume: '/var/lib/mysql', env: [], signal: undefined,
      settings: ['MARIADB_ROOT_PASSWORD=other', 'MARIADB_USER=owner', 'MARIADB_PASSWORD=secret', 'MARIADB_DATABASE=app'], arguments: ['--max-connections=33'], program: 'mariadbd',
      ask: (port: number) => askMysql({port}, 'select @@max_connections', 'owner', 'secret'),
    },
  ]
  for (const server of servers) {
    it(`${server.image}: initialises, serves as user 999, stops at its signal, and comes back with its data`, async () => {
      const {Config} = await docker.getImage(server.image).inspect()
      assert.deepEqual(Object.keys(Config.Volumes ?? {}), [server.volume])
      assert.ok(Object.keys(Config.ExposedPorts ?? {}).includes(server.port))
      for (const pair of server.env) assert.ok(Config.Env?.includes(pair), `${pair} is not in ${Config.Env?.join(' ')}`)
      if (server.signal) assert.equal((Config as {StopSignal?: string}).StopSignal, server.signal)

      const container = await docker.createContainer({
        Image: server.image, Env: server.settings, Cmd: server.arguments, Labels: {'dbaas-test': 'site'},
        HostConfig: {PortBindings: {[server.port]: [{HostIp: '127.0.0.1', HostPort: ''}]}},
      })
      try {
        for (const round of ['first', 'second']) {
          await container.start()
          const {State, NetworkSettings} = await container.inspect()
          const port = Number(NetworkSettings.Ports[server.port]?.[0]?.HostPort)
          assert.equal(await eventually(() => server.ask(port)), '33', `${round} start`)
          assert.equal(readFileSync(`/proc/${State.Pid}/comm`, 'utf8').trim(), server.program)
          assert.match(readFileSync(`/proc/${State.Pid}/status`, 'utf8'), /^Uid:\s+999\s/m)
          await container.stop({t: 30})
          assert.equal((await container.inspect()).State.ExitCode, 0)
        }
      } finally {
        await container.remove({force: true, v: true})
      }
    })
  }

  it('refuse to start without a password, and say so', async () => {
    for (const {image} of servers) {
      const container = await docker.createContainer({Image: image, Labels: {'dbaas-test': 'site'}})
      try {
        await container.start()
        assert.equal((await container.wait()).StatusCode, 1)
        const log = (await container.logs({stdout: true, stderr: true})).toString()
        assert.match(log, /Database is uninitialized and (superuser )?password (option )?is not specified/)
      } finally {
        await container.remove({force: true, v: true})
      }
    }
  })

  it(`${images.client} has the clients`, async () => {
    const container = await docker.createContainer({
      Image: images.client, Labels: {'dbaas-test': 'site'},
      Cmd: ['bash', '-ec', 'psql --version; mariadb --version; openssl version; ip -br link; getent hosts localhost'],
    })
    try {
      await container.start()
      assert.equal((await container.wait()).StatusCode, 0)
    } finally {
      await container.remove({force: true, v: true})
    }
  })
})

describe('the registry of the tests', function () {
  this.timeout(120_000)
  registryOrSkip()

  it('serves an image in layers, with progress and a digest', async () => {
    const name = `${registry}/${images.postgresql}`
    const seen = new Set<string>()
    const stream = await docker.pull(name)
    await new Promise<void>((resolve, reject) => {
      docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve()), (event: {status?: string}) => seen.add(event.status ?? ''))
    })
    const image = docker.getImage(name)
    try {
      for (const status of ['Downloading', 'Extracting', 'Pull complete']) assert.ok(seen.has(status), `${status} is not among: ${[...seen].join(', ')}`)
      assert.match((await image.inspect()).RepoDigests[0] ?? '', /^127\.0\.0\.1:5000\/postgres@sha256:[0-9a-f]{64}$/)
    } finally {
      await image.remove()
    }
  })
})

/** Starts the server as a user without rights, asks it, and stops it. */
async function serves(program: string, initialise: (data: string) => string[], options: readonly string[], sql: string): Promise<string> {
  const nobody = process.getuid?.() === 0 ? {uid: 65534, gid: 65534} : {}
  const folder = temporaryFolder('site')
  const [data, run] = [join(folder.path, 'data'), join(folder.path, 'run')]
  for (const path of [data, run]) {
    mkdirSync(path)
    if (nobody.uid !== undefined) chownSync(path, nobody.uid, nobody.gid)
  }
  const spawning = {...nobody, cwd: run, env: {PATH: '/usr/bin:/bin', HOME: run}}
  try {
    const [first, ...rest] = initialise(data) as [string, ...string[]]
    const made = spawnSync(first, rest, {...spawning, encoding: 'utf8'})
    assert.equal(made.status, 0, made.stderr + made.stdout)
    const socketPath = join(run, 's.sock')
    const server = spawn(program, ['--no-defaults', `--datadir=${data}`, `--socket=${socketPath}`, `--port=${await freePort()}`, '--bind-address=127.0.0.1', ...options], {...spawning, stdio: 'ignore'})
    const ended = new Promise<number | null>((resolve) => server.once('exit', resolve))
    try {
      const answer = await eventually(() => askMysql({socketPath}, sql))
      if (existsSync('/proc/self')) assert.equal(readlinkSync(`/proc/${server.pid}/exe`), program)
      return answer
    } finally {
      server.kill('SIGTERM')
      assert.equal(await ended, 0)
    }
  } finally {
    folder.dispose()
  }
}

function checksummed({tarball, sums}: Distribution): void {
  const hash = createHash('sha256').update(readFileSync(tarball)).digest('hex')
  assert.equal(readFileSync(sums, 'utf8'), `${hash}  ${tarball.split('/').at(-1)}\n`)
}

describe('the MySQL of the tests', function () {
  this.timeout(120_000)
  const mysql = mysqlOrSkip()

  it('runs for any user, with the plugins and defaults of the official tarball', async () => {
    const program = join(mysql.folder, 'bin/mysqld')
    const answer = await serves(program, (data) => [program, '--no-defaults', '--initialize-insecure', `--datadir=${data}`],
      ['--mysqlx=OFF', '--plugin-load=mysql_clone.so;semisync_source.so;semisync_replica.so;group_replication.so'],
      "select concat(version(), ' ', @@basedir, ' ', coalesce(@@secure_file_priv, 'NULL'), ' ', (select count(*) from information_schema.plugins where plugin_library is not null and plugin_status = 'ACTIVE'))")
    assert.match(answer, /^9\.7\.\d/)
    assert.ok(answer.endsWith(` ${mysql.folder}/ NULL 4`), answer)
    for (const component of ['component_keyring_file', 'component_validate_password']) assert.ok(existsSync(join(mysql.folder, `lib/plugin/${component}.so`)))
  })

  it('comes as a tarball with its checksum', () => {
    assert.match(mysql.tarball, /\/mysql-9\.7\.\d+-linux-glibc[0-9.]+-x86_64\.tar\.xz$/)
    checksummed(mysql)
  })
})

describe('the MariaDB of the tests', function () {
  this.timeout(120_000)
  const mariadb = mariadbOrSkip()

  it('runs for any user, with the plugins of the official tarball', async () => {
    const program = join(mariadb.folder, 'bin/mariadbd')
    const install = join(mariadb.folder, 'scripts/mariadb-install-db')
    const answer = await serves(program, (data) => [install, '--no-defaults', `--basedir=${mariadb.folder}`, `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
      [`--basedir=${mariadb.folder}`, '--plugin-load=server_audit'], "select concat(version(), ' ', (select plugin_status from information_schema.plugins where plugin_name = 'SERVER_AUDIT'))")
    assert.match(answer, /^10\.11\.\d+-MariaDB\S* ACTIVE$/)
  })

  it('comes as a tarball with its checksum', () => {
    assert.match(mariadb.tarball, /\/mariadb-10\.11\.\d+-linux-systemd-x86_64\.tar\.gz$/)
    checksummed(mariadb)
  })
})

describe("the machine's own MariaDB", function () {
  this.timeout(120_000)
  const program = systemMariadbOrSkip()

  it('runs for any user', async () => {
    const answer = await serves(program, (data) => ['/usr/bin/mariadb-install-db', '--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'], [], 'select version()')
    assert.match(answer, /^10\.11\./)
  })
})

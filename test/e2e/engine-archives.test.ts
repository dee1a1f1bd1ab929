/** Real servers from official tarballs and folders, by the command line: verified, killed half way, run, and removed again. */
import assert from 'node:assert/strict'
import {cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync} from 'node:fs'
import {basename, join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import type {ApiEngine, ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {fileServer, type FileServer} from '../support/archives.js'
import {connectTo, type TestClient} from '../support/clients.js'
import {mariadbOrSkip, mysqlOrSkip, systemMariadbOrSkip} from '../support/databases.js'
import {docker, dockerOrSkip, registry, registryOrSkip} from '../support/docker.js'
import {assertRefused, refuse, type Refusal} from '../support/refusal.js'
import {dataRootOf, temporarySite} from '../support/site.js'

type Row = ApiEngine['versions'][number]

/** Its backups go on by themselves meanwhile. */
const withoutBackups = (instance: ApiInstance): object => ({...instance, backup: null, status_reason: null, updated_at: null})

describe('engines from archives', function () {
  this.timeout(300_000)

  for (const [engine, orSkip] of [['mysql', mysqlOrSkip], ['mariadb', mariadbOrSkip]] as const) {
    describe(engine, () => {
      const files = orSkip()
      const site = temporarySite(`archive-${engine}`, {env: {DBAAS_POOL_SIZE: '0'}})
      const cli = (...argv: string[]) => site.run(...argv)
      const name = basename(files.tarball)
      const version = /-(\d+\.\d+\.\d+)-/.exec(name)?.[1] as string
      const series = version.split('.').slice(0, 2).join('.')
      let server: FileServer
      let client: TestClient
      let atFirst: unknown
      before(async () => {
        server = await fileServer({[`/pub/${name}`]: files.tarball, '/pub/sha256sums.txt': files.sums, [`/bare/${name}`]: files.tarball})
        assert.equal((await site.run('create', 'steady', '--size', 'micro', '--set', 'work_mem=7MB')).code, 0)
        client = await connectTo(site, 'steady')
        // lives as long as the session does
        await client.query("create temporary table mine as select 'kept' as word")
        atFirst = await neighbour()
      })
      after(async () => {
        await client?.close()
        await server.close()
        await site.dispose()
      })
      /** All that anybody could notice of the instance that was there before. */
      const neighbour = async (): Promise<unknown> => ({
        instance: withoutBackups((await site.json('status', 'steady')).instance),
        parameters: await site.json('config', 'show', 'steady', '--all'),
        server: await client.query('select pg_backend_pid(), pg_postmaster_start_time(), pg_conf_load_time(), (select word from mine)'),
      })
      const url = (): string => `${server.url}/pub/${name}`
      const rows = async (): Promise<Row[]> =>
        ((await site.json('engines', 'list')) as {engines: ApiEngine[]}).engines.find((e) => e.name === engine)?.versions.filter((v) => v.source === 'archive') ?? []
      const store = (): string[] => {
        const folder = join(dataRootOf(site.home), 'engines', engine)
        return existsSync(folder) ? readdirSync(folder) : []
      }
      const runs = async (instance: string): Promise<void> => {
        const {instance: made, error} = await site.json('create', instance, '--engine', engine, '--version', series, '--size', 'micro')
        assert.equal(made?.status, 'running', JSON.stringify(error))
        assert.ok((await site.json('sql', instance, 'select version()')).rows[0][0].startsWith(version))
      }

      /** By an operation, which each time is another. */
      const fails = async (argv: readonly string[], refusal: Refusal): Promise<void> =>
        void assertRefused(await cli(...argv, '--json'), refusal, `dbaas ${argv.join(' ')}`)

      it('is refused where nothing says what the file must be, or something says it is another', async () => {
        await fails(['engines', 'install', `${engine}@${series}`, '--from', `${server.url}/bare/${name}`], {
          code: 'USAGE', names: /nothing to verify/, suggests: new RegExp(`^dbaas engines install ${engine}@${series} --from ${server.url}/bare/\\S+ --checksum sha256:HEX$`, 'm'),
        })
        await fails(['engines', 'install', engine, '--from', files.tarball, '--checksum', `sha256:${'0'.repeat(64)}`], {
          code: 'INTEGRITY_MISMATCH', names: /that was given/, suggests: /download page/,
        })
        await refuse(cli, ['engines', 'install', engine, '--from', files.tarball, '--checksum', `md5:${'0'.repeat(32)}`], {
          code: 'INVALID_REQUEST', names: /MD5 is no checksum to trust/, suggests: /sha256sum/,
        })
        await fails(['engines', 'install', `${engine}@${engine === 'mysql' ? '8.4' : '11.4'}`, '--from', files.tarball], {
          code: 'UNKNOWN_VERSION', names: new RegExp(`holds (MySQL|MariaDB) ${version}, and [\\d.]+ was asked for`), suggests: new RegExp(`@${version} --from`),
        })
        await refuse(cli, ['engines', 'install', engine, '--from', 'no/such.tar.gz'], {code: 'FILE_NOT_FOUND', names: /no such file/, suggests: /ls -ld/})
        await fails(['engines', 'install', engine === 'mysql' ? 'mariadb' : 'mysql', '--from', files.folder], {
          code: 'UNKNOWN_VERSION', names: /no program mariadbd|holds no MySQL/, suggests: /./,
        })
        assert.deepEqual(store(), [])
      })

      it('comes from the web, its checksum found beside it, and goes on after the agent was killed', async () => {
        server.bad.rate = 30 * 1024 ** 2
        server.requests.length = 0
        const started = await site.json('engines', 'install', `${engine}@${series}`, '--from', url(), '--no-wait')
        const id = (started.operation as ApiOperation).id
        const partial = (): string | undefined => store().find((entry) => entry.startsWith('.download-'))
        const began = server.sent()
        while (server.sent() - began < 8 * 1024 ** 2) await pause(20)
        process.kill((await site.json('agent', 'status')).agent.pid, 'SIGKILL')
        await pause(100)
        assert.ok(partial() !== undefined && readFileSync(join(dataRootOf(site.home), 'engines', engine, partial() as string, 'archive')).length > 0)
        delete server.bad.rate
        const waited = await site.json('operations', 'wait', id)
        assert.equal(waited.operation?.status, 'succeeded', JSON.stringify(waited))
        assert.deepEqual(waited.operation.steps.map((s: {name: string}) => s.name), ['download', 'verify', 'unpack', 'check'])
        assert.ok(server.requests.some(({path, range}) => path === `/pub/${name}` && Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1]) > 0), 'it was downloaded from the start')
        assert.deepEqual(store(), [version])
        const checksum = `sha256:${readFileSync(files.sums, 'utf8').split(' ')[0]}`
        const [row] = await rows()
        assert.deepEqual([row?.version, row?.installed, row?.runtime, row?.checksum], [version, true, 'process', checksum])
        const again = await site.run('engines', 'install', `${engine}@${version}`, '--from', url())
        assert.match(again.stdout, new RegExp(`${engine} ${version} was already installed`))
      })

      it('runs databases, and cannot be removed under them', async () => {
        await runs('first')
        await refuse(cli, ['engines', 'remove', `${engine}@${series}`], {code: 'ENGINE_IN_USE', names: new RegExp(version), suggests: /dbaas delete first/})
        assert.equal((await site.run('delete', 'first', '--yes')).code, 0)
        const removed = await site.run('engines', 'remove', `${engine}@${version}`)
        assert.equal(removed.code, 0, removed.stderr)
        assert.deepEqual(await rows(), [])
        assert.deepEqual(store(), [])
      })

      it('comes from a file and from a folder, and leaves nothing when it is cancelled', async () => {
        const plan = (await site.json('engines', 'install', engine, '--from', files.folder, '--plan')).plan
        assert.deepEqual(plan.steps, ['copy', 'check'])
        server.bad.rate = 5 * 1024 ** 2
        const started = await site.json('engines', 'install', engine, '--from', url(), '--no-wait')
        while (!store().some((entry) => entry.startsWith('.download-'))) await pause(20)
        await pause(300)
        assert.equal((await site.run('operations', 'cancel', started.operation.id)).code, 0)
        delete server.bad.rate
        assert.deepEqual(store(), [])
        // by a link and a relative name, as people have them
        mkdirSync(join(site.home, '..', 'down'))
        symlinkSync(files.tarball, join(site.home, '..', 'down', 'latest.tar'))
        const made = await site.json('engines', 'install', engine, '--from', join(site.home, '..', 'down', 'latest.tar'))
        assert.deepEqual([made.operation?.result?.version, made.operation?.result?.already], [version, false], JSON.stringify(made))
        assert.equal((await site.run('engines', 'remove', engine, series)).code, 0)
        const copied = await site.run('engines', 'install', `${engine}@${series}`, '--from', files.folder)
        assert.equal(copied.code, 0, copied.stderr)
        assert.equal((await rows())[0]?.checksum, null)
        await runs('second')
        assert.equal((await site.run('delete', 'second', '--yes')).code, 0)
      })

      // Feature: enterprise-dbaas-platform, Property 2: Engine Addition Stability
      // Iterations: real: downloads, installs, creates, deletes and removals of MySQL and of MariaDB
      it('has changed no process id, setting, or open connection of the PostgreSQL that was there before', async () => {
        assert.deepEqual(await neighbour(), atFirst)
      })
    })
  }

  describe('what is found on the machine', () => {
    systemMariadbOrSkip()
    const site = temporarySite('archive-system', {env: {DBAAS_POOL_SIZE: '0'}})
    after(() => site.dispose())

    it('is MariaDB, whatever its links are called, and no MySQL; how to get that is said', async () => {
      const {engines, notes} = (await site.json('engines', 'list')) as {engines: ApiEngine[]; notes: string[]}
      const of = (name: string): ApiEngine => engines.find((e) => e.name === name) as ApiEngine
      const found = of('mariadb').versions.find((v) => v.source === 'system')
      assert.deepEqual([found?.path, found?.installed, found?.checksum], ['/usr/sbin', true, null])
      assert.deepEqual(of('mysql').versions.filter((v) => v.source === 'system' && v.path === '/usr/sbin'), [])
      assert.ok(Array.isArray(notes))
      if (of('mysql').versions.some((v) => v.runtime === 'process')) return
      for (const argv of [['engines', 'install', 'mysql'], ['engines', 'install', 'mysql@8.4'], ['create', 'x', '--engine', 'mysql', '--runtime', 'process']]) {
        await refuse((...a) => site.run(...a), argv, {code: 'ENGINE_NOT_INSTALLED', names: /MySQL/, suggests: /--from[\s\S]*--runtime docker/})
      }
      if (of('mysql').versions.length > 0) return
      assert.match(of('mysql').hints.join('\n'), /--from/)
      assert.match((await site.run('engines', 'list')).stdout, /none found: MySQL/)
    })

    it('is not installed from a path of this machine by an agent of another', async () => {
      assert.equal((await site.run('context', 'add', 'far', '--url', 'https://db.example.invalid:8443')).code, 0)
      await refuse((...a) => site.run(...a), ['engines', 'install', 'mysql', '--from', './x.tar.gz', '--context', 'far'], {
        code: 'USAGE', names: /path of this machine, and the agent of the context far is on another/, suggests: /--from https/,
      })
    })
  })

  describe('an image', () => {
    dockerOrSkip()
    registryOrSkip()
    const site = temporarySite('archive-image', {env: {DBAAS_POOL_SIZE: '0'}})
    const reference = `${registry}/postgres:18`
    after(async () => {
      await site.dispose()
      // the next pull is a real one again
      await docker.getImage(reference).remove({force: true}).catch(() => undefined)
    })

    it('is what an install for Docker pulls, by its reference and its digest, and is listed beside the programs', async () => {
      const wrong = await site.run('engines', 'install', 'postgresql', '--runtime', 'docker', '--image', reference, '--checksum', `sha256:${'0'.repeat(64)}`, '--json')
      assertRefused(wrong, {code: 'INTEGRITY_MISMATCH', names: /digest/, suggests: /./}, 'a wrong digest')
      const made = await site.json('engines', 'install', 'postgresql@18', '--runtime', 'docker', '--image', reference)
      assert.deepEqual([made.operation?.status, made.operation?.result?.runtime, made.operation?.result?.source], ['succeeded', 'docker', 'image'], JSON.stringify(made))
      const {engines} = (await site.json('engines', 'list')) as {engines: ApiEngine[]}
      const rows = engines.find((e) => e.name === 'postgresql')?.versions ?? []
      assert.ok(rows.some((v) => v.runtime === 'docker' && v.source === 'image' && v.installed), JSON.stringify(rows))
      assert.ok(rows.some((v) => v.runtime === 'process' && v.source === 'bundled'))
      assert.deepEqual((await site.json('engines', 'install', 'postgresql', '--runtime', 'docker', '--from', reference, '--plan')).plan.steps, ['install'])
    })
  })

  describe('postgresql', () => {
    const site = temporarySite('archive-postgresql', {env: {DBAAS_POOL_SIZE: '0'}})
    after(() => site.dispose())

    it('comes from a folder, too, instead of the one that came along', async () => {
      const {engines} = (await site.json('engines', 'list')) as {engines: ApiEngine[]}
      const bundled = engines.find((e) => e.name === 'postgresql')?.versions.find((v) => v.source === 'bundled') as Row
      // made in the store by its first use, with the links that npm's package lacks
      assert.equal((await site.run('engines', 'install', `postgresql@${bundled.version}`)).code, 0)
      const folder = join(site.home, '..', 'built')
      cpSync(join(bundled.path as string, '..'), folder, {recursive: true, verbatimSymlinks: true})
      assert.equal((await site.run('engines', 'remove', `postgresql@${bundled.version}`)).code, 0)
      const made = await site.json('engines', 'install', 'postgresql@18', '--from', folder)
      assert.equal(made.operation?.result?.source, 'archive', JSON.stringify(made))
      const {instance, error} = await site.json('create', 'pg', '--version', '18', '--size', 'micro')
      assert.equal(instance?.status, 'running', JSON.stringify(error))
      assert.equal((await site.json('sql', 'pg', 'show server_version')).rows[0][0], bundled.version)
      assert.equal((await site.run('delete', 'pg', '--yes')).code, 0)
    })
  })
})

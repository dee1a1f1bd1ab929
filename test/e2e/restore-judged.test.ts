/** What restores write and serve, judged by PostgreSQL's own programs (Debian's, of version 15) and by nothing of ours. */
import assert from 'node:assert/strict'
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import type {ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {needOrSkip} from '../support/need.js'
import {dataRootOf, run, type Ran} from '../support/site.js'
import {superuser} from '../support/superuser.js'
import {temporaryFolder} from '../support/temporary.js'
import {until} from '../support/until.js'

const debian15 = '/usr/lib/postgresql/15/bin'
const programs = ['postgres', 'pg_verifybackup', 'pg_amcheck']

for (const major of [15, 18]) {
  describe(`a restore of PostgreSQL ${major}`, function () {
    this.timeout(300_000)
    needOrSkip(() => {
      const missing = programs.filter((name) => !existsSync(join(debian15, name)))
      return missing.length === 0 ? undefined : `there is no ${missing.join(', ')} in ${debian15}: apt-get install postgresql-contrib`
    })
    const folder = temporaryFolder('judged')
    const root = superuser()
    let agent: InProcess
    /** What the program said of the files that were restored, which no server has seen yet; and again, when one of them was damaged. */
    let judged: Promise<{files: Ran; damaged: Ran}> | undefined

    const get = async (name: string): Promise<ApiInstance> => (await agent.client.call('instances.get', {params: {instance: name}})).instance
    const sql = (name: string, statement: string) => agent.client.call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: freshKey()})
    const finish = async (answer: object): Promise<void> => {
      const operation = await agent.finish((answer as {operation: ApiOperation}).operation)
      assert.equal(operation.status, 'succeeded', JSON.stringify(operation.error))
    }

    before(async () => {
      agent = await startInProcess(`judged-${major}`, {
        poolSize: 0, engines: root.engines,
        async probe({kind, step, when}) {
          if (major !== 15 || kind !== 'instance.restore' || step !== 'restore-files' || when !== 'stored') return
          judged = judge()
          // what it throws is for the test, not for the restore
          await judged.catch(() => undefined)
        },
      })
      const made = await agent.create({name: 'demo', size: 'micro', version: String(major)})
      assert.equal(made.status, 'succeeded', JSON.stringify(made.error))
      await until('the first backup', async () => (await get('demo')).backup.recoverable_to !== null, 90)
      await sql('demo', 'create table t as select n, md5(n::text) as text from generate_series(1, 20000) n')
      await sql('demo', 'create index on t (text)')
      await sql('demo', 'create index on t using hash (n)')
      await sql('demo', "create table documents as select n, jsonb_build_object('n', n, 'text', repeat(md5(n::text), 200)) as body from generate_series(1, 500) n")
      await sql('demo', 'create index on documents using gin (body)')
      await sql('demo', 'select lo_from_bytea(0, decode(repeat(md5(n::text), 500), \'hex\')) from generate_series(1, 20) n')
      await finish(await agent.client.call('backups.create', {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()}))
      // made of an earlier backup and of changes, and followed by log
      await sql('demo', "update t set text = 'changed' where n % 500 = 0")
      await sql('demo', 'delete from documents where n % 3 = 0')
      await sql('demo', 'create table late as select * from t')
      await finish(await agent.client.call('backups.create', {params: {instance: 'demo'}, body: {}, idempotencyKey: freshKey()}))
      await sql('demo', "insert into late select n, 'after the backup' from generate_series(1, 5000) n")
    })
    after(async () => {
      await agent?.dispose()
      folder.dispose()
    })
    /** The folder of its data, found by the server's list of the files of a backup. */
    const dataOf = async (name: string): Promise<string> => {
      const its = join(dataRootOf(agent.site.home), 'instances', (await get(name)).id)
      const [found] = readdirSync(its, {recursive: true, encoding: 'utf8'}).filter((path) => path.endsWith('backup_manifest'))
      assert.ok(found, `no backup_manifest below ${its}`)
      return join(its, dirname(found))
    }
    // The marker of ours is not restored: it says that all else is there. The log comes after the files.
    const verify = (data: string): Promise<Ran> => run([join(debian15, 'pg_verifybackup'), '--no-parse-wal', '--ignore=dbaas-initialised', data])
    async function judge(): Promise<{files: Ran; damaged: Ran}> {
      const data = await dataOf('copy')
      const files = await verify(data)
      const catalogue = join(data, 'base/1/1259')
      const good = readFileSync(catalogue)
      const bad = Buffer.from(good)
      bad[5000] = (bad[5000] as number) ^ 1
      // in place, so that it stays whose it is
      writeFileSync(catalogue, bad)
      const damaged = await verify(data)
      writeFileSync(catalogue, good)
      return {files, damaged}
    }

    it('serves what pg_amcheck finds nothing wrong with, in every table and index of every database', async () => {
      await finish(await agent.client.call('instances.restore', {params: {instance: 'demo'}, body: {to: 'latest', into: 'copy'}, idempotencyKey: freshKey()}))
      const {certificate, key, ca, username} = root.credentials()
      const {host, port} = root.host('copy').address()
      const file = (name: string, text: string): string => {
        writeFileSync(join(folder.path, name), text, {mode: 0o600})
        return join(folder.path, name)
      }
      const checked = await run(
        [join(debian15, 'pg_amcheck'), '--all', '--install-missing', '--heapallindexed', '--parent-check', '--rootdescend', '--verbose', '--host', host, '--port', String(port), '--username', username],
        {env: {...process.env, PGSSLMODE: 'verify-ca', PGSSLROOTCERT: file('ca', ca), PGSSLCERT: file('certificate', certificate), PGSSLKEY: file('key', key)}},
      )
      assert.equal(checked.code, 0, checked.stdout + checked.stderr.slice(-2000))
      const of = (what: RegExp) => checked.stderr.match(what)?.length ?? 0
      assert.ok(of(/checking heap table/g) > 100 && of(/checking btree index/g) > 200, checked.stderr.slice(-2000))
      assert.match(checked.stderr, /checking heap table "[^"]+\.late"/)
    })

    if (major === 15) {
      it('wrote what pg_verifybackup accepts, which finds one flipped bit', async () => {
        assert.ok(judged)
        const {files, damaged} = await judged
        assert.deepEqual([files.code, files.stderr, files.stdout], [0, '', 'backup successfully verified\n'])
        assert.equal(damaged.code, 1)
        assert.match(damaged.stderr, /checksum mismatch for file "base\/1\/1259"/)
      })
    }
  })
}

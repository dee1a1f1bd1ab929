import assert from 'node:assert/strict'
import {readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import type {CheckReport} from '../../../../src/engines/backup.js'
import {check} from '../../../../src/engines/postgresql/backup/check.js'
import {pageBytes, pageChecksum} from '../../../../src/engines/postgresql/backup/page-checksum.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {untilReady} from '../../conformance.js'
import {backupSources, testSite, type TestServer, type TestSite} from './server.js'

for (const {name, source} of backupSources()) {
  describe(`checks of ${name}`, function () {
    this.timeout(120_000)
    let site: TestSite
    let server: TestServer

    const run = (signal = new AbortController().signal): Promise<CheckReport> => check(server.host, server.admin, {progress() {}, signal})
    /** Changes a page on the disk, and gives it a right checksum: as a fault of the server or of a backup would. */
    async function damage(relation: string, suffix: string, block: number, change: (page: Buffer) => void): Promise<void> {
      const path = String((await server.sql(`select pg_relation_filepath('${relation}') as path`))[0]?.['path']) + suffix
      await server.stop('SIGINT')
      const file = join(server.host.paths.data, path)
      const bytes = readFileSync(file)
      const page = bytes.subarray(block * pageBytes, (block + 1) * pageBytes)
      change(page)
      page.writeUInt16LE(pageChecksum(page, block), 8)
      writeFileSync(file, bytes)
      await server.start()
      await untilReady(postgresql, server.host, server.admin, server)
    }

    before(async () => {
      site = await testSite(source)
      server = await site.server('main', {autovacuum: 'off'})
      await server.sql('create table t (n int primary key, words tsvector, big text)')
      await server.sql("insert into t select n, to_tsvector('simple', md5(n::text)), case when n % 100 = 0 then (select string_agg(md5(i::text), '') from generate_series(1, 400) i) end from generate_series(1, 20000) n")
      await server.sql('create index words on t using gin (words)')
      await server.sql('create index brin on t using brin (n)')
      await server.sql('create table seen (n int)')
      await server.sql('insert into seen select generate_series(1, 1000)')
      await server.sql('vacuum seen, t')
    })
    after(() => site?.close())

    it('find nothing in a server that is well, and leave nothing behind', async () => {
      const before = await server.sql('select oid from pg_class union all select oid from pg_extension union all select oid from pg_namespace')
      const report = await run()
      assert.deepEqual(report.findings, [])
      assert.ok(report.databases >= 3 && report.tables > 150 && report.indexes > 300, JSON.stringify(report))
      assert.ok(report.rows > 21_000)
      assert.ok(report.skipped.some(({object, because}) => object.includes('brin') && /no check of an index of the kind brin/.test(because)))
      assert.equal(report.skipped.some(({object}) => object.includes('words')), server.major < 18)
      assert.deepEqual(await server.sql('select oid from pg_class union all select oid from pg_extension union all select oid from pg_namespace'), before)
    })

    it('find an index out of order', async () => {
      // two line pointers of the first leaf change places
      await damage('t_pkey', '', 1, (page) => {
        const [a, b] = [page.readUInt32LE(24 + 4 * 5), page.readUInt32LE(24 + 4 * 9)]
        page.writeUInt32LE(b, 24 + 4 * 5)
        page.writeUInt32LE(a, 24 + 4 * 9)
      })
      const {findings} = await run()
      assert.ok(findings.some(({object, because}) => object === 'postgres: public.t_pkey' && /order invariant violated/.test(because)), JSON.stringify(findings))
    })

    it('find rows that are said to be visible to all, and are not', async () => {
      await server.sql('update seen set n = n + 1 where n < 10')
      // both bits of the first page, as a map that was not kept up to date has them
      await damage('seen', '_vm', 0, (page) => { page[24] = (page[24] as number) | 3 })
      const {findings} = await run()
      assert.ok(findings.some(({object, because}) => object === 'postgres: public.seen' && /not visible to all/.test(because)), JSON.stringify(findings))
    })

    it('find a page that cannot be read', async () => {
      const path = String((await server.sql("select pg_relation_filepath('t') as path"))[0]?.['path'])
      const file = join(server.host.paths.data, path)
      await server.stop('SIGINT')
      const bytes = readFileSync(file)
      bytes[3 * pageBytes + 4000] = (bytes[3 * pageBytes + 4000] as number) ^ 1
      writeFileSync(file, bytes)
      await server.start()
      await untilReady(postgresql, server.host, server.admin, server)
      const {findings} = await run()
      assert.ok(findings.some(({object, because}) => object === 'postgres: public.t' && /invalid page|checksum/.test(because)), JSON.stringify(findings))
    })

    it('end at the signal with its reason', async () => {
      const controller = new AbortController()
      const running = run(controller.signal)
      setTimeout(() => controller.abort(new Error('enough')), 50)
      await assert.rejects(running, /enough/)
    })
  })
}

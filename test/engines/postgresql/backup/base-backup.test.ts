import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {chownSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeSync, closeSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../../../src/core/errors.js'
import type {BaseBackup, BaseBackupRequest} from '../../../../src/engines/backup.js'
import {baseBackup} from '../../../../src/engines/postgresql/backup/base-backup.js'
import {firstBlockOf, pageBytes, whyDamaged} from '../../../../src/engines/postgresql/backup/page-checksum.js'
import {temporaryFolder} from '../../../support/temporary.js'
import {folderSink, makeFolders, previousIn, type FolderSink} from './folder.js'
import {backupSources, debian15, testSite, type TestServer, type TestSite} from './server.js'

const never = new AbortController().signal
const request = (changes: Partial<BaseBackupRequest> = {}): BaseBackupRequest =>
  ({label: 'test', pace: 'now', limit: {bytesPerSecond: () => null}, previous: null, ...changes})

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, {recursive: true, withFileTypes: true}).filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort()

/** Pages of a backup whose checksum is wrong. */
const damagedPages = (folder: string): string[] =>
  filesBelow(folder).flatMap((path) => {
    const first = firstBlockOf(path)
    if (first === undefined) return []
    const bytes = readFileSync(join(folder, path))
    const damaged: string[] = []
    for (let page = 0; page < bytes.length / pageBytes; page++) {
      if (whyDamaged(bytes.subarray(page * pageBytes, (page + 1) * pageBytes), first + page) !== undefined) damaged.push(`${path}:${page}`)
    }
    return damaged
  })

for (const {name, source} of backupSources()) {
  describe(`base backups of ${name}`, function () {
    this.timeout(120_000)
    const folder = temporaryFolder('base-backup')
    let site: TestSite
    let server: TestServer
    let whole: {sink: FolderSink; backup: BaseBackup}
    let count = 0

    const take = async (changes: Partial<BaseBackupRequest> = {}, previous?: string) => {
      const sink = folderSink(join(folder.path, String(++count)), previous)
      const backup = await baseBackup.take(server.reader, request(changes), sink, never)
      makeFolders(sink.path, backup)
      return {sink, backup}
    }
    const senders = async () => Number((await server.sql("select count(*) from pg_stat_activity where backend_type = 'walsender'"))[0]?.['count'])
    const untilNobodySends = async () => {
      for (const until = Date.now() + 20_000; (await senders()) > 0; await sleep(50)) assert.ok(Date.now() < until, 'the server still sends')
    }

    before(async () => {
      site = await testSite(source)
      server = await site.server('main', {autovacuum: 'off'})
      await server.sql('create table t as select n, repeat(md5(n::text), 10) as filler from generate_series(1, 50000) n')
      await server.sql('create index on t (n)')
      await server.sql('create table gone as select n from generate_series(1, 10000) n')
      whole = await take({label: "it's a \"label\" of ours"})
    })
    after(async () => {
      await site?.close()
      folder.dispose()
    })

    it('has every file, of the size and checksum that the server says, its manifest last', () => {
      const {sink, backup} = whole
      assert.equal(sink.came.length, backup.files)
      assert.equal(sink.came.at(-1)?.path, 'backup_manifest')
      assert.equal(sink.methods[0]?.kind, 'whole')
      assert.deepEqual(filesBelow(sink.path), sink.came.map(({path}) => path).sort())
      assert.equal(filesBelow(sink.path).filter((path) => path !== 'backup_manifest').reduce((sum, path) => sum + statSync(join(sink.path, path)).size, 0) + statSync(join(sink.path, 'backup_manifest')).size, backup.bytes)
      assert.ok(Math.abs(backup.consistentAt - Date.now()) < 10_000)
      assert.ok(backup.folders.some(({path}) => path === 'pg_wal/archive_status'))
      assert.match(readFileSync(join(sink.path, 'backup_label'), 'utf8'), /LABEL: it's a "label" of ours/)
    })

    it("has pages whose checksums are right, and finds a flipped bit and a page in another's place", () => {
      const {sink, backup} = whole
      assert.deepEqual(damagedPages(sink.path), [])
      assert.deepEqual(backup.damages, [])
      const path = filesBelow(sink.path).find((file) => firstBlockOf(file) === 0 && statSync(join(sink.path, file)).size > 20 * pageBytes) as string
      const page = readFileSync(join(sink.path, path)).subarray(3 * pageBytes, 4 * pageBytes)
      assert.equal(whyDamaged(page, 3), undefined)
      assert.match(String(whyDamaged(page, 4)), /checksum/)
      page[5000] = (page[5000] as number) ^ 4
      assert.match(String(whyDamaged(page, 3)), /checksum/)
    })

    if (source === debian15) {
      it('is accepted by pg_verifybackup', () => {
        execFileSync(join(debian15, 'pg_verifybackup'), ['--no-parse-wal', whole.sink.path], {stdio: 'pipe'})
      })
    }

    it('follows changes alone where the server knows them, and the result is the same as a whole one', async () => {
      await server.sql("update t set filler = 'short' where n % 1000 = 0")
      await server.sql('insert into t select n, \'new\' from generate_series(50001, 60000) n')
      await server.sql('drop table gone')
      await server.sql('create table shrunk as select n from generate_series(1, 100000) n')
      const first = await take({previous: previousIn(whole.sink.path, whole.backup)}, whole.sink.path)
      await server.sql('delete from shrunk where n > 5000')
      await server.sql('vacuum (truncate on) shrunk')
      await server.sql('insert into shrunk select n from generate_series(1, 20000) n')
      await server.sql('truncate t')
      await server.sql("insert into t select n, 'again' from generate_series(1, 70000) n")
      const second = await take({previous: previousIn(first.sink.path, first.backup)}, first.sink.path)
      const all = await take()
      const relations = filesBelow(all.sink.path).filter((path) => firstBlockOf(path) !== undefined)
      assert.ok(relations.length > 100)
      for (const path of relations) assert.ok(readFileSync(join(all.sink.path, path)).equals(readFileSync(join(second.sink.path, path))), path)
      assert.deepEqual(damagedPages(second.sink.path), [])
      assert.equal(first.sink.methods[0]?.kind, server.major >= 17 ? 'changes' : 'whole', first.sink.methods[0]?.because)
      assert.doesNotMatch(readFileSync(join(second.sink.path, 'backup_label'), 'utf8'), /INCREMENTAL/)
      assert.equal(second.backup.files, all.backup.files)
      if (server.major < 17) return assert.match(second.backup.method.because, /cannot say which pages/)
      assert.ok(second.backup.receivedBytes < all.backup.receivedBytes / 2, `${second.backup.receivedBytes} of ${all.backup.receivedBytes}`)
      assert.ok(second.sink.came.some(({kind, pages}) => kind === 'changed' && pages === 0))
      assert.ok(first.sink.came.some(({kind, pages}) => kind === 'changed' && pages > 10))
    })

    it('says why it does not follow changes', async () => {
      const {sink, backup} = await take({previous: {...previousIn(whole.sink.path, whole.backup), backup: {...whole.backup, system: '1'}}}, whole.sink.path)
      assert.equal(sink.methods[0]?.kind, 'whole')
      assert.match(backup.method.because, server.major >= 17 ? /of other data/ : /cannot say/)
      if (server.major < 17) return
      // the server has lost its notes of what changed
      await server.sql("select pg_switch_wal()")
      const summaries = join(server.host.paths.data, 'pg_wal/summaries')
      await server.sql('checkpoint')
      for (const file of readdirSync(summaries)) await server.host.remove(join(summaries, file))
      const fallen = await take({previous: previousIn(whole.sink.path, whole.backup)}, whole.sink.path)
      assert.equal(fallen.sink.methods.length, 1)
      assert.match(fallen.backup.method.because, /WAL summaries are required/)
      const unreadable = await take({previous: {backup: whole.backup, read: () => [Buffer.from('{}')]}}, whole.sink.path)
      assert.match(unreadable.backup.method.because, /list of the backup before cannot be read/)
    })

    it('has the tablespaces inside the data folder', async () => {
      const place = join(site.subject.site.root, 'space')
      mkdirSync(place)
      const {uid, gid} = statSync(server.host.paths.data)
      chownSync(place, uid, gid)
      await server.sql(`create tablespace space location '${place}'`)
      await server.sql('create table elsewhere tablespace space as select n from generate_series(1, 1000) n')
      const {sink, backup} = await take()
      await server.sql('drop table elsewhere')
      await server.sql('drop tablespace space')
      const there = filesBelow(sink.path).filter((path) => path.startsWith('pg_tblspc/'))
      assert.ok(there.some((path) => firstBlockOf(path) === 0 && statSync(join(sink.path, path)).size > 4 * pageBytes), there.join(' '))
      assert.ok(!there.includes('tablespace_map'))
      assert.ok(backup.folders.some(({path}) => /^pg_tblspc\/\d+$/.test(path)))
    })

    it('names the pages that are damaged on the server, and keeps the backup', async () => {
      await server.sql('create table victim as select n, md5(n::text) from generate_series(1, 20000) n')
      await server.sql('checkpoint')
      const path = String((await server.sql("select pg_relation_filepath('victim') as path"))[0]?.['path'])
      const file = openSync(join(server.host.paths.data, path), 'r+')
      writeSync(file, Buffer.from([0x55, 0xaa]), 0, 2, 7 * pageBytes + 6000)
      closeSync(file)
      const {backup} = await take()
      assert.deepEqual(backup.damages.map(({path: of, page}) => ({path: of, page})), [{path, page: 7}])
      await server.sql('drop table victim')
    })

    it('holds the server back when the sink is slow, and goes on', async () => {
      await server.sql('create table much as select n, repeat(md5(n::text), 30) from generate_series(1, 60000) n')
      let received = 0
      let stood = 0
      const sink = folderSink(join(folder.path, String(++count)))
      let held = false
      const backup = await baseBackup.take(server.reader, request(), {
        begin: sink.begin,
        progress: (bytes) => { received = bytes },
        write: async (file) => {
          if (received > 8_000_000 && !held) {
            held = true
            await sleep(700)
            const before = received
            await sleep(700)
            stood = received - before
          }
          return sink.write(file)
        },
      }, never)
      assert.ok(held)
      assert.ok(stood === 0, `${stood} bytes came while nobody took any`)
      assert.equal(backup.files, sink.came.length)
    })

    it('keeps to the rate, also when that changes meanwhile, and lets a sink skip files', async () => {
      let rate: number | null = 5_000_000
      const arrivals: {at: number; bytes: number}[] = []
      const began = performance.now()
      const backup = await baseBackup.take(server.reader, request({limit: {bytesPerSecond: () => rate}}), {
        begin() {},
        progress(bytes) {
          arrivals.push({at: performance.now() - began, bytes})
          if (performance.now() - began > 4000) rate = null
        },
        write: () => Promise.resolve(),
      }, never)
      const slow = arrivals.filter(({at}) => at < 4000).at(-1) as {at: number; bytes: number}
      const perSecond = slow.bytes / (slow.at / 1000)
      assert.ok(perSecond > 1_500_000 && perSecond < 7_500_000, `${perSecond} bytes a second`)
      const rest = (backup.receivedBytes - slow.bytes) / ((arrivals.at(-1) as {at: number}).at - slow.at) * 1000
      assert.ok(rest > 10_000_000, `${rest} bytes a second without a limit`)
    })

    it('ends at the signal with its reason, and leaves nothing running on the server', async () => {
      for (const pace of ['now', 'gently'] as const) {
        // pages to be written, so that a gentle checkpoint takes long
        await server.sql("update t set filler = repeat('x', 100)")
        const controller = new AbortController()
        const reason = new DbaasError('OPERATION_CANCELLED', 'enough')
        const began = Date.now()
        const taken = baseBackup.take(server.reader, request({pace, limit: {bytesPerSecond: () => 1_000_000}}), {begin() {}, progress() {}, write: () => Promise.resolve()}, controller.signal)
        await sleep(1500)
        assert.equal(await senders(), 1)
        controller.abort(reason)
        await assert.rejects(taken, (error) => error === reason)
        await untilNobodySends()
        assert.ok(Date.now() - began < 12_000)
      }
    })

    it("passes the sink's error on as it is", async () => {
      const error = new DbaasError('DISK_FULL', 'no room')
      const attempt = baseBackup.take(server.reader, request(), {begin() {}, progress() {}, write: ({path}) => path.startsWith('base/1/') ? Promise.reject(error) : Promise.resolve()}, never)
      await assert.rejects(attempt, (thrown) => thrown === error)
      await untilNobodySends()
    })

    it('fails when the server ends in the middle of it', async () => {
      const attempt = baseBackup.take(server.reader, request({limit: {bytesPerSecond: () => 2_000_000}}), {begin() {}, progress() {}, write: () => Promise.resolve()}, never)
      attempt.catch(() => {})
      await sleep(1500)
      await server.stop('SIGQUIT')
      await assert.rejects(attempt, {code: 'DATABASE_UNAVAILABLE'})
      await assert.rejects(take(), {code: 'DATABASE_UNAVAILABLE'})
    })
  })
}

/** What is acknowledged as backed up is not lost: real kills and a full disk while the log is followed and rows are committed. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import Database from 'better-sqlite3'
import type {ApiBackup, ApiInstance} from '../../src/core/api/schemas.js'
import {connectTo} from '../support/clients.js'
import {clientOf, untilAnswers} from '../support/probed-agent.js'
import {dataRootOf, temporarySite, type Site} from '../support/site.js'
import {startWriter, type Writer} from '../support/writer.js'

async function until<T>(what: string, look: () => Promise<T | undefined>, seconds = 60): Promise<T> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(100)) {
    // the agent or the server is between two lives
    const found = await look().catch(() => undefined)
    if (found !== undefined) return found
  }
  throw new Error(`${what} did not come within ${seconds} s`)
}

describe('backups through faults', function () {
  this.timeout(300_000)
  let site: Site
  let repository: string
  let mounted = false
  let writer: Writer | undefined
  const get = async (): Promise<ApiInstance> => (await clientOf(site).call('instances.get', {params: {instance: 'demo'}})).instance
  const list = async (): Promise<ApiBackup[]> => (await clientOf(site).call('backups.list', {query: {instance: 'demo'}})).backups
  const rows = <T>(query: string): T[] => {
    const db = new Database(join(site.home, 'metadata.db'), {readonly: true})
    try {
      return db.prepare(query).all() as T[]
    } finally {
      db.close()
    }
  }
  const line = (): number => (rows<{line: number}>('SELECT line FROM logs')[0] as {line: number}).line
  /** All that is committed by now is archived. */
  const archived = async (): Promise<void> => {
    const now = Date.now()
    await until('the log up to now', async () => (Date.parse((await get()).backup.recoverable_to ?? '') >= now ? true : undefined), 90)
  }
  const postmaster = (): number => {
    const instances = join(dataRootOf(site.home), 'instances')
    const file = readdirSync(instances, {recursive: true, encoding: 'utf8'}).find((path) => path.endsWith('postmaster.pid'))
    return Number(readFileSync(join(instances, file as string), 'utf8').split('\n')[0])
  }
  /** Reads it back, and the log from its start to the end: a gap would be found. */
  async function verified(): Promise<void> {
    const [newest] = (await list()).filter((b) => b.status === 'completed').sort((a, b) => (a.created_at < b.created_at ? 1 : -1))
    const ran = await site.run('backups', 'verify', newest?.id as string)
    assert.equal(ran.code, 0, ran.stderr)
  }
  /** The moment up to which the archive says that it has everything, once that is past what was acknowledged when this was asked. */
  async function promised(writer: Writer): Promise<string> {
    const now = (writer.attempts.findLast(({acknowledgedAt}) => acknowledgedAt !== null))?.acknowledgedAt as number
    return until('the log of these rows', async () => {
      const {recoverable_to: to} = (await get()).backup
      return to !== null && Date.parse(to) >= now ? to : undefined
    }, 90)
  }
  /** The archive alone gives back what was acknowledged by the moment that it had promised, and nothing that was sent later. */
  async function restoredTo(promise: string, {attempts}: Writer): Promise<void> {
    const into = await site.run('restore', 'demo', '--to', promise, '--into', 'proof')
    assert.equal(into.code, 0, into.stderr)
    const client = await connectTo(site, 'proof')
    const there = new Set((await client.query('select n from writes')).map(([n]) => Number(n)))
    await client.close()
    const at = Date.parse(promise)
    const must = attempts.filter(({acknowledgedAt}) => acknowledgedAt !== null && acknowledgedAt < at)
    const mustNot = attempts.filter(({sentAt}) => sentAt > at)
    assert.ok(must.length > 20 && mustNot.length > 5, `${must.length} before and ${mustNot.length} after`)
    assert.deepEqual(must.filter(({n}) => !there.has(n)), [], `lost, though archived by ${promise}`)
    assert.deepEqual(mustNot.filter(({n}) => there.has(n)), [], `written after ${promise}`)
    const removed = await site.run('delete', 'proof', '--yes')
    assert.equal(removed.code, 0, removed.stderr)
  }

  const write = async (): Promise<Writer> => (writer = await startWriter(site, 'demo', 5))
  /** Ends the writing: what was acknowledged and is not there. */
  async function written(): Promise<number[]> {
    const ending = writer
    writer = undefined
    return (await ending?.stop())?.lost ?? []
  }
  const roomBytes = (): number => {
    const {bavail, bsize} = statfsSync(repository)
    return bavail * bsize
  }
  /** Fills the disk of the repository until so much of it is left. */
  function fill(leftBytes = 0): void {
    for (let i = 0; roomBytes() > leftBytes; i++) {
      try {
        writeFileSync(join(repository, `big.${i}`), Buffer.alloc(Math.min(8 * 1024 ** 2, roomBytes() - leftBytes)))
      } catch {
        // fuller than full is not possible
        return
      }
    }
  }
  function makeRoom(): void {
    for (const name of readdirSync(repository)) if (name.startsWith('big.')) rmSync(join(repository, name))
  }
  /** As when its disk is not mounted: another folder is in its place. */
  let covered = false
  function cover(): void {
    const empty = join(site.home, 'empty')
    mkdirSync(empty, {recursive: true})
    execFileSync('mount', ['--bind', empty, repository])
    covered = true
  }
  function uncover(): void {
    if (covered) execFileSync('umount', ['-l', repository])
    covered = false
  }
  function needsTmpfs(test: Mocha.Context): void {
    if (mounted) return
    process.stdout.write('      SKIPPED: no tmpfs can be mounted here, so no repository can be full\n')
    test.skip()
  }
  const events = (type: string) => rows<{payload: string}>(`SELECT payload FROM events WHERE type = '${type}'`)
  const sql = async (statement: string): Promise<unknown[][]> =>
    (await clientOf(site).call('instances.sql', {params: {instance: 'demo'}, body: {statement}, idempotencyKey: `${Math.random()}`})).rows
  /** Rows that cannot be made much smaller: about so many MiB of pages, and of log. */
  const ballast = (mib: number): Promise<unknown> =>
    sql(`insert into ballast select (select string_agg(md5(random()::text || n || i), '') from generate_series(1, 30) i) from generate_series(1, ${mib * 1000}) n`)

  before(async () => {
    site = temporarySite('faults', {env: {DBAAS_POOL_SIZE: '0'}})
    assert.equal((await site.run('agent', 'start')).code, 0)
    repository = (await clientOf(site).call('repositories.list', {})).repositories[0]?.location as string
    mkdirSync(repository, {recursive: true, mode: 0o700})
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200m,mode=0700', 'tmpfs', repository], {stdio: 'pipe'})
      mounted = true
    } catch {
      // said where it matters
    }
    const created = await site.run('create', 'demo', '--size', 'micro')
    assert.equal(created.code, 0, created.stderr)
    await until('the first backup', async () => ((await get()).backup.last_backup_at === null ? undefined : true))
  })
  // what a test that failed has left must not fail the next, nor outlive them
  afterEach(async () => {
    uncover()
    if (mounted) makeRoom()
    await written()
  })
  after(async () => {
    // first: whatever hangs there, the mount is not left behind
    if (mounted) execFileSync('umount', ['-l', repository])
    await site.dispose()
  })

  it('goes on without a gap when the agent is killed while the log is followed', async () => {
    const before = line()
    const writer = await write()
    let promise = ''
    for (let i = 0; i < 3; i++) {
      const {agent} = await clientOf(site).call('agent.get', {})
      await pause(700)
      promise = await promised(writer)
      process.kill(agent.pid, 'SIGKILL')
      // the endpoint process brings it back
      await untilAnswers(site)
      await archived()
    }
    assert.deepEqual(await written(), [])
    await archived()
    assert.equal(line(), before)
    await verified()
    await restoredTo(promise, writer)
  })

  it('goes on without a gap when the server is killed, also in the middle of a base backup', async () => {
    const before = line()
    const writer = await write()
    process.kill(postmaster(), 'SIGKILL')
    await archived()
    const promise = await promised(writer)
    const backup = site.run('backup', 'demo', '--label', 'through-a-crash')
    await until('the base backup', async () => ((await list()).some((b) => b.status === 'running') ? true : undefined), 20)
    process.kill(postmaster(), 'SIGKILL')
    const ran = await backup
    const kept = (await list()).filter((b) => b.label === 'through-a-crash')
    // what is said to be there is there, and of what failed there is nothing
    assert.deepEqual(kept.map((b) => b.status), ran.code === 0 ? ['completed'] : [], ran.stderr)
    assert.deepEqual(await written(), [])
    await archived()
    assert.equal(line(), before)
    await verified()
    await restoredTo(promise, writer)
  })

  it('says that the disk of the repository is full, and goes on by itself when there is room', async function () {
    needsTmpfs(this)
    const before = line()
    await write()
    fill()
    const told = await until('the reason', async () => {
      const {backup} = await get()
      return /is full/.test(backup.reason ?? '') ? backup.reason : undefined
    }, 30)
    assert.match(told ?? '', /disk of the repository .* is full/)
    await until('that it is degraded', async () => ((await get()).status === 'degraded' ? true : undefined), 90)
    makeRoom()
    await archived()
    assert.deepEqual(await written(), [])
    assert.equal(line(), before)
    await until('that it is well', async () => ((await get()).status === 'running' ? true : undefined), 60)
    await verified()
  })

  it('leaves nothing half made of a base backup whose disk fills up, and takes it when there is room', async function () {
    needsTmpfs(this)
    await sql('create table ballast (filler text)')
    await sql('alter table ballast alter column filler set storage plain')
    await ballast(40)
    await archived()
    const before = {line: line(), backups: (await list()).map(({id}) => id)}
    fill(8 * 1024 ** 2)
    const room = roomBytes()
    const failed = await site.run('backup', 'demo', '--label', 'too-large')
    assert.notEqual(failed.code, 0)
    assert.match(failed.stderr, /the disk of the repository .* is full/)
    assert.match(failed.stderr, /free some space there/)
    assert.deepEqual((await list()).map(({id}) => id), before.backups)
    assert.deepEqual(readdirSync(join(repository, '.drafts')), [])
    // segments of the log are made one object meanwhile, which takes room until their slices have gone
    await until('its room again', async () => (roomBytes() > room - 4 * 1024 ** 2 ? true : undefined), 60)
    // the log did not lose its place to it
    await archived()
    makeRoom()
    const taken = await site.run('backup', 'demo', '--label', 'with-room')
    assert.equal(taken.code, 0, taken.stderr)
    assert.equal(line(), before.line)
    await verified()
  })

  it('warns before a log is lost, says at once that it is, and heals it when the repository works again', async function () {
    needsTmpfs(this)
    await sql('truncate ballast')
    await archived()
    const set = await site.run('config', 'set', 'demo', 'max_slot_wal_keep_size=96MB', 'max_wal_size=64MB', 'min_wal_size=32MB')
    assert.equal(set.code, 0, set.stderr)
    const before = line()
    const gaps = events('backup.log_gap').length
    fill()
    await write()
    await until('that the repository is full', async () => (/is full/.test((await get()).backup.reason ?? '') ? true : undefined), 30)
    assert.deepEqual(await written(), [])

    // little by little, with time to look at it
    await until('the warning', async () => {
      await ballast(4)
      await pause(1000)
      return events('backup.log_at_risk').length > 0 ? true : undefined
    }, 90)
    const warned = await get()
    assert.deepEqual([warned.status, line()], ['degraded', before])
    assert.match(warned.status_reason ?? '', /may be lost soon: (it holds \d+ bytes|the next checkpoint)/)
    assert.equal(events('backup.log_gap').length, gaps)

    cover()
    await until('that the repository is away', async () => (/is another one/.test((await get()).backup.reason ?? '') ? true : undefined), 30)
    await until('the loss', async () => {
      await ballast(16)
      return events('backup.log_gap').length > gaps ? true : undefined
    }, 90)
    assert.equal(line(), before + 1)
    // and it stays said, however often the stream is tried again
    for (let i = 0; i < 6; i++) {
      const lost = await get()
      assert.equal(lost.status, 'degraded')
      assert.match(lost.status_reason ?? '', /its log has a gap: the server has dropped what it held.*a new backup is due, and the repository local does not answer: /)
      await pause(1000)
    }

    await sql('drop table ballast')
    uncover()
    makeRoom()
    const healed = await until('the backup that heals it', async () => (await list()).find((b) => b.trigger === 'gap' && b.status === 'completed'), 120)
    const well = await until('that it is well', async () => {
      const instance = await get()
      return instance.status === 'running' ? instance : undefined
    })
    assert.equal(well.backup.recoverable_from, healed.recoverable_from)
    assert.deepEqual([events('backup.log_gap').length, line()], [gaps + 1, before + 1])
    await verified()
  })
})

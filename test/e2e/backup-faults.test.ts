/** What is acknowledged as backed up is not lost: real kills and a full disk while the log is followed and rows are committed. */
import assert from 'node:assert/strict'
import {execFileSync} from 'node:child_process'
import {mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
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
    const must = attempts.filter(({acknowledgedAt}) => acknowledgedAt !== null && acknowledgedAt <= at)
    const mustNot = attempts.filter(({sentAt}) => sentAt > at)
    assert.ok(must.length > 20 && mustNot.length > 5, `${must.length} before and ${mustNot.length} after`)
    assert.deepEqual(must.filter(({n}) => !there.has(n)), [], `lost, though archived by ${promise}`)
    assert.deepEqual(mustNot.filter(({n}) => there.has(n)), [], `written after ${promise}`)
    const removed = await site.run('delete', 'proof', '--yes')
    assert.equal(removed.code, 0, removed.stderr)
  }

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
  after(async () => {
    if (mounted) {
      await site.run('delete', 'demo', '--yes')
      await site.run('agent', 'stop')
      execFileSync('umount', ['-l', repository])
    }
    await site.dispose()
  })

  it('goes on without a gap when the agent is killed while the log is followed', async () => {
    const before = line()
    const writer = await startWriter(site, 'demo', 5)
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
    const {lost} = await writer.stop()
    assert.deepEqual(lost, [])
    await archived()
    assert.equal(line(), before)
    await verified()
    await restoredTo(promise, writer)
  })

  it('goes on without a gap when the server is killed, also in the middle of a base backup', async () => {
    const before = line()
    const writer = await startWriter(site, 'demo', 5)
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
    const {lost} = await writer.stop()
    assert.deepEqual(lost, [])
    await archived()
    assert.equal(line(), before)
    await verified()
    await restoredTo(promise, writer)
  })

  it('says that the disk of the repository is full, and goes on by itself when there is room', async function () {
    if (!mounted) {
      process.stdout.write('      SKIPPED: no tmpfs can be mounted here, so no repository can be full\n')
      return this.skip()
    }
    const before = line()
    const writer = await startWriter(site, 'demo', 5)
    const big = join(repository, 'big')
    try {
      writeFileSync(big, Buffer.alloc(150 * 1024 ** 2))
    } catch {
      // fuller than full is not possible
    }
    for (let i = 0; i < 400; i++) {
      try {
        writeFileSync(`${big}.${i}`, Buffer.alloc(1024 ** 2))
      } catch {
        break
      }
    }
    const told = await until('the reason', async () => {
      const {backup} = await get()
      return /is full/.test(backup.reason ?? '') ? backup.reason : undefined
    }, 30)
    assert.match(told ?? '', /disk of the repository .* is full/)
    await until('that it is degraded', async () => ((await get()).status === 'degraded' ? true : undefined), 90)
    for (const name of readdirSync(repository)) if (name.startsWith('big')) rmSync(join(repository, name))
    await archived()
    const {lost} = await writer.stop()
    assert.deepEqual(lost, [])
    assert.equal(line(), before)
    await until('that it is well', async () => ((await get()).status === 'running' ? true : undefined), 60)
    await verified()
  })
})

import assert from 'node:assert/strict'
import fc from 'fast-check'
import type {BackupRecord} from '../../../../src/core/backup/backup.js'
import {parseCron} from '../../../../src/core/backup/cron.js'
import {jitterOf} from '../../../../src/core/backup/schedule.js'
import {DbaasError} from '../../../../src/core/errors.js'
import {siteInMemory, type Site} from './site-in-memory.js'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const begin = Date.parse('2026-11-24T10:00:00Z')

async function withSite(work: (site: Site) => Promise<void>): Promise<void> {
  const site = await siteInMemory(begin)
  try {
    await work(site)
  } finally {
    await site.dispose()
  }
}
const completed = (backups: readonly BackupRecord[]): BackupRecord[] => backups.filter((b) => b.status === 'completed')

describe('backups over time', function () {
  this.timeout(300_000)

  it('takes the first one as soon as there is an instance, verified, and no second', () => withSite(async (site) => {
    await site.add('demo')
    await site.tick()
    await site.tick()
    const [first, ...more] = await site.backups()
    assert.equal(more.length, 0)
    assert.equal(first?.status, 'completed')
    assert.equal(first?.trigger, 'first')
    assert.equal(first?.line, 1)
    assert.ok(first?.verifiedAt)
  }))

  // Feature: enterprise-dbaas-platform, Property 10: Automated Backup Creation
  // Iterations: 100 schedules in the model (test/core/backup/schedule.test.ts), 12 through store and workflow
  it('takes one for every time of the schedule while it runs, and one for all that it missed', () => fc.assert(fc.asyncProperty(
    fc.constantFrom('0 */6 * * *', '30 2 * * *', '@hourly'), fc.integer({min: 0, max: 50}), fc.array(fc.record({up: fc.integer({min: 30, max: 900}), down: fc.integer({min: 0, max: 3000})}), {minLength: 1, maxLength: 3}),
    (cron, jitterMinutes, runs) => withSite(async (site) => {
      const instance = await site.add('demo', {cron, jitterMs: jitterMinutes * minute})
      const jitter = jitterOf(instance.id, jitterMinutes * minute)
      const rule = parseCron(cron)
      for (const {up, down} of runs) {
        for (const until = site.now + up * minute; site.now < until; site.now += 5 * minute) await site.tick()
        site.now += down * minute
      }
      const scheduled = (await site.backups()).filter((b) => b.trigger === 'schedule')
      const policy = await site.store.read('platform', (tx) => tx.policies.get(instance.id))
      // every one came after a time of the schedule that no other one serves
      const served = scheduled.map((b) => rule.previous(b.createdAt - jitter))
      assert.equal(new Set(served).size, served.length)
      if (served.length > 0) assert.equal(policy?.servedAt, served.at(-1))
      let from = begin
      for (const {up, down} of runs) {
        const until = from + up * minute
        for (let due = rule.next(from); due + jitter + 6 * minute < until; due = rule.next(due)) assert.ok(served.includes(due), new Date(due).toISOString())
        from = until + down * minute
      }
    })), {numRuns: 12}))

  // Feature: enterprise-dbaas-platform, Property 12: Backup Retention Compliance
  // Iterations: 300 histories in the model (test/core/backup/retention.test.ts), 10 through store and repository
  it('deletes each within a minute after its time and never before, and the log with it', () => fc.assert(fc.asyncProperty(
    fc.integer({min: 2, max: 30}), fc.array(fc.integer({min: 0, max: 3}), {minLength: 4, maxLength: 10}),
    (windowHours, labels) => withSite(async (site) => {
      const windowMs = windowHours * hour
      await site.add('demo', {cron: '@hourly', jitterMs: 0, windowMs})
      const seen = new Map<string, {completedAt: number; goneAt: number | null}>()
      for (let i = 0; i < labels.length * 60; i++) {
        if (i % 10 === 0) site.archive.segments.push(String(Math.floor(site.now / (10 * minute))).padStart(12, '0'))
        if (i % 20 === 0) await site.tick()
        await site.retention.run()
        const there = new Map((await site.backups()).map((b) => [b.id, b]))
        for (const b of completed([...there.values()])) if (!seen.has(b.id)) seen.set(b.id, {completedAt: b.completedAt as number, goneAt: null})
        for (const [id, entry] of seen) if (!there.has(id) && entry.goneAt === null) entry.goneAt = site.now
        // what is there can be recovered along the log without a gap
        const oldest = [...there.values()].filter((b) => b.status === 'completed').map((b) => b.startSegment as string).sort()[0]
        if (oldest !== undefined) assert.ok(site.archive.segments.every((s) => s >= oldest) || site.archive.segments.length === 0, 'log that nobody needs is gone')
        site.now += minute
      }
      const all = [...seen.values()].sort((a, b) => a.completedAt - b.completedAt)
      for (const [n, {goneAt}] of all.entries()) {
        const successor = all[n + 1]
        const due = successor === undefined ? null : successor.completedAt + windowMs
        if (goneAt === null) assert.ok(due === null || due > site.now - 2 * minute, 'one that had its time is still there')
        else assert.ok(due !== null && goneAt >= due && goneAt <= due + 2 * minute, `gone ${(goneAt - (due ?? 0)) / minute} minutes after its time`)
      }
      assert.deepEqual([...site.archive.snapshots.keys()].sort(), completed(await site.backups()).map((b) => b.snapshot).sort())
    })), {numRuns: 10}))

  it('tries again later and later while the repository is away, and tells of it once', () => withSite(async (site) => {
    site.away = new DbaasError('REPOSITORY_UNAVAILABLE', 'the folder is not mounted')
    await site.add('demo')
    await site.tick()
    const failed = await site.store.read('platform', (tx) => tx.operations.list({limit: 10}))
    assert.deepEqual(failed.map((o) => o.status), ['failed'])
    assert.deepEqual(await site.backups(), [])
    assert.equal((await site.store.read('platform', (tx) => tx.repositories.get('local')))?.status, 'unavailable')
    await site.tick()
    assert.equal((await site.store.read('platform', (tx) => tx.operations.list({limit: 10}))).length, 1, 'not at once')
    site.away = undefined
    site.now += 61_000
    await site.tick()
    assert.equal(completed(await site.backups()).length, 1)
    assert.equal((await site.store.read('platform', (tx) => tx.repositories.get('local')))?.status, 'ok')
  }))

  it('keeps no backup that cannot be read back', () => withSite(async (site) => {
    site.damaged.add(1)
    await site.add('demo')
    await site.tick()
    assert.deepEqual(await site.backups(), [])
    assert.equal(site.archive.snapshots.size, 0)
  }))

  it('takes a new one when the log has a gap', () => withSite(async (site) => {
    const instance = await site.add('demo')
    await site.tick()
    site.now += minute
    await site.store.transact('platform', async (tx) => {
      const log = await tx.logs.get(instance.incarnation)
      if (log) await tx.logs.put({...log, line: 2})
    })
    await site.tick()
    const all = await site.backups()
    assert.deepEqual(all.map((b) => [b.trigger, b.line]), [['first', 1], ['gap', 2]])
  }))

  it('gives a history that has ended its window, and destroys its key with its last backup', () => withSite(async (site) => {
    const instance = await site.add('demo', {windowMs: 2 * day})
    await site.tick()
    await site.store.transact('platform', (tx) => tx.histories.update(instance.incarnation, {endedAt: site.now}))
    site.now += 2 * day - minute
    await site.retention.run()
    assert.equal((await site.backups()).length, 1)
    site.now += 2 * minute
    await site.retention.run()
    assert.deepEqual(await site.backups(), [])
    assert.ok(site.archive.shredded.has(instance.incarnation) && site.archive.erased.has(instance.incarnation))
    assert.equal(await site.store.read('platform', (tx) => tx.histories.get(instance.incarnation)), undefined)
  }))

  it('deletes nothing for a clock that jumps years ahead, and says so; and goes on when it is set right', () => withSite(async (site) => {
    const instance = await site.add('demo', {cron: '@hourly', jitterMs: 0, windowMs: 2 * hour})
    const ended = await site.add('ended', {cron: '@hourly', jitterMs: 0, windowMs: 2 * day})
    for (let i = 0; i < 90; i += 10, site.now += 10 * minute) {
      await site.tick()
      await site.retention.run()
    }
    await site.store.transact('platform', (tx) => tx.histories.update(ended.incarnation, {endedAt: site.now}))
    await site.store.transact('platform', (tx) => tx.instances.remove(ended.id))
    const before = (await site.backups()).map((b) => b.id)
    assert.ok(before.length >= 4)
    const right = site.now
    site.now += 5 * 365 * day
    // also when the agent is started anew meanwhile
    for (const retention of [site.retention, site.nextRetention(), site.nextRetention()]) {
      for (let i = 0; i < 12; i++, site.now += 50 * minute) await retention.run()
    }
    assert.deepEqual((await site.backups()).map((b) => b.id), before)
    assert.ok(!site.archive.shredded.has(ended.incarnation))
    assert.equal(site.events().filter((type) => type === 'backup.clock_doubted').length, 1)
    site.now = right + 20 * minute
    for (let i = 0; i < 20; i++, site.now += 10 * minute) {
      await site.tick()
      await site.retention.run()
    }
    const left = (await site.backups()).filter((b) => b.incarnation === instance.incarnation)
    assert.ok(left.length > 0 && !left.some((b) => b.id === before[0]), 'the oldest had its time by the right clock')
  }))

  it('deletes with an instance all its backups, its key first, as soon as the repository answers; or keeps them', () => withSite(async (site) => {
    const [gone, kept] = [await site.add('gone'), await site.add('kept')]
    await site.tick()
    for (const [instance, keep] of [[gone, 'none'], [kept, 'all']] as const) {
      await site.store.transact('platform', (tx) => site.erasure.seal(tx, instance.id, keep))
      if (keep === 'none') site.away = new DbaasError('REPOSITORY_UNAVAILABLE', 'away')
      await site.erasure.erase(instance.id)
      await site.store.transact('platform', async (tx) => {
        await site.erasure.forget(tx, instance.id)
        await tx.instances.remove(instance.id)
      })
      site.away = undefined
    }
    assert.equal(site.archive.shredded.size, 0)
    await site.erasure.sweep()
    assert.deepEqual([...site.archive.shredded], [gone.incarnation])
    assert.deepEqual((await site.backups()).map((b) => b.instanceName), ['kept'])
    site.now += 100 * day
    await site.retention.run()
    assert.deepEqual((await site.backups()).map((b) => [b.instanceName, b.expiresAt]), [['kept', null]])
  }))
})

import assert from 'node:assert/strict'
import {once} from 'node:events'
import {setTimeout as sleep} from 'node:timers/promises'
import {existsSync} from 'node:fs'
import {join} from 'node:path'
import pg from 'pg'
import type {Detached, Rejoin} from '../../../../src/engines/replication.js'
import {postgresql} from '../../../../src/engines/postgresql/index.js'
import {replication} from '../../../../src/engines/postgresql/replication.js'
import {backupSources} from '../backup/server.js'
import {assertNoneLost, makeCluster, never, startWriters, unpacked, until, type Cluster, type Node} from './cluster.js'

for (const {name, source} of backupSources()) {
  describe(`the moves of replication of ${name}`, function () {
    this.timeout(180_000)
    let cluster: Cluster
    let primary: Node
    let others: [Node, Node]
    const acknowledged = new Set<string>()

    before(async () => {
      cluster = await makeCluster(source)
      const {a, b, c} = cluster
      primary = a
      others = [b, c]
      await a.sql('create table journal (id text primary key)')
      await replication.keepLogFor(a.host, a.admin, [{name: 'b', position: null}, {name: 'c', position: null}])
    })
    after(() => cluster?.close())

    /**
     * The primary dies in the middle of writes, and the others take over. `cutOff`: they were lost to it before, so that it has written
     * what nobody acknowledged.
     */
    async function failOver(cutOff: boolean): Promise<{chosen: Node; other: Node; dead: Node}> {
      const dead = primary
      for (const node of others) await replication.keepLogFor(node.host, node.admin, [dead, ...others].filter((each) => each !== node).map((each) => ({name: each.name, position: null})))
      const writers = await startWriters(dead, 4)
      await until('rows', async () => (writers.acknowledged.size > 200 ? true : undefined))
      if (cutOff) {
        await Promise.all(others.map((node) => replication.detach(node.host, node.admin)))
        await dead.until('all writers wait', ({waiting}) => waiting.sessions === 4)
        const before = writers.acknowledged.size
        await replication.probeWrite(dead.host, dead.admin)
        assert.equal(writers.acknowledged.size, before, 'what nobody else has was acknowledged')
      }
      const began = performance.now()
      await dead.kill()
      const killed = performance.now()
      const reports = await Promise.all(others.map((node) => replication.detach(node.host, node.admin)))
      const revoked = performance.now()
      const [first, second] = reports as [Detached, Detached]
      const [chosen, other, best] = first.flushed >= second.flushed ? [...others, first] as const : [others[1], others[0], second] as const
      await replication.setSynchronous(chosen.host, chosen.admin, {k: 1, names: [other.name]})
      const armed = performance.now()
      const [promoted] = await Promise.all([
        replication.promote(chosen.host, chosen.admin),
        replication.follow(other.host, other.admin, other.upstream(chosen)),
      ])
      const now = performance.now()
      const reached = await replication.barrier(chosen.host, chosen.admin, {k: 1, names: [other.name]})
      await chosen.sql(`insert into journal values ('first after ${dead.name} of ${promoted.timeline}')`)
      const done = performance.now()
      await writers.stop()
      for (const id of writers.acknowledged) acknowledged.add(id)
      assert.ok(promoted.timeline > best.timeline)
      assert.ok(promoted.position >= best.flushed)
      assert.deepEqual(reached.names, [other.name])
      const ms = (from: number, to: number) => Math.round(to - from)
      process.stdout.write(`      kill -9 to first synchronous commit: ${ms(began, done)} ms (kill ${ms(began, killed)}, revoke ${ms(killed, revoked)}, arm ${ms(revoked, armed)}, promote ${ms(armed, now)}, barrier and commit ${ms(now, done)})\n`)
      await assertNoneLost(chosen, acknowledged)
      await replication.afterPromotion(chosen.host, chosen.admin)
      return {chosen, other, dead}
    }

    /** The way back, whichever it is. */
    async function rejoin(dead: Node, chosen: Node, other: Node): Promise<Rejoin> {
      const assessed = await replication.assessRejoin(dead.host, chosen.source)
      if (assessed.kind === 'copy') await cluster.join(dead, chosen)
      else {
        await replication.keepLogFor(chosen.host, chosen.admin, [dead, other].map((each) => ({name: each.name, position: null})))
        if (assessed.kind === 'rewind') {
          await replication.rewind(dead.host, dead.upstream(chosen), {version: dead.version})
          assert.equal((await replication.assessRejoin(dead.host, chosen.source)).kind, 'none')
        }
        await dead.boot({role: 'standby', upstream: dead.upstream(chosen)})
      }
      await chosen.until('both stream', ({receivers}) => receivers.filter(({state}) => state === 'streaming').length === 2)
      await replication.setSynchronous(chosen.host, chosen.admin, {k: 1, names: [other.name, dead.name]})
      const {position} = await replication.barrier(chosen.host, chosen.admin, {k: 2, names: [other.name, dead.name]})
      for (const node of [other, dead]) {
        await node.until('it has replayed all', ({replayed}) => replayed >= position)
        await assertNoneLost(node, acknowledged)
      }
      primary = chosen
      others = [other, dead]
      return assessed
    }

    it('a copy of a running primary streams from it, and says how far it is', async () => {
      const {a, b, c} = cluster
      const progress: number[] = []
      const report = await replication.copy(a.source, b.host, b.host.paths.data, {version: b.version, limit: {bytesPerSecond: () => null}, progress: (received) => void progress.push(received), signal: never})
      assert.equal(report.timeline, 1)
      assert.ok(progress.at(-1) as number > 1_000_000 && report.files > 500)
      assert.ok(existsSync(join(b.host.paths.data, 'standby.signal')))
      assert.deepEqual(await replication.assessRejoin(b.host, a.source), {kind: 'none', because: 'it is a copy that was never started', discardedBytes: 0n})
      await b.boot({role: 'standby', upstream: b.upstream(a)})
      await cluster.join(c, a, unpacked(c.host.paths.data))
      const seen = await a.until('both stream and have all', ({receivers, flushed}) => receivers.length === 2 && receivers.every(({state, lagBytes}) => state === 'streaming' && lagBytes === 0n && flushed > 0n))
      assert.equal(seen.role, 'primary')
      assert.equal(seen.standby, null)
      assert.deepEqual(seen.synchronous, {k: 0, names: []})
      assert.deepEqual(seen.kept.map(({name, isActive, isLost}) => ({name, isActive, isLost})), [{name: 'b', isActive: true, isLost: false}, {name: 'c', isActive: true, isLost: false}])
      const standby = await b.until('it has replayed all', ({flushed, replayed}) => flushed >= seen.flushed && replayed === flushed)
      assert.equal(standby.role, 'standby')
      assert.equal(standby.system, seen.system)
      assert.equal(standby.timeline, 1)
      assert.equal(standby.standby?.isExact, true)
      assert.equal(standby.standby?.receiving?.status, 'streaming')
      assert.equal(standby.standby?.receiving?.port, a.host.address().port)
      assert.ok((standby.standby?.receiving?.silentMs ?? -1) >= 0 && (standby.standby?.staleMs ?? -1) >= 0)
    })

    it('a copy whose archive cannot be unpacked fails for that reason, and counts as nothing', async () => {
      const {a, site} = cluster
      const spare = await site.place('spare', {})
      const options = {version: spare.version, limit: {bytesPerSecond: () => null}, progress() {}, signal: never}
      await assert.rejects(replication.copy(a.source, spare.host, async (archive) => {
        await once(archive, 'data')
        throw new Error('there is no room')
      }, options), /there is no room/)
      assert.equal(await postgresql.lifecycle.isInitialised(spare.host), false)
    })

    it('a synchronous set is in force when it is said to be, and a barrier says who has what', async () => {
      const {a} = cluster
      await replication.setSynchronous(a.host, a.admin, {k: 1, names: ['b', 'c']})
      const seen = await a.observe()
      assert.deepEqual(seen.synchronous, {k: 1, names: ['b', 'c']})
      assert.ok(seen.receivers.every(({isSynchronous}) => isSynchronous))
      await a.sql("insert into journal values ('before all')")
      acknowledged.add('before all')
      const both = await replication.barrier(a.host, a.admin, {k: 2, names: ['b', 'c']})
      assert.deepEqual(both.names, ['b', 'c'])
      await assert.rejects(replication.barrier(a.host, a.admin, {k: 1, names: ['nobody']}, {timeoutMs: 300}), {code: 'DATABASE_UNAVAILABLE'})
      await replication.setSynchronous(a.host, a.admin, {k: 1, names: ['b']})
      assert.deepEqual((await a.observe()).receivers.map(({name: of, isSynchronous}) => `${of} ${isSynchronous}`).sort(), ['b true', 'c false'])
      await replication.setSynchronous(a.host, a.admin, {k: 1, names: ['b', 'c']})
      assert.throws(() => replication.barrier(a.host, a.admin, {k: 3, names: ['b', 'c']}), {code: 'INVALID_REQUEST'})
      await assert.rejects(replication.setSynchronous(a.host, a.admin, {k: 3, names: ['b', 'c']}), {code: 'INVALID_REQUEST'})
    })

    it('writes to the disk without a table, and on a standby not at all', async () => {
      const {a, b} = cluster
      const before = await a.observe()
      const {position} = await replication.probeWrite(a.host, a.admin)
      assert.ok(position >= before.flushed)
      await assert.rejects(replication.probeWrite(b.host, b.admin), {code: 'INVALID_STATE'})
    })

    it('a standby that is restarted says its right position, also when it finds no primary', async () => {
      const {a, b} = cluster
      for (let i = 0; i < 20; i++) await a.sql(`insert into journal values ('restart ${i}')`)
      const {flushed} = await a.observe()
      await replication.barrier(a.host, a.admin, {k: 2, names: ['b', 'c'], position: flushed})
      const before = await b.observe()
      await b.kill()
      assert.deepEqual(await replication.readData(b.host), {system: before.system, state: 'crashed', timeline: 1, position: before.flushed})
      await b.boot({role: 'standby', upstream: null})
      const after = await replication.detach(b.host, b.admin)
      assert.ok(after.flushed >= flushed && after.flushed === before.flushed, `${after.flushed} ${before.flushed} ${flushed}`)
      assert.equal(after.replayed, after.flushed)
      // twice is as good as once
      assert.deepEqual(await replication.detach(b.host, b.admin), after)
      await replication.follow(b.host, b.admin, b.upstream(a))
      await a.until('b streams again', ({receivers}) => receivers.some((one) => one.name === 'b' && one.isSynchronous))
    })

    it('a killed primary loses nothing that was acknowledged, and comes back', async () => {
      const {chosen, other, dead} = await failOver(false)
      await rejoin(dead, chosen, other)
    })

    it('one that was cut off before acknowledges nothing, and comes back without what it alone has', async () => {
      const {chosen, other, dead} = await failOver(true)
      const hasRewind = existsSync(`${dead.host.paths.bin}/pg_rewind`)
      if (!hasRewind) await assert.rejects(replication.rewind(dead.host, dead.upstream(chosen), {version: dead.version}), {code: 'NOT_SUPPORTED'})
      else {
        // one that finds nobody has changed nothing
        await assert.rejects(replication.rewind(dead.host, {...dead.upstream(chosen), address: {host: '127.0.0.1', port: 1}}, {version: dead.version}), {code: 'COMMAND_FAILED', message: /refused/})
        // one that was killed has
        const unfinished = `${dead.host.paths.config}/data-unfinished`
        await dead.host.write({path: unfinished, content: ''})
        for (const boot of [{role: 'primary'}, {role: 'standby', upstream: dead.upstream(chosen)}] as const) await assert.rejects(replication.prepareBoot(dead.host, boot), {code: 'INVALID_STATE'})
        await assert.rejects(replication.rewind(dead.host, dead.upstream(chosen), {version: dead.version}), {code: 'INVALID_STATE'})
        assert.equal((await replication.assessRejoin(dead.host, chosen.source)).kind, 'copy')
        await dead.host.remove(unfinished)
      }
      const assessed = await rejoin(dead, chosen, other)
      assert.equal(assessed.kind, hasRewind ? 'rewind' : 'copy', assessed.because)
      assert.ok((assessed.discardedBytes ?? 0n) > 0n)
    })

    it('a primary that is stopped in order has given everything, and follows its successor as it is', async () => {
      const old = primary
      const [next, other] = others
      await old.sql("insert into journal values ('before the switch')")
      acknowledged.add('before the switch')
      await assert.rejects(replication.shutdownPosition(old.host), {code: 'INVALID_STATE'})
      await old.stop('SIGINT')
      const {timeline, position} = await replication.shutdownPosition(old.host)
      const reports = await Promise.all(others.map((node) => replication.detach(node.host, node.admin)))
      assert.deepEqual(reports.map((report) => ({timeline: report.timeline, flushed: report.flushed})), [{timeline, flushed: position}, {timeline, flushed: position}])
      await replication.setSynchronous(next.host, next.admin, {k: 1, names: [other.name, old.name]})
      await replication.keepLogFor(next.host, next.admin, [{name: other.name, position: null}, {name: old.name, position: null}])
      await replication.promote(next.host, next.admin)
      await replication.follow(other.host, other.admin, other.upstream(next))
      assert.equal((await replication.assessRejoin(old.host, next.source)).kind, 'none')
      await old.boot({role: 'standby', upstream: old.upstream(next)})
      await replication.barrier(next.host, next.admin, {k: 2, names: [other.name, old.name]})
      await replication.afterPromotion(next.host, next.admin)
      const {replayed} = await next.observe()
      await old.until('it has replayed all', (seen) => seen.replayed >= replayed)
      await assertNoneLost(old, acknowledged)
      primary = next
      others = [other, old]
    })

    it('without standbys a commit waits, is counted, and survives a restart without having been acknowledged', async () => {
      for (const node of others) await node.kill()
      const writer = await primary.client()
      let isAcknowledged = false
      const waiting = writer.query("insert into public.journal values ('nobody has it')").then(() => (isAcknowledged = true), () => {})
      const probe = await replication.probe(primary.host, primary.admin)
      await until('it waits', async () => ((await probe.observe()).waiting.sessions === 1 ? true : undefined))
      await sleep(20)
      assert.ok((await probe.observe()).waiting.longestMs >= 20)
      // none of these waits for a standby
      await replication.prepare(primary.host, primary.admin)
      await replication.probeWrite(primary.host, primary.admin)
      await replication.keepLogFor(primary.host, primary.admin, others.map(({name: of}) => ({name: of, position: null})))
      await primary.kill()
      assert.ok(await probe.ended)
      await assert.rejects(probe.observe(), {code: 'DATABASE_UNAVAILABLE'})
      await waiting
      assert.equal(isAcknowledged, false)
      await primary.boot({role: 'primary'})
      // it is there, so it must not be shown before the others have it: that is what the barrier tells
      assert.equal((await primary.sql("select from journal where id = 'nobody has it'")).length, 1)
      const names = others.map(({name: of}) => of)
      assert.deepEqual((await primary.observe()).synchronous, {k: 1, names: [...(await primary.observe()).synchronous?.names ?? []]})
      await assert.rejects(replication.barrier(primary.host, primary.admin, {k: 1, names}, {timeoutMs: 300}), {code: 'DATABASE_UNAVAILABLE'})
      for (const node of others) await node.boot({role: 'standby', upstream: node.upstream(primary)})
      await replication.barrier(primary.host, primary.admin, {k: 2, names})
    })

    it('a server that hangs is noticed in the time that was given', async () => {
      const probe = await replication.probe(primary.host, primary.admin)
      primary.signal('SIGSTOP')
      try {
        await assert.rejects(probe.observe({timeoutMs: 200}), {code: 'DATABASE_UNAVAILABLE', message: /200 ms/})
        await assert.rejects(replication.observe(primary.host, primary.admin, {timeoutMs: 200}), {code: 'DATABASE_UNAVAILABLE'})
        await assert.rejects(replication.setSynchronous(primary.host, primary.admin, {k: 1, names: [others[0].name]}, {timeoutMs: 200}), {code: 'DATABASE_UNAVAILABLE'})
      } finally {
        primary.signal('SIGCONT')
      }
      await replication.setSynchronous(primary.host, primary.admin, {k: 1, names: others.map(({name: of}) => of)})
    })

    it('a reader that holds the replay up does not hold up a promotion', async () => {
      const [next, other] = others
      const credentials = {database: 'app', username: 'app', password: 'secret'}
      await postgresql.access.grantApplication(primary.host, primary.admin, credentials)
      await primary.sql('create table held as select generate_series(1, 1000) n', 'app')
      const {position} = await replication.barrier(primary.host, primary.admin, {k: 2, names: [next.name, other.name]})
      await next.until('it has replayed all', ({replayed}) => replayed >= position)
      const reader = new pg.Client({...next.host.address(), user: 'app', password: 'secret', database: 'app', ssl: {ca: next.admin.ca, checkServerIdentity: () => undefined}})
      const cutOff = new Promise((resolve) => reader.on('error', resolve))
      await reader.connect()
      await reader.query('begin isolation level repeatable read')
      await reader.query('select count(*) from pg_class')
      await primary.sql('delete from held', 'app')
      await primary.sql('vacuum held', 'app')
      await replication.barrier(primary.host, primary.admin, {k: 2, names: [next.name, other.name]})
      await next.until('the replay is held up', ({flushed, replayed}) => replayed < flushed)
      await primary.stop('SIGINT')
      const old = primary
      const report = await replication.detach(next.host, next.admin)
      assert.ok(report.replayed <= report.flushed)
      await replication.promote(next.host, next.admin, {timeoutMs: 10_000})
      await cutOff
      assert.deepEqual(await next.sql('select from held', 'app'), [])
      await replication.follow(other.host, other.admin, other.upstream(next))
      await replication.afterPromotion(next.host, next.admin)
      await replication.keepLogFor(next.host, next.admin, [{name: other.name, position: null}, {name: old.name, position: null}])
      await old.boot({role: 'standby', upstream: old.upstream(next)})
      await next.until('both stream', ({receivers}) => receivers.filter(({state}) => state === 'streaming').length === 2)
      primary = next
      others = [other, old]
    })

    it('two that were promoted without knowing of each other are told apart, though their timelines have one number', async () => {
      const [one, two] = others
      await replication.barrier(primary.host, primary.admin, {k: 2, names: [one.name, two.name]})
      await primary.kill()
      await Promise.all([one, two].map((node) => replication.detach(node.host, node.admin)))
      for (const node of [one, two]) await replication.setSynchronous(node.host, node.admin, {k: 0, names: []})
      const promoted = await replication.promote(one.host, one.admin)
      assert.equal((await replication.promote(two.host, two.admin)).timeline, promoted.timeline)
      await one.sql('create table of_one (n int)')
      await two.kill()
      const assessed = await replication.assessRejoin(two.host, one.source)
      assert.equal(assessed.kind, 'copy', assessed.because)
      // the one from before both fits either way, or not, but is never taken for what it is not
      const {kind} = await replication.assessRejoin(primary.host, one.source)
      assert.ok(kind === 'none' || kind === 'rewind' || kind === 'copy')
      await cluster.join(two, one)
      assert.equal((await two.sql('select from of_one')).length, 0)
    })
  })
}

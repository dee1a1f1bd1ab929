/** A promotion onto a number that was planned, though others before it were never used. */
import assert from 'node:assert/strict'
import {readdirSync, statSync} from 'node:fs'
import {join} from 'node:path'
import {replication} from '../../../../src/engines/postgresql/replication.js'
import {backupSources} from '../backup/server.js'
import {makeCluster, type Cluster} from './cluster.js'

for (const {name, source} of backupSources()) {
  describe(`the number of a timeline of ${name}`, function () {
    this.timeout(120_000)
    let cluster: Cluster
    before(async () => {
      cluster = await makeCluster(source)
      await cluster.join(cluster.b, cluster.a)
      await cluster.join(cluster.c, cluster.a)
      await cluster.a.sql('create table journal (id text primary key)')
    })
    after(() => cluster?.close())

    it('is the one that was asked for, and others can follow it, now and after a start', async () => {
      const {a, b, c} = cluster
      const {flushed} = await a.observe()
      for (const node of [b, c]) await node.until('it has all', (seen) => seen.replayed >= flushed)
      await a.kill()
      for (const node of [b, c]) await replication.detach(node.host, node.admin)
      await replication.keepLogFor(b.host, b.admin, [{name: 'a', position: null}, {name: 'c', position: null}])
      assert.equal((await replication.promote(b.host, b.admin, {onto: 4})).timeline, 4)
      await replication.follow(c.host, c.admin, c.upstream(b))
      await b.sql("insert into journal values ('after')")
      await c.until('it is on the new timeline', ({timeline, standby}) => timeline === 4 && standby?.receiving?.status === 'streaming')
      assert.deepEqual((await replication.history(b.source)).parents.map(({timeline}) => timeline), [1])
      await c.kill()
      await c.boot({role: 'standby', upstream: c.upstream(b)})
      await c.until('it streams again', ({timeline, standby}) => timeline === 4 && standby?.receiving?.status === 'streaming')
      assert.deepEqual(await c.sql('select id from journal'), [{id: 'after'}])
    })

    it('is not used where the server knows of one that is newer, and numbers that were only reserved do not keep it from starting', async () => {
      const {b, c} = cluster
      await replication.detach(c.host, c.admin)
      await assert.rejects(replication.promote(c.host, c.admin, {onto: 4}), {code: 'INVALID_STATE'})
      // it was about to go onto 7, and died
      for (const number of ['00000005', '00000006']) await c.host.write({path: `${c.host.paths.data}/pg_wal/${number}.history`, content: ''})
      await c.kill()
      await c.boot({role: 'standby', upstream: c.upstream(b)})
      await c.until('it streams again', ({timeline, standby}) => timeline === 4 && standby?.receiving?.status === 'streaming')
      const left = readdirSync(join(c.host.paths.data, 'pg_wal')).filter((file) => file.endsWith('.history') && statSync(join(c.host.paths.data, 'pg_wal', file)).size === 0)
      assert.ok(left.every((file) => file < '00000004.history'), left.join())
    })
  })
}

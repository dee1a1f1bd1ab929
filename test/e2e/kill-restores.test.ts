/**
 * A kill -9 at any moment of what can lose data for good: restores (into a new instance, in place, and undone), the restore
 * that is tried, and deletes that keep something. The end is the same, the rows are right, and nothing is left behind; what
 * is cancelled leaves exactly what was before.
 */
import assert from 'node:assert/strict'
import {readdirSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import type {ApiBackup, ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import type {Probe} from '../support/agent-with-probe.js'
import {call, finish, killedAgent, whens} from '../support/kills.js'
import {leftoversOf} from '../support/leftovers.js'
import {clientOf} from '../support/probed-agent.js'
import {full, sampled} from '../support/runs.js'
import {dataRootOf, processesOf, temporarySite} from '../support/site.js'
import {until} from '../support/until.js'

const into = ['prepare-software', 'place-node', 'restore-files', 'configure', 'recover', 'create-access', 'verify', 'publish-endpoint']
const switching = ['hold-connections', 'stop-servers', 'exchange', 'move-data', 'start-server', 'await-ready', 'open-endpoint']
const inPlace = [...into.slice(0, -1), ...switching]

interface Kill {
  readonly step: string
  readonly when: (typeof whens)[number]
}
const kills = (steps: readonly string[]): Kill[] => steps.flatMap((step) => whens.map((when) => ({step, when})))
/** Cancelled where a step has just ended, killed where one is undone. */
interface Undo extends Kill {
  readonly cancelledAfter: string
}
const undone = (cancelledAfter: string, steps: readonly string[]): Undo[] => kills(steps).map((kill) => ({...kill, cancelledAfter}))
/** Milliseconds after a step has begun: a kill in its midst, or wherever it has come to by then. */
const moments = (inCi: readonly number[]): readonly number[] => (full ? Array.from({length: 16}, (_, i) => 50 + i * 150) : inCi)

describe('an agent killed at any step of what may lose data', function () {
  this.timeout(180_000)
  const site = temporarySite('kill-restores', {env: {DBAAS_POOL_SIZE: '1'}})
  after(() => site.dispose())

  const get = async (name: string): Promise<ApiInstance> => (await clientOf(site).call('instances.get', {params: {instance: name}})).instance
  const names = async (): Promise<string[]> => (await clientOf(site).call('instances.list', {})).instances.map((i) => i.name).sort()
  const backupsOf = async (name: string): Promise<ApiBackup[]> => (await clientOf(site).call('backups.list', {query: {instance: name}})).backups
  const sql = async (name: string, statement: string): Promise<unknown[][]> =>
    (await clientOf(site).call('instances.sql', {params: {instance: name}, body: {statement}, idempotencyKey: `${Math.random()}`})).rows
  const numbers = async (name: string): Promise<number[]> => (await sql(name, 'select n from journal order by n')).map(([n]) => Number(n))
  const stored = <T>(query: string): T[] => {
    const db = new Database(join(site.home, 'metadata.db'), {readonly: true})
    try {
      return db.prepare(query).all() as T[]
    } finally {
      db.close()
    }
  }
  const restore = (name: string, body: {to?: string; into?: string}, key?: string) => call(site, 'instances.restore', {params: {instance: name}, body}, key)
  const undo = (key?: string) => call(site, 'instances.undo', {params: {instance: 'demo'}, body: {}}, key)
  async function good(operation: ApiOperation): Promise<Record<string, unknown>> {
    const end = await finish(site, operation)
    assert.equal(end.status, 'succeeded', `${end.kind}: ${JSON.stringify(end.error)}`)
    return end.result as Record<string, unknown>
  }
  const remove = async (name: string, query: object = {}): Promise<unknown> => good(await call(site, 'instances.delete', {params: {instance: name}, query}))
  /** All that was committed before it was called can be restored. */
  async function archived(name: string): Promise<void> {
    const now = Date.now()
    await until(`the log of ${name}`, async () => Date.parse((await get(name)).backup.recoverable_to ?? '') >= now)
  }
  async function make(name: string, rows: readonly number[]): Promise<void> {
    await good(await call(site, 'instances.create', {body: {name, size: 'micro'}}))
    await sql(name, 'create table journal (n int primary key)')
    await sql(name, `insert into journal values ${rows.map((n) => `(${n})`).join()}`)
  }

  /** What there is beside the instances that are listed. */
  function leftBehind(instances: readonly ApiInstance[]): string[] {
    const root = dataRootOf(site.home)
    const below = (...path: string[]): string[] => {
      try {
        return readdirSync(join(root, ...path))
      } catch {
        return []
      }
    }
    const places = below('instances').flatMap((instance) => below('instances', instance).map((node) => `${instance}/${node}`))
    const known = instances.flatMap((i) => i.nodes.map((node) => `${i.id}/${node.id}`))
    const owners = new Set(instances.flatMap((i) => [i.id, ...i.nodes.map((n) => n.id)]))
    const running = instances.filter((i) => i.status !== 'stopped').flatMap((i) => i.nodes.map((n) => n.id))
    const servers = processesOf([root]).filter(({what}) => /bin\/postgres\b/.test(what) && !what.includes(join(root, 'pool')))
    return [
      ...places.filter((place) => !known.includes(place)).map((place) => `folder ${place}`), ...below('scratch').map((name) => `scratch ${name}`),
      ...servers.filter(({what}) => !running.some((id) => what.includes(id))).map(({pid, what}) => `process ${pid} ${what}`),
      ...stored<{name: string}>("SELECT name FROM settings WHERE name LIKE 'gap:%' OR name LIKE 'restored:%'").map(({name}) => `setting ${name}`),
      ...stored<{id: string}>('SELECT id FROM instances').filter(({id}) => !owners.has(id)).map(({id}) => `row of ${id}`),
      ...stored<{id: string}>('SELECT id FROM nodes').filter(({id}) => !owners.has(id)).map(({id}) => `row of ${id}`),
      ...stored<{owner_id: string}>('SELECT owner_id FROM ports').filter(({owner_id: id}) => !owners.has(id)).map(({owner_id: id}) => `port of ${id}`),
      ...stored<{owner_id: string}>("SELECT owner_id FROM secrets WHERE owner_id NOT LIKE 'site_%'").filter(({owner_id: id}) => !owners.has(id)).map(({owner_id: id}) => `secret of ${id}`),
      ...stored<{instance_id: string}>('SELECT instance_id FROM policies').filter(({instance_id: id}) => !owners.has(id)).map(({instance_id: id}) => `policy of ${id}`),
      ...stored<{kind: string}>("SELECT kind FROM operations WHERE ended_at IS NULL AND kind NOT LIKE 'backup.%'").map(({kind}) => `open ${kind}`),
    ]
  }
  async function clean(...expected: string[]): Promise<void> {
    const {instances} = await clientOf(site).call('instances.list', {})
    assert.deepEqual(instances.map((i) => i.name).sort(), expected)
    assert.deepEqual(leftBehind(instances), [])
  }
  /** All of it that an operation that never was leaves alone. */
  async function stateOf(name: string): Promise<unknown> {
    const instances = stored<Record<string, unknown>>('SELECT * FROM instances ORDER BY id').map(({updated_at: _, ...rest}) => rest)
    const nodes = stored<Record<string, unknown>>('SELECT * FROM nodes ORDER BY id').map(({updated_at: _, runtime_ref: __, ...rest}) => rest)
    return {instances, nodes, ports: stored('SELECT port, owner_id FROM ports ORDER BY port'), open: stored('SELECT id FROM histories WHERE ended_at IS NULL'), rows: await numbers(name)}
  }
  async function writes(name: string): Promise<void> {
    await sql(name, 'insert into journal values (99)')
    await sql(name, 'delete from journal where n = 99')
  }

  before(async () => {
    await site.run('agent', 'start')
    await make('demo', [1, 2])
    await until('the first backup', async () => (await get('demo')).backup.recoverable_to !== null)
    await clientOf(site).call('points.create', {params: {instance: 'demo'}, body: {name: 'two-are-in'}, idempotencyKey: 'point'} as never)
    await sql('demo', 'insert into journal values (3)')
    await archived('demo')
  })

  /** As it was made: three rows, and no other state beside. */
  async function original(): Promise<void> {
    if ((await names()).some((name) => name.startsWith('demo-before-'))) await remove((await good(await undo())).kept_as as string)
    assert.deepEqual(await numbers('demo'), [1, 2, 3])
    await clean('demo')
  }
  /** In place: two rows, and the three of before beside. */
  async function restored(): Promise<string> {
    const kept = (await names()).find((name) => name.startsWith('demo-before-'))
    if (kept !== undefined) return kept
    return (await good(await restore('demo', {to: 'two-are-in'}))).kept_as as string
  }
  async function afterInPlace(end: ApiOperation): Promise<void> {
    const {kept_as: kept, backup_id: backup, recovered_to: to} = end.result as Record<string, string>
    assert.ok(backup !== undefined && to !== undefined, JSON.stringify(end.result))
    assert.deepEqual(await numbers('demo'), [1, 2])
    await writes('demo')
    assert.equal((await get(kept as string)).status, 'stopped')
    await clean('demo', kept as string)
  }
  async function afterUndo(end: ApiOperation): Promise<void> {
    const kept = (end.result as Record<string, string>)['kept_as'] as string
    assert.deepEqual(await numbers('demo'), [1, 2, 3])
    await writes('demo')
    await clean('demo', kept)
    await remove(kept)
    await clean('demo')
  }

  const probeOf = (kind: string, {step, when}: Kill): Probe => ({kill: {kind, step, when, direction: 'forward'}})
  const undoProbe = (kind: string, {step, when, cancelledAfter}: Undo): Probe => ({
    cancel: {kind, step: cancelledAfter, direction: 'forward', when: 'stored'}, kill: {kind, step, when, direction: 'undo'},
  })
  async function succeeds(probe: Probe, begin: (key: string) => Promise<ApiOperation>): Promise<ApiOperation> {
    const end = await killedAgent(site, probe, begin)
    assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
    return end
  }
  async function isCancelled(kind: string, kill: Undo, begin: (key: string) => Promise<ApiOperation>): Promise<void> {
    const before = await stateOf('demo')
    const end = await killedAgent(site, undoProbe(kind, kill), begin)
    assert.equal(end.status, 'cancelled', JSON.stringify(end.error))
    assert.deepEqual(await stateOf('demo'), before)
    await writes('demo')
  }

  describe('a restore into a new instance', () => {
    const begin = (key: string) => restore('demo', {to: 'two-are-in', into: 'copy'}, key)
    for (const kill of sampled(kills(into), 3)) {
      it(`ends the same: killed ${kill.when} ${kill.step}`, async () => {
        await succeeds(probeOf('instance.restore', kill), begin)
        assert.deepEqual([await numbers('copy'), await numbers('demo')], [[1, 2], [1, 2, 3]])
        await writes('copy')
        await clean('copy', 'demo')
        await remove('copy')
        await clean('demo')
      })
    }
    for (const kill of sampled(undone('verify', ['recover', 'place-node']), 1)) {
      it(`is cancelled without a trace: killed ${kill.when} undoing ${kill.step}`, async () => {
        await isCancelled('instance.restore', kill, begin)
        await clean('demo')
      })
    }
  })

  describe('the restore that is tried', () => {
    const begin = (key: string) => call(site, 'drills.restore', {params: {instance: 'demo'}, body: {}}, key)
    const tests = () => stored<{id: string}>('SELECT id FROM restore_tests').length
    async function passes(probe: Probe): Promise<void> {
      await original()
      const before = tests()
      const end = await succeeds(probe, begin)
      const receipt = end.result as {ok: boolean; tables: number; rows: number}
      assert.ok(receipt.ok && receipt.tables > 60 && receipt.rows > 1000, JSON.stringify(receipt))
      assert.equal(tests(), before + 1)
      assert.equal((await get('demo')).backup.last_restore_test?.ok, true)
      await clean('demo')
    }
    for (const kill of sampled(kills(['restore']), 1)) it(`ends the same: killed ${kill.when} it`, () => passes(probeOf('drill.restore', kill)))
    for (const laterMs of moments([700, 1400])) {
      it(`ends the same: killed ${laterMs} ms after it began`, () => passes({kill: {kind: 'drill.restore', step: 'restore', direction: 'forward', when: 'before', laterMs}}))
    }
  })

  describe('a restore in place, and its undo', () => {
    const begin = (key: string) => restore('demo', {to: 'two-are-in'}, key)
    const forward = sampled(kills(inPlace), 5, 2)
    const back = sampled(kills(switching), 3, 3)
    // one makes what the other begins with
    for (let i = 0; i < Math.max(forward.length, back.length); i++) {
      const [kill, killBack] = [forward[i], back[i]]
      if (kill) {
        it(`ends the same: killed ${kill.when} ${kill.step}`, async () => {
          await original()
          await afterInPlace(await succeeds(probeOf('instance.restore', kill), begin))
        })
      }
      if (killBack) {
        it(`is gone back from all the same: killed ${killBack.when} ${killBack.step}`, async () => {
          await restored()
          await afterUndo(await succeeds(probeOf('instance.restore', killBack), undo))
        })
      }
    }
    for (const laterMs of moments([900])) {
      it(`ends the same: killed ${laterMs} ms after its files began to come`, async () => {
        await original()
        await afterInPlace(await succeeds({kill: {kind: 'instance.restore', step: 'restore-files', direction: 'forward', when: 'before', laterMs}}, begin))
      })
    }
    for (const kill of sampled(undone('await-ready', ['exchange', 'hold-connections', 'recover', 'place-node']), 2, 4)) {
      it(`is cancelled without a trace: killed ${kill.when} undoing ${kill.step}`, async () => {
        await original()
        await isCancelled('instance.restore', kill, begin)
        await clean('demo')
      })
    }
    for (const kill of sampled(undone('await-ready', ['exchange', 'hold-connections']), 1, 5)) {
      it(`is gone back from not at all when that is cancelled: killed ${kill.when} undoing ${kill.step}`, async () => {
        const kept = await restored()
        await isCancelled('instance.restore', kill, undo)
        await clean('demo', kept)
        // and it still can be
        await original()
      })
    }
  })

  describe('a delete that keeps something', () => {
    const rows = [7, 8, 9]
    const steps = ['close-endpoint', 'end-backups', 'stop-server', 'shred', 'erase']
    async function there(): Promise<void> {
      if (!(await names()).includes('gone')) await make('gone', rows)
      await until('its first backup', async () => (await get('gone')).backup.recoverable_to !== null)
      await archived('gone')
    }
    const begin = (query: object) => (key: string) => call(site, 'instances.delete', {params: {instance: 'gone'}, query}, key)
    /** What was kept is good for what it is kept for; then it goes, too. */
    async function isKept(triggers: readonly string[]): Promise<void> {
      await clean('demo')
      const kept = await backupsOf('gone')
      assert.deepEqual(kept.map((b) => [b.status, b.trigger]).sort(), triggers.map((trigger) => ['completed', trigger]).sort())
      await good(await restore('gone', {into: 'again'}))
      assert.deepEqual(await numbers('again'), rows)
      await remove('again')
      for (const {id} of kept) await good(await call(site, 'backups.delete', {params: {backup: id}, query: {}}))
      await clean('demo')
    }
    for (const kill of sampled(kills(['final-backup', ...steps]), 2, 6)) {
      it(`with a last backup ends the same: killed ${kill.when} ${kill.step}`, async () => {
        await there()
        await succeeds(probeOf('instance.delete', kill), begin({final_backup: true}))
        await isKept(['final'])
      })
    }
    for (const laterMs of moments([400])) {
      it(`with a last backup ends the same: killed ${laterMs} ms after that began`, async () => {
        await there()
        await succeeds({kill: {kind: 'instance.delete', step: 'final-backup', direction: 'forward', when: 'before', laterMs}}, begin({final_backup: true}))
        await isKept(['final'])
      })
    }
    for (const kill of sampled(kills(steps), 1, 7)) {
      it(`with its backups kept ends the same: killed ${kill.when} ${kill.step}`, async () => {
        await there()
        await succeeds(probeOf('instance.delete', kill), begin({keep_backups: true}))
        await isKept(['first'])
      })
    }
    for (const kill of sampled(undone('stop-server', ['stop-server']), 1)) {
      it(`is cancelled without a trace: killed ${kill.when} undoing ${kill.step}`, async () => {
        await there()
        const before = await stateOf('gone')
        // during that step: when it is stored, the point of no return has come
        const cancel = {kind: 'instance.delete', step: kill.cancelledAfter, direction: 'forward', when: 'after'} as const
        const end = await killedAgent(site, {...undoProbe('instance.delete', kill), cancel}, begin({final_backup: true}))
        assert.equal(end.status, 'cancelled', JSON.stringify(end.error))
        assert.deepEqual(await stateOf('gone'), before)
        await writes('gone')
        await remove('gone')
      })
    }
  })

  describe('all of it', () => {
    it('leaves nothing when it is deleted', async () => {
      for (const name of await names()) await remove(name)
      // a history that was left goes with its last backup, a little later
      await until('the end of all histories', async () => stored('SELECT id FROM histories').length === 0, 30)
      assert.deepEqual(leftoversOf(site.home), [])
    })
  })
})

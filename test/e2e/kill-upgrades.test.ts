/**
 * A kill -9 at any moment of a major upgrade, of its undo, and of what takes either back: the end is the same, every row is
 * there, and nothing is left behind.
 */
import assert from 'node:assert/strict'
import {existsSync, readdirSync} from 'node:fs'
import {join} from 'node:path'
import Database from 'better-sqlite3'
import type {ApiInstance, ApiOperation} from '../../src/core/api/schemas.js'
import {call, finish, killedAgent, whens} from '../support/kills.js'
import {needOrSkip} from '../support/need.js'
import {clientOf} from '../support/probed-agent.js'
import {full, sampled} from '../support/runs.js'
import {dataRootOf, processesOf, temporarySite} from '../support/site.js'

const debian15 = '/usr/lib/postgresql/15/bin'
const kind = 'instance.upgrade_major'
const making = ['prepare-software', 'place-node', 'initialise', 'configure', 'start-copy', 'preflight', 'hold-connections', 'close-server', 'copy', 'compare']
const switching = ['stop-servers', 'exchange', 'move-data', 'start-server', 'await-ready', 'open-endpoint']

interface Kill {
  readonly step: string
  readonly when: (typeof whens)[number]
}
const kills = (steps: readonly string[]): Kill[] => steps.flatMap((step) => whens.map((when) => ({step, when})))

describe('an agent killed at any step of a major upgrade', function () {
  this.timeout(180_000)
  needOrSkip(() => (existsSync(join(debian15, 'pg_dump')) && existsSync(join(debian15, 'postgres')) ? undefined : `there is no pg_dump and postgres in ${debian15}: apt-get install postgresql-15`))
  const site = temporarySite('kill-upgrades', {env: {DBAAS_POOL_SIZE: '0'}})
  after(() => site.dispose())

  const get = async (name: string): Promise<ApiInstance> => (await clientOf(site).call('instances.get', {params: {instance: name}})).instance
  const names = async (): Promise<string[]> => (await clientOf(site).call('instances.list', {})).instances.map((i) => i.name).sort()
  const sql = async (statement: string): Promise<unknown[][]> =>
    (await clientOf(site).call('instances.sql', {params: {instance: 'demo'}, body: {statement}, idempotencyKey: `${Math.random()}`})).rows
  const major = async (): Promise<string> => (await get('demo')).version.split('.')[0] as string
  const upgrade = (key?: string) => call(site, 'instances.upgrade', {params: {instance: 'demo'}, body: {version: '18'}}, key)
  const undo = (key?: string) => call(site, 'instances.undo_upgrade', {params: {instance: 'demo'}, body: {}}, key)
  async function good(operation: ApiOperation): Promise<Record<string, string>> {
    const end = await finish(site, operation)
    assert.equal(end.status, 'succeeded', `${end.kind}: ${JSON.stringify(end.error)}`)
    return end.result as Record<string, string>
  }
  const remove = async (name: string): Promise<unknown> => good(await call(site, 'instances.delete', {params: {instance: name}, query: {}}))

  /** What there is beside the instances that are listed. */
  function leftBehind(instances: readonly ApiInstance[]): string[] {
    const root = dataRootOf(site.home)
    const below = (...path: string[]): string[] => (existsSync(join(root, ...path)) ? readdirSync(join(root, ...path)) : [])
    const known = instances.flatMap((i) => i.nodes.map((node) => `${i.id}/${node.id}`))
    const running = instances.filter((i) => i.status !== 'stopped').flatMap((i) => i.nodes.map((n) => n.id))
    const owners = new Set(instances.flatMap((i) => [i.id, ...i.nodes.map((n) => n.id)]))
    const db = new Database(join(site.home, 'metadata.db'), {readonly: true})
    const stored = <T>(query: string): T[] => db.prepare(query).all() as T[]
    try {
      return [
        ...below('instances').flatMap((instance) => below('instances', instance).map((node) => `${instance}/${node}`)).filter((place) => !known.includes(place)).map((place) => `folder ${place}`),
        ...below('scratch').map((name) => `scratch ${name}`),
        ...processesOf([root]).filter(({what}) => /bin\/(?:postgres|pg_dump|pg_restore|psql)\b/.test(what)).filter(({what}) => !running.some((id) => what.includes(id))).map(({what}) => `process ${what}`),
        ...stored<{name: string}>("SELECT name FROM settings WHERE name LIKE 'gap:%' OR name LIKE 'upgrade:%' OR name LIKE 'copying:%'").map(({name}) => `setting ${name}`),
        ...stored<{id: string}>('SELECT id FROM nodes').filter(({id}) => !owners.has(id)).map(({id}) => `row of ${id}`),
        ...stored<{owner_id: string}>('SELECT owner_id FROM ports').filter(({owner_id: id}) => !owners.has(id)).map(({owner_id: id}) => `port of ${id}`),
        ...stored<{owner_id: string}>("SELECT owner_id FROM secrets WHERE owner_id NOT LIKE 'site_%'").filter(({owner_id: id}) => !owners.has(id)).map(({owner_id: id}) => `secret of ${id}`),
      ]
    } finally {
      db.close()
    }
  }
  async function clean(version: string, ...expected: string[]): Promise<void> {
    const {instances} = await clientOf(site).call('instances.list', {})
    assert.deepEqual(instances.map((i) => i.name).sort(), expected)
    assert.deepEqual(leftBehind(instances), [])
    const demo = await get('demo')
    assert.deepEqual([demo.version.split('.')[0], demo.status], [version, 'running'])
    assert.match(demo.status_reason ?? '', /backups are off/)
    assert.match(String((await sql('show server_version'))[0]?.[0]), new RegExp(`^${version}\\b`))
    assert.deepEqual(await sql('select count(*)::int, sum(n)::int from journal'), [[3000, 4501500]])
    await sql('insert into journal values (0)')
    await sql('delete from journal where n = 0')
  }

  before(async () => {
    await site.run('agent', 'start')
    await good(await call(site, 'instances.create', {body: {name: 'demo', size: 'micro', version: '15', backup: false}}))
    await sql('create table journal as select generate_series(1, 3000) as n')
  })

  /** As it was made. */
  async function original(): Promise<void> {
    if ((await major()) === '18') await remove((await good(await undo()))['kept_as'] as string)
    await clean('15', 'demo')
  }
  async function upgraded(): Promise<string> {
    if ((await major()) === '18') return (await names()).find((name) => name.startsWith('demo-before-')) as string
    return (await good(await upgrade()))['kept_as'] as string
  }
  const killed = (kill: Kill, begin: (key: string) => Promise<ApiOperation>) => killedAgent(site, {kill: {kind, direction: 'forward', ...kill}}, begin)

  const forth = sampled(kills([...making, ...switching]), 4, 2)
  const back = sampled(kills(['hold-connections', ...switching]), 1, 3)
  for (const [i, kill] of forth.entries()) {
    it(`ends the same: killed ${kill.when} ${kill.step}`, async () => {
      await original()
      const end = await killed(kill, upgrade)
      assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
      await clean('18', 'demo', (end.result as Record<string, string>)['kept_as'] as string)
    })
    const killBack = back[i]
    if (!killBack) continue
    it(`is gone back from all the same: killed ${killBack.when} ${killBack.step}`, async () => {
      await upgraded()
      const end = await killed(killBack, undo)
      assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
      const kept = (end.result as Record<string, string>)['kept_as'] as string
      await clean('15', 'demo', kept)
      await remove(kept)
    })
  }
  for (const laterMs of full ? Array.from({length: 12}, (_, i) => 100 + i * 200) : [300]) {
    it(`ends the same: killed ${laterMs} ms after it began to copy`, async () => {
      await original()
      const end = await killedAgent(site, {kill: {kind, step: 'copy', direction: 'forward', when: 'before', laterMs}}, upgrade)
      assert.equal(end.status, 'succeeded', JSON.stringify(end.error))
      await clean('18', 'demo', (end.result as Record<string, string>)['kept_as'] as string)
    })
  }
  for (const {step, when} of sampled(kills(['await-ready', 'exchange', 'hold-connections', 'start-copy', 'place-node']), 2, 4)) {
    it(`is taken back without a trace: killed ${when} undoing ${step}`, async () => {
      await original()
      const end = await killedAgent(site, {kill: {kind, step, direction: 'undo', when}, fault: {kind, step: 'await-ready'}}, upgrade)
      assert.equal(end.status, 'failed', JSON.stringify(end.error))
      assert.match(end.error?.message ?? '', /fault was injected/)
      await clean('15', 'demo')
    })
  }
})

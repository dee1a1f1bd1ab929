/**
 * Properties of one instance's life on real servers: every iteration is a real create of a random valid configuration,
 * real TLS clients, a real deletion, and a scan of all state.
 */
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import {readdirSync, readFileSync, statSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import type {ApiInstance, CreateBody} from '../../src/core/api/schemas.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {leftoversOf} from '../support/leftovers.js'
import {realRuns} from '../support/runs.js'
import {dataRootOf} from '../support/site.js'

const MIB = 1024 ** 2

/** Values that a server of any supported version takes, of every kind of parameter and way of applying it. */
const parameter: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  fc.integer({min: 64, max: 65_536}).map((kb) => ['work_mem', `${kb}kB`] as const),
  fc.integer({min: 10, max: 200}).map((n) => ['max_connections', String(n)] as const),
  fc.integer({min: 1, max: 64}).map((mb) => ['maintenance_work_mem', `${mb}MB`] as const),
  fc.boolean().map((b) => ['jit', b ? 'on' : 'off'] as const),
  fc.constantFrom('none', 'ddl', 'mod').map((v) => ['log_statement', v] as const),
  fc.integer({min: 0, max: 10}).map((n) => ['random_page_cost', `${1 + n / 10}`] as const),
  fc.integer({min: 1, max: 3600}).map((s) => ['statement_timeout', `${s}s`] as const),
  fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York').map((z) => ['timezone', z] as const),
  fc.integer({min: 16, max: 200}).map((mb) => ['shared_buffers', `${mb}MB`] as const),
  fc.constantFrom('on', 'off').map((v) => ['autovacuum', v] as const),
)

const configuration: fc.Arbitrary<CreateBody> = fc.record({
  size: fc.constantFrom('micro', 'small'),
  template: fc.option(fc.constantFrom('dev', 'oltp', 'analytics'), {nil: undefined}),
  parameters: fc.array(parameter, {maxLength: 4}).map((pairs) => Object.fromEntries(pairs)),
  protected: fc.constant(false),
  cpu: fc.option(fc.constantFrom(0.5, 1), {nil: undefined}),
  memory_bytes: fc.option(fc.constantFrom(256 * MIB, 700 * MIB), {nil: undefined}),
}).map(({template, cpu, memory_bytes, ...rest}) => ({
  name: 'p', ...rest, ...(template ? {template} : {}), ...(cpu ? {cpu} : {}), ...(memory_bytes ? {memory_bytes} : {}),
}))

/** Every file below the folders that contains the bytes. */
function filesWith(folders: readonly string[], marker: string): string[] {
  const found: string[] = []
  const look = (path: string): void => {
    const stat = statSync(path, {throwIfNoEntry: false})
    if (stat?.isDirectory()) for (const name of readdirSync(path)) look(join(path, name))
    else if (stat?.isFile() && readFileSync(path).includes(marker)) found.push(path)
  }
  for (const folder of folders) look(folder)
  return found
}

describe('a create of any valid configuration, and its deletion', function () {
  this.timeout(900_000)
  const runs = realRuns(20, 100)
  const seen: {readonly body: CreateBody; readonly ms: number; readonly problems: readonly string[]; readonly left: readonly string[]; readonly marked: readonly string[]}[] = []
  let agent: InProcess
  before(async () => {
    agent = await startInProcess('provisioning')
    let n = 0
    await fc.assert(fc.asyncProperty(configuration, async (body) => {
      const name = `p${++n}`
      const began = Date.now()
      const operation = await agent.create({...body, name})
      const ms = Date.now() - began
      const problems = operation.status === 'succeeded' ? await whatIsWrong(agent, name, body) : [`the operation ${operation.status}: ${operation.error?.message}`]
      const marker = `marker-${randomUUID()}`
      if (operation.status === 'succeeded') {
        await sql(agent, name, `create table t as select '${marker}' as secret from generate_series(1, 50)`)
        await sql(agent, name, 'create index on t (secret)')
        assert.notDeepEqual(filesWith([dataRootOf(agent.site.home)], marker), [], 'the marker must be on disk for the scan to mean anything')
        const removal = await agent.remove(name)
        if (removal.status !== 'succeeded') problems.push(`the deletion ${removal.status}: ${removal.error?.message}`)
      }
      seen.push({body, ms, problems, left: leftoversOf(agent.site.home), marked: filesWith([agent.site.home, dataRootOf(agent.site.home)], marker)})
    }), {numRuns: runs, endOnFailure: true})
  })
  after(() => agent?.dispose())

  // Feature: enterprise-dbaas-platform, Property 1: Multi-Engine Database Provisioning
  // Iterations: 20 real creates in CI, 100 in test:full
  it('ends running, over TLS, with every parameter read back as asked', () => {
    assert.equal(seen.length, runs)
    for (const {body, problems} of seen) assert.deepEqual(problems, [], JSON.stringify(body))
  })

  // Feature: enterprise-dbaas-platform, Property 5: Provisioning Time Bounds
  // Iterations: 20 real creates in CI, 100 in test:full
  it('takes less than five minutes', () => {
    for (const {body, ms} of seen) assert.ok(ms < 300_000, `${ms} ms for ${JSON.stringify(body)}`)
  })

  // Feature: enterprise-dbaas-platform, Property 7: Resource Deletion Completeness
  // Iterations: 20 real deletions in CI, 100 in test:full
  it('leaves no process, folder, port, secret, row, or byte of its data when it is deleted', () => {
    for (const {left, marked} of seen) {
      assert.deepEqual(left, [])
      assert.deepEqual(marked, [])
    }
  })

  it('keeps the audit trail of what was deleted, whole', async () => {
    let deletions = 0
    for (let before: number | undefined; before !== 1; ) {
      const {entries} = await agent.client.call('audit.list', {query: {limit: 1000, ...(before ? {before} : {})}})
      deletions += entries.filter((e) => e.action === 'instance.delete' && e.result === 'succeeded').length
      before = entries.at(-1)?.sequence ?? 1
    }
    assert.equal(deletions, runs)
    const {verification} = await agent.client.call('audit.verify', {})
    assert.equal(verification.ok, true, verification.because ?? '')
  })
})

const sql = (agent: InProcess, instance: string, statement: string) =>
  agent.client.call('instances.sql', {params: {instance}, body: {statement}, idempotencyKey: freshKey()})

async function whatIsWrong(agent: InProcess, name: string, body: CreateBody): Promise<string[]> {
  const problems: string[] = []
  const {instance}: {instance: ApiInstance} = await agent.client.call('instances.get', {params: {instance: name}})
  if (instance.status !== 'running') problems.push(`it is ${instance.status}: ${instance.status_reason}`)
  const tls = await sql(agent, name, "select version from pg_stat_ssl where pid = pg_backend_pid()")
  if (tls.rows[0]?.[0] !== 'TLSv1.3') problems.push(`the session has ${tls.rows[0]?.[0]}`)
  for (const [parameterName, value] of Object.entries(body.parameters ?? {})) {
    // the server itself says whether the two texts mean the same: it converts the asked one in a transaction of its own
    const read = await sql(agent, name, `select setting, unit from pg_settings where lower(name) = lower('${parameterName}')`)
    const [setting, unit] = read.rows[0] ?? []
    if (!same(String(setting), unit === null ? null : String(unit), value)) problems.push(`${parameterName} is ${setting} ${unit ?? ''}, asked for ${value}`)
  }
  const role = await sql(agent, name, 'select rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls from pg_roles where rolname = current_user')
  if (role.rows[0]?.[0] !== false) problems.push('the application role has more rights than it needs')
  return problems
}

/** By other means than the product's own comparison. */
function same(setting: string, unit: string | null, asked: string): boolean {
  const match = /^(\d+(?:\.\d+)?)(kB|MB|s)?$/.exec(asked)
  if (!match || asked === setting) return asked === setting
  const base: Record<string, number> = {kB: 1024, '8kB': 8192, MB: 1024 ** 2, s: 1000, ms: 1, '': 1}
  const scale = match[2] ? (base[match[2]] as number) : (base[unit ?? ''] ?? 1)
  return Math.abs(Number(setting) * (base[unit ?? ''] ?? 1) - Number(match[1]) * scale) < 1e-6
}

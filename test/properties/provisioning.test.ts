/**
 * Properties of one instance's life on real servers: every iteration is a real create of a random valid configuration,
 * real TLS clients, a real deletion, and a scan of all state.
 */
import assert from 'node:assert/strict'
import {randomUUID} from 'node:crypto'
import {lstatSync, readdirSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import type {ApiInstance, CreateBody} from '../../src/core/api/schemas.js'
import {freshKey, startInProcess, type InProcess} from '../support/in-process.js'
import {leftoversOf} from '../support/leftovers.js'
import {dialects, type Dialect} from '../support/dialects.js'
import {cells, prepareAgent, type Cell} from '../support/matrix.js'
import {realRuns} from '../support/runs.js'
import {dataRootOf} from '../support/site.js'

const MIB = 1024 ** 2

const configuration = (cell: Cell, {parameter}: Dialect): fc.Arbitrary<CreateBody> => fc.record({
  size: fc.constantFrom('micro', 'small'),
  template: fc.option(fc.constantFrom('dev', 'oltp', 'analytics'), {nil: undefined}),
  parameters: fc.array(parameter, {maxLength: 4}).map((pairs) => Object.fromEntries(pairs)),
  protected: fc.constant(false),
  cpu: fc.option(fc.constantFrom(0.5, 1), {nil: undefined}),
  memory_bytes: fc.option(fc.constantFrom(cell.leastMemoryMib * MIB, 700 * MIB), {nil: undefined}),
}).map(({template, cpu, memory_bytes, ...rest}) => ({
  name: 'p', engine: cell.engine, runtime: cell.runtime, ...cell.body, ...rest, ...(template ? {template} : {}), ...(cpu ? {cpu} : {}), ...(memory_bytes ? {memory_bytes} : {}),
}))

/** Every file below the folders that contains the bytes. */
function filesWith(folders: readonly string[], marker: string): string[] {
  const found: string[] = []
  const look = (path: string): void => {
    // a link's target is looked at where it is, and some packages link to themselves
    const stat = lstatSync(path, {throwIfNoEntry: false})
    if (stat?.isDirectory()) for (const name of readdirSync(path)) look(join(path, name))
    else if (stat?.isFile() && readFileSync(path).includes(marker)) found.push(path)
  }
  for (const folder of folders) look(folder)
  return found
}

for (const cell of cells) describe(`a create of any valid configuration, and its deletion: ${cell.title}`, function () {
  cell.need()
  this.timeout(1_800_000)
  const dialect = dialects[cell.engine] as Dialect
  const runs = realRuns(...cell.runs)
  const seen: {readonly body: CreateBody; readonly ms: number; readonly problems: readonly string[]; readonly left: readonly string[]; readonly marked: readonly string[]}[] = []
  let agent: InProcess
  before(async () => {
    agent = await startInProcess('provisioning', {env: cell.env})
    await prepareAgent(agent, cell)
    let n = 0
    await fc.assert(fc.asyncProperty(configuration(cell, dialect), async (body) => {
      const name = `p${++n}`
      const began = Date.now()
      const operation = await agent.create({...body, name})
      const ms = Date.now() - began
      const problems = operation.status === 'succeeded' ? await whatIsWrong(agent, name, body, dialect) : [`the operation ${operation.status}: ${operation.error?.message}`]
      const marker = `marker-${randomUUID()}`
      if (operation.status === 'succeeded') {
        for (const statement of dialect.marker(marker)) await sql(agent, name, statement)
        if (cell.runtime === 'process') {
          assert.notDeepEqual(filesWith([dataRootOf(agent.site.home)], marker), [], 'the marker must be on disk for the scan to mean anything')
        }
        const removal = await agent.remove(name)
        if (removal.status !== 'succeeded') problems.push(`the deletion ${removal.status}: ${removal.error?.message}`)
      }
      seen.push({body, ms, problems, left: leftoversOf(agent.site.home), marked: filesWith([agent.site.home, dataRootOf(agent.site.home)], marker)})
    }), {numRuns: runs, endOnFailure: true})
  })
  after(() => agent?.dispose())

  // Feature: enterprise-dbaas-platform, Property 1: Multi-Engine Database Provisioning
  // Iterations: real creates in CI/test:full: 12/100 PostgreSQL on process, 10/20 MariaDB on process and PostgreSQL on docker, 10/10 the slow cells
  it('ends running, over TLS, with every parameter read back as asked', () => {
    assert.equal(seen.length, runs)
    for (const {body, problems} of seen) assert.deepEqual(problems, [], JSON.stringify(body))
  })

  // Feature: enterprise-dbaas-platform, Property 5: Provisioning Time Bounds
  // Iterations: real creates in CI/test:full: 12/100 PostgreSQL on process, 10/20 MariaDB on process and PostgreSQL on docker, 10/10 the slow cells
  it('takes less than five minutes', () => {
    for (const {body, ms} of seen) assert.ok(ms < 300_000, `${ms} ms for ${JSON.stringify(body)}`)
  })

  // Feature: enterprise-dbaas-platform, Property 7: Resource Deletion Completeness
  // Iterations: real deletions in CI/test:full: 12/100 PostgreSQL on process, 10/20 MariaDB on process and PostgreSQL on docker, 10/10 the slow cells
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

async function whatIsWrong(agent: InProcess, name: string, body: CreateBody, dialect: Dialect): Promise<string[]> {
  const problems: string[] = []
  const {instance}: {instance: ApiInstance} = await agent.client.call('instances.get', {params: {instance: name}})
  if (instance.status !== 'running') problems.push(`it is ${instance.status}: ${instance.status_reason}`)
  const tls = await sql(agent, name, dialect.tlsVersion)
  if (tls.rows[0]?.at(-1) !== 'TLSv1.3') problems.push(`the session has ${tls.rows[0]?.at(-1)}`)
  for (const [parameterName, value] of Object.entries(body.parameters ?? {})) {
    const [row = []] = (await sql(agent, name, dialect.parameterQuery(parameterName))).rows
    if (!dialect.same(row, value)) problems.push(`${parameterName} is ${row.join(' ')}, asked for ${value}`)
  }
  const rights = await sql(agent, name, dialect.tooManyRights)
  if (Number(rights.rows[0]?.[0]) !== 0) problems.push('the application role has more rights than it needs')
  return problems
}

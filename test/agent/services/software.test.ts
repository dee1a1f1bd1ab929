/** What the service makes of runtimes that deal in programs, in images, or do not answer. */
import assert from 'node:assert/strict'
import type {InstalledVersion, InstallRequest, Runtime, SoftwareStore} from '../../../src/agent/runtimes/runtime.js'
import type {ServiceContext} from '../../../src/agent/services/context.js'
import {createSoftwareService} from '../../../src/agent/services/software/service.js'
import {installDeadlineSeconds, softwareWorkflows, type SoftwareInput} from '../../../src/agent/services/software/workflows.js'
import {resolveVersion} from '../../../src/agent/services/versions.js'
import {agentPrincipal} from '../../../src/core/access/principal.js'
import {DbaasError} from '../../../src/core/errors.js'
import type {Engine, EngineVersions} from '../../../src/engines/engine.js'
import {archivedVersions} from '../runtimes/process/archive/engines.js'
import {fakeSoftware} from '../../runtimes/fake-engine.js'

const principal = agentPrincipal('req_test')

interface Asked {
  readonly engine: string
  readonly request: InstallRequest
}

function world(options: {installed?: InstalledVersion[]; images?: InstalledVersion[]; imagesFail?: boolean; versions?: Partial<EngineVersions>; cancelled?: boolean} = {}) {
  const asked: Asked[] = []
  const stages: string[] = []
  const store = (images: boolean): SoftwareStore => ({
    onDemand: images,
    async installed() {
      if (images && options.imagesFail) throw new DbaasError('RUNTIME_UNAVAILABLE', 'the Docker engine does not answer')
      return (images ? options.images : options.installed) ?? []
    },
    async locate(_, version, from) {
      const all = (images ? options.images : options.installed) ?? []
      return from ? undefined : all.find((v) => v.version === version)
    },
    async install(engine, request) {
      asked.push({engine, request})
      return {version: '7.2.1', source: images ? 'image' : 'archive', bin: '/bin', image: null, ...(images ? {} : {checksum: 'sha256:00'})}
    },
    remove: async () => undefined,
    ...(images ? {} : {archives: {
      plan: async (_engine: string, {from}: InstallRequest) => (from?.startsWith('https:') ? (['download', 'verify', 'unpack'] as const) : (['copy'] as const)),
      advance: async (_engine: string, _request: InstallRequest, stage: string) => void stages.push(stage),
      abandon: async (_engine: string, _request: InstallRequest, {keepPartial}: {keepPartial: boolean}) => void stages.push(keepPartial ? 'keep' : 'remove'),
    }}),
  })
  const runtimes: Record<string, Runtime> = {
    process: {name: 'process', software: store(false)} as Runtime, docker: {name: 'docker', software: store(true)} as Runtime,
  }
  const engine = {...fakeSoftware, versions: {...archivedVersions, ...options.versions}} as Engine
  const context = {
    engines: {names: ['fake'], get: () => engine},
    runtimes: {names: ['process', 'docker'], default: 'process', get: (name: string) => runtimes[name] as Runtime},
    store: {read: async (_: unknown, work: (tx: unknown) => unknown) => work({operations: {get: async () => ({cancelRequested: options.cancelled ?? false})}})},
  } as unknown as ServiceContext
  const flows = softwareWorkflows(context, 'linux-x64')
  const service = createSoftwareService({context, platform: 'linux-x64', workflow: (kind) => flows.find((flow) => flow.kind === kind) as (typeof flows)[number]})
  return {engine, context, service, flows, asked, stages, runtimes}
}

const at = (version: string, source: InstalledVersion['source'] = 'archive'): InstalledVersion => ({version, source, bin: `/x/${version}`, image: null})
const planned = async (answer: Promise<object>): Promise<readonly string[]> => ((await answer) as {plan: {steps: string[]}}).plan.steps

describe('the engines of a site', () => {
  it('are listed over all runtimes, also those that have none; a runtime that does not answer is a note', async () => {
    const both = await world({installed: [{...at('7.2.1'), checksum: 'sha256:aa'}], images: [at('7.3', 'image')]}).service.list(principal)
    assert.deepEqual(both.engines[0]?.versions.map((v) => [v.runtime, v.version, v.source, v.installed, v.checksum]), [
      ['process', '7.2.1', 'archive', true, 'sha256:aa'], ['docker', '7.3', 'image', true, null],
    ])
    assert.deepEqual([both.engines[0]?.hints, both.notes], [[], []])
    const silent = await world({imagesFail: true, installed: [at('7.2.1')]}).service.list(principal)
    assert.deepEqual(silent.engines[0]?.versions.map((v) => v.version), ['7.2.1'])
    assert.match(silent.notes.join(), /docker.*the Docker engine does not answer/)
    const none = await world({versions: {installHints: ['apt-get install fakedb']}}).service.list(principal)
    assert.deepEqual(none.engines[0]?.hints, ['apt-get install fakedb', 'dbaas engines install fake@7.2 --runtime docker'])
  })

  it('are installed in the steps that their source needs, within a time that fits it', async () => {
    const {service} = world({installed: [at('7.1.9', 'system')]})
    const steps = (body: object) => planned(service.install(principal, 'fake', {...body, plan: true}, undefined))
    assert.deepEqual(await steps({from: 'https://x/y.tar.gz'}), ['download', 'verify', 'unpack', 'check'])
    assert.deepEqual(await steps({from: '/opt/x', version: '7.2'}), ['copy', 'check'])
    assert.deepEqual(await steps({version: '7.1'}), ['install'])
    assert.deepEqual(await steps({runtime: 'docker'}), ['install'])
    assert.equal(installDeadlineSeconds({from: null, runtime: 'process'}, 'process'), 900)
    assert.equal(installDeadlineSeconds({from: 'https://x', runtime: 'process'}, 'process'), 14_400)
    assert.equal(installDeadlineSeconds({from: null, runtime: 'docker'}, 'process'), 14_400)
  })

  it('are refused where what is asked for makes no sense', async () => {
    const {service} = world()
    const refuse = (body: object, code: string, message: RegExp) => assert.rejects(service.install(principal, 'fake', {...body, plan: true}, undefined), {code, message})
    await refuse({}, 'ENGINE_NOT_INSTALLED', /not found on this machine/)
    await refuse({version: '7.4'}, 'ENGINE_NOT_INSTALLED', /Fake 7\.4/)
    await refuse({version: '3'}, 'UNKNOWN_VERSION', /no version that dbaas can run/)
    await refuse({version: '3', from: '/x'}, 'UNKNOWN_VERSION', /no version that dbaas can run/)
    await refuse({version: '7.2', checksum: `sha256:${'0'.repeat(64)}`}, 'INVALID_REQUEST', /nothing is named/)
    await refuse({version: '7.2', from: '/x', checksum: 'md5:0'}, 'INVALID_REQUEST', /MD5/)
    await refuse({version: '7.2', runtime: 'docker', checksum: `sha512:${'0'.repeat(128)}`}, 'NOT_SUPPORTED', /digest/)
  })

  it('are asked of the runtime that was named: images by their reference', async () => {
    const {flows, asked} = world()
    const install = flows[0]
    const run = (input: SoftwareInput) => install?.steps.install.run({input, progress: () => undefined, signal: new AbortController().signal} as never)
    await run({engine: 'fake', version: '7.2', runtime: 'docker', from: 'registry/fake:7.2', checksum: null})
    assert.deepEqual(asked, [{engine: 'fake', request: {version: '7.2', known: null, from: 'registry/fake:7.2', checksum: null}}])
  })

  it('go on from stage to stage; who cancels keeps nothing of a download', async () => {
    const {flows, stages} = world()
    const input: SoftwareInput = {engine: 'fake', version: '', runtime: 'process', from: 'https://x/y', checksum: null, stages: ['download', 'verify', 'unpack']}
    const context = {input, operationId: 'op_1', progress: () => undefined, signal: new AbortController().signal} as never
    assert.deepEqual(await flows[0]?.steps.download.run(context), {kind: 'next', step: 'verify'})
    assert.deepEqual(await flows[0]?.steps.unpack.run(context), {kind: 'next', step: 'check'})
    const end = await flows[0]?.steps.check.run(context)
    assert.deepEqual(end, {kind: 'done', result: {engine: 'fake', version: '7.2.1', runtime: 'process', source: 'archive', path: '/bin', checksum: 'sha256:00', already: false}})
    await flows[0]?.steps.download.undo?.(context)
    assert.deepEqual(stages, ['download', 'unpack', 'keep'])
    const cancelled = world({cancelled: true})
    await cancelled.flows[0]?.steps.download.undo?.(context)
    assert.deepEqual(cancelled.stages, ['remove'])
  })

  it('are removed from where they are', async () => {
    const {service} = world({installed: [at('7.1.9', 'system')], images: [at('7.3', 'image')]})
    await assert.rejects(service.remove(principal, 'fake', '7.1', {plan: true}, undefined), {code: 'INVALID_STATE', message: /belongs to the system/})
    await assert.rejects(service.remove(principal, 'fake', '7.9', {plan: true}, undefined), {code: 'ENGINE_NOT_INSTALLED'})
    await assert.rejects(service.remove(principal, 'fake', '7.3', {plan: true, runtime: 'process'}, undefined), {code: 'ENGINE_NOT_INSTALLED'})
  })

  it('of which there is a server are meant by their name alone; of which there is none, how to get one is said', async () => {
    const {engine, runtimes} = world({installed: [at('8.0.3'), at('7.5.1')]})
    const resolve = (asked: string | undefined, from: ReturnType<typeof world>) => resolveVersion(from.engine, from.runtimes.process as Runtime, asked, 'linux-x64')
    // the default of the engine is 7.2: what is here is better than nothing
    assert.equal((await resolveVersion(engine, runtimes.process as Runtime, undefined, 'linux-x64')).version, '8.0.3')
    assert.equal((await resolve(undefined, world({installed: [at('8.0.3'), at('7.2.4')]}))).version, '7.2.4')
    await assert.rejects(resolve('7.4', world({installed: [at('8.0.3')]})), (error: DbaasError) => {
      assert.deepEqual(error.suggestions.slice(0, 1), ['--version 8.0.3'])
      return error.code === 'ENGINE_NOT_INSTALLED'
    })
    await assert.rejects(resolve(undefined, world({versions: {installHints: ['apt-get install fakedb']}})), (error: DbaasError) => {
      assert.deepEqual(error.suggestions.slice(0, 2), ['apt-get install fakedb', '--runtime docker'])
      return error.code === 'ENGINE_NOT_INSTALLED'
    })
    await assert.rejects(resolve('3', world()), {code: 'UNKNOWN_VERSION'})
  })
})

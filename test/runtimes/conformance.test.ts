import {randomBytes} from 'node:crypto'
import {existsSync, readdirSync, readFileSync, readlinkSync} from 'node:fs'
import {join} from 'node:path'
import {createProcessRuntime} from '../../src/agent/runtimes/process/index.js'
import {docker, dockerOrSkip, images} from '../support/docker.js'
import {temporaryFolder} from '../support/temporary.js'
import {runtimeConformance, type RuntimeUnderTest} from './conformance.js'
import {buildImage, containerOf, dockerSite} from './docker-site.js'
import {
  fakeCommand, fakeDockerfile, fakeEngine, fakeFiles, fakeImageSoftware, fakeInitialise, fakeSoftware, fakeVersion, installFakePackage,
} from './fake-engine.js'

runtimeConformance('process', async (): Promise<RuntimeUnderTest> => {
  const folder = temporaryFolder('conformance')
  const siteId = `site_${'0'.repeat(14)}${Math.random().toString(36).slice(2, 14).padEnd(12, '0')}`
  installFakePackage(folder.path)
  return {
    siteId, engine: fakeEngine, version: fakeVersion,
    open: () => createProcessRuntime({
      dataRoot: folder.path, siteId, packagesFolder: folder.path, engines: {[fakeEngine]: fakeSoftware}, env: {}, log: () => undefined,
    }),
    command: fakeCommand,
    initialise: fakeInitialise,
    killMainOnly: async (_node, pid) => void process.kill(pid as number, 'SIGKILL'),
    lies(ref) {
      const other = JSON.parse(ref) as Record<string, unknown>
      return [
        {...other, bootId: '00000000-0000-0000-0000-000000000000'}, {...other, startTicks: Number(other.startTicks) + 1}, {...other, pid: 1},
      ].map((lie) => JSON.stringify(lie))
    },
    leftovers: async () => [...processesOf(siteId, folder.path), ...foldersOf(folder.path), ...groupsOf(siteId)],
    dispose: async () => folder.dispose(),
  }
})

describe('with a Docker engine', () => {
  dockerOrSkip(images.client)
  runtimeConformance('docker', async (): Promise<RuntimeUnderTest> => {
    const repository = `dbaas-fake-${randomBytes(4).toString('hex')}`
    await buildImage(`${repository}:${fakeVersion}`, fakeFiles, fakeDockerfile)
    const site = dockerSite({[fakeEngine]: fakeImageSoftware(repository)})
    return {
      siteId: site.siteId, engine: fakeEngine, version: fakeVersion,
      open: () => site.open(),
      command: fakeCommand,
      initialise: fakeInitialise,
      killMainOnly: async ({nodeId}) => void (await (await containerOf(site.siteId, nodeId)).kill({signal: 'SIGKILL'})),
      lies(ref) {
        const other = JSON.parse(ref) as Record<string, string>
        return [
          // the very run of another node's server, too: a node has no say in the container of another
          other, {...other, startedAt: '2026-01-01T00:00:00.000000000Z'}, {...other, id: 'f'.repeat(64)}, {...other, id: other['container']},
        ].map((lie) => JSON.stringify(lie))
      },
      leftovers: () => site.leftovers(),
      async dispose() {
        await site.dispose()
        await docker.getImage(`${repository}:${fakeVersion}`).remove({force: true})
      },
    }
  })
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

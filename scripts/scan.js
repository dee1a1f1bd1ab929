/**
 * Whether a test run left anything on the machine: processes of databases, agents and endpoints, folders of homes,
 * cgroups, listening ports, and, where a Docker engine answers, containers, volumes and networks. The engine itself and
 * its helpers are not looked at: they are the machine's.
 *
 *   node scripts/scan.js save FILE       what is there now
 *   node scripts/scan.js compare FILE    exits 1 and names what is there now and was not there then
 */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {request} from 'node:http'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'

const entries = (folder) => {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
const text = (file) => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function processes() {
  return entries('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    // A zombie has no command line and holds nothing.
    const command = text(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()
    const program = command.split(' ')[0].split('/').at(-1)
    const ours = /^(postgres|mysqld|mariadbd|ceph-|radosgw)/.test(program) || /dbaas (endpoint|agent)|bin\/agent\.js|\/endpoint\.js/.test(command)
    return ours && Number(pid) !== process.pid ? [`process ${pid}: ${command.slice(0, 120)}`] : []
  })
}

const folders = () => [
  ...entries('/var/lib/dbaas').map((name) => `folder /var/lib/dbaas/${name}`),
  ...entries(tmpdir()).filter((name) => /^dbaas/.test(name)).map((name) => `folder ${join(tmpdir(), name)}`),
  ...(process.env.HOME && existsSync(join(process.env.HOME, '.dbaas')) ? [`folder ${join(process.env.HOME, '.dbaas')}`] : []),
]

const cgroups = () => ['/sys/fs/cgroup', ...entries('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}`)]
  .flatMap((folder) => entries(folder).filter((name) => /^dbaas/.test(name)).map((name) => `cgroup ${folder}/${name}`))

/** State 0A is LISTEN (proc_net_tcp). */
const ports = () => ['tcp', 'tcp6'].flatMap((family) => text(`/proc/net/${family}`).split('\n').slice(1)
  .map((line) => line.trim().split(/\s+/))
  .filter((fields) => fields[3] === '0A')
  .map((fields) => `port ${Number.parseInt(fields[1].split(':').at(-1), 16)} (${family})`))

/** What the engine's API answers; nothing where no engine does. */
const docker = (path) => new Promise((resolve) => {
  const asked = request({socketPath: '/var/run/docker.sock', path, timeout: 10_000}, (response) => {
    let body = ''
    response.on('data', (chunk) => { body += chunk })
    response.on('end', () => resolve(response.statusCode === 200 ? JSON.parse(body) : undefined))
    response.on('error', () => resolve(undefined))
  })
  asked.on('timeout', () => asked.destroy())
  asked.on('error', () => resolve(undefined))
  asked.end()
})

const labelled = ({Labels}) => Object.keys(Labels ?? {}).some((label) => /dbaas/.test(label))

/** By name or label; and volumes without a name, since those are what a container leaves when it is removed carelessly. */
async function dockerObjects() {
  const [containers, volumes, networks] = await Promise.all(['/containers/json?all=1', '/volumes', '/networks'].map(docker))
  const named = (name) => /^dbaas/.test(name)
  return [
    ...(containers ?? []).filter((one) => labelled(one) || one.Names.some((name) => named(name.slice(1))) || /dbaas/.test(one.Image))
      .map((one) => `container ${one.Names[0]?.slice(1)} (${one.Image})`),
    ...(volumes?.Volumes ?? []).filter((one) => labelled(one) || named(one.Name) || /^[0-9a-f]{64}$/.test(one.Name)).map((one) => `volume ${one.Name}`),
    ...(networks ?? []).filter((one) => labelled(one) || named(one.Name)).map((one) => `network ${one.Name}`),
  ]
}

const scan = async () => [...processes(), ...folders(), ...cgroups(), ...ports(), ...await dockerObjects()]

const [verb, file] = process.argv.slice(2)
if (verb === 'save') writeFileSync(file, JSON.stringify(await scan()))
else {
  const before = new Set(JSON.parse(readFileSync(file, 'utf8')))
  let left = []
  // What was told to end may take a moment; what is still there after ten seconds was not told, or did not listen.
  for (let i = 0; i < 20; i++) {
    left = (await scan()).filter((found) => !before.has(found))
    if (left.length === 0) break
    await sleep(500)
  }
  for (const found of left) process.stderr.write(`left behind: ${found}\n`)
  if (left.length > 0) process.exitCode = 1
}

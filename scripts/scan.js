/**
 * Whether a test run left anything on the machine: processes of databases, agents and endpoints, folders of homes,
 * cgroups, listening ports.
 *
 *   node scripts/scan.js save FILE       what is there now
 *   node scripts/scan.js compare FILE    exits 1 and names what is there now and was not there then
 */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs'
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
    const ours = /^postgres/.test(program) || /dbaas (endpoint|agent)|bin\/agent\.js|\/endpoint\.js/.test(command)
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

const scan = () => [...processes(), ...folders(), ...cgroups(), ...ports()]

const [verb, file] = process.argv.slice(2)
if (verb === 'save') writeFileSync(file, JSON.stringify(scan()))
else {
  const before = new Set(JSON.parse(readFileSync(file, 'utf8')))
  let left = []
  // What was told to end may take a moment; what is still there after ten seconds was not told, or did not listen.
  for (let i = 0; i < 20; i++) {
    left = scan().filter((found) => !before.has(found))
    if (left.length === 0) break
    await sleep(500)
  }
  for (const found of left) process.stderr.write(`left behind: ${found}\n`)
  if (left.length > 0) process.exitCode = 1
}

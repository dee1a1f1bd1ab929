/** The user that servers run as: an unprivileged one of its own when the agent is root, else ourselves. */
import {execFile} from 'node:child_process'
import {readFile} from 'node:fs/promises'
import {userInfo} from 'node:os'
import {promisify} from 'node:util'
import {DbaasError} from '../../../core/errors.js'

const run = promisify(execFile)

export interface ServiceUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** Whether it is another than the agent's: files are then handed over, programs run with its ids. */
  readonly separate: boolean
}

export const serviceUserName = 'dbaas'

/** Of useradd (shadow), of adduser (busybox). Both leave no home folder. */
const makers: readonly (readonly [string, readonly string[]])[] = [
  ['useradd', ['--system', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin', serviceUserName]],
  ['adduser', ['-S', '-D', '-H', '-h', '/nonexistent', '-s', '/sbin/nologin', serviceUserName]],
]

let found: Promise<ServiceUser> | undefined

/** Looked up once for a process. When root: `dbaas`, made if missing, else `nobody`. Throws RUNTIME_UNAVAILABLE. */
export function serviceUser(): Promise<ServiceUser> {
  found ??= resolve().catch((error) => {
    found = undefined
    throw error
  })
  return found
}

async function resolve(): Promise<ServiceUser> {
  const self = ourselves()
  if (self.uid !== 0) return {name: self.username, uid: self.uid, gid: self.gid, separate: false}
  const existing = await lookUp(serviceUserName)
  if (existing) return existing
  if (process.platform === 'linux') {
    for (const [program, args] of makers) {
      // two agents may both find it missing: who loses the race finds it made
      await run(program, [...args]).catch(() => undefined)
      const made = await lookUp(serviceUserName)
      if (made) return made
    }
  }
  const nobody = await lookUp('nobody')
  if (nobody) return nobody
  throw new DbaasError('RUNTIME_UNAVAILABLE', `the system user "${serviceUserName}" does not exist and cannot be made`, {
    suggestions: [`useradd --system ${serviceUserName}`, 'run dbaas as a normal user'],
  })
}

/** A container may run us as a user that its /etc/passwd does not know: PostgreSQL refuses that, and says so; the others do not mind. */
function ourselves(): {username: string; uid: number; gid: number} {
  try {
    return userInfo()
  } catch {
    const uid = process.getuid?.() ?? -1
    return {username: `uid ${uid}`, uid, gid: process.getgid?.() ?? -1}
  }
}

/** /etc/passwd and not getent: busybox has none, and a user of the network is no place for a server's files. */
async function lookUp(name: string): Promise<ServiceUser | undefined> {
  const text = await readFile('/etc/passwd', 'utf8').catch(() => '')
  return parsePasswd(text, name)
}

/** The line of `name` in a passwd file. Negative ids (macOS's nobody) as the unsigned numbers the kernel uses. */
export function parsePasswd(text: string, name: string): ServiceUser | undefined {
  for (const line of text.split('\n')) {
    const fields = line.split(':')
    if (fields[0] !== name) continue
    const uid = Number(fields[2]) >>> 0
    const gid = Number(fields[3]) >>> 0
    if (/^-?\d+$/.test(fields[2] ?? '') && /^-?\d+$/.test(fields[3] ?? '') && uid !== 0) return {name, uid, gid, separate: true}
  }
  return undefined
}

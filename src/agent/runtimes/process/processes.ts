/**
 * What processes exist. A pid alone names nobody: it is reused. A process is known by pid, the moment it started
 * (clock ticks since boot) and the boot it belongs to. A zombie runs nothing and holds nothing: it counts as dead.
 */
import {closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync} from 'node:fs'
import {basename} from 'node:path'
import {nodeVariable, roleVariable, siteVariable} from './environment.js'
import * as darwin from './processes-darwin.js'

export interface Identity {
  readonly pid: number
  readonly startTicks: number
  readonly bootId: string
}

export interface ProcessInfo {
  readonly pid: number
  readonly parent: number
  readonly startTicks: number
  /** Base name of its first argument: `postgres`; a server's children may rewrite theirs. */
  readonly program: string
  /** Base name of the file it executes, undefined where that may not be seen. */
  readonly executable: string | undefined
  readonly workingFolder: string | undefined
  readonly site: string | undefined
  readonly node: string | undefined
  readonly role: string | undefined
}

/** The live processes of one user. */
export interface Snapshot {
  readonly byPid: ReadonlyMap<number, ProcessInfo>
}

export interface Stat {
  readonly parent: number
  readonly state: string
  readonly startTicks: number
  /** utime, stime and those of children waited for, in clock ticks. */
  readonly cpuTicks: number
}

const onDarwin = process.platform === 'darwin'
let bootIdRead: string | undefined

export function bootId(): string {
  bootIdRead ??= onDarwin ? darwin.bootId() : readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return bootIdRead
}

/**
 * The fields of a line of /proc/PID/stat (proc(5)). The name in it is in parentheses and may hold any character, so
 * the last `)` ends it. Undefined when the text is not such a line.
 */
export function parseStat(text: string): Stat | undefined {
  const end = text.lastIndexOf(')')
  if (end < 0) return undefined
  // fields[0] is field 3 of the manual
  const fields = text.slice(end + 2).trim().split(' ')
  const number = (field: number) => Number(fields[field - 3])
  const startTicks = number(22)
  const parent = number(4)
  if (fields[0] === undefined || !Number.isInteger(startTicks) || !Number.isInteger(parent)) return undefined
  return {state: fields[0], parent, startTicks, cpuTicks: number(14) + number(15) + number(16) + number(17)}
}

function statOf(pid: number): Stat | undefined {
  try {
    return parseStat(slurp(`/proc/${pid}/stat`))
  } catch {
    return undefined
  }
}

const isDead = (state: string): boolean => state === 'Z' || state === 'X' || state === 'x'

/** Undefined when no such process lives. */
export function identify(pid: number): Identity | undefined {
  if (onDarwin) {
    const startTicks = darwin.startOf(pid)
    return startTicks === undefined ? undefined : {pid, startTicks, bootId: bootId()}
  }
  const stat = statOf(pid)
  return stat === undefined || isDead(stat.state) ? undefined : {pid, startTicks: stat.startTicks, bootId: bootId()}
}

/** Whether that very process lives: same boot, same start, not a zombie. */
export function isAlive(identity: Identity): boolean {
  if (identity.bootId !== bootId()) return false
  return identify(identity.pid)?.startTicks === identity.startTicks
}

/** CPU time of the process and of the children it has waited for, in seconds. */
export function cpuSecondsOf(pid: number): number {
  if (onDarwin) return darwin.cpuSecondsOf(pid)
  // USER_HZ is 100 on every Linux that Node runs on
  return (statOf(pid)?.cpuTicks ?? 0) / 100
}

/** Memory of the process in bytes: its proportional share where the kernel tells it, else what is resident. */
export function memoryOf(pid: number): number {
  if (onDarwin) return darwin.memoryOf(pid)
  for (const [file, field] of [['smaps_rollup', 'Pss'], ['status', 'VmRSS']] as const) {
    try {
      const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/${file}`, 'utf8'))
      if (match) return Number(match[1]) * 1024
    } catch {
      continue
    }
  }
  return 0
}

export function snapshot(uid: number): Snapshot {
  if (onDarwin) return {byPid: darwin.snapshot(uid)}
  const byPid = new Map<number, ProcessInfo>()
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const info = look(pid, uid)
    if (info) byPid.set(pid, info)
  }
  return {byPid}
}

/** A thousand processes of others cost a thousand stat calls, and no more: servers are all of one user. */
function look(pid: number, uid: number): ProcessInfo | undefined {
  if (attempt(() => statSync(`/proc/${pid}`).uid) !== uid) return undefined
  const stat = statOf(pid)
  if (!stat || isDead(stat.state)) return undefined
  const environment = (attempt(() => slurp(`/proc/${pid}/environ`)) ?? '').split('\0')
  const variable = (name: string) => environment.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1)
  const executable = attempt(() => readlinkSync(`/proc/${pid}/exe`))
  return {
    pid, parent: stat.parent, startTicks: stat.startTicks,
    program: basename(attempt(() => slurp(`/proc/${pid}/cmdline`).split('\0')[0]) ?? ''),
    executable: executable === undefined ? undefined : basename(withoutDeleted(executable)),
    workingFolder: map(attempt(() => readlinkSync(`/proc/${pid}/cwd`)), withoutDeleted),
    site: variable(siteVariable), node: variable(nodeVariable), role: variable(roleVariable),
  }
}

/** Pids of the process itself and of all it descends from, nearest first. */
export function ancestry(pid: number): number[] {
  const line: number[] = []
  for (let at: number | undefined = pid; at !== undefined && at > 1 && !line.includes(at);) {
    line.push(at)
    at = onDarwin ? darwin.parentOf(at) : statOf(at)?.parent
  }
  return line
}

const page = Buffer.allocUnsafe(64 * 1024)

/** readFileSync asks for the size first, which is 0 for these files, and allocates for each: twice the time. */
function slurp(path: string): string {
  const fd = openSync(path, 'r')
  try {
    let text = ''
    for (let n = readSync(fd, page); n > 0; n = readSync(fd, page)) text += page.toString('latin1', 0, n)
    return text
  } finally {
    closeSync(fd)
  }
}

/** The kernel says so of a removed file; a server in a removed folder is still that folder's server. */
const withoutDeleted = (path: string): string => path.replace(/ \(deleted\)$/, '')

const map = <A, B>(value: A | undefined, f: (value: A) => B): B | undefined => (value === undefined ? undefined : f(value))

/** Processes end while they are looked at. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** The given processes and all that descend from them. */
export function withDescendants({byPid}: Snapshot, roots: Iterable<number>): Set<number> {
  const children = new Map<number, number[]>()
  for (const {pid, parent} of byPid.values()) {
    const siblings = children.get(parent)
    if (siblings) siblings.push(pid)
    else children.set(parent, [pid])
  }
  const all = new Set<number>()
  const left = [...roots]
  for (let pid = left.pop(); pid !== undefined; pid = left.pop()) {
    if (all.has(pid)) continue
    all.add(pid)
    left.push(...(children.get(pid) ?? []))
  }
  return all
}

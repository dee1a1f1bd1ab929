/** The same for macOS, which has no /proc: `ps`, `lsof` and `sysctl`, all part of the system. */
import {execFileSync} from 'node:child_process'
import {basename} from 'node:path'
import {nodeVariable, roleVariable, siteVariable} from './environment.js'
import type {ProcessInfo} from './processes.js'

function output(program: string, args: readonly string[]): string {
  try {
    return execFileSync(program, [...args], {
      encoding: 'utf8', env: {LANG: 'C', TZ: 'UTC'}, stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 2 ** 26,
    })
  } catch (error) {
    // ps and lsof end with 1 when one of several processes is gone; what they printed is still true
    return String((error as {stdout?: unknown}).stdout ?? '')
  }
}

export const bootId = (): string => output('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid']).trim()

/** Seconds since the epoch at which the process started, undefined for a dead one and for a zombie. */
export function startOf(pid: number): number | undefined {
  const match = /^\s*(\S+)\s+(.+?)\s*$/.exec(output('/bin/ps', ['-o', 'stat=,lstart=', '-p', String(pid)]))
  if (!match || (match[1] as string).startsWith('Z')) return undefined
  return parseStart(match[2] as string)
}

/** `Mon Nov 23 19:49:02 2026`, printed in UTC. */
function parseStart(text: string): number | undefined {
  const at = Date.parse(`${text} UTC`)
  return Number.isNaN(at) ? undefined : Math.floor(at / 1000)
}

export function cpuSecondsOf(pid: number): number {
  const parts = output('/bin/ps', ['-o', 'time=', '-p', String(pid)]).trim().split(/[:-]/).map(Number)
  return parts.some(Number.isNaN) ? 0 : parts.reduce((sum, part) => sum * 60 + part, 0)
}

export const parentOf = (pid: number): number | undefined =>
  Number(output('/bin/ps', ['-o', 'ppid=', '-p', String(pid)]).trim()) || undefined

export const memoryOf = (pid: number): number => Number(output('/bin/ps', ['-o', 'rss=', '-p', String(pid)]).trim() || 0) * 1024

export function snapshot(uid: number): Map<number, ProcessInfo> {
  const folders = workingFolders(uid)
  const found = new Map<number, ProcessInfo>()
  // -E puts the environment after the arguments, for processes whose owner we are (or all, for root)
  for (const line of output('/bin/ps', ['-A', '-E', '-ww', '-o', 'pid=,ppid=,uid=,stat=,lstart=,command=']).split('\n')) {
    const match = /^\s*(\d+)\s+(\d+)\s+(-?\d+)\s+(\S+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/.exec(line)
    if (!match || (match[4] as string).startsWith('Z')) continue
    if (Number(match[3]) >>> 0 !== uid) continue
    const pid = Number(match[1])
    const command = match[6] as string
    const variable = (name: string) => new RegExp(`(?:^|\\s)${name}=(\\S*)`).exec(command)?.[1]
    const program = basename(command.split(' ')[0] ?? '')
    found.set(pid, {
      pid, parent: Number(match[2]), startTicks: parseStart(match[5] as string) ?? 0, program,
      executable: program.replace(/:$/, ''), workingFolder: folders.get(pid),
      site: variable(siteVariable), node: variable(nodeVariable), role: variable(roleVariable),
    })
  }
  return found
}

function workingFolders(uid: number): Map<number, string> {
  const folders = new Map<number, string>()
  let pid = 0
  for (const line of output('/usr/sbin/lsof', ['-a', '-n', '-P', '-d', 'cwd', '-u', String(uid), '-F', 'pn']).split('\n')) {
    if (line.startsWith('p')) pid = Number(line.slice(1))
    else if (line.startsWith('n')) folders.set(pid, line.slice(1))
  }
  return folders
}

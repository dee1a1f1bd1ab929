/** The home folder as the CLI must find or make it before an agent can live there. */
import {closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeSync} from 'node:fs'
import type {Stats} from 'node:fs'
import {join} from 'node:path'
import {DbaasError} from '../../core/errors.js'

export const agentLogFile = (home: string): string => join(home, 'logs', 'agent.log')
const rotateBytes = 16 * 1024 * 1024

/** Makes the home (0700) and its log folder; safe to repeat. Throws HOME_UNUSABLE, DISK_FULL. */
export function prepareHome(home: string): void {
  const found = make(home, home)
  if (!found.isDirectory()) throw unusable(home, 'it is not a folder', [`ls -ld '${home}'`])
  // Whoever may write here may replace the socket, and be given passwords.
  if (process.getuid && found.uid !== process.getuid()) {
    throw unusable(home, 'it belongs to another user', [
      'run dbaas as the owner of the folder',
      'export DBAAS_HOME=<a folder of your own>',
    ])
  }
  if ((found.mode & 0o022) !== 0) throw unusable(home, 'other users may write to it', [`chmod 700 '${home}'`])
  // Only now: `sudo dbaas` in somebody's home would leave a folder that its owner cannot enter.
  make(home, join(home, 'logs'))
}

function make(home: string, folder: string): Stats {
  try {
    mkdirSync(folder, {recursive: true, mode: 0o700})
    return statSync(folder)
  } catch (error) {
    throw homeError(home, error)
  }
}

/** The log, open for appending; a large one is first set aside, as `agent.log.1`. Throws HOME_UNUSABLE, DISK_FULL. */
export function openAgentLog(home: string): number {
  const file = agentLogFile(home)
  try {
    const size = statSync(file, {throwIfNoEntry: false})?.size ?? 0
    if (size > rotateBytes) renameSync(file, `${file}.1`)
    return openSync(file, 'a', 0o600)
  } catch (error) {
    throw homeError(home, error)
  }
}

/** Why nothing can be written to the home, found by writing to it; undefined when it can. */
export function whyNotWritable(home: string): DbaasError | undefined {
  const probe = join(home, `.probe-${process.pid}`)
  try {
    const file = openSync(probe, 'w', 0o600)
    try {
      // Larger than what a file system keeps inside the inode; synced, because some learn only then that they are full.
      writeSync(file, Buffer.alloc(64 * 1024, 1))
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    return undefined
  } catch (error) {
    return homeError(home, error)
  } finally {
    discard(probe)
  }
}

/** Removes a file of ours; that it cannot be removed is no news where this is called. */
export function discard(path: string): void {
  try {
    rmSync(path, {force: true})
  } catch {
    // `force` forgives that it is not there, but not that its folder is a file.
  }
}

/** What the system said about the home, as ours. */
export function homeError(home: string, error: unknown): DbaasError {
  if (error instanceof DbaasError) return error
  const {code = 'unknown', path} = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DbaasError('DISK_FULL', `the disk of the home folder ${home} is full`, {
      cause: error,
      details: {path: home},
      suggestions: [`df -h '${home}'`, 'free some space, then run the command again'],
    })
  }
  const because: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    EROFS: 'the file system is read-only',
    ENOTDIR: 'a part of its path is a file',
    EEXIST: 'a file of that name is in the way',
    ELOOP: 'its links go in a circle',
    ENAMETOOLONG: 'its path is too long',
  }
  const where = path !== undefined && path !== home ? ` (${path})` : ''
  return unusable(
    home,
    `${because[code] ?? code}${where}`,
    [`ls -ld '${home}'`, 'export DBAAS_HOME=<a folder you may write to>'],
    error,
  )
}

const unusable = (home: string, why: string, suggestions: string[], cause?: unknown): DbaasError =>
  new DbaasError('HOME_UNUSABLE', `the home folder ${home} cannot be used: ${why}`, {
    cause,
    details: {path: home, because: why},
    suggestions,
  })

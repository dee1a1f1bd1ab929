import {spawn} from 'node:child_process'
import {readFileSync} from 'node:fs'
import {constants} from 'node:os'
import {DbaasError} from '../../core/errors.js'

export interface PassThroughOptions {
  readonly env: NodeJS.ProcessEnv
  /** A descriptor that the program gets as its fourth. */
  readonly file?: number
  /** What it sees as its own name, where that is not the path. */
  readonly argv0?: string
}

/** A terminal sends these to all of its foreground group; the rest is sent to us alone. */
const ofTerminal: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT']
const handedOn: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR2']

/** Runs a program on our terminal as if it had been run in our place; returns its exit code, 128 + n for a signal. */
export async function passThrough(program: string, args: readonly string[], {env, file, argv0}: PassThroughOptions): Promise<number> {
  const child = spawn(program, [...args], {
    stdio: file === undefined ? 'inherit' : ['inherit', 'inherit', 'inherit', file], env, ...(argv0 === undefined ? {} : {argv0}),
  })
  const hand = (signal: NodeJS.Signals) => void child.kill(signal)
  // Ctrl-C reaches the child by itself: twice would be once too often. It decides; we only must not end before it.
  const handOnce = (signal: NodeJS.Signals) => {
    if (!isForeground()) child.kill(signal)
  }
  for (const signal of ofTerminal) process.on(signal, handOnce)
  for (const signal of handedOn) process.on(signal, hand)
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (cause: NodeJS.ErrnoException) => reject(cannotRun(program, cause)))
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
    })
  } finally {
    for (const signal of ofTerminal) process.off(signal, handOnce)
    for (const signal of handedOn) process.off(signal, hand)
  }
}

/** What a shell makes of it: the program is there, but its interpreter is not, or it is no program. */
function cannotRun(program: string, cause: NodeJS.ErrnoException): DbaasError {
  const code = cause.code === 'ENOENT' ? 'PROGRAM_NOT_FOUND' : cause.code === 'EACCES' || cause.code === 'ENOEXEC' ? 'PROGRAM_NOT_EXECUTABLE' : 'COMMAND_FAILED'
  const because = cause.code === 'ENOENT' ? 'it is not there, or what its first line names is not' : cause.message
  return new DbaasError(code, `cannot run ${program}: ${because}`, {cause, details: {program}, suggestions: [`ls -l '${program}'`]})
}

/** Whether our process group is the one that the terminal sends its signals to. */
function isForeground(): boolean {
  try {
    // pid (name) state ppid pgrp session tty tpgid
    const [, , group, , , foreground] = readFileSync('/proc/self/stat', 'utf8').replace(/^.*\) /s, '').split(' ')
    return group === foreground
  } catch {
    return process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  }
}

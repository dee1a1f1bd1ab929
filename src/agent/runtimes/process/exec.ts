/** Runs a program as the server's user, with bounds on time and output, and ends all of it when it must end. */
import {spawn, type ChildProcess} from 'node:child_process'
import {setPriority} from 'node:os'
import type {ExecOptions, ExecResult} from '../../../engines/host.js'
import {DbaasError} from '../../../core/errors.js'
import {translateSystem} from './errors.js'
import {snapshot, withDescendants} from './processes.js'
import type {ServiceUser} from './service-user.js'

export interface ExecContext {
  readonly user: ServiceUser
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  /** In the background: behind everything else that wants CPU or disk. */
  readonly lowPriority?: boolean
}

const defaultTimeoutSeconds = 120
/** What is kept of each stream; a program that writes more is not stopped, its later words are dropped. */
const keptBytes = 32 * 1024 ** 2
/** A daemon that a program left behind may hold its pipes for ever. */
const drainMs = 250
/** Of nice(1): 10 still makes progress on a busy machine. */
const lowNice = 10

export async function runProgram(context: ExecContext, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  options.signal?.throwIfAborted()
  const [program, ...args] = argv
  if (program === undefined) throw new DbaasError('INTERNAL', 'exec was called without a program')
  const child = await begin(context, program, args)
  const pid = child.pid as number
  if (context.lowPriority) lower(pid)

  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  // it may end without reading what it is given
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(options.stdin ?? '')

  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    killTree(context, pid)
  }, (options.timeoutSeconds ?? defaultTimeoutSeconds) * 1000)
  const onAbort = () => killTree(context, pid)
  options.signal?.addEventListener('abort', onAbort, {once: true})
  try {
    const code = await ended(child)
    if (!timedOut) options.signal?.throwIfAborted()
    return {code, stdout: stdout(), stderr: stderr(), timedOut}
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
    child.stdout?.destroy()
    child.stderr?.destroy()
  }
}

function begin({user, cwd, env}: ExecContext, program: string, args: readonly string[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown) => reject(translateSystem(error, `run ${program}`))
    try {
      const child = spawn(program, [...args], {
        cwd, env: {...env}, detached: true, stdio: ['pipe', 'pipe', 'pipe'],
        ...(user.separate ? {uid: user.uid, gid: user.gid} : {}),
      })
      child.once('spawn', () => resolve(child))
      child.once('error', refuse)
    } catch (error) {
      refuse(error)
    }
  })
}

function lower(pid: number): void {
  try {
    setPriority(pid, lowNice)
  } catch {
    // it has ended already, or may not be changed: only its speed is at stake
  }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = []
  let size = 0
  stream?.on('data', (chunk: Buffer) => {
    if (size < keptBytes) chunks.push(chunk)
    size += chunk.length
  })
  return () => Buffer.concat(chunks).toString('utf8')
}

/** The exit code, 128 + n for a signal, once the streams are read to their end. */
function ended(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    let code = 0
    let timer: NodeJS.Timeout | undefined
    const finish = () => {
      clearTimeout(timer)
      resolve(code)
    }
    child.once('exit', (exitCode, signal) => {
      code = exitCode ?? (signal === 'SIGKILL' ? 137 : 143)
      timer = setTimeout(finish, drainMs)
    })
    child.once('close', finish)
  })
}

/** Its process group and all that descends from it: children with sessions of their own left the group. */
function killTree({user}: ExecContext, pid: number): void {
  const family = withDescendants(snapshot(user.uid), [pid])
  for (const target of [-pid, ...family]) {
    try {
      process.kill(target, 'SIGKILL')
    } catch {
      // gone
    }
  }
}

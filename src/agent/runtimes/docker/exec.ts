/**
 * Runs a program in a container, as the server's user, and ends all of it when it must end. Docker cannot end what it
 * has executed, so the program tells its process id first, and is found by it: every `docker exec` is a session of its own.
 */
import type {Duplex, Readable} from 'node:stream'
import {setTimeout as sleep} from 'node:timers/promises'
import {DbaasError} from '../../../core/errors.js'
import type {ImagePin} from '../../../core/instance/instance.js'
import type {ExecOptions, ExecResult} from '../../../engines/host.js'
import type {Client} from './client.js'
import {createFrameReader} from './frames.js'
import {cleanEnvironment, paths} from './recipe.js'

const defaultTimeoutSeconds = 120
/** What is kept of each stream; a program that writes more is not stopped, its later words are dropped. */
const keptBytes = 32 * 1024 ** 2
/** A daemon that a program left behind may hold its streams for ever: this often the program itself is asked after. */
const lookMs = 1000
const drainMs = 250
const endedMs = 5000

/** The first line of the standard error is ours. */
const gate = 'umask 077; command -v "$1" >/dev/null 2>&1 || { echo absent >&2; exit 127; }; echo $$ >&2; exec "$@"'

/** `input` opens, when the program runs, what is too long for `options.stdin`. It may fail: its error is thrown once the program, whose input ends there, has ended. */
export async function runProgram(client: Client, container: string, image: ImagePin, argv: readonly string[], options: ExecOptions = {}, input?: () => Readable): Promise<ExecResult> {
  options.signal?.throwIfAborted()
  const [program] = argv
  if (program === undefined) throw new DbaasError('INTERNAL', 'exec was called without a program')
  const doing = `run ${program}`
  const exec = await client.call(doing, (docker, abortSignal) => docker.getContainer(container).exec({
    Cmd: ['/bin/sh', '-c', gate, 'sh', ...argv], User: `${image.uid}:${image.gid}`, WorkingDir: paths.tmp,
    Env: Object.entries(cleanEnvironment(image, options.env)).map(([name, value]) => `${name}=${value}`),
    AttachStdin: true, AttachStdout: true, AttachStderr: true, abortSignal,
  }))
  const stream = await client.call(doing, (_docker, abortSignal) => exec.start({hijack: true, stdin: true, abortSignal})) as Duplex
  const stdout = collect()
  const stderr = collect()
  let pid: string | undefined
  let ending: Promise<void> | undefined
  let timedOut = false
  const end = (): void => {
    ending ??= begun.then(() => killAll(client, container, image, pid))
  }
  const readFrames = createFrameReader()
  let tellBegun: () => void
  const begun = new Promise<void>((resolve) => (tellBegun = resolve))
  stream.on('data', (piece: Buffer) => {
    for (const {stream: name, content} of readFrames(piece)) {
      if (name === 'stdout') stdout.add(content)
      else stderr.add(content)
      if (pid === undefined && stderr.firstLine() !== undefined) {
        pid = stderr.firstLine()
        tellBegun()
      }
    }
  })
  const over = new Promise<void>((resolve) => {
    for (const event of ['end', 'close', 'error']) stream.once(event, () => resolve())
  })
  const timer = setTimeout(() => {
    timedOut = true
    end()
  }, (options.timeoutSeconds ?? defaultTimeoutSeconds) * 1000)
  options.signal?.addEventListener('abort', end, {once: true})
  // while it was being started
  if (options.signal?.aborted) end()
  const source = input?.()
  let unread: unknown
  const unreadable = (error: unknown): void => {
    unread = error
    stream.end()
  }
  source?.on('error', unreadable)
  try {
    // it may have failed before anybody listened
    if (source?.errored) unreadable(source.errored)
    else if (source) source.pipe(stream)
    else stream.end(options.stdin ?? '')
    const code = await exitCode(client, exec.id, doing, over)
    tellBegun!()
    await ending
    if (!timedOut) options.signal?.throwIfAborted()
    if (pid === 'absent') throw new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: it does not exist in the image ${image.reference}`, {details: {program}, suggestions: ['dbaas doctor']})
    if (pid === undefined) throw new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: ${stdout.text().trim() || 'its container ended'}`, {details: {program}, suggestions: ['docker ps --all', 'dbaas doctor']})
    if (unread !== undefined) throw unread
    return {code, stdout: stdout.text(), stderr: stderr.rest(), timedOut}
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', end)
    source?.destroy()
    stream.destroy()
  }
}

function collect() {
  const chunks: Buffer[] = []
  let size = 0
  const text = (): string => Buffer.concat(chunks).toString('utf8')
  return {
    add(chunk: Buffer): void {
      if (size < keptBytes) chunks.push(chunk)
      size += chunk.length
    },
    text,
    firstLine: (): string | undefined => /^(.*)\n/.exec(text())?.[1],
    rest: (): string => text().replace(/^.*\n/, ''),
  }
}

/** When its streams have ended; or a moment after the program itself has, where something else holds them. */
async function exitCode(client: Client, id: string, doing: string, over: Promise<void>): Promise<number> {
  const look = () => client.find(doing, (docker, abortSignal) => docker.getExec(id).inspect({abortSignal} as object))
  let streaming = true
  const ended = over.then(() => (streaming = false))
  for (;;) {
    await Promise.race([ended, sleep(lookMs)])
    if (!streaming) break
    const now = await look()
    if (now && !now.Running) {
      await Promise.race([ended, sleep(drainMs)])
      return now.ExitCode ?? 0
    }
  }
  // the streams end a moment before Docker has noted the code
  for (const until = Date.now() + endedMs; ; await sleep(5)) {
    const now = await look()
    // the container is gone, and the program with it
    if (!now) return 137
    if (!now.Running && now.ExitCode !== null) return now.ExitCode
    if (Date.now() > until) throw new DbaasError('RUNTIME_UNAVAILABLE', `cannot ${doing}: Docker does not say how it ended`, {suggestions: ['docker info']})
  }
}

/**
 * All of the program's session, and all that descends from it: children with sessions of their own left that. Again
 * until nothing is found: what is killed may have made one more. `/proc/PID/stat`: pid (comm) state ppid pgrp session.
 */
const killer = `
family=" $1 "
for round in 1 2 3 4 5 6 7 8 9 10; do
  grown=1
  while [ $grown = 1 ]; do
    grown=0
    living=
    for folder in /proc/[0-9]*; do
      IFS= read -r line < "$folder/stat" 2>/dev/null || continue
      pid=\${folder#/proc/}
      set -- \${line##*) }
      [ "$1" = Z ] && continue
      case $family in *" $pid "*) living="$living $pid"; continue;; esac
      case $family in *" $2 "*|*" $4 "*) family="$family$pid "; living="$living $pid"; grown=1;; esac
    done
  done
  [ -z "$living" ] && exit 0
  kill -9 $living 2>/dev/null
done
`

async function killAll(client: Client, container: string, image: ImagePin, pid: string | undefined): Promise<void> {
  if (pid === undefined || !/^\d+$/.test(pid)) return
  // when it cannot be, the container has ended, and all in it
  await client.call('end a program', async (docker, abortSignal) => {
    const exec = await docker.getContainer(container).exec({
      Cmd: ['/bin/sh', '-c', killer, 'sh', pid], User: `${image.uid}:${image.gid}`, AttachStdout: true, AttachStderr: true, abortSignal,
    })
    const stream = await exec.start({abortSignal}) as unknown as Duplex
    stream.resume()
    await new Promise<void>((resolve) => {
      for (const event of ['end', 'close', 'error']) stream.once(event, () => resolve())
    })
  }).catch(() => undefined)
}

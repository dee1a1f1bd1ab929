/** Starts the local agent when none answers: a process of its own that outlives the command. */
import {spawn} from 'node:child_process'
import type {ChildProcess} from 'node:child_process'
import {closeSync, existsSync, readFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {fileURLToPath} from 'node:url'
import {DbaasError} from '../../core/errors.js'
import type {ErrorOptions, ErrorRow} from '../../core/errors.js'
import {answers} from './connection.js'
import {clearFatal, readFatal} from './fatal.js'
import {agentLogFile, openAgentLog, prepareHome, whyNotWritable} from './home.js'
import type {Environment, Location} from './locate.js'

const pollMs = 10
const giveUpMs = 30_000

export interface LaunchOptions {
  /** The daemon's entry file; `bin/agent.js` of this package by default. */
  readonly entry?: string
  readonly environment?: Environment
  readonly giveUpMs?: number
}

/** Whatever kept the agent from starting, for the command the agent cannot be reached: exit code 6 (CLI.md). */
class LaunchError extends DbaasError {
  override get row(): ErrorRow {
    return {...super.row, exit: 6}
  }
}

/**
 * Returns when the agent of the location accepts connections. Only the local one is ever started; of another the
 * first call will tell. Throws the agent's own reason (STORE_NEWER, STORE_CORRUPT, HOME_UNUSABLE, DISK_FULL, …),
 * AGENT_START_FAILED, AGENT_UNREACHABLE.
 */
export async function ensureAgent(location: Location, options: LaunchOptions = {}): Promise<void> {
  if (!location.local || !('socketPath' in location.target)) return
  const {socketPath} = location.target
  if (await answers(socketPath)) return
  const {home} = location
  const deadline = Date.now() + (options.giveUpMs ?? giveUpMs)
  let pauseMs = 100
  while (Date.now() < deadline) {
    const child = launch(home, options)
    const outcome = await listening(socketPath, child, deadline)
    if (outcome === 'answers') return
    if (outcome === 'silent') break
    if (outcome.code !== 0) throw failure(home, outcome)
    // Exit code 0 is the loser of the lock. The winner may be one that is about to answer, or one that is about to
    // end and will never do: so wait, and try again when nobody came.
    const until = Math.min(deadline, Date.now() + pauseMs)
    while (Date.now() < until) {
      if (await answers(socketPath)) return
      await sleep(pollMs)
    }
    pauseMs = Math.min(pauseMs * 2, 2000)
  }
  const seconds = (options.giveUpMs ?? giveUpMs) / 1000
  throw startFailed(home, `the agent was started, and does not answer after ${seconds} s`)
}

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

function launch(home: string, options: LaunchOptions): ChildProcess {
  try {
    prepareHome(home)
    clearFatal(home)
    const log = openAgentLog(home)
    try {
      const child = spawn(process.execPath, [options.entry ?? agentEntry()], {
        // Not the folder of whoever typed the command first: it could never be unmounted.
        cwd: '/',
        detached: true,
        stdio: ['ignore', log, log],
        env: agentEnvironment(options.environment ?? process.env, home),
      })
      child.unref()
      return child
    } finally {
      closeSync(log)
    }
  } catch (error) {
    throw asLaunchError(error instanceof DbaasError ? error : (whyNotWritable(home) ?? DbaasError.from(error)))
  }
}

async function listening(
  socketPath: string,
  child: ChildProcess,
  deadline: number,
): Promise<'answers' | 'silent' | Exit> {
  let exit: Exit | undefined
  child.once('exit', (code, signal) => (exit = {code, signal}))
  child.once('error', () => (exit = {code: 1, signal: null}))
  while (Date.now() < deadline) {
    if (await answers(socketPath)) return 'answers'
    // Asked once more after the end: the winner of the lock may have come between the question and the exit.
    if (exit) return (await answers(socketPath)) ? 'answers' : exit
    await sleep(pollMs)
  }
  return 'silent'
}

/** The agent's own words; or those of the disk, when it was too full to write them down. */
function failure(home: string, exit: Exit): DbaasError {
  const detail = readFatal(home)
  if (detail) return asLaunchError(DbaasError.fromDetail(detail))
  const reason = whyNotWritable(home)
  if (reason) return asLaunchError(reason)
  return startFailed(home, `the agent could not be started: it ended with ${exit.signal ?? `exit code ${exit.code}`}`)
}

function startFailed(home: string, message: string): DbaasError {
  const log = agentLogFile(home)
  const words = lastLines(log)
  return new LaunchError('AGENT_START_FAILED', message, {
    details: {log, ...(words ? {last_words: words} : {})},
    suggestions: ['dbaas agent logs', 'dbaas agent run'],
  })
}

function asLaunchError(error: DbaasError): DbaasError {
  const options: ErrorOptions = {details: error.details, suggestions: error.suggestions, cause: error.cause}
  return new LaunchError(error.code, error.message, options)
}

function lastLines(file: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-5).join('\n').slice(-2000)
  } catch {
    return ''
  }
}

/** Found by walking up from this module: it is in src/agent/client, or in some chunk below dist. */
function agentEntry(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const entry = join(folder, 'bin', 'agent.js')
    if (existsSync(join(folder, 'package.json')) && existsSync(entry)) return entry
    if (folder === dirname(folder)) {
      throw new DbaasError('AGENT_START_FAILED', 'bin/agent.js, the agent, is not part of this installation', {
        suggestions: ['install dbaas again'],
      })
    }
  }
}

const inherited = new Set([
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'LANG',
  'TZ',
  'TMPDIR',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'XDG_RUNTIME_DIR',
  'DBUS_SESSION_BUS_ADDRESS',
])
/** Of the command, not of the agent; the token would stay readable in the agent's environment for weeks. */
const ofTheCommand = new Set(['DBAAS_TOKEN', 'DBAAS_URL', 'DBAAS_CONTEXT', 'DBAAS_TENANT'])

/** What the daemon is given of the environment of whoever happened to type the first command. */
export function agentEnvironment(environment: Environment, home: string): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || ofTheCommand.has(name)) continue
    // an engine of Docker that is reached by ssh
    if (name === 'SSH_AUTH_SOCK' && /^ssh:/.test(environment['DOCKER_HOST'] ?? '')) kept[name] = value
    if (inherited.has(name.toUpperCase()) || /^(LC_|DBAAS_|DOCKER_|npm_config_)/i.test(name)) kept[name] = value
  }
  return {...kept, DBAAS_HOME: home}
}

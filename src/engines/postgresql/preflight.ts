/**
 * Asks the server's own binary about a configuration, without a server and without touching the instance's data.
 * `postgres -C` runs every check hook, loads the libraries, checks combinations and computes the shared memory. It
 * wants a data directory with a readable pg_control that no server has locked: one is made here, of one file that
 * matters.
 */
import {randomUUID} from 'node:crypto'
import type {ParameterValues} from '../../core/instance/instance.js'
import type {ExecResult, Host} from '../host.js'
import {DbaasError} from '../../core/errors.js'
import {managedValues, ownDefaults} from './managed.js'
import {can, majorOf} from './versions.js'
import {renderParameters} from './files.js'

interface Problem {
  readonly parameter: string | null
  readonly because: string
}

/** Programs write English, and look for no time zone of the machine. */
export const programEnv = {LC_ALL: 'C', TZ: 'UTC'} as const

/** pg_control by folder of programs: it is written once by the binary itself, and only its format matters. */
const controls = new Map<string, Buffer>()

const folders = [
  'global',
  'pg_wal/archive_status',
  'pg_wal/summaries',
  'pg_xact',
  'pg_multixact/members',
  'pg_multixact/offsets',
  'pg_commit_ts',
  'pg_subtrans',
  'pg_notify',
  'pg_serial',
  'pg_snapshots',
  'pg_twophase',
  'pg_tblspc',
  'pg_dynshmem',
  'pg_stat',
  'pg_stat_tmp',
  'pg_replslot',
  'pg_logical/snapshots',
  'pg_logical/mappings',
  'base/1',
]

async function inScratch<T>(host: Host, version: string, use: (data: string) => Promise<T>): Promise<T> {
  const data = `${host.paths.tmp}/preflight-${randomUUID()}`
  try {
    const known = controls.get(host.paths.bin)
    const made = await host.exec(['mkdir', '-p', '-m', '700', data, ...folders.map((folder) => `${data}/${folder}`)])
    if (made.code !== 0)
      throw new DbaasError('COMMAND_FAILED', `the folder ${data} cannot be made: ${made.stderr.trim()}`)
    await host.write({path: `${data}/PG_VERSION`, content: `${majorOf(version)}\n`})
    await host.write({path: `${data}/postgresql.auto.conf`, content: ''})
    if (known) await host.write({path: `${data}/global/pg_control`, content: known})
    else controls.set(host.paths.bin, await makeControl(host, version, data))
    return await use(data)
  } finally {
    await host.remove(data)
  }
}

/**
 * The bootstrap backend writes pg_control before it reads its first command; that it then ends, for want of the rest of
 * a data directory, is expected.
 */
async function makeControl(host: Host, version: string, data: string): Promise<Buffer> {
  await host.write({path: `${data}/postgresql.conf`, content: ''})
  const result = await host.exec(
    [
      `${host.paths.bin}/postgres`,
      '--boot',
      ...(majorOf(version) === 14 ? ['-x1'] : []),
      '-F',
      '-X',
      '1048576',
      '-D',
      data,
    ],
    {env: programEnv, stdin: '', timeoutSeconds: 30},
  )
  const control = await host.read(`${data}/global/pg_control`)
  if (control === undefined) {
    throw new DbaasError(
      'COMMAND_FAILED',
      `postgres ${version} cannot judge a configuration here: ${lastLine(result.stderr)}`,
      {
        suggestions: ['dbaas doctor'],
      },
    )
  }
  return control
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? ''

/** The answer must be readable whatever is asked. On the command line these hold; the file is still judged. */
const readable = ['log_min_messages=warning', 'log_error_verbosity=default', 'lc_messages=C'].flatMap((setting) => [
  '-c',
  setting,
])

async function ask(
  host: Host,
  values: ParameterValues,
  version: string,
  option: readonly string[] = [],
): Promise<ExecResult> {
  return inScratch(host, version, async (data) => {
    const conf = `${data}/asked.conf`
    await host.write({
      path: conf,
      content: renderParameters({
        ...ownDefaults,
        ...values,
        ...managedValues(version),
        // no certificate is at hand, and none is judged here; without an address nothing is ever served
        ssl: 'off',
        listen_addresses: '',
        log_line_prefix: '',
      }),
    })
    const argv = [`${host.paths.bin}/postgres`, '-D', data, '-c', `config_file=${conf}`, ...readable, ...option]
    return host.exec(argv, {env: programEnv, timeoutSeconds: 30})
  })
}

/** A postmaster that has found nothing wrong, and has nothing to do. */
const nothingWrong = /no socket created for listening/

interface Answer {
  readonly ok: boolean
  readonly found: Problem[]
  readonly last: string
}

/**
 * `-C` ends before the memory is taken, but says nothing of warnings, which is all that a library's own parameters get;
 * `start` says everything, and takes the memory of its values. 14 knows only the second.
 */
async function judge(host: Host, values: ParameterValues, version: string, way: '-C' | 'start'): Promise<Answer> {
  const result = await ask(host, values, version, way === '-C' ? ['-C', 'shared_memory_size'] : [])
  const ok = way === '-C' ? result.code === 0 : nothingWrong.test(result.stderr)
  const last = lastLine(result.stderr) || `postgres ended with code ${result.code}`
  return {ok, found: complaints(result.stderr, Object.keys(values)), last}
}

const pick = (values: ParameterValues, names: readonly string[]): ParameterValues =>
  Object.fromEntries(names.map((name) => [name, values[name] as string]))

/** Every complaint of the binary about `values`; empty when a server would start with them. */
export async function problems(host: Host, values: ParameterValues, version: string): Promise<Problem[]> {
  const way = can(version, 'shared-memory-size') ? '-C' : 'start'
  const answer = await judge(host, values, version, way)
  if (answer.found.length > 0) return answer.found
  if (!answer.ok) return [{parameter: await silentlyRefused(host, values, version, way), because: answer.last}]
  const ofLibraries = Object.keys(values).filter((name) => name.includes('.'))
  if (way === 'start' || ofLibraries.length === 0) return []
  return (await judge(host, pick(values, ofLibraries), version, 'start')).found
}

/** A few check hooks refuse without a word. Found by halves; null where it is no single value's fault. */
async function silentlyRefused(
  host: Host,
  values: ParameterValues,
  version: string,
  way: '-C' | 'start',
): Promise<string | null> {
  let names = Object.keys(values)
  while (names.length > 1) {
    const half = names.slice(0, names.length / 2)
    names = (await judge(host, pick(values, half), version, way)).ok ? names.slice(half.length) : half
  }
  const [last] = names
  return last === undefined || (await judge(host, pick(values, [last]), version, way)).ok ? null : last
}

const line = /^(?:.*?\b(LOG|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL):\s{1,2}|(?:\S*\/)?postgres: )(.*)$/

/** Complaints by what they are about; the hints and details that follow one belong to it. */
function complaints(stderr: string, names: readonly string[]): Problem[] {
  const found: string[] = []
  let open = false
  for (const text of stderr.split('\n')) {
    const match = line.exec(text)
    if (!match) continue
    const [, severity, words] = match as unknown as [string, string | undefined, string]
    if (severity === 'HINT' || severity === 'DETAIL') {
      if (open) found.push(`${found.pop()}. ${words.replace(/[.\s]+$/, '')}`)
      continue
    }
    open = isComplaint(severity, words)
    if (open) found.push(words.replace(/[.\s]+$/, ''))
  }
  // the sum of the above says nothing of its own
  return found
    .filter((because) => !/^configuration file ".*" contains errors/.test(because))
    .map((because) => ({parameter: subject(because, names), because}))
}

/** A warning is a complaint where a library found its parameter's value wrong: it would start, with another value. */
function isComplaint(severity: string | undefined, words: string): boolean {
  if (nothingWrong.test(words)) return false
  if (severity === undefined || severity === 'FATAL' || severity === 'PANIC' || severity === 'ERROR') return true
  return / parameter "|^parameter "|^syntax error in file|^could not access file/.test(words)
}

/** The parameter a complaint is about; null where it names several of ours or none: it is about their combination. */
function subject(words: string, names: readonly string[]): string | null {
  const asked = new Map(names.map((name) => [name.toLowerCase(), name]))
  const quoted = /parameter "([^"]+)"/.exec(words)?.[1]?.toLowerCase()
  if (quoted !== undefined && asked.has(quoted)) return asked.get(quoted) as string
  const mentioned = new Set(
    [...words.matchAll(/[A-Za-z_][A-Za-z0-9_.$]*/g)]
      .map(([word]) => word.toLowerCase())
      .filter((word) => asked.has(word)),
  )
  const [only] = mentioned
  return mentioned.size === 1 ? (asked.get(only as string) as string) : null
}

/** As EngineConfig.preflight promises. */
export async function preflight(host: Host, values: ParameterValues, version: string): Promise<Problem | undefined> {
  return (await problems(host, values, version))[0]
}

/** As EngineConfig.memoryNeeded promises: shared memory, which is what is taken at the start. */
export async function memoryNeeded(host: Host, values: ParameterValues, version: string): Promise<number | undefined> {
  if (!can(version, 'shared-memory-size')) return undefined
  const result = await ask(host, values, version, ['-C', 'shared_memory_size'])
  const megabytes = /^(\d+)\s*$/.exec(result.stdout)?.[1]
  return result.code === 0 && megabytes !== undefined ? Number(megabytes) * 1024 ** 2 : undefined
}

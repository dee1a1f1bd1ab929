/**
 * Asks the server's own program about a configuration, without a server and without the instance's data: `--verbose
 * --help` reads the very file a server would be started with, refuses what cannot be read, and lists the values it would
 * run with. A value in that list that is not the asked one would be adjusted, which is a refusal here (values.ts).
 *
 * It starts no storage engine. What an engine would adjust when it starts is told by rules (`adjustedAtStart`), and what
 * only a start can judge (names of engines, locales and time zones) by a start, in a data directory of its own that
 * nobody can connect to.
 */
import {randomUUID} from 'node:crypto'
import type {ParameterValues} from '../../core/instance/instance.js'
import type {EngineConfig} from '../engine.js'
import type {Host} from '../host.js'
import type {Dialect} from './dialect.js'
import {renderParameters, serverParameters} from './files.js'
import type {Help} from './help.js'
import {askHelp, programEnv} from './help.js'
import {layoutOf} from './layout.js'
import {parseBoolean, parseInteger, parseReal} from './numbers.js'
import {canonicalName, toOptions, variableOf} from './options.js'
import {paddedOffset, serverChoosesAtZero} from './values.js'

export interface Problem {
  readonly parameter: string | null
  readonly because: string
}

/** A value of the file as the program would run with it; by option. */
export type Effective = ReadonlyMap<string, string | null>

export interface PreflightRules {
  /**
   * What the server adjusts or refuses when it starts, which the program's list does not show: why, by option. Of options
   * that nobody asked for nothing is wanted; theirs may be in it.
   */
  adjustedAtStart(effective: Effective): Readonly<Record<string, string | undefined>>
  /** Names that only a start judges -> the values that it is not needed for. */
  readonly judgedByStart: Readonly<Record<string, RegExp>>
}

/** `innodb_open_files`: the storage engine takes fewer than ten for no number at all. */
export const tooFewOpenFiles = (number: number): string | undefined =>
  number > 0 && number < 10 ? 'the server would choose a number by itself: it takes at least 10, or 0' : undefined

export const isPowerOfTwo = (number: number): boolean => Number.isInteger(Math.log2(number))

/** Why a number that the server rounds up is not taken, or undefined. */
export const roundedToPowerOfTwo = (number: number): string | undefined =>
  isPowerOfTwo(number) ? undefined : `the server would round it up to a power of two: ${2 ** Math.ceil(Math.log2(number))}`

export interface Preflight {
  /** Every complaint about `values`; empty when a server would start and run with exactly them. */
  problems(host: Host, values: ParameterValues, version: string): Promise<Problem[]>
  readonly preflight: EngineConfig['preflight']
  /** The values a server would run with, by option; undefined where it would not start. */
  effective(host: Host, values: ParameterValues, version: string): Promise<Effective | undefined>
}

interface Line {
  readonly severity: string
  readonly words: string
}

/** `2026-11-24T07:45:17.8Z 0 [ERROR] [MY-000058] [Server] …`, and MariaDB's without the brackets in the middle. */
function linesOf(text: string): Line[] {
  return text.split('\n').flatMap((line) => {
    const match = /\[(ERROR|Warning|Note|System)\] (?:\[MY-\d+\] \[\w+\] )?(?:Buffered \w+: )?(.*)$/.exec(line)
    return match ? [{severity: match[1] as string, words: (match[2] as string).trim()}] : []
  })
}

/** Errors, or where there is none all that was written: a program that gives up early has no log yet. */
function complaintsOf(text: string): Line[] {
  const errors = linesOf(text).filter(({severity, words}) => severity === 'ERROR' && !/^Aborting/.test(words))
  if (errors.length > 0) return errors
  return text
    .split('\n')
    .filter((line) => line.trim() !== '' && !/\[(?:Note|System|Warning)\]/.test(line))
    .map((words) => ({severity: 'ERROR', words: words.trim()}))
}

/** Where a program speaks of itself by its path, after a beep. */
const withoutPath = (words: string): string => words.replace(/^\P{L}*?(?:\/\S*)?(?:mysqld|mariadbd): /u, '').replace(/[.\s]+$/, '')

const named = /\b(?:to|variable|option|for|of) '([a-z0-9_-]+)'|\bfor ([a-z0-9_-]+)$|\bvariable '([a-z0-9_-]+=?)/i

/** The option that a complaint is about, of those asked for; null where it names none or several. */
function subject(words: string, value: (option: string) => string | undefined, options: readonly string[]): string | null {
  const known = new Map(options.map((option) => [option, option]))
  const match = named.exec(words)
  const direct = canonicalName((match?.[1] ?? match?.[2] ?? match?.[3] ?? '').replace(/=$/, ''))
  if (known.has(direct)) return direct
  const mentioned = [...words.matchAll(/[a-z][a-z0-9_-]+/gi)].map(([word]) => canonicalName(word)).filter((word) => known.has(word))
  if (new Set(mentioned).size === 1) return mentioned[0] as string
  // a name of an engine, a locale or a zone is quoted, and belongs to who asked for it
  const quoted = [...words.matchAll(/'([^']+)'/g)].map((found) => found[1] as string)
  const owners = options.filter((option) => quoted.includes(value(option) ?? '\0'))
  return owners.length === 1 ? (owners[0] as string) : null
}

/** Whether a value as the program lists it is the asked one; of texts it is not known here. */
function isListedAs(option: string, takes: 'nothing' | 'number' | 'text', asked: string, listed: string): boolean {
  if (takes === 'text') return true
  if (takes === 'nothing') {
    const a = parseBoolean(asked)
    return a !== undefined && a === parseBoolean(listed)
  }
  const [a, b] = [parseInteger(asked), parseInteger(listed)]
  if (typeof a === 'bigint' && typeof b === 'bigint' && a === b) return true
  // both ask the server to choose
  if (a === -1n || (a === 0n && serverChoosesAtZero.has(option))) return true
  const [x, y] = [parseReal(asked), parseReal(listed)]
  // six digits are what a real is listed with
  return x !== undefined && y !== undefined && Number(x.toPrecision(6)) === Number(y.toPrecision(6))
}

/** So many characters of a value, in hexadecimal, fit into a name. */
const readCharacters = 24

const readBack = (name: string): string =>
  [
    `SET @s = CONCAT('CREATE DATABASE \`read_', LOWER(HEX(LEFT(COALESCE(CONCAT(@@GLOBAL.${name}), ''), ${readCharacters}))), '\`')`,
    'PREPARE p FROM @s',
    'EXECUTE p',
    'SHUTDOWN',
  ]
    .map((statement) => `${statement};\n`)
    .join('')

function readFrom(folders: readonly string[]): string | undefined {
  const hex = folders.map((folder) => /^read_([0-9a-f]*)$/.exec(folder)?.[1]).find((found) => found !== undefined)
  return hex === undefined ? undefined : Buffer.from(hex, 'hex').toString('utf8')
}

/** As far as it was read; names differ in case, and a switch is shown by its number. */
function isReadAs(value: string, read: string): boolean {
  const truth = parseBoolean(value)
  if (truth !== undefined && /^[01]$/.test(read)) return truth === (read === '1')
  const number = parseInteger(value)
  if (number !== undefined && /^\d+$/.test(read)) return String(number) === read
  return [...paddedOffset(value)].slice(0, readCharacters).join('').toLowerCase() === paddedOffset(read).toLowerCase()
}

export function createPreflight(dialect: Dialect, rules: PreflightRules): Preflight {
  /** Verdicts of starts, by programs and values: a name is as wrong tomorrow. */
  const verdicts = new Map<string, Promise<Problem | undefined>>()

  async function inScratch<T>(host: Host, use: (folder: string) => Promise<T>): Promise<T> {
    const folder = `${host.paths.tmp}/preflight-${randomUUID()}`
    try {
      await host.exec(['mkdir', '-m', '700', folder])
      return await use(folder)
    } finally {
      await host.remove(folder)
    }
  }

  async function ask(host: Host, values: ParameterValues, version: string): Promise<Help> {
    return inScratch(host, async (folder) => {
      const parameters = await serverParameters(dialect, host, {version, instanceName: 'preflight', values: toOptions(values)})
      const conf = `${folder}/my.cnf`
      await host.write({path: conf, content: renderParameters(parameters)})
      return askHelp(host, dialect, [`--defaults-file=${conf}`])
    })
  }

  /** Complaints that made the program give up, one run after the other without what was refused. */
  async function refusals(
    host: Host,
    asked: ReadonlyMap<string, {name: string; value: string}>,
    version: string,
  ): Promise<{found: Problem[]; help: Help; rest: ReadonlyMap<string, {name: string; value: string}>}> {
    const found: Problem[] = []
    const rest = new Map(asked)
    for (;;) {
      const help = await ask(host, Object.fromEntries([...rest].map(([option, {value}]) => [option, value])), version)
      if (help.values.size > 0) return {found, help, rest}
      const complaints = complaintsOf(help.result.stderr)
      const about = complaints.map(({words}) => ({
        option: subject(words, (option) => rest.get(option)?.value, [...rest.keys()]),
        because: withoutPath(words),
      }))
      const refused = about.filter(({option}) => option !== null)
      // the first says why, those behind it that a value was not set
      const [first] = refused
      if (first === undefined || first.option === null) {
        const words = about[0]?.because ?? `${dialect.serverProgram} ended with code ${help.result.code}`
        return {found: [...found, {parameter: null, because: words}], help, rest}
      }
      const why = complaints.map(({words}) => withoutPath(words)).find((words) => !/^Error while setting value/.test(words))
      found.push({parameter: rest.get(first.option)?.name ?? first.option, because: why ?? first.because})
      rest.delete(first.option)
    }
  }

  /**
   * A start with one value that only a start can judge. The server reads it back into the name of a database, whose
   * folder stays when it has shut itself down: it listens to nobody.
   */
  async function start(host: Host, option: string, name: string, value: string, version: string): Promise<Problem | undefined> {
    return inScratch(host, async (folder) => {
      const paths = {...host.paths, data: `${folder}/data`, config: `${folder}/config`, tmp: `${folder}/tmp`}
      await host.exec(['mkdir', '-m', '700', paths.data, paths.config, paths.tmp])
      const place: Host = {...host, paths}
      await dialect.makeData(place, version, await layoutOf(place))
      const [conf, orders] = [`${folder}/my.cnf`, `${folder}/orders.sql`]
      await host.write({path: orders, content: readBack(name)})
      const {ssl_ca: _ca, ssl_cert: _cert, ssl_key: _key, require_secure_transport: _tls, bind_address: _address, ...parameters} =
        await serverParameters(dialect, place, {version, instanceName: 'preflight', values: {[option]: value}})
      await host.write({
        path: conf,
        content: renderParameters({...parameters, skip_networking: 'ON', init_file: orders, slow_query_log: 'OFF'}),
      })
      const result = await host.exec([`${host.paths.bin}/${dialect.serverProgram}`, `--defaults-file=${conf}`], {
        env: programEnv,
        stdin: '',
        timeoutSeconds: 60,
      })
      const read = readFrom(await host.list(paths.data))
      if (read !== undefined && isReadAs(value, read)) return undefined
      const complaints = complaintsOf(result.stderr)
      const about = complaints.find(({words}) => words.includes(value)) ?? complaints.at(-1)
      const instead = read === undefined ? `the server does not start with "${value}"` : `the server would run with "${read}" instead of "${value}"`
      return {parameter: option, because: about === undefined ? instead : withoutPath(about.words)}
    })
  }

  async function startProblems(host: Host, asked: ReadonlyMap<string, {name: string; value: string}>, version: string): Promise<Problem[]> {
    const found: Problem[] = []
    for (const [option, {name, value}] of asked) {
      const known = rules.judgedByStart[name]
      if (known === undefined || known.test(value)) continue
      const key = JSON.stringify([host.paths.bin, version, option, value])
      let verdict = verdicts.get(key)
      if (!verdict) {
        verdict = start(host, option, name, value, version)
        verdicts.set(key, verdict)
        verdict.catch(() => verdicts.delete(key))
      }
      const problem = await verdict
      if (problem) found.push({...problem, parameter: name})
    }
    return found
  }

  async function judge(host: Host, values: ParameterValues, version: string): Promise<{found: Problem[]; help: Help}> {
    const asked = new Map(
      Object.entries(toOptions(values)).map(([option, value]) => [option, {name: variableOf(option, (name) => Object.hasOwn(values, name)) ?? option, value}]),
    )
    const {found, help, rest} = await refusals(host, asked, version)
    const adjusted = rules.adjustedAtStart(help.values)
    for (const [option, {name, value}] of rest) {
      const listed = help.values.get(option)
      const takes = help.options.get(option)?.takes
      if (listed === undefined || listed === null || takes === undefined) continue
      if (isListedAs(option, takes, value, listed)) {
        const because = adjusted[option]
        if (because !== undefined) found.push({parameter: name, because})
        continue
      }
      const said = linesOf(help.result.stderr).find(({severity, words}) => severity === 'Warning' && canonicalName(words).includes(option))
      found.push({
        parameter: name,
        because: `the server would run with ${listed} instead of ${value}${said === undefined ? '' : `: ${withoutPath(said.words)}`}`,
      })
    }
    found.push(...(await startProblems(host, rest, version)))
    return {found, help}
  }

  return {
    problems: async (host, values, version) => (await judge(host, values, version)).found,
    preflight: async (host, values, version) => (await judge(host, values, version)).found[0],
    async effective(host, values, version) {
      const help = await ask(host, values, version)
      return help.values.size > 0 ? help.values : undefined
    },
  }
}

/** A whole number of the effective values; 0 where there is none. */
export function numberOf(effective: Effective, option: string): number {
  const value = parseInteger(effective.get(option) ?? '')
  return typeof value === 'bigint' ? Number(value) : 0
}

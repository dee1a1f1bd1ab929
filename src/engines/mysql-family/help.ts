/**
 * What a server's own program says of its options: `--verbose --help` lists them with a description, and below that
 * every value it would run with, after it has read the files and arguments it was given. No server is started and no
 * data is looked at; it takes some twenty milliseconds.
 */
import {DbaasError} from '../../core/errors.js'
import type {ExecResult, Host} from '../host.js'
import type {Dialect} from './dialect.js'

export interface HelpOption {
  /** What is written behind the name: nothing (a switch), a number, or a text. */
  readonly takes: 'nothing' | 'number' | 'text'
  readonly description: string
}

export interface Help {
  readonly options: ReadonlyMap<string, HelpOption>
  /** By option, with underscores; null where it has no value. Empty where the program gave up. */
  readonly values: ReadonlyMap<string, string | null>
  readonly result: ExecResult
}

/** Programs write English, and look for no time zone of the machine. */
export const programEnv = {LC_ALL: 'C', TZ: 'UTC'} as const

const option = /^ {2}(?:-\S, )? *--([a-zA-Z0-9_-]+)(?:\[?=(name|#)\]?)?(?: |$)/
const underscored = (name: string): string => name.toLowerCase().replaceAll('-', '_')

function parseOptions(text: string): Map<string, HelpOption> {
  const found = new Map<string, HelpOption>()
  let open: {name: string; takes: HelpOption['takes']; words: string[]} | undefined
  const close = (): void => {
    if (open) found.set(open.name, {takes: open.takes, description: open.words.join(' ')})
    open = undefined
  }
  for (const line of text.split('\n')) {
    const match = option.exec(line)
    if (match) {
      close()
      const [all, name, value] = match as unknown as [string, string, string | undefined]
      const takes = value === undefined ? 'nothing' : value === '#' ? 'number' : 'text'
      open = {name: underscored(name), takes, words: [line.slice(all.length).trim()].filter((word) => word !== '')}
    } else if (/^ {20,}\S/.test(line)) open?.words.push(line.trim())
    else close()
  }
  close()
  return found
}

function parseValues(text: string): Map<string, string | null> {
  const found = new Map<string, string | null>()
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z][a-zA-Z0-9_-]*)(?: (.*))?$/.exec(line)
    if (!match) continue
    const value = (match[2] ?? '').trim()
    found.set(underscored(match[1] as string), value === '(No default value)' ? null : value)
  }
  return found
}

/** MySQL lists values even where it gives up, or where its storage engine does; then they are not what it was asked for. */
const gaveUp = /\[ERROR\].*(?:Aborting|Error while setting value|Parsing options for plugin)/

/** `options` go before it: `--no-defaults` or `--defaults-file=…` first, then what is tried. */
export async function askHelp(host: Host, dialect: Dialect, options: readonly string[]): Promise<Help> {
  const argv = [`${host.paths.bin}/${dialect.serverProgram}`, ...options, '--verbose', '--help']
  const result = await host.exec(argv, {env: programEnv, stdin: '', timeoutSeconds: 60})
  const [described = '', values = ''] = result.stdout.split(/^-{20,}[ -]*$/m)
  return {
    options: parseOptions(described),
    values: result.code !== 0 || gaveUp.test(result.stderr) ? new Map() : parseValues(values),
    result,
  }
}

/** The options of a server without any file. Throws COMMAND_FAILED where the program does not tell. */
export async function plainHelp(host: Host, dialect: Dialect): Promise<Help> {
  const help = await askHelp(host, dialect, ['--no-defaults'])
  if (help.values.size > 0) return help
  const words = help.result.stderr.trim().split('\n').at(-1) || `it ended with code ${help.result.code}`
  throw new DbaasError('COMMAND_FAILED', `${dialect.serverProgram} does not tell its options: ${words}`, {
    suggestions: ['dbaas doctor'],
  })
}

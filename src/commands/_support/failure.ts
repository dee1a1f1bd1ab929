/** Any thrown thing -> what a person or a script is told, and the exit code. */
import type {ApiError} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import {makeId} from '../../core/ids.js'
import {nearest} from '../../core/nearest.js'

/** What the parser threw, as far as it says more than its message. */
interface ParseFailure {
  readonly message?: string
  /** Of unknown flags: as they were typed. */
  readonly flags?: readonly string[]
  /** Of missing arguments: their definitions; of unexpected ones: what was typed. */
  readonly args?: readonly (string | {readonly name: string})[]
  readonly parse?: unknown
  readonly oclif?: {readonly exit?: number}
}

export interface CommandShape {
  /** With spaces: `config templates list`. */
  readonly id: string
  readonly flags: readonly string[]
  readonly args: readonly string[]
}

const oneLine = (text: string): string =>
  // The parser colours its words and appends a pointer to --help, which we give as a suggestion.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
  text.replace(/\u001B\[[0-9;]*m/g, '').replace(/\n?See more help with --help/, '').replace(/\s*\n\s*/g, '; ').trim()

/** The parser's own errors, which know nothing of our codes; undefined for anything else. */
function usageError(error: ParseFailure, command: CommandShape | undefined): DbaasError | undefined {
  const help = command ? `dbaas ${command.id} --help` : 'dbaas help'
  if (error.parse !== undefined && error.flags?.[0] !== undefined) {
    const [flag] = error.flags
    const near = nearest(flag.replace(/^-+/, ''), command?.flags ?? [])
    return new DbaasError('USAGE', `${command ? `dbaas ${command.id}` : 'dbaas'} has no flag ${flag}`, {
      details: {flag},
      suggestions: [...(near ? [`did you mean --${near}?`] : []), help],
    })
  }
  if (error.parse !== undefined && error.args !== undefined && error.args.length > 0) {
    const [unexpected] = error.args
    if (typeof unexpected === 'string') {
      return new DbaasError('USAGE', `${command ? `dbaas ${command.id}` : 'dbaas'} does not expect "${unexpected}"`, {details: {unexpected}, suggestions: [help]})
    }
    const missing = (error.args as readonly {name: string}[]).map((arg) => arg.name.toUpperCase()).join(' and ')
    const usage = command?.args.map((arg) => ` ${arg.toUpperCase()}`).join('') ?? ''
    return new DbaasError('USAGE', `missing ${missing}`, {details: {missing}, suggestions: [...(command ? [`dbaas ${command.id}${usage}`] : []), help]})
  }
  const choice = /Expected (--\S+?)=([\s\S]*) to be one of: (.+)/.exec(oneLine(error.message ?? ''))
  if (error.parse !== undefined && choice) {
    const [, flag, given, words] = choice as unknown as [string, string, string, string]
    const near = nearest(given, words.split(', '))
    return new DbaasError('USAGE', `${flag} does not know "${given}"; it is one of ${words}`, {
      details: {flag, value: given, words}, suggestions: [...(near ? [`did you mean ${flag} ${near}?`] : []), help],
    })
  }
  if (error.parse !== undefined || error.oclif?.exit !== undefined) {
    return new DbaasError('USAGE', oneLine(error.message ?? 'the command line is not valid'), {suggestions: [help]})
  }
  return undefined
}

export function toDbaasError(error: unknown, command?: CommandShape): DbaasError {
  if (error instanceof DbaasError) return error
  return usageError((error ?? {}) as ParseFailure, command) ?? DbaasError.from(error)
}

/** The API's answer carries its request id; an error made here invents one. */
export function requestIdOf(error: unknown): string {
  const known = (error as {requestId?: unknown} | null)?.requestId
  return typeof known === 'string' ? known : makeId('request', Date.now(), crypto.getRandomValues(new Uint8Array(16)))
}

export const errorDocument = (error: DbaasError): ApiError => ({
  error: error.toDetail(),
  request_id: requestIdOf(error),
  timestamp: new Date().toISOString(),
})

/** Looks for `--json` as the parser would: what follows `--` is not ours. */
export function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--')
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json')
}

/** Writes the failure where it belongs and sets the exit code; returns it. */
export async function report(error: DbaasError, json: boolean): Promise<number> {
  if (json) process.stdout.write(`${JSON.stringify(errorDocument(error), null, 2)}\n`)
  else {
    const [{renderFailure}, {paintFor}] = await Promise.all([import('./render/failure.js'), import('./render/paint.js')])
    process.stderr.write(renderFailure(error, requestIdOf(error), await paintFor(process.stderr)))
    if (process.env.DEBUG && error.code === 'INTERNAL') process.stderr.write(`${String((error.cause as Error | undefined)?.stack ?? error.stack)}\n`)
  }
  process.exitCode = error.row.exit
  return error.row.exit
}

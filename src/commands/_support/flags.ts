/** Flags and arguments that several commands share. */
import * as Args from '@oclif/core/args'
import * as Flags from '@oclif/core/flags'
import {DbaasError} from '../../core/errors.js'
import {parseDuration} from '../../core/time.js'

/** `dbaas delete "$NAME"` with NAME unset is a mistake to name, not a request to `/v1/instances/`. */
async function filled(text: string): Promise<string> {
  if (text.trim() !== '') return text
  throw new DbaasError('USAGE', 'an argument is empty', {suggestions: ['give it a value; a variable may be unset', 'dbaas list']})
}

/** Arguments never read stdin by themselves: a script without one must fail, not wait. */
export const argument = (description: string) => Args.string({description, required: true, ignoreStdin: true, parse: filled})
export const optionalArgument = (description: string) => Args.string({description, ignoreStdin: true})
export const argumentList = (description: string) => Args.string({description, required: true, multiple: true, ignoreStdin: true})

export const instanceArgument = {name: argument('name or id of the instance')}

export const backupArgument = {backup: argument('id or label of the backup')}

export const planFlag = {plan: Flags.boolean({description: 'print what would happen, and change nothing'})}

/** Every verb whose change is an operation. */
export const operationFlags = {
  ...planFlag,
  wait: Flags.boolean({allowNo: true, default: true, description: 'wait until it is done (--no-wait: return the operation at once)'}),
  timeout: Flags.string({helpValue: '<duration>', description: 'wait no longer than this; the operation goes on'}),
}

export const yesFlag = {yes: Flags.boolean({char: 'y', description: 'do not ask (for scripts)'})}

export const engineFlag = {engine: Flags.string({default: 'postgresql', description: 'engine'})}

/** Promised, and not there yet: known, so that they are refused for what they are and not as mistyped. */
export const notYet = {
  ha: {ha: Flags.boolean({hidden: true, allowNo: true})},
  replicas: {replicas: Flags.string({hidden: true})},
}

/** Throws NOT_SUPPORTED. */
export function refuseNotYet(verb: string, {ha, replicas}: {readonly ha?: boolean; readonly replicas?: string | undefined}): void {
  const flag = ha !== undefined ? (ha ? '--ha' : '--no-ha') : replicas === undefined ? undefined : '--replicas'
  if (flag === undefined) return
  throw new DbaasError('NOT_SUPPORTED', `dbaas ${verb} ${flag} is not there yet: an instance has one server`, {
    details: {flag}, suggestions: [`leave ${flag} away`],
  })
}

/** A duration of a flag, in seconds. Throws USAGE, naming the flag; INVALID_REQUEST for what is none. */
export function parseSeconds(flag: string, text: string, {zero = false}: {zero?: boolean} = {}): number {
  const ms = zero && text.trim() === '0' ? 0 : parseDuration(text)
  if (ms > 0 || zero) return ms / 1000
  throw new DbaasError('USAGE', `--${flag} must be longer than "${text}"`, {details: {flag: `--${flag}`, value: text}, suggestions: [`--${flag} 7d`]})
}

/** `--set work_mem=64MB`, once for each parameter. */
export const setFlag = {
  set: Flags.string({multiple: true, multipleNonGreedy: true, helpValue: '<name>=<value>', description: 'a server parameter; may be repeated'}),
}

/** `['work_mem=64MB']` -> `{work_mem: '64MB'}`. Throws USAGE. */
export function parseAssignments(pairs: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) {
      throw new DbaasError('USAGE', `"${pair}" is not NAME=VALUE`, {details: {value: pair}, suggestions: ['write work_mem=64MB']})
    }
    values[pair.slice(0, at).trim()] = pair.slice(at + 1).trim()
  }
  return values
}

/** The number in a flag's text. Throws USAGE, naming the flag. */
export function parseNumber(flag: string, text: string, {integer = false, min = 0}: {integer?: boolean; min?: number} = {}): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < min || (integer && !Number.isInteger(value))) {
    throw new DbaasError('USAGE', `--${flag} takes ${integer ? 'a whole number' : 'a number'} of at least ${min}, not "${text}"`, {
      details: {flag: `--${flag}`, value: text}, suggestions: [`--${flag} ${Math.max(1, min)}`],
    })
  }
  return value
}

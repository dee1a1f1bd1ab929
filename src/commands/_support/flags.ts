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

export const nodeArgument = {node: argument('name or id of the node: dbaas replicas list NAME')}

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

/** Taken, and asks nothing: a verb that loses nothing needs no confirmation, and scripts may give one to all. */
export const needlessYesFlag = {yes: Flags.boolean({char: 'y', hidden: true})}

/** Which replica is to be the primary. */
export const toNodeFlag = {to: Flags.string({helpValue: '<node>', description: 'name or id of the node; the best by default (dbaas replicas list NAME)'})}

export const replicasFlag = {
  replicas: Flags.string({helpValue: '<count>', description: 'servers beside the primary; with --ha two by default, of which the first two vote, else read replicas'}),
}

export interface TopologyFlags {
  readonly ha?: boolean | undefined
  readonly replicas?: string | undefined
}

/** How many servers a body asks for. Throws USAGE. */
export function topologyBody({ha, replicas}: TopologyFlags): {high_availability?: boolean; replicas?: number} {
  const count = replicas === undefined ? undefined : parseNumber('replicas', replicas, {integer: true})
  if (count !== undefined && count > mostReplicas) {
    throw new DbaasError('USAGE', `--replicas is at most ${mostReplicas}, not ${replicas}`, {details: {flag: '--replicas', value: String(replicas)}, suggestions: ['--replicas 2']})
  }
  if (ha && count === 0) {
    throw new DbaasError('USAGE', '--ha needs a replica: with none, nobody could take over', {
      details: {flag: '--replicas', value: '0'}, suggestions: ['--ha', '--ha --replicas 1   # writes wait while the replica is away', 'leave --ha away'],
    })
  }
  return {...(ha === undefined ? {} : {high_availability: ha}), ...(count === undefined ? {} : {replicas: count})}
}

const mostReplicas = 16

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

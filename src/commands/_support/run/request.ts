import {DbaasError} from '../../../core/errors.js'

export interface RunFlags {
  readonly from?: string | undefined
}

/** `dbaas run npm test --watch`: the flag is not ours, and not a mistake either. Throws USAGE. */
export function checkDashes(own: readonly string[], hasRest: boolean): void {
  const [first] = own
  if (hasRest || first === undefined || first.startsWith('-')) return
  throw new DbaasError('USAGE', `dbaas run does not expect "${first}": the command comes after --`, {
    details: {unexpected: first}, suggestions: [`dbaas run -- ${own.join(' ')}`],
  })
}

/** Throws USAGE without a command or with words that belong behind `--`; NOT_SUPPORTED for what is not there yet. */
export function checkRun(flags: RunFlags, before: readonly string[], command: readonly string[]): void {
  if (flags.from !== undefined) {
    throw new DbaasError('NOT_SUPPORTED', 'dbaas run --from is not there yet: it needs clones', {details: {flag: '--from'}, suggestions: ['dbaas run -- CMD makes an empty database']})
  }
  if (before.length > 0) {
    const [word = ''] = before
    throw new DbaasError('USAGE', `dbaas run does not expect "${word}" before --`, {
      details: {unexpected: word}, suggestions: [`dbaas run -- ${[...before, ...command].join(' ')}`],
    })
  }
  if (command.length === 0) {
    throw new DbaasError('USAGE', 'missing CMD: there is no command after --', {details: {missing: 'CMD'}, suggestions: ['dbaas run -- npm test', 'dbaas run --help']})
  }
}

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** `run-` and 40 random bits. */
export const runName = (): string => `run-${[...crypto.getRandomValues(new Uint8Array(8))].map((byte) => alphabet[byte & 31]).join('')}`

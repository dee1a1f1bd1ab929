/** Destructive verbs: the name is typed on a terminal, `--yes` is given in a script, or nothing happens. */
import {DbaasError} from '../../core/errors.js'

export interface Confirmation {
  /** What must be typed. */
  readonly name: string
  /** What typing it does: `delete the instance demo with all its data`. */
  readonly deed: string
  readonly yes: boolean
  /** The command with --yes, to suggest. */
  readonly command: string
}

/** Returns when it may be done. Throws CONFIRMATION_REQUIRED (exit 2); never waits without a terminal. */
export async function confirm({name, deed, yes, command}: Confirmation): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new DbaasError('CONFIRMATION_REQUIRED', `this would ${deed}, and there is no terminal to confirm it`, {
      details: {name},
      suggestions: [`${command} --yes`],
    })
  }
  const {createInterface} = await import('node:readline/promises')
  const ask = createInterface({input: process.stdin, output: process.stderr})
  const interrupted = new Promise<undefined>((resolve) => ask.once('close', () => resolve(undefined)))
  try {
    const typed = await Promise.race([ask.question(`This will ${deed}. Type ${name} to go on: `), interrupted])
    if (typed?.trim() === name) return
    if (typed === undefined) process.stderr.write('\n')
    throw new DbaasError('CONFIRMATION_REQUIRED', typed === undefined ? 'not confirmed; nothing was changed' : `"${typed.trim()}" is not ${name}; nothing was changed`, {
      details: {name},
      suggestions: [`${command} --yes`],
    })
  } finally {
    ask.close()
  }
}

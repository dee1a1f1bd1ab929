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
  const {input} = await import('@inquirer/prompts')
  // on stderr, so that stdout stays the answer's; Ctrl-C and a closed terminal reject
  const typed = await input({message: `This will ${deed}. Type ${name} to go on:`}, {output: process.stderr}).catch(() => undefined)
  if (typed?.trim() === name) return
  throw new DbaasError('CONFIRMATION_REQUIRED', typed === undefined ? 'not confirmed; nothing was changed' : `"${typed.trim()}" is not ${name}; nothing was changed`, {
    details: {name},
    suggestions: [`${command} --yes`],
  })
}

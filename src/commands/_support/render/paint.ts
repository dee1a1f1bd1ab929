/** Colours as functions, so that what renders is pure. Without colour each returns its text. */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const same = (text: string): string => text
export const plain: Paint = {bold: same, dim: same, red: same, green: same, yellow: same, cyan: same}

/** NO_COLOR (any value), a dumb terminal or a pipe: no colour. FORCE_COLOR other than 0: colour in a pipe, too. */
export function wantsColour(stream: {readonly isTTY?: boolean}, env: Readonly<Record<string, string | undefined>>): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0'
  return stream.isTTY === true && env.TERM !== 'dumb'
}

/** chalk is loaded only where there is something to colour. */
export async function paintFor(stream: {readonly isTTY?: boolean}): Promise<Paint> {
  if (!wantsColour(stream, process.env)) return plain
  const {Chalk} = await import('chalk')
  const chalk = new Chalk({level: 1})
  return {bold: chalk.bold, dim: chalk.dim, red: chalk.red, green: chalk.green, yellow: chalk.yellow, cyan: chalk.cyan}
}

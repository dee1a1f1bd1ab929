/** Our own arguments, and those after `--`, which are not ours (DECISIONS.md 12). */
export function splitArguments(argv: readonly string[]): {own: string[]; rest: string[]; hasRest: boolean} {
  const end = argv.indexOf('--')
  return end === -1 ? {own: [...argv], rest: [], hasRest: false} : {own: argv.slice(0, end), rest: argv.slice(end + 1), hasRest: true}
}

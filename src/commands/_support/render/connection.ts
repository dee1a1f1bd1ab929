/** Connection strings in the form that was asked for. */
import {DbaasError} from '../../../core/errors.js'
import type {Access, ConnectionFormat, EnginePrompt, Route} from '../../../engines/prompt.js'

const shellQuoted = (value: string): string => (/^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`)

/** Lines for `eval "$(dbaas url NAME --format env)"`. */
const shellExports = (variables: Readonly<Record<string, string>>): string =>
  Object.entries(variables).map(([name, value]) => `export ${name}=${shellQuoted(value)}`).join('\n')

/** DATABASE_URL and what the engine's own clients read. */
export const variablesFor = async (prompt: EnginePrompt, access: Access, route: Route): Promise<Record<string, string>> =>
  ({DATABASE_URL: prompt.uri(access, route), ...await prompt.environment(access, route)})

/** Throws NOT_SUPPORTED for a form that the engine has not. */
export async function connectionString(format: ConnectionFormat, prompt: EnginePrompt, access: Access, route: Route): Promise<string> {
  if (format === 'uri') return prompt.uri(access, route)
  if (format === 'jdbc') return prompt.jdbc(access, route)
  if (format === 'env') return shellExports(await variablesFor(prompt, access, route))
  if (prompt.keywords) return prompt.keywords(access, route)
  throw new DbaasError('NOT_SUPPORTED', `${format} is a form of PostgreSQL's library, and this is ${prompt.title}`, {
    details: {format}, suggestions: ['--format uri', '--format env', '--format jdbc'],
  })
}

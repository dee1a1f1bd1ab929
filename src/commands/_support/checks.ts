/** What `doctor` can tell without the agent: it must help most where no agent starts. */
import type {ApiCheck} from '../../core/api/schemas.js'
import type {DbaasError} from '../../core/errors.js'
import {allPrompts} from '../../engines/prompts.js'
import {findClient} from './native-client.js'

export async function localChecks(): Promise<ApiCheck[]> {
  const clients = await Promise.all((await allPrompts()).map(async (prompt): Promise<ApiCheck> => {
    const [name = ''] = prompt.client.programs
    const found = await findClient(prompt)
    return found === undefined
      ? {name, ok: false, level: 'note', message: `not installed: dbaas connect uses its own prompt for ${prompt.title}`, suggestion: `install ${prompt.client.package}`}
      : {name, ok: true, level: 'ok', message: found, suggestion: null}
  }))
  return [{name: 'node', ok: true, level: 'ok', message: `Node.js ${process.versions.node}`, suggestion: null}, ...clients]
}

export const unreachable = (error: DbaasError): ApiCheck => ({
  name: 'agent', ok: false, level: 'problem', message: `${error.message} (${error.code})`, suggestion: error.suggestions[0] ?? null,
})

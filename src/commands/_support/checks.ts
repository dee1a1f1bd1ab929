/** What `doctor` can tell without the agent: it must help most where no agent starts. */
import type {ApiCheck} from '../../core/api/schemas.js'
import type {DbaasError} from '../../core/errors.js'
import {findProgram} from './programs.js'

export async function localChecks(): Promise<ApiCheck[]> {
  const psql = await findProgram('psql')
  return [
    {name: 'node', ok: true, level: 'ok', message: `Node.js ${process.versions.node}`, suggestion: null},
    psql === undefined
      ? {name: 'psql', ok: false, level: 'note', message: 'not installed: dbaas connect uses its own prompt', suggestion: 'install postgresql-client for psql'}
      : {name: 'psql', ok: true, level: 'ok', message: psql, suggestion: null},
  ]
}

export const unreachable = (error: DbaasError): ApiCheck => ({
  name: 'agent', ok: false, level: 'problem', message: `${error.message} (${error.code})`, suggestion: error.suggestions[0] ?? null,
})

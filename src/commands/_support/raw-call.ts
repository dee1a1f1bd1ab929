/** `dbaas api`: one request as it was typed, the answer as it came. */
import type {Location} from '../../agent/client/locate.js'
import {transportTo} from '../../agent/client/transport.js'
import {idempotencyHeader, tenantHeader} from '../../core/api/paths.js'
import {DbaasError, errorTable, isErrorCode} from '../../core/errors.js'

export interface RawRequest {
  readonly method: string
  readonly path: string
  readonly body: string | undefined
  readonly idempotencyKey: string | undefined
}

/** Throws USAGE for what cannot be the path of a request. */
export function checkPath(method: string, path: string): void {
  if (/^\/[\x21-\x7E]*$/.test(path)) return
  throw new DbaasError('USAGE', `"${path}" is not a path`, {details: {path}, suggestions: [`dbaas api ${method} /v1/instances`]})
}

/**
 * Streams the answer's body to `out` and returns the exit code: 0, or that of the ErrorResponse in it. Throws
 * AGENT_UNREACHABLE.
 */
export async function rawCall(location: Location, {method, path, body, idempotencyKey}: RawRequest, out: NodeJS.WritableStream): Promise<number> {
  const answer = await transportTo(location.target)({
    method, path, body, quietMs: 0,
    headers: {
      accept: '*/*',
      ...(body === undefined ? {} : {'content-type': 'application/json'}),
      ...(method === 'GET' ? {} : {[idempotencyHeader]: idempotencyKey ?? crypto.randomUUID()}),
      ...(location.tenant === undefined ? {} : {[tenantHeader]: location.tenant}),
    },
  })
  const failed = answer.status >= 400
  let text = ''
  for await (const chunk of answer.body.setEncoding('utf8') as AsyncIterable<string>) {
    out.write(chunk)
    if (failed) text += chunk
  }
  // A document on a terminal ends with a line end; in a pipe it is the answer, byte for byte.
  if (process.stdout.isTTY) out.write('\n')
  return failed ? exitOf(text) : 0
}

function exitOf(text: string): number {
  try {
    const {code} = (JSON.parse(text) as {error: {code: string}}).error
    return isErrorCode(code) ? errorTable[code].exit : 1
  } catch {
    return 1
  }
}

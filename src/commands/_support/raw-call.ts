/** `dbaas api`: one request as it was typed, the answer as it came. */
import type {IncomingMessage} from 'node:http'
import type {Location} from '../../agent/client/locate.js'
import {DbaasError, errorTable, isErrorCode} from '../../core/errors.js'

export interface RawRequest {
  readonly method: string
  readonly path: string
  readonly body: string | undefined
  readonly idempotencyKey: string | undefined
}

/**
 * Streams the answer's body to `out` and returns the exit code: 0, or that of the ErrorResponse in it. Throws
 * USAGE for a path that is none of the API's, AGENT_UNREACHABLE.
 */
export async function rawCall(location: Location, {method, path, body, idempotencyKey}: RawRequest, out: NodeJS.WritableStream): Promise<number> {
  if (!path.startsWith('/')) {
    throw new DbaasError('USAGE', `"${path}" is not a path`, {details: {path}, suggestions: [`dbaas api ${method} /v1/instances`]})
  }
  const {target, tenant} = location
  const headers = {
    accept: '*/*',
    ...(body === undefined ? {} : {'content-type': 'application/json', 'content-length': Buffer.byteLength(body)}),
    ...(method === 'GET' ? {} : {'idempotency-key': idempotencyKey ?? crypto.randomUUID()}),
    ...(tenant === undefined ? {} : {'x-dbaas-tenant': tenant}),
    ...('url' in target && target.token !== undefined ? {authorization: `Bearer ${target.token}`} : {}),
  }
  const {request} = 'url' in target && target.url.startsWith('https:') ? await import('node:https') : await import('node:http')
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = 'url' in target
      ? request(new URL(path, target.url), {method, headers}, resolve)
      : request({socketPath: target.socketPath, path, method, headers}, resolve)
    sent.once('error', (cause) => reject(new DbaasError('AGENT_UNREACHABLE', `the agent does not answer: ${cause.message}`, {
      cause, suggestions: ['dbaas agent status', 'dbaas doctor'],
    })))
    sent.end(body)
  })
  const failed = (response.statusCode ?? 500) >= 400
  let text = ''
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
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

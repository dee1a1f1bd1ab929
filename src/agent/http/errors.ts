/** Anything that was thrown while a request was served -> the ErrorResponse that leaves. */
import type {ApiError} from '../../core/api/schemas.js'
import {endpointIds, endpointPaths, jsonBodyLimitBytes, openapiPath} from '../../core/api/paths.js'
import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'
import {isoTime} from '../../core/time.js'
import {formatBytes} from '../../core/units.js'

export function errorResponse(error: DbaasError, requestId: string, now: number): ApiError {
  return {error: visible(error, requestId).toDetail(), request_id: requestId, timestamp: isoTime(now)}
}

/** The words of a bug may hold paths, SQL or secrets: they go to the log, and the client is told how to find them. */
function visible(error: DbaasError, requestId: string): DbaasError {
  if (error.code !== 'INTERNAL') return error
  return new DbaasError(
    'INTERNAL',
    `something went wrong inside the agent; its log has the details under ${requestId}`,
    {
      suggestions: ['dbaas agent logs', `report it with the request id ${requestId}`],
    },
  )
}

interface Thrown {
  readonly code?: unknown
  readonly statusCode?: unknown
  readonly message?: string
}

/** Fastify's own codes in our words. What it calls a 5xx, and what nobody translated, is INTERNAL. */
export function translate(thrown: unknown): DbaasError {
  if (thrown instanceof DbaasError) return thrown
  const {code, statusCode, message = ''} = (thrown ?? {}) as Thrown
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new DbaasError('PAYLOAD_TOO_LARGE', `the body is larger than ${formatBytes(jsonBodyLimitBytes)}`, {
        details: {limit_bytes: String(jsonBodyLimitBytes)},
      })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupportedMediaType('the body is not application/json')
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new DbaasError('MALFORMED_JSON', 'the body is empty', {suggestions: ['send a JSON object']})
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return new DbaasError('MALFORMED_JSON', 'the body is not valid JSON', {
        suggestions: ['check it with: jq . <<< "$BODY"'],
      })
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new DbaasError('INVALID_REQUEST', 'the body is not as long as content-length says')
    case 'FST_ERR_BAD_URL':
      return new DbaasError('INVALID_REQUEST', 'the path is not valid percent-encoded UTF-8', {
        suggestions: ['encode "%" as "%25"'],
      })
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new DbaasError('INVALID_REQUEST', 'a part of the path is too long')
    case 'ECONNRESET':
      return new DbaasError('INVALID_REQUEST', 'the request was cut off', {cause: thrown})
    default:
  }
  if (typeof code === 'string' && code.startsWith('FST_') && typeof statusCode === 'number' && statusCode < 500) {
    return new DbaasError('INVALID_REQUEST', message, {cause: thrown})
  }
  return DbaasError.from(thrown)
}

export const unsupportedMediaType = (message: string): DbaasError =>
  new DbaasError('UNSUPPORTED_MEDIA_TYPE', message, {suggestions: ['send the header content-type: application/json']})

const known = [
  ...endpointIds.map((id) => ({method: endpointPaths[id].method as string, path: endpointPaths[id].path as string})),
  {method: 'GET', path: openapiPath},
].map((endpoint) => ({
  ...endpoint,
  pattern: new RegExp(`^${endpoint.path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}$`),
}))

/** Why no route serves it: METHOD_NOT_ALLOWED (`details.allow` is the Allow header) or ROUTE_NOT_FOUND. */
export function noRoute(method: string, path: string): DbaasError {
  const methods = new Set(known.filter(({pattern}) => pattern.test(path)).map((endpoint) => endpoint.method))
  if (methods.size > 0) {
    if (methods.has('GET')) methods.add('HEAD')
    const allow = [...methods].sort().join(', ')
    return new DbaasError('METHOD_NOT_ALLOWED', `${path} has no method ${method}`, {
      details: {allow},
      suggestions: [`it has ${allow}`],
    })
  }
  // A very long path cannot be a slip of the pen, and the distance costs its square.
  const near = path.length > 200 ? undefined : nearest(path, new Set(known.map((endpoint) => endpoint.path)))
  return new DbaasError(
    'ROUTE_NOT_FOUND',
    `the API has no path ${path.length > 200 ? `${path.slice(0, 200)}…` : path}`,
    {
      suggestions: [...(near ? [`did you mean ${near}?`] : []), `dbaas api GET ${openapiPath}`],
    },
  )
}

/** What Docker, and the way to it, say when something fails, as ours: the only place where their words become a code. */
import {DbaasError} from '../../../core/errors.js'
import type {Connection} from './connection.js'

/** An answer of the engine that is no success. */
export interface Refusal {
  readonly status: number
  readonly words: string
}

/** Undefined for what is no answer of the engine: the connection failed, or the error is somebody else's. */
export function refusalOf(error: unknown): Refusal | undefined {
  const {statusCode, json} = (error ?? {}) as {statusCode?: unknown; json?: unknown}
  if (typeof statusCode !== 'number') return undefined
  const told = (json as {message?: unknown} | null | undefined)?.message
  return {status: statusCode, words: String(told ?? (error as Error).message).trim()}
}

export const isAbsent = (error: unknown): boolean => refusalOf(error)?.status === 404

const errnoOf = (error: unknown): string => String((error as {code?: unknown} | null)?.code ?? '')

const connectionCodes = new Set([
  'ENOENT', 'ECONNREFUSED', 'EACCES', 'EPERM', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'ESSH',
])

/**
 * `doing` completes "cannot …". What is neither an answer of the engine nor a fault of the way to it passes as it is:
 * the reason of an aborted signal, and what a caller's own function threw.
 */
export function translate(error: unknown, doing: string, connection: Connection | undefined): unknown {
  if (error instanceof DbaasError) return error
  const refusal = refusalOf(error)
  if (refusal) return translateWords(refusal, doing, error)
  const code = errnoOf(error)
  const isTls = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|EPROTO)/.test(code)
  if (connection && (connectionCodes.has(code) || isTls)) return unreachable(connection, code, error)
  // what an HTTP client says of a connection that ended before the answer did
  if (error instanceof Error && /socket hang up|aborted|premature close/i.test(error.message) && connection) return unreachable(connection, code, error)
  return error
}

export function unreachable(connection: Connection, code: string, cause?: unknown): DbaasError {
  const at = `${connection.address} (${connection.because})`
  const details = {address: connection.address, ...(code === '' ? {} : {errno: code})}
  if (code === 'EACCES' || code === 'EPERM') {
    return new DbaasError('RUNTIME_UNAVAILABLE', `this user may not use Docker: permission denied at ${at}`, {
      cause, details, suggestions: ['sudo usermod -aG docker $USER, then sign in again', 'https://docs.docker.com/engine/security/rootless/'],
    })
  }
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new DbaasError('RUNTIME_UNAVAILABLE', `Docker is not running: nothing answers at ${at}`, {
      cause, details, suggestions: [connection.local ? 'start Docker' : 'start Docker on that machine', 'docker info', 'dbaas doctor'],
    })
  }
  const words = cause instanceof Error && code !== 'HUNG' ? `: ${cause.message}` : ''
  return new DbaasError('RUNTIME_UNAVAILABLE', `Docker does not answer at ${at}${words}`, {
    cause, details, suggestions: ['docker info', 'dbaas doctor'],
  })
}

/** Also for the words of a pull, which come with a success and an error in the stream. */
export function translateWords({status, words}: Refusal, doing: string, cause?: unknown): DbaasError {
  const made = (code: ConstructorParameters<typeof DbaasError>[0], message: string, suggestions: string[], more: Record<string, string> = {}) =>
    new DbaasError(code, `cannot ${doing}: ${message}`, {cause, details: {docker: words, ...more}, suggestions})

  if (/port is already allocated|address already in use|Ports are not available/i.test(words)) {
    const port = /(?:Bind for \S*:|listen (?:tcp|udp)\d? \S*:|exposing port TCP \S*:)(\d+)/.exec(words)?.[1]
    return made('PORT_IN_USE', port === undefined ? 'its port is taken' : `port ${port} is taken`, ['docker ps', 'dbaas doctor'], port === undefined ? {} : {port})
  }
  if (/cannot assign requested address/i.test(words)) {
    return made('INVALID_STATE', 'the address to publish at is not one of the machine that runs Docker', ['--publish-address 127.0.0.1'])
  }
  if (/no space left on device|disk quota exceeded/i.test(words)) {
    return made('DISK_FULL', 'the disk of Docker is full', ['docker system df', 'docker system prune', 'dbaas doctor'])
  }
  if (/no such image/i.test(words)) return made('IMAGE_NOT_FOUND', 'its image is not there', ['docker images'])
  if (/non-overlapping IPv4 address pool/i.test(words)) {
    return made('RUNTIME_UNAVAILABLE', 'Docker has no subnet left for another network', ['docker network prune', 'default-address-pools in /etc/docker/daemon.json'])
  }
  if (/Range of CPUs is from/i.test(words)) return made('INSUFFICIENT_CPU', words, ['--cpu 1'])
  if (/Minimum memory limit|memory limit should be/i.test(words)) return made('INVALID_SIZE', words, ['--memory 512MiB'])
  if (status === 409) return made('INVALID_STATE', words, ['docker ps --all', 'dbaas doctor'])
  return made('RUNTIME_UNAVAILABLE', words, ['docker info', 'dbaas doctor'])
}

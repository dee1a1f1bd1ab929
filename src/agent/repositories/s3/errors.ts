/** What an S3 server, or the way to it, says, in our words. Nothing of a request is ever in them: it is signed with a secret. */
import {DbaasError, type ErrorCode} from '../../../core/errors.js'
import type {Answer} from './exchange.js'
import type {Target} from './options.js'
import {parseError} from './xml.js'

export interface Said {
  /** In S3's words; empty where the answer is none of an S3 server. */
  readonly code: string
  /** For a person. */
  readonly words: string
}

/** Foreign text, so that it cannot do anything but be read. */
const plain = (text: string): string => text.replace(/[^\x20-\x7e]/g, ' ').replace(/\s+/g, ' ').slice(0, 200).trim()

export function said({status, body}: Answer): Said {
  const {code, message} = parseError(body)
  return {code, words: plain(code === '' ? `HTTP status ${status}` : `${code}${message === '' ? '' : `: ${message}`}`)}
}

/** Statuses and codes that mean "not now". */
export function isPassing(answer: Answer): boolean {
  if (answer.status < 300) return false
  const {code} = said(answer)
  const codes = ['SlowDown', 'RequestTimeout', 'InternalError', 'ServiceUnavailable', 'Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'BandwidthLimitExceeded',
    'OperationAborted', 'ConditionalRequestConflict', 'RequestTimeTooSkewed', 'BadDigest', 'XAmzContentSHA256Mismatch', 'IncompleteBody']
  return [408, 425, 429].includes(answer.status) || codes.includes(code) || (answer.status >= 500 && answer.status !== 501 && answer.status !== 507)
}

/** Milliseconds that the server asks to be left alone; 0 if it does not. */
export function retryAfterMs({headers}: Answer): number {
  const seconds = Number(headers['retry-after'])
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0
}

export const unavailable = (target: Target, because: string, cause?: unknown): DbaasError =>
  new DbaasError('REPOSITORY_UNAVAILABLE', `the repository ${target.where} does not work: ${because}`, {cause, details: {repository: target.where}})

/** An answer that is neither a success nor passing. */
export function refusal(target: Target, answer: Answer): DbaasError {
  const {code, words} = said(answer)
  const {region} = parseError(answer.body)
  const right = region ?? answer.headers['x-amz-bucket-region']
  const {where, bucket} = target
  const details = {repository: where, status: String(answer.status), ...(code === '' ? {} : {reason: plain(code)})}
  const make = (kind: ErrorCode, message: string, ...suggestions: string[]) => new DbaasError(kind, message, {details, suggestions})
  switch (code) {
    case 'SignatureDoesNotMatch':
      return make('REPOSITORY_REFUSED', `the repository ${where} refuses the credentials: the secret is not that of the access key`, 'check the secret access key', 'check the region')
    case 'InvalidAccessKeyId':
      return make('REPOSITORY_REFUSED', `the repository ${where} does not know the access key`, 'check the access key')
    case 'ExpiredToken':
    case 'InvalidToken':
    case 'TokenRefreshRequired':
      return make('REPOSITORY_REFUSED', `the repository ${where} refuses the credentials: the session token has expired or is not valid`, 'give fresh credentials')
    case 'RequestTimeTooSkewed':
      return make('REPOSITORY_REFUSED', `the clocks of this machine and of ${where} differ by too much`, 'set the clock of this machine')
    case 'AccessDenied':
      return make('REPOSITORY_REFUSED', `the repository ${where} denies access: ${words}`, `allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on the bucket ${bucket}`)
    case 'NoSuchBucket':
      return make('REPOSITORY_UNAVAILABLE', `the repository ${where} is not there: there is no bucket ${bucket}`, `make the bucket ${bucket}`)
    case 'QuotaExceeded':
    case 'XMinioStorageFull':
    case 'InsufficientCapacity':
    case 'InsufficientStorage':
      return make('DISK_FULL', `the repository ${where} is full: ${words}`, 'raise its quota', 'keep backups for a shorter time')
    case 'NotImplemented':
      return make('REPOSITORY_REFUSED', `the repository ${where} cannot do what is needed: ${words}`)
  }
  if (right !== undefined && right !== target.region && (code === 'AuthorizationHeaderMalformed' || Math.floor(answer.status / 100) === 3)) {
    return make('REPOSITORY_REFUSED', `the bucket ${bucket} is not in the region ${target.region}: it is in ${plain(String(right))}`, `set the region ${plain(String(right))}`)
  }
  if (answer.status === 507) return make('DISK_FULL', `the repository ${where} is full: ${words}`, 'make room there', 'keep backups for a shorter time')
  if (code === '') {
    return answer.status === 401 || answer.status === 403
      ? make('REPOSITORY_REFUSED', `the repository ${where} denies access: ${words}`, 'check that the endpoint is that of an S3 server')
      : make('REPOSITORY_UNAVAILABLE', `${where} does not answer as an S3 server does: ${words}`, 'check the endpoint')
  }
  return make('REPOSITORY_REFUSED', `the repository ${where} refuses what it is asked: ${words}`)
}

/** What went wrong between us and the server; `lasting` says that another try would go the same way. */
export function connectionTrouble(target: Target, error: Error): {readonly words: string; readonly lasting: DbaasError | undefined} {
  const {code = ''} = error as NodeJS.ErrnoException
  const refuse = (kind: ErrorCode, words: string, ...suggestions: string[]) =>
    ({words, lasting: new DbaasError(kind, `the repository ${target.where} cannot be reached: ${words}`, {cause: error, details: {repository: target.where, reason: code}, suggestions})})
  if (/CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME|HOSTNAME_MISMATCH/.test(code)) {
    return refuse('REPOSITORY_REFUSED', `its certificate is not trusted (${code})`, 'give the certificate of its authority as `ca`', 'check the host name of the endpoint')
  }
  if (/SSL|TLS|EPROTO/.test(code)) {
    return refuse('REPOSITORY_REFUSED', `it does not speak TLS ${target.minTls} (${code})`, 'check that the port of the endpoint is the one for https', 'allow TLS 1.2 for this repository if it is old')
  }
  if (code === 'ENOTFOUND') return refuse('REPOSITORY_UNAVAILABLE', `there is no host ${target.host}`, 'check the endpoint')
  return {words: code === '' || error.message.includes(code) ? plain(error.message) : `${plain(error.message)} (${code})`, lasting: undefined}
}

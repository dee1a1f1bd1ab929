/**
 * AWS Signature Version 4 in the Authorization header: "Authenticating Requests: Using the Authorization Header" of the
 * S3 API reference, whose examples are tried in the tests.
 */
import {createHash, createHmac} from 'node:crypto'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of temporary credentials. */
  readonly sessionToken?: string
}

export interface Unsigned {
  readonly method: string
  /** As it is sent: every byte but the unreserved ones and `/` in percent encoding. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** By names in lower case, `host` among them. All of them are signed. */
  readonly headers: Readonly<Record<string, string>>
  /** SHA-256 of the body, hexadecimal. */
  readonly sha256: string
}

/** Percent encoding of all but letters, digits, `-`, `.`, `_` and `~` (RFC 3986, as S3 wants it). */
export const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)

/** Sorted by the names, which is the order that is signed. */
export const queryText = (query: Readonly<Record<string, string>>): string =>
  Object.keys(query).sort().map((name) => `${encode(name)}=${encode(query[name] as string)}`).join('&')

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** The headers with those that sign them. `at`: milliseconds since the epoch, by the server's clock as far as it is known. */
export function signed({method, path, query, headers, sha256: payload}: Unsigned, credentials: Credentials, region: string, at: number): Record<string, string> {
  const time = new Date(at).toISOString().replace(/[-:]|\.\d+/g, '')
  const day = time.slice(0, 8)
  const all: Record<string, string> = {
    ...headers, 'x-amz-content-sha256': payload, 'x-amz-date': time,
    ...(credentials.sessionToken === undefined ? {} : {'x-amz-security-token': credentials.sessionToken}),
  }
  const names = Object.keys(all).sort()
  const canonical = [method, path, queryText(query), ...names.map((name) => `${name}:${(all[name] as string).trim()}`), '', names.join(';'), payload].join('\n')
  const scope = `${day}/${region}/s3/aws4_request`
  const key = [region, 's3', 'aws4_request'].reduce<Buffer>(hmac, hmac(`AWS4${credentials.secretAccessKey}`, day))
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex')
  return {
    ...all,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope},SignedHeaders=${names.join(';')},Signature=${signature}`,
  }
}

/** What a person configures of a bucket, checked, and where that leads. */
import {readFileSync} from 'node:fs'
import {isIP} from 'node:net'
import {DbaasError} from '../../../core/errors.js'
import {readSettings, type Settings} from '../settings.js'
import type {Credentials} from './sign.js'

export interface S3Options {
  readonly bucket: string
  /** Objects are kept below it: `backups/site-1`. */
  readonly prefix?: string
  /** URL of the server. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's of the region. */
  readonly endpoint?: string
  /** Default: AWS_REGION, AWS_DEFAULT_REGION, us-east-1. */
  readonly region?: string
  /** Whether the bucket is named in the path or in the host name. Default: host at Amazon, path elsewhere. */
  readonly style?: 'path' | 'host'
  /** Default: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. */
  readonly credentials?: Credentials
  /** PEM of the authority that the server's certificate is of: it alone is trusted. Default: the file AWS_CA_BUNDLE, or the public ones. */
  readonly ca?: string
  /** Default 1.3. */
  readonly minTls?: '1.2' | '1.3'
  /** Whether `http:` may be used with a server that is not on this machine. Contents are encrypted all the same; names, sizes and times are not. */
  readonly plainText?: boolean
}

export interface Target {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  /** The Host header. */
  readonly authority: string
  /** Path of the bucket, nothing in it to be encoded, without a slash at its end: empty or `/…`. */
  readonly base: string
  readonly bucket: string
  /** Empty, or with a slash at its end. */
  readonly prefix: string
  readonly region: string
  readonly amazon: boolean
  readonly credentials: Credentials
  readonly ca: string | undefined
  readonly minTls: '1.2' | '1.3'
  /** For a person. */
  readonly where: string
}

/** Throws INVALID_REQUEST. */
export function optionsOf(settings: Settings): S3Options {
  const read = readSettings('s3', settings)
  const oneOf = <T extends string>(name: string, allowed: readonly T[]): T | undefined => {
    const text = read.optionalText(name)
    if (text === undefined || allowed.includes(text as T)) return text as T | undefined
    throw new DbaasError('INVALID_REQUEST', `the setting "${name}" of a repository of kind s3 is none of ${allowed.join(', ')}`, {details: {setting: name, kind: 's3'}})
  }
  const bucket = read.text('bucket')
  const [prefix, endpoint, region, ca] = ['prefix', 'endpoint', 'region', 'ca'].map(read.optionalText)
  const [accessKeyId, secretAccessKey, sessionToken] = ['accessKeyId', 'secretAccessKey', 'sessionToken'].map(read.optionalText)
  const style = oneOf('style', ['path', 'host'])
  const minTls = oneOf('minTls', ['1.2', '1.3'])
  const plainText = read.flag('plainText', false)
  read.done()
  const given = accessKeyId !== undefined || secretAccessKey !== undefined || sessionToken !== undefined
  const absent = Object.entries({accessKeyId, secretAccessKey}).find(([, value]) => value === undefined)?.[0]
  if (given && absent) {
    throw new DbaasError('INVALID_REQUEST', `the setting "${absent}" of a repository of kind s3 is missing`, {
      details: {setting: absent, kind: 's3'}, suggestions: ['give both accessKeyId and secretAccessKey, or neither and set them in the environment of the agent'],
    })
  }
  const credentials = given ? {accessKeyId: accessKeyId as string, secretAccessKey: secretAccessKey as string, ...(sessionToken === undefined ? {} : {sessionToken})} : undefined
  const some = Object.entries({prefix, endpoint, region, ca, style, minTls, credentials}).filter(([, value]) => value !== undefined)
  return {bucket, plainText, ...Object.fromEntries(some)}
}

type Environment = Readonly<Record<string, string | undefined>>

const invalid = (message: string, ...suggestions: string[]): DbaasError => new DbaasError('INVALID_REQUEST', message, {suggestions})

const amazonEndpoint = (region: string): string => `https://s3.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`

const isLoopback = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost') || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

function parseEndpoint(text: string): URL {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw invalid('the endpoint of the bucket is not a URL', 'write it like https://s3.example.org:9000')
  }
  // Not shown: whoever writes this has put a password into it.
  if (url.username || url.password) throw invalid('the endpoint of the bucket has a user name in it', 'give credentials apart from the endpoint')
  if ((url.protocol !== 'https:' && url.protocol !== 'http:') || url.search || url.hash || !/^[\w.~/-]*$/.test(url.pathname)) {
    throw invalid(`"${text}" is not the endpoint of an S3 server`, 'write it like https://s3.example.org:9000')
  }
  return url
}

function credentialsOf(options: S3Options, environment: Environment, where: string): Credentials {
  const {AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken} = environment
  const found = options.credentials ?? {accessKeyId: accessKeyId ?? '', secretAccessKey: secretAccessKey ?? '', ...(sessionToken ? {sessionToken} : {})}
  if (!found.accessKeyId || !found.secretAccessKey) {
    throw new DbaasError('REPOSITORY_REFUSED', `there are no credentials for the repository ${where}`, {
      details: {repository: where}, suggestions: ['give an access key and its secret', 'or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the agent'],
    })
  }
  // What cannot be in a header would be said aloud by the error of whoever refuses it.
  if (![found.accessKeyId, found.secretAccessKey, found.sessionToken ?? ''].every((text) => /^[\x21-\x7e]*$/.test(text))) {
    throw new DbaasError('REPOSITORY_REFUSED', `the credentials for the repository ${where} have a space, a line break or another strange character in them`, {details: {repository: where}})
  }
  return found
}

function caFrom(environment: Environment): string | undefined {
  const path = environment['AWS_CA_BUNDLE']
  if (!path) return undefined
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new DbaasError('REPOSITORY_REFUSED', `the file that AWS_CA_BUNDLE names cannot be read: ${path}`, {cause})
  }
}

/** Throws INVALID_REQUEST, and REPOSITORY_REFUSED where credentials are missing. */
export function resolveTarget(options: S3Options, environment: Environment = process.env): Target {
  const region = options.region ?? (environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || 'us-east-1')
  if (!/^[a-z0-9-]{1,40}$/i.test(region)) throw invalid(`"${region}" is not the name of a region`)
  const given = options.endpoint ?? (environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'] || undefined)
  const url = parseEndpoint(given ?? amazonEndpoint(region))
  const amazon = /\.amazonaws\.com(\.cn)?$/.test(url.hostname)
  const {bucket} = options
  // A certificate for *.host does not fit a name with dots before it.
  const style = options.style ?? (amazon && !bucket.includes('.') ? 'host' : 'path')
  if (!(style === 'host' || amazon ? /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/ : /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/).test(bucket)) {
    throw invalid(`"${bucket}" is not the name of a bucket`, 'write 3 to 63 lower case letters, digits and hyphens')
  }
  const prefix = (options.prefix ?? '').replace(/^\/+|\/+$/g, '')
  if (prefix.length > 200 || !(prefix === '' || prefix.split('/').every((part) => /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(part)))) {
    throw invalid(`"${prefix}" cannot be the prefix of a repository`, 'write words of letters, digits, ".", "_" and "-", joined by "/"')
  }
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const tls = url.protocol === 'https:'
  if (!tls && !isLoopback(host) && options.plainText !== true) {
    throw invalid(`the endpoint http://${url.host} is not encrypted, and on another machine`, `use https://${url.host}`, 'or allow plain text for this repository')
  }
  const path = url.pathname.replace(/\/+$/, '')
  const where = `${url.origin}${path}/${bucket}${prefix === '' ? '' : `/${prefix}`}`
  return {
    tls, region, amazon, bucket, where,
    host: style === 'host' ? `${bucket}.${host}` : host,
    port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
    authority: style === 'host' ? `${bucket}.${url.host}` : url.host,
    base: [...path.split('/').slice(1), ...(style === 'path' ? [bucket] : [])].map((part) => `/${part}`).join(''),
    prefix: prefix === '' ? '' : `${prefix}/`,
    credentials: credentialsOf(options, environment, where),
    ca: options.ca ?? caFrom(environment),
    minTls: options.minTls ?? '1.3',
  }
}

/** What `repositories add` and `repositories update` send. Credentials come from a file or the environment, never from the command line, which others can read. */
import type {BodyOf} from '../../core/api/schemas.js'
import {DbaasError} from '../../core/errors.js'
import {readInput} from './files.js'

export interface RepositoryFlags {
  readonly kind?: string | undefined
  readonly endpoint?: string | undefined
  readonly region?: string | undefined
  readonly 'path-style'?: boolean | undefined
  readonly ca?: string | undefined
  readonly 'min-tls'?: string | undefined
  readonly 'plain-text'?: boolean | undefined
  readonly credentials?: string | undefined
  readonly profile: string
  readonly 'copy-of'?: string | undefined
  readonly 'copy-to'?: string | undefined
  readonly promote?: boolean
  readonly plan?: boolean
}

type Credentials = Readonly<Partial<Record<'accessKeyId' | 'secretAccessKey' | 'sessionToken', string>>>

/** Throws FILE_NOT_FOUND, and USAGE for a file of credentials that has none. */
export async function repositoryBody(name: string, location: string, flags: RepositoryFlags, environment: Readonly<Record<string, string | undefined>>): Promise<BodyOf<'repositories.add'>> {
  const isBucket = flags.kind === 's3' || (flags.kind === undefined && /^s3:/i.test(location))
  const settings = await settingsOf(flags, isBucket ? fromEnvironment(environment) : {})
  return {
    name, location, ...(flags.kind === undefined ? {} : {kind: flags.kind}), ...(Object.keys(settings).length === 0 ? {} : {settings}),
    ...(flags['copy-of'] === undefined ? {} : {copy_of: flags['copy-of']}), ...(flags['copy-to'] === undefined ? {} : {copy_to: flags['copy-to']}), ...(flags.promote ? {promote: true} : {}), ...(flags.plan ? {plan: true} : {}),
  }
}

/** `otherwise`: credentials, when the flags name none. */
export async function settingsOf(flags: RepositoryFlags, otherwise: Credentials): Promise<Record<string, string | boolean>> {
  const {endpoint, region, credentials} = flags
  const style = flags['path-style'] === undefined ? undefined : flags['path-style'] ? 'path' : 'host'
  const ca = flags.ca === undefined ? undefined : await readInput(flags.ca)
  const given = credentials === undefined ? otherwise : parseCredentials(await readInput(credentials), credentials, flags.profile)
  return Object.fromEntries(Object.entries({
    endpoint, region, style, ca, minTls: flags['min-tls'], ...(flags['plain-text'] ? {plainText: true} : {}), ...given,
  }).filter((entry): entry is [string, string | boolean] => entry[1] !== undefined))
}

function fromEnvironment({AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken}: Readonly<Record<string, string | undefined>>): Credentials {
  return accessKeyId && secretAccessKey ? {accessKeyId, secretAccessKey, ...(sessionToken ? {sessionToken} : {})} : {}
}

/** The shared credentials file of Amazon's tools: sections in brackets, `name = value`. What is in it is never shown. */
function parseCredentials(text: string, path: string, profile: string): Credentials {
  const found: Record<string, string> = {}
  let section = 'default'
  for (const line of text.split('\n').map((each) => each.trim())) {
    const header = /^\[\s*([^\]]+?)\s*\]$/.exec(line)?.[1]
    if (header !== undefined) section = header
    const [, key, value] = /^([A-Za-z_]+)\s*=\s*(\S.*)$/.exec(line) ?? []
    if (key !== undefined && value !== undefined && section === profile) found[key.toLowerCase()] = value
  }
  const {aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey, aws_session_token: sessionToken} = found
  if (!accessKeyId || !secretAccessKey) {
    throw new DbaasError('USAGE', `${path === '-' ? 'what was read' : path} has no credentials in its section [${profile}]`, {
      details: {file: path}, suggestions: ['write aws_access_key_id = … and aws_secret_access_key = … on lines of their own', '--profile NAME'],
    })
  }
  return {accessKeyId, secretAccessKey, ...(sessionToken ? {sessionToken} : {})}
}

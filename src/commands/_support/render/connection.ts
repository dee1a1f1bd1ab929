/** Connection strings. Pure: credentials in, text out. */
import type {ApiCredentials} from '../../../core/api/schemas.js'

export interface ConnectionOptions {
  /** The node itself instead of the stable endpoint. */
  readonly direct?: boolean
  readonly readOnly?: boolean
  /** Where this machine has the CA certificate. */
  readonly caFile: string
}

const hostsOf = (credentials: ApiCredentials, direct: boolean | undefined) =>
  direct ? credentials.direct : [{host: credentials.host, port: credentials.port}]

const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/** Read-only means any server: there may be none but the primary, and the session then refuses writes by itself. */
const readOnlyOptions = '-c default_transaction_read_only=on'

/** `postgresql://app:…@127.0.0.1:20001/app?sslmode=verify-full&sslrootcert=…`, as libpq, node-postgres and most drivers read it. */
export function connectionUri(credentials: ApiCredentials, {direct, readOnly, caFile}: ConnectionOptions): string {
  const hosts = hostsOf(credentials, direct).map(({host, port}) => `${bracketed(host)}:${port}`).join(',')
  const query = [
    ['sslmode', 'verify-full'],
    ['sslrootcert', caFile],
    ...(readOnly ? [['options', readOnlyOptions]] : direct && credentials.direct.length > 1 ? [['target_session_attrs', 'read-write']] : []),
  ].map(([name, value]) => `${name}=${encodeURIComponent(value as string).replaceAll('%2F', '/')}`).join('&')
  const user = `${encodeURIComponent(credentials.username)}:${encodeURIComponent(credentials.password)}`
  return `${credentials.scheme}://${user}@${hosts}/${encodeURIComponent(credentials.database)}?${query}`
}

export function jdbcUrl(credentials: ApiCredentials, {direct, readOnly, caFile}: ConnectionOptions): string {
  const hosts = hostsOf(credentials, direct).map(({host, port}) => `${bracketed(host)}:${port}`).join(',')
  const query = new URLSearchParams({
    user: credentials.username, password: credentials.password, sslmode: 'verify-full', sslrootcert: caFile,
    ...(readOnly ? {readOnly: 'true'} : {}),
  })
  return `jdbc:${credentials.scheme}://${hosts}/${encodeURIComponent(credentials.database)}?${query}`
}

/** The PG* variables of libpq. */
export function libpqEnvironment(credentials: ApiCredentials, {direct, readOnly, caFile}: ConnectionOptions): Record<string, string> {
  const hosts = hostsOf(credentials, direct)
  return {
    PGHOST: hosts.map(({host}) => host).join(','),
    PGPORT: hosts.map(({port}) => String(port)).join(','),
    PGDATABASE: credentials.database,
    PGUSER: credentials.username,
    PGPASSWORD: credentials.password,
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: caFile,
    ...(readOnly ? {PGOPTIONS: readOnlyOptions} : {}),
  }
}

const shellQuoted = (value: string): string => (/^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`)

/** Lines for `eval "$(dbaas url NAME --format env)"`. */
export function shellExports(credentials: ApiCredentials, options: ConnectionOptions): string {
  const variables = {DATABASE_URL: connectionUri(credentials, options), ...libpqEnvironment(credentials, options)}
  return Object.entries(variables).map(([name, value]) => `export ${name}=${shellQuoted(value)}`).join('\n')
}

const libpqQuoted = (value: string): string => (/^[^\s'\\]+$/.test(value) ? value : `'${value.replace(/['\\]/g, (c) => `\\${c}`)}'`)

/** `host=… port=… dbname=…`: libpq's keyword form. */
export function libpqKeywords(credentials: ApiCredentials, options: ConnectionOptions): string {
  const hosts = hostsOf(credentials, options.direct)
  return Object.entries({
    host: hosts.map(({host}) => host).join(','),
    port: hosts.map(({port}) => String(port)).join(','),
    dbname: credentials.database,
    user: credentials.username,
    password: credentials.password,
    sslmode: 'verify-full',
    sslrootcert: options.caFile,
    ...(options.readOnly ? {options: readOnlyOptions} : {}),
  }).map(([name, value]) => `${name}=${libpqQuoted(value)}`).join(' ')
}

export const connectionFormats = {uri: connectionUri, jdbc: jdbcUrl, env: shellExports, libpq: libpqKeywords} as const
export type ConnectionFormat = keyof typeof connectionFormats

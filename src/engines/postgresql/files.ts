/** The files of a server's configuration folder, as texts. */
import type {ServerSettings} from '../engine.js'
import type {Host, HostFile} from '../host.js'
import {backupRole} from './backup/role.js'
import {adminRole} from './client.js'
import {managedValues, ownDefaults} from './managed.js'
import {peerRole} from './replication/names.js'

/** Where each file is; the server is told all of them on its command line or in `postgresql.conf`. */
export const filesOf = (host: Host) =>
  ({
    conf: `${host.paths.config}/postgresql.conf`,
    hba: `${host.paths.config}/pg_hba.conf`,
    ident: `${host.paths.config}/pg_ident.conf`,
    certificate: `${host.paths.config}/server.crt`,
    key: `${host.paths.config}/server.key`,
    clientCa: `${host.paths.config}/client-ca.crt`,
    /** What is the node's own, and changes while it runs: read last, so it wins. */
    replication: `${host.paths.config}/replication.conf`,
    peerCertificate: `${host.paths.config}/peer.crt`,
    peerKey: `${host.paths.config}/peer.key`,
    peerCa: `${host.paths.config}/peer-ca.crt`,
    /** It is there while a rewind is under way: the data are neither what they were nor what they shall be. */
    unfinished: `${host.paths.config}/data-unfinished`,
  }) as const

/** A value between quotes, as guc-file.l reads it: a quote doubled, a backslash doubled. */
export const quote = (value: string): string => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

/** One line a parameter, sorted: the same values give the same bytes. */
export const renderParameters = (values: Readonly<Record<string, string>>): string =>
  Object.keys(values)
    .sort()
    .map((name) => `${name} = ${quote(values[name] as string)}\n`)
    .join('')

const lowerCased = (values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]))

/** Everything the server is told: our defaults, what the owner asked for, what is managed; the later wins. */
export function serverParameters(host: Host, settings: Omit<ServerSettings, 'tls'>): Record<string, string> {
  const files = filesOf(host)
  return {
    ...ownDefaults,
    ...lowerCased(settings.values),
    ...managedValues(settings.version),
    listen_addresses: host.listen.host,
    port: String(host.listen.port),
    cluster_name: settings.instanceName,
    ssl_cert_file: files.certificate,
    ssl_key_file: files.key,
    ssl_ca_file: files.clientCa,
  }
}

/**
 * The first line that matches decides, so the agent's lines come first and nobody can reach its role by a password.
 * `cert` implies that the name in the certificate is the name of the role.
 */
const hba = `# Written by dbaas; changes are overwritten.
# type      database     user          address  method
hostssl     all          ${adminRole}   all      cert
hostssl     replication  ${adminRole}   all      cert
hostssl     replication  ${backupRole}  all      cert
hostssl     replication  ${peerRole}    all      cert
hostssl     postgres     ${peerRole}    all      cert
hostssl     all          ${adminRole}   all      reject
hostssl     all          ${backupRole}  all      reject
hostssl     all          ${peerRole}    all      reject
hostssl     replication  all           all      reject
hostssl     all          all           all      scram-sha-256
hostnossl   all          all           all      reject
`

export function renderFiles(host: Host, settings: ServerSettings): HostFile[] {
  const files = filesOf(host)
  const conf =
    '# Written by dbaas; changes are overwritten. To change a parameter:\n' +
    `#   dbaas config set ${settings.instanceName} NAME=VALUE\n` +
    renderParameters(serverParameters(host, settings)) +
    `include_if_exists = ${quote(files.replication)}\n`
  // the key before the configuration that names it: a server that starts in between finds either all or its old files
  return [
    {path: files.key, content: settings.tls.key, mode: 0o600},
    {path: files.certificate, content: settings.tls.certificate, mode: 0o600},
    {path: files.clientCa, content: settings.tls.clientCa, mode: 0o600},
    {path: files.ident, content: '# Written by dbaas; changes are overwritten.\n', mode: 0o600},
    {path: files.hba, content: hba, mode: 0o600},
    {path: files.conf, content: conf, mode: 0o600},
  ]
}

/** The files of a server's configuration folder, as texts. */
import {randomInt} from 'node:crypto'
import type {ServerSettings} from '../engine.js'
import type {Host, HostFile} from '../host.js'
import type {Dialect} from './dialect.js'
import {layoutOf} from './layout.js'

/** Where each file is. The server is told `conf` on its command line, and the others in it. */
export const filesOf = (host: Host) =>
  ({
    conf: `${host.paths.config}/my.cnf`,
    certificate: `${host.paths.config}/server.crt`,
    key: `${host.paths.config}/server.key`,
    clientCa: `${host.paths.config}/client-ca.crt`,
    pid: `${host.paths.tmp}/server.pid`,
  }) as const

/** A value between quotes, as my_default.c reads it: a backslash and a double quote escaped. */
const quote = (value: string): string => `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`

const unquote = (text: string): string => text.slice(1, -1).replace(/\\(["\\])/g, '$1')

/** The group and one line a parameter, sorted: the same values give the same bytes. */
export const renderParameters = (values: Readonly<Record<string, string>>): string =>
  `[server]\n${Object.keys(values)
    .sort()
    .map((name) => `${name} = ${quote(values[name] as string)}\n`)
    .join('')}`

/** What `renderParameters` wrote, back: names to values. */
export function parseParameters(text: string): Map<string, string> {
  const lines = text.split('\n').flatMap((line) => {
    const match = /^([a-z0-9_.]+) = (".*")$/.exec(line)
    return match ? [[match[1] as string, unquote(match[2] as string)] as const] : []
  })
  return new Map(lines)
}

/** The configuration that the server has, or will have when it starts again; empty where none was written. */
export async function writtenParameters(host: Host): Promise<Map<string, string>> {
  return parseParameters((await host.read(filesOf(host).conf))?.toString('utf8') ?? '')
}

/** Options are written with dashes or underscores, in any case; variables with underscores. */
const canonical = (values: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name.toLowerCase().replaceAll('-', '_'), value]))

/** Where the server is: folders, address, port. Nothing of the machine's own defaults is left to hold. */
async function placeParameters(host: Host): Promise<Record<string, string>> {
  const layout = await layoutOf(host)
  return {
    basedir: layout.base,
    ...(layout.messages === undefined ? {} : {lc_messages_dir: layout.messages}),
    ...(layout.characterSets === undefined ? {} : {character_sets_dir: layout.characterSets}),
    ...(layout.plugins === undefined ? {} : {plugin_dir: layout.plugins}),
    datadir: host.paths.data,
    tmpdir: host.paths.tmp,
    pid_file: filesOf(host).pid,
    // no socket file: its path may have 107 bytes, and a home has more
    socket: '',
    bind_address: host.listen.host,
    port: String(host.listen.port),
  }
}

/** Unique among all servers that may ever replicate from each other, so by chance; once given, a server keeps it. */
async function serverId(host: Host): Promise<string> {
  return (await writtenParameters(host)).get('server_id') ?? String(randomInt(1, 2 ** 32))
}

/** Everything the server is told: our defaults, what the owner asked for, what is managed; the later wins. */
export async function serverParameters(
  dialect: Dialect,
  host: Host,
  settings: Omit<ServerSettings, 'tls'>,
): Promise<Record<string, string>> {
  const files = filesOf(host)
  return {
    ...dialect.ownDefaults,
    ...canonical(settings.values),
    ...dialect.managedValues(settings.version),
    ...(await placeParameters(host)),
    server_id: await serverId(host),
    ssl_cert: files.certificate,
    ssl_key: files.key,
    ssl_ca: files.clientCa,
  }
}

export async function renderFiles(dialect: Dialect, host: Host, settings: ServerSettings): Promise<HostFile[]> {
  const files = filesOf(host)
  const conf =
    '# Written by dbaas; changes are overwritten. To change a parameter:\n' +
    `#   dbaas config set ${settings.instanceName} NAME=VALUE\n` +
    renderParameters(await serverParameters(dialect, host, settings))
  // the key before the configuration that names it: a server that starts in between finds either all or its old files
  return [
    {path: files.key, content: settings.tls.key, mode: 0o600},
    {path: files.certificate, content: settings.tls.certificate, mode: 0o600},
    {path: files.clientCa, content: settings.tls.clientCa, mode: 0o600},
    {path: files.conf, content: conf, mode: 0o600},
  ]
}

/**
 * The promise of an engine, documented here and only here. An engine knows what to run for one database: its files,
 * programs, SQL, versions and errors. It never knows where: all it does to the world goes through a Host, or over
 * the database's own protocol to `host.address()`.
 *
 * Every method is idempotent unless it says otherwise. Foreign errors leave as DbaasError.
 */
import type {ParameterValues} from '../core/instance/instance.js'
import type {InstanceSize} from '../core/instance/sizes.js'
import type {Catalogue, ParameterDefinition, ParameterReading} from '../core/config/parameters.js'
import type {EngineBackup} from './backup.js'
import type {Host} from './host.js'
import type {EngineReplication} from './replication.js'
import type {EngineUpgrade} from './upgrade.js'

export interface Engine {
  readonly name: string
  /** Shown to people: `PostgreSQL`. */
  readonly title: string
  /** Scheme of its URLs. */
  readonly scheme: string
  /** The port its clients expect, where a server has an address of its own (a container). */
  readonly defaultPort: number
  readonly defaultDatabase: string
  readonly defaultUsername: string
  /** Sequence of the names of the database's own log lines' timestamps: how `logs --since` reads them. */
  logTime(line: string): number | undefined
  readonly versions: EngineVersions
  readonly images: EngineImages
  readonly config: EngineConfig
  readonly lifecycle: EngineLifecycle
  readonly access: EngineAccess
  readonly wire: EngineWire
  /** Absent where it cannot be backed up yet: its instances are not protected, and say so. */
  readonly backup?: EngineBackup
  /** Absent where it cannot have standbys yet. */
  readonly replication?: EngineReplication
  /** Absent where its version cannot be changed yet. */
  readonly upgrade?: EngineUpgrade
}

// ---------------------------------------------------------------- wire

/** What whoever stands between clients and servers must know of the protocol, without being able to read what is encrypted. */
export interface EngineWire {
  /** Bytes at an offset of the first packet that tell a request to cancel from any other connection; null: it is made in another way. */
  readonly cancel: {readonly offset: number; readonly hex: string} | null
  /** The words of a server that lets nobody in, as clients show them; `when` as in its protocol somebody speaks first. */
  refusal(message: string, hint: string): {readonly when: 'at-once' | 'when-spoken-to'; readonly base64: string}
}

// ---------------------------------------------------------------- versions

export interface EngineVersions {
  /**
   * Newest first. Versions that dbaas knows how to install here by itself, by platform (`linux-x64`); empty where no
   * registry has any, and they come from the machine, an archive or an image.
   */
  known(platform: string): readonly KnownVersion[]
  /** The version that is meant where nobody asks for one: full where it is bundled, else the beginning of one (`8.4`). */
  readonly default: string
  /** Whether a version, full or the beginning of one, can be run at all: its series is in the capability table. */
  supports(version: string): boolean
  has(version: string, capability: string): boolean
  /** Folders on a machine where its programs may be, with shell-like `*` for one path segment. */
  readonly systemFolders: readonly string[]
  /** The program that must be in such a folder; run with `--version` to learn the version. */
  readonly serverProgram: string
  /** What `--version` printed -> the full version; undefined when it is another engine that says so under the same name. */
  parseVersion(output: string): string | undefined
  /**
   * How a person gets it where no registry has it, each a command or a sentence, most useful first: the system's package
   * that is then found by itself, `dbaas engines install NAME@V --from URL` with the form of the official address. By
   * default only that there is `--from`; that there are images is added where it is so.
   */
  readonly installHints?: readonly string[]
}

export interface KnownVersion {
  readonly version: string
  /** True for the one that comes with dbaas. */
  readonly bundled: boolean
  /** The registry package that holds the programs, and its checksum (SRI, sha512). */
  readonly package: {readonly name: string; readonly version: string; readonly integrity: string}
  /** Where the programs are in it, e.g. `native/bin`. */
  readonly binFolder: string
  /** A JSON file in it that lists links to make: `[{source, target}]`, or null. */
  readonly linksFile: string | null
}

/** The official container images of an engine. */
export interface EngineImages {
  /** `postgres`: the repository, without registry and tag. */
  readonly repository: string
  /** The tag for a version, full or the beginning of one: `18`. */
  tag(version: string): string
  /** The user in the image that the server runs as, and that owns its data. */
  readonly serverUser: string
}

// ---------------------------------------------------------------- configuration

export interface EngineConfig {
  /** Names of built-in templates -> what they are for and what they set, given the size. */
  readonly templates: Readonly<Record<string, {description: string; parameters(size: InstanceSize): ParameterValues}>>
  /** Values derived from memory and CPU by published formulas. */
  fromSize(size: InstanceSize, version: string): ParameterValues
  /**
   * The one spelling of a parameter's name, which the catalogue and all values use. Absent where case is all that
   * servers ignore: then it is the lower-case one.
   */
  canonicalName?(name: string): string
  /** Reads the catalogue from a running scratch server of that version, over `host`. Slow (a server start): cache it. */
  readCatalogue(host: Host, admin: AdminCredentials): Promise<Catalogue>
  /**
   * Why the server of that version would reject the value, or undefined. Pure: answers for numbers, booleans and
   * listed words; returns `'ask'` where only the server's own binary can tell (strings, unlisted words).
   */
  whyNotValid(definition: ParameterDefinition, value: string): string | undefined | 'ask'
  /** Asks the binary whether a server would start with these values. Undefined, or its own words and the parameter. */
  preflight(host: Host, values: ParameterValues, version: string): Promise<{parameter: string | null; because: string} | undefined>
  /** Memory the server takes when it starts with these values, in bytes; undefined where the binary cannot say. */
  memoryNeeded(host: Host, values: ParameterValues, version: string): Promise<number | undefined>
  /** Writes the configuration files, certificate and key into `host.paths.config`. Returns true if anything changed. */
  write(host: Host, settings: ServerSettings): Promise<boolean>
  /** Every parameter of the running server. `sources` says who asked for what. */
  read(host: Host, admin: AdminCredentials, sources: ReadonlyMap<string, string>): Promise<ReadonlyMap<string, ParameterReading>>
  /** Compares asked values with the running server's own. Throws INVALID_PARAMETER_VALUE naming the first that differs. */
  verify(host: Host, admin: AdminCredentials, asked: ParameterValues): Promise<void>
  /** Whether a value as asked and a value as read back mean the same for that parameter (`64MB` and `65536` kB). */
  sameValue(definition: ParameterDefinition, asked: string, read: string): boolean
}

export interface ServerSettings {
  readonly version: string
  readonly instanceName: string
  readonly values: ParameterValues
  readonly tls: TlsFiles
}

/** PEM texts. `clientCa` signs the agent's own client certificate. */
export interface TlsFiles {
  readonly certificate: string
  readonly key: string
  readonly clientCa: string
}

// ---------------------------------------------------------------- lifecycle

export interface ServerCommand {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

export interface EngineLifecycle {
  /** A key of everything that is frozen in a data directory; prepared directories are pooled by it. */
  poolKey(version: string): string
  /** Makes a data directory in the empty `host.paths.data`, with the application's role and database in it. Not idempotent. */
  initialise(host: Host, version: string): Promise<void>
  /** The first part of `initialise`: all that will be in it, not for certain on disk yet, and not marked as finished. */
  make(host: Host, version: string): Promise<void>
  /** The second part: brings what is in it to disk, and marks it as finished only then. Also for a copy of what `make` made. */
  seal(host: Host, version: string): Promise<void>
  /** Whether `host.paths.data` holds a finished data directory (initialise ran to its end). */
  isInitialised(host: Host): Promise<boolean>
  command(host: Host, version: string): ServerCommand
  /** Signals, gentlest first, with the seconds each is given before the next; after the last comes a kill of everything. */
  readonly stopSignals: readonly {signal: NodeJS.Signals; seconds: number; because: string}[]
  /** One attempt. Undefined when the server accepts a query; else why not yet. Throws SERVER_START_FAILED when it never will. */
  whyNotReady(host: Host, admin: AdminCredentials): Promise<string | undefined>
  /** What the end of the server's log says about a failed start, as an error with a suggestion. */
  explainFailure(log: string): import('../core/errors.js').DbaasError
  /** Makes the server read its configuration again, and waits until it has. */
  reload(host: Host, admin: AdminCredentials): Promise<void>
  /** Writes what is in memory to disk, so that a stop is short. */
  checkpoint(host: Host, admin: AdminCredentials): Promise<void>
  /** Removes what a killed server left that would stop its successor (a stale pid file). Only when no server runs. */
  clearStale(host: Host): Promise<void>
}

// ---------------------------------------------------------------- access

/** The agent's own way in: a client certificate of the site's CA. No password exists for it. PEM texts. */
export interface AdminCredentials {
  readonly username: string
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

export interface ClientCredentials {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
  /** PEM of the CA that signed the server's certificate, and the name in it. */
  readonly ca: string
  readonly serverName: string
}

export interface EngineAccess {
  /** Gives the application's role its password and its database; makes both where absent. The role is no superuser. */
  grantApplication(host: Host, admin: AdminCredentials, app: {database: string; username: string; password: string}): Promise<void>
  /** Connects as a client would, and asks one question. Throws DATABASE_UNAVAILABLE. Returns the TLS version. */
  probe(client: ClientCredentials, timeoutMs: number): Promise<{tlsVersion: string}>
  /** Runs one text (possibly several statements; the last result is returned). Throws SQL_ERROR, DATABASE_UNAVAILABLE. */
  query(client: ClientCredentials, statement: string, options: QueryOptions): Promise<QueryResult>
}

export interface QueryOptions {
  readonly timeoutMs: number
  readonly maxRows: number
  readonly signal?: AbortSignal
}

export interface QueryResult {
  readonly columns: readonly {readonly name: string; readonly type: string}[]
  readonly rows: readonly (readonly (string | number | boolean | null)[])[]
  readonly rowCount: number
  readonly command: string
  readonly truncated: boolean
}

/**
 * What a command line needs of an engine, on the machine where somebody types: connection strings, the engine's own
 * clients, the words of the built-in prompt. Apart from engine.ts, which the agent has: this is loaded by a command that
 * needs it, and never meets a server itself.
 */

export const connectionFormats = ['uri', 'jdbc', 'env', 'libpq'] as const
export type ConnectionFormat = (typeof connectionFormats)[number]

/** The answer of `instances.credentials`, as far as it is needed. */
export interface Access {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: string
  /** The servers themselves. */
  readonly direct: readonly {readonly host: string; readonly port: number}[]
  /** Leads to any healthy replica; null where there is none. */
  readonly read_only: {readonly host: string; readonly port: number} | null
  /** PEM. */
  readonly ca_certificate: string
}

export interface Route {
  /** To the servers themselves instead of the stable endpoint. */
  readonly direct?: boolean
  /** Sessions that refuse to write. */
  readonly readOnly?: boolean
  /** Where this machine has the CA certificate. */
  readonly caFile: string
  /** Keeps a file that holds no secret, in a folder of its own; returns its path. */
  readonly keep: (name: string, content: string | Buffer) => Promise<string>
}

export interface EnginePrompt {
  /** Shown to people: `PostgreSQL`. */
  readonly title: string
  /** Throws NOT_SUPPORTED where the form cannot say what was asked. */
  uri(access: Access, route: Route): string
  jdbc(access: Access, route: Route): Promise<string>
  /** Variables that its clients and libraries read, without DATABASE_URL. Throws as `uri`. */
  environment(access: Access, route: Route): Promise<Record<string, string>>
  /** Its library's own words, `host=… port=…`; absent where it has none. */
  keywords?(access: Access, route: Route): string
  /** Variables of the same clients that would lead them elsewhere. */
  readonly misleading: readonly string[]
  readonly client: NativeClient
  readonly words: PromptWords
}

/** The engine's own interactive client. */
export interface NativeClient {
  /** The programs that are one, the best first. */
  readonly programs: readonly string[]
  /** Debian's package, to suggest. */
  readonly package: string
  /** How to run it. The password goes neither into arguments nor onto a disk. */
  start(access: Access, route: Route, program: ClientProgram): Promise<ClientStart>
}

export interface ClientProgram {
  readonly path: string
  /** What it says for --version. */
  version(): Promise<string>
}

export interface ClientStart {
  /** Come before what the user gave; `file` is the path of `secret`. */
  readonly args: (file: string) => readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Text that the client reads from a file which nobody else can open. */
  readonly secret?: string
}

/** The built-in prompt of `connect`. */
export interface PromptWords {
  readonly lexis: Lexis
  /** By what is typed: `\dt`. */
  readonly commands: Readonly<Record<string, MetaCommand>>
  /** Commands without a backslash -> the command: `status` -> `\s`. */
  readonly bare: Readonly<Record<string, string>>
  /** What people know from the engine's own client and cannot have here -> what to do instead. */
  readonly unavailable: Readonly<Record<string, string>>
  /** Whether there is `DELIMITER //`. */
  readonly delimiter: boolean
  /** A text that needs the session to go on after it; here each text is a session of its own. */
  needsSession(text: string): boolean
}

export interface MetaCommand {
  readonly usage: string
  readonly meaning: string
  statement(argument: string | undefined): string
}

/** How the engine reads text, as far as it decides where a statement ends. */
export interface Lexis {
  /** Characters that begin and end a quoted text or name. */
  readonly quotes: string
  /** Those of `quotes` in which a backslash escapes the next character. */
  readonly escapes: string
  /** `E'\n'`: a backslash escapes in a text with that prefix. */
  readonly escapePrefix: boolean
  readonly dollarQuotes: boolean
  readonly nestedComments: boolean
  readonly hashComments: boolean
  /** `--` begins a comment only before a space or the end of the line. */
  readonly dashesNeedSpace: boolean
  /** `\G` and `\g` end a statement, too. */
  readonly backslashG: boolean
}

/** Hosts as URLs have them: `127.0.0.1:15432,[::1]:15433`. */
export const hostList = (access: Access, route: Route): string =>
  hostsOf(access, route).map(({host, port}) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')

/** Without replicas, read-only sessions are the primary's. */
export const hostsOf = ({direct, read_only, host, port}: Access, route: Route): readonly {readonly host: string; readonly port: number}[] =>
  route.direct ? direct : route.readOnly && read_only !== null ? [read_only] : [{host, port}]

/** `a=b&c=%20`, with slashes left readable: they are no special characters of a query. */
export const queryOf = (pairs: readonly (readonly [name: string, value: string])[]): string =>
  pairs.map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll('%2F', '/')}`).join('&')

export const userInfo = ({username, password}: Access): string => `${encodeURIComponent(username)}:${encodeURIComponent(password)}`

/**
 * What an engine needs from the place its server runs in. Declared here, implemented by the runtimes. Paths are as
 * the server sees them; files belong to the server's user.
 */
export interface Host {
  readonly paths: HostPaths
  /** What the server binds. */
  readonly listen: {readonly host: string; readonly port: number}
  /** Where the agent reaches the server. */
  address(): {host: string; port: number}
  /** Runs a program as the server's user. Never throws for a non-zero exit; throws RUNTIME_UNAVAILABLE or ENOENT. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>
  /** Undefined when the file does not exist. */
  read(path: string): Promise<Buffer | undefined>
  /** Atomic: temporary file, fsync, rename. */
  write(file: HostFile): Promise<void>
  exists(path: string): Promise<boolean>
  /** Names in a folder; empty when it does not exist. */
  list(path: string): Promise<string[]>
  /** Recursive; no error when absent. */
  remove(path: string): Promise<void>
}

export interface HostPaths {
  /** Folder of the engine's programs. */
  readonly bin: string
  readonly data: string
  /** Configuration, certificate and key: outside the data, so that a copy of the data never carries them. */
  readonly config: string
  readonly log: string
  readonly tmp: string
}

export interface HostFile {
  readonly path: string
  readonly content: string | Buffer
  /** Permission bits, 0o600 by default. */
  readonly mode?: number
}

export interface ExecOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string
  /** Killed (with its children) after so long; the result then has `timedOut`. Default 120. */
  readonly timeoutSeconds?: number
  readonly signal?: AbortSignal
  /** It dials servers of the instance, at their peer addresses. */
  readonly dials?: boolean
}

export interface ExecResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
  readonly timedOut: boolean
}

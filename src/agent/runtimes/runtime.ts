/**
 * The promise of a runtime, documented here and only here: how and where a server runs. It places, starts, stops,
 * kills (fences), measures and removes nodes, and lists what really exists, so that the store can be reconciled
 * against it. It never sees SQL. Everything it makes carries the site's id and is found again by it.
 *
 * Every method is idempotent. Foreign errors leave as DbaasError.
 */
import type {InstanceSize} from '../../core/instance/sizes.js'
import type {KnownVersion} from '../../engines/engine.js'
import type {Host} from '../../engines/host.js'
import type {ServerCommand} from '../../engines/engine.js'

/** A node and its place: what is enough to make it, and to recognise it. */
export interface Placement {
  readonly nodeId: string
  readonly nodeName: string
  readonly instanceId: string
  readonly instanceName: string
  readonly tenantId: string
  readonly engine: string
  readonly version: string
  readonly port: number
  readonly size: InstanceSize
}

export type Observation =
  | {readonly state: 'running'; readonly ref: string; readonly pid: number | null}
  /** The place exists, no server runs in it. */
  | {readonly state: 'stopped'; readonly exitCode: number | null}
  /** There is no place: never made, or removed by hand. */
  | {readonly state: 'absent'}

/** What exists with our site's id, whether the store knows it or not. */
export interface Found {
  readonly placement: Placement | null
  readonly nodeId: string
  readonly running: boolean
  /** Where it is, for a person. */
  readonly where: string
}

export interface Limit {
  readonly enforced: boolean
  /** How it is enforced, or why not; shown in `status`. */
  readonly because: string | null
}

export interface SiteFacts {
  readonly platform: string
  readonly cpus: number
  readonly memoryTotalBytes: number
  /** What can be used now without swapping. */
  readonly memoryAvailableBytes: number
  readonly diskFreeBytes: number
  readonly limits: {readonly cpu: Limit; readonly memory: Limit; readonly storage: Limit}
  /** The user that servers run as. */
  readonly serverUser: string
}

export interface Usage {
  readonly cpuSeconds: number
  readonly memoryBytes: number
  readonly diskBytes: number
}

export interface Runtime {
  readonly name: string
  facts(): Promise<SiteFacts>
  readonly software: SoftwareStore
  readonly pool: DataPool

  /** Makes the place: folders (or volume, network), owned by the server's user. */
  place(placement: Placement): Promise<void>
  host(placement: Placement): Host
  /** Starts the server if it does not run; returns the ref that finds it again. */
  start(placement: Placement, command: ServerCommand): Promise<{ref: string; pid: number | null}>
  /** What is true now. `ref` may be from an earlier agent, stale, or null. */
  observe(placement: Placement, ref: string | null): Promise<Observation>
  /** Sends a signal to the server's main process. No error when it is gone. */
  signal(placement: Placement, ref: string, signal: NodeJS.Signals): Promise<void>
  /** Kills everything of the server and returns when all of it is proven gone. */
  kill(placement: Placement, ref: string | null): Promise<void>
  /** Calls back once when the server ends: at once for its own children, within 100 ms for adopted ones. */
  watch(placement: Placement, ref: string, ended: (exitCode: number | null) => void): () => void
  /** Applies changed CPU and memory limits to a placed node. */
  limit(placement: Placement): Promise<void>
  usage(placement: Placement): Promise<Usage | undefined>
  /** Ends everything of the node and removes its place with all data. */
  remove(placement: Placement): Promise<void>
  /** Whether a server could listen on the port now, where this runtime binds. */
  isPortFree(port: number): Promise<boolean>
  /** Everything of this site, and strangers that look like ours but are of another site (`placement` null). */
  list(): Promise<readonly Found[]>
  /** The server's log as whole lines, oldest first; with `follow` it does not end until the signal. */
  logs(placement: Placement, options: LogOptions): AsyncIterable<string>
  /** Keeps logs within bounds; called now and then. */
  trimLogs(placement: Placement): Promise<void>
  close(): Promise<void>
}

export interface LogOptions {
  /** Only the last so many lines of what is there. */
  readonly lines?: number
  readonly follow: boolean
  readonly signal: AbortSignal
}

/** The programs of engines on this site. */
export interface SoftwareStore {
  installed(engine: string): Promise<readonly InstalledVersion[]>
  /** Where the programs of an installed version are, as `host.paths.bin`. Installs the bundled one on first use. */
  locate(engine: string, version: string): Promise<InstalledVersion | undefined>
  /** Fetches, verifies the checksum, unpacks, links. `progress` says where it is. Throws DOWNLOAD_FAILED, INTEGRITY_MISMATCH. */
  install(engine: string, version: KnownVersion, progress: (because: string) => void, signal: AbortSignal): Promise<InstalledVersion>
  /** Only what `install` made; a system version is never touched. */
  remove(engine: string, version: string): Promise<void>
}

export interface InstalledVersion {
  readonly version: string
  readonly source: 'bundled' | 'npm' | 'system'
  readonly bin: string
}

/** Prepared data directories, made in the background, each used once. Bounded by the caller. */
export interface DataPool {
  count(key: string): Promise<number>
  /** Makes one: `initialise` gets a host whose data folder is empty. Half-made ones are removed. */
  prepare(key: string, software: {engine: string; version: string}, initialise: (host: Host) => Promise<void>): Promise<void>
  /** Moves one into the place of the node, atomically. False when there is none. */
  claim(key: string, placement: Placement): Promise<boolean>
  /** Removes what is left of unfinished preparation, and entries of keys not in `keep`. */
  prune(keep: ReadonlySet<string>): Promise<void>
  /** A short-lived host on scratch folders and a free port, removed afterwards whatever happens; a server started in it is ended. */
  scratch<T>(software: {engine: string; version: string}, use: (scratch: Scratch) => Promise<T>): Promise<T>
  /** Ends what is being prepared and all scratch servers; from now on both are refused with AGENT_STOPPING. */
  stop(): Promise<void>
}

export interface Scratch {
  readonly host: Host
  /** Starts a server in the scratch place; it is killed when `use` ends. */
  start(command: ServerCommand): Promise<void>
}

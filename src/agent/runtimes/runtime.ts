/**
 * The promise of a runtime, documented here and only here: how and where a server runs. It places, starts, stops,
 * kills (fences), measures and removes nodes, and lists what really exists, so that the store can be reconciled
 * against it. It never sees SQL. Everything it makes carries the site's id and is found again by it.
 *
 * Every method is idempotent. Foreign errors leave as DbaasError.
 */
import type {Readable} from 'node:stream'
import type {InstanceSize} from '../../core/instance/sizes.js'
import type {KnownVersion} from '../../engines/engine.js'
import type {Host} from '../../engines/host.js'
import type {ServerCommand} from '../../engines/engine.js'
import type {ImagePin, InstanceFacts} from '../../core/instance/instance.js'

/** The programs a server runs from: a version, and where the runtime has images, the very image. */
export interface Software {
  readonly engine: string
  readonly version: string
  readonly image: ImagePin | null
}

/**
 * A node and its place: what is enough to make it, to recognise it, and to rebuild the store from: a runtime keeps all
 * of it with the place and gives it back in `list`.
 */
export interface Placement extends Software {
  readonly nodeId: string
  readonly nodeName: string
  readonly instanceId: string
  readonly instanceName: string
  readonly tenantId: string
  /** Where the agent reaches the server: a port of the machine that runs it. */
  readonly port: number
  /** The address that port is bound to. */
  readonly publishAddress: string
  readonly size: InstanceSize
  /** What the store knows of the instance; the runtime does not look into it. */
  readonly facts: InstanceFacts
}

export type Observation =
  | Running
  /** The place exists, no server runs in it. `because`: what is known of its end beside the code (out of memory). */
  | {readonly state: 'stopped'; readonly exitCode: number | null; readonly because: string | null}
  /** There is no place: never made, or removed by hand. */
  | {readonly state: 'absent'}

export interface Running {
  readonly state: 'running'
  readonly ref: string
  readonly pid: number | null
  /** Why it cannot serve although it lives (its container is paused, or cut off its network). */
  readonly impairment: string | null
  /** Where servers of the same instance dial it, which may be another one after each start; null while none can (it is cut off). */
  readonly peerAddress: {readonly host: string; readonly port: number} | null
}

/** How a server ended, as far as it is known. */
export interface ServerEnd {
  readonly exitCode: number | null
  /** What beside the code is known: it was killed because it used more memory than its limit, say. */
  readonly because: string | null
}

/** What exists that dbaas made, of this site or another, whether a store knows it or not. */
export interface Found {
  /** Null when its label is missing or damaged. */
  readonly placement: Placement | null
  /** The site that made it; null when nothing says so. */
  readonly siteId: string | null
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
  /** Throws RUNTIME_UNAVAILABLE when what it works through does not answer; so does every other method. */
  facts(): Promise<SiteFacts>
  readonly software: SoftwareStore
  readonly scratch: ScratchPlaces
  /** Null where a prepared data directory would save nothing. */
  readonly pool: DataPool | null
  /** Why a node cannot be bound to that address here, or undefined. Null asks for the runtime's own choice. */
  whyNotPublish(address: string | null): Promise<string | undefined>

  /** Makes the place: folders (or volume, network), owned by the server's user. What is there stays; what is missing around the data is mended. */
  place(placement: Placement): Promise<void>
  host(placement: Placement): Host
  /** The data folder of a placed node as this machine sees it, so that a restore can fill it; null where it cannot be reached. */
  dataFolder(placement: Placement): Promise<string | null>
  /** Into the data folder of a placed node whose server does not run: a tar, unpacked as it comes, by the server's user. Null where every data folder can be reached. */
  readonly unpack: ((placement: Placement, archive: Readable, signal: AbortSignal) => Promise<void>) | null
  /** The node, whose server does not run, belongs to another instance from now on: `placement` says to which. */
  reassign(placement: Placement, fromInstance: string): Promise<void>
  /** Starts the server if it does not run; returns the ref that finds it again. */
  start(placement: Placement, command: ServerCommand): Promise<{ref: string; pid: number | null}>
  /** What is true now. `ref` may be from an earlier agent, stale, or null. */
  observe(placement: Placement, ref: string | null): Promise<Observation>
  /** Sends a signal to the server's main process. No error when it is gone. */
  signal(placement: Placement, ref: string, signal: NodeJS.Signals): Promise<void>
  /** Kills everything of the server and returns when all of it is proven gone. */
  kill(placement: Placement, ref: string | null): Promise<void>
  readonly faults: Faults
  /** Calls back once when the server ends: at once for its own children, within 100 ms for adopted ones. */
  watch(placement: Placement, ref: string, ended: (end: ServerEnd) => void): () => void
  /**
   * Calls back when something about a placed node may have changed other than by its end: paused, cut off, removed by
   * hand; with null when anything may have (the connection to the runtime was lost, or is back). Returns the way to stop.
   */
  onChange(changed: (nodeId: string | null) => void): () => void
  /** What a person calls the server: its process, container or pod. Pure; all null for a ref that is none. */
  identify(ref: string | null): {pid: number | null; container: string | null; pod: string | null}
  /** Applies changed CPU and memory limits to a placed node, live. Throws INVALID_STATE where only a restart can. */
  limit(placement: Placement): Promise<void>
  /** Writes down anew what the place says about itself, when the facts have changed. No place: no error. */
  label(placement: Placement): Promise<void>
  /** Makes what another site placed ours: ends its server, and labels the place anew. The data stays. */
  adopt(placement: Placement, fromSite: string): Promise<void>
  usage(placement: Placement): Promise<Usage | undefined>
  /** Ends everything of the node and removes its place with all data. */
  remove(placement: Placement): Promise<void>
  /** Whether a server could listen on the port now, where this runtime binds. */
  isPortFree(port: number): Promise<boolean>
  /** Everything of this site, and strangers that look like ours but are of another site. */
  list(): Promise<readonly Found[]>
  /** The server's log as whole lines, oldest first; with `follow` it does not end until the signal. */
  logs(placement: Placement, options: LogOptions): AsyncIterable<string>
  /** Keeps logs within bounds; called now and then. */
  trimLogs(placement: Placement): Promise<void>
  /** Removes what was left half-made (preparations, scratch places), and prepared directories of keys not in `keep`. */
  tidy(keep: ReadonlySet<string>): Promise<void>
  /** Ends what is being prepared and all scratch servers; from now on both are refused with AGENT_STOPPING. */
  stopBackground(): Promise<void>
  close(): Promise<void>
}

/** Faults that are real, for drills; the third is `kill`. A server is ended by `kill` in any of them. */
export interface Faults {
  /** Stops everything of the server dead, and ends nothing: it holds its connections, and answers none of them. */
  hang(placement: Placement): Promise<void>
  /** Cuts the server off from its peers, its clients and the agent, and ends nothing. Throws NOT_SUPPORTED where `whyNotCut` says why. */
  cut(placement: Placement): Promise<void>
  readonly whyNotCut: string | null
  /** What hangs goes on, what is cut off is back. Nothing to take back: no error. */
  heal(placement: Placement): Promise<void>
}

export interface LogOptions {
  /** Only the last so many lines of what is there. */
  readonly lines?: number
  readonly follow: boolean
  readonly signal: AbortSignal
}

/** What `install` is asked for. */
export interface InstallRequest {
  /** A full version, or the beginning of one; empty for whatever is at `from`. */
  readonly version: string
  /** The registry package that holds it, where the engine knows one. */
  readonly known: KnownVersion | null
  /** Where else to take it from: a URL or an absolute path (process), the reference of an image (docker). */
  readonly from: string | null
  /** `sha256:HEX` or `sha512:HEX` of what is at `from`. */
  readonly checksum: string | null
}

/** The programs of engines on this site. */
export interface SoftwareStore {
  /** True where `install` is part of a create: an image is pulled when it is first needed. */
  readonly onDemand: boolean
  installed(engine: string): Promise<readonly InstalledVersion[]>
  /**
   * Where the programs of an installed version are, as `host.paths.bin`. `version` may be the beginning of one where
   * `onDemand`. Installs the bundled one on first use. `from`: only that image counts.
   */
  locate(engine: string, version: string, from?: string | null): Promise<InstalledVersion | undefined>
  /**
   * Fetches, verifies the checksum, unpacks, links. `progress` says where it is. Throws DOWNLOAD_FAILED,
   * INTEGRITY_MISMATCH, UNKNOWN_VERSION (what is there is not what was asked for), NOT_SUPPORTED.
   */
  install(engine: string, request: InstallRequest, progress: (because: string) => void, signal: AbortSignal): Promise<InstalledVersion>
  /** Only what `install` made; a system version is never touched. */
  remove(engine: string, version: string): Promise<void>
  /** Where engines are also installed from archives and folders; absent where they are not. */
  readonly archives?: ArchiveStages
}

/** `copy` is for a folder, the others for a file; `install` does what is left of them, and checks what it is. */
export type ArchiveStage = 'download' | 'verify' | 'unpack' | 'copy'

/** The parts of an `install` with `from`, so that each can be a step of an operation. */
export interface ArchiveStages {
  /** Those that it will take, in order. Looks, and throws what can be known at once: INVALID_REQUEST, FILE_NOT_FOUND, NOT_SUPPORTED. */
  plan(engine: string, request: InstallRequest): Promise<readonly ArchiveStage[]>
  /**
   * Does that stage and those before it, as far as they are not done: a later agent goes on where one was killed. Throws
   * DOWNLOAD_FAILED, INTEGRITY_MISMATCH, INSUFFICIENT_DISK, USAGE (nothing to verify a download with), the signal's reason.
   */
  advance(engine: string, request: InstallRequest, stage: ArchiveStage, progress: (because: string) => void, signal: AbortSignal): Promise<void>
  /** Removes what the stages left; with `keepPartial`, a download that is not whole stays for the next try. */
  abandon(engine: string, request: InstallRequest, options: {keepPartial: boolean}): Promise<void>
}

export interface InstalledVersion {
  readonly version: string
  /** `archive`: from a tarball or folder that somebody named. */
  readonly source: 'bundled' | 'npm' | 'system' | 'archive' | 'image'
  /** Folder of the programs, or the name of the image. */
  readonly bin: string
  readonly image: ImagePin | null
  /** `sha256:HEX` of the archive it came from. */
  readonly checksum?: string
}

/** The two parts of making a data directory. Before `seal` has ended nothing may take it for a finished one. */
export interface DataMaker {
  /** Fills an empty data folder. */
  make(host: Host): Promise<void>
  /** Brings it to disk, and marks it as finished only then. */
  seal(host: Host): Promise<void>
}

/** Prepared data directories, made in the background, each used once. Bounded by the caller. */
export interface DataPool {
  /** Bytes free where they are kept; 0 where none would be worth it (an engine to which each had to be uploaded). */
  roomBytes(): Promise<number>
  count(key: string): Promise<number>
  /** Makes one, from an empty data folder. Half-made ones are removed. Throws IMAGE_NOT_FOUND, ENGINE_NOT_INSTALLED where the software has gone. */
  prepare(key: string, software: Software, maker: DataMaker): Promise<void>
  /** Gives one to the place of the node; sealed when it returns, and not before. False when there is none, or the node has data. */
  claim(key: string, placement: Placement, maker: DataMaker): Promise<boolean>
}

export interface ScratchPlaces {
  /** A short-lived host on scratch folders and a free port, removed afterwards whatever happens; a server started in it is ended. */
  use<T>(software: Software, work: (scratch: Scratch) => Promise<T>): Promise<T>
}

export interface Scratch {
  readonly host: Host
  /** As Runtime.dataFolder. */
  dataFolder(): Promise<string | null>
  /** Starts a server in the scratch place, in the stead of one that was started before; it is killed when `use` ends. */
  start(command: ServerCommand): Promise<void>
}

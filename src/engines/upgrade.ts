/**
 * The promise of an engine about its versions: which servers start on which data, and how data gets into servers that
 * do not. Every method is idempotent unless it says otherwise; foreign errors leave as DbaasError.
 */
import type {AdminCredentials, ServerCommand} from './engine.js'
import type {Host} from './host.js'

export interface EngineUpgrade {
  /**
   * The series of a version, full or the beginning of one (`18` of `18.4`): all servers of a series start on each other's
   * data, forth and back; those of another need a copy.
   */
  seriesOf(version: string): string
  /** What the running server says that it is: `18.4`. */
  runningVersion(host: Host, admin: AdminCredentials): Promise<string>
  readonly copy: EngineCopy
}

/** Two full versions, the older one first. */
export interface VersionStep {
  readonly from: string
  readonly to: string
}

/** Programs that read from servers of one version, and write into those of another. */
export interface CopyTools {
  readonly version: string
  readonly folder: string
}

/** Something that no copy can bring along, or that would be lost without a word. */
export interface Obstacle {
  readonly object: string
  readonly because: string
  /** What to do about it: a command or a sentence. */
  readonly remedy: string
}

export interface Survey {
  /** Of all databases, on disk. */
  readonly bytes: number
  /** What the new server must have, too. */
  readonly extensions: readonly string[]
  readonly obstacles: readonly Obstacle[]
}

export interface CopyWork {
  readonly progress: (because: string) => void
  readonly signal: AbortSignal
}

export interface CopyRequest extends CopyWork {
  /** A place of the agent's machine that the programs run in, and that has room for everything; it is thrown away afterwards. */
  readonly workshop: Host
  readonly tools: CopyTools
  /** Runs closed: nobody writes to it. */
  readonly from: Host
  /** Runs, and has never been used: what `initialise` made, and nothing else. */
  readonly to: Host
  readonly admin: AdminCredentials
  /** Connections to each of the two at a time. */
  readonly jobs: number
}

/** What was compared. Only what differs is named, a sentence each. */
export interface CompareReport {
  readonly databases: number
  readonly tables: number
  readonly rows: number
  /** Everything that is not a row: tables, columns, indexes, functions, sequences with their values, roles, grants. */
  readonly objects: number
  readonly differences: readonly string[]
}

export interface EngineCopy {
  /** The best that are on the machine of `host`; `folders`: where programs of the engine are known to be, beside the system's own. */
  findTools(host: Host, step: VersionStep, folders: readonly string[]): Promise<CopyTools | undefined>
  /** How a person gets them: commands, most useful first. */
  toolHints(step: VersionStep): string[]
  /** Of the running old server: how much there is, and what stands in the way. */
  survey(host: Host, admin: AdminCredentials): Promise<Survey>
  /** Extensions that a running server could make. */
  extensions(host: Host, admin: AdminCredentials): Promise<ReadonlySet<string>>
  /** A start of the server in which nobody but the agent gets in, and nothing is written by it on its own. Writes what that needs. */
  closedCommand(host: Host, version: string): Promise<ServerCommand>
  /** Everything, roles and their passwords included. Not idempotent: a second try needs another new server. */
  copy(request: CopyRequest): Promise<void>
  /** Makes the new server know its data as well as the old one did, so that its first queries are planned like later ones. */
  settle(host: Host, admin: AdminCredentials, work: CopyWork): Promise<void>
  /** Reads all of both. */
  compare(from: Host, to: Host, admin: AdminCredentials, work: CopyWork): Promise<CompareReport>
}

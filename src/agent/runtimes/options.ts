import type {EngineVersions} from '../../engines/engine.js'

/** What every runtime is given by the composition root. */
export interface RuntimeOptions {
  /** Where the runtime keeps what its servers must reach; absolute, exists (see `process/locations.ts`). */
  readonly dataRoot: string
  /** `site_…`: everything made carries it. */
  readonly siteId: string
  /** A folder from which `node_modules` is found, going up: the root of the installed dbaas. */
  readonly packagesFolder: string
  readonly engines: Readonly<Record<string, EngineVersions>>
  readonly log: (message: string, facts?: Record<string, unknown>) => void
}

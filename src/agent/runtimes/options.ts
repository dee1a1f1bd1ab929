import type {Engine} from '../../engines/engine.js'

/** What a runtime may know of an engine: its versions and programs, its images and port, and no SQL. */
export type EngineSoftware = Pick<Engine, 'name' | 'title' | 'versions' | 'images' | 'defaultPort'>

/** What every runtime is given by the composition root. */
export interface RuntimeOptions {
  /** Where the runtime keeps what its servers must reach; absolute, exists (see `process/locations.ts`). */
  readonly dataRoot: string
  /** `site_…`: everything made carries it. */
  readonly siteId: string
  /** A folder from which `node_modules` is found, going up: the root of the installed dbaas. */
  readonly packagesFolder: string
  readonly engines: Readonly<Record<string, EngineSoftware>>
  /** The environment's say in it, read once by the composition root: `DOCKER_HOST`, `DBAAS_IMAGE_MYSQL`, … */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: (message: string, facts?: Record<string, unknown>) => void
}

import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'
import type {ImagePin} from '../../core/instance/instance.js'
import type {Engine} from '../../engines/engine.js'
import type {Runtime} from '../runtimes/runtime.js'

/** `18` matches `18.4`, not `180`. */
const matches = (asked: string, version: string): boolean => version === asked || version.startsWith(`${asked}.`)

/** Newest first, by numbers. */
export const byVersion = (a: string, b: string): number => {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)]
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (y[i] ?? 0) - (x[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

export interface ResolvedVersion {
  /** Full; only the beginning of one while it is not installed. */
  readonly version: string
  readonly image: ImagePin | null
  /** False: the runtime installs it when an instance is made. */
  readonly installed: boolean
}

/**
 * The version that is meant: the newest installed one that fits, the engine's default where nothing is asked. Throws
 * UNKNOWN_VERSION (2) for what no source has, ENGINE_NOT_INSTALLED (5) for what somebody would have to install first.
 * `from`: an image that was named.
 */
export async function resolveVersion(
  engine: Engine, runtime: Runtime, asked: string | undefined, platform: string, from: string | null = null,
): Promise<ResolvedVersion> {
  if (runtime.software.onDemand) return onDemand(engine, runtime, asked, from)
  if (from !== null) {
    throw new DbaasError('NOT_SUPPORTED', `the runtime ${runtime.name} has no images`, {details: {image: from}, suggestions: ['--runtime docker', 'leave --image away']})
  }
  return {version: await installedVersion(engine, runtime, asked, platform), image: null, installed: true}
}

async function onDemand(engine: Engine, runtime: Runtime, asked: string | undefined, from: string | null): Promise<ResolvedVersion> {
  const wanted = asked ?? engine.versions.default
  if (!engine.versions.supports(wanted)) {
    throw new DbaasError('UNKNOWN_VERSION', `${engine.title} ${wanted} is no version that dbaas can run`, {
      details: {engine: engine.name, version: wanted}, suggestions: [`--version ${engine.versions.default}`, 'dbaas engines list'],
    })
  }
  const found = await runtime.software.locate(engine.name, wanted, from)
  return found ? {version: found.version, image: found.image, installed: true} : {version: wanted, image: null, installed: false}
}

async function installedVersion(engine: Engine, runtime: Runtime, asked: string | undefined, platform: string): Promise<string> {
  const known = engine.versions.known(platform)
  // the bundled one needs no look at the disk: it is there
  const bundled = known.find((v) => v.bundled)?.version
  if (asked === undefined && bundled !== undefined) return bundled
  const wanted = asked ?? engine.versions.default
  if (bundled !== undefined && matches(wanted, bundled)) return bundled
  const installed = (await runtime.software.installed(engine.name)).map((v) => v.version).sort(byVersion)
  const here = installed.find((v) => matches(wanted, v))
  if (here !== undefined) return here
  const there = known.map((v) => v.version).sort(byVersion).find((v) => matches(wanted, v))
  if (there !== undefined) {
    throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine.title} ${there} is not installed on this site`, {
      details: {engine: engine.name, version: there, installed: installed.join(', ')},
      suggestions: [`dbaas engines install ${engine.name}@${there}`, 'dbaas engines list'],
    })
  }
  const all = [...new Set([...installed, ...known.map((v) => v.version)])].sort(byVersion)
  const near = nearest(wanted, all)
  throw new DbaasError('UNKNOWN_VERSION', `there is no ${engine.title} ${wanted} to install or use here`, {
    details: {engine: engine.name, version: wanted, versions: all.join(', ')},
    suggestions: [near ? `--version ${near}` : `--version ${engine.versions.default}`, 'dbaas engines list'],
  })
}

import {DbaasError} from '../../core/errors.js'
import {nearest} from '../../core/nearest.js'
import {fitsVersion} from '../../core/version.js'
import type {ImagePin} from '../../core/instance/instance.js'
import type {Engine} from '../../engines/engine.js'
import type {Runtime} from '../runtimes/runtime.js'

/** Newest first, by numbers. */
export const byVersion = (a: string, b: string): number => {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)]
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (y[i] ?? 0) - (x[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** How a person gets an engine that is not here: what the engine says itself, and that there are images. */
export function howToGet(engine: Engine, verb: 'create' | 'install'): string[] {
  const {default: version, installHints} = engine.versions
  return [
    ...(installHints ?? [`dbaas engines install ${engine.name}@${version} --from URL, archive or folder of its official binaries`]),
    verb === 'create' ? '--runtime docker' : `dbaas engines install ${engine.name}@${version} --runtime docker`,
  ]
}

/** Throws UNKNOWN_VERSION for a version, or the beginning of one, of which no series can be run. */
export function refuseUnsupported(engine: Engine, version: string): void {
  if (engine.versions.supports(version)) return
  throw new DbaasError('UNKNOWN_VERSION', `${engine.title} ${version} is no version that dbaas can run`, {
    details: {engine: engine.name, version}, suggestions: [`--version ${engine.versions.default}`, 'dbaas engines list'],
  })
}

export interface ResolvedVersion {
  /** Full; only the beginning of one while it is not installed. */
  readonly version: string
  readonly image: ImagePin | null
  /** False: the runtime installs it when an instance is made. */
  readonly installed: boolean
}

/**
 * The version that is meant: the newest installed one that fits. Where nothing is asked it is the engine's default, or the
 * newest of what there is. Throws UNKNOWN_VERSION (2) for what no source has, ENGINE_NOT_INSTALLED (5) for what somebody would have to install first.
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
  refuseUnsupported(engine, wanted)
  const found = await runtime.software.locate(engine.name, wanted, from)
  return found ? {version: found.version, image: found.image, installed: true} : {version: wanted, image: null, installed: false}
}

async function installedVersion(engine: Engine, runtime: Runtime, asked: string | undefined, platform: string): Promise<string> {
  const known = engine.versions.known(platform)
  // the bundled one needs no look at the disk: it is there
  const bundled = known.find((v) => v.bundled)?.version
  if (asked === undefined && bundled !== undefined) return bundled
  const wanted = asked ?? engine.versions.default
  if (bundled !== undefined && fitsVersion(wanted, bundled)) return bundled
  const installed = (await runtime.software.installed(engine.name)).map((v) => v.version).sort(byVersion)
  const here = installed.find((v) => fitsVersion(wanted, v)) ?? (asked === undefined ? installed[0] : undefined)
  if (here !== undefined) return here
  const there = known.map((v) => v.version).sort(byVersion).find((v) => fitsVersion(wanted, v))
  if (there !== undefined) {
    throw new DbaasError('ENGINE_NOT_INSTALLED', `${engine.title} ${there} is not installed on this site`, {
      details: {engine: engine.name, version: there, installed: installed.join(', ')},
      suggestions: [`dbaas engines install ${engine.name}@${there}`, 'dbaas engines list'],
    })
  }
  if (known.length === 0) {
    refuseUnsupported(engine, wanted)
    const what = installed.length === 0 ? engine.title : `${engine.title} ${wanted}`
    throw new DbaasError('ENGINE_NOT_INSTALLED', `${what} is not installed on this site, and was not found on the machine`, {
      details: {engine: engine.name, version: wanted, installed: installed.join(', ')},
      suggestions: [...installed.slice(0, 1).map((version) => `--version ${version}`), ...howToGet(engine, 'create'), 'dbaas engines list'],
    })
  }
  const all = [...new Set([...installed, ...known.map((v) => v.version)])].sort(byVersion)
  const near = nearest(wanted, all)
  throw new DbaasError('UNKNOWN_VERSION', `there is no ${engine.title} ${wanted} to install or use here`, {
    details: {engine: engine.name, version: wanted, versions: all.join(', ')},
    suggestions: [near ? `--version ${near}` : `--version ${engine.versions.default}`, 'dbaas engines list'],
  })
}

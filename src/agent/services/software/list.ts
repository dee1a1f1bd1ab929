/** What every runtime has of every engine. A runtime that does not answer is a note: the others are still listed. */
import type {ApiEngine} from '../../../core/api/schemas.js'
import {DbaasError} from '../../../core/errors.js'
import type {Engine} from '../../../engines/engine.js'
import type {InstalledVersion} from '../../runtimes/runtime.js'
import type {ServiceContext} from '../context.js'
import {byVersion, howToGet} from '../versions.js'

type Row = ApiEngine['versions'][number]

/** A list is looked at by people: what does not answer in time is left out, and said so. */
const patienceMs = 5000

export function createSoftwareList(context: ServiceContext, platform: string) {
  const installedIn = async (runtime: string, engine: string): Promise<readonly InstalledVersion[]> => {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new DbaasError('RUNTIME_UNAVAILABLE', `no answer in ${patienceMs / 1000} s`)), patienceMs)
    })
    try {
      return await Promise.race([context.runtimes.get(runtime).software.installed(engine), late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Of one runtime: what is installed, and what could be installed by its name alone. */
  async function versionsIn(runtime: string, engine: Engine): Promise<Row[]> {
    const installed = await installedIn(runtime, engine.name)
    const rows = new Map(installed.map((v): [string, Row] => [v.version, {
      version: v.version, runtime, source: v.source, installed: true, path: v.bin, checksum: v.checksum ?? null,
    }]))
    // registries hold programs, not images
    for (const known of context.runtimes.get(runtime).software.onDemand ? [] : engine.versions.known(platform)) {
      if (rows.has(known.version)) continue
      rows.set(known.version, {version: known.version, runtime, source: known.bundled ? 'bundled' : 'npm', installed: known.bundled, path: null, checksum: null})
    }
    return [...rows.values()].sort((a, b) => byVersion(a.version, b.version))
  }

  async function list(): Promise<{engines: ApiEngine[]; notes: string[]}> {
    const notes = new Set<string>()
    const engines = await Promise.all(context.engines.names.map(async (name): Promise<ApiEngine> => {
      const engine = context.engines.get(name)
      const versions = await Promise.all(context.runtimes.names.map((runtime) => versionsIn(runtime, engine).catch((error: unknown) => {
        notes.add(`the runtime ${runtime} does not say what it has: ${DbaasError.from(error).message}`)
        return []
      })))
      return {name, title: engine.title, versions: versions.flat(), hints: versions.flat().some((v) => v.installed) ? [] : howToGet(engine, 'install')}
    }))
    return {engines, notes: [...notes]}
  }

  return {list, versionsIn}
}

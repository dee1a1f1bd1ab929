/**
 * The engine store: `<dataRoot>/engines/<engine>/<version>/`, readable by the server's user. It has what came with dbaas,
 * what npm has, and what somebody's archive or folder held.
 */
import {existsSync} from 'node:fs'
import {readdir, rename, rmdir} from 'node:fs/promises'
import {randomBytes} from 'node:crypto'
import {join} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import type {KnownVersion} from '../../../engines/engine.js'
import {fitsVersion} from '../../../core/version.js'
import type {EngineSoftware} from '../options.js'
import type {InstalledVersion, InstallRequest, SoftwareStore} from '../runtime.js'
import {createArchives, pruneArchives} from './archive/installer.js'
import type {Environment} from './archive/proxy.js'
import {fetchPackage} from './download.js'
import {build, copyPackage, isWhole, readLabel} from './engine-folder.js'
import {atEdge} from './errors.js'
import {makeFolder} from './files.js'
import {findPackage} from './packages.js'
import {removeTree} from './places.js'
import type {ServiceUser} from './service-user.js'
import type {SystemVersions} from './system-versions.js'

export interface ProcessSoftware extends SoftwareStore {
  /** The programs of a version now, for a host; where they would be when it is not installed. */
  bin(engine: string, version: string): string
  /** Removes what an agent that was killed left half-made. Before anything is installed. */
  prune(): Promise<void>
}

export function createSoftware(options: {
  dataRoot: string
  packagesFolder: string
  engines: Readonly<Record<string, EngineSoftware>>
  system: SystemVersions
  user: ServiceUser
  /** Of the agent: its proxies and its PATH. */
  env: Environment
  log: (message: string, facts?: Record<string, unknown>) => void
}): ProcessSoftware {
  const {packagesFolder, engines, system, log} = options
  const root = join(options.dataRoot, 'engines')
  const platform = `${process.platform}-${process.arch}`
  /** Folders found whole by this agent. */
  const checked = new Set<string>()
  const building = new Map<string, Promise<void>>()

  const known = (engine: string): readonly KnownVersion[] => engines[engine]?.versions.known(platform) ?? []

  function folderOf(engine: string, version: string): string {
    for (const part of [engine, version]) {
      if (/^[A-Za-z0-9][A-Za-z0-9._+-]*$/.test(part)) continue
      throw new DbaasError('INTERNAL', `"${part}" cannot name a folder of the engine store`)
    }
    return join(root, engine, version)
  }

  function stored(engine: string, version: string): InstalledVersion | undefined {
    const folder = folderOf(engine, version)
    const label = readLabel(folder)
    if (!label) return undefined
    return {
      version, source: label.source, bin: join(folder, label.binFolder), image: null, ...(label.checksum === undefined ? {} : {checksum: label.checksum}),
    }
  }

  const storedVersions = async (engine: string): Promise<string[]> =>
    (await readdir(join(root, engine)).catch(() => [])).filter((name) => !name.startsWith('.'))

  const bundledPackage = (version: KnownVersion): Promise<string | undefined> =>
    findPackage(packagesFolder, version.package.name, version.package.version)

  async function prepare(engine: string): Promise<void> {
    for (const folder of [root, join(root, engine)]) await makeFolder(folder, 0o755)
  }

  /** One at a time for a folder: a second caller waits for the first. */
  function once(folder: string, work: () => Promise<void>): Promise<void> {
    const running = building.get(folder)
    if (running) return running
    const started = work().finally(() => building.delete(folder))
    building.set(folder, started)
    return started
  }

  /** Links the version that came with dbaas. False when its package is not there (npm's --omit=optional). */
  async function linkBundled(engine: string, version: KnownVersion): Promise<boolean> {
    const from = await bundledPackage(version)
    if (from === undefined) return false
    const folder = folderOf(engine, version.version)
    await once(folder, async () => {
      const started = Date.now()
      await prepare(engine)
      await build(folder, version, 'bundled', (draft) => copyPackage(from, draft))
      checked.add(folder)
      log('engine linked into the store', {engine, version: version.version, ms: Date.now() - started})
    })
    return true
  }

  /** A version whose files are not all there (a power cut after it was made) is removed: it is made or fetched again. */
  async function removeDamaged(engine: string, version: string): Promise<void> {
    const folder = folderOf(engine, version)
    if (checked.has(folder) || !existsSync(folder)) return
    if (isWhole(folder)) checked.add(folder)
    else {
      log('engine in the store is damaged; it is removed', {engine, version})
      await discard(folder)
    }
  }

  async function discard(folder: string): Promise<void> {
    checked.delete(folder)
    // out of the way in one step: a half-removed version is never found
    const aside = join(folder, '..', `.tmp-${randomBytes(8).toString('hex')}`)
    await rename(folder, aside).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    await removeTree(aside)
  }

  const locate = (engine: string, version: string): Promise<InstalledVersion | undefined> =>
    atEdge(`put ${engine} ${version} into the engine store`, async () => {
      await removeDamaged(engine, version)
      const ours = stored(engine, version)
      if (ours) return ours
      const bundled = known(engine).find((candidate) => candidate.bundled && candidate.version === version)
      if (bundled && (await linkBundled(engine, bundled))) return stored(engine, version)
      return system.list(engine).find((candidate) => candidate.version === version)
    })

  const installed = (engine: string): Promise<readonly InstalledVersion[]> =>
    atEdge(`list the versions of ${engine}`, async () => {
      const found = new Map<string, InstalledVersion>()
      for (const name of await storedVersions(engine)) {
        const version = stored(engine, name)
        if (version) found.set(name, version)
      }
      for (const version of known(engine)) {
        if (!version.bundled || found.has(version.version) || (await bundledPackage(version)) === undefined) continue
        const bin = join(folderOf(engine, version.version), version.binFolder)
        found.set(version.version, {version: version.version, source: 'bundled', bin, image: null})
      }
      for (const version of system.list(engine)) if (!found.has(version.version)) found.set(version.version, version)
      return [...found.values()].sort((a, b) => b.version.localeCompare(a.version, 'en', {numeric: true}))
    })

  /** The version itself, or what was unpacked from the very same archive. */
  async function already(engine: string, request: InstallRequest): Promise<string | undefined> {
    for (const version of await storedVersions(engine)) {
      const same = version === request.version
        || (request.checksum !== null && stored(engine, version)?.checksum === request.checksum && (request.version === '' || fitsVersion(request.version, version)))
      if (!same) continue
      await removeDamaged(engine, version)
      if (stored(engine, version)) return version
    }
    return undefined
  }

  const archives = createArchives({root, user: options.user, env: options.env, engines, prepare, already, log})

  const install: SoftwareStore['install'] = (engine, request, progress, signal) =>
    atEdge(`install ${engine} ${request.version}`, async () => {
      const version = request.known
      if (request.from !== null) {
        const made = stored(engine, await archives.install(engine, request, progress, signal))
        if (made) return made
        throw new DbaasError('INTERNAL', `${engine} was installed from ${request.from} and is not there`)
      }
      if (version === null) throw new DbaasError('NOT_SUPPORTED', `${engine} ${request.version} is in no registry: it needs an archive or a folder to come from`)
      await removeDamaged(engine, version.version)
      const folder = folderOf(engine, version.version)
      if (!stored(engine, version.version) && !(version.bundled && (await linkBundled(engine, version)))) {
        await once(folder, async () => {
          await prepare(engine)
          await build(folder, version, 'npm', (draft) => fetchPackage(version.package, draft, join(root, engine), progress, signal))
          checked.add(folder)
        })
      }
      const made = stored(engine, version.version)
      if (!made) throw new DbaasError('INTERNAL', `${engine} ${version.version} was installed and is not there`)
      return made
    })

  const remove = (engine: string, version: string): Promise<void> =>
    atEdge(`remove ${engine} ${version}`, async () => {
      await discard(folderOf(engine, version))
      await rmdir(join(root, engine)).catch(() => undefined)
      await rmdir(root).catch(() => undefined)
    })

  function bin(engine: string, version: string): string {
    const found = stored(engine, version) ?? system.list(engine).find((candidate) => candidate.version === version)
    if (found) return found.bin
    const expected = known(engine).find((candidate) => candidate.version === version)
    return join(folderOf(engine, version), expected?.binFolder ?? 'bin')
  }

  async function prune(): Promise<void> {
    for (const engine of await readdir(root).catch(() => [])) {
      for (const name of await readdir(join(root, engine)).catch(() => [])) {
        if (name.startsWith('.tmp-')) await removeTree(join(root, engine, name))
      }
      await pruneArchives(join(root, engine))
    }
  }

  return {onDemand: false, installed, locate, install, remove, archives, bin, prune}
}

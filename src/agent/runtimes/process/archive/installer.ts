/**
 * Installs an engine from a file on the web, an archive or a folder, in stages that are each done once: what they made
 * and learnt is kept in `<store>/<engine>/.download-<key>/`, from where a later try, or a later agent, goes on.
 */
import {createHash} from 'node:crypto'
import {readdir, readFile, rename, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {formatChecksum, parseChecksum, type Checksum} from '../../../../core/checksum.js'
import {DbaasError} from '../../../../core/errors.js'
import type {EngineSoftware} from '../../options.js'
import type {ArchiveStage, ArchiveStages, InstallRequest} from '../../runtime.js'
import {settle} from '../engine-folder.js'
import {atEdge} from '../errors.js'
import {makeFolder, syncTree, writeAtomically} from '../files.js'
import {removeTree} from '../places.js'
import type {ServiceUser} from '../service-user.js'
import {checkPrograms} from './check.js'
import {findChecksum, hashFile} from './checksums.js'
import {copyFolder} from './copy.js'
import {fetchFile, type Remote} from './fetch.js'
import {decompressor, formatOf, formatOfName} from './format.js'
import {createHttp} from './http.js'
import {isKept} from './keep.js'
import type {Environment} from './proxy.js'
import {createRoom} from './room.js'
import {nameOf, readSource, type Source} from './source.js'
import {unpackArchive} from './unpack.js'

/** What is known so far; in `state.json`. */
interface State {
  readonly remote?: Remote
  /** What a download must have, and where that is written. */
  readonly expected?: {readonly checksum: string; readonly where: string}
  /** The download is whole. */
  readonly fetched?: true
  /** Of the archive that was verified. */
  readonly sha256?: string
  /** `tree` is whole. */
  readonly unpacked?: true
  /** The version in the store that came from the very same archive: there is nothing to unpack. */
  readonly same?: string
}

interface Work {
  readonly engine: EngineSoftware
  readonly request: InstallRequest
  readonly source: Source
  readonly folder: string
  state: State
  readonly progress: (because: string) => void
  readonly signal: AbortSignal
}

export interface ArchivesOptions {
  /** The engine store. */
  readonly root: string
  readonly user: ServiceUser
  readonly env: Environment
  readonly engines: Readonly<Record<string, EngineSoftware>>
  /** Makes the folder of an engine in the store. */
  prepare(engine: string): Promise<void>
  /** The version in the store that is asked for, where it is known before anything is fetched. */
  already(engine: string, request: InstallRequest): Promise<string | undefined>
  readonly log: (message: string, facts?: Record<string, unknown>) => void
  /** For tests. */
  readonly pauseMs?: (attempt: number) => number
}

export interface Archives extends ArchiveStages {
  /** The version that is then in the store. */
  install(engine: string, request: InstallRequest, progress: (because: string) => void, signal: AbortSignal): Promise<string>
}

const prefix = '.download-'
/** A download that nobody came back to. */
const keptMs = 7 * 86_400_000

export function createArchives(options: ArchivesOptions): Archives {
  const {root, user, env} = options
  const path = env.PATH ?? ''
  const http = createHttp(env)
  const last = new Map<string, Promise<unknown>>()

  const folderOf = (engine: string, {from, version, checksum}: InstallRequest): string =>
    join(root, engine, prefix + createHash('sha256').update(JSON.stringify([from, version, checksum])).digest('hex').slice(0, 16))

  /** Two that want the same work one after the other; the second finds it done. */
  async function inTurn<T>(folder: string, work: () => Promise<T>): Promise<T> {
    const before = last.get(folder) ?? Promise.resolve()
    const turn = before.then(work, work)
    last.set(folder, turn)
    try {
      return await turn
    } finally {
      if (last.get(folder) === turn) last.delete(folder)
    }
  }

  async function begin(name: string, request: InstallRequest, progress: (because: string) => void, signal: AbortSignal): Promise<Work> {
    signal.throwIfAborted()
    const engine = options.engines[name]
    if (!engine || request.from === null) throw new DbaasError('INTERNAL', `${name} is asked from nowhere`)
    const source = await readSource(request.from)
    await options.prepare(name)
    const folder = folderOf(name, request)
    await makeFolder(folder, 0o755)
    return {engine, request, source, folder, state: await readState(folder), progress, signal}
  }

  async function keep(work: Work, change: State): Promise<void> {
    work.state = {...work.state, ...change}
    await writeAtomically(join(work.folder, 'state.json'), JSON.stringify(work.state), 0o600)
  }

  const archiveOf = ({source, folder}: Work): string => (source.kind === 'file' ? source.path : join(folder, 'archive'))

  async function download(work: Work): Promise<void> {
    const {source, state, folder, progress, signal} = work
    if (source.kind !== 'url' || state.fetched || state.unpacked) return
    if (!state.expected && work.request.checksum === null) {
      progress('looking for its checksum')
      const found = await findChecksum(http, source.url, signal)
      if (!found) throw noChecksum(work)
      await keep(work, {expected: {checksum: formatChecksum(found.checksum), where: found.where}})
    }
    await fetchFile({
      http, url: source.url, file: archiveOf(work), remote: state.remote ?? null, progress, signal,
      keep: (remote) => keep(work, {remote}),
      // the archive itself, and at the least twice as much when it is unpacked
      makeRoom: (bytes) => createRoom(folder)(3 * bytes), ...(options.pauseMs ? {pauseMs: options.pauseMs} : {}),
    })
    await keep(work, {fetched: true})
  }

  async function verify(work: Work): Promise<void> {
    await download(work)
    if (work.source.kind === 'folder' || work.state.sha256 !== undefined) return
    const {request, state, source, progress, signal} = work
    await formatOf(archiveOf(work), source.shown)
    const expected = request.checksum === null ? (state.expected && parseChecksum(state.expected.checksum)) : parseChecksum(request.checksum)
    const algorithms = expected?.algorithm === 'sha512' ? (['sha256', 'sha512'] as const) : (['sha256'] as const)
    const sums = await hashFile(archiveOf(work), algorithms, progress, signal)
    if (expected && sums.get(expected.algorithm) !== expected.hex) {
      throw mismatch(source, expected, sums.get(expected.algorithm) ?? '', state.expected?.where)
    }
    await keep(work, {sha256: sums.get('sha256') as string})
  }

  async function unpack(work: Work): Promise<void> {
    if (work.state.unpacked) return
    await verify(work)
    const {source, folder, progress, signal} = work
    const {sha256} = work.state
    const same = sha256 === undefined ? undefined : await options.already(work.engine.name, {...work.request, checksum: `sha256:${sha256}`})
    if (same !== undefined) return keep(work, {same})
    const draft = join(folder, 'tree.tmp')
    const tree = join(folder, 'tree')
    for (const left of [draft, tree]) await removeTree(left)
    await makeFolder(draft, 0o755)
    const makeRoom = createRoom(folder)
    const started = Date.now()
    if (source.kind === 'folder') await copyFolder({from: source.path, into: draft, makeRoom, progress, signal})
    else {
      const archive = archiveOf(work)
      const format = await formatOf(archive, source.shown)
      const {size} = await stat(archive)
      await createRoom(folder)(2 * size)
      const made = await unpackArchive({archive, format, decompress: await decompressor(format, path), into: draft, keep: isKept, makeRoom, user, progress, signal})
      if (made.sha256 !== sha256) throw new DbaasError('INTEGRITY_MISMATCH', `${source.shown} changed while it was read`, {suggestions: ['run the command again']})
      options.log('engine unpacked', {engine: work.engine.name, from: source.shown, ms: Date.now() - started, files: made.files, bytes: made.bytes, leftOut: made.leftOut})
    }
    // nothing else can make these files again after a power cut
    progress('writing to disk')
    await syncTree(draft)
    await rename(draft, tree)
    await keep(work, {unpacked: true})
  }

  async function finish(work: Work): Promise<string> {
    await unpack(work)
    const {engine, request, source, folder, state, progress, signal} = work
    if (state.same !== undefined) {
      await removeTree(folder)
      return state.same
    }
    const top = await topOf(join(folder, 'tree'))
    progress(`running ${engine.versions.serverProgram} --version`)
    const {binFolder, version} = await checkPrograms(top, {engine, version: request.version, user, path, from: source.shown, signal})
    await settle(top, join(root, engine.name, version), {
      source: 'archive', binFolder, from: source.shown, ...(state.sha256 === undefined ? {} : {checksum: `sha256:${state.sha256}`}),
    })
    await removeTree(folder)
    return version
  }

  const stages: Readonly<Record<ArchiveStage, (work: Work) => Promise<void>>> = {download, verify, unpack, copy: unpack}

  /** What is wrong with what came will be wrong the next time: nothing of it is kept. A full disk may have more room then. */
  async function guarded<T>(engine: string, request: InstallRequest, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const final = error instanceof DbaasError && error.row.retry === 'permanent' && error.code !== 'INSUFFICIENT_DISK' && error.code !== 'DISK_FULL'
      if (final) await removeTree(folderOf(engine, request))
      throw error
    }
  }

  const install: Archives['install'] = (engine, request, progress, signal) => inTurn(folderOf(engine, request), () => guarded(engine, request, async () => {
    const known = await options.already(engine, request)
    if (known === undefined) return finish(await begin(engine, request, progress, signal))
    // who made it may have been killed before it had tidied up
    await removeTree(folderOf(engine, request))
    return known
  }))

  return {
    install,
    plan: (_engine, request) => atEdge(`look at ${request.from}`, async () => {
      if (request.checksum !== null) parseChecksum(request.checksum)
      const source = await readSource(request.from ?? '')
      if (source.kind === 'folder') {
        if (request.checksum === null) return ['copy']
        throw new DbaasError('INVALID_REQUEST', `${source.shown} is a folder, which has no checksum`, {suggestions: ['leave --checksum away']})
      }
      const format = source.kind === 'url' ? formatOfName(nameOf(source)) : await formatOf(source.path, source.shown)
      if (format) await decompressor(format, path)
      return source.kind === 'url' ? ['download', 'verify', 'unpack'] : ['verify', 'unpack']
    }),
    advance: (engine, request, stage, progress, signal) => atEdge(`install ${engine} from ${request.from}`, () =>
      inTurn(folderOf(engine, request), () => guarded(engine, request, async () => {
        if ((await options.already(engine, request)) === undefined) await stages[stage](await begin(engine, request, progress, signal))
      }))),
    abandon: (engine, request, {keepPartial}) => atEdge(`clean up ${engine}`, () => inTurn(folderOf(engine, request), async () => {
      const folder = folderOf(engine, request)
      const {fetched, remote} = await readState(folder)
      if (!keepPartial || fetched || remote === undefined) await removeTree(folder)
    })),
  }
}

/** What a killed agent left: the half of a tree at once, all of it when nobody came back for a week. */
export async function pruneArchives(engineFolder: string): Promise<void> {
  for (const name of await readdir(engineFolder).catch(() => [])) {
    if (!name.startsWith(prefix)) continue
    const folder = join(engineFolder, name)
    const state = await stat(join(folder, 'state.json')).catch(() => undefined)
    const archive = await stat(join(folder, 'archive')).catch(() => undefined)
    const at = Math.max(state?.mtimeMs ?? 0, archive?.mtimeMs ?? 0)
    await removeTree(state && Date.now() - at < keptMs ? join(folder, 'tree.tmp') : folder)
  }
}

async function readState(folder: string): Promise<State> {
  try {
    return JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')) as State
  } catch {
    return {}
  }
}

/** Official tarballs have one folder at the top, named after the version. */
async function topOf(tree: string): Promise<string> {
  const [only, ...others] = await readdir(tree, {withFileTypes: true})
  return only?.isDirectory() && others.length === 0 ? join(tree, only.name) : tree
}

function noChecksum({engine, request, source}: Work): DbaasError {
  const spec = `${engine.name}${request.version === '' ? '' : `@${request.version}`}`
  return new DbaasError('USAGE', `there is nothing to verify ${source.shown} with: no checksum was given, and none lies beside it (an MD5 or a GPG signature is none: give the SHA-256 of a file you verified)`, {
    details: {from: source.shown, looked_for: '.sha256, .sha512, sha256sums.txt, SHA256SUMS'},
    suggestions: [
      `dbaas engines install ${spec} --from ${source.shown} --checksum sha256:HEX`,
      'download it and its .asc, then: gpg --verify FILE.asc FILE && sha256sum FILE',
    ],
  })
}

function mismatch(source: Source, expected: Checksum, actual: string, where: string | undefined): DbaasError {
  return new DbaasError('INTEGRITY_MISMATCH', `${source.shown} does not have the checksum ${where ? `in ${where}` : 'that was given'}`, {
    details: {from: source.shown, expected: formatChecksum(expected), actual: `${expected.algorithm}:${actual}`},
    suggestions: ['compare the checksum with the one on the download page', 'download the file again'],
  })
}

/** Copies a folder that somebody named, as it is: its files may change under us, so none is shared with it but by reflink. */
import {constants} from 'node:fs'
import {chmod, copyFile, lstat, mkdir, readdir, readlink, realpath, stat, symlink} from 'node:fs/promises'
import {dirname, join, relative, resolve, sep} from 'node:path'
import {DbaasError} from '../../../../core/errors.js'
import {formatBytes} from '../../../../core/units.js'

export interface CopyOptions {
  /** A real path. */
  readonly from: string
  readonly into: string
  /** Throws when that many bytes have no place. */
  makeRoom(bytes: number): Promise<void>
  readonly progress: (because: string) => void
  readonly signal: AbortSignal
}

interface Planned {
  /** Within the folder. */
  readonly path: string
  /** The target of a link that stays inside; else a file that is copied from `source`. */
  readonly target: string | null
  readonly source: string
  readonly bytes: number
}

const limits = {entries: 200_000, bytes: 24 * 1024 ** 3}
const progressMs = 400
/** Files at once. */
const width = 8

/** Throws NOT_SUPPORTED, what `makeRoom` throws, and the signal's reason. */
export async function copyFolder({from, into, makeRoom, progress, signal}: CopyOptions): Promise<{files: number; bytes: number}> {
  const folders: string[] = []
  const files: Planned[] = []
  await look(from, '', folders, files, signal)
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  if (bytes > limits.bytes) throw refused(from, `it has more than ${formatBytes(limits.bytes)}`)
  await makeRoom(bytes)
  for (const folder of folders) {
    await mkdir(join(into, folder))
    await chmod(join(into, folder), 0o755)
  }
  let [done, told] = [0, 0]
  const waiting = [...files]
  const work = async (): Promise<void> => {
    for (let file = waiting.pop(); file; file = waiting.pop()) {
      signal.throwIfAborted()
      const at = join(into, file.path)
      if (file.target !== null) await symlink(file.target, at)
      else {
        await copyFile(file.source, at, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
        await chmod(at, ((await lstat(at)).mode & 0o111) === 0 ? 0o644 : 0o755)
      }
      done += file.bytes
      if (Date.now() - told > progressMs) {
        told = Date.now()
        progress(`${formatBytes(done)} of ${formatBytes(bytes)}`)
      }
    }
  }
  // all of them have ended before an error is told: none may write into a folder that is being removed
  const outcomes = await Promise.allSettled(Array.from({length: width}, () => work().catch((error: unknown) => {
    waiting.length = 0
    throw error
  })))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  return {files: files.length, bytes}
}

async function look(root: string, folder: string, folders: string[], files: Planned[], signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  for (const entry of await readdir(join(root, folder), {withFileTypes: true})) {
    if (folders.length + files.length > limits.entries) throw refused(root, `it has more than ${limits.entries} files`)
    const path = join(folder, entry.name)
    const source = join(root, path)
    if (entry.isDirectory()) {
      folders.push(path)
      await look(root, path, folders, files, signal)
    } else if (entry.isFile()) files.push({path, target: null, source, bytes: (await lstat(source)).size})
    else if (entry.isSymbolicLink()) {
      const planned = await follow(root, path)
      if (planned) files.push(planned)
    } else throw refused(root, `${path} is neither a file, a folder nor a link`)
  }
}

/** A link that stays inside stays a link, relative; one that leads to a file outside becomes that file; one that leads nowhere is left out. */
async function follow(root: string, path: string): Promise<Planned | undefined> {
  const source = join(root, path)
  const end = await realpath(source).catch(() => undefined)
  if (end === undefined) return undefined
  const target = resolve(dirname(source), await readlink(source))
  const within = (full: string): boolean => full === root || full.startsWith(root + sep)
  if (within(end)) return {path, target: relative(dirname(source), within(target) ? target : end) || '.', source, bytes: 0}
  const found = await stat(end)
  if (found.isFile()) return {path, target: null, source: end, bytes: found.size}
  throw refused(root, `its link ${path} leads to the folder ${end}, outside of it`)
}

const refused = (folder: string, because: string): DbaasError =>
  new DbaasError('NOT_SUPPORTED', `cannot install from ${folder}: ${because}`, {
    details: {folder}, suggestions: ['give the folder that holds the programs of one version and nothing else'],
  })

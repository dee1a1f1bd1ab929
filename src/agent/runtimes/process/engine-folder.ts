/**
 * One version of an engine in the store: a copy of its npm package, links made, with a label that says what should be
 * there. It is built under another name and renamed, so it is whole or absent.
 */
import {randomBytes} from 'node:crypto'
import {lstatSync, readFileSync, readdirSync} from 'node:fs'
import {chmod, constants, copyFile, link, lstat, readdir, readFile, rename, symlink, writeFile} from 'node:fs/promises'
import {dirname, join, relative, resolve, sep} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import type {KnownVersion} from '../../../engines/engine.js'
import {errnoOf} from './errors.js'
import {makeFolder, syncFolder} from './files.js'
import {removeTree} from './places.js'

export interface Label {
  readonly source: 'bundled' | 'npm' | 'archive'
  readonly binFolder: string
  /** `sha256:HEX` of the archive it was unpacked from. */
  readonly checksum?: string
  /** Where that archive was, without the query of a URL. */
  readonly from?: string
  readonly files: number
  readonly bytes: number
}

const labelName = '.dbaas.json'

/** Undefined when there is no finished version in the folder. */
export function readLabel(folder: string): Label | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, labelName), 'utf8')) as Label
  } catch {
    return undefined
  }
}

/**
 * Fills a new folder with `fill`, makes the links, and puts it at `folder`, whose parent exists. Idempotent: one that
 * is there, by us or by somebody faster, is kept.
 */
export async function build(
  folder: string, known: KnownVersion, source: Label['source'], fill: (draft: string) => Promise<void>,
): Promise<void> {
  const draft = join(dirname(folder), `.tmp-${randomBytes(8).toString('hex')}`)
  try {
    await makeFolder(draft, 0o755)
    await fill(draft)
    if (known.linksFile !== null) await makeLinks(draft, known.linksFile)
    await settle(draft, folder, {source, binFolder: known.binFolder})
  } catch (error) {
    await removeTree(draft)
    throw error
  }
}

/** Labels a filled draft and gives it its name. One that is there already is kept, and the draft removed. */
export async function settle(draft: string, folder: string, what: Omit<Label, 'files' | 'bytes'>): Promise<void> {
  const label: Label = {...what, ...measure(draft)}
  await writeFile(join(draft, labelName), JSON.stringify(label))
  await chmod(join(draft, labelName), 0o644)
  try {
    await rename(draft, folder)
  } catch (error) {
    const lostRace = ['EEXIST', 'ENOTEMPTY'].includes(errnoOf(error)) && readLabel(folder) !== undefined
    if (!lostRace) throw error
    await removeTree(draft)
  }
  await syncFolder(dirname(folder))
}

/**
 * Whether what the label promises is there. Data of a fresh copy is not synced (60 MB would cost a first command its
 * second), so a power cut may leave empty files: they are found here, and the version is made again.
 */
export function isWhole(folder: string): boolean {
  const label = readLabel(folder)
  if (!label) return false
  const {files, bytes} = measure(folder)
  return files === label.files && bytes === label.bytes
}

/** Synchronous: a thousand looks at cached directory entries take 5 ms, as promises 50. */
function measure(folder: string): {files: number; bytes: number} {
  let files = 0
  let bytes = 0
  for (const entry of readdirSync(folder, {withFileTypes: true})) {
    if (entry.name === labelName) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      const inside = measure(path)
      files += inside.files
      bytes += inside.bytes
    } else {
      files++
      if (entry.isFile()) bytes += lstatSync(path).size
    }
  }
  return {files, bytes}
}

/** Files at once: enough to keep a disk busy, few enough for any limit on descriptors. */
const width = 16

/**
 * Copies an installed package without its own node_modules, and without changing it: a hard link where the file system,
 * the kernel (`fs.protected_hardlinks`) and the file's mode allow it, else a reflink, else a copy.
 */
export async function copyPackage(from: string, to: string): Promise<void> {
  const files: {source: string; target: string}[] = []
  const walk = async (source: string, target: string): Promise<void> => {
    for (const entry of await readdir(source, {withFileTypes: true})) {
      const [inside, outside] = [join(source, entry.name), join(target, entry.name)]
      if (entry.isDirectory() && entry.name !== 'node_modules') {
        await makeFolder(outside, 0o755)
        await walk(inside, outside)
        // links are made from the package's list, whether its postinstall ran or not
      } else if (entry.isFile()) files.push({source: inside, target: outside})
    }
  }
  await walk(from, to)
  let mayLink = true
  const work = async (): Promise<void> => {
    for (let file = files.pop(); file; file = files.pop()) {
      const {mode} = await lstat(file.source)
      // everybody must be able to read (and run) it, and a link's mode cannot be changed without changing the original's
      const wanted = (mode & 0o111) === 0 ? 0o644 : 0o755
      if (mayLink && (mode & wanted) === wanted && (mode & 0o022) === 0) {
        const refused = await link(file.source, file.target).then(() => undefined, (error: unknown) => error)
        if (refused === undefined) continue
        if (!['EXDEV', 'EPERM', 'EACCES', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errnoOf(refused))) throw refused
        mayLink = false
      }
      await copyFile(file.source, file.target, constants.COPYFILE_FICLONE)
      await chmod(file.target, wanted)
    }
  }
  // all of them have ended before an error is told: none may write into a folder that is being removed
  const outcomes = await Promise.allSettled(Array.from({length: width}, () => work().catch((error: unknown) => {
    files.length = 0
    throw error
  })))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

/** `path` below `root`, or INTEGRITY_MISMATCH: a package has no business elsewhere. */
export function inside(root: string, path: string): string {
  const full = resolve(root, path)
  if (full === root || full.startsWith(root + sep)) return full
  throw new DbaasError('INTEGRITY_MISMATCH', `the package names a file outside of itself: ${path}`, {details: {path}})
}

/** npm packages hold no symbolic links; this one lists those that its libraries need. */
async function makeLinks(root: string, linksFile: string): Promise<void> {
  const list = JSON.parse(await readFile(inside(root, linksFile), 'utf8')) as readonly {source: string; target: string}[]
  for (const {source, target} of list) {
    const [from, at] = [inside(root, source), inside(root, target)]
    await symlink(relative(dirname(at), from), at).catch((error: unknown) => {
      if (errnoOf(error) !== 'EEXIST') throw error
    })
  }
}

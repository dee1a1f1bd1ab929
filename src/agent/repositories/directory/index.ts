/** A folder of this machine (or one mounted on it) as a repository. */
import {constants} from 'node:fs'
import {link, mkdir, open, rename, rmdir, stat, unlink} from 'node:fs/promises'
import {dirname, isAbsolute, join, resolve} from 'node:path'
import {DbaasError} from '../../../core/errors.js'
import {assertObjectName, lengthOf, missing, type Content, type ObjectFacts, type ObjectStore, type PutOptions, type Range} from '../repository.js'
import {readSettings, type Settings} from '../settings.js'
import {createDrafts} from './drafts.js'
import {fileSystemError, notMounted} from './errors.js'
import {createFolders} from './folders.js'
import {walk} from './walk.js'

/**
 * An object is a file of mode 0600, its name the path below `root`. It is written as a draft, synced, and then gets
 * its name: by link(), which fails when the name is taken, or by rename(). So a file is whole as soon as it is seen, and
 * the folders are synced by `barrier`, many at once. `root` is made by `prepare` alone: where a disk is not mounted,
 * nothing is written below its mount point, and what is not there is not said to be gone.
 */
export function openDirectory(path: string): ObjectStore {
  // As one name, whatever way it was written.
  const root = resolve(path)
  const folders = createFolders(root)
  const drafts = createDrafts(root, folders)
  const pathOf = (name: string) => {
    assertObjectName(name)
    return join(root, name)
  }
  let identity: string | undefined

  /** Throws unless the folder is the one that it was: a mount point is there without its disk, too, and empty. */
  async function assertMounted(): Promise<void> {
    const {dev, ino} = await stat(root)
    const now = `${dev}/${ino}`
    identity ??= now
    if (identity === now) return
    // Mounted again, maybe. `prepare` has left its mark in it.
    if ((await stat(join(root, '.drafts')).catch(() => undefined)) === undefined) throw notMounted(root)
    identity = now
  }

  /** What `work` finds, or undefined when it is not there though the repository is. */
  async function ifThere<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      await assertMounted()
      return await work()
    } catch (error) {
      // And still is: it may have gone between the two.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && (await assertMounted().then(() => true, () => false))) return undefined
      throw fileSystemError(error, root)
    }
  }

  /** `give` names the draft. The folder may go at this moment, emptied by a delete elsewhere: then it is made again. */
  async function write(name: string, content: Content, give: (from: string, to: string) => Promise<boolean>, options: PutOptions = {}): Promise<boolean> {
    try {
      await assertMounted()
      // A repository that is full to the last byte could not even be told that something is to be removed.
      if (!options.urgent && !(await drafts.isReserved())) throw Object.assign(new Error('what is left is kept for what is urgent'), {code: 'ENOSPC'})
      return await writeOnce(name, content, give).catch(async (error: unknown) => {
        if (!options.urgent || (error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        await drafts.release(lengthOf(content))
        return writeOnce(name, content, give)
      })
    } catch (error) {
      throw fileSystemError(error, root)
    }
  }

  async function writeOnce(name: string, content: Content, give: (from: string, to: string) => Promise<boolean>): Promise<boolean> {
    const path = pathOf(name)
    const from = await drafts.write(content)
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          await folders.ensure(dirname(path))
          return await give(from, path)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === 5) throw error
        } finally {
          folders.changed(dirname(path))
        }
      }
    } finally {
      await unlink(from).catch(() => undefined)
    }
  }

  const renameOver = async (from: string, to: string) => {
    await rename(from, to)
    return true
  }
  const linkIfAbsent = async (from: string, to: string) => {
    try {
      await link(from, to)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
      throw error
    }
  }

  async function factsOf(name: string): Promise<ObjectFacts | undefined> {
    const facts = await stat(pathOf(name))
    return facts.isFile() ? {name, size: facts.size, modifiedAt: facts.mtimeMs} : undefined
  }

  return {
    kind: 'directory',
    where: root,

    async prepare() {
      try {
        await mkdir(root, {recursive: true, mode: 0o700})
        identity = undefined
        await assertMounted()
        const probe = await drafts.write([])
        try {
          // Some file systems (exFAT, some FUSE) have no hard links, and nothing else that is atomic and says "taken".
          await link(probe, `${probe}-link`)
          await unlink(`${probe}-link`)
        } catch (cause) {
          throw new DbaasError('REPOSITORY_REFUSED', `the file system of ${root} has no hard links, which a repository needs`, {
            cause, details: {repository: root}, suggestions: ['use a folder on a local file system, or an S3 bucket'],
          })
        } finally {
          await unlink(probe)
        }
        await drafts.tidy(Number.POSITIVE_INFINITY)
        await drafts.reserve()
      } catch (error) {
        throw fileSystemError(error, root)
      }
    },

    async put(name, content, options) {
      await write(name, content, renameOver, options)
    },

    putIfAbsent: (name, content, options) => write(name, content, linkIfAbsent, options),

    async barrier() {
      await folders.sync().catch((error: unknown) => {
        throw fileSystemError(error, root)
      })
    },

    async get(name, range) {
      const path = pathOf(name)
      const bytes = await ifThere(() => read(path, range))
      if (bytes === undefined) throw missing(root, name)
      return bytes
    },
    async stat(name) {
      assertObjectName(name)
      return ifThere(() => factsOf(name))
    },

    async list(prefix, {after, limit = 1000} = {}) {
      const objects: ObjectFacts[] = []
      try {
        await assertMounted()
        for await (const name of walk(root, prefix, after)) {
          const facts = await factsOf(name).catch((error: NodeJS.ErrnoException) => {
            if (error.code !== 'ENOENT') throw error
          })
          if (facts === undefined) continue
          if (objects.length === limit) return {objects, more: true}
          objects.push(facts)
        }
        await assertMounted()
      } catch (error) {
        throw fileSystemError(error, root)
      }
      return {objects, more: false}
    },

    async delete(name, options = {}) {
      const path = pathOf(name)
      await ifThere(async () => {
        if (options.erase) await overwrite(path)
        await unlink(path)
        folders.changed(dirname(path))
        // Empty folders go, too: names of dead things tell how much there was.
        for (let folder = dirname(path); folder !== root; folder = dirname(folder)) {
          const removed = await rmdir(folder).then(() => true, (error: NodeJS.ErrnoException) => {
            if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
            return false
          })
          if (!removed) return
          folders.changed(dirname(folder))
        }
      })
    },

    async tidy(olderThanMs) {
      const removed = await drafts.tidy(olderThanMs)
      await drafts.reserve()
      return removed
    },
  }
}

/** `path`: an absolute path. Throws INVALID_REQUEST. */
export function openConfiguredDirectory(settings: Settings): ObjectStore {
  const read = readSettings('directory', settings)
  const path = read.text('path')
  read.done()
  if (!isAbsolute(path)) {
    throw new DbaasError('INVALID_REQUEST', `the path "${path}" of a repository is not absolute`, {details: {setting: 'path'}, suggestions: [`/var/backups/${path.replace(/^[./]+/, '')}`]})
  }
  return openDirectory(path)
}

async function read(path: string, range?: Range): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const {size} = await file.stat()
    const from = range === undefined ? 0 : 'last' in range ? Math.max(0, size - range.last) : Math.min(range.offset, size)
    const to = range === undefined || 'last' in range ? size : Math.min(size, range.offset + range.length)
    const bytes = Buffer.allocUnsafeSlow(to - from)
    for (let at = 0; at < bytes.length; ) {
      const {bytesRead} = await file.read(bytes, at, bytes.length - at, from + at)
      if (bytesRead === 0) return bytes.subarray(0, at)
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}

async function overwrite(path: string): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW)
  try {
    await file.write(Buffer.alloc((await file.stat()).size), 0, undefined, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

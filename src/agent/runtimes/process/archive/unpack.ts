/**
 * Unpacks a tarball that somebody named into an empty folder of ours, safely: nothing outside of it, no devices, no
 * set-user-id bits, bounded in number and size. Symbolic links are made last, so that no file is written through one.
 */
import {spawn} from 'node:child_process'
import {createHash} from 'node:crypto'
import {createReadStream, createWriteStream} from 'node:fs'
import {chmod, link, lstat, mkdir, realpath, stat, symlink, unlink} from 'node:fs/promises'
import {dirname, isAbsolute, relative, resolve, sep} from 'node:path'
import {Duplex, Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {createGunzip} from 'node:zlib'
import tar from 'tar-stream'
import {DbaasError} from '../../../../core/errors.js'
import {formatBytes} from '../../../../core/units.js'
import {inside} from '../engine-folder.js'
import {errnoOf} from '../errors.js'
import type {ServiceUser} from '../service-user.js'
import type {Format} from './format.js'

export interface UnpackOptions {
  readonly archive: string
  readonly format: Format
  /** The command that decompresses it, where Node does not. */
  readonly decompress: readonly string[] | undefined
  readonly into: string
  readonly keep: (path: string) => boolean
  /** Throws when that many more bytes have no place. */
  makeRoom(bytes: number): Promise<void>
  /** Decompressing programs read what is not ours: they run as the servers do. */
  readonly user: ServiceUser
  readonly progress: (because: string) => void
  readonly signal: AbortSignal
}

export interface Unpacked {
  /** Of the archive as it was read now. */
  readonly sha256: string
  readonly files: number
  readonly bytes: number
  readonly leftOut: {readonly files: number; readonly bytes: number}
}

const limits = {entries: 200_000, bytes: 24 * 1024 ** 3, path: 1000}
const progressMs = 400

const damaged = (because: string, cause?: unknown): DbaasError =>
  new DbaasError('INTEGRITY_MISMATCH', `the archive is damaged: ${because}`, {cause, suggestions: ['download it again', 'compare its checksum: sha256sum FILE']})

const evil = (because: string): DbaasError => new DbaasError('INTEGRITY_MISMATCH', `the archive is not unpacked: ${because}`)

/** Throws INTEGRITY_MISMATCH, what `makeRoom` throws, and the signal's reason. */
export async function unpackArchive(options: UnpackOptions): Promise<Unpacked> {
  const {archive, into, keep, signal, progress} = options
  const {size} = await stat(archive)
  const hash = createHash('sha256')
  let read = 0
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      hash.update(chunk)
      read += chunk.length
      callback(null, chunk)
    },
  })
  const made = new Set<string>([into])
  const written = new Map<string, number>()
  const links: {at: string; target: string; name: string}[] = []
  const leftOut = {files: 0, bytes: 0}
  let [entries, bytes, told] = [0, 0, 0]
  const left = (amount: number): void => {
    leftOut.files++
    leftOut.bytes += amount
  }

  const extract = tar.extract()
  const end = lastBlock()
  const source = createReadStream(archive, {highWaterMark: 1024 ** 2})
  const reading = pipeline(source, hashing, ...decompression(options), end.stream, extract, {signal})
  reading.catch(() => undefined)
  try {
    for await (const entry of extract) {
      const {name, type, linkname} = entry.header
      if (++entries > limits.entries) throw evil(`it has more than ${limits.entries} entries`)
      if (name.length > limits.path || name.includes('\0')) throw evil(`it has a path of ${name.length} characters`)
      const path = inside(into, name.replace(/\/+$/, '') || '.')
      const amount = entry.header.size ?? 0
      if (Date.now() - told > progressMs) {
        told = Date.now()
        progress(`${Math.floor((100 * read) / Math.max(1, size))} %, ${formatBytes(bytes)}`)
      }
      if (type === 'file' || type === 'contiguous-file') {
        if (!keep(name)) {
          left(amount)
          entry.resume()
          continue
        }
        bytes += amount
        if (bytes > limits.bytes) throw evil(`it unpacks to more than ${formatBytes(limits.bytes)}`)
        await options.makeRoom(amount)
        await makeFolders(dirname(path), into, made)
        if (written.has(path) || made.has(path)) throw evil(`it names ${name} twice`)
        await pipeline(entry, createWriteStream(path, {flags: 'wx', mode: 0o600}), {signal})
        // set-user-id, owners and everybody's write permission do not come along
        await chmod(path, ((entry.header.mode ?? 0) & 0o111) === 0 ? 0o644 : 0o755)
        written.set(path, amount)
        continue
      }
      entry.resume()
      if (type === 'directory') continue
      if (type === 'symlink') {
        const target = linkname ?? ''
        if (isAbsolute(target) || !isWithin(into, resolve(dirname(path), target))) throw evil(`its link ${name} leads to ${target}`)
        if (keep(name)) links.push({at: path, target, name})
        else left(0)
      } else if (type === 'link') {
        const target = inside(into, linkname ?? '')
        if (!keep(name)) left(0)
        else if (written.has(target)) {
          await makeFolders(dirname(path), into, made)
          await link(target, path)
          written.set(path, 0)
        } else if (keep(linkname ?? '')) throw evil(`its link ${name} leads to ${linkname}, which is not in it`)
        else left(0)
      } else throw evil(`${name} is neither a file, a folder nor a link (${type ?? 'of an unknown kind'})`)
    }
    await reading
  } catch (error) {
    source.destroy()
    await reading.catch(() => undefined)
    throw whatBroke(error, signal)
  }
  if (!end.isEmpty()) throw damaged('it ends too early')
  await makeLinks(into, links, made)
  return {sha256: hash.digest('hex'), files: written.size, bytes, leftOut}
}

const isWithin = (root: string, path: string): boolean => path === root || path.startsWith(root + sep)

function whatBroke(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof DbaasError) return error
  const {errno, syscall, code, message} = error as NodeJS.ErrnoException
  // of zlib, of tar, of a program: about the archive; of the system: about the disk
  if (typeof errno === 'number' && typeof syscall === 'string') return error
  return damaged(code === 'Z_BUF_ERROR' ? 'it ends too early' : message, error)
}

/** Kept relative; what leads out of the folder, by whatever way, is refused; what leads nowhere is left out. */
async function makeLinks(root: string, links: readonly {at: string; target: string; name: string}[], made: Set<string>): Promise<void> {
  for (const {at, target, name} of links) {
    await makeFolders(dirname(at), root, made)
    await symlink(target, at).catch((error: unknown) => {
      throw errnoOf(error) === 'EEXIST' ? evil(`it names ${name} twice`) : error
    })
  }
  // only now is it known where a link through a link ends
  const real = await realpath(root)
  for (const {at, target, name} of links) {
    const end = await realpath(at).catch(() => undefined)
    if (end === undefined) await unlink(at)
    else if (!isWithin(real, end)) throw evil(`its link ${name} leads to ${target}`)
  }
}

async function makeFolders(folder: string, root: string, made: Set<string>): Promise<void> {
  if (made.has(folder)) return
  await makeFolders(dirname(folder), root, made)
  await mkdir(folder).catch(async (error: unknown) => {
    const found = errnoOf(error) === 'EEXIST' ? await lstat(folder) : undefined
    if (found?.isDirectory()) return
    throw found ? evil(`it names ${relative(root, folder)} as a file and as a folder`) : error
  })
  await chmod(folder, 0o755)
  made.add(folder)
}

/** A tar ends in empty blocks: one without was cut off between two files. */
function lastBlock(): {stream: Transform; isEmpty(): boolean} {
  let last: Buffer = Buffer.alloc(0)
  return {
    stream: new Transform({
      transform(chunk: Buffer, _encoding, callback) {
        last = (chunk.length >= 512 ? chunk : Buffer.concat([last, chunk])).subarray(-512)
        callback(null, chunk)
      },
    }),
    isEmpty: () => last.length === 512 && last.every((byte) => byte === 0),
  }
}

function decompression({format, decompress, user}: UnpackOptions): Duplex[] {
  if (decompress) return [through(decompress, user)]
  return format === 'gzip' ? [createGunzip()] : []
}

/** A program as a stream; what it says on its standard error is the message of its failure. */
function through([program, ...args]: readonly string[], user: ServiceUser): Duplex {
  const child = spawn(program as string, args, {
    cwd: '/', env: {LANG: 'C', PATH: '/usr/bin:/bin'}, stdio: ['pipe', 'pipe', 'pipe'], ...(user.separate ? {uid: user.uid, gid: user.gid} : {}),
  })
  const {stdin, stdout, stderr} = child
  const stream = new Duplex({
    // it may end before it has read everything; why, its code and words tell
    write: (chunk: Buffer, _encoding, callback) => void stdin.write(chunk, () => callback()),
    final: (callback) => void stdin.end(() => callback()),
    read: () => void stdout.resume(),
    destroy(error, callback) {
      child.kill('SIGKILL')
      callback(error)
    },
  })
  let said = ''
  stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-500)))
  stdin.on('error', () => undefined)
  stdout.on('data', (chunk: Buffer) => void (stream.push(chunk) || stdout.pause()))
  child.once('error', (error) => stream.destroy(error))
  child.once('close', (code) => {
    if (code === 0) stream.push(null)
    else stream.destroy(new Error(said.trim().split('\n')[0]?.replace(/^\S+: \(?stdin\)?: /, '') || `${program} ended with ${code}`))
  })
  return stream
}

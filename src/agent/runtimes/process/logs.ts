/** The server's log: one file that the server appends to. Lines are split at the byte, so no character is cut. */
import {closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync} from 'node:fs'
import {open, stat, type FileHandle} from 'node:fs/promises'
import {setTimeout as sleep} from 'node:timers/promises'
import type {LogOptions} from '../runtime.js'
import {errnoOf} from './errors.js'

export const trimAboveBytes = 64 * 1024 ** 2
export const trimToBytes = 16 * 1024 ** 2

const blockBytes = 64 * 1024
const followMs = 100
const newline = 0x0a

/** Readers that follow, by file: a trim moves what they have read already, and must tell them by how much. */
const followers = new Map<string, Set<{position: number}>>()

/**
 * Whole lines without their ends, oldest first; the last `lines` of what is there, or all. A line without an end is
 * given where nothing follows. With `follow`, goes on until the signal, or until `exists` says that the place is gone.
 */
export async function* readLog(path: string, options: LogOptions, exists: () => Promise<boolean>): AsyncGenerator<string> {
  const {signal, follow} = options
  let file = await openLog(path)
  const reader = {position: 0}
  let inode = 0
  if (file) {
    inode = (await file.stat()).ino
    reader.position = options.lines === undefined ? 0 : await startOfTail(file, options.lines)
  }
  const siblings = followers.get(path) ?? new Set()
  followers.set(path, siblings.add(reader))
  let rest = Buffer.alloc(0)
  const buffer = Buffer.alloc(blockBytes)
  try {
    while (!signal.aborted) {
      if (file && reader.position > (await file.stat()).size) {
        // truncated by somebody else: what is there now is new
        reader.position = 0
        rest = Buffer.alloc(0)
      }
      const from = reader.position
      const bytesRead = file ? (await file.read(buffer, 0, blockBytes, from)).bytesRead : 0
      // moved while we read: what was read is from before or after, so it is read again
      if (reader.position !== from) continue
      if (bytesRead > 0) {
        reader.position += bytesRead
        const lines = splitLines(rest, buffer.subarray(0, bytesRead))
        rest = lines.rest
        for (const line of lines.whole) {
          if (signal.aborted) return
          yield line
        }
        continue
      }
      if (!follow) break
      await sleep(followMs, undefined, {signal}).catch(() => undefined)
      if (signal.aborted) return
      const now = await stat(path).catch(() => undefined)
      if (now && (!file || now.ino !== inode)) {
        await file?.close()
        file = await openLog(path)
        inode = now.ino
        reader.position = 0
        rest = Buffer.alloc(0)
      } else if (!now && !(await exists())) return
    }
    if (!follow && rest.length > 0 && !signal.aborted) yield text(rest)
  } finally {
    siblings.delete(reader)
    if (siblings.size === 0) followers.delete(path)
    await file?.close()
  }
}

async function openLog(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

const text = (line: Buffer): string => line.toString('utf8').replace(/\r$/, '')

/** `rest` is what has no end yet. */
export function splitLines(before: Buffer, chunk: Buffer): {whole: string[]; rest: Buffer<ArrayBuffer>} {
  const whole: string[] = []
  let start = 0
  let all: Buffer = before
  for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
    whole.push(text(Buffer.concat([all, chunk.subarray(start, end)])))
    all = Buffer.alloc(0)
    start = end + 1
  }
  return {whole, rest: Buffer.concat([all, chunk.subarray(start)])}
}

/** Where the last `count` lines begin, found from the end of the file in blocks. */
async function startOfTail(file: FileHandle, count: number): Promise<number> {
  const {size} = await file.stat()
  if (count <= 0) return size
  const block = Buffer.alloc(blockBytes)
  let found = 0
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - blockBytes)
    const {bytesRead} = await file.read(block, 0, end - start, start)
    for (let i = bytesRead - 1; i >= 0; i--) {
      // the newline at the very end ends the last line, and begins none
      if (block[i] === newline && start + i !== size - 1 && ++found === count) return start + i + 1
    }
    end = start
  }
  return 0
}

/**
 * Keeps the last 16 MiB of a log beyond 64 MiB, in the same file, since the server holds it open (and appends, so its
 * next line goes to the new end). Synchronous from the last read to the truncation: what the server writes in
 * those microseconds is lost, as with any copytruncate.
 */
export function trimLog(path: string, above = trimAboveBytes, to = trimToBytes): void {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  try {
    const {size} = fstatSync(fd)
    if (size <= above) return
    const tail = readRange(fd, size - to, to)
    const cut = tail.indexOf(newline) + 1
    const meanwhile = fstatSync(fd).size
    const kept = Buffer.concat([tail.subarray(cut), readRange(fd, size, meanwhile - size)])
    ftruncateSync(fd, 0)
    writeAll(fd, kept)
    const removed = meanwhile - kept.length
    for (const reader of followers.get(path) ?? []) reader.position = Math.max(0, reader.position - removed)
  } finally {
    closeSync(fd)
  }
}

function readRange(fd: number, start: number, length: number): Buffer {
  const buffer = Buffer.alloc(Math.max(0, length))
  let done = 0
  while (done < buffer.length) {
    const n = readSync(fd, buffer, done, buffer.length - done, start + done)
    if (n === 0) break
    done += n
  }
  return buffer.subarray(0, done)
}

function writeAll(fd: number, buffer: Buffer): void {
  for (let done = 0; done < buffer.length;) done += writeSync(fd, buffer, done)
}

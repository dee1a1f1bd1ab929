/** The data folder of a container as a compressed archive in a file, and back. Docker keeps owners and modes as they are. */
import {createReadStream, createWriteStream} from 'node:fs'
import {PassThrough, Transform, type Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {createGzip} from 'node:zlib'
import {DbaasError} from '../../../core/errors.js'
import type {ImagePin} from '../../../core/instance/instance.js'
import type {Client} from './client.js'
import {runProgram} from './exec.js'
import {paths, root} from './recipe.js'

/** A slow disk, and a large directory. */
const longMs = 600_000
/** What comes as fast as another server sends it. */
const streamSeconds = 24 * 3600
const blockBytes = 512

/** The programs that it needs are not in the image. */
const absent = 44
const unpack = `{ command -v tar && command -v gzip; } >/dev/null || exit ${absent}; exec tar -xzpf - -C "$1"`

/**
 * Compressed least: most of a new data directory is zeros, so that this takes a tenth of the disk, and is not
 * slower to unpack (by the engine: MySQL 9.7, 196 MB in 166 files, 0.64 s instead of 0.84 s; PostgreSQL 18, 41 MB in 970, the same).
 */
const compression = {level: 1} as const

/** Writes it to a new file, on disk when it returns. Throws RUNTIME_UNAVAILABLE when what the engine sends is not whole. */
export async function saveData(client: Client, container: string, file: string): Promise<void> {
  const archive = await client.call('read the data folder of a container', (docker, abortSignal) =>
    docker.getContainer(container).getArchive({path: paths.data, abortSignal} as {path: string})) as Readable
  // 'flush': synced before it is closed
  await pipeline(archive, wholeOnly(), createGzip(compression), createWriteStream(file, {flags: 'wx', mode: 0o600, flush: true}))
}

/**
 * Into the data folder of a container, whose server does not run. Throws for an archive that is not whole. By the image's
 * own `tar`, where it has one: half the time that the engine takes for many files (PostgreSQL 18, 970: 0.46 s instead of 0.91 s).
 */
export async function unpackData(client: Client, container: string, image: ImagePin, file: string): Promise<void> {
  const archive = (): Readable => createReadStream(file, {highWaterMark: 1024 ** 2})
  const unpacked = await runProgram(client, container, image, ['/bin/sh', '-c', unpack, 'sh', root], {timeoutSeconds: longMs / 1000}, archive)
  if (unpacked.code === absent) {
    await client.call('unpack a prepared data directory', (docker, abortSignal) =>
      docker.getContainer(container).putArchive(archive(), {path: root, abortSignal} as {path: string}), {ms: longMs})
  } else if (unpacked.code !== 0) throw new DbaasError('RUNTIME_UNAVAILABLE', `cannot unpack a prepared data directory: ${unpacked.stderr.trim()}`)
}

/** The same bytes, and the same error whenever somebody looks: what it comes from may fail before the program that reads it is there. */
export function held(archive: Readable): Readable {
  const input = new PassThrough()
  pipeline(archive, input).catch(() => undefined)
  return input
}

/** Into the data folder of a container, whose server does not run, as it comes. Throws what `input` fails with, and NOT_SUPPORTED. */
export async function unpackStream(client: Client, container: string, image: ImagePin, input: Readable, signal: AbortSignal): Promise<void> {
  const script = `command -v tar >/dev/null || exit ${absent}; exec tar -xpf - -C "$1"`
  const unpacked = await runProgram(client, container, image, ['/bin/sh', '-c', script, 'sh', paths.data], {timeoutSeconds: streamSeconds, signal}, () => input)
  if (unpacked.code === 0) return
  const words = unpacked.stderr.trim().split('\n').at(-1) ?? ''
  if (unpacked.code === absent) throw new DbaasError('NOT_SUPPORTED', `the image ${image.reference} has no tar, so nothing can be copied into its volume`, {suggestions: ['take the official image']})
  if (/no space left on device|disk quota exceeded/i.test(words)) throw new DbaasError('DISK_FULL', 'there is no room for a copy of the data', {details: {words}, suggestions: ['docker system df', 'dbaas doctor']})
  throw new DbaasError('RUNTIME_UNAVAILABLE', `cannot unpack a copy of the data: ${words || `tar ended with code ${unpacked.code}`}`, {suggestions: ['docker ps', 'dbaas doctor']})
}

/** An engine that fails on the way says so in the archive itself, and ends it as if nothing was. A whole one ends with two blocks of zeros. */
export function wholeOnly(): Transform {
  let size = 0
  let tail = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      tail = Buffer.concat([tail, chunk.subarray(-2 * blockBytes)]).subarray(-2 * blockBytes)
      done(null, chunk)
    },
    flush(done) {
      const whole = size % blockBytes === 0 && tail.length === 2 * blockBytes && tail.every((byte) => byte === 0)
      done(whole ? null : new DbaasError('RUNTIME_UNAVAILABLE', 'Docker did not send the whole of a data directory', {suggestions: ['docker info']}))
    },
  })
}

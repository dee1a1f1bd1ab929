/** The checksum that a download must have: found in the files that are published beside it. */
import {createHash} from 'node:crypto'
import {createReadStream} from 'node:fs'
import {stat} from 'node:fs/promises'
import {Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {checksumOfHex, type Checksum, type ChecksumAlgorithm} from '../../../../core/checksum.js'
import {DbaasError} from '../../../../core/errors.js'
import {formatBytes} from '../../../../core/units.js'
import {broken, statusError, type Http} from './http.js'
import {shownUrl} from './source.js'

export interface FoundChecksum {
  readonly checksum: Checksum
  /** The file that lists it. */
  readonly where: string
}

/** A list of a whole release has some hundred lines. */
const listLimitBytes = 1024 ** 2

/**
 * Looks beside the URL (`FILE.sha256`, `FILE.sha512`, `sha256sums.txt`, `SHA256SUMS`), and beside where it is redirected
 * to. Throws DOWNLOAD_FAILED when it cannot be known whether there is one.
 */
export async function findChecksum(http: Http, url: URL, signal: AbortSignal): Promise<FoundChecksum | undefined> {
  const tried = new Set<string>()
  const beside = async (file: URL): Promise<FoundChecksum | undefined> => {
    const name = decodeURIComponent(file.pathname.slice(file.pathname.lastIndexOf('/') + 1))
    for (const candidate of [`${file.pathname}.sha256`, `${file.pathname}.sha512`, ...['sha256sums.txt', 'SHA256SUMS'].map((list) => new URL(list, file).pathname)]) {
      const list = new URL(file)
      list.pathname = candidate
      if (tried.has(list.href)) continue
      tried.add(list.href)
      const text = await readSmall(http, list, signal)
      const checksum = text === undefined ? undefined : checksumIn(text, name, /\.sha(256|512)$/.test(candidate))
      if (checksum) return {checksum, where: shownUrl(list)}
    }
    return undefined
  }
  const found = await beside(url)
  if (found) return found
  const answer = await http.get(url, {range: 'bytes=0-0'}, signal)
  answer.body.destroy()
  const refused = answer.status === 416 ? undefined : statusError(answer.url, answer.status)
  if (refused) throw refused
  return answer.url.href === url.href ? undefined : beside(answer.url)
}

/** Undefined where there is none: many servers answer a page instead of 404, in which nothing is found either. */
async function readSmall(http: Http, url: URL, signal: AbortSignal): Promise<string | undefined> {
  const answer = await http.get(url, {}, signal).catch((error: unknown) => {
    // what cannot be followed is not there
    if (error instanceof DbaasError && error.code === 'NOT_SUPPORTED') return undefined
    throw error
  })
  if (!answer) return undefined
  try {
    const refused = statusError(answer.url, answer.status)
    if (refused?.row.retry === 'permanent') return undefined
    if (refused) throw refused
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of answer.body) {
      chunks.push(chunk as Buffer)
      size += (chunk as Buffer).length
      if (size > listLimitBytes) return undefined
    }
    return Buffer.concat(chunks).toString('utf8')
  } catch (error) {
    throw broken(url, error, signal)
  } finally {
    answer.body.destroy()
  }
}

/**
 * The checksum of `name` in a list as `sha256sum` writes it (`HEX  NAME`, `HEX *NAME`) or BSD's (`SHA256 (NAME) = HEX`).
 * `own`: the list is of that file alone, and may be nothing but the digits.
 */
export function checksumIn(list: string, name: string, own: boolean): Checksum | undefined {
  for (const line of list.split(/\r?\n/)) {
    const [, bsdName, bsdHex] = /^SHA(?:256|512) ?\((.+)\) ?= ?([0-9a-f]+)$/i.exec(line.trim()) ?? []
    const [, hex, file] = /^([0-9a-f]{64}|[0-9a-f]{128})(?: [ *](.+))?$/i.exec(line.trim()) ?? []
    const listed = (bsdName ?? file)?.replace(/^.*\//, '')
    const checksum = checksumOfHex(bsdHex ?? hex ?? '')
    if (checksum && (listed === name || (own && listed === undefined))) return checksum
  }
  return undefined
}

/** Reads the file once. `progress` says how far it is. */
export async function hashFile(
  file: string, algorithms: readonly ChecksumAlgorithm[], progress: (because: string) => void, signal: AbortSignal,
): Promise<Map<ChecksumAlgorithm, string>> {
  const {size} = await stat(file)
  const hashes = new Map(algorithms.map((algorithm) => [algorithm, createHash(algorithm)]))
  let read = 0
  let told = 0
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      for (const hash of hashes.values()) hash.update(chunk)
      read += chunk.length
      if (Date.now() - told > 400) {
        told = Date.now()
        progress(`${formatBytes(size)}, ${Math.floor((100 * read) / Math.max(1, size))} %`)
      }
      callback()
    },
  })
  await pipeline(createReadStream(file, {highWaterMark: 1024 ** 2}), hashing, {signal})
  return new Map([...hashes].map(([algorithm, hash]) => [algorithm, hash.digest('hex')]))
}

/** A download that survives: what has come is kept in a file, and every attempt goes on where the last one broke. */
import {createWriteStream} from 'node:fs'
import {stat, truncate} from 'node:fs/promises'
import {setTimeout as sleep} from 'node:timers/promises'
import {Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {backoffMs} from '../../../../core/workflow/backoff.js'
import {DbaasError} from '../../../../core/errors.js'
import {formatBytes} from '../../../../core/units.js'
import {errnoOf} from '../errors.js'
import {broken, statusError, type Http, type HttpAnswer} from './http.js'
import {shownUrl} from './source.js'

/** What is known of the file on the server, kept beside what has come of it. */
export interface Remote {
  /** A strong ETag, else the time of the last change: what `If-Range` compares. Null where the server tells neither. */
  readonly validator: string | null
  readonly totalBytes: number | null
}

export interface FetchOptions {
  readonly http: Http
  readonly url: URL
  /** What has come; longer with every attempt. */
  readonly file: string
  readonly remote: Remote | null
  /** Kept before the first byte of that file is. */
  keep(remote: Remote): Promise<void>
  /** Throws when that many more bytes have no place. */
  makeRoom(bytes: number): Promise<void>
  readonly progress: (because: string) => void
  readonly signal: AbortSignal
  /** For tests: how long between two attempts that got nowhere. */
  readonly pauseMs?: (attempt: number) => number
}

/** In a row, without a byte more than ever before. */
const maxFailures = 6
const limitBytes = 16 * 1024 ** 3
const progressMs = 400

/** Ends when the file is whole as far as its length tells. Throws DOWNLOAD_FAILED, FILE_NOT_FOUND, DISK_FULL, the signal's reason. */
export async function fetchFile(options: FetchOptions): Promise<void> {
  const {file, url, signal, progress} = options
  const pauseMs = options.pauseMs ?? ((attempt) => backoffMs(attempt, Math.random(), 500, 15_000))
  let remote = options.remote
  let furthest = await sizeOf(file)
  for (let failures = 0; ; ) {
    try {
      return await attempt(options, remote, (kept) => (remote = kept))
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof DbaasError) || error.row.retry === 'permanent') throw error
      const size = await sizeOf(file)
      failures = size > furthest ? 1 : failures + 1
      furthest = Math.max(furthest, size)
      if (failures >= maxFailures) throw stuck(url, size, error)
      const wait = pauseMs(failures)
      progress(`${error.details.because ?? error.message}, at ${formatBytes(size)}; goes on in ${Math.ceil(wait / 1000)} s`)
      await sleep(wait, undefined, {signal}).catch(() => signal.throwIfAborted())
    }
  }
}

const stuck = (url: URL, size: number, cause: DbaasError): DbaasError =>
  new DbaasError('DOWNLOAD_FAILED', size === 0 ? cause.message : `${cause.message}; ${formatBytes(size)} of ${shownUrl(url)} are kept`, {
    cause, details: {...cause.details, kept_bytes: String(size)}, suggestions: cause.suggestions,
  })

async function attempt(options: FetchOptions, remote: Remote | null, kept: (remote: Remote) => void): Promise<void> {
  const {http, url, file, signal} = options
  let have = await sizeOf(file)
  if (remote?.totalBytes != null && have === remote.totalBytes) return
  // without a validator nobody knows whether the rest belongs to what is here
  const resumes = have > 0 && remote?.validator != null && (remote.totalBytes === null || have < remote.totalBytes)
  if (!resumes && have > 0) have = await startAnew(file)
  const answer = await http.get(url, resumes ? {range: `bytes=${have}-`, 'if-range': remote.validator as string} : {}, signal)
  try {
    if (resumes && answer.status === 416) {
      await startAnew(file)
      throw new DbaasError('DOWNLOAD_FAILED', `${shownUrl(url)} is another file than before`, {details: {because: 'it is another file than before'}})
    }
    const refused = statusError(answer.url, answer.status)
    if (refused) throw refused
    const range = resumes && answer.status === 206 ? rangeOf(answer) : undefined
    if (answer.status === 206 && (range?.start !== have || (remote?.totalBytes != null && range.total !== null && range.total !== remote.totalBytes))) {
      await startAnew(file)
      throw new DbaasError('DOWNLOAD_FAILED', `${shownUrl(url)} did not go on where it broke`, {details: {because: 'the server sent another part than was asked for'}})
    }
    if (range === undefined && have > 0) have = await startAnew(file)
    const now = range ? {validator: remote?.validator ?? null, totalBytes: range.total ?? remote?.totalBytes ?? null} : remoteOf(answer)
    if ((now.totalBytes ?? 0) > limitBytes) throw tooLarge(url)
    await options.makeRoom((now.totalBytes ?? have) - have)
    await options.keep(now)
    kept(now)
    await receive(options, answer, have, now.totalBytes)
    const size = await sizeOf(file)
    if (now.totalBytes === null || size === now.totalBytes) return options.keep({...now, totalBytes: size})
    if (size > now.totalBytes) await startAnew(file)
    throw new DbaasError('DOWNLOAD_FAILED', `${shownUrl(url)} ended after ${formatBytes(size)} of ${formatBytes(now.totalBytes)}`, {details: {because: 'the connection broke'}})
  } finally {
    answer.body.destroy()
  }
}

async function receive({file, url, progress, signal}: FetchOptions, answer: HttpAnswer, have: number, total: number | null): Promise<void> {
  const meter = createMeter(progress, have, total)
  let size = have
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      size += chunk.length
      meter(size)
      callback(size > limitBytes ? tooLarge(url) : null, chunk)
    },
  })
  try {
    await pipeline(answer.body, counted, createWriteStream(file, {flags: 'a', mode: 0o600}), {signal})
  } catch (error) {
    // of the disk, not of the connection
    const {errno, syscall} = error as {errno?: unknown; syscall?: unknown}
    if (typeof errno === 'number' && syscall !== 'read' && syscall !== 'connect' && errnoOf(error) !== 'ECONNRESET') throw error
    throw broken(url, error, signal)
  }
}

/** `34.2 MiB of 73.1 MiB, 47 %, 11.3 MiB/s`; the rate is that of the last seconds. */
function createMeter(progress: (because: string) => void, have: number, total: number | null): (size: number) => void {
  let marks = [{at: Date.now(), size: have}]
  let told = 0
  return (size) => {
    const at = Date.now()
    if (at - told < progressMs && size !== total) return
    told = at
    marks = [...marks.filter((mark) => at - mark.at < 5000), {at, size}]
    const [first] = marks as [{at: number; size: number}]
    const rate = at > first.at ? `, ${formatBytes(Math.round(((size - first.size) / (at - first.at)) * 1000))}/s` : ''
    progress(`${formatBytes(size)}${total === null ? '' : ` of ${formatBytes(total)}, ${Math.floor((100 * size) / Math.max(1, total))} %`}${rate}`)
  }
}

function remoteOf(answer: HttpAnswer): Remote {
  const etag = answer.header('etag')
  const length = Number(answer.header('content-length') ?? Number.NaN)
  return {
    // a weak one says that the content means the same, not that its bytes are the same
    validator: (etag?.startsWith('W/') ? undefined : etag) ?? answer.header('last-modified') ?? null,
    totalBytes: Number.isSafeInteger(length) ? length : null,
  }
}

function rangeOf(answer: HttpAnswer): {start: number; total: number | null} | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.header('content-range') ?? '')
  return match ? {start: Number(match[1]), total: match[2] === '*' ? null : Number(match[2])} : undefined
}

const tooLarge = (url: URL): DbaasError =>
  new DbaasError('NOT_SUPPORTED', `${shownUrl(url)} is larger than ${formatBytes(limitBytes)}`, {suggestions: ['check the address']})

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0
}

async function startAnew(file: string): Promise<0> {
  await truncate(file).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error
  })
  return 0
}

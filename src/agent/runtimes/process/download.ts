/**
 * Fetches a package with npm itself, so that the user's registry, proxy, credentials and CA hold, and unpacks it. What
 * npm says about it is not believed: the checksum is compared with the one this version of dbaas was made with.
 */
import {spawn} from 'node:child_process'
import {createHash} from 'node:crypto'
import {createReadStream, createWriteStream} from 'node:fs'
import {chmod, mkdir, mkdtemp, readdir, stat} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {createGunzip} from 'node:zlib'
import tar from 'tar-stream'
import {DbaasError} from '../../../core/errors.js'
import {formatBytes} from '../../../core/units.js'
import type {KnownVersion} from '../../../engines/engine.js'
import {inside} from './engine-folder.js'
import {errnoOf} from './errors.js'
import {removeTree} from './places.js'

type Package = KnownVersion['package']

/** Beside what is expected of an engine (60 MB); a tarball that unpacks to more is not one. */
const unpackedLimitBytes = 4 * 1024 ** 3
const progressMs = 1000

/**
 * Downloads into a folder of its own below `workFolder`, verifies, and unpacks into `draft`.
 * Throws DOWNLOAD_FAILED, INTEGRITY_MISMATCH, DISK_FULL, and the signal's reason.
 */
export async function fetchPackage(
  pack: Package, draft: string, workFolder: string, progress: (because: string) => void, signal: AbortSignal,
): Promise<void> {
  const folder = await mkdtemp(join(workFolder, '.download-'))
  try {
    progress(`downloading ${pack.name}@${pack.version}`)
    const tarball = await npmPack(pack, folder, progress, signal)
    progress(`verifying ${formatBytes((await stat(tarball)).size)}`)
    await verify(tarball, pack, signal)
    progress(`unpacking ${pack.name}@${pack.version}`)
    await unpack(tarball, draft, signal)
  } finally {
    await removeTree(folder)
  }
}

async function npmPack(pack: Package, folder: string, progress: (because: string) => void, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted()
  const spec = `${pack.name}@${pack.version}`
  const started = Date.now()
  const timer = setInterval(() => progress(`downloading ${spec}: ${Math.round((Date.now() - started) / 1000)} s`), progressMs)
  try {
    const {code, output} = await runNpm(['pack', spec, '--json', '--ignore-scripts', '--pack-destination', folder], folder, signal)
    if (code !== 0) throw failed(spec, lastWords(output))
    const name = (await readdir(folder)).find((file) => file.endsWith('.tgz'))
    if (name === undefined) throw failed(spec, 'npm ended without a package')
    return join(folder, name)
  } finally {
    clearInterval(timer)
  }
}

/** In a folder of its own, so that no project's .npmrc or package.json has a say. Its group ends with it. */
function runNpm(args: readonly string[], cwd: string, signal: AbortSignal): Promise<{code: number; output: string}> {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', [...args], {cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe']})
    let output = ''
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-64 * 1024)
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    const stop = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // it has ended
      }
    }
    signal.addEventListener('abort', stop, {once: true})
    child.once('error', (error) => reject(errnoOf(error) === 'ENOENT' ? noNpm(error) : error))
    child.once('close', (code) => {
      signal.removeEventListener('abort', stop)
      if (signal.aborted) reject(signal.reason)
      else resolve({code: code ?? 1, output})
    })
  })
}

const noNpm = (cause: unknown): DbaasError =>
  new DbaasError('DOWNLOAD_FAILED', 'npm was not found, and engines are downloaded with it', {
    cause, suggestions: ['install npm, or put it on the PATH', 'dbaas agent stop, then run the command again'],
  })

const failed = (spec: string, because: string): DbaasError =>
  new DbaasError('DOWNLOAD_FAILED', `${spec} could not be downloaded: ${because}`, {
    details: {package: spec}, suggestions: ['check the network and the proxy', `npm view ${spec}`, 'dbaas doctor'],
  })

/** npm's own explanation, without where it keeps its logs. With --json it ends in a document with `error.summary`. */
export function lastWords(output: string): string {
  const summary = /"summary":\s*"((?:[^"\\]|\\.)*)"/.exec(output)?.[1]
  if (summary) return (JSON.parse(`"${summary}"`) as string).split('\n')[0] as string
  const lines = output.split('\n').map((line) => line.replace(/^npm (?:error|ERR!)\s*/, '').trim())
  return lines.filter((line) => line !== '' && !/complete log|^[{}[\]"]/.test(line)).slice(-2).join('; ') || 'npm gave no reason'
}

async function verify(tarball: string, pack: Package, signal: AbortSignal): Promise<void> {
  const hash = createHash('sha512')
  await pipeline(createReadStream(tarball), hash, {signal})
  const actual = `sha512-${hash.digest('base64')}`
  if (actual === pack.integrity) return
  const spec = `${pack.name}@${pack.version}`
  throw new DbaasError('INTEGRITY_MISMATCH', `${spec} does not have the expected checksum`, {
    details: {package: spec, expected: pack.integrity, actual},
    suggestions: ['npm cache verify, then run the command again', 'check which registry npm uses: npm config get registry'],
  })
}

/** Only files: their first path segment (`package/`) is dropped, modes become 0644 or 0755. */
export async function unpack(tarball: string, into: string, signal: AbortSignal): Promise<void> {
  const extract = tar.extract()
  const made = new Set<string>([into])
  const reading = pipeline(createReadStream(tarball), createGunzip(), bounded(), extract, {signal})
  // reported where the loop below ends; without this, as an unhandled rejection first
  reading.catch(() => undefined)
  for await (const entry of extract) {
    const {name, type, mode} = entry.header
    const path = inside(into, name.split('/').slice(1).join('/'))
    if (type === 'file' && path !== into) {
      await makeFolders(dirname(path), into, made)
      await pipeline(entry, createWriteStream(path, {flags: 'wx', mode: 0o600}), {signal})
      await chmod(path, ((mode ?? 0) & 0o111) === 0 ? 0o644 : 0o755)
    } else entry.resume()
  }
  await reading
}

async function makeFolders(folder: string, root: string, made: Set<string>): Promise<void> {
  if (made.has(folder)) return
  await makeFolders(dirname(folder), root, made)
  await mkdir(folder)
  await chmod(folder, 0o755)
  made.add(folder)
}

function bounded(): Transform {
  let total = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      total += chunk.length
      if (total <= unpackedLimitBytes) return callback(null, chunk)
      callback(new DbaasError('INTEGRITY_MISMATCH', `the package unpacks to more than ${formatBytes(unpackedLimitBytes)}`))
    },
  })
}

/** What kind of archive a file is, by its first bytes, and the program that decompresses it where Node cannot. */
import {access, constants, open} from 'node:fs/promises'
import {basename, delimiter, join} from 'node:path'
import {DbaasError} from '../../../../core/errors.js'

export type Format = 'tar' | 'gzip' | 'xz' | 'bzip2' | 'zstd'

interface Decompressor {
  readonly program: string
  /** Reads standard input, writes standard output. */
  readonly args: readonly string[]
  readonly packages: {readonly apt: string; readonly dnf: string; readonly brew: string}
}

const decompressors: Readonly<Partial<Record<Format, Decompressor>>> = {
  xz: {program: 'xz', args: ['-d', '-c', '-T0'], packages: {apt: 'xz-utils', dnf: 'xz', brew: 'xz'}},
  bzip2: {program: 'bzip2', args: ['-d', '-c'], packages: {apt: 'bzip2', dnf: 'bzip2', brew: 'bzip2'}},
  zstd: {program: 'zstd', args: ['-d', '-c', '-q'], packages: {apt: 'zstd', dnf: 'zstd', brew: 'zstd'}},
}

const magics: readonly (readonly [offset: number, bytes: readonly number[], format: Format])[] = [
  [0, [0x1f, 0x8b], 'gzip'],
  [0, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], 'xz'],
  [0, [0x42, 0x5a, 0x68], 'bzip2'],
  [0, [0x28, 0xb5, 0x2f, 0xfd], 'zstd'],
  [257, [0x75, 0x73, 0x74, 0x61, 0x72], 'tar'],
]

/** What people mistake for a tarball, by its first bytes. */
const others: readonly (readonly [RegExp, string])[] = [
  [/^\s*<(!doctype|html|\?xml)/i, 'a web page: give the address of the file itself'],
  [/^PK/, 'a zip file: unpack it and give the folder'],
  [/^!<arch>\ndebian/, 'a Debian package: install it with apt, then it is found by itself'],
  [/^\xed\xab\xee\xdb/, 'an RPM package: install it with dnf, then it is found by itself'],
]

const suggestions = ['give a .tar.gz, .tar.xz, .tar.bz2, .tar.zst or .tar', 'unpack it yourself and give the folder: --from FOLDER']

/** Throws NOT_SUPPORTED for what is none. `name` is how people know the file. */
export async function formatOf(path: string, name: string): Promise<Format> {
  const file = await open(path, 'r')
  try {
    const {buffer, bytesRead} = await file.read(Buffer.alloc(512), 0, 512, 0)
    const head = buffer.subarray(0, bytesRead)
    const found = magics.find(([offset, bytes]) => bytes.every((byte, i) => head[offset + i] === byte))
    if (found) return found[2]
    const text = head.toString('latin1')
    const what = bytesRead === 0 ? 'empty' : (others.find(([pattern]) => pattern.test(text))?.[1] ?? 'of no kind that can be unpacked')
    throw new DbaasError('NOT_SUPPORTED', `${name} is not an archive: it is ${what}`, {details: {file: name}, suggestions})
  } finally {
    await file.close()
  }
}

/** By its name: what a URL most likely leads to. */
export function formatOfName(name: string): Format | undefined {
  const [, ending] = /\.(gz|tgz|xz|txz|bz2|tbz2?|zst|tzst|tar)$/i.exec(basename(name)) ?? []
  const formats: Record<string, Format> = {
    gz: 'gzip', tgz: 'gzip', xz: 'xz', txz: 'xz', bz2: 'bzip2', tbz: 'bzip2', tbz2: 'bzip2', zst: 'zstd', tzst: 'zstd', tar: 'tar',
  }
  return ending === undefined ? undefined : formats[ending.toLowerCase()]
}

/** The command that decompresses it; undefined where none is needed. Throws NOT_SUPPORTED, naming the package to install. */
export async function decompressor(format: Format, path: string, elsewhere = usual): Promise<readonly string[] | undefined> {
  const needed = decompressors[format]
  if (!needed) return undefined
  const found = await findProgram(needed.program, path, elsewhere)
  if (found !== undefined) return [found, ...needed.args]
  const {apt, dnf, brew} = needed.packages
  throw new DbaasError('NOT_SUPPORTED', `the program ${needed.program} is needed to unpack it, and was not found on this machine`, {
    details: {program: needed.program},
    suggestions: [`apt-get install ${apt}`, `dnf install ${dnf}`, ...(process.platform === 'darwin' ? [`brew install ${brew}`] : []), suggestions[1] as string],
  })
}

/** An agent that a service manager started may have a short PATH. */
const usual: readonly string[] = ['/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin']

export async function findProgram(name: string, path: string, elsewhere = usual): Promise<string | undefined> {
  for (const folder of [...path.split(delimiter).filter(Boolean), ...elsewhere]) {
    const candidate = join(folder, name)
    if (await access(candidate, constants.X_OK).then(() => true, () => false)) return candidate
  }
  return undefined
}

/** Finds the server's program in a folder that was unpacked, and runs it, as servers run, to learn what it is. */
import {access, constants, open, readdir, realpath, stat} from 'node:fs/promises'
import {basename, dirname, join, relative, sep} from 'node:path'
import {DbaasError} from '../../../../core/errors.js'
import {fitsVersion} from '../../../../core/version.js'
import type {EngineSoftware} from '../../options.js'
import {errnoOf} from '../errors.js'
import {runProgram} from '../exec.js'
import type {ServiceUser} from '../service-user.js'
import {findProgram} from './format.js'
import {missingLibraries, missingSymbols, packagesFor} from './libraries.js'

export interface CheckOptions {
  readonly engine: EngineSoftware
  /** What was asked for; empty for whatever it is. */
  readonly version: string
  readonly user: ServiceUser
  /** PATH of the agent, where `ldd` is looked for. */
  readonly path: string
  /** Where it came from, as a person knows it. */
  readonly from: string
  readonly signal: AbortSignal
}

/** In the order they are looked at; then any other folder. */
const usual = ['bin', 'sbin', 'usr/sbin', 'usr/bin', 'libexec', 'usr/libexec', 'usr/local/bin', 'usr/local/sbin']
const maxDepth = 5

/** The folder of the programs, within `root`, and the version. Throws UNKNOWN_VERSION, NOT_SUPPORTED, COMMAND_FAILED. */
export async function checkPrograms(root: string, options: CheckOptions): Promise<{binFolder: string; version: string}> {
  const {engine, version: asked, from} = options
  const programs = await findServer(root, engine.versions.serverProgram)
  if (programs.length === 0) throw await noProgram(root, options)
  let said = ''
  for (const program of programs) {
    const output = await ask(program, options)
    const version = engine.versions.parseVersion(output)
    // without the path of a draft that will not be there any more
    said ||= output.trim().split('\n')[0]?.replaceAll(`${dirname(program)}/`, '') ?? ''
    if (version === undefined) continue
    const details = {engine: engine.name, version, ...(asked === '' ? {} : {asked}), from}
    if (asked !== '' && !fitsVersion(asked, version)) {
      throw new DbaasError('UNKNOWN_VERSION', `${from} holds ${engine.title} ${version}, and ${asked} was asked for`, {
        details, suggestions: [`dbaas engines install ${engine.name}@${version} --from ${from}`],
      })
    }
    if (!engine.versions.supports(version)) {
      throw new DbaasError('UNKNOWN_VERSION', `${from} holds ${engine.title} ${version}, which dbaas cannot run`, {details, suggestions: ['dbaas engines list']})
    }
    return {binFolder: relative(root, dirname(program)) || '.', version}
  }
  throw new DbaasError('UNKNOWN_VERSION', `${from} holds no ${engine.title}: its ${engine.versions.serverProgram} says "${said}"`, {
    details: {engine: engine.name, from, output: said}, suggestions: ['check which engine and version the file is of'],
  })
}

/** All of that name, the usual places first. A link may lead to another name (`mysqld` to `mariadbd`): what it says of itself decides. */
async function findServer(root: string, program: string): Promise<string[]> {
  const found: string[] = []
  const visit = async (folder: string, depth: number): Promise<void> => {
    for (const entry of await readdir(join(root, folder), {withFileTypes: true}).catch(() => [])) {
      if (entry.isDirectory() && depth < maxDepth) await visit(join(folder, entry.name), depth + 1)
      else if (entry.name === program && (await isProgram(root, join(root, folder, entry.name)))) found.push(folder)
    }
  }
  await visit('', 0)
  const rank = (folder: string): number => (usual.includes(folder) ? usual.indexOf(folder) : usual.length + folder.split(sep).length)
  return found.sort((a, b) => rank(a) - rank(b)).map((folder) => join(root, folder, program))
}

async function isProgram(root: string, path: string): Promise<boolean> {
  const end = await realpath(path).catch(() => undefined)
  if (end === undefined || !end.startsWith((await realpath(root)) + sep)) return false
  return (await stat(end)).isFile() && access(end, constants.X_OK).then(() => true, () => false)
}

async function noProgram(root: string, {engine, from}: CheckOptions): Promise<DbaasError> {
  const names = await readdir(root)
  const inner = names.filter((name) => /\.(tar(\.\w+)?|tgz|txz)$/.test(name))
  return new DbaasError('UNKNOWN_VERSION', `there is no program ${engine.versions.serverProgram} in ${from}, so it is no ${engine.title} server`, {
    details: {engine: engine.name, program: engine.versions.serverProgram, from, found: names.slice(0, 12).join(', ')},
    suggestions: inner.length > 0
      ? [`it holds other archives: unpack it and give the one with the server (${inner.slice(0, 3).join(', ')})`]
      : ['sources, client and test packages have none: take the server\'s binary tarball for this system'],
  })
}

async function ask(program: string, options: CheckOptions): Promise<string> {
  const {engine, user, path, from, signal} = options
  const foreign = await whyForeign(program)
  const fail = (because: string, suggestions: string[], details: Record<string, string> = {}): DbaasError =>
    new DbaasError('COMMAND_FAILED', `${engine.title} from ${from} does not run on this machine: ${because}`, {details: {from, ...details}, suggestions})
  if (foreign !== undefined) throw fail(foreign, [`take the tarball for ${process.platform} ${process.arch}`])
  const run = (argv: readonly string[]) =>
    runProgram({user, cwd: '/', env: {LANG: 'C', PATH: '/usr/bin:/bin'}}, argv, {timeoutSeconds: 30, signal}).catch((error: unknown) => {
      if (errnoOf((error as {cause?: unknown}).cause) !== 'ENOENT') throw error
      throw fail('its loader is not here, so it was built for another C library (glibc, musl)', ['take a tarball that was built for this system'])
    })
  const {code, stdout, stderr} = await run([program, '--version'])
  if (code === 0) return stdout + stderr
  const ldd = await findProgram('ldd', path)
  // the loader stops at the first; all at once are one trip to the package manager
  const words = `${stderr}${stdout}${ldd === undefined ? '' : await run([ldd, program]).then((listed) => listed.stdout + listed.stderr, () => '')}`
  const missing = missingLibraries(words)
  if (missing.length > 0) {
    const renamed = missing.includes('libaio.so.1') ? ['on Debian 13 and Ubuntu 24.04 it is libaio1t64, and needs the link libaio.so.1 -> libaio.so.1t64'] : []
    throw fail(`the shared ${missing.length === 1 ? 'library' : 'libraries'} ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} missing`, [
      ...packagesFor(missing), ...renamed, 'then run the command again',
    ], {missing: missing.join(', ')})
  }
  const symbols = missingSymbols(words)
  if (symbols) {
    throw fail(`it needs ${symbols.name === 'GLIBC' ? 'the C library' : 'the C++ library'} ${symbols.version} or newer`, [
      'take the tarball for an older C library (its name has glibc2.17 or glibc2.28, say)', '--runtime docker',
    ])
  }
  const said = (stderr || stdout).trim().split('\n')[0]?.replaceAll(`${dirname(program)}/`, '') ?? ''
  throw fail(`${basename(program)} --version ended with ${code}${said === '' ? '' : `: ${said}`}`, ['check which system the file is for'])
}

/** Of ELF: `e_machine` at 18. */
const machines: Readonly<Record<number, string>> = {3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 21: 'ppc64', 22: 's390x', 243: 'riscv64'}

/** Run by a shell, as the system does with what it does not know, a foreign program would give the strangest errors. */
async function whyForeign(program: string): Promise<string | undefined> {
  const file = await open(program, 'r')
  try {
    const head = Buffer.alloc(20)
    await file.read(head, 0, 20, 0)
    if (head.subarray(0, 4).toString('latin1') === '\x7fELF') {
      const machine = machines[head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18)] ?? 'another processor'
      return process.platform === 'linux' && machine === process.arch ? undefined : `it is for Linux on ${machine}, and this is ${process.platform} on ${process.arch}`
    }
    if ([0xfeedface, 0xfeedfacf, 0xcafebabe].includes(head.readUInt32BE(0)) || [0xfeedface, 0xfeedfacf].includes(head.readUInt32LE(0))) {
      return process.platform === 'darwin' ? undefined : 'it is for macOS'
    }
    return head.subarray(0, 2).toString('latin1') === 'MZ' ? 'it is for Windows' : undefined
  } finally {
    await file.close()
  }
}

import assert from 'node:assert/strict'
import {execFileSync, spawn} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {appendFileSync, chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import fc from 'fast-check'
import {checksumIn} from '../../../../../src/agent/runtimes/process/archive/checksums.js'
import {missingLibraries, missingSymbols, packagesFor} from '../../../../../src/agent/runtimes/process/archive/libraries.js'
import {serviceUser} from '../../../../../src/agent/runtimes/process/service-user.js'
import {createSoftware, type ProcessSoftware} from '../../../../../src/agent/runtimes/process/software.js'
import {createSystemVersions} from '../../../../../src/agent/runtimes/process/system-versions.js'
import type {InstallRequest} from '../../../../../src/agent/runtimes/runtime.js'
import {parseChecksum} from '../../../../../src/core/checksum.js'
import {fakeEngine} from '../../../../runtimes/fake-engine.js'
import {archive, fileServer, serverEntries, sums, type Entry, type FileServer} from '../../../../support/archives.js'
import {temporaryFolder} from '../../../../support/temporary.js'
import {archivedEngines} from './engines.js'

const never = new AbortController().signal
const says = 'echo "fakedb (Fake) 7.2.1"'
const root = new URL('../../../../../', import.meta.url).pathname

describe('an engine from an archive', function () {
  this.timeout(120_000)
  const folder = temporaryFolder('archive')
  let server: FileServer
  let tarball: string
  let content: Buffer
  let serial = 0
  before(async () => {
    const entries: Entry[] = [...serverEntries('fakedb', says), {name: 'fakedb-7.2.1-linux/share/big', content: randomBytes(600_000)}]
    tarball = await archive(join(folder.path, 'fakedb-7.2.1.tar.gz'), entries)
    content = readFileSync(tarball)
    server = await fileServer({'/pub/fakedb-7.2.1.tar.gz': content})
  })
  after(async () => {
    await server.close()
    folder.dispose()
  })
  beforeEach(() => {
    for (const path of [...server.files.keys()]) if (path !== '/pub/fakedb-7.2.1.tar.gz') server.files.delete(path)
    server.requests.length = 0
    delete server.bad.rate
    delete server.bad.cut
  })

  async function open(at = join(folder.path, `store-${++serial}`)): Promise<{software: ProcessSoftware; at: string}> {
    mkdirSync(at, {recursive: true})
    const user = await serviceUser()
    const system = createSystemVersions(user, archivedEngines)
    return {at, software: createSoftware({dataRoot: at, packagesFolder: at, engines: archivedEngines, system, user, env: process.env, log: () => undefined})}
  }
  const ask = (more: Partial<InstallRequest>): InstallRequest => ({version: '7.2', known: null, from: tarball, checksum: null, ...more})
  const install = (software: ProcessSoftware, more: Partial<InstallRequest> = {}, said: string[] = []) =>
    software.install(fakeEngine, ask(more), (because) => said.push(because), never)
  const left = (at: string): string[] => (existsSync(join(at, 'engines', fakeEngine)) ? readdirSync(join(at, 'engines', fakeEngine)) : [])
  const url = (): string => `${server.url}/pub/fakedb-7.2.1.tar.gz`
  const named = (sum: string) => `${sum}  fakedb-7.2.1.tar.gz\n`

  it('on this machine is installed without its first folder, and says where it came from', async () => {
    const {software, at} = await open()
    const made = await install(software)
    assert.deepEqual(made, {
      version: '7.2.1', source: 'archive', bin: join(at, 'engines', fakeEngine, '7.2.1', 'bin'), image: null, checksum: `sha256:${sums(content).sha256}`,
    })
    assert.deepEqual(left(at), ['7.2.1'])
    assert.deepEqual(await software.installed(fakeEngine), [made])
    assert.deepEqual(await software.locate(fakeEngine, '7.2.1'), made)
    assert.equal(software.bin(fakeEngine, '7.2.1'), made.bin)
    // again: it is there
    assert.deepEqual(await install(software, {version: '7.2.1', from: '/no/such/file'}), made)
    assert.deepEqual(await install(software, {version: ''}), made)
    await software.remove(fakeEngine, '7.2.1')
    assert.deepEqual(readdirSync(at), [])
  })

  it('is compared with the checksum that was given', async () => {
    const {software, at} = await open()
    for (const checksum of [`sha256:${'0'.repeat(64)}`, `sha512:${'0'.repeat(128)}`]) {
      for (const from of [tarball, url()]) await assert.rejects(install(software, {from, checksum}), {code: 'INTEGRITY_MISMATCH', message: /that was given/})
    }
    assert.deepEqual(left(at), [])
    await install(software, {checksum: `sha512:${sums(content).sha512}`})
    // known by its checksum, wherever it is said to be
    await install(software, {checksum: `sha256:${sums(content).sha256}`, from: `${server.url}/not-there`, version: ''})
    assert.deepEqual(left(at), ['7.2.1'])
  })

  it('from the web needs a checksum, and finds it beside the file', async () => {
    const {sha256, sha512} = sums(content)
    const lists: readonly (readonly [path: string, text: string])[] = [
      ['/pub/fakedb-7.2.1.tar.gz.sha256', sha256], ['/pub/fakedb-7.2.1.tar.gz.sha256', named(sha256)], ['/pub/fakedb-7.2.1.tar.gz.sha512', `${sha512} *fakedb-7.2.1.tar.gz`],
      ['/pub/sha256sums.txt', `${'1'.repeat(64)}  other.tar.gz\n${named(sha256)}`], ['/pub/SHA256SUMS', `SHA256 (fakedb-7.2.1.tar.gz) = ${sha256}\n`],
    ]
    for (const [path, text] of lists) {
      const {software} = await open()
      server.files.set(path, Buffer.from(text))
      assert.equal((await install(software, {from: url()})).checksum, `sha256:${sha256}`, path)
      server.files.delete(path)
    }
    const {software, at} = await open()
    server.files.set('/pub/sha256sums.txt', Buffer.from(named('2'.repeat(64))))
    await assert.rejects(install(software, {from: url()}), {code: 'INTEGRITY_MISMATCH', message: /sha256sums\.txt/})
    assert.deepEqual(left(at), [])
    server.files.set('/pub/sha256sums.txt', Buffer.from(`${'1'.repeat(64)}  other.tar.gz\n`))
    server.files.set('/pub/fakedb-7.2.1.tar.gz.md5', Buffer.from(named('3'.repeat(32))))
    server.requests.length = 0
    await assert.rejects(install(software, {from: url()}), (error: Error & {code?: string; suggestions?: string[]}) => {
      assert.match(error.message, /nothing to verify .* with: no checksum was given, and none lies beside it \(an MD5/)
      assert.match(error.suggestions?.[0] ?? '', /^dbaas engines install fake@7\.2 --from http:\/\/127\.0\.0\.1:\d+\/pub\/fakedb-7\.2\.1\.tar\.gz --checksum sha256:HEX$/)
      return error.code === 'USAGE'
    })
    // refused before it is downloaded
    assert.ok(server.requests.every(({path, range}) => !path.endsWith('.gz') || range === 'bytes=0-0'))
    assert.deepEqual(left(at), [])
  })

  it('is asked what it is: the engine, and the version', async () => {
    const {software, at} = await open()
    await assert.rejects(install(software, {version: '7.3'}), {code: 'UNKNOWN_VERSION', message: /holds Fake 7\.2\.1, and 7\.3 was asked for/})
    await assert.rejects(install(software, {version: '7.2.10'}), {code: 'UNKNOWN_VERSION'})
    const of = async (name: string, entries: Entry[], message: RegExp, code = 'UNKNOWN_VERSION'): Promise<void> => {
      const from = await archive(join(folder.path, name), entries)
      await assert.rejects(install(software, {version: '', from}), (error: Error & {code?: string}) => {
        assert.match(error.message, message)
        return error.code === code
      })
      assert.deepEqual(left(at), [])
    }
    await of('old.tar.gz', serverEntries('fakedb', 'echo "fakedb (Fake) 6.0.1"'), /Fake 6\.0\.1, which dbaas cannot run/)
    await of('other.tar.gz', serverEntries('fakedb', 'echo "otherdb 7.2.1"'), /holds no Fake: its fakedb says "otherdb 7\.2\.1"/)
    await of('client.tar.gz', serverEntries('fake-client', says), /no program fakedb/)
    await of('bundle.tar.gz', [{name: 'fakedb-7.2.1.tar.xz', content: 'x'}, {name: 'README', content: 'x'}], /no program fakedb/)
    await of('broken.tar.gz', serverEntries('fakedb', 'exit 3'), /does not run on this machine: fakedb --version ended with 3/, 'COMMAND_FAILED')
  })

  it('that lacks a library says which, and where it is', async () => {
    const {software, at} = await open()
    const top = join(folder.path, 'linked')
    mkdirSync(join(top, 'bin'), {recursive: true})
    copyFileSync('/bin/true', join(top, 'bin', 'fakedb'))
    let real = true
    try {
      execFileSync('patchelf', ['--add-needed', 'libaio.so.1', '--add-needed', 'libnuma.so.1', '--add-needed', 'libvery-odd.so.9', join(top, 'bin', 'fakedb')])
    } catch {
      // no patchelf: what the loader says
      real = false
      writeFileSync(join(top, 'bin', 'fakedb'), '#!/bin/sh\necho "x: error while loading shared libraries: libaio.so.1: cannot open shared object file: No such file or directory" >&2\nexit 127\n')
    }
    const there = (library: string): boolean => real && execFileSync('ldconfig', ['-p'], {encoding: 'utf8', env: {PATH: '/usr/sbin:/sbin:/usr/bin:/bin'}}).includes(library)
    await assert.rejects(install(software, {from: top, version: ''}), (error: Error & {code?: string; suggestions?: string[]}) => {
      if (!there('libaio.so.1')) {
        assert.match(error.message, /libaio\.so\.1/)
        assert.match(error.suggestions?.join('\n') ?? '', /^apt-get install libaio1.*\n(dnf install libaio.*)/)
      }
      if (real) assert.match(error.message, /the shared librar(y|ies) .*libvery-odd\.so\.9 (is|are) missing/)
      return error.code === 'COMMAND_FAILED'
    })
    assert.deepEqual(left(at), [])
  })

  it('that was built for another machine says so', async () => {
    const {software, at} = await open()
    const top = join(folder.path, 'foreign')
    mkdirSync(join(top, 'bin'), {recursive: true})
    const program = readFileSync('/bin/true')
    program.writeUInt16LE(process.arch === 'arm64' ? 62 : 183, 18)
    writeFileSync(join(top, 'bin', 'fakedb'), program, {mode: 0o755})
    await assert.rejects(install(software, {from: top, version: ''}), {code: 'COMMAND_FAILED', message: /it is for Linux on (arm64|x64), and this is linux on/})
    assert.deepEqual(left(at), [])
  })

  it('that is a folder is copied as it is, and changes no more with it', async () => {
    const {software, at} = await open()
    const top = join(folder.path, 'built')
    mkdirSync(join(top, 'usr/sbin'), {recursive: true})
    mkdirSync(join(top, 'include'))
    const program = join(top, 'usr/sbin/fakedb')
    writeFileSync(program, `#!/bin/sh\n${says}\n`)
    chmodSync(program, 0o755)
    writeFileSync(join(top, 'include/kept.h'), 'h')
    writeFileSync(join(folder.path, 'outside'), 'from outside')
    symlinkSync(join(folder.path, 'outside'), join(top, 'file'))
    symlinkSync(join(top, 'include'), join(top, 'inside'))
    symlinkSync('/no/such', join(top, 'nowhere'))
    symlinkSync(top, join(folder.path, 'latest'))
    const made = await install(software, {from: join(folder.path, 'latest')})
    const copy = join(at, 'engines', fakeEngine, '7.2.1')
    assert.deepEqual([made.bin, made.checksum], [join(copy, 'usr/sbin'), undefined])
    assert.equal(readFileSync(join(copy, 'file'), 'utf8'), 'from outside')
    assert.equal(readlinkSync(join(copy, 'inside')), 'include')
    assert.equal(existsSync(join(copy, 'nowhere')), false)
    assert.notEqual(lstatSync(join(copy, 'usr/sbin/fakedb')).ino, lstatSync(program).ino)
    appendFileSync(program, 'exit 9\n')
    assert.equal(execFileSync(join(made.bin, 'fakedb'), {encoding: 'utf8'}), 'fakedb (Fake) 7.2.1\n')
    await software.remove(fakeEngine, '7.2.1')
    symlinkSync('/usr/share', join(top, 'far'))
    await assert.rejects(install(software, {from: top}), {code: 'NOT_SUPPORTED', message: /its link far leads to the folder \/usr\/share/})
  })

  it('that cannot be read, or is nothing to install from, is refused at once', async () => {
    const {software} = await open()
    const plan = (from: string, checksum: string | null = null) => software.archives?.plan(fakeEngine, ask({from, checksum})) ?? Promise.reject(new Error('no archives'))
    for (const [from, code] of [
      ['/no/such.tar.gz', 'FILE_NOT_FOUND'], ['fakedb.tar.gz', 'INVALID_REQUEST'], ['http://example.com/x.tar.gz', 'INVALID_REQUEST'], ['ftp://127.0.0.1/x.tar.gz', 'INVALID_REQUEST'],
      ['https://me:secret@example.com/x.tar.gz', 'INVALID_REQUEST'], ['/dev/null', 'FILE_NOT_FOUND'], [join(root, 'package.json'), 'NOT_SUPPORTED'],
    ] as const) await assert.rejects(plan(from), (error: Error & {code?: string}) => error.code === code && !/secret/.test(error.message), from)
    await assert.rejects(plan(folder.path, `sha256:${'0'.repeat(64)}`), {code: 'INVALID_REQUEST', message: /a folder/})
    assert.deepEqual(await plan('https://example.com/x.tar.xz'), ['download', 'verify', 'unpack'])
    assert.deepEqual(await plan(tarball), ['verify', 'unpack'])
    assert.deepEqual(await plan(folder.path), ['copy'])
  })

  it('goes on in stages, each done once, by whoever comes next; an unfinished download is kept when it is asked for', async () => {
    const checksum = `sha256:${sums(content).sha256}`
    const request = ask({from: url(), checksum})
    const {software, at} = await open()
    server.bad.cut = () => 0
    const stop = new AbortController()
    setTimeout(() => stop.abort('shutdown'), 300)
    await assert.rejects(software.archives?.advance(fakeEngine, request, 'download', () => undefined, stop.signal) ?? Promise.resolve())
    let cuts = 1
    server.bad.cut = () => (cuts-- > 0 ? 200_000 : 0)
    await assert.rejects(install(software, {from: url(), checksum}), {code: 'DOWNLOAD_FAILED'})
    await software.archives?.abandon(fakeEngine, request, {keepPartial: true})
    const staging = join(at, 'engines', fakeEngine, left(at)[0] as string)
    const have = statSync(join(staging, 'archive')).size
    assert.ok(have > 0 && have <= 200_000)
    delete server.bad.cut
    server.requests.length = 0
    const next = (await open(at)).software
    await next.prune()
    await next.archives?.advance(fakeEngine, request, 'download', () => undefined, never)
    assert.deepEqual(server.requests.map(({range}) => range), [`bytes=${have}-`])
    await next.archives?.advance(fakeEngine, request, 'unpack', () => undefined, never)
    await next.archives?.advance(fakeEngine, request, 'verify', () => undefined, never)
    assert.equal((await next.install(fakeEngine, request, () => undefined, never)).version, '7.2.1')
    assert.equal(server.requests.length, 1)
    assert.deepEqual(left(at), ['7.2.1'])
  })

  it('leaves nothing when nobody wants it any more', async () => {
    const request = ask({from: url(), checksum: `sha256:${sums(content).sha256}`})
    const {software, at} = await open()
    await software.archives?.advance(fakeEngine, request, 'unpack', () => undefined, never)
    // whole: there is nothing to go on with
    await software.archives?.abandon(fakeEngine, request, {keepPartial: true})
    assert.deepEqual(left(at), [])
    await software.archives?.advance(fakeEngine, request, 'download', () => undefined, never)
    const staging = join(at, 'engines', fakeEngine, left(at)[0] as string)
    const longAgo = new Date(Date.now() - 8 * 86_400_000)
    for (const name of readdirSync(staging)) utimesSync(join(staging, name), longAgo, longAgo)
    await software.prune()
    assert.deepEqual(left(at), [])
  })

  it('is installed once when two ask for it at once', async () => {
    const {software, at} = await open()
    const checksum = `sha256:${sums(content).sha256}`
    const [one, two] = await Promise.all([install(software, {from: url(), checksum}), install(software, {from: url(), checksum})])
    assert.deepEqual(one, two)
    assert.equal(server.requests.length, 1)
    assert.deepEqual(left(at), ['7.2.1'])
  })

  it('is whole after an agent was killed at any moment of it', async () => {
    const checksum = `sha256:${sums(content).sha256}`
    server.bad.rate = 1_500_000
    await fc.assert(fc.asyncProperty(fc.array(fc.integer({min: 0, max: 700}), {minLength: 1, maxLength: 3}), async (moments) => {
      const at = join(folder.path, `killed-${++serial}`)
      mkdirSync(at)
      for (const ms of moments) await killedAfter(ms, [at, url(), checksum])
      const {software} = await open(at)
      await software.prune()
      assert.equal((await install(software, {from: url(), checksum})).version, '7.2.1')
      assert.deepEqual(left(at), ['7.2.1'])
      assert.equal(statSync(join(at, 'engines', fakeEngine, '7.2.1/share/big')).size, 600_000)
      rmSync(at, {recursive: true})
    }), {numRuns: 8})
  })

  /** Kills it so long after it has begun. */
  function killedAfter(ms: number, argv: readonly string[]): Promise<void> {
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('dying-install.ts', import.meta.url)), ...argv], {cwd: root, stdio: ['ignore', 'pipe', 'inherit']})
    child.stdout.once('data', () => setTimeout(() => child.kill('SIGKILL'), ms))
    return new Promise((resolve) => child.once('close', () => resolve()))
  }
})

describe('checksums as people and projects write them', () => {
  it('are read, and weak ones are refused by name', () => {
    const [a, b] = ['a'.repeat(64), 'b'.repeat(128)]
    assert.deepEqual(parseChecksum(`SHA256:${a.toUpperCase()}`), {algorithm: 'sha256', hex: a})
    assert.deepEqual(parseChecksum(b), {algorithm: 'sha512', hex: b})
    for (const [text, message] of [['md5:0123', /MD5/], ['0'.repeat(32), /MD5/], ['sha1:00', /SHA-1/], [`sha512:${a}`, /not a checksum/], ['sha256:xyz', /not a checksum/], ['', /not a checksum/]] as const) {
      assert.throws(() => parseChecksum(text), {code: 'INVALID_REQUEST', message}, text)
    }
    assert.equal(checksumIn(`${a}  ./deep/er/x.tar.gz\r\n`, 'x.tar.gz', false)?.hex, a)
    assert.equal(checksumIn(`${a}\n`, 'x.tar.gz', false), undefined)
    assert.equal(checksumIn(`${a}  yx.tar.gz`, 'x.tar.gz', true), undefined)
    assert.equal(checksumIn(`<html>${a}</html>`, 'x.tar.gz', true), undefined)
  })
})

describe('what a loader says', () => {
  it('is read for libraries and symbols', () => {
    assert.deepEqual(missingLibraries('a: error while loading shared libraries: libaio.so.1: cannot open shared object file: No such file or directory\n\tlibnuma.so.1 => not found\n\tlibaio.so.1 => not found\n\tlibc.so.6 => /lib/libc.so.6 (0x0)'), ['libaio.so.1', 'libnuma.so.1'])
    assert.deepEqual(missingLibraries('Error loading shared library libaio.so.1: No such file or directory (needed by mysqld)'), ['libaio.so.1'])
    assert.deepEqual(missingSymbols("x: /lib/libc.so.6: version `GLIBC_2.9' not found (required by x)\nx: /lib/libc.so.6: version `GLIBC_2.34' not found"), {name: 'GLIBC', version: '2.34'})
    assert.deepEqual(packagesFor(['libtinfo.so.5', 'libncurses.so.5', 'libodd.so']), ['apt-get install libtinfo5 libncurses5', 'dnf install ncurses-compat-libs'])
    assert.deepEqual(packagesFor(['libodd.so']), [])
  })
})

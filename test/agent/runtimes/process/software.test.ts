import assert from 'node:assert/strict'
import {createHash} from 'node:crypto'
import {createWriteStream, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {pipeline} from 'node:stream/promises'
import {createGzip} from 'node:zlib'
import tar from 'tar-stream'
import {lastWords, unpack} from '../../../../src/agent/runtimes/process/download.js'
import {findPackage} from '../../../../src/agent/runtimes/process/packages.js'
import {serviceUser} from '../../../../src/agent/runtimes/process/service-user.js'
import {createSoftware, type ProcessSoftware} from '../../../../src/agent/runtimes/process/software.js'
import {createSystemVersions, expand} from '../../../../src/agent/runtimes/process/system-versions.js'
import type {InstallRequest} from '../../../../src/agent/runtimes/runtime.js'
import type {EngineVersions, KnownVersion} from '../../../../src/engines/engine.js'
import {temporaryFolder} from '../../../support/temporary.js'
import {fakeEngine, fakeVersion, fakeSoftware, installFakePackage} from '../../../runtimes/fake-engine.js'

const never = new AbortController().signal

describe('the engine store', () => {
  const folder = temporaryFolder('software')
  const packages = join(folder.path, 'app')
  let serial = 0
  before(() => installFakePackage(packages))
  after(() => folder.dispose())

  async function store(versions: EngineVersions = fakeSoftware.versions, packagesFolder = packages): Promise<{software: ProcessSoftware; root: string}> {
    const root = join(folder.path, `store-${++serial}`)
    mkdirSync(root)
    const engines = {[fakeEngine]: {...fakeSoftware, versions}}
    const system = createSystemVersions(await serviceUser(), engines)
    return {root, software: createSoftware({dataRoot: root, packagesFolder, engines, system, user: await serviceUser(), env: process.env, log: () => undefined})}
  }

  it('has the bundled version on first use, whole, with its links, and the package is not changed', async () => {
    const {software, root} = await store()
    const source = join(packages, 'node_modules/@fake/db/native/bin')
    const before = readdirSync(source)
    assert.equal((await software.installed(fakeEngine))[0]?.source, 'bundled')
    assert.equal(existsSync(join(root, 'engines')), false)
    const [first, second] = await Promise.all([software.locate(fakeEngine, fakeVersion), software.locate(fakeEngine, fakeVersion)])
    assert.deepEqual(first, second)
    const bin = String(first?.bin)
    assert.equal(software.bin(fakeEngine, fakeVersion), bin)
    assert.ok(lstatSync(join(bin, 'start.sh')).isSymbolicLink())
    assert.equal(statSync(join(bin, 'fakedb')).mode & 0o777, 0o755)
    assert.equal(readFileSync(join(bin, 'start.sh'), 'utf8'), readFileSync(join(source, 'server.sh'), 'utf8'))
    assert.deepEqual(readdirSync(source), before)
    assert.deepEqual(readdirSync(join(root, 'engines', fakeEngine)), [fakeVersion])
    await software.remove(fakeEngine, fakeVersion)
    assert.deepEqual(readdirSync(root), [])
  })

  it('makes a damaged version again, once an agent starts', async () => {
    const {software, root} = await store()
    const bin = String((await software.locate(fakeEngine, fakeVersion))?.bin)
    // not through the hard link: what a power cut leaves is an empty file of the store's own
    rmSync(join(bin, 'server.sh'))
    writeFileSync(join(bin, 'server.sh'), '')
    const engines = {[fakeEngine]: fakeSoftware}
    const system = createSystemVersions(await serviceUser(), engines)
    const next = createSoftware({dataRoot: root, packagesFolder: packages, engines, system, user: await serviceUser(), env: process.env, log: () => undefined})
    await next.locate(fakeEngine, fakeVersion)
    assert.ok(statSync(join(bin, 'server.sh')).size > 0)
  })

  it('removes what an agent that was killed left half-made', async () => {
    const {software, root} = await store()
    mkdirSync(join(root, 'engines', fakeEngine, '.tmp-x', 'native'), {recursive: true})
    await software.prune()
    assert.deepEqual(readdirSync(join(root, 'engines', fakeEngine)), [])
    assert.deepEqual((await software.installed(fakeEngine)).map((each) => each.version), [fakeVersion])
  })

  it('has no version whose package was not installed, and none it never heard of', async () => {
    const {software} = await store(fakeSoftware.versions, folder.path)
    assert.equal(await software.locate(fakeEngine, fakeVersion), undefined)
    assert.equal(await software.locate(fakeEngine, '99.9'), undefined)
    assert.deepEqual(await software.installed('unknown'), [])
    await assert.rejects(software.locate(fakeEngine, '../../etc'), {code: 'INTERNAL'})
  })

  it('finds a version of the system by its folders, and does not remove it', async () => {
    const at = join(folder.path, 'system', 'db-7', 'bin')
    mkdirSync(at, {recursive: true})
    writeFileSync(join(at, 'fakedb'), '#!/bin/sh\necho "fakedb (Fake) 7.2"\n', {mode: 0o755})
    mkdirSync(join(folder.path, 'system', 'db-8', 'bin'), {recursive: true})
    const versions: EngineVersions = {
      ...fakeSoftware.versions, known: () => [], systemFolders: [join(folder.path, 'system', 'db-*', 'bin'), '/no/such/*/bin'],
      parseVersion: (output) => /\) (\d+\.\d+)/.exec(output)?.[1],
    }
    const {software} = await store(versions)
    assert.deepEqual(await software.installed(fakeEngine), [{version: '7.2', source: 'system', bin: at, image: null}])
    assert.deepEqual(await software.locate(fakeEngine, '7.2'), {version: '7.2', source: 'system', bin: at, image: null})
    assert.equal(software.bin(fakeEngine, '7.2'), at)
    await software.remove(fakeEngine, '7.2')
    assert.ok(existsSync(join(at, 'fakedb')))
    assert.deepEqual(expand(join(folder.path, 'system', '*8', 'bin')), [join(folder.path, 'system', 'db-8', 'bin')])
  })

  it('takes a link to another engine\'s server for what the server says it is', async () => {
    const at = join(folder.path, 'sbin')
    mkdirSync(at)
    writeFileSync(join(at, 'newdbd'), '#!/bin/sh\necho "$(basename "$0")  Ver 10.1-New"\n', {mode: 0o755})
    symlinkSync('newdbd', join(at, 'olddbd'))
    const of = (serverProgram: string, pattern: RegExp): EngineVersions => ({
      ...fakeSoftware.versions, known: () => [], systemFolders: [at], serverProgram, parseVersion: (output) => pattern.exec(output)?.[1],
    })
    const engines = {
      fresh: {...fakeSoftware, versions: of('newdbd', /Ver (\d+\.\d+)-New/)}, old: {...fakeSoftware, versions: of('olddbd', /^olddbd +Ver (\d+\.\d+)$/m)},
    }
    for (const order of [['fresh', 'old'], ['old', 'fresh']]) {
      const system = createSystemVersions(await serviceUser(), engines)
      const found = new Map(order.map((name) => [name, system.list(name).map((v) => [v.version, v.bin])]))
      assert.deepEqual([found.get('fresh'), found.get('old')], [[['10.1', at]], []])
    }
  })

  it('finds a package beside it and above it, of that very version only', async () => {
    const deep = join(packages, 'node_modules', 'dbaas', 'dist')
    mkdirSync(deep, {recursive: true})
    const expected = join(packages, 'node_modules', '@fake', 'db')
    for (const from of [deep, packages, join(packages, 'node_modules')]) assert.equal(await findPackage(from, '@fake/db', '1.0.0'), expected)
    assert.equal(await findPackage(deep, '@fake/db', '1.0.1'), undefined)
  })
})

describe('a downloaded package', () => {
  const folder = temporaryFolder('download')
  after(() => folder.dispose())
  let serial = 0

  async function tarball(entries: readonly {name: string; mode?: number; type?: 'file' | 'symlink'; linkname?: string; content?: string}[]): Promise<string> {
    const pack = tar.pack()
    for (const {content, ...header} of entries) pack.entry({type: 'file', ...header}, content ?? '')
    pack.finalize()
    const path = join(folder.path, `${++serial}.tgz`)
    await pipeline(pack, createGzip(), createWriteStream(path))
    return path
  }
  function target(): string {
    const path = join(folder.path, `out-${serial}`)
    mkdirSync(path)
    return path
  }

  it('is unpacked with its modes, without its first folder', async () => {
    const file = await tarball([{name: 'package/package.json', content: '{}'}, {name: 'package/native/bin/run', mode: 0o755, content: '#!'}, {name: 'package/native/a', mode: 0o666}])
    const out = target()
    await unpack(file, out, never)
    assert.equal(readFileSync(join(out, 'package.json'), 'utf8'), '{}')
    assert.equal(statSync(join(out, 'native/bin/run')).mode & 0o777, 0o755)
    assert.equal(statSync(join(out, 'native/a')).mode & 0o777, 0o644)
  })

  it('is refused when it names a file outside of itself; links in it are not made', async () => {
    const evil = await tarball([{name: 'package/../../evil', content: 'x'}])
    await assert.rejects(unpack(evil, target(), never), {code: 'INTEGRITY_MISMATCH'})
    assert.equal(existsSync(join(folder.path, 'evil')), false)
    const link = await tarball([{name: 'package/etc', type: 'symlink', linkname: '/etc'}, {name: 'package/etc/x', content: 'x'}])
    const out = target()
    await unpack(link, out, never)
    assert.ok(lstatSync(join(out, 'etc')).isDirectory())
    assert.equal(existsSync('/etc/x'), false)
  })

  it('is refused when it is cut off', async () => {
    const whole = await tarball([{name: 'package/a', content: 'x'.repeat(100_000)}])
    writeFileSync(`${whole}.cut`, readFileSync(whole).subarray(0, 60))
    await assert.rejects(unpack(`${whole}.cut`, target(), never))
  })

  it('that npm cannot get says so in npm\'s words', () => {
    assert.equal(lastWords('npm error code E404\nnpm error 404 Not Found\nnpm error A complete log of this run can be found in: /x\n'), 'code E404; 404 Not Found')
    assert.equal(lastWords('{\n"error": {"code": "ENOTFOUND", "summary": "request to x \\"failed\\""}}'), 'request to x "failed"')
    assert.equal(lastWords(''), 'npm gave no reason')
  })

  it('comes from npm, is verified by our own checksum, and nothing is left when it is wrong', async function () {
    this.timeout(120_000)
    // small, and pinned by the project's own lock file, which is where its checksum is read
    const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as {packages: Record<string, {version: string; integrity: string}>}
    const {version, integrity} = lock.packages['node_modules/chalk'] as {version: string; integrity: string}
    const known = (sum: string): KnownVersion => ({
      version, bundled: false, package: {name: 'chalk', version, integrity: sum}, binFolder: 'source', linksFile: null,
    })
    const request = (from: KnownVersion): InstallRequest => ({version: from.version, known: from, from: null, checksum: null})
    const root = join(folder.path, 'store')
    mkdirSync(root)
    const engines = {[fakeEngine]: {...fakeSoftware, versions: {...fakeSoftware.versions, known: () => [known(integrity)]}}}
    const system = createSystemVersions(await serviceUser(), engines)
    const software = createSoftware({dataRoot: root, packagesFolder: root, engines, system, user: await serviceUser(), env: process.env, log: () => undefined})
    const wrong = `sha512-${createHash('sha512').update('').digest('base64')}`
    await assert.rejects(software.install(fakeEngine, request(known(wrong)), () => undefined, never), {code: 'INTEGRITY_MISMATCH'})
    assert.deepEqual(readdirSync(join(root, 'engines', fakeEngine)), [])
    const said: string[] = []
    const made = await software.install(fakeEngine, request(known(integrity)), (because) => said.push(because), never)
    assert.equal(made.source, 'npm')
    assert.ok(existsSync(join(made.bin, 'index.js')))
    assert.deepEqual([said[0]?.split(' ')[0], said.at(-2)?.split(' ')[0], said.at(-1)?.split(' ')[0]], ['downloading', 'verifying', 'unpacking'])
    assert.deepEqual((await software.installed(fakeEngine)).map((each) => [each.version, each.source]), [[version, 'npm']])
    await software.remove(fakeEngine, version)
    const stop = new AbortController()
    stop.abort(new Error('cancelled'))
    await assert.rejects(software.install(fakeEngine, request(known(integrity)), () => undefined, stop.signal), /cancelled/)
    await assert.rejects(
      software.install(fakeEngine, request({...known(integrity), package: {name: 'chalk', version: '0.0.0-none', integrity}}), () => undefined, never),
      {code: 'DOWNLOAD_FAILED'},
    )
    assert.deepEqual(readdirSync(join(root, 'engines', fakeEngine)), [])
  })
})

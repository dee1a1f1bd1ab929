import assert from 'node:assert/strict'
import {createHash} from 'node:crypto'
import {existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, statSync, truncateSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import fc from 'fast-check'
import {decompressor, formatOf, formatOfName} from '../../../../../src/agent/runtimes/process/archive/format.js'
import {isKept} from '../../../../../src/agent/runtimes/process/archive/keep.js'
import {unpackArchive, type UnpackOptions} from '../../../../../src/agent/runtimes/process/archive/unpack.js'
import {serviceUser} from '../../../../../src/agent/runtimes/process/service-user.js'
import {archive, endings, serverEntries, type Entry} from '../../../../support/archives.js'
import {temporaryFolder} from '../../../../support/temporary.js'

const path = process.env.PATH ?? ''

describe('an archive', function () {
  this.timeout(60_000)
  const folder = temporaryFolder('unpack')
  after(() => folder.dispose())
  let serial = 0

  const made = (entries: readonly Entry[], ending: (typeof endings)[number] = '.tar.gz') => archive(join(folder.path, `${++serial}${ending}`), entries, ending)
  async function unpack(file: string, more: Partial<UnpackOptions> = {}) {
    const into = join(folder.path, `out-${++serial}`)
    mkdirSync(into)
    const format = await formatOf(file, file)
    const unpacked = await unpackArchive({
      archive: file, format, decompress: await decompressor(format, path), into, keep: isKept, makeRoom: async () => undefined, user: await serviceUser(),
      progress: () => undefined, signal: new AbortController().signal, ...more,
    })
    return {...unpacked, into}
  }
  const refused = (entries: readonly Entry[], message: RegExp): Promise<void> =>
    made(entries).then((file) => assert.rejects(unpack(file), (error: Error & {code?: string}) => error.code === 'INTEGRITY_MISMATCH' && message.test(error.message)))

  for (const ending of endings) {
    it(`that is ${ending} is unpacked with what a server needs, its modes, its links, and nobody's rights`, async () => {
      const file = await made(serverEntries('fakedb', 'echo'), ending)
      assert.equal(await formatOf(file, file), formatOfName(file))
      const {into, files, bytes, leftOut, sha256} = await unpack(file)
      const top = join(into, 'fakedb-7.2.1-linux')
      assert.deepEqual(readdirSync(into), ['fakedb-7.2.1-linux'])
      assert.deepEqual(readdirSync(top).sort(), ['bin', 'lib', 'share'])
      assert.deepEqual(readdirSync(join(top, 'bin')), ['fakedb'])
      assert.equal(statSync(join(top, 'bin/fakedb')).mode & 0o7777, 0o755)
      assert.equal(statSync(join(top, 'share/errmsg.sys')).mode & 0o7777, 0o644)
      assert.equal(readlinkSync(join(top, 'lib/libfake.so.1')), 'libfake.so.1.2')
      assert.equal(sha256, createHash('sha256').update(readFileSync(file)).digest('hex'))
      assert.equal(files, 3)
      assert.ok(bytes > 2000)
      assert.deepEqual(leftOut, {files: 4, bytes: 15_001})
    })
  }

  it('is refused when it leads outside, by a name or by a link', async () => {
    await refused([{name: 'top/../../evil', content: 'x'}], /outside of itself/)
    await refused([{name: '/etc/evil', content: 'x'}], /outside of itself/)
    await refused([{name: 'top/passwd', type: 'symlink', linkname: '/etc/passwd'}], /its link top\/passwd leads to \/etc\/passwd/)
    await refused([{name: 'top/up', type: 'symlink', linkname: '../../x'}], /its link top\/up leads to/)
    await refused([{name: 'top/hard', type: 'link', linkname: '../../../../etc/passwd'}], /outside of itself/)
    await refused([{name: 'top/hard', type: 'link', linkname: 'top/not-there'}], /which is not in it/)
    // each harmless alone: where they end is known only when all are there
    const chain: Entry[] = [
      {name: 'a/b/up', type: 'symlink', linkname: '../..'}, {name: 'a/out', type: 'symlink', linkname: 'b/up/../../..'}, {name: 'file', content: 'x'},
    ]
    await refused(chain, /its link a\/out leads to/)
    // nothing is written through a link, whatever it leads to
    await refused([{name: 'top/dir', type: 'symlink', linkname: '.'}, {name: 'top/dir/file', content: 'x'}], /twice|as a file and as a folder/)
    assert.equal(existsSync(join(folder.path, 'evil')), false)
    assert.equal(existsSync('/etc/evil'), false)
  })

  it('is refused when it has what no program needs', async () => {
    for (const type of ['character-device', 'block-device', 'fifo'] as const) await refused([{name: `top/${type}`, type}], /neither a file, a folder nor a link/)
    await refused([{name: 'top/a', content: 'x'}, {name: 'top/a', content: 'y'}], /top\/a twice/)
    await refused([{name: 'top/a', content: 'x'}, {name: 'top/a/b', content: 'y'}], /as a file and as a folder/)
    await refused([{name: `top/${'long/'.repeat(300)}x`, content: 'x'}], /a path of 1\d\d\d characters/)
  })

  it('keeps hard links, and leaves out links that lead to what is left out', async () => {
    const {into} = await unpack(await made([
      {name: 't/bin/one', content: 'program', mode: 0o755}, {name: 't/bin/two', type: 'link', linkname: 't/bin/one'},
      {name: 't/lib/x.a', content: 'static'}, {name: 't/lib/y', type: 'link', linkname: 't/lib/x.a'}, {name: 't/lib/z', type: 'symlink', linkname: 'x.a'},
    ]))
    assert.equal(lstatSync(join(into, 't/bin/two')).ino, lstatSync(join(into, 't/bin/one')).ino)
    assert.equal(existsSync(join(into, 't/lib')) ? readdirSync(join(into, 't/lib')).join() : '', '')
  })

  it('that is cut off anywhere is refused', () => {
    const entries = [...serverEntries('fakedb', 'echo'), {name: 'fakedb-7.2.1-linux/share/big', content: Buffer.alloc(200_000, 'abcdefgh')}]
    return fc.assert(fc.asyncProperty(fc.constantFrom(...endings), fc.double({min: 0, max: 0.999, noNaN: true}), async (ending, part) => {
      const file = await made(entries, ending)
      // a tar alone ends in padding that says nothing
      const {size} = statSync(file)
      const padding = ending === '.tar' ? 1024 : 0
      truncateSync(file, Math.floor((size - padding) * part))
      await assert.rejects(unpack(file), (error: Error & {code?: string}) => ['INTEGRITY_MISMATCH', 'NOT_SUPPORTED'].includes(error.code ?? ''))
    }), {numRuns: 80})
  })

  it('is told from what is none, and its program from what is not there', async () => {
    const none = async (content: string | Buffer, message: RegExp): Promise<void> => {
      const file = join(folder.path, `${++serial}.tar.gz`)
      writeFileSync(file, content)
      await assert.rejects(formatOf(file, file), {code: 'NOT_SUPPORTED', message})
    }
    await none('<!DOCTYPE html><html>', /a web page/)
    await none('PK\u0003\u0004', /a zip file/)
    await none('!<arch>\ndebian-binary', /a Debian package/)
    await none('', /empty/)
    await none('anything', /of no kind/)
    assert.equal(await decompressor('gzip', ''), undefined)
    assert.match((await decompressor('xz', path))?.[0] ?? '', /\/xz$/)
    await assert.rejects(decompressor('xz', '/no/such/folder', []), (error: Error & {code?: string; suggestions?: string[]}) =>
      error.code === 'NOT_SUPPORTED' && /program xz/.test(error.message) && error.suggestions?.[0] === 'apt-get install xz-utils')
  })

  it('stops with the signal, and where there is no room', async () => {
    const file = await made([{name: 't/a', content: Buffer.alloc(100_000)}, {name: 't/b', content: 'b'}])
    await assert.rejects(unpack(file, {makeRoom: async (bytes) => {
      if (bytes > 1000) throw new Error('no room')
    }}), /no room/)
    await assert.rejects(unpack(file, {signal: AbortSignal.abort('cancel')}), (reason) => reason === 'cancel')
  })
})

describe('what a server does without', () => {
  it('is left out by its place or its name, and nothing else is', () => {
    for (const path of [
      'mysql-8.4.7/mysql-test/suite/x.test', 'm/include/mysql.h', 'm/lib/libmysqlclient.a', 'm/bin/mysqld-debug', 'm/lib/plugin/debug/auth.so', 'm/man/man1/mysql.1',
      'm/bin/mysqltest', 'm/bin/mysql_client_test', 'm/bin/mariadb-test', 'm/bin/mysqlxtest', 'm/docs/INFO_SRC', 'usr/lib/debug/.build-id/aa.debug', 'm/lib/pkgconfig/x.pc',
    ]) assert.equal(isKept(path), false, path)
    for (const path of [
      'm/bin/mysqld', 'm/bin/mysqldump', 'm/lib/plugin/auth_socket.so', 'm/lib/private/libssl.so.3', 'm/share/english/errmsg.sys', 'm/scripts/mariadb-install-db',
      'm/support-files/mysql.server', 'm/LICENSE', 'm/bin/mysql_tzinfo_to_sql', 'm/share/mysql_test_db.sql', 'm/share/extension/plpgsql.control', 'm/lib/include', 'm/bin/mariadb-backup',
    ]) assert.equal(isKept(path), true, path)
  })
})

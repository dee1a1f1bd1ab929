import assert from 'node:assert/strict'
import {chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import fc from 'fast-check'
import {shortSocketPath, socketPathLimitBytes} from '../../../src/agent/endpoints/socket-path.js'

describe('the path of a socket', () => {
  const root = mkdtempSync(join(tmpdir(), 'dbaas-sp-'))
  after(() => rmSync(root, {recursive: true, force: true}))
  const long = (name: string) => `/${name}/${'x'.repeat(120)}.sock`

  it('is the preferred one when that fits, else a short one: always bindable, always the same, never shared', () => {
    const seen = new Map<string, string>()
    fc.assert(fc.property(fc.string({unit: 'grapheme', minLength: 1, maxLength: 150}), (text) => {
      const preferred = `/${text}`
      const path = shortSocketPath(preferred, {root})
      assert.ok(Buffer.byteLength(path) <= socketPathLimitBytes)
      assert.equal(path === preferred, Buffer.byteLength(preferred) <= socketPathLimitBytes)
      assert.equal(shortSocketPath(preferred, {root}), path)
      assert.ok((seen.get(path) ?? preferred) === preferred)
      seen.set(path, preferred)
    }), {numRuns: 200})
  })

  it('is told without making anything to who only connects', () => {
    const path = shortSocketPath(long('absent'), {root, make: false})
    assert.equal(existsSync(dirname(path)), false)
    assert.equal(shortSocketPath(long('absent'), {root}), path)
  })

  it('lies in a folder of ours that nobody else may enter', () => {
    const {mode, uid} = statSync(dirname(shortSocketPath(long('mine'), {root})))
    assert.equal(mode & 0o777, 0o700)
    assert.equal(uid, process.getuid?.())
  })

  it('is refused when somebody else put the folder, or a link, there before', function () {
    const folder = dirname(shortSocketPath(long('theirs'), {root}))
    chmodSync(folder, 0o755)
    assert.throws(() => shortSocketPath(long('theirs'), {root}), {code: 'HOME_UNUSABLE'})
    rmSync(folder, {recursive: true})
    mkdirSync(join(root, 'elsewhere'), {mode: 0o700})
    symlinkSync(join(root, 'elsewhere'), folder)
    assert.throws(() => shortSocketPath(long('theirs'), {root}), {code: 'HOME_UNUSABLE'})
    rmSync(folder)
    if (process.getuid?.() !== 0) return this.skip()
    mkdirSync(folder, {mode: 0o700})
    chownSync(folder, 12345, 12345)
    assert.throws(() => shortSocketPath(long('theirs'), {root}), {code: 'HOME_UNUSABLE'})
  })
})

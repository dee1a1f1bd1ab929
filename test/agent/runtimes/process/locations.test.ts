import assert from 'node:assert/strict'
import {chmodSync, mkdirSync, readFileSync, realpathSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {resolveDataRoot} from '../../../../src/agent/runtimes/process/locations.js'
import {temporaryFolder} from '../../../support/temporary.js'

const isRoot = process.getuid?.() === 0

describe('where the data of a home lives', () => {
  const folder = temporaryFolder('locations')
  after(() => folder.dispose())
  function home(name: string, mode: number): string {
    const path = join(folder.path, name)
    mkdirSync(path)
    chmodSync(path, mode)
    return path
  }
  const shared = join(folder.path, 'shared')

  it('is the home itself where the server user can go', async () => {
    const open = home('open', 0o755)
    assert.equal(await resolveDataRoot(open, shared), realpathSync(open))
  })

  it('is the home itself for a normal user, however private it is', async function () {
    if (isRoot) return this.skip()
    const closed = home('private', 0o700)
    assert.equal(await resolveDataRoot(closed, shared), realpathSync(closed))
  })

  it('is a folder of its own, that names the home, where root keeps the home to itself', async function () {
    if (!isRoot) return this.skip()
    const [one, two] = [home('closed-1', 0o700), home('closed-2', 0o700)]
    const at = await resolveDataRoot(one, shared)
    assert.equal(await resolveDataRoot(one, shared), at)
    assert.notEqual(await resolveDataRoot(two, shared), at)
    assert.equal(join(at, '..'), shared)
    assert.equal(statSync(at).mode & 0o777, 0o711)
    assert.equal(readFileSync(join(at, 'home'), 'utf8'), `${realpathSync(one)}\n`)
    writeFileSync(join(at, 'home'), '/elsewhere\n')
    await assert.rejects(resolveDataRoot(one, shared), {code: 'HOME_UNUSABLE'})
  })

  it('is never below a folder that everybody may write', async () => {
    const loose = home('loose', 0o777)
    mkdirSync(join(loose, 'home'))
    await assert.rejects(resolveDataRoot(join(loose, 'home'), shared), {code: 'HOME_UNUSABLE'})
    chmodSync(loose, 0o1777)
    assert.ok(await resolveDataRoot(join(loose, 'home'), shared))
  })

  it('is refused where the home does not exist', async () => {
    await assert.rejects(resolveDataRoot(join(folder.path, 'absent'), shared), {name: 'DbaasError'})
  })
})

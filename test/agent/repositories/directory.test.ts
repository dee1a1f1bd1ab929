import assert from 'node:assert/strict'
import {execFileSync, spawn} from 'node:child_process'
import {once} from 'node:events'
import {cpSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {openDirectory} from '../../../src/agent/repositories/directory/index.js'
import {projectRoot} from '../../support/site.js'
import {temporaryFolder} from '../../support/temporary.js'
import {storeConformance} from './store-conformance.js'

storeConformance('a folder', async () => {
  const {path, dispose} = temporaryFolder('directory')
  return {open: () => openDirectory(join(path, 'repository')), dispose: async () => dispose(), largeBytes: 3_000_000}
})

describe('a folder as a repository', () => {
  let folder: {path: string; dispose(): void}
  beforeEach(() => {
    folder = temporaryFolder('directory')
  })
  afterEach(() => folder.dispose())

  it('is closed to others, whatever the umask is', async () => {
    const umask = process.umask(0)
    try {
      const root = join(folder.path, 'r')
      const store = openDirectory(root)
      await store.prepare()
      await store.put('a/b/c', Buffer.from('x'))
      assert.equal(await store.putIfAbsent('a/b/d', Buffer.from('x')), true)
      const modes = (path: string) => statSync(join(root, path)).mode & 0o777
      assert.deepEqual(['', 'a', 'a/b', 'a/b/c', 'a/b/d'].map(modes), [0o700, 0o700, 0o700, 0o600, 0o600])
    } finally {
      process.umask(umask)
    }
  })

  it('leaves no empty folders', async () => {
    const store = openDirectory(folder.path)
    await store.put('a/b/c', Buffer.from('x'))
    await store.put('a/d', Buffer.from('x'))
    await store.delete('a/b/c', {erase: true})
    assert.deepEqual(readdirSync(join(folder.path, 'a')), ['d'])
    await Promise.all(Array.from({length: 40}, async (_, i) => {
      await store.put(`x/y/${i % 3}`, Buffer.from('x'))
      await store.delete(`x/y/${i % 3}`)
    }))
    assert.deepEqual(readdirSync(folder.path).sort(), ['.drafts', 'a'])
  })

  it('writes nothing where it is not mounted, and says so', async () => {
    const root = join(folder.path, 'gone')
    const store = openDirectory(root)
    await store.prepare()
    await store.put('a', Buffer.from('x'))
    rmSync(root, {recursive: true})
    for (const work of [() => store.put('a', Buffer.from('x')), () => store.putIfAbsent('b', Buffer.from('x')), () => store.get('a'), () => store.stat('a'), () => store.list(''), () => store.delete('a')]) {
      await assert.rejects(work, {code: 'REPOSITORY_UNAVAILABLE'})
    }
    assert.throws(() => statSync(root))
  })

  it('is not taken for empty when its disk is taken from below it, and goes on when it is back', async function () {
    if (process.getuid?.() !== 0) return this.skip()
    const [disk, root] = [join(folder.path, 'disk'), join(folder.path, 'mounted')]
    const bind = (from: string) => execFileSync('mount', ['--bind', from, root])
    mkdirSync(disk)
    mkdirSync(root)
    bind(disk)
    try {
      const store = openDirectory(root)
      await store.prepare()
      await store.put('a/b', Buffer.from('x'))
      execFileSync('umount', [root])
      for (const work of [
        () => store.put('a/b', Buffer.from('y')), () => store.putIfAbsent('c', Buffer.from('x')), () => store.get('a/b'), () => store.stat('a/b'), () => store.list(''), () => store.delete('a/b'),
      ]) await assert.rejects(work, {code: 'REPOSITORY_UNAVAILABLE', suggestions: ['mount the disk that it is on']})
      assert.deepEqual(readdirSync(root), [])
      // as another folder than it was: what a mount again may give
      cpSync(disk, `${disk}-2`, {recursive: true})
      bind(`${disk}-2`)
      assert.equal((await store.get('a/b')).toString(), 'x')
      await store.put('c', Buffer.from('z'))
    } finally {
      execFileSync('umount', [root])
    }
    assert.deepEqual(readdirSync(root), [])
  })

  it('passes by what is not its own', async () => {
    const store = openDirectory(folder.path)
    await store.put('a/b', Buffer.from('x'))
    mkdirSync(join(folder.path, 'lost+found'), {mode: 0})
    mkdirSync(join(folder.path, 'a', 'copy of b'))
    for (const name of ['a/copy of b/x', 'a/b (1)', 'a/.b.swp', 'notes to self']) writeFileSync(join(folder.path, name), 'x')
    assert.deepEqual((await store.list('')).objects.map(({name}) => name), ['a/b'])
  })

  it('follows no link that somebody has put there', async () => {
    const store = openDirectory(folder.path)
    mkdirSync(join(folder.path, 'a'))
    writeFileSync(join(folder.path, 'secret'), 'secret')
    symlinkSync(join(folder.path, 'secret'), join(folder.path, 'a', 'link'))
    await assert.rejects(store.get('a/link'))
    assert.deepEqual((await store.list('a/')).objects, [])
    await store.put('a/link', Buffer.from('mine'))
    assert.equal((await store.get('a/link')).toString(), 'mine')
    assert.equal((await store.get('secret')).toString(), 'secret')
  })

  it('removes drafts of the dead, and not those of the living', async () => {
    const store = openDirectory(folder.path)
    await store.prepare()
    const draft = (name: string) => writeFileSync(join(folder.path, '.drafts', name), 'half')
    draft(`${Date.now() - 100_000}-othermachine-1-abc`)
    draft(`${Date.now()}-othermachine-1-def`)
    assert.equal(await store.tidy(50_000), 1)
    const child = spawn(process.execPath, ['--import', 'tsx', '-e', `
      import {openDirectory} from ${JSON.stringify(join(projectRoot, 'src/agent/repositories/directory/index.ts'))}
      const store = openDirectory(${JSON.stringify(folder.path)})
      void store.put('large', Array.from({length: 2000}, () => Buffer.alloc(1_000_000))).catch(() => undefined)
      setInterval(() => console.log('writing'), 20)
    `], {cwd: projectRoot, stdio: ['ignore', 'pipe', 'inherit']})
    await once(child.stdout, 'data')
    assert.equal(await store.tidy(50_000), 0)
    assert.equal(readdirSync(join(folder.path, '.drafts')).length, 2)
    child.kill('SIGKILL')
    await once(child, 'close')
    assert.equal(await store.tidy(50_000), 1)
    assert.deepEqual((await store.list('')).objects, [])
  })

  it('says that the disk is full, and has nothing half of it', async function () {
    if (process.getuid?.() !== 0) return this.skip()
    const root = join(folder.path, 'small')
    mkdirSync(root)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', root])
    try {
      const store = openDirectory(root)
      await store.prepare()
      await store.put('kept', Buffer.from('kept'))
      await assert.rejects(store.put('large', Buffer.alloc(4_000_000)), {code: 'DISK_FULL'})
      await assert.rejects(store.putIfAbsent('large', [Buffer.alloc(1_000_000), Buffer.alloc(3_000_000)]), {code: 'DISK_FULL'})
      assert.deepEqual((await store.list('')).objects.map(({name}) => name), ['kept'])
      assert.deepEqual(readdirSync(join(root, '.drafts')), [])
      await store.put('small', Buffer.alloc(500_000))
      // What is urgent finds room even then, until something was removed.
      while (await store.put('filling', Buffer.alloc((await store.stat('filling').then((facts) => facts?.size ?? 0)) + 50_000)).then(() => true, () => false)) continue
      while (await store.put(`more/${Math.random()}`, Buffer.alloc(100)).then(() => true, () => false)) continue
      await assert.rejects(store.putIfAbsent('lease', Buffer.alloc(100)), {code: 'DISK_FULL'})
      assert.equal(await store.putIfAbsent('lease', Buffer.alloc(100), {urgent: true}), true)
      await store.delete('filling')
      await store.tidy(0)
      assert.equal(statSync(join(root, '.reserve')).size, 256 * 1024)
    } finally {
      execFileSync('umount', [root])
    }
  })
})

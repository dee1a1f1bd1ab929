/** Repositories by their records, and master keys by where they come from. */
import assert from 'node:assert/strict'
import {randomBytes} from 'node:crypto'
import {existsSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {kindNamed, openNamed, secretSettings, storeOf, type RepositoryRecord} from '../../../src/agent/repositories/index.js'
import {repositoryKinds} from '../../../src/agent/repositories/names.js'
import {readSettings} from '../../../src/agent/repositories/settings.js'
import {masterKeyFrom, parseMasterKeySource} from '../../../src/agent/repositories/vault/master-key.js'
import {temporaryFolder} from '../../support/temporary.js'

describe('a repository by its record', () => {
  let folder: {path: string; dispose(): void}
  let record: RepositoryRecord
  beforeEach(() => {
    folder = temporaryFolder('record')
    record = {name: 'local', kind: 'directory', settings: {path: join(folder.path, 'r')}, id: null}
  })
  afterEach(() => folder.dispose())

  it('is made once, and is the same ever after', async () => {
    const {id, name, store} = await openNamed(record)
    assert.match(id, /^[0-9a-f-]{36}$/)
    assert.equal(name, 'local')
    assert.equal(store.kind, 'directory')
    assert.equal((await openNamed({...record, id})).id, id)
    assert.equal((await openNamed(record)).id, id)
    assert.equal((await openNamed({...record, settings: {path: join(folder.path, 'x', '..', 'r', '')}})).store.where, join(folder.path, 'r'))
  })

  it('is not made anew where the one that was there has gone, nor is another one taken for it', async () => {
    const {id} = await openNamed(record)
    renameSync(join(folder.path, 'r'), join(folder.path, 'away'))
    await assert.rejects(openNamed({...record, id}), {code: 'REPOSITORY_UNAVAILABLE'})
    assert.ok(!existsSync(join(folder.path, 'r')))
    // a mount point without its disk
    mkdirSync(join(folder.path, 'r'))
    await assert.rejects(openNamed({...record, id}), {code: 'REPOSITORY_UNAVAILABLE', message: /there is no repository in/})
    assert.deepEqual(readdirSync(join(folder.path, 'r')), [])
    const other = await openNamed(record)
    await assert.rejects(openNamed({...record, id}), {code: 'REPOSITORY_REFUSED', message: new RegExp(`another repository: ${other.id}, and not ${id}`)})
    await assert.rejects(openNamed({...record, id}, 'read'), {code: 'REPOSITORY_REFUSED'})
  })

  it('is opened to be read without a byte being written', async () => {
    await assert.rejects(openNamed(record, 'read'), {code: 'REPOSITORY_UNAVAILABLE'})
    assert.deepEqual(readdirSync(folder.path), [])
    const {id} = await openNamed(record)
    const root = join(folder.path, 'r')
    const state = () => readdirSync(root, {recursive: true}).sort().map((name) => `${name} ${statSync(join(root, name as string)).mtimeMs}`).concat(`${statSync(root).mtimeMs}`)
    const before = state()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const {store} = await openNamed({...record, id}, 'read')
    assert.equal((await store.get('repository')).toString(), `{"format":"dbaas-repository","version":1,"id":"${id}"}\n`)
    assert.deepEqual(state(), before)
    // what opening it to write does, for comparison
    await openNamed({...record, id})
    assert.notDeepEqual(state(), before)
  })

  it('of a newer format, or that is none, is told', async () => {
    const root = join(folder.path, 'r')
    mkdirSync(root)
    writeFileSync(join(root, 'repository'), '{"format":"dbaas-repository","version":2,"id":"11111111-1111-4111-8111-111111111111"}\n')
    await assert.rejects(openNamed(record), {code: 'REPOSITORY_NEWER', suggestions: ['upgrade dbaas']})
    writeFileSync(join(root, 'repository'), 'something else')
    await assert.rejects(openNamed(record), {code: 'REPOSITORY_DAMAGED'})
  })

  it('with bad settings is refused by the name of the setting, with what to do', async () => {
    const refused: [Partial<RepositoryRecord>, RegExp, RegExp][] = [
      [{kind: 'directry'}, /no repository of kind "directry"/, /did you mean directory/],
      [{kind: 'tape-library'}, /no repository of kind "tape-library"/, new RegExp(`the kinds are ${repositoryKinds.join(', ')}`)],
      [{settings: {}}, /"path" of a repository of kind directory is missing/, /^$/],
      [{settings: {path: ''}}, /"path".*must be text, and not empty/, /^$/],
      [{settings: {path: 7}}, /"path".*must be text/, /^$/],
      [{settings: {path: 'backups'}}, /"backups" of a repository is not absolute/, /\/var\/backups\/backups/],
      [{settings: {path: '/b', pth: '/c'}}, /"pth".*is unknown/, /did you mean path/],
      [{settings: {path: '/b', bucket: 'x'}}, /"bucket".*is unknown/, /the settings are path/],
    ]
    for (const [change, message, suggestion] of refused) {
      await assert.rejects(storeOf({...record, ...change}), (error: Error & {code: string; suggestions: string[]}) => {
        assert.equal(error.code, 'INVALID_REQUEST')
        assert.match(error.message, message)
        assert.match(error.suggestions[0] ?? '', suggestion)
        return true
      })
    }
    for (const kind of repositoryKinds) assert.ok(Array.isArray(secretSettings(kindNamed(kind))))
    const read = readSettings('x', {on: true, off: 'yes'})
    assert.equal(read.flag('on', false), true)
    assert.equal(read.flag('absent', true), true)
    assert.equal(read.optionalText('nothing'), undefined)
    assert.throws(() => read.flag('off', false), {code: 'INVALID_REQUEST', message: /"off".*must be true or false/})
  })
})

describe('where a master key comes from', () => {
  it('is written as one text, and then gives the key', async () => {
    const {path, dispose} = temporaryFolder('key-source')
    try {
      const key = randomBytes(32)
      const file = join(path, 'master key')
      writeFileSync(file, key)
      writeFileSync(join(path, 'plain'), key)
      const environment = {BACKUP_KEY: key.toString('hex')}
      for (const text of [`file:${file}`, 'env:BACKUP_KEY', `command:${JSON.stringify(['cat', file])}`, `command:cat ${join(path, 'plain')}`]) {
        assert.ok((await masterKeyFrom(parseMasterKeySource(text), environment).load()).equals(key), text)
      }
      assert.deepEqual(parseMasterKeySource(' command: kms  decrypt key-1 '), {kind: 'command', command: ['kms', 'decrypt', 'key-1']})
    } finally {
      dispose()
    }
  })

  it('or is refused, without being repeated: it may be the key', () => {
    const secret = randomBytes(32).toString('hex')
    for (const text of ['', secret, `file:${secret}`, 'file:relative/path', 'env:NOT A NAME', 'command:', 'command:[]', 'command:[1]', 'command:["a"', 'kms:key']) {
      assert.throws(() => parseMasterKeySource(text), (error: Error & {code: string; suggestions: string[]}) => {
        assert.equal(error.code, 'INVALID_REQUEST')
        assert.ok(!error.message.includes(secret) && error.suggestions.length === 1)
        return true
      }, text)
    }
  })
})

import assert from 'node:assert/strict'
import fc from 'fast-check'
import {createBody, parseCreateFile} from '../../src/commands/_support/create-request.js'
import {parseAssignments} from '../../src/commands/_support/flags.js'
import type {DbaasError} from '../../src/core/errors.js'

const failsWith = (code: string, words: RegExp) => (error: DbaasError) => error.code === code && words.test(`${error.message} ${error.suggestions.join(' ')}`)

describe('what create sends', () => {
  it('takes the keys of a file, and the flags win', async () => {
    const file = await parseCreateFile('name: shop\nversion: 17.10\nmemory: 2GiB\nset:\n  work_mem: 8MB\n  jit: off\nprotect: true\nttl: 1h30m\n', 'shop.yaml')
    assert.deepEqual(createBody(file, {memory: '4GiB', set: ['work_mem=16MB']}, false), {
      name: 'shop', version: '17.10', memory_bytes: 4 * 1024 ** 3, parameters: {work_mem: '16MB', jit: 'off'}, protected: true, ttl_seconds: 5400,
    })
  })

  it('takes an image and the address that ports are bound to, by the flags\' names', async () => {
    const file = await parseCreateFile('name: a\nruntime: docker\nimage: postgres:18\npublish-address: 192.0.2.1\n', 'a.yaml')
    assert.deepEqual(createBody(file, {image: 'postgis/postgis:18'}, false), {name: 'a', runtime: 'docker', image: 'postgis/postgis:18', publish_address: '192.0.2.1'})
  })

  it('keeps what was typed: a version is no number, a value no boolean', async () => {
    const file = await parseCreateFile('{"name": "a", "version": 17.10, "set": ["fsync=on", "x.y=1.0"]}', 'a.json')
    assert.deepEqual(createBody(file, {}, true), {name: 'a', version: '17.10', parameters: {fsync: 'on', 'x.y': '1.0'}, plan: true})
  })

  const wrong: readonly (readonly [title: string, text: string, words: RegExp])[] = [
    ['an unknown key', 'name: a\nsizee: small\n', /sizee.*did you mean size/],
    ['a list', '- a\n', /mapping/],
    ['an empty file', '', /mapping/],
    ['broken YAML', 'name: [a\n', /shop\.yaml/],
    ['a key twice', 'name: a\nname: b\n', /unique/],
    ['a mapping for one value', 'name: {a: b}\n', /"name" takes one value/],
    ['a word for protect', 'protect: maybe\n', /true or false/],
  ]
  for (const [title, text, words] of wrong) {
    it(`refuses a file with ${title}`, async () => assert.rejects(parseCreateFile(text, 'shop.yaml'), failsWith('USAGE', words)))
  }

  it('needs a name, and only one', () => {
    assert.throws(() => createBody({}, {}, false), failsWith('USAGE', /missing NAME/))
    assert.throws(() => createBody({name: 'a'}, {name: 'b'}, false), failsWith('USAGE', /"a".*"b"/))
  })

  it('refuses numbers, sizes and durations that are none, naming the flag', () => {
    assert.throws(() => createBody({}, {name: 'a', cpu: 'two'}, false), failsWith('USAGE', /--cpu/))
    assert.throws(() => createBody({}, {name: 'a', port: '70000'}, false), failsWith('USAGE', /--port/))
    assert.throws(() => createBody({}, {name: 'a', memory: '4 apples'}, false), failsWith('INVALID_SIZE', /4 apples/))
    assert.throws(() => createBody({}, {name: 'a', ttl: 'soon'}, false), failsWith('INVALID_REQUEST', /soon/))
    assert.throws(() => createBody({}, {name: 'a', ttl: '0s'}, false), failsWith('USAGE', /--ttl/))
  })

  it('splits an assignment at the first = and keeps every other', () => {
    const name = fc.stringMatching(/^[a-z_][a-z0-9_.]{0,20}$/)
    const value = fc.string({maxLength: 20}).map((text) => text.trim())
    fc.assert(fc.property(fc.dictionary(name, value, {noNullPrototype: true}), (values) => {
      assert.deepEqual(parseAssignments(Object.entries(values).map(([key, text]) => `${key}=${text}`)), values)
    }), {numRuns: 300})
    assert.throws(() => parseAssignments(['=1']), failsWith('USAGE', /NAME=VALUE/))
    assert.throws(() => parseAssignments(['work_mem']), failsWith('USAGE', /NAME=VALUE/))
  })
})

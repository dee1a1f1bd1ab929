import fc from 'fast-check'
import assert from 'node:assert/strict'
import {mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs'
import {homedir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {
  addContext,
  checkUrl,
  currentContext,
  findContext,
  listContexts,
  removeContext,
  useContext,
} from '../../../src/agent/client/contexts.js'
import {homeOf, locate} from '../../../src/agent/client/locate.js'
import {agentSocketPath} from '../../../src/agent/client/socket-path.js'
import {temporaryFolder} from '../../support/temporary.js'

describe('contexts', () => {
  const folder = temporaryFolder('contexts')
  let home = ''
  let n = 0
  beforeEach(() => (home = join(folder.path, `home-${n++}`)))
  after(() => folder.dispose())
  const remote = {url: 'https://db.example.com:7443', token: 't0ken', tenant: 'acme'}

  it('begin with local alone, and listing makes nothing', () => {
    assert.deepEqual(listContexts(home), [
      {name: 'local', current: true, address: null, tenant: null, has_token: false},
    ])
    assert.equal(findContext(home, 'local'), undefined)
    assert.throws(() => statSync(home), {code: 'ENOENT'})
  })

  it('are added, used and removed, in a file that only its owner reads', () => {
    addContext(home, 'prod', remote)
    addContext(home, 'lab', {socketPath: '/run/lab/agent.sock'})
    useContext(home, 'prod')
    assert.deepEqual(listContexts(home), [
      {name: 'local', current: false, address: null, tenant: null, has_token: false},
      {name: 'lab', current: false, address: '/run/lab/agent.sock', tenant: null, has_token: false},
      {name: 'prod', current: true, address: 'https://db.example.com:7443', tenant: 'acme', has_token: true},
    ])
    assert.equal(statSync(join(home, 'contexts.json')).mode & 0o777, 0o600)
    assert.equal(statSync(home).mode & 0o777, 0o700)
    assert.deepEqual(readdirSync(home), ['contexts.json'])
    removeContext(home, 'prod')
    assert.equal(currentContext(home), 'local')
    assert.throws(() => findContext(home, 'prod'), {code: 'CONTEXT_NOT_FOUND'})
  })

  it('are what was added last, for any sequence of changes', () => {
    const change = fc.record({
      what: fc.constantFrom('add', 'use', 'remove', 'replace'),
      name: fc.constantFrom('a', 'b', 'c', 'local', 'constructor'),
    })
    fc.assert(
      fc.property(fc.array(change, {maxLength: 12}), (changes) => {
        rmSync(home, {recursive: true, force: true})
        const model = new Map<string, string>()
        let current = 'local'
        for (const [i, {what, name}] of changes.entries()) {
          const url = `https://host-${i}`
          const known = name === 'local' || model.has(name)
          const may =
            what === 'add' ? !known : what === 'replace' ? name !== 'local' : what === 'use' ? known : model.has(name)
          const run = (): void => {
            if (what === 'add' || what === 'replace') addContext(home, name, {url}, {replace: what === 'replace'})
            else if (what === 'use') useContext(home, name)
            else removeContext(home, name)
          }
          if (!may) {
            assert.throws(run, {name: 'DbaasError'})
            continue
          }
          run()
          if (what === 'add' || what === 'replace') model.set(name, url)
          if (what === 'use') current = name
          if (what === 'remove') {
            model.delete(name)
            if (current === name) current = 'local'
          }
        }
        assert.equal(currentContext(home), current)
        assert.deepEqual(
          new Map(
            listContexts(home)
              .slice(1)
              .map((c) => [c.name, c.address]),
          ),
          new Map([...model].sort()),
        )
      }),
      {numRuns: 200},
    )
  })

  it('suggest the nearest name, and refuse names, URLs and paths that are none', () => {
    addContext(home, 'production', remote)
    assert.throws(
      () => findContext(home, 'prodution'),
      (error: {suggestions: string[]}) => /production/.test(error.suggestions[0] ?? ''),
    )
    assert.throws(() => addContext(home, 'Prod', remote), {code: 'INVALID_NAME'})
    assert.throws(() => addContext(home, 'production', remote), {code: 'NAME_IN_USE'})
    assert.throws(() => addContext(home, 'local', remote), /NAME_IN_USE|local/)
    assert.throws(() => addContext(home, 'x', {socketPath: 'agent.sock'}), {code: 'USAGE'})
    for (const url of ['db.example.com', 'ftp://a', 'http://db.example.com', '', 'https://'])
      assert.throws(() => checkUrl(url), {code: 'USAGE'}, url)
    for (const url of ['https://a', 'http://localhost:1', 'http://127.0.0.1:1', 'http://[::1]:1']) checkUrl(url)
  })

  it('say so when the file is damaged, newer, or out of reach', () => {
    mkdirSync(home)
    const file = join(home, 'contexts.json')
    for (const text of [
      '',
      '{',
      '[]',
      '{"version":1}',
      '{"version":1,"current":"local","contexts":{"a":{}}}',
      '{"version":1,"current":5,"contexts":{}}',
    ]) {
      writeFileSync(file, text)
      assert.throws(() => listContexts(home), {code: 'STORE_CORRUPT'}, text)
      assert.throws(() => addContext(home, 'a', remote), {code: 'STORE_CORRUPT'}, text)
      assert.equal(readFileSync(file, 'utf8'), text)
    }
    writeFileSync(file, '{"version":2,"something":"else"}')
    assert.throws(() => listContexts(home), {code: 'STORE_NEWER'})
    rmSync(file)
    mkdirSync(file)
    assert.throws(() => listContexts(home), {code: 'HOME_UNUSABLE'})
    writeFileSync(`${home}-file`, '')
    assert.throws(() => addContext(`${home}-file`, 'a', remote), {code: 'HOME_UNUSABLE'})
  })
})

describe('the agent of a command', () => {
  const folder = temporaryFolder('locate')
  const home = join(folder.path, 'home')
  before(() => {
    addContext(home, 'prod', {url: 'https://prod', token: 'saved', tenant: 'acme'})
    addContext(home, 'lab', {socketPath: '/run/lab.sock'})
  })
  after(() => folder.dispose())
  const at = (asked: Parameters<typeof locate>[0], environment: Record<string, string> = {}) => {
    const {context, local, target, tenant} = locate(asked, {DBAAS_HOME: home, ...environment})
    return [context, local, target, tenant]
  }

  it('is the nearest of flag, DBAAS_URL, DBAAS_CONTEXT, the one in use, and local', () => {
    const local = ['local', true, {socketPath: join(home, 'agent.sock')}, undefined]
    assert.deepEqual(at({}), local)
    useContext(home, 'lab')
    assert.deepEqual(at({}), ['lab', false, {socketPath: '/run/lab.sock'}, undefined])
    assert.deepEqual(at({}, {DBAAS_CONTEXT: 'prod'}), ['prod', false, {url: 'https://prod', token: 'saved'}, 'acme'])
    assert.deepEqual(at({}, {DBAAS_CONTEXT: 'prod', DBAAS_URL: 'https://other', DBAAS_TOKEN: 't'}), [
      'DBAAS_URL',
      false,
      {url: 'https://other', token: 't'},
      undefined,
    ])
    assert.deepEqual(at({context: 'local'}, {DBAAS_URL: 'https://other'}), local)
    assert.deepEqual(at({context: 'prod', tenant: 'flag'}, {DBAAS_TOKEN: 'env', DBAAS_TENANT: 'env'}), [
      'prod',
      false,
      {url: 'https://prod', token: 'env'},
      'flag',
    ])
    assert.deepEqual(at({context: 'prod'}, {DBAAS_TENANT: 'env'})[3], 'env')
    assert.deepEqual(at({}, {DBAAS_CONTEXT: '', DBAAS_URL: '', DBAAS_TENANT: ''})[0], 'lab')
    useContext(home, 'local')
  })

  it('is an error when what names it is none', () => {
    assert.throws(() => at({context: 'prd'}), {code: 'CONTEXT_NOT_FOUND'})
    assert.throws(() => at({}, {DBAAS_CONTEXT: 'prd'}), {code: 'CONTEXT_NOT_FOUND'})
    assert.throws(() => at({}, {DBAAS_URL: 'http://prod'}), {code: 'USAGE'})
  })

  it('has its home in DBAAS_HOME, absolute, else in ~/.dbaas', () => {
    assert.equal(homeOf({DBAAS_HOME: 'rel'}), resolve('rel'))
    assert.equal(homeOf({HOME: '/u'}), '/u/.dbaas')
    assert.equal(homeOf({DBAAS_HOME: '', HOME: ''}), join(homedir(), '.dbaas'))
  })
})

describe("the path of the agent's socket", () => {
  const folder = temporaryFolder('path')
  const root = join(folder.path, 'tmp')
  before(() => mkdirSync(root))
  after(() => folder.dispose())

  it('is in the home when a socket may have such a path', () => {
    const home = join(folder.path, 'über home')
    assert.equal(agentSocketPath(home, {root}), join(home, 'agent.sock'))
    assert.deepEqual(readdirSync(root), [])
  })

  it('is short for any home, the same by every way to it, and another for each', () => {
    const real = join(folder.path, 'x'.repeat(90))
    mkdirSync(real)
    const link = join(folder.path, 'l')
    symlinkSync(real, link)
    const path = agentSocketPath(real, {root})
    assert.equal(agentSocketPath(link, {root}), path)
    assert.equal(agentSocketPath(join(folder.path, 'l', '..', 'l'), {root}), path)
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700)
    fc.assert(
      fc.property(
        fc.string({unit: 'grapheme', maxLength: 60}),
        fc.string({unit: 'grapheme', maxLength: 60}),
        (a, b) => {
          const [one, two] = [a, b].map((text) =>
            agentSocketPath(join(folder.path, `h-${encodeURIComponent(text)}`), {root}),
          ) as [string, string]
          assert.equal(one === two, a === b)
          assert.ok(Buffer.byteLength(one) <= Math.max(100, Buffer.byteLength(root) + 50))
        },
      ),
      {numRuns: 100},
    )
  })

  it('is refused when others could be behind it', () => {
    const home = join(folder.path, 'y'.repeat(90))
    const evil = join(folder.path, 'evil')
    mkdirSync(evil)
    const own = join(evil, `dbaas-${process.getuid?.()}`)
    mkdirSync(own, {mode: 0o777})
    assert.throws(() => agentSocketPath(home, {root: evil}), {code: 'HOME_UNUSABLE'})
    rmSync(own, {recursive: true})
    symlinkSync(root, own)
    assert.throws(() => agentSocketPath(home, {root: evil}), {code: 'HOME_UNUSABLE', message: /not a folder/})
    rmSync(own)
    writeFileSync(own, '')
    assert.throws(() => agentSocketPath(home, {root: evil}), {code: 'HOME_UNUSABLE'})
  })
})

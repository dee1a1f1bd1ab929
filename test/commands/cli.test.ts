import assert from 'node:assert/strict'
import {readFileSync} from 'node:fs'
import {join} from 'node:path'
import {endpointPaths} from '../../src/core/api/paths.js'
import {errorTable} from '../../src/core/errors.js'
import type {ErrorCode} from '../../src/core/errors.js'
import {projectRoot, run, temporarySite} from '../support/site.js'
import type {Ran, Site} from '../support/site.js'

const packageJson = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as {version: string}
const manifest = JSON.parse(readFileSync(join(projectRoot, 'oclif.manifest.json'), 'utf8')) as {
  version: string
  commands: Record<string, {description?: string; summary?: string; examples?: string[]; flags: Record<string, unknown>}>
}

/** One document of the error's form, with the exit code of its code, and nothing beside it. */
function assertError(ran: Ran, code: ErrorCode, words: RegExp): void {
  const document = JSON.parse(ran.stdout) as {error: {code: string; message: string; suggestions?: string[]}; request_id: string; timestamp: string}
  assert.equal(document.error.code, code)
  assert.equal(ran.code, errorTable[code].exit)
  assert.match(`${document.error.message} | ${(document.error.suggestions ?? []).join(' | ')}`, words)
  assert.match(document.request_id, /^req_/)
  assert.equal(new Date(document.timestamp).toISOString(), document.timestamp)
}

describe('the command line', () => {
  let site: Site
  before(() => {
    site = temporarySite('cli')
  })
  after(() => site.dispose())

  it('answers --version with the version of package.json, which the manifest has, too', async () => {
    assert.equal((await site.run('--version')).stdout, `dbaas/${packageJson.version} ${process.platform}-${process.arch} node-${process.version}\n`)
    assert.equal(manifest.version, packageJson.version)
  })

  it('has a fresh manifest', async () => {
    const {manifestText} = (await import(join(projectRoot, 'scripts/manifest.js'))) as {manifestText(root: string): Promise<string>}
    assert.equal(readFileSync(join(projectRoot, 'oclif.manifest.json'), 'utf8'), await manifestText(`${projectRoot}/`))
  })

  it('has every verb that the API names, each with a summary and two examples', () => {
    const ids = new Set(Object.keys(manifest.commands).map((id) => id.replaceAll(':', ' ')))
    for (const {verb} of Object.values(endpointPaths)) assert.ok(ids.has(verb.replace(' --help', '')), `no command "${verb}"`)
    for (const [id, command] of Object.entries(manifest.commands)) {
      assert.ok(command.summary, `${id} has no summary`)
      assert.ok((command.examples ?? []).length >= 2, `${id} has fewer than two examples`)
      // standard output belongs to somebody else: to psql, to the log, to the command that is run
      if (!['connect', 'agent:run', 'run'].includes(id)) assert.ok('json' in command.flags, `${id} has no --json`)
    }
  })

  it('shows help for every topic without an agent', async () => {
    const {stdout, code} = await site.run('help')
    assert.equal(code, 0)
    for (const word of ['create', 'connect', 'config', 'engines', 'operations', 'context', 'autocomplete']) assert.match(stdout, new RegExp(`\\b${word}\\b`))
    assert.doesNotMatch(stdout, /_support/)
    assert.match((await site.run('config', 'templates', '--help')).stdout, /config templates save/)
  })

  const usage: readonly (readonly [title: string, argv: string[], code: ErrorCode, words: RegExp])[] = [
    ['a mistyped command', ['lst'], 'USAGE', /no command "lst".*did you mean: dbaas list/],
    ['a mistyped command of a topic', ['config', 'shw', 'demo'], 'USAGE', /no command "config shw".*dbaas config show/],
    ['a mistyped topic', ['operatons', 'list'], 'USAGE', /operations/],
    ['an unknown flag', ['create', 'demo', '--sise', 'small'], 'USAGE', /no flag --sise.*--size/],
    ['a missing argument', ['status'], 'USAGE', /missing NAME.*dbaas status NAME/],
    ['too many arguments', ['status', 'a', 'b'], 'USAGE', /does not expect "b"/],
    ['a flag without its value', ['create', 'demo', '--size'], 'USAGE', /--size expects a value/],
    ['a word that a flag does not know', ['url', 'demo', '--format', 'xml'], 'USAGE', /uri, jdbc, env, libpq/],
    ['a number that is none', ['logs', 'demo', '--lines', 'many'], 'USAGE', /--lines/],
    ['a time that is none', ['logs', 'demo', '--since', 'yesterday'], 'INVALID_REQUEST', /yesterday/],
    ['a size that is none', ['create', 'demo', '--memory', 'much'], 'INVALID_SIZE', /much/],
    ['a file that is not there', ['create', '-f', '/no/such.yaml'], 'FILE_NOT_FOUND', /no such file/],
    ['an unknown context', ['list', '--context', 'nowhere'], 'CONTEXT_NOT_FOUND', /nowhere/],
    ['a delete that nobody confirms', ['delete', 'demo'], 'CONFIRMATION_REQUIRED', /dbaas delete demo --yes/],
    ['high availability with nobody to take over', ['create', 'demo', '--ha', '--replicas', '0'], 'USAGE', /nobody could take over.*--ha --replicas 1/],
    ['replicas that are no number', ['scale', 'demo', '--replicas', 'many'], 'USAGE', /--replicas takes a whole number/],
    ['a promotion of nobody', ['promote', 'demo'], 'USAGE', /missing NODE.*dbaas promote NAME NODE/],
    ['two faults at once', ['drill', 'failover', 'demo', '--kill', '--hang'], 'USAGE', /--kill.*--hang|--hang.*--kill/],
    ['an empty statement', ['sql', 'demo', ' '], 'USAGE', /empty/],
    ['a path that is none', ['api', 'GET', 'v1/instances'], 'USAGE', /not a path/],
    ['which version to remove', ['engines', 'remove', 'postgresql'], 'USAGE', /which version/],
  ]
  for (const [title, argv, code, words] of usage) {
    it(`refuses ${title} by ${code}, as text and as one JSON document`, async () => {
      const [text, json] = await Promise.all([site.run(...argv), site.run(...argv, '--json')])
      assertError(json, code, words)
      assert.equal(text.code, errorTable[code].exit)
      assert.equal(text.stdout, '')
      assert.match(text.stderr, /^✗ .+\n(?: {2}→ .+\n)*.* {2}[A-Z_]+, exit \d+, req_/s)
    })
  }

  it('never starts an agent for agent status or agent stop', async () => {
    for (const verb of ['status', 'stop']) {
      assertError(await site.run('agent', verb, '--json'), 'AGENT_UNREACHABLE', /agent start/)
    }
  })

  it('keeps contexts and talks to the one it is told to', async () => {
    assert.equal((await site.run('context', 'add', 'other', '--socket', join(site.home, 'none.sock'))).code, 0)
    const {contexts} = (await site.json('context', 'list')) as {contexts: {name: string; current: boolean}[]}
    assert.deepEqual(contexts.map(({name, current}) => [name, current]), [['local', true], ['other', false]])
    assertError(await site.run('list', '--context', 'other', '--json'), 'AGENT_UNREACHABLE', /none\.sock/)
    assert.equal((await site.run('context', 'use', 'other')).code, 0)
    assertError(await site.run('list', '--json'), 'AGENT_UNREACHABLE', /none\.sock/)
    assert.equal((await site.run('context', 'remove', 'other')).code, 0)
  })

  it('runs from source, too', async () => {
    const ran = await run([process.execPath, join(projectRoot, 'bin/dev.js'), 'agent', 'status', '--json'], {env: site.env})
    assertError(ran, 'AGENT_UNREACHABLE', /agent start/)
  })
})

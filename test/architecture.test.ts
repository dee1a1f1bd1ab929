import assert from 'node:assert/strict'
import {readdirSync, readFileSync} from 'node:fs'
import {join, relative, sep} from 'node:path'
import {breaches, importsOf} from './support/import-law.js'

const src = join(import.meta.dirname, '../src')

function sources(): {file: string; text: string}[] {
  return readdirSync(src, {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({file: relative(src, path).split(sep).join('/'), text: readFileSync(path, 'utf8')}))
}

describe('the import law', () => {
  it('holds for every file', () => {
    const files = sources()
    assert.ok(files.length > 100, 'the sources were not found')
    assert.deepEqual(files.flatMap(({file, text}) => breaches(file, text)), [])
  })

  const planted: readonly (readonly [title: string, file: string, text: string])[] = [
    ['core must not read files', 'core/ids.ts', "import {readFileSync} from 'node:fs'"],
    ['core must not use a driver', 'core/ids.ts', "import pg from 'pg'"],
    ['core outside the API must not use typebox', 'core/ids.ts', "import Type from 'typebox'"],
    ['core must not know an engine', 'core/config/parameters.ts', "import {postgresql} from '../../engines/postgresql/index.js'"],
    ['an engine must not know a sibling', 'engines/mysql/index.ts', "import {x} from '../postgresql/values.js'"],
    ['an engine must not know the store', 'engines/postgresql/index.ts', "export * from '../../agent/store/store.js'"],
    ['an engine must not know a runtime', 'engines/postgresql/index.ts', "const x = await import('../../agent/runtimes/process/index.js')"],
    ['a runtime must not know a sibling', 'agent/runtimes/docker/host.ts', "import {x} from '../process/host.js'"],
    ['a runtime must not know an engine', 'agent/runtimes/process/host.ts', "import '../../../engines/postgresql/index.js'"],
    ['the endpoint process must need nothing but Node', 'agent/endpoints/process/main.ts', "import pino from 'pino'"],
    ['a service must not know another', 'agent/services/backup/service.ts', "import {x} from '../provisioning/service.js'"],
    ['a service must not know an engine itself', 'agent/services/provisioning/service.ts', "import {x} from '../../../engines/postgresql/config.js'"],
    ['a service must see ports as types alone', 'agent/services/provisioning/service.ts', "import {x} from '../../runtimes/runtime.js'"],
    ['a route must not know a workflow', 'agent/http/routes/instances.ts', "import {x} from '../../workflow/engine.js'"],
    ['a route must not know a service itself', 'agent/http/routes/instances.ts', "import {x} from '../../services/provisioning/service.js'"],
    ['the vault must not know a repository kind', 'agent/repositories/vault/writer.ts', "import {openDirectory} from '../directory/index.js'"],
    ['a repository kind must not know the vault', 'agent/repositories/s3/index.ts', "import type {Vault} from '../vault/index.js'"],
    ['the store must not know a service', 'agent/store/sqlite/store.ts', "import type {X} from '../../services/context.js'"],
    ['the client must not know the server', 'agent/client/client.ts', "import {x} from '../http/server.js'"],
    ['a command must not know the app', 'commands/create.ts', "const {x} = await import('../agent/app.js')"],
    ['a command must not know an engine', 'commands/connect.ts', "import {x} from '../engines/postgresql/access.js'"],
    ['a command must ask the registry for a prompt', 'commands/connect.ts', "const {prompt} = await import('../engines/mysql/prompt.js')"],
    ['a prompt must bring nothing of its engine along', 'engines/postgresql/prompt.ts', "import {quote} from './client.js'"],
    ['a command must take the schemas as types alone', 'commands/create.ts', "import {CreateBodySchema} from '../core/api/schemas.js'"],
    ['a required module is an import, too', 'core/ids.ts', "const fs = require('node:fs')"],
    ['a computed import cannot be judged', 'core/ids.ts', 'const fs = await import(name)'],
    ['a new folder needs a law of its own', 'sidecar/main.ts', ''],
  ]
  for (const [title, file, text] of planted) {
    it(`catches a breach: ${title}`, () => assert.equal(breaches(file, text).length, 1))
  }

  it('tells type imports from others', () => {
    assert.deepEqual(importsOf("import type {A} from 'a'\nimport {type B} from 'b'\nimport {type C, d} from 'c'\nlet e: import('e').E"), [
      {specifier: 'a', typeOnly: true}, {specifier: 'b', typeOnly: true}, {specifier: 'c', typeOnly: false}, {specifier: 'e', typeOnly: true},
    ])
  })

  it('lets a command import the schemas as types', () =>
    assert.deepEqual(breaches('commands/create.ts', "import type {CreateBody} from '../core/api/schemas.js'"), []))
})

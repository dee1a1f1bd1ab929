import assert from 'node:assert/strict'
import {cpSync, mkdirSync} from 'node:fs'
import {join} from 'node:path'
import {projectRoot, run, temporarySite} from '../support/site.js'
import type {Site} from '../support/site.js'

describe('the packed tarball', function () {
  this.timeout(300_000)
  let site: Site
  before(() => {
    site = temporarySite('package', {env: {DBAAS_POOL_SIZE: '0'}})
  })
  after(() => site.dispose())

  it('installed globally into an empty prefix, it makes a database', async () => {
    const npm = async (...argv: string[]) => {
      const ran = await run(['npm', ...argv], {env: {...site.env, ...npmSettings()}})
      assert.equal(ran.code, 0, ran.stderr)
      return ran.stdout
    }
    const folder = join(site.home, '..')
    const prefix = join(folder, 'prefix')
    mkdirSync(prefix)
    // What is in dist is packed: building it again is `npm ci`'s work, and another test may be using it.
    const [packed] = JSON.parse(await npm('pack', projectRoot, '--ignore-scripts', '--json', '--pack-destination', folder)) as [{filename: string; files: {path: string}[]}]
    const paths = packed.files.map(({path}) => path)
    for (const path of ['bin/run.js', 'bin/agent.js', 'dist/cli.cjs', 'dist/agent/main.js', 'dist/endpoint/endpoint.js', 'dist/THIRD-PARTY-NOTICES.txt', 'oclif.manifest.json', 'LICENSE']) {
      assert.ok(paths.includes(path), `${path} is not in the tarball`)
    }
    assert.deepEqual(paths.filter((path) => /^(src|test|node_modules|scripts)\//.test(path)), [])
    await npm('install', '--global', '--prefix', prefix, '--ignore-scripts', '--no-audit', '--no-fund', join(folder, packed.filename))
    // Compiling SQLite takes minutes, and is the same script that made the one here.
    const native = 'node_modules/better-sqlite3/build'
    cpSync(join(projectRoot, native), join(prefix, 'lib/node_modules/dbaas', native), {recursive: true})

    const dbaas = (...argv: string[]) => run([join(prefix, 'bin/dbaas'), ...argv], {env: site.env, cwd: '/'})
    const created = await dbaas('create', 'demo', '--size', 'micro')
    assert.equal(created.code, 0, created.stderr)
    assert.match((await dbaas('sql', 'demo', 'select 6 * 7 as answer')).stdout, /42/)
    assert.match((await dbaas('help')).stdout, /autocomplete/)
    assert.equal((await dbaas('delete', 'demo', '--yes')).code, 0)
    assert.equal((await dbaas('agent', 'stop')).code, 0)
  })
})

/** The user's registry, cache and proxy, which a bare environment would lose. */
function npmSettings(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => /^(npm_config_|https?_proxy$|no_proxy$|NODE_EXTRA_CA_CERTS$|HOME$)/i.test(name))
  return Object.fromEntries(kept)
}

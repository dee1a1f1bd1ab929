/** Other versions: from the npm registry (verified), and from the system; beside each other, and removed again. */
import assert from 'node:assert/strict'
import {existsSync} from 'node:fs'
import {full} from '../support/runs.js'
import {temporarySite} from '../support/site.js'

const onRequest = full ? ['14', '15', '16', '17'] : ['14', '17']

describe('versions of an engine', function () {
  this.timeout(300_000)
  const site = temporarySite('engines', {env: {DBAAS_POOL_SIZE: '0'}})
  before(async () => {
    assert.equal((await site.run('create', 'steady', '--size', 'micro', '--set', 'work_mem=7MB')).code, 0)
    atFirst = await state()
  })
  after(() => site.dispose())
  let atFirst: unknown
  const state = async (): Promise<unknown> => ({
    // its backups go on by themselves meanwhile
    instance: {...(await site.json('status', 'steady')).instance, backup: null, status_reason: null, updated_at: null},
    parameters: await site.json('config', 'show', 'steady', '--all'),
    times: (await site.json('sql', 'steady', 'select pg_postmaster_start_time()::text, pg_conf_load_time()::text')).rows,
  })

  const serverVersion = async (name: string): Promise<string> => (await site.json('sql', name, 'show server_version')).rows[0][0]

  for (const major of onRequest) {
    it(`installs PostgreSQL ${major} on request, runs it, and removes it when nothing uses it`, async () => {
      const before = await site.json('create', `pg${major}`, '--version', major)
      const {engines} = await site.json('engines', 'list')
      const offered = engines[0].versions.filter((v: {version: string; source: string}) => v.version.startsWith(`${major}.`))
      const already = offered.some((v: {installed: boolean}) => v.installed)
      if (!already) {
        assert.equal(before.error.code, 'ENGINE_NOT_INSTALLED')
        assert.match(before.error.suggestions[0], new RegExp(`dbaas engines install postgresql@${major}`))
        const installed = await site.run('engines', 'install', `postgresql@${major}`)
        assert.equal(installed.code, 0, installed.stderr)
        const {instance, error} = await site.json('create', `pg${major}`, '--version', major, '--size', 'micro', '--set', 'work_mem=5MB', '--template', 'dev')
        assert.equal(instance?.status, 'running', JSON.stringify(error))
      }
      assert.match(await serverVersion(`pg${major}`), new RegExp(`^${major}\\.`))
      const {instance} = await site.json('status', `pg${major}`)
      if (!already) {
        const refused = await site.json('engines', 'remove', `postgresql@${instance.version}`)
        assert.equal(refused.error.code, 'ENGINE_IN_USE')
      }
      assert.equal((await site.run('delete', `pg${major}`, '--yes')).code, 0)
      if (!already) assert.equal((await site.run('engines', 'remove', `postgresql@${instance.version}`)).code, 0)
    })
  }

  it('finds a PostgreSQL of the system and runs it', async function () {
    if (!existsSync('/usr/lib/postgresql/15/bin/postgres')) {
      console.log('      SKIPPED: no system PostgreSQL 15 is installed on this machine')
      this.skip()
    }
    const {engines} = await site.json('engines', 'list')
    const found = engines[0].versions.find((v: {source: string; version: string}) => v.source === 'system' && v.version.startsWith('15.'))
    assert.ok(found?.installed)
    const {instance, error} = await site.json('create', 'system', '--version', found.version, '--size', 'micro')
    assert.equal(instance?.status, 'running', JSON.stringify(error))
    assert.match(await serverVersion('system'), /^15\./)
    const refused = await site.json('engines', 'remove', `postgresql@${found.version}`)
    assert.notEqual(refused.error, undefined)
    assert.equal((await site.run('delete', 'system', '--yes')).code, 0)
  })

  // Feature: enterprise-dbaas-platform, Property 2: Engine Addition Stability
  // Iterations: one a version, real installs
  it('has changed no process id, status or setting of the instance that was there before', async () => {
    assert.deepEqual(await state(), atFirst)
  })
})

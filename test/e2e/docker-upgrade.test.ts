/** Another version of a database in a container: another image on the same volume, or a copy into a new one. */
import assert from 'node:assert/strict'
import {existsSync} from 'node:fs'
import {join} from 'node:path'
import type {ApiInstance} from '../../src/core/api/schemas.js'
import {engines} from '../../src/engines/index.js'
import {docker, dockerOrSkip, images} from '../support/docker.js'
import {dockerLeftovers, leftoversOf, siteOf} from '../support/leftovers.js'
import {needOrSkip} from '../support/need.js'
import {dataRootOf, run, temporarySite} from '../support/site.js'
import {startWriter} from '../support/writer.js'

const debian15 = '/usr/lib/postgresql/15/bin'
const repository = 'dbaas-test-postgres'

const known = engines.postgresql.versions.known(`${process.platform}-${process.arch}`).map(({version}) => version)
const versionOf = (series: string): string | undefined => known.find((version) => version.startsWith(`${series}.`))

describe('another version of a database in a container', function () {
  dockerOrSkip(images.postgresql)
  needOrSkip(() => (versionOf('14') === undefined ? 'the registry has no PostgreSQL 14 for this platform' : undefined))
  needOrSkip(() => (existsSync(join(debian15, 'pg_dump')) ? undefined : `there is no pg_dump in ${debian15}: apt-get install postgresql-client-15`))
  this.timeout(300_000)
  const site = temporarySite('docker-upgrade', {env: {DBAAS_IMAGE_POSTGRESQL: `${repository}:{version}`, DBAAS_POOL_SIZE: '0'}})
  const [newest, older, old] = [versionOf('18'), known.filter((version) => version.startsWith('18.'))[1], versionOf('14')] as [string, string, string]
  const made: string[] = []

  const get = async (): Promise<ApiInstance> => (await site.json('status', 'shop')).instance
  const sql = async (statement: string): Promise<unknown[][]> => {
    const answer = await site.json('sql', 'shop', statement)
    assert.ok(answer.rows, JSON.stringify(answer))
    return answer.rows
  }
  const good = async (...args: string[]) => {
    const answer = await site.json(...args)
    assert.equal(answer.operation?.status, 'succeeded', JSON.stringify(answer))
    return answer.operation.result
  }

  /** The site's image with another server in it. */
  async function image(version: string): Promise<void> {
    await good('engines', 'install', `postgresql@${version}`)
    const major = version.split('.')[0]
    const tag = `${repository}:${version}`
    const ours = async (...args: string[]): Promise<string> => {
      const {code, stdout, stderr} = await run(['docker', ...args])
      assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`)
      return stdout.trim()
    }
    const container = await ours('create', '--label', 'dbaas-test-upgrade=1', images.postgresql, 'true')
    try {
      await ours('cp', `${join(dataRootOf(site.home), 'engines', 'postgresql', version, 'native')}/.`, `${container}:/usr/lib/postgresql/${major}/`)
      await ours('commit', '--change', `ENV PG_MAJOR=${major} PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/${major}/bin`, container, tag)
      made.push(tag)
    } finally {
      await ours('rm', '--force', '--volumes', container)
    }
  }

  before(async () => {
    await site.run('agent', 'start')
    for (const version of [old, older, newest]) await image(version)
    await good('create', 'shop', '--runtime', 'docker', '--version', old, '--size', 'micro', '--no-backup')
    await sql('create table journal as select generate_series(1, 1000) as n')
  })
  after(async () => {
    await site.dispose()
    for (const tag of made) await docker.getImage(tag).remove({force: true}).catch(() => undefined)
  })
  const serves = async (version: string): Promise<void> => {
    const {version: said, status, runtime} = await get()
    assert.deepEqual([said, status, runtime], [version, 'running', 'docker'])
    assert.deepEqual([await sql('show server_version'), await sql('select count(*)::int from journal')], [[[version]], [[1000]]])
  }

  it('comes by a copy where it is another major, made by the programs of this machine', async () => {
    const before = await get()
    const {applied, kept_as: kept, rows} = await good('upgrade', 'shop', '--version', older)
    assert.deepEqual([applied, rows], ['copy', 1000])
    await serves(older)
    assert.deepEqual([(await get()).endpoint, (await get()).id], [before.endpoint, before.id])
    await good('upgrade', 'shop', '--undo')
    await serves(old)
    const {instances} = await site.json('list')
    const undone = (instances as ApiInstance[]).map(({name}) => name).find((name) => name.startsWith('shop-undone-'))
    assert.ok(undone !== undefined && !(instances as ApiInstance[]).some(({name}) => name === kept))
    await good('delete', undone, '--yes')
    const again = await good('upgrade', 'shop', '--version', older)
    await good('delete', again.kept_as, '--yes')
    await serves(older)
  })

  it('comes by another image on the same volume where it is a minor one, and nothing that was acknowledged is lost', async () => {
    const writer = await startWriter(site, 'shop')
    const {applied, write_gap_ms: gap} = await good('upgrade', 'shop', '--version', newest)
    const {lost, gapMs} = await writer.stop()
    assert.deepEqual([applied, lost], ['restart', []])
    assert.ok(gap > 0 && gap <= gapMs + 150, `${gap} said, ${gapMs} felt`)
    await serves(newest)
    await good('upgrade', 'shop', '--undo')
    await serves(older)
    console.log(`      ${older} to ${newest} in a container: write gap ${gap} ms (felt ${gapMs} ms)`)
  })

  it('leaves nothing', async () => {
    const siteId = siteOf(site.home)
    await good('delete', 'shop', '--yes')
    assert.deepEqual(leftoversOf(site.home), [])
    assert.deepEqual(dockerLeftovers(siteId), [])
  })
})

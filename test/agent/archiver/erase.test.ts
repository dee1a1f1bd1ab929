/** The archiver thread as it is, on a folder: what is erased stays erased, whatever else was under way. */
import assert from 'node:assert/strict'
import {readdirSync} from 'node:fs'
import {join} from 'node:path'
import {createArchiver} from '../../../src/agent/archiver/control.js'
import type {ArchivePlace, Archiver} from '../../../src/agent/archiver/archiver.js'
import {loadMasterKey} from '../../../src/agent/store/secrets.js'
import {realRuns} from '../../support/runs.js'
import {temporaryFolder} from '../../support/temporary.js'

describe('an archive that is erased while it is worked on', function () {
  this.timeout(120_000)
  let folder: ReturnType<typeof temporaryFolder>
  let archiver: Archiver
  before(() => {
    folder = temporaryFolder('archiver-erase')
    const path = join(folder.path, 'key')
    loadMasterKey(path, false)
    archiver = createArchiver({key: {kind: 'file', path}, owner: 'test', cache: join(folder.path, 'cache'), threads: 1, environment: {}})
  })
  after(async () => {
    await archiver?.close()
    folder?.dispose()
  })

  it('leaves nothing in the repository', async () => {
    const location = join(folder.path, 'repository')
    for (let round = 0; round < realRuns(20, 200); round++) {
      const archive: ArchivePlace = {repository: {kind: 'directory', location, settings: {path: location}, id: null, access: 'write'}, incarnation: `01${String(round).padStart(24, '0')}`}
      // what looks for a backup makes the archive
      assert.equal(await archiver.find(archive, 'bkp_none'), undefined)
      assert.ok(readdirSync(location).includes(archive.incarnation))
      const collects = Array.from({length: 3}, () => archiver.collect(archive, [], null).catch(() => undefined))
      await new Promise((resolve) => setTimeout(resolve, round % 10))
      await archiver.shred(archive)
      await archiver.erase(archive)
      assert.ok(!readdirSync(location).includes(archive.incarnation), `round ${round}`)
      await Promise.all(collects)
      assert.ok(!readdirSync(location).includes(archive.incarnation), `round ${round}, afterwards`)
    }
  })
})
